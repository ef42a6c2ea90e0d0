//! `make`: the difference between what the migrations build and what the `schema.sql` files wish for becomes migrations.
//!
//! Both are built in private databases and compared in normal form. A migration is written only after it ran there, led to
//! what is wished for, and came back where it says that it does.

mod difference;
mod file;
mod model;
mod proof;
mod rename;
mod schema_file;
mod values;
mod wished;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::migration::{Direction, Migration, MigrationSet, Statement, nearest};
use crate::postgres::{archive_entries, catalog, definitions, prepare_copy_session};
use crate::schema::{Difference, Schema};

use super::super::replay::{Built, Replay};
use super::super::shadow::KeptBuild;
use super::super::{Error, Gate, Operator, Project};
use difference::{Inexpressible, Terms, difference};
use file::Naming;
use model::{Key, Model};
use wished::{Makers, Source, WishedFile};

pub use file::MadeMigration;
pub use schema_file::{SchemaFile, schema_files};

/// What the operator asked for.
#[derive(Clone, Debug, Default)]
pub struct MakeRequest {
    /// Only these apps; none: all with a `schema.sql`.
    pub apps: Vec<String>,
    /// Words of the new names.
    pub name: Option<String>,
    /// `TABLE.OLD=NEW`, `TYPE.OLD=NEW` or `OLD=NEW`.
    pub renames: Vec<String>,
    /// What could be a rename is none.
    pub no_renames: bool,
    /// `TABLE.COLUMN=VALUE`: an SQL expression for the rows that are there.
    pub values: Vec<String>,
    /// Whether only to say if there is a difference.
    pub check: bool,
    /// Whether to write nothing.
    pub dry_run: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum Made {
    /// The migrations build what is wished for.
    Nothing,
    /// `--check`: they do not. The difference, for people.
    Differs(String),
    /// These were, or would be, written.
    Migrations(Vec<MadeMigration>),
}

fn not_possible(message: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::NotPossible { message: message.into(), hint: hint.into() }
}

/// Writes the migrations that lead from what the migrations build to what the `schema.sql` files wish for.
pub async fn make(project: &Project, request: &MakeRequest, operator: &dyn Operator) -> Result<Made, Error> {
    let set = MigrationSet::load(&project.migrations_dir, &project.default_app)?;
    if let Some(conflict) = set.conflicts().first() {
        return Err(not_possible(
            format!("app `{}` has several leaves: {}", conflict.app, names(&conflict.leaves)),
            format!("merge them first: safe-migrate make {} --merge", conflict.app),
        ));
    }
    let wished = chosen(project, request, &set)?;
    let server = project.connect().await?;
    let history = format!("{} {:?}", history_of(&set), Replay::public_schema(project).await?);
    let kept = KeptBuild::of(project, &server, &history).await?;
    let (replay, built) = Replay::start_with(project, &server, kept.as_ref()).await?;
    let was_kept = built.is_some();
    let maker = Maker { project, request, operator, set: &set, wished: &wished, replay: &replay };
    let have = match maker.have(built).await {
        Ok(have) => have,
        Err(error) => {
            replay.stop().await?;
            return Err(error);
        }
    };
    let made = maker.make(&have).await;
    match kept.filter(|_| !was_kept) {
        Some(kept) => replay.keep(&kept, have.built).await?,
        None => replay.stop().await?,
    }
    let made = made?;
    if let (Made::Migrations(files), false) = (&made, request.dry_run) {
        if let Some(there) = files.iter().find(|one| one.path.exists()) {
            return Err(Error::OutputExists(there.path.clone()));
        }
        for one in files {
            super::write_new(&one.path, &one.text)?;
        }
    }
    Ok(made)
}

/// Hash of the migrations in their order.
fn history_of(set: &MigrationSet) -> String {
    let mut hasher = Sha256::new();
    for one in set.iter() {
        hasher.update(format!("{} {}\n", one.id, one.checksum));
    }
    hex::encode(hasher.finalize())
}

/// A number of things.
fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn names<T: ToString>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The wished schemas that are made now.
fn chosen(project: &Project, request: &MakeRequest, set: &MigrationSet) -> Result<Vec<WishedFile>, Error> {
    let mut files = wished::files(&project.migrations_dir, &project.default_app)?;
    if files.is_empty() {
        return Err(not_possible(
            format!("there is no schema.sql below {}", project.migrations_dir.display()),
            "write the wished schema of an app as plain CREATE statements into migrations/APP/schema.sql; \
             `safe-migrate make APP --schema` writes what its migrations build",
        ));
    }
    for app in &request.apps {
        if files.iter().any(|one| one.app == *app) {
            continue;
        }
        let known: BTreeSet<&str> = files.iter().map(|one| one.app.as_str()).chain(set.apps()).collect();
        let hint = match (known.contains(app.as_str()), nearest(app, known.iter().copied()).first()) {
            (true, _) => format!("safe-migrate make {app} --schema writes what its migrations build"),
            (false, Some(meant)) => format!("did you mean `{meant}`?"),
            _ => format!("apps with one: {}", names(&files.iter().map(|one| &one.app).collect::<Vec<_>>())),
        };
        return Err(not_possible(format!("app `{app}` has no schema.sql"), hint));
    }
    if !request.apps.is_empty() {
        files.retain(|one| request.apps.contains(&one.app));
    }
    for one in &files {
        let valid = one.app.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !valid {
            return Err(not_possible(
                format!("{}: `{}` cannot name an app", one.path.display(), one.app),
                "a folder's name is the app's: letters, digits, `_` and `-`",
            ));
        }
    }
    Ok(files)
}

#[derive(Clone, Copy)]
struct Maker<'a> {
    project: &'a Project,
    request: &'a MakeRequest,
    operator: &'a dyn Operator,
    set: &'a MigrationSet,
    wished: &'a [WishedFile],
    replay: &'a Replay<'a>,
}

