//! A migration outside a transaction: statement by statement, each journaled, and gone on with later.
//!
//! A statement that can run in a transaction is run in one together with its journal row, so that there is never a doubt
//! whether it took effect. The server says which cannot, before it does anything (tried on 15 and 18 for each kind: 25001 for
//! those that must not be in a transaction, 2D000 for a procedure that commits): those are journaled before and after.

use super::super::ledger::{self, StepState};
use super::super::{DatabaseError, MigratingSession};
use super::bare::{Became, became, clear, is_setting, leftovers, note};
use super::batches::Standing;
use super::commit::{commit, running_transaction};
use super::journal::{Journal, Place, stopped};
use super::{ExecuteError, Kind, RunContext, StatementTrace, Unclear, backoff, limits, record, send};
use crate::migration::{PlanStep, Section, Statement};

/// One section outside a transaction, and what it runs with.
pub(super) struct Outside<'a> {
    pub(super) session: &'a MigratingSession,
    pub(super) step: &'a PlanStep,
    pub(super) section: &'a Section,
    pub(super) context: RunContext<'a>,
    pub(super) before_retry: &'a (dyn Fn(&ExecuteError, u32) + Sync),
}

/// Runs the statements that are left, and records the migration.
pub(super) async fn run_outside(outside: Outside<'_>) -> Result<Vec<StatementTrace>, ExecuteError> {
    let Outside { session, section, context, .. } = &outside;
    if let Some(tracer) = context.tracer {
        tracer.begin(session, section).await?;
    }
    session
        .batch_execute(&limits("SET", &outside.step.migration, context.options))
        .await
        .map_err(DatabaseError::from)?;
    let (first, mut standing) = outside.resume().await?;
    let mut trace = Vec::with_capacity(section.statements.len());
    for (index, statement) in section.statements.iter().enumerate().skip(first) {
        if context.watcher.is_some_and(super::Watcher::is_stopped) {
            return Err(outside.stopped_at(index, statement, false));
        }
        let one = outside.one(index, statement, standing.take()).await;
        trace.push(one.map_err(|error| outside.failed(index, statement, error, false, None))?);
        crate::fault::point("step.done");
    }
    if let Err(error) = outside.record().await {
        outside.roll_back().await;
        return Err(outside.unrecorded(error));
    }
    if let Some(tracer) = context.tracer {
        tracer.committed(session).await?;
    }
    Ok(trace)
}

