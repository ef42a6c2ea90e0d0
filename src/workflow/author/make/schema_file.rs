//! `make APP --schema`: the first `schema.sql`, from what the migrations build.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use crate::migration::MigrationSet;
use crate::postgres::{catalog, definitions, prepare_copy_session};

use super::super::super::replay::Replay;
use super::super::super::{Error, Operator, Project};
use super::model::Model;
use super::wished::WishedFile;
use super::{Have, MakeRequest, Maker, not_possible, same, unproven};

/// A schema file that was, or would be, written.
#[derive(Clone, Debug)]
pub struct SchemaFile {
    /// App.
    pub app: String,
    /// Where.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// Writes `schema.sql` of each app that is named; of none: of all that have none yet.
pub async fn schema_files(
    project: &Project,
    request: &MakeRequest,
    operator: &dyn Operator,
) -> Result<Vec<SchemaFile>, Error> {
    let set = MigrationSet::load(&project.migrations_dir, &project.default_app)?;
    if let Some(unknown) = request.apps.iter().find(|app| !set.apps().contains(app.as_str())) {
        let apps: Vec<&str> = set.apps().into_iter().collect();
        return Err(not_possible(format!("there is no app `{unknown}`"), format!("the apps are: {}", apps.join(", "))));
    }
    let wanted: BTreeSet<String> = set
        .apps()
        .into_iter()
        .filter(|app| match request.apps.is_empty() {
            true => !place(project, &set, app).exists(),
            false => request.apps.iter().any(|one| one == app),
        })
        .map(str::to_owned)
        .collect();
    for app in &wanted {
        let path = place(project, &set, app);
        if path.exists() {
            return Err(Error::OutputExists(path));
        }
    }
    let server = project.connect().await?;
    let replay = Replay::start(project, &server).await?;
    let maker = Maker { project, request, operator, set: &set, wished: &[], replay: &replay };
    let files = maker.schema_files(&wanted).await;
    replay.stop().await?;
    let files = files?;
    if !request.dry_run {
        for one in &files {
            super::super::write_new(&one.path, &one.text)?;
        }
    }
    Ok(files)
}

fn place(project: &Project, set: &MigrationSet, app: &str) -> PathBuf {
    let beside = set.iter().find(|one| one.id.app == app).and_then(|one| one.path.parent());
    beside.map_or_else(|| project.migrations_dir.join(app), std::path::Path::to_path_buf).join("schema.sql")
}

impl Maker<'_> {
    async fn schema_files(&self, wanted: &BTreeSet<String>) -> Result<Vec<SchemaFile>, Error> {
        let have = self.have(None).await?;
        let entries = self.replay.objects(&have.built).await?;
        let session = self.replay.session(&have.built).await?;
        prepare_copy_session(&session, None).await?;
        let filled = catalog::populated_views(&session).await?;
        let definitions = definitions::read(&session).await?;
        session.close().await;
        let model = Model::new(entries, &BTreeMap::new(), definitions);
        let made = |texts: BTreeMap<&String, String>| -> Vec<SchemaFile> {
            let file = |(app, text): (&String, String)| SchemaFile {
                app: app.clone(),
                path: place(self.project, self.set, app),
                text: format!(
                    "-- The schema of {app} as it shall be. Edit it, and `safe-migrate make {app}` writes the migration.\n\n{}\n",
                    text.trim_end()
                ),
            };
            texts.into_iter().map(file).collect()
        };
        // As a person would write partitions; where that builds something else, as pg_dump writes them.
        let short = made(Writer { model: &model, makers: &have, filled: &filled, short: true }.texts(wanted));
        if self.prove_files(&short, &have).await.is_ok() {
            return Ok(short);
        }
        let long = made(Writer { model: &model, makers: &have, filled: &filled, short: false }.texts(wanted));
        self.prove_files(&long, &have).await?;
        Ok(long)
    }

    /// They must build what the migrations build.
    async fn prove_files(&self, files: &[SchemaFile], have: &Have) -> Result<(), Error> {
        let wished: Vec<WishedFile> = files
            .iter()
            .map(|one| WishedFile { app: one.app.clone(), path: one.path.clone(), text: one.text.clone() })
            .collect();
        let maker = Maker { wished: &wished, ..*self };
        let (want, _) = maker.want(have).await?;
        let (raw_have, raw_want) = (self.replay.raw(&have.built).await?, self.replay.raw(&want).await?);
        if same(&raw_have, &raw_want) {
            return Ok(());
        }
        let (normal_have, normal_want) =
            (self.replay.normalized(&have.built).await?, self.replay.normalized(&want).await?);
        let (had, wanted) = (self.replay.raw(&normal_have).await?, self.replay.raw(&normal_want).await?);
        let difference = had.difference(&wanted);
        if difference.is_empty() {
            return Ok(());
        }
        Err(unproven("the file would build something else", &difference.to_string()))
    }
}

/// Writes the objects of apps as statements.
struct Writer<'a> {
    model: &'a Model,
    makers: &'a Have,
    /// Materialized views with rows.
    filled: &'a BTreeSet<(String, String)>,
    /// Partitions as `PARTITION OF`.
    short: bool,
}

impl Writer<'_> {
    fn texts<'w>(&self, wanted: &'w BTreeSet<String>) -> BTreeMap<&'w String, String> {
        let mut texts: BTreeMap<&String, String> = wanted.iter().map(|app| (app, String::new())).collect();
        for (at, object) in self.model.objects.iter().enumerate() {
            let part_of = object.part_of.iter().copied();
            let addressed = std::iter::once(at).chain(part_of).map(|one| self.model.objects[one].address);
            let app = addressed.filter(|one| one.1 != 0).find_map(|address| self.makers.makers.of(address));
            let Some((_, text)) = texts.iter_mut().find(|(one, _)| Some(one.as_str()) == app) else { continue };
            for statement in self.statements(at) {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{statement};\n");
            }
        }
        texts
    }

    fn statements(&self, at: usize) -> Vec<String> {
        let object = &self.model.objects[at];
        let partition = |one: usize| self.model.relation(one).is_some_and(|one| one.is_partition);
        match object.kind() {
            "MATERIALIZED VIEW" if self.filled.contains(&(object.key.1.clone(), object.name().to_owned())) => {
                let with_rows = |one: &String| one.trim_end_matches("WITH NO DATA").trim_end().to_owned();
                return object.statements.iter().map(with_rows).collect();
            }
            _ if !self.short => {}
            "TABLE" if partition(at) => return Vec::new(),
            // ALTER TABLE ONLY p ATTACH PARTITION c FOR VALUES …
            "TABLE ATTACH" => {
                let statement = object.statements.first().map(String::as_str).unwrap_or_default();
                let parts = statement.split_once(" ATTACH PARTITION ").and_then(|(parent, rest)| {
                    let (child, bound) = rest.split_once(' ')?;
                    Some((parent.strip_prefix("ALTER TABLE ONLY ")?, child, bound))
                });
                if let Some((parent, child, bound)) = parts {
                    return vec![format!("CREATE TABLE {child} PARTITION OF {parent} {bound}")];
                }
            }
            _ => {}
        }
        object.statements.clone()
    }
}
