//! `baseline`: a database that is older than its history. Its schema becomes `0001_initial` of each app, which is proven to
//! build the same and recorded as applied.

mod grouping;
mod split;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use crate::migration::{
    Direction, Migration, MigrationError, MigrationId, MigrationSet, Plan, PlanStep, split_statements,
};
use crate::postgres::ledger::How;
use crate::postgres::{ArchiveEntry, archive, quote_identifier};

use super::super::author::write_new;
use super::super::replay::Replay;
use super::super::shadow::OUTSIDE_LINKS;
use super::super::{Error, Gate, Interrupt, Operator, Project, denied, of_text};
use super::ledger_run::{LedgerChange, LedgerReport, LedgerRun};
use split::{Chunk, split};

pub use grouping::Grouping;

/// What the operator asked for.
#[derive(Clone, Debug)]
pub struct BaselineRequest {
    /// How the objects are divided.
    pub grouping: Grouping,
    /// How long to wait for another run to end.
    pub wait: Duration,
    /// Whether to stop after the proof.
    pub dry_run: bool,
}

/// A file that was, or would be, written.
#[derive(Clone, Debug)]
pub struct BaselineFile {
    /// The migration; none: a `schema.sql`.
    pub migration: Option<MigrationId>,
    /// Where.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// How many statements it holds.
    pub statements: usize,
}

/// How it ended well.
#[derive(Debug)]
pub enum BaselineOutcome {
    /// `--dry-run`.
    Planned(Vec<BaselineFile>),
    /// The files are written, and the migrations recorded as applied.
    Done(Vec<BaselineFile>, Box<LedgerReport>),
}

/// Writes the history of a database that has none.
pub async fn baseline(
    project: &Project,
    request: &BaselineRequest,
    operator: &dyn Operator,
    interrupt: &Interrupt,
) -> Result<BaselineOutcome, Error> {
    let run = LedgerRun::begin(project, ("baseline", request.wait), operator, interrupt).await?;
    refuse_history(project, run.applied())?;
    operator.step("reading the schema");
    let proof = async {
        let dump = archive::dump_schema_archive(&run.server.programs, &project.target).await?;
        let replay = Replay::start(project, &run.server).await?;
        let result = proven(project, &request.grouping, (&replay, &dump), operator).await;
        replay.stop().await?;
        result
    };
    let (files, migrations) = interrupt.or(proof).await?;
    if request.dry_run {
        return Ok(BaselineOutcome::Planned(files));
    }
    let names: Vec<String> = migrations.iter().map(|one| one.id.to_string()).collect();
    run.confirm(&format!(
        "write {} files below {}, and record {} as applied in {}?",
        files.len(),
        project.migrations_dir.display(),
        names.join(", "),
        project.target.display()
    ))?;
    interrupt.check()?;
    if let Some(there) = files.iter().find(|file| file.path.exists()) {
        return Err(Error::OutputExists(there.path.clone()));
    }
    for file in &files {
        write_new(&file.path, &file.text)?;
    }
    crate::fault::point("adopt.files-written");
    let changes: Vec<LedgerChange> =
        migrations.into_iter().map(|migration| LedgerChange::Applied(migration, How::Import)).collect();
    let report = run.write(&changes, None).await?;
    Ok(BaselineOutcome::Done(files, Box::new(report)))
}

/// A baseline is the beginning of a history.
fn refuse_history(project: &Project, applied: usize) -> Result<(), Error> {
    if applied > 0 {
        return Err(Error::NotPossible {
            message: format!("\"{}\" has a history: {applied} migrations are applied", project.target.database()),
            hint: "`safe-migrate status` shows it; a baseline is for a database without".to_owned(),
        });
    }
    let set = match MigrationSet::load(&project.migrations_dir, &project.default_app) {
        Err(MigrationError::NoDirectory { .. }) => return Ok(()),
        set => set?,
    };
    match set.iter().next() {
        None => Ok(()),
        Some(first) => Err(Error::NotPossible {
            message: format!("{} holds migrations already, such as {}", project.migrations_dir.display(), first.id),
            hint: "to record those as applied: safe-migrate apply --fake; or name an empty directory with --migrations"
                .to_owned(),
        }),
    }
}

