//! Recovers a part of a snapshot into the live database: a table or a column, with what undoing it needs.
//!
//! The way: the lock; a marked scratch database on the same server, with the whole schema of the snapshot and the rows
//! of the one table, proven by their hashes; what is asked for is counted against the live table; the operator is
//! asked; and one transaction on the session that holds the lock changes the live database, and writes the run, what
//! was overwritten, and how to undo it.
//!
//! Why a scratch database, and not a staging table in the live one: there a column may have a type that is no longer
//! known, `--where` may name columns and functions that are gone, and definitions (defaults, constraints, indexes)
//! are read back by the server itself, in the words of `pg_dump` and of `pg_get_constraintdef`, instead of being cut
//! out of text. Nothing is made in the live database before its transaction, but temporary tables. If we die, the
//! mark lets the next restore drop the scratch database.
//!
//! Triggers of the live table fire as for any other write (`session_replication_role` stays as it is, which needs no
//! superuser either): an audit trail that misses the largest change of the year is none. They are named before the
//! question. A trigger that changes the value that was just written stops the run, and nothing is changed.

mod column;
mod column_returns;
mod find;
mod missing;
mod plan;
mod run;
mod scratch;
mod undo;
mod undo_table;
mod whole;

use std::time::Duration;

use crate::migration::is_one_expression;
use crate::postgres::foreign_code;
use crate::postgres::recovery::{self, Relation};
use crate::postgres::{RunLock, Session, WorkDirectory, catalog, database, keep_session, prepare_copy_session, roles};
use crate::report::format_list;
use crate::snapshot::{Manifest, SnapshotReader};
use crate::store::Store;

use super::code_of_others;
use super::project::Server;
use super::signed;
use super::{Confirmation, Error, Gate, Interrupt, Operator, Project, manifest_parts, restore};
use scratch::{Archive, Scratch};

pub use plan::{Action, ForeignKeyCheck, Mode, PartDone, PartPlan, PartReport, PartRequest};
pub use undo::{PartUndoReport, undo_part};

/// How long the network may leave sent bytes unanswered before the session that holds the lock is given up.
const UNANSWERED: Duration = Duration::from_secs(60);

/// The lock, the session that will change the live database, and who is told.
struct Ground<'a> {
    project: &'a Project,
    server: Server,
    store: Store,
    live: Session,
    lock: RunLock,
    operator: &'a dyn Operator,
    interrupt: &'a Interrupt,
}

/// What the recovery of one table works with.
struct Work<'a> {
    ground: &'a Ground<'a>,
    request: &'a PartRequest,
    manifest: &'a Manifest,
    files: &'a std::path::Path,
    archive: &'a Archive,
    scratch: &'a Scratch,
    /// Session on the scratch database.
    old: &'a Session,
    /// The table there.
    table: Relation,
    /// The table in the live database.
    present: Option<Relation>,
}

/// Recovers a part. A failed or interrupted recovery drops its scratch database and leaves the live one as it was.
pub async fn recover(
    project: &Project,
    request: &PartRequest,
    operator: &dyn Operator,
    interrupt: &Interrupt,
) -> Result<PartReport, Error> {
    let store = project.open_store().await?;
    let reader = project.open_snapshot(&store, &request.snapshot, operator).await?;
    signed::refuse_stranger(project, &store, &reader, operator).await?;
    let ground = Ground::take(project, store, reader.manifest(), operator, interrupt).await?;
    restore::check_archive_version(&ground.server, reader.manifest())?;
    restore::sweep(project, operator).await;
    let files = WorkDirectory::create(&project.shadow_dir)
        .map_err(|source| Error::File { what: "cannot make a temporary directory".to_owned(), source })?;
    let archive = Archive::read(&ground.server, &reader, files.path()).await?;
    let tables = find::tables(&archive.entries, &request.tables)?;
    ground.refuse_missing(&reader).await?;
    // Its checks and partition keys act in the scratch database too.
    let trusted = code_of_others::trusted(project, &ground.server.maintenance).await?;
    let found = code_of_others::of_archive(&ground.server.programs, &archive.path, None, &trusted).await?;
    code_of_others::accept(&found.code, request.run_foreign_code.as_deref(), operator)?;
    let scratch = Scratch::create(project, &ground.server, reader.manifest()).await?;
    let result = in_scratch(&ground, request, &reader, files.path(), &archive, &scratch, &tables).await;
    let session = &ground.server.maintenance;
    let dropped = database::drop_marked(session, &project.target, &scratch.database).await;
    let report = result?;
    if let Err(error) = dropped {
        // The live database may be changed by now: that is what the operator must hear.
        operator.warn(&format!("scratch database \"{}\" was not dropped: {error}", scratch.database.name));
    }
    Ok(report)
}

