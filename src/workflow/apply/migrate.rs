//! The part of a run that changes production.

use std::time::Duration;

use crate::migration::{Direction, Plan, PlanStep};
use crate::postgres::{
    ExecuteError, LockWatch, ProgramRunner, RunContext, RunRecord, StatementTrace, Watcher, commit_locally,
    commit_together, database, ledger, run_step, run_step_together,
};
use crate::report::{format_duration, format_things};

use super::super::programs::MigrationPrograms;
use super::super::restore::WayBack;
use super::super::{Error, Interrupt, Operator, Project, Unit, run_record};
use super::after_failure::Undone;
use super::{AfterFailure, ApplyReport, Evidence, Run, verify};

/// How often a statement is cancelled that goes on after the operator's wish to stop.
const CANCEL_EVERY: Duration = Duration::from_millis(500);

impl Run<'_> {
    /// Runs the plan, migration by migration. On failure the run is closed and the error says what production is now.
    ///
    /// The evidence is asked for so that nobody can call this without it.
    pub(super) async fn migrate(&self, evidence: &Evidence, record: &mut RunRecord) -> Result<(), Error> {
        // The store knows of the run before production does: if the ledger is lost, the store still names its snapshot.
        run_record::write(self.store, &self.project.source, record).await?;
        // Not in the one transaction of a fence: the next run must find this one when we are killed in it.
        let session = self.aside();
        ledger::ensure(session, &self.project.ledger_owners).await?;
        self.take_lease(record).await?;
        ledger::close_dead(session).await?;
        record.insert(session).await?;
        let result = if self.is_one_transaction() {
            self.together(record).await.map_err(|error| (0, error))
        } else {
            self.one_by_one(record).await
        };
        match result {
            Ok(()) => {
                // What comes now connects anew.
                self.let_go().await;
                Ok(())
            }
            Err((done, error)) => Err(self.stopped(evidence, record, done, error).await),
        }
    }

    /// Each migration in its own transaction, or outside one. An error comes with the number of migrations before it.
    async fn one_by_one(&self, record: &RunRecord) -> Result<(), (usize, Error)> {
        self.close_database(&record.id).await.map_err(|error| (0, error))?;
        for (done, step) in self.prepared.plan.steps.iter().enumerate() {
            self.one(record, step, done).await.map_err(|error| (done, error))?;
        }
        Ok(())
    }

    /// All migrations in the transaction of the fence. Nothing of it remains when one fails.
    async fn together(&self, record: &RunRecord) -> Result<(), Error> {
        for (done, step) in self.prepared.plan.steps.iter().enumerate() {
            self.one(record, step, done).await?;
        }
        self.interrupt.check()?;
        let Some(last) = self.prepared.plan.steps.last() else { return Ok(()) };
        let context = RunContext {
            programs: None,
            spec: &self.project.target,
            run_id: &record.id,
            journal: &[],
            options: &self.project.execute,
            tracer: None,
            locks: None,
            maintenance: &self.project.maintenance_database,
            watcher: None,
        };
        commit_together(&self.prepared.session, context, &last.migration).await?;
        let migrations = format_things(self.prepared.plan.steps.len() as u64, "migration");
        self.operator.step(&format!("{} {migrations} in one transaction", verb(last)));
        Ok(())
    }

    async fn one(&self, record: &RunRecord, step: &PlanStep, done: usize) -> Result<(), Error> {
        self.interrupt.check()?;
        let prepared = self.prepared;
        self.refuse_other_ground(record, &prepared.plan.steps[..done]).await?;
        // The target of a closed fence takes no connection, and any database of the server knows what was committed.
        let maintenance = self.project.database(&database::current(&prepared.server.maintenance).await?);
        let watched = Watched { operator: self.operator, interrupt: self.interrupt };
        // Writers wait behind a fence because they shall.
        let max_queue = if self.fence.is_some() { 0 } else { self.project.execute.max_queue };
        let locks = LockWatch::new(&prepared.aside, max_queue);
        let programs = self.programs_of(step).await?;
        let context = RunContext {
            programs: programs.as_ref().map(|programs| programs as &dyn ProgramRunner),
            spec: if self.fence.is_some() { &maintenance } else { &self.project.target },
            run_id: &record.id,
            journal: &prepared.state.ledger.steps,
            options: &self.project.execute,
            tracer: None,
            locks: Some(&locks),
            maintenance: &self.project.maintenance_database,
            watcher: Some(&watched),
        };
        let retries = self.project.execute.retries;
        let retry = |error: &ExecuteError, attempt: u32| {
            let id = &step.migration.id;
            self.operator.warn(&format!("{id}: {error}; trying again ({attempt} of {retries})"));
            self.note_deadlock(error);
        };
        let trace = if self.is_one_transaction() {
            let step = run_step_together(&prepared.session, step, context, &retry);
            self.ending_deadlocks(self.cancel_on_interrupt(Cancelling::UntilTheEnd, step)).await?
        } else {
            let cancelling = Cancelling::of(step);
            self.cancel_on_interrupt(cancelling, run_step(&prepared.session, step, context, &retry)).await?
        };
        let verb = if self.is_one_transaction() { "ran" } else { verb(step) };
        self.operator.step(&format!("{verb} {} in {}", step.migration.id, total(&trace)));
        Ok(())
    }

    /// Runs the programs of a step with production's address.
    pub(super) async fn programs_of(&self, step: &PlanStep) -> Result<Option<MigrationPrograms<'_>>, Error> {
        let of = (self.project, &*step.migration, self.prepared.server.identity.major());
        MigrationPrograms::in_production(of, self.operator, self.interrupt).await
    }

    /// Runs a step to its end; the operator's wish to stop cancels its statement, and the step's own error handling
    /// then rolls back. The step is never dropped in the middle.
    pub(super) async fn cancel_on_interrupt(
        &self,
        cancelling: Cancelling,
        step: impl Future<Output = Result<Vec<StatementTrace>, ExecuteError>>,
    ) -> Result<Vec<StatementTrace>, Error> {
        let mut step = Box::pin(step);
        tokio::select! {
            result = &mut step => return Ok(result?),
            () = self.interrupt.wait() => {}
        }
        let mut left = cancelling;
        let result = loop {
            // A COMMIT whose connection is lost may still wait for a standby; to cancel that wait is not ours.
            if !self.prepared.session.is_closed() && left != Cancelling::Never {
                self.prepared.session.cancel().await?;
                left = left.after_one();
            }
            tokio::select! {
                result = &mut step => break result,
                () = tokio::time::sleep(CANCEL_EVERY) => {}
            }
        };
        match result {
            Ok(trace) => Ok(trace),
            Err(ExecuteError::Statement { source, .. } | ExecuteError::AtCommit { source, .. })
                if source.is_cancelled() =>
            {
                Err(Error::Interrupted)
            }
            Err(ExecuteError::Stopped { changed: false, .. }) => Err(Error::Interrupted),
            Err(error) => Err(error.into()),
        }
    }

    /// Closes the run after a failure, does what `[on_failure]` says, and says what production is now.
    async fn stopped(&self, evidence: &Evidence, record: &mut RunRecord, done: usize, error: Error) -> Error {
        let interrupted = matches!(error, Error::Interrupted | Error::Execute(ExecuteError::Stopped { .. }));
        let outcome = if interrupted { "interrupted" } else { "failed" };
        let changed = done > 0 || matches!(&error, Error::Execute(error) if error.left_changes());
        if matches!(error, Error::Execute(ExecuteError::UnknownCommit { .. })) {
            self.let_go().await;
            // The transaction in doubt holds its locks, so the schema cannot be read; the next run takes it as it is.
            run_record::finish(record, outcome, Some(&error));
            record.fingerprint_after = None;
            self.record_end(record, self.close_beside_a_commit(record).await).await;
        } else if changed {
            // A restore loses nothing while the fence stands; all else connects anew.
            if self.project.on_failure != AfterFailure::Restore {
                self.let_go().await;
            }
            let undone = self.after_failure(evidence, record, done, &error).await;
            self.let_go().await;
            let as_it_was_left = production_state(&self.prepared.plan, done, changed, &error);
            let next = hint((self.project, &evidence.way_back), &self.before_the_first_try(record), changed, &error);
            return self.undone(record, undone, (outcome, as_it_was_left, next), error).await;
        } else {
            self.let_go().await;
            run_record::finish(record, outcome, Some(&error));
            record.fingerprint_after.clone_from(&record.fingerprint_before);
            self.keep_schema(record, &self.prepared.before).await;
            self.record_end(record, self.close_in_ledger(record).await).await;
        }
        Error::RunStopped {
            production: production_state(&self.prepared.plan, done, changed, &error),
            changed,
            hint: hint((self.project, &evidence.way_back), &self.before_the_first_try(record), changed, &error),
            source: Box::new(error),
        }
    }

    /// The run whose snapshot is from before all that is half done: the own one, unless an earlier run began a migration that
    /// this one went on with.
    fn before_the_first_try(&self, record: &RunRecord) -> RunRecord {
        let ledger = &self.prepared.state.ledger;
        let begun = ledger
            .half_done()
            .into_iter()
            .find(|one| self.prepared.plan.steps.iter().any(|step| step.migration.id == one.id));
        let first = begun.and_then(|begun| ledger.runs.iter().find(|run| run.id == begun.run_id));
        first.filter(|run| run.snapshot_id.is_some()).unwrap_or(record).clone()
    }

    /// All migrations are applied, and the verification found something.
    pub(super) async fn not_verified(&self, evidence: &Evidence, mut record: RunRecord, error: Error) -> Error {
        let undone = self.after_failure(evidence, &mut record, self.prepared.plan.steps.len(), &error).await;
        if let (None, None) = (&undone.production, &undone.remark) {
            run_record::finish(&mut record, "done", Some(&error));
            self.record_end(&record, self.close_in_ledger(&record).await).await;
            return error;
        }
        let words = (
            "done",
            "migrated, and not as rehearsed".to_owned(),
            evidence.way_back.hint(record.snapshot_id.as_deref()),
        );
        self.undone(&mut record, undone, words, error).await
    }

    /// Closes a run that changed production, after what was done about it.
    async fn undone(
        &self,
        record: &mut RunRecord,
        undone: Undone,
        (outcome, as_it_was_left, next): (&str, String, String),
        error: Error,
    ) -> Error {
        run_record::finish(record, undone.outcome.unwrap_or(outcome), Some(&error));
        if undone.production.is_none() {
            // What the ledger knows is the schema as it is now; without it the next run would call it drift.
            self.record_schema(record).await;
        }
        let closed = match undone.other_ledger {
            true => self.record_in_restored(record).await,
            false => self.close_in_ledger(record).await,
        };
        self.record_end(record, closed).await;
        let hint = match (undone.as_before, undone.remark) {
            (true, Some(remark)) => remark,
            (true, None) => CORRECT.to_owned(),
            (false, Some(remark)) => format!("{remark}; {next}"),
            (false, None) => next,
        };
        let production = undone.production.unwrap_or(as_it_was_left);
        Error::RunStopped { production, changed: !undone.as_before, hint, source: Box::new(error) }
    }

    /// Records the schema as it is now.
    pub(super) async fn record_schema(&self, record: &mut RunRecord) {
        if let Err(error) = self.read_and_keep(record).await {
            self.operator.warn(&format!("the schema that this run left is not recorded: {error}"));
        }
    }

    async fn record_end(&self, record: &RunRecord, closed: Result<(), Error>) {
        let written = run_record::write(self.store, &self.project.source, record).await;
        for result in [closed, written] {
            if let Err(error) = result {
                self.operator.warn(&format!("the end of the run could not be recorded: {error}"));
            }
        }
    }

    /// On a new connection: the one that migrated may be gone.
    async fn close_in_ledger(&self, record: &RunRecord) -> Result<(), Error> {
        let session = self.project.target.connect("safe-migrate").await?;
        Ok(record.close(&session).await?)
    }

    /// The same beside a COMMIT that waits for a standby, for which this record does not wait.
    async fn close_beside_a_commit(&self, record: &RunRecord) -> Result<(), Error> {
        let session = self.project.target.connect("safe-migrate").await?;
        commit_locally(&session).await?;
        Ok(record.close(&session).await?)
    }

    /// Closes a run that went through.
    pub(super) async fn close(
        &self,
        mut record: RunRecord,
        verification: String,
        way_back: WayBack,
    ) -> Result<ApplyReport, Error> {
        run_record::finish(&mut record, "done", None);
        let closed = self.close_in_ledger(&record).await;
        if let Err(error) = run_record::write(self.store, &self.project.source, &record).await {
            self.operator.warn(&format!("production is migrated, but the store has no record of it: {error}"));
        }
        closed.map_err(|error| verify::unrecorded(&error, &record, &way_back))?;
        Ok(ApplyReport {
            run: record,
            plan: self.prepared.plan.clone(),
            rehearsal: None,
            verification,
            way_back,
            phases: Vec::new(),
        })
    }
}