type Proven = (Vec<BaselineFile>, Vec<Arc<Migration>>);

/// Divides the dump, runs the migrations from nothing, and compares.
async fn proven(
    project: &Project,
    grouping: &Grouping,
    (replay, dump): (&Replay<'_>, &[u8]),
    operator: &dyn Operator,
) -> Result<Proven, Error> {
    let mut entries = replay.entries(dump).await?;
    let left_out: Vec<String> = entries
        .iter()
        .filter(|entry| OUTSIDE_LINKS.contains(&entry.kind.as_str()))
        .map(|entry| format!("{} {}", entry.kind.to_lowercase(), entry.name))
        .collect();
    if !left_out.is_empty() {
        operator.warn(&format!("left out, because it may hold a password: {}", left_out.join(", ")));
    }
    entries.retain(|entry| !OUTSIDE_LINKS.contains(&entry.kind.as_str()));
    let filled = replay.populated_views().await?;
    let apps = grouping.apps(&entries);
    let writer = Writer { project, entries: &entries, filled: &filled };
    let (files, migrations) = writer.files(&split(&entries, &apps))?;
    let set = MigrationSet::new(migrations)?;
    let in_order: Vec<Arc<Migration>> = set.iter().cloned().collect();
    operator.step("running the new migrations from nothing");
    let built = replay.build(&in_order).await?.schema;
    let production = replay.production().await?;
    let mut difference = production.difference(&built);
    // A database made anew has the version of today.
    let is_version = |kind: &str| kind == "EXTENSION VERSION";
    for changed in difference.changed.iter().filter(|one| is_version(&one.left.kind)) {
        let (name, here, new) = (&changed.left.name, &changed.left.text, &changed.right.text);
        operator.warn(&format!("extension {name}: {here} here, {new} in a database that is built anew"));
    }
    difference.changed.retain(|one| !is_version(&one.left.kind));
    if !difference.is_empty() {
        return Err(Gate::Unproven {
            message: format!("what was read builds something else (- production, + built):\n{difference}"),
            hint: "that is a shortcoming of safe-migrate; please report the object".to_owned(),
        }
        .into());
    }
    Ok((files, in_order))
}

struct Writer<'a> {
    project: &'a Project,
    entries: &'a [ArchiveEntry],
    /// Materialized views that hold rows, as `(schema, name)`.
    filled: &'a BTreeSet<(String, String)>,
}

