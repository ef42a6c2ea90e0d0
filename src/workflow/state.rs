//! Where a database stands: its ledger beside the migration files.

use crate::migration::{AppliedMigration, Direction, LedgerCheck, MigrationId, MigrationSet, Plan};
use crate::postgres::ledger::{self, HalfDone, StepRecord, StepState};
use crate::postgres::{Ledger, RunLock, Session};

use super::{Error, Gate, Project, run_record};

/// Ledger and files, read together.
#[derive(Debug)]
pub struct State {
    /// The files and their graph.
    pub migrations: MigrationSet,
    /// What production says.
    pub ledger: Ledger,
    /// What is applied, as the files see it: a squash in the place of what it replaces.
    pub applied: Vec<AppliedMigration>,
    /// Where the two disagree.
    pub check: LedgerCheck,
    /// Rows of runs that this ledger does not know, each with its run: they come from another ledger.
    pub mixed: Vec<(MigrationId, String)>,
    /// Whether a run has the lock of the database at this moment.
    pub is_locked: bool,
}

/// What the operator asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Forward: everything, one app, or up to one migration of it.
    Forward {
        /// App.
        app: Option<String>,
        /// Number, name or unique prefix.
        target: Option<String>,
    },
    /// Back to a migration of an app, or `zero`.
    Back {
        /// App.
        app: String,
        /// Number, name, unique prefix or `zero`.
        target: String,
    },
    /// Exactly what the last run applied.
    BackLast,
}

impl State {
    /// Reads files and ledger. Changes nothing.
    pub async fn read(project: &Project, session: &Session) -> Result<Self, Error> {
        let files = MigrationSet::load(&project.migrations_dir, &project.default_app)?;
        let ledger = Ledger::read(session).await?;
        let migrations = files.for_ledger(&ledger.applied)?;
        let applied = migrations.applied(&ledger.applied);
        let check = migrations.check(&applied);
        let is_locked = RunLock::is_taken(session, project.target.database()).await?;
        let is_unknown = |row: &&AppliedMigration| !ledger.runs.iter().any(|run| run.id == row.run_id);
        let mixed = ledger.applied.iter().filter(is_unknown).map(|row| (row.id.clone(), row.run_id.clone())).collect();
        Ok(Self { migrations, ledger, applied, check, mixed, is_locked })
    }

    /// Stops when the ledger holds rows of another database's; the store knows whose they are.
    pub async fn refuse_mixed(&self, project: &Project) -> Result<(), Error> {
        if self.mixed.is_empty() {
            return Ok(());
        }
        let mut rows = Vec::new();
        for (id, run) in &self.mixed {
            let whose = run_record::source_of(project, run).await;
            let whose =
                whose.map_or_else(|| "which no record of ours names".to_owned(), |source| format!("of {source}"));
            rows.push(format!("{id}: run {run}, {whose}"));
        }
        Err(Gate::MixedLedger { database: project.target.database().to_owned(), of: project.source.clone(), rows }
            .into())
    }

    /// Records the squashes of which the database has all that they replace. The caller has the lock of that database, or
    /// it is a shadow.
    pub async fn record_squashes(&mut self, session: &Session, owners: &[String]) -> Result<Vec<MigrationId>, Error> {
        let mut recorded = Vec::new();
        let rows = self.migrations.unrecorded_squashes(&self.ledger.applied);
        if !rows.is_empty() {
            ledger::ours::check(session, owners).await?;
        }
        for row in rows {
            ledger::record_squash(session, &row).await?;
            recorded.push(row.id);
        }
        if !recorded.is_empty() {
            self.ledger = Ledger::read(session).await?;
            self.applied = self.migrations.applied(&self.ledger.applied);
        }
        Ok(recorded)
    }

    /// The plan for a selection.
    pub fn plan(&self, selection: &Selection) -> Result<Plan, Error> {
        let applied = &self.applied;
        let plan = match selection {
            Selection::Forward { app, target } => {
                self.migrations.plan_apply(applied, app.as_deref(), target.as_deref())?
            }
            Selection::Back { app, target } => self.migrations.plan_rollback(applied, app, target)?,
            Selection::BackLast => self.migrations.plan_rollback_run(applied, self.last_run().unwrap_or_default())?,
        };
        match plan.missing_program() {
            Some(missing) => Err(missing.into()),
            None => Ok(plan),
        }
    }