/// How often the session that migrates is cancelled when the operator wants to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cancelling {
    /// In a transaction a cancellation may come between two statements, where there is nothing to cancel.
    UntilTheEnd,
    /// Outside one: what comes next may be the clearing away.
    Once,
    /// A program is told by a signal, and what the session would be cancelled in is the note of how it ended.
    Never,
}

impl Cancelling {
    pub(super) fn of(step: &PlanStep) -> Self {
        match step.section() {
            Some(section) if section.program.is_some() => Self::Never,
            Some(section) if !section.transaction => Self::Once,
            _ => Self::UntilTheEnd,
        }
    }

    fn after_one(self) -> Self {
        if self == Self::Once { Self::Never } else { self }
    }
}

/// The operator and the wish to stop, as a step outside a transaction sees them.
struct Watched<'a> {
    operator: &'a dyn Operator,
    interrupt: &'a Interrupt,
}

impl std::fmt::Debug for Watched<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watched")
    }
}

impl Watcher for Watched<'_> {
    fn begin(&self, task: &str, total: Option<u64>) {
        self.operator.begin(task, total, Unit::Items);
    }

    fn advance(&self, rows: u64) {
        self.operator.advance(rows);
    }

    fn finish(&self, summary: &str) {
        self.operator.finish(summary);
    }

    fn say(&self, message: &str) {
        self.operator.step(message);
    }

    fn warn(&self, message: &str) {
        self.operator.warn(message);
    }

    fn is_stopped(&self) -> bool {
        self.interrupt.is_set()
    }
}