impl Outside<'_> {
    pub(super) fn file(&self) -> String {
        self.step.migration.path.display().to_string()
    }

    pub(super) fn journal(&self) -> Journal<'_> {
        Journal { session: self.session, step: self.step, run_id: self.context.run_id }
    }

    /// Where this run begins, after looking at what really happened to a statement that was begun.
    async fn resume(&self) -> Result<(usize, Option<Standing>), ExecuteError> {
        let Some(at) = stopped(self.step, self.section, self.context.journal)? else { return Ok((0, None)) };
        self.settings_again(at.index).await?;
        let Some(statement) = self.section.statements.get(at.index) else { return Ok((at.index, None)) };
        if let Some(watcher) = self.context.watcher {
            let (id, number, all) = (&self.step.migration.id, at.index + 1, self.section.statements.len());
            watcher.say(&format!(
                "{id}: an earlier run stopped in it; going on at statement {number} of {all}, line {}",
                statement.line
            ));
        }
        let place = at.place.clone().unwrap_or_else(|| Place::before(self.section, statement));
        if self.section.batch.is_some() && statement.is_batched() {
            return Ok((at.index, at.place.map(|place| Standing { place, rows: at.rows })));
        }
        if at.state != Some(StepState::Started) {
            return Ok((at.index, None));
        }
        let kind = Kind::of(statement);
        let found = became(self.session, &kind, &place, self.context.options).await?;
        let done = match (found, self.context.options.unclear) {
            (Became::Done, _) | (Became::Unclear, Some(Unclear::Done)) => true,
            (Became::Again, _) | (Became::Unclear, Some(Unclear::Again)) => false,
            (Became::Unclear, None) => {
                return Err(ExecuteError::Unclear { file: self.file(), line: statement.line });
            }
        };
        if done {
            self.journal().write(at.index, StepState::Done, &place, None).await?;
        }
        Ok((at.index + usize::from(done), None))
    }

    /// What statements before this one have set belongs to a session that is gone.
    async fn settings_again(&self, before: usize) -> Result<(), ExecuteError> {
        for (index, statement) in self.section.statements.iter().enumerate().take(before) {
            if is_setting(statement) {
                self.session.set_theirs().await?;
                let context = RunContext { tracer: None, ..self.context };
                let set = send(self.session, &self.step.migration, statement, context).await;
                self.session.set_ours().await?;
                set.map_err(|error| self.failed(index, statement, error, false, None))?;
            }
        }
        Ok(())
    }

    async fn one(
        &self,
        index: usize,
        statement: &Statement,
        standing: Option<Standing>,
    ) -> Result<StatementTrace, ExecuteError> {
        if let Some(program) = &self.section.program {
            return self.program(index, statement, program).await;
        }
        if let Some(batch) = self.section.batch.as_ref().filter(|_| statement.is_batched()) {
            return self.batched(index, (batch, statement), standing).await;
        }
        let kind = Kind::of(statement);
        let mut bare = kind.is_bare(statement);
        let mut attempt = 0;
        loop {
            if !bare {
                match self.inside(index, statement).await {
                    Ok(trace) => return Ok(trace),
                    Err(error) => {
                        self.roll_back().await;
                        self.ours_again().await;
                        if must_be_bare(&error) {
                            bare = true;
                        } else if !self.is_tried_again(&error, &mut attempt).await {
                            return Err(self.refused(index, statement, error).await);
                        }
                    }
                }
                continue;
            }
            match self.bare(index, statement, &kind).await {
                Ok(trace) => return Ok(trace),
                Err((error, left)) if left.is_none() || self.is_tried_again_bare(&kind) => {
                    if !self.is_tried_again(&error, &mut attempt).await {
                        return Err(self.failed(index, statement, error, false, left));
                    }
                }
                Err((error, left)) => return Err(self.failed(index, statement, error, false, left)),
            }
        }
    }

    /// A `DROP` goes on with what it left.
    fn is_tried_again_bare(&self, kind: &Kind) -> bool {
        matches!(kind, Kind::DropIndex { .. }) && !self.session.is_closed()
    }

    /// The statement in a transaction with its journal row.
    async fn inside(&self, index: usize, statement: &Statement) -> Result<StatementTrace, ExecuteError> {
        let tracer = self.context.tracer;
        if let Some(tracer) = tracer {
            tracer.before(self.session).await?;
        }
        self.session.set_theirs().await?;
        self.session.batch_execute("BEGIN").await.map_err(DatabaseError::from)?;
        let start = std::time::Instant::now();
        let rows = send(self.session, &self.step.migration, statement, self.context).await?;
        let duration = start.elapsed();
        self.journal().add(index, StepState::Done, &Place::before(self.section, statement), None).await?;
        let xact = running_transaction(self.session).await?;
        crate::fault::point("step.ran");
        commit(self.session, self.context, (&self.step.migration, statement.line), &xact).await?;
        self.ours_again().await;
        if let Some(tracer) = tracer {
            tracer.after(self.session, statement).await?;
        }
        Ok(StatementTrace { line: statement.line, text: statement.text.clone(), duration, rows, batches: None })
    }

    /// The statement without a transaction. The error comes with what the statement left and could not be cleared away.
    async fn bare(
        &self,
        index: usize,
        statement: &Statement,
        kind: &Kind,
    ) -> Result<StatementTrace, (ExecuteError, Option<String>)> {
        let early = |error: DatabaseError| (ExecuteError::Database(error), None);
        let mut place = Place::before(self.section, statement);
        note(self.session, kind, &mut place).await.map_err(early)?;
        self.journal().write(index, StepState::Started, &place, None).await.map_err(early)?;
        crate::fault::point("step.started");
        let started = std::time::Instant::now();
        let trace = match self.alone(statement).await {
            Ok(trace) => trace,
            Err(error) => match self.after_a_failure(index, kind, &place).await {
                Ok(true) => StatementTrace {
                    line: statement.line,
                    text: statement.text.clone(),
                    duration: started.elapsed(),
                    rows: 0,
                    batches: None,
                },
                Ok(false) => return Err((error, None)),
                Err(left) => return Err((error, Some(left))),
            },
        };
        crate::fault::point("step.ran");
        let done = self.journal().write(index, StepState::Done, &place, None).await;
        done.map_err(|error| {
            (ExecuteError::Database(error), Some("it took effect, and the next run will find that out".to_owned()))
        })?;
        Ok(trace)
    }

    /// The statement by itself, with their search path.
    async fn alone(&self, statement: &Statement) -> Result<StatementTrace, ExecuteError> {
        let tracer = self.context.tracer;
        if let Some(tracer) = tracer {
            tracer.before(self.session).await?;
        }
        self.session.set_theirs().await?;
        let start = std::time::Instant::now();
        let sent = send(self.session, &self.step.migration, statement, self.context).await;
        let duration = start.elapsed();
        self.ours_again().await;
        let rows = sent?;
        if let Some(tracer) = tracer {
            tracer.after(self.session, statement).await?;
        }
        Ok(StatementTrace { line: statement.line, text: statement.text.clone(), duration, rows, batches: None })
    }

    /// Our search path after a statement of theirs, whatever became of that. Not of a session that is lost: what is asked of
    /// it next says so.
    async fn ours_again(&self) {
        if let Err(error) = self.session.set_ours().await {
            tracing::debug!(%error, "the session has their search path");
        }
    }

    /// Clears away what a refused statement left; true when it took effect all the same. The error says what is left.
    async fn after_a_failure(&self, index: usize, kind: &Kind, place: &Place) -> Result<bool, String> {
        let lost = "what became of it is looked at by the next run";
        if self.session.is_closed() {
            return Err(lost.to_owned());
        }
        let cleared = clear(self.session, kind, place, self.context.options).await;
        if matches!(cleared, Ok(true)) {
            return Ok(true);
        }
        let left = leftovers(self.session, kind, place).await.map_err(|_| lost.to_owned())?;
        if !left.is_empty() {
            // Still `started`: the next run looks again, and clears it away.
            let why = cleared.err().map(|error| format!(" ({error})")).unwrap_or_default();
            return Err(format!("{}{why}", left.join("; ")));
        }
        self.journal().write(index, StepState::Failed, place, None).await.map_err(|_| lost.to_owned())?;
        Ok(false)
    }

    /// Notes that the server refused a statement of which nothing remains.
    async fn refused(&self, index: usize, statement: &Statement, error: ExecuteError) -> ExecuteError {
        if !self.session.is_closed() {
            let place = Place::before(self.section, statement);
            if let Err(error) = self.journal().write(index, StepState::Failed, &place, None).await {
                tracing::debug!(%error, "the journal was not written");
            }
        }
        self.failed(index, statement, error, false, None)
    }

    /// Whether a statement that met a lock is to run again, after a rest.
    pub(super) async fn is_tried_again(&self, error: &ExecuteError, attempt: &mut u32) -> bool {
        let stopped = self.context.watcher.is_some_and(super::Watcher::is_stopped);
        if !error.is_worth_a_retry() || *attempt >= self.context.options.retries || stopped || self.session.is_closed()
        {
            return false;
        }
        *attempt += 1;
        (self.before_retry)(error, *attempt);
        tokio::time::sleep(backoff(*attempt)).await;
        true
    }

    pub(super) async fn roll_back(&self) {
        if let Err(error) = self.session.batch_execute("ROLLBACK").await {
            // The server rolls back what a lost connection leaves.
            tracing::debug!(%error, "ROLLBACK failed");
        }
    }

    /// The error of a statement with what is known of the section: `partly` when batches of it are committed.
    pub(super) fn failed(
        &self,
        index: usize,
        statement: &Statement,
        error: ExecuteError,
        partly: bool,
        left: Option<String>,
    ) -> ExecuteError {
        let stopped = self.context.watcher.is_some_and(super::Watcher::is_stopped);
        let (file, line, source) = match error {
            ExecuteError::Statement { file, line, source } | ExecuteError::AtCommit { file, line, source } => {
                (file, line, source)
            }
            ExecuteError::Database(error) => (self.file(), statement.line, Box::new(error)),
            // Statements before it stay, so that it did not leave production unchanged.
            crowded @ ExecuteError::Crowded { .. } if index > 0 || partly || left.is_some() => {
                (self.file(), statement.line, Box::new(DatabaseError::of_ours(crowded.to_string())))
            }
            other => return other,
        };
        if stopped && source.is_cancelled() && left.is_none() {
            return self.stopped_at(index, statement, partly);
        }
        ExecuteError::Step { file, line, done: index, partly, left: left.unwrap_or_default(), source }
    }

    /// The operator's wish to stop, met before a statement or between two of its batches.
    pub(super) fn stopped_at(&self, index: usize, statement: &Statement, partly: bool) -> ExecuteError {
        ExecuteError::Stopped { file: self.file(), line: statement.line, changed: index > 0 || partly }
    }

    /// All statements are done, and the ledger does not say so yet.
    fn unrecorded(&self, error: ExecuteError) -> ExecuteError {
        let (Some(last), done) = (self.section.statements.last(), self.section.statements.len()) else { return error };
        self.failed(done, last, error, false, None)
    }

    /// The ledger row, and the journal settled, in one transaction.
    async fn record(&self) -> Result<(), ExecuteError> {
        let Self { session, step, section, context, .. } = self;
        session.batch_execute("BEGIN; RESET SESSION AUTHORIZATION; RESET ROLE").await.map_err(DatabaseError::from)?;
        record(session, step, context.run_id).await?;
        ledger::close_journal(session, &step.migration.id).await?;
        let xact = running_transaction(session).await?;
        let line = section.statements.last().map_or(1, |statement| statement.line);
        commit(session, *context, (&step.migration, line), &xact).await
    }
}

/// Whether the server says that it runs this only outside a transaction; it has done nothing then.
fn must_be_bare(error: &ExecuteError) -> bool {
    let ExecuteError::Statement { source, .. } = error else { return false };
    source.has_sqlstate("25001") || source.has_sqlstate("2D000")
}