async fn in_scratch(
    ground: &Ground<'_>,
    request: &PartRequest,
    reader: &SnapshotReader,
    files: &std::path::Path,
    archive: &Archive,
    scratch: &Scratch,
    tables: &[(String, String)],
) -> Result<PartReport, Error> {
    let (operator, interrupt) = (ground.operator, ground.interrupt);
    let named: Vec<String> = tables.iter().map(|(schema, name)| format!("{schema}.{name}")).collect();
    operator.step(&format!("reading {} of snapshot {} into a scratch database", named.join(", "), request.snapshot));
    let old = interrupt.or(scratch.make_schema(&ground.server, archive, files)).await?;
    prepare_copy_session(&old, Some(&manifest_parts::lc_monetary(reader.manifest()))).await?;
    let manifest = reader.manifest();
    let mut works = Vec::new();
    for (schema, name) in tables {
        let (table, present) = find::both(&old, &ground.live, (schema, name)).await?;
        works.push(Work { ground, request, manifest, files, archive, scratch, old: &old, table, present });
    }
    let prepared = interrupt.or(Prepared::read(&works)).await?;
    for work in &works {
        interrupt.or(scratch.load(ground.project, &old, &work.table, reader, operator)).await?;
    }
    let (job, plans) = interrupt.or(prepared.count(&works)).await?;
    decide(&works, job, plans).await
}