fn verb(step: &PlanStep) -> &'static str {
    match step.direction {
        Direction::Apply => "applied",
        Direction::Rollback => "rolled back",
    }
}

fn total(trace: &[StatementTrace]) -> String {
    format_duration(trace.iter().map(|statement| statement.duration).sum())
}

fn production_state(plan: &Plan, done: usize, changed: bool, error: &Error) -> String {
    let unknown = matches!(error, Error::Execute(ExecuteError::UnknownCommit { .. }));
    let outside = matches!(error, Error::Execute(error) if error.left_changes());
    let total = plan.steps.len();
    let past = match plan.direction {
        Direction::Apply => "applied",
        Direction::Rollback => "rolled back",
    };
    match (done, changed) {
        (0, false) => "unchanged; schema, rows and applied migrations are as before".to_owned(),
        _ if unknown => {
            format!("{done} of {total} migrations are {past}, and the next one as soon as its COMMIT is through")
        }
        (0, true) => "changed; the first migration runs outside a transaction and stopped in the middle".to_owned(),
        (_, true) if outside => {
            format!(
                "{done} of {total} migrations are {past}; the next one runs outside a transaction and stopped in the middle"
            )
        }
        _ => format!("{done} of {total} migrations are {past}; the one that failed left nothing it could not commit"),
    }
}

