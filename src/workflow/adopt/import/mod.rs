//! `import --from TOOL PATH`: another tool's migrations become files of ours, and what its table says is applied becomes
//! rows of the ledger. Nothing of them is run in production; in a private database all of them are, and what is applied must
//! build what production is.

mod alembic;
mod django;
mod history;
mod places;
mod request;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::migration::{
    ForeignMigration, ForeignTool, Migration, MigrationError, MigrationId, MigrationSet, foreign_names,
};
use crate::postgres::foreign_ledger::ForeignRow;
use crate::postgres::ledger::How;
use crate::report::format_list;

use super::super::author::write_new;
use super::super::replay::Replay;
use super::super::{Error, Interrupt, Operator, Project};
use super::ledger_run::{LedgerChange, LedgerReport, LedgerRun};
use places::Places;

pub use request::{ImportFrom, ImportRequest};

/// A migration that was taken over.
#[derive(Clone, Debug)]
pub struct Imported {
    /// Its name here.
    pub id: MigrationId,
    /// What the tool calls it.
    pub key: String,
    /// Its file.
    pub path: PathBuf,
    /// Whether the tool's table says that it is applied.
    pub applied: bool,
    /// What it did besides SQL.
    pub not_carried: Vec<String>,
}

/// How it ended well.
#[derive(Debug)]
pub enum ImportOutcome {
    /// `--dry-run`.
    Planned(Vec<Imported>),
    /// The files are written, and the ledger has the rows.
    Done(Vec<Imported>, Box<LedgerReport>),
}

fn not_possible(message: String, hint: &str) -> Error {
    Error::NotPossible { message, hint: hint.to_owned() }
}

/// Takes over files, order and history.
pub async fn import(
    project: &Project,
    request: &ImportRequest,
    operator: &dyn Operator,
    interrupt: &Interrupt,
) -> Result<ImportOutcome, Error> {
    let tool = request.from.name();
    if !request.path.is_dir() {
        let message = format!("there is no directory {}", request.path.display());
        return Err(not_possible(
            message,
            "name the directory of the migrations (of manage.py, of alembic.ini, of structure.sql)",
        ));
    }
    let command = format!("import --from {tool} {}", request.path.display());
    let run = LedgerRun::begin(project, (&command, request.wait), operator, interrupt).await?;
    if run.applied() > 0 {
        return Err(not_possible(
            format!("\"{}\" has a history: {} migrations are applied", project.target.database(), run.applied()),
            "`safe-migrate status` shows it; another tool's is imported into an empty ledger",
        ));
    }
    let ledger = request.from.ledger();
    let table = ledger.find(&run.session, request.table.as_deref()).await?;
    let rows = match &table {
        Some(table) => ledger.read(&run.session, table).await?,
        None => {
            let name = request.table.as_deref().unwrap_or(ledger.table());
            operator.warn(&format!("there is no table {name} here, so nothing counts as applied"));
            Vec::new()
        }
    };
    if let Some((row, why)) = rows.iter().find_map(|row| Some((row, row.broken.as_ref()?))) {
        return Err(not_possible(
            format!("{tool}'s own table says of {}: {why}", row.key),
            &format!("bring that in order with {tool} first"),
        ));
    }
    let proof = async {
        let replay = Replay::start(project, &run.server).await?;
        let table = table.as_ref();
        let result =
            Import { project, request, replay: &replay, rows: &rows, table, operator, interrupt }.proven().await;
        replay.stop().await?;
        result
    };
    let Proven { imported, texts, migrations, bypass } = interrupt.or(proof).await?;
    for one in imported.iter().filter(|one| !one.not_carried.is_empty()) {
        let is = if one.applied {
            "it is applied, so only a new database misses it"
        } else {
            "it is pending, and no run goes on before it is there"
        };
        operator.warn(&format!("{} has no SQL for: {} ({is})", one.id, format_list(&one.not_carried)));
    }
    if request.dry_run {
        return Ok(ImportOutcome::Planned(imported));
    }
    let applied = imported.iter().filter(|one| one.applied).count();
    run.confirm(&format!(
        "take over {} migrations of {tool} into {}, {applied} of them as applied in {}?",
        imported.len(),
        project.migrations_dir.display(),
        project.target.display()
    ))?;
    interrupt.check()?;
    if let Some((there, _)) = texts.iter().find(|(path, _)| path.exists()) {
        return Err(Error::OutputExists(there.clone()));
    }
    for (path, text) in &texts {
        write_new(path, text)?;
    }
    crate::fault::point("adopt.files-written");
    let is_applied = |migration: &Migration| imported.iter().any(|one| one.applied && one.id == migration.id);
    let changes: Vec<LedgerChange> = migrations
        .into_iter()
        .filter(|migration| is_applied(migration))
        .map(|migration| LedgerChange::Applied(migration, How::Import))
        .collect();
    let report = run.write(&changes, bypass).await?;
    Ok(ImportOutcome::Done(imported, Box::new(report)))
}

