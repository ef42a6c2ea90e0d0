//! The part of a run that changes production.

use std::time::Duration;

use crate::migration::{Direction, Plan, PlanStep};
use crate::postgres::{
    ExecuteError, RunContext, RunRecord, StatementTrace, commit_together, database, ledger, run_step, run_step_together,
};
use crate::report::{format_duration, format_things};

use super::super::schema_reading::read_raw;
use super::super::{Error, Gate, Project, run_record};
use super::{ApplyReport, Evidence, Run};

/// How often a statement is cancelled that goes on after the operator's wish to stop.
const CANCEL_EVERY: Duration = Duration::from_millis(500);

impl Run<'_> {
    /// Runs the plan, migration by migration. On failure the run is closed and the error says what production is now.
    ///
    /// The evidence is asked for so that nobody can call this without it.
    pub(super) async fn migrate(&self, _evidence: &Evidence, record: &mut RunRecord) -> Result<(), Error> {
        // The store knows of the run before production does: if the ledger is lost, the store still names its snapshot.
        run_record::write(self.store, &self.project.source, record).await?;
        // Not in the one transaction of a fence: the next run must find this one when we are killed in it.
        let session = self.aside();
        ledger::ensure(session).await?;
        ledger::close_dead(session).await?;
        record.insert(session).await?;
        let result = if self.is_one_transaction() {
            self.together(record).await.map_err(|error| (0, error))
        } else {
            self.one_by_one(record).await
        };
        // What comes now connects anew.
        self.let_go().await;
        match result {
            Ok(()) => Ok(()),
            Err((done, error)) => Err(self.stopped(record, done, error).await),
        }
    }

    /// Each migration in its own transaction, or outside one. An error comes with the number of migrations before it.
    async fn one_by_one(&self, record: &RunRecord) -> Result<(), (usize, Error)> {
        self.close_database(&record.id).await.map_err(|error| (0, error))?;
        for (done, step) in self.prepared.plan.steps.iter().enumerate() {
            self.one(record, step).await.map_err(|error| (done, error))?;
        }
        Ok(())
    }

    /// All migrations in the transaction of the fence. Nothing of it remains when one fails.
    async fn together(&self, record: &RunRecord) -> Result<(), Error> {
        for step in &self.prepared.plan.steps {
            self.one(record, step).await?;
        }
        self.interrupt.check()?;
        let Some(last) = self.prepared.plan.steps.last() else { return Ok(()) };
        commit_together(&self.prepared.session, &self.project.target, &last.migration).await?;
        let migrations = format_things(self.prepared.plan.steps.len() as u64, "migration");
        self.operator.step(&format!("{} {migrations} in one transaction", verb(last)));
        Ok(())
    }

    async fn one(&self, record: &RunRecord, step: &PlanStep) -> Result<(), Error> {
        self.interrupt.check()?;
        let prepared = self.prepared;
        if !prepared.lock.is_held(&prepared.server.maintenance, &prepared.session).await? {
            let database = self.project.target.database().to_owned();
            return Err(
                Gate::ChangedMeanwhile { database, what: "this run no longer holds its lock".to_owned() }.into()
            );
        }
        // The target of a closed fence takes no connection, and any database of the server knows what was committed.
        let maintenance = self.project.database(&database::current(&prepared.server.maintenance).await?);
        let context = RunContext {
            spec: if self.fence.is_some() { &maintenance } else { &self.project.target },
            run_id: &record.id,
            journal: &prepared.state.ledger.steps,
            options: &self.project.execute,
            tracer: None,
        };
        let retries = self.project.execute.retries;
        let retry = |error: &ExecuteError, attempt: u32| {
            let id = &step.migration.id;
            self.operator.warn(&format!("{id}: {error}; trying again ({attempt} of {retries})"));
            self.note_deadlock(error);
        };
        let trace = if self.is_one_transaction() {
            let step = run_step_together(&prepared.session, step, context, &retry);
            self.ending_deadlocks(self.cancel_on_interrupt(step)).await?
        } else {
            self.cancel_on_interrupt(run_step(&prepared.session, step, context, &retry)).await?
        };
        let verb = if self.is_one_transaction() { "ran" } else { verb(step) };
        self.operator.step(&format!("{verb} {} in {}", step.migration.id, total(&trace)));
        Ok(())
    }

    /// Runs a step to its end; the operator's wish to stop cancels its statement, and the step's own error handling
    /// then rolls back. The step is never dropped in the middle.
    async fn cancel_on_interrupt(
        &self,
        step: impl Future<Output = Result<Vec<StatementTrace>, ExecuteError>>,
    ) -> Result<Vec<StatementTrace>, Error> {
        let mut step = std::pin::pin!(step);
        tokio::select! {
            result = &mut step => return Ok(result?),
            () = self.interrupt.wait() => {}
        }
        // Between two statements there is nothing to cancel: asked again until the step has ended.
        let result = loop {
            self.prepared.session.cancel().await?;
            tokio::select! {
                result = &mut step => break result,
                () = tokio::time::sleep(CANCEL_EVERY) => {}
            }
        };
        match result {
            Ok(trace) => Ok(trace),
            Err(ExecuteError::Statement { source, .. }) if source.is_cancelled() => Err(Error::Interrupted),
            Err(error) => Err(error.into()),
        }
    }

    /// Closes the run after a failure, and says what production is now.
    async fn stopped(&self, record: &mut RunRecord, done: usize, error: Error) -> Error {
        let outcome = if matches!(error, Error::Interrupted) { "interrupted" } else { "failed" };
        run_record::finish(record, outcome, Some(&error));
        let changed = done > 0 || matches!(&error, Error::Execute(error) if error.left_changes());
        if changed {
            // What the ledger knows is the schema as it is now; without it the next run would call it drift.
            record.fingerprint_after = self.fingerprint_now().await;
        } else {
            record.fingerprint_after.clone_from(&record.fingerprint_before);
        }
        let written = run_record::write(self.store, &self.project.source, record).await;
        for result in [self.close_in_ledger(record).await, written] {
            if let Err(error) = result {
                self.operator.warn(&format!("the end of the run could not be recorded: {error}"));
            }
        }
        Error::RunStopped {
            production: production_state(&self.prepared.plan, done, changed, &error),
            changed,
            hint: hint(self.project, record, done, changed, &error),
            source: Box::new(error),
        }
    }

    /// On a new connection: the one that migrated may be gone.
    async fn close_in_ledger(&self, record: &RunRecord) -> Result<(), Error> {
        let session = self.project.target.connect("safe-migrate").await?;
        Ok(record.close(&session).await?)
    }

    async fn fingerprint_now(&self) -> Option<serde_json::Value> {
        let programs = &self.prepared.server.programs;
        let reading = read_raw(programs, &self.project.target, &self.project.fingerprint_ignore).await.ok()?;
        serde_json::to_value(&reading.record).ok()
    }

    /// Closes a run that went through, with what the verification found.
    pub(super) async fn close(
        &self,
        mut record: RunRecord,
        verification: Result<String, Error>,
    ) -> Result<ApplyReport, Error> {
        run_record::finish(&mut record, "done", verification.as_ref().err());
        self.close_in_ledger(&record).await?;
        if let Err(error) = run_record::write(self.store, &self.project.source, &record).await {
            self.operator.warn(&format!("production is migrated, but the store has no record of it: {error}"));
        }
        let verification = verification?;
        Ok(ApplyReport { run: record, plan: self.prepared.plan.clone(), rehearsal: None, verification })
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
    let total = plan.steps.len();
    let past = match plan.direction {
        Direction::Apply => "applied",
        Direction::Rollback => "rolled back",
    };
    match (done, changed) {
        (0, false) => "unchanged; schema, rows and applied migrations are as before".to_owned(),
        (_, true) if matches!(error, Error::Execute(ExecuteError::UnknownCommit { .. })) => {
            format!("not known: {done} of {total} migrations are {past}, and perhaps what was committed last")
        }
        (0, true) => "changed; the first migration runs outside a transaction and stopped in the middle".to_owned(),
        _ => format!("{done} of {total} migrations are {past}; the one that failed left nothing it could not commit"),
    }
}

fn hint(project: &Project, run: &RunRecord, done: usize, changed: bool, error: &Error) -> String {
    let again = match error {
        Error::Interrupted | Error::Gate(_) => "run the command again",
        Error::Execute(ExecuteError::Statement { source, .. }) if source.is_lock_timeout() => {
            "end the session that holds the lock, or raise [apply] lock_timeout, and run the command again"
        }
        _ => "correct the migration and run the command again",
    };
    if !changed {
        return again.to_owned();
    }
    let restore = run.snapshot_id.as_ref().map(|id| format!("safe-migrate restore {id} --in-place"));
    let correct = if done > 0 { again } else { "see the ledger's journal" };
    match restore {
        Some(restore) => format!("{correct}, or go back with: {restore}"),
        None => format!("{correct} (no snapshot was taken of \"{}\")", project.target.database()),
    }
}