/// What the migrations build.
struct Have {
    built: Built,
    makers: Makers,
}

impl Maker<'_> {
    async fn make(&self, have: &Have) -> Result<Made, Error> {
        let (want, want_makers) = self.want(have).await?;
        let (raw_have, raw_want) = (self.replay.raw(&have.built).await?, self.replay.raw(&want).await?);
        if raw_have.difference(&raw_want).is_empty() {
            return Ok(Made::Nothing);
        }
        let mut normal_have = self.replay.normalized(&have.built).await?;
        let normal_want = self.replay.normalized(&want).await?;
        let (had, wanted) = (self.replay.raw(&normal_have).await?, self.replay.raw(&normal_want).await?);
        let found = had.difference(&wanted);
        if found.is_empty() {
            return Ok(Made::Nothing);
        }
        if self.request.check {
            return Ok(Made::Differs(found.to_string()));
        }
        let mut apps = self.apps(&have.built, &have.makers).await?;
        apps.extend(self.apps(&want, &want_makers).await?);
        let populated = catalog::populated_views(&self.replay.session(&want).await?).await?;
        let want_model = self.model(&normal_want).await?;
        let (have_model, renames) = self.renamed(&mut normal_have, &want_model, &apps).await?;
        let rows = values::Values::ask(self, (&have_model, &normal_have), (&want_model, &normal_want)).await?;
        let terms = Terms {
            apps: &apps,
            default_app: self.wished.first().map_or(&self.project.default_app, |one| &one.app),
            values: &rows.values,
            without_cast: &rows.without_cast,
            populated: &populated,
            major: self.replay.major(),
            online: true,
        };
        let steps = difference(&have_model, &want_model, &terms).map_err(|all| inexpressible(&all))?;
        let steps = rename::with_renames(steps, renames, &apps, terms.default_app);
        let mut chunks = file::chunks(steps);
        let files: BTreeMap<String, PathBuf> =
            self.wished.iter().map(|one| (one.app.clone(), one.path.clone())).collect();
        let naming = Naming {
            dir: &self.project.migrations_dir,
            set: self.set,
            name: self.request.name.as_deref(),
            wished: &files,
        };
        let mut made = naming.migrations(&chunks, &BTreeMap::new(), &self.project.policy)?;
        if made.is_empty() {
            return Err(unproven("no step was found for it", &found.to_string()));
        }
        self.operator.step(&format!("running {} in a private database", count(made.len(), "new migration")));
        let proof = proof::Proof { replay: self.replay, have: &have.built, want: (&raw_want, &wanted) };
        let shared = |made: &[(MadeMigration, Migration)]| -> Vec<Arc<Migration>> {
            made.iter().map(|(_, one)| Arc::new(one.clone())).collect()
        };
        let mut migrations = shared(&made);
        proof.leads_there(&migrations).await?;
        if let Err((apps, _)) = proof.builds_from_nothing(self.set, &migrations).await? {
            file::follow(&mut chunks, &apps);
            made = naming.migrations(&chunks, &BTreeMap::new(), &self.project.policy)?;
            migrations = shared(&made);
            proof.builds_from_nothing(self.set, &migrations).await?.map_err(|(_, error)| error)?;
        }
        let broken = proof.leads_back(&migrations).await?;
        if broken.is_empty() {
            return Ok(Made::Migrations(made.into_iter().map(|(one, _)| one).collect()));
        }
        // Places of migrations among the chunks: chunks without statements have none.
        let with_statements = |one: &file::Chunk| one.operations.iter().any(|one| !one.up.is_empty());
        let places: Vec<usize> = (0..chunks.len()).filter(|at| with_statements(&chunks[*at])).collect();
        let broken = broken.into_iter().map(|(at, why)| (places[at], why)).collect();
        let made = naming.migrations(&chunks, &broken, &self.project.policy)?;
        Ok(Made::Migrations(made.into_iter().map(|(one, _)| one).collect()))
    }

    /// Runs all migrations from nothing.
    async fn have(&self, kept: Option<Built>) -> Result<Have, Error> {
        if let Some(built) = kept {
            let makers = Makers::read(&self.replay.session(&built).await?).await?;
            return Ok(Have { built, makers });
        }
        let built = self.replay.empty().await?;
        let superuser = self.replay.session(&built).await?;
        let mut makers = Makers::default();
        let all: Vec<Arc<Migration>> = self.set.iter().cloned().collect();
        self.operator.step(&format!("running {} from nothing in a private database", count(all.len(), "migration")));
        // Those of one app in a row at once.
        for row in all.chunk_by(|one, other| one.id.app == other.id.app) {
            if let Some(first) = row.first() {
                makers.mark(&superuser, &first.id.app).await?;
            }
            self.replay.run(&built, row, Direction::Apply).await?;
        }
        makers.store(&superuser).await?;
        superuser.close().await;
        Ok(Have { built, makers })
    }

    /// Loads the wished schemas; of other apps what their migrations build.
    async fn want(&self, have: &Have) -> Result<(Built, Makers), Error> {
        let mut sources = Vec::new();
        for file in self.wished {
            let source = file.source()?;
            for place in source.left_out() {
                self.operator.warn(&format!(
                    "{place}: make leaves subscriptions and user mappings alone, which lead to other servers and hold \
                     passwords; write that by hand: safe-migrate make {} --empty",
                    file.app
                ));
            }
            if let Some(error) = wished::too_long(file, &source.statements) {
                return Err(error);
            }
            sources.push(source);
        }
        sources.extend(self.others(have).await?);
        let built = self.replay.empty().await?;
        let (own, superuser) = (self.replay.own_session(&built).await?, self.replay.session(&built).await?);
        let makers = wished::load(&own, &superuser, &sources).await;
        own.close().await;
        superuser.close().await;
        Ok((built, makers?))
    }

    /// What the migrations of apps build whose schema is not wished for here, statement by statement.
    async fn others(&self, have: &Have) -> Result<Vec<Source>, Error> {
        let is_wished = |app: &str| self.wished.iter().any(|one| one.app == app);
        if self.set.apps().into_iter().all(is_wished) {
            return Ok(Vec::new());
        }
        let entries = self.replay.objects(&have.built).await?;
        let model = Model::new(entries, &BTreeMap::new(), definitions::Definitions::default());
        let mut sources: BTreeMap<String, Source> = BTreeMap::new();
        for (at, object) in model.objects.iter().enumerate() {
            let of = model.objects[at].part_of.iter().copied().chain([at]);
            let addressed = of.map(|one| model.objects[one].address).find(|address| address.1 != 0);
            let Some(app) = addressed.and_then(|address| have.makers.of(address)).filter(|app| !is_wished(app)) else {
                continue;
            };
            let source = sources.entry(app.to_owned());
            let source = source.or_insert_with(|| Source { app: app.to_owned(), path: None, statements: Vec::new() });
            source.statements.extend(object.statements.iter().map(|text| Statement { text: text.clone(), line: 1 }));
        }
        Ok(sources.into_values().collect())
    }

    /// The apps of the objects of a database that was not dumped and restored.
    async fn apps(&self, built: &Built, makers: &Makers) -> Result<BTreeMap<Key, String>, Error> {
        let entries = self.replay.objects(built).await?;
        let model = Model::new(entries, &BTreeMap::new(), definitions::Definitions::default());
        let app = |object: &model::Object| makers.of(object.address).filter(|_| object.address.1 != 0);
        let found = model.objects.iter().filter_map(|one| Some((one.key.clone(), app(one)?.to_owned())));
        Ok(found.collect())
    }

    /// The objects of a database in normal form.
    async fn model(&self, built: &Built) -> Result<Model, Error> {
        let entries = self.replay.objects(built).await?;
        let session = self.replay.session(built).await?;
        prepare_copy_session(&session, None).await?;
        let addressed = |one: &&archive_entries::ArchiveEntry| one.address != (0, 0);
        let addresses: Vec<_> = entries.iter().filter(addressed).map(|one| (one.address, one.kind.as_str())).collect();
        let drops = definitions::drops(&session, &addresses).await?;
        let definitions = definitions::read(&session).await?;
        session.close().await;
        Ok(Model::new(entries, &drops, definitions))
    }

    /// Renames what was renamed, in the private database, until nothing more is the same under another name.
    async fn renamed(
        &self,
        built: &mut Built,
        want: &Model,
        apps: &BTreeMap<Key, String>,
    ) -> Result<(Model, Vec<rename::Rename>), Error> {
        let mut model = self.model(built).await?;
        let mut done = Vec::new();
        let asked = rename::Asked::new(self.request, self.operator);
        loop {
            let renames = rename::next(&model, want, &asked, apps)?;
            if renames.is_empty() {
                return Ok((model, done));
            }
            let session = self.replay.session(built).await?;
            for one in &renames {
                for statement in &one.operation.up {
                    session.batch_execute(statement).await.map_err(crate::postgres::DatabaseError::from)?;
                }
            }
            session.close().await;
            done.extend(renames);
            model = self.model(built).await?;
        }
    }
}