/// Says what is found, asks, and does it.
async fn decide(works: &[Work<'_>], job: run::Job, mut plans: Vec<PartPlan>) -> Result<PartReport, Error> {
    let Some(Work { ground, request, .. }) = works.first() else { return Ok(PartReport { plans, done: None }) };
    let trusted = code_of_others::trusted(ground.project, &ground.server.maintenance).await?;
    for (work, plan) in works.iter().zip(&mut plans) {
        if let Some(present) = work.present.as_ref().filter(|_| job.staged().is_some()) {
            plan.foreign_code = foreign_code::of_writes(&ground.live, present.oid, &trusted).await?;
        }
    }
    if request.dry_run || plans.iter().all(PartPlan::is_empty) {
        return Ok(PartReport { plans, done: None });
    }
    for line in plans.iter().flat_map(PartPlan::lines) {
        ground.operator.step(&line);
    }
    for plan in &plans {
        code_of_others::accept(&plan.foreign_code, request.run_foreign_code.as_deref(), ground.operator)?;
    }
    let what: Vec<String> = plans.iter().map(PartPlan::summary).collect();
    ground.confirm(&format!("{} ({})?", what.join(" and "), ground.project.target.display()))?;
    ground.interrupt.check()?;
    let done = run::carry_out(works, job).await?;
    Ok(PartReport { plans, done: Some(done) })
}

/// What is to be done, read from the definitions, before any row is there.
enum Prepared {
    Column(column::ColumnJob),
    ColumnReturns(Box<column_returns::ReturnJob>),
    Missing(missing::MissingJob),
    Whole(whole::WholeJob),
}

impl Prepared {
    async fn read(works: &[Work<'_>]) -> Result<Self, Error> {
        match works {
            [work] if work.request.column.is_some() => {
                column::prepare(work, work.request.column.as_deref().unwrap_or_default()).await
            }
            [work] if work.present.is_none() || work.request.mode != Mode::Missing => {
                Ok(Self::Whole(whole::prepare(work).await?))
            }
            works => Ok(Self::Missing(missing::prepare(works).await?)),
        }
    }

    async fn count(self, works: &[Work<'_>]) -> Result<(run::Job, Vec<PartPlan>), Error> {
        let mut sources = Vec::new();
        for work in works {
            sources.push(work.source().await?);
        }
        let (Some(work), Some(source)) = (works.first(), sources.first().cloned()) else {
            return Err(Error::RestoreRefused("no table is named".to_owned()));
        };
        let (job, plan) = match self {
            Self::Missing(job) => return missing::count(works, job, &sources).await,
            Self::Column(job) => column::count(work, job, &source).await?,
            Self::ColumnReturns(job) => column_returns::count(work, *job, source).await?,
            Self::Whole(job) => whole::count(work, job, source).await?,
        };
        Ok((job, vec![plan]))
    }
}

impl Work<'_> {
    /// The rows of the scratch table that take part.
    async fn source(&self) -> Result<String, Error> {
        let Some(condition) = &self.request.condition else { return Ok(self.table.rows()) };
        if !is_one_expression(condition) {
            return Err(Error::NoSuchPart {
                message: format!("--where \"{condition}\" is not one condition: it closes more than it opens, or less"),
                hint: Some("write a condition as it stands behind WHERE, such as --where \"id < 5\"".to_owned()),
            });
        }
        recovery::condition_view(self.old, &self.table, condition).await.map_err(|error| Error::NoSuchPart {
            message: format!(
                "--where \"{condition}\" is no condition on the columns of {}: {error}",
                self.table.display()
            ),
            hint: None,
        })
    }

    fn encoding(&self) -> &str {
        &self.manifest.database.encoding
    }

    fn plan(&self, action: Action) -> PartPlan {
        let mut plan = PartPlan::new(action, self.table.display(), None, self.manifest);
        plan.condition.clone_from(&self.request.condition);
        if self.table.has_children {
            plan.notes.push("the tables that inherit from it are tables of their own, and are left out".to_owned());
        }
        plan
    }
}

fn refused(message: String, hint: &str) -> Error {
    Gate::RecoveryRefused { message, hint: hint.to_owned() }.into()
}

impl<'a> Ground<'a> {
    async fn take(
        project: &'a Project,
        store: Store,
        manifest: &Manifest,
        operator: &'a dyn Operator,
        interrupt: &'a Interrupt,
    ) -> Result<Self, Error> {
        if manifest.source != project.source {
            return Err(Error::RestoreRefused(format!(
                "the snapshot is of source \"{}\", and this is \"{}\"",
                manifest.source, project.source
            )));
        }
        let ground = Self::take_lock(project, store, operator, interrupt).await?;
        let session = &ground.server.maintenance;
        if !roles::may_create_databases(session).await? {
            return Err(Error::NoCreatedb { role: project.target.user().to_owned() });
        }
        for stray in database::drop_unfinished(session, &project.target, project.target.database()).await? {
            operator.step(&format!("dropped \"{stray}\", left unfinished by an earlier restore"));
        }
        prepare_copy_session(&ground.live, Some(&manifest_parts::lc_monetary(manifest))).await?;
        Ok(ground)
    }

    async fn take_lock(
        project: &'a Project,
        store: Store,
        operator: &'a dyn Operator,
        interrupt: &'a Interrupt,
    ) -> Result<Self, Error> {
        let server = project.connect_directly().await?;
        keep_session(&server.maintenance).await?;
        let database = project.target.database();
        let lock = RunLock::acquire(&server.maintenance, database, Duration::ZERO).await?;
        let live = project.target.with_tcp_user_timeout(UNANSWERED).connect("safe-migrate").await?;
        prepare_copy_session(&live, None).await?;
        keep_session(&live).await?;
        lock.also_on(&live, database).await?;
        Ok(Self { project, server, store, live, lock, operator, interrupt })
    }

    async fn refuse_missing(&self, reader: &SnapshotReader) -> Result<(), Error> {
        let (session, manifest) = (&self.server.maintenance, reader.manifest());
        let extensions: Vec<String> = manifest.extensions.iter().map(|one| one.name.clone()).collect();
        let extensions = catalog::missing_extensions(session, &extensions).await?;
        let roles = manifest_parts::roles(reader).await?.facts.missing(&roles::names(session).await?);
        for (what, names) in [("the files of these extensions", extensions), ("these roles", roles)] {
            if !names.is_empty() {
                return Err(Error::RestoreRefused(format!(
                    "the server lacks {what}, which the snapshot needs: {}; make them first",
                    format_list(&names)
                )));
            }
        }
        Ok(())
    }

    fn confirm(&self, question: &str) -> Result<(), Error> {
        match self.operator.confirm(question) {
            Confirmation::Yes => Ok(()),
            Confirmation::No => Err(Gate::NotConfirmed.into()),
            Confirmation::CannotAsk => Err(Gate::CannotAsk.into()),
        }
    }
}