const CORRECT: &str = "correct the migration and run the command again";

fn hint((project, way_back): (&Project, &WayBack), run: &RunRecord, changed: bool, error: &Error) -> String {
    let again = match error {
        Error::Interrupted | Error::Gate(_) | Error::Execute(ExecuteError::Stopped { .. }) => "run the command again",
        Error::Execute(ExecuteError::UnknownCommit { waits, .. }) if !waits.is_empty() => {
            "bring the standby back, then run the command again: it reads from the ledger what became of the migration"
        }
        Error::Execute(ExecuteError::UnknownCommit { .. }) => {
            "run the command again when the server answers: it reads from the ledger what became of the migration"
        }
        Error::Execute(ExecuteError::Crowded { .. }) => {
            "run it when less is going on, make it shorter, or raise [apply] max_queue"
        }
        Error::Execute(ExecuteError::Unclear { .. }) => {
            "look whether that statement took effect, then run the command again with --step done or --step again"
        }
        Error::Execute(ExecuteError::Changed { .. }) => {
            "put back the text of what is done (a statement that the server refused may be corrected) and run the command again"
        }
        Error::Execute(
            ExecuteError::Statement { source, .. }
            | ExecuteError::AtCommit { source, .. }
            | ExecuteError::Step { source, .. },
        ) if source.is_lock_timeout() => {
            "end the session that holds the lock, or raise [apply] lock_timeout, and run the command again"
        }
        Error::Execute(error) => error.advice(false).unwrap_or(CORRECT),
        _ => CORRECT,
    };
    if !changed {
        return again.to_owned();
    }
    let restore = run.snapshot_id.as_ref().map(|id| way_back.command(id));
    match restore {
        Some(restore) => format!("{again}, or go back with: {restore}"),
        None => format!("{again} (no snapshot was taken of \"{}\")", project.target.database()),
    }
}