fn unproven(what: &str, difference: &str) -> Error {
    Gate::Unproven {
        message: format!("{what}; nothing was written (- migrations, + schema.sql):\n{difference}"),
        hint: "write this one by hand: safe-migrate make APP --empty; run make again for the rest".to_owned(),
    }
    .into()
}

/// The objects that cannot be brought from one definition to the other, with both.
fn inexpressible(all: &[Inexpressible]) -> Error {
    let mut lines = Vec::new();
    for one in all {
        let (kind, schema, name, _) = &one.key;
        let name = if schema.is_empty() { name.clone() } else { format!("{schema}.{name}") };
        if kind.is_empty() {
            lines.push(one.why.clone());
            continue;
        }
        lines.push(format!("{} {name}: {}", kind.to_lowercase(), one.why));
        for (sign, text) in [('-', &one.have), ('+', &one.want)] {
            lines.extend(text.iter().flat_map(|text| text.lines()).map(|line| format!("    {sign} {line}")));
        }
    }
    unproven("make cannot write this change", &lines.join("\n"))
}

/// Each object of a difference with both definitions, whole.
fn object_by_object(difference: &Difference) -> String {
    let mut lines = Vec::new();
    let mut object = |sign: char, key: String, left: Option<&str>, right: Option<&str>| {
        lines.push(format!("{sign} {key}"));
        for (sign, text) in [('-', left), ('+', right)] {
            let filled = text.into_iter().flat_map(str::lines).filter(|line| !line.trim().is_empty());
            lines.extend(filled.map(|line| format!("    {sign} {line}")));
        }
    };
    for one in &difference.changed {
        object('~', one.left.key().to_string(), Some(&one.left.text), Some(&one.right.text));
    }
    difference.only_left.iter().for_each(|one| object('-', one.key().to_string(), Some(&one.text), None));
    difference.only_right.iter().for_each(|one| object('+', one.key().to_string(), None, Some(&one.text)));
    lines.join("\n")
}

/// An error with its causes.
fn source_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text += &format!(": {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// Whether two schemas are the same.
fn same(one: &Schema, other: &Schema) -> bool {
    one.difference(other).is_empty()
}