    /// The last run that applied something which still is applied; one that died counts with what it got done, one that
    /// rolled back does not.
    pub fn last_run(&self) -> Option<&str> {
        self.applied.iter().max_by_key(|one| one.applied_at).map(|one| one.run_id.as_str())
    }

    /// Stops a rollback of what a half-done migration stands on: its journal says which statements are not to be run again,
    /// and they would be gone.
    pub fn refuse_half_done(&self, plan: &Plan) -> Result<(), Error> {
        if plan.direction == Direction::Apply {
            // Of what has no file any more, or another name, nobody could do the other half.
            let gone = self.ledger.half_done().into_iter().filter(|one| self.migrations.get(&one.id).is_none());
            let gone: Vec<String> = gone.map(|one| self.half_done_in_words(&one)).collect();
            return if gone.is_empty() { Ok(()) } else { Err(Gate::HalfDoneWithoutFile(gone).into()) };
        }
        let undone: Vec<&MigrationId> = plan.steps.iter().map(|step| &step.migration.id).collect();
        let half_done: Vec<String> = self
            .migrations
            .iter()
            .filter(|migration| self.is_half_done(&migration.id))
            .filter(|migration| self.migrations.ancestors(&migration.id).iter().any(|id| undone.contains(&id)))
            .map(|migration| self.place(&migration.id))
            .collect();
        if half_done.is_empty() { Ok(()) } else { Err(Gate::HalfDone(half_done).into()) }
    }

    /// `kitchen/0001_step stopped in the middle: run … did 2 statements of it outside a transaction`.
    pub fn half_done_in_words(&self, one: &HalfDone) -> String {
        let section = if one.back { "down section" } else { "up section" };
        let file = match self.migrations.get(&one.id) {
            Some(_) => "",
            None => ", and its file is not here",
        };
        let up_to = one.statements;
        format!(
            "{} stopped in the middle: run {} came to statement {up_to} of its {section}, outside a transaction{file}",
            one.id, one.run_id
        )
    }

    fn is_half_done(&self, id: &MigrationId) -> bool {
        let began = |step: &StepRecord| {
            (&step.app, &step.name) == (&id.app, &id.name)
                && step.direction == "up"
                && matches!(step.state, StepState::Started | StepState::Done)
        };
        self.ledger.steps.iter().any(began) && !self.applied.iter().any(|one| one.id == *id)
    }

    /// Stops on changed files, conflicts and a history that cannot be; on missing files while something is pending.
    pub fn refuse_disagreement(&self, plan: &Plan) -> Result<(), Error> {
        let names = |ids: Vec<String>| if ids.is_empty() { None } else { Some(ids) };
        if let Some(changed) = names(self.check.changed.iter().map(|one| self.place(&one.id)).collect()) {
            return Err(Gate::ChangedFiles(changed).into());
        }
        if !self.check.conflicts.is_empty() {
            return Err(Gate::Conflict(self.check.conflicts.clone()).into());
        }
        let inconsistent = self.check.inconsistent.iter();
        let inconsistent =
            inconsistent.map(|one| format!("{} on {}", one.applied, self.place(&one.dependency))).collect();
        if let Some(inconsistent) = names(inconsistent) {
            return Err(Gate::Inconsistent(inconsistent).into());
        }
        let missing = names(self.check.missing.iter().map(ToString::to_string).collect());
        match missing {
            Some(missing) if !plan.is_empty() && plan.direction == crate::migration::Direction::Apply => {
                Err(Gate::MissingFiles(missing).into())
            }
            _ => Ok(()),
        }
    }

    /// A migration and its file.
    fn place(&self, id: &MigrationId) -> String {
        match self.migrations.get(id) {
            Some(migration) => format!("{id} ({})", migration.path.display()),
            None => id.to_string(),
        }
    }
}