struct Import<'a> {
    project: &'a Project,
    request: &'a ImportRequest,
    replay: &'a Replay<'a>,
    rows: &'a [ForeignRow],
    table: Option<&'a (String, String)>,
    operator: &'a dyn Operator,
    interrupt: &'a Interrupt,
}

struct Proven {
    imported: Vec<Imported>,
    /// Files to be written; none when they are where they shall be.
    texts: Vec<(PathBuf, String)>,
    /// In the order in which they run.
    migrations: Vec<Arc<Migration>>,
    bypass: Option<String>,
}

impl Import<'_> {
    async fn proven(&self) -> Result<Proven, Error> {
        let tool = self.request.from.name();
        let foreign = match self.request.from {
            ImportFrom::Files(tool) => tool.read(&self.request.path, self.request.names.as_ref()).map_err(|error| {
                not_possible(error.to_string(), "correct that file, or name the directory that holds the migrations")
            })?,
            ImportFrom::Django => self.of_django().await?,
            ImportFrom::Alembic => self.of_alembic().await?,
        };
        let applied = self.applied(&foreign)?;
        let in_place = self.is_in_place();
        // Where they are already they have an app.
        let app = if in_place { &self.project.default_app } else { &self.request.app };
        let places = Places::of(self.project, &foreign, app)?;
        let (mut texts, mut migrations) = (Vec::new(), Vec::new());
        let mut imported = Vec::new();
        for (at, one) in foreign.iter().enumerate() {
            let (id, path) = (places.id(at).clone(), places.path(at).to_owned());
            let text = one.to_text(&places.depends(one));
            let migration = Migration::parse(id.clone(), path.clone(), text.as_bytes());
            // The lines are of the file to be, which is not there to look at.
            let migration =
                migration.map_err(|error| not_possible(format!("{}: {error}", one.source), error_hint(&error)))?;
            migrations.push(migration);
            let not_carried = one.not_carried.clone();
            imported.push(Imported {
                id,
                key: one.key.clone(),
                path: path.clone(),
                applied: applied.contains(&at),
                not_carried,
            });
            texts.push((path, text));
        }
        let set = match in_place {
            true => {
                texts.clear();
                MigrationSet::load(&self.project.migrations_dir, &self.project.default_app)?
            }
            false => {
                self.refuse_files()?;
                MigrationSet::new(migrations)?
            }
        };
        let migrations: Vec<Arc<Migration>> = set.iter().cloned().collect();
        self.refuse_gap(&set, &imported)?;
        let bypass = self.compare(&migrations, &imported).await?;
        self.operator.step(&format!("{} migrations of {tool} run from nothing", migrations.len()));
        Ok(Proven { imported, texts, migrations, bypass })
    }

    /// Whether the directory is the one that we read already, as a dbmate project's `db/migrations` may be.
    fn is_in_place(&self) -> bool {
        let same = |a: &Path, b: &Path| matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
        self.request.from == ImportFrom::Files(ForeignTool::Dbmate)
            && same(&self.request.path, &self.project.migrations_dir)
    }

    fn refuse_files(&self) -> Result<(), Error> {
        let set = match MigrationSet::load(&self.project.migrations_dir, &self.project.default_app) {
            Err(MigrationError::NoDirectory { .. }) => return Ok(()),
            set => set?,
        };
        match set.iter().next() {
            None => Ok(()),
            Some(first) => Err(not_possible(
                format!("{} holds migrations already, such as {}", self.project.migrations_dir.display(), first.id),
                "name an empty directory with --migrations or in [migrations] dir",
            )),
        }
    }
}

fn error_hint(error: &MigrationError) -> &'static str {
    match error {
        MigrationError::Split { .. } => "rewrite that statement as SQL that a server takes",
        MigrationError::TransactionControl { .. } => {
            "take its own BEGIN and COMMIT out, and divide it where they stand"
        }
        _ => "correct that file",
    }
}

/// The names of ours, per app.
fn named(foreign: &[ForeignMigration], app_of: impl Fn(&ForeignMigration) -> String) -> Vec<(String, String)> {
    let mut by_app: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, one) in foreign.iter().enumerate() {
        by_app.entry(app_of(one)).or_default().push(at);
    }
    let mut names = vec![(String::new(), String::new()); foreign.len()];
    for (app, members) in by_app {
        let list: Vec<&ForeignMigration> = members.iter().map(|at| &foreign[*at]).collect();
        for (at, name) in members.iter().zip(foreign_names(&list)) {
            names[*at] = (app.clone(), name);
        }
    }
    names
}