impl Writer<'_> {
    fn files(&self, chunks: &[Chunk]) -> Result<(Vec<BaselineFile>, Vec<Migration>), Error> {
        let ids: BTreeMap<(String, usize), MigrationId> = chunks
            .iter()
            .map(|chunk| Ok(((chunk.app.clone(), chunk.number), self.id(chunk)?)))
            .collect::<Result<_, Error>>()?;
        let (mut files, mut migrations) = (Vec::new(), Vec::new());
        let mut wished: BTreeMap<&str, (String, usize)> = BTreeMap::new();
        for chunk in chunks {
            let id = &ids[&(chunk.app.clone(), chunk.number)];
            let statements = self.statements(chunk)?;
            if statements.is_empty() {
                continue;
            }
            let path = self.project.migrations_dir.join(&chunk.app).join(format!("{}.sql", id.name));
            let depends: Vec<String> =
                chunk.needs.iter().filter_map(|one| ids.get(one)).map(ToString::to_string).collect();
            let plain = text(&depends, &[], &statements, self.has_functions(chunk));
            let allows = self.denied(id, &path, &plain)?;
            let text = text(&depends, &allows, &statements, self.has_functions(chunk));
            migrations.push(Migration::parse(id.clone(), path.clone(), text.as_bytes())?);
            let (schema, count) = wished.entry(&chunk.app).or_default();
            statements.iter().for_each(|one| schema.push_str(&format!("{one};\n\n")));
            *count += statements.len();
            files.push(BaselineFile { migration: Some(id.clone()), path, text, statements: statements.len() });
        }
        for (app, (schema, statements)) in wished {
            let path = self.project.migrations_dir.join(app).join("schema.sql");
            let text = format!("-- The schema of the app {app} as it should be.\n\n{}\n", schema.trim_end());
            files.push(BaselineFile { migration: None, path, text, statements });
        }
        Ok((files, migrations))
    }

    fn id(&self, chunk: &Chunk) -> Result<MigrationId, Error> {
        let all_keys = chunk.entries.iter().all(|at| self.entries[*at].kind == "FK CONSTRAINT");
        let words = match (chunk.number, all_keys) {
            (1, _) => "initial",
            (_, true) => "foreign_keys",
            _ => "more",
        };
        let id = MigrationId::new(&chunk.app, &format!("{:04}_{words}", chunk.number));
        Ok(id.map_err(MigrationError::from)?)
    }

    fn has_functions(&self, chunk: &Chunk) -> bool {
        chunk.entries.iter().any(|at| matches!(self.entries[*at].kind.as_str(), "FUNCTION" | "PROCEDURE"))
    }

    /// The statements of a chunk: the dump's, without owners where that is the role that migrates.
    fn statements(&self, chunk: &Chunk) -> Result<Vec<String>, Error> {
        let owner = format!(" OWNER TO {}", quote_identifier(self.project.target.user()));
        let plain_owner = format!(" OWNER TO {}", self.project.target.user());
        let mut all = Vec::new();
        let mut refreshes = Vec::new();
        for at in &chunk.entries {
            let entry = &self.entries[*at];
            let statements = split_statements(&entry.sql, 1)
                .map_err(|error| MigrationError::Split { path: PathBuf::from(&entry.name), error })?;
            let is_own =
                |text: &str| text.starts_with("ALTER ") && (text.ends_with(&owner) || text.ends_with(&plain_owner));
            all.extend(statements.into_iter().map(|one| one.text).filter(|text| !is_own(text)));
            let name = (entry.schema.clone().unwrap_or_default(), entry.name.clone());
            if entry.kind == "MATERIALIZED VIEW" && self.filled.contains(&name) {
                let view = crate::postgres::qualified(&name.0, &name.1);
                refreshes.push(format!("REFRESH MATERIALIZED VIEW {view}"));
            }
        }
        all.extend(refreshes);
        Ok(all)
    }

    /// What lint would stop an empty database for: it is what the schema is.
    fn denied(&self, id: &MigrationId, path: &std::path::Path, text: &str) -> Result<Vec<String>, Error> {
        let migration = Arc::new(Migration::parse(id.clone(), path.to_owned(), text.as_bytes())?);
        let plan =
            Plan { direction: Direction::Apply, steps: vec![PlanStep { migration, direction: Direction::Apply }] };
        let findings = of_text(&plan, &self.project.policy);
        let codes: BTreeSet<String> = denied(&findings).into_iter().map(|one| one.code.clone()).collect();
        Ok(codes.into_iter().collect())
    }
}

fn text(depends: &[String], allows: &[String], statements: &[String], has_functions: bool) -> String {
    let mut text = format!(
        "-- The schema as it was on {}, taken over by `safe-migrate baseline`.\n",
        OffsetDateTime::now_utc().date()
    );
    // Writing to a String cannot fail.
    if !depends.is_empty() {
        let _ = writeln!(text, "-- depends: {}", depends.join(", "));
    }
    for code in allows {
        let _ = writeln!(text, "-- allow: {code} the schema as it was");
    }
    text.push_str("-- migrate:up\n");
    if has_functions {
        // A body may name what is made behind it.
        text.push_str("SET LOCAL check_function_bodies = false;\n\n");
    }
    statements.iter().for_each(|one| text.push_str(&format!("{one};\n\n")));
    format!("{}\n", text.trim_end())
}
