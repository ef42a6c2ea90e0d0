//! Runs one migration, in one transaction with its ledger row, or step by step with its journal.
//!
//! The same code runs in production and in the shadow, so that what was rehearsed is what is applied.

mod advice;
mod bare;
mod batch_key;
mod batches;
mod commit;
mod error;
mod journal;
mod kind;
mod lag;
mod lock_watch;
mod outside;
mod program;
mod together;
mod watcher;

use std::time::{Duration, Instant};

use super::connection::SET_OURS_LOCALLY;
use super::ledger::{self, StepRecord};
use super::{ConnectionSpec, DatabaseError, MigratingSession, Session, Tracer, quote_literal};
use crate::migration::{Direction, Migration, PlanStep, Section, Statement};

use commit::{commit, running_transaction};
use outside::{Outside, run_outside};

pub(super) use commit::outcome_of;
pub use error::ExecuteError;
pub(super) use kind::Kind;
pub use lock_watch::LockWatch;
use lock_watch::Seen;
pub use program::{ProgramFailure, ProgramRunner};
pub(super) use together::keep_transaction_sql;
pub use together::{commit_together, run_step_together};
pub use watcher::Watcher;

/// Limits under which a migration runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecuteOptions {
    /// `lock_timeout`: how long a statement may wait for a lock before it gives up.
    pub lock_timeout: Duration,
    /// `statement_timeout`; none is no limit.
    pub statement_timeout: Option<Duration>,
    /// How many sessions may wait behind a statement before it is cancelled and tried again; 0: any number.
    pub max_queue: u32,
    /// How often a transaction that met a lock time-out (55P03) or a deadlock (40P01) is tried again, whole.
    pub retries: u32,
    /// How long a COMMIT whose answer was lost is waited for while it waits for a synchronous standby.
    pub commit_wait: Duration,
    /// What the operator says of a statement of which nothing tells whether it took effect.
    pub unclear: Option<Unclear>,
}

/// What the operator found out about a statement in which an earlier run stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclear {
    /// It took effect: go on after it.
    Done,
    /// It did not, or may run twice: run it again.
    Again,
}

/// What one statement did.
#[derive(Clone, Debug, PartialEq)]
pub struct StatementTrace {
    /// Line of the statement in its file.
    pub line: u32,
    /// Text.
    pub text: String,
    /// Wall time on the client.
    pub duration: Duration,
    /// Rows that the server says it touched (0 for DDL).
    pub rows: u64,
    /// In how many batches; none: it runs whole.
    pub batches: Option<u64>,
}

/// Who runs, and where the journal of earlier runs stands.
#[derive(Clone, Copy, Debug)]
pub struct RunContext<'a> {
    /// Where `session` is connected to, to ask again when it is lost at COMMIT.
    pub spec: &'a ConnectionSpec,
    /// Id of the run.
    pub run_id: &'a str,
    /// Journal rows of all runs.
    pub journal: &'a [StepRecord],
    /// Limits.
    pub options: &'a ExecuteOptions,
    /// Measures the statements; none in production.
    pub tracer: Option<&'a Tracer>,
    /// Sees who is in the way; none in a shadow.
    pub locks: Option<&'a LockWatch<'a>>,
    /// Database to connect to when the target takes no new session.
    pub maintenance: &'a str,
    /// Runs the programs of migrations, with the address of this database; none: there are none in the plan.
    pub programs: Option<&'a dyn ProgramRunner>,
    /// Told of progress in production; without one nothing is paused or waited for.
    pub watcher: Option<&'a dyn Watcher>,
}

/// Runs one step of a plan. `before_retry` is told of each lock that was in the way.
pub async fn run_step(
    session: &MigratingSession,
    step: &PlanStep,
    context: RunContext<'_>,
    before_retry: &(dyn Fn(&ExecuteError, u32) + Sync),
) -> Result<Vec<StatementTrace>, ExecuteError> {
    let Some(section) = section(step) else { return Ok(Vec::new()) };
    reset(session).await?;
    let result = if section.transaction {
        run_in_transaction(session, step, section, context, before_retry).await
    } else {
        run_outside(Outside { session, step, section, context, before_retry }).await
    };
    // Whatever becomes of this: a step that is committed did not fail because the connection was lost a moment later.
    if !session.is_closed()
        && let Err(error) = reset(session).await
    {
        tracing::debug!(%error, "the session is not as it was");
    }
    result
}

fn section(step: &PlanStep) -> Option<&Section> {
    match step.direction {
        Direction::Apply => Some(&step.migration.up),
        Direction::Rollback => step.migration.down.as_ref(),
    }
}

/// What a migration may have set does not leak into the next one. `DISCARD ALL` would release the advisory lock.
async fn reset(session: &MigratingSession) -> Result<(), DatabaseError> {
    session
        .batch_execute("RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; DISCARD TEMP; DISCARD SEQUENCES")
        .await?;
    session.set_ours().await?;
    session.reset_theirs();
    keep_session(session).await
}

/// Settings of a session that holds a lock: it is not ended for being idle, and the server notices within two seconds
/// that we died, also in the middle of a statement, so that a dead run never blocks the next. What it commits outlives
/// a crash, also where the server is set to lose the last commits.
pub async fn keep_session(session: &Session) -> Result<(), DatabaseError> {
    session.batch_execute("SET synchronous_commit = on").await?;
    if session.server_version_num() >= 140_000 && !crate::fault::is_off("off.dead-client-noticed") {
        session.batch_execute("SET idle_session_timeout = 0; SET client_connection_check_interval = '2s'").await?;
    }
    Ok(())
}

/// Gives a session a name that others see in `pg_stat_activity`; the server cuts it at 63 bytes.
pub async fn name_session(session: &Session, name: &str) -> Result<(), DatabaseError> {
    session.query_one("SELECT pg_catalog.set_config('application_name', $1, false)", &[&name]).await?;
    Ok(())
}

/// Commits of this session do not wait for synchronous standbys: for the lease, and for the record of a run whose own
/// COMMIT waits.
pub async fn commit_locally(session: &Session) -> Result<(), DatabaseError> {
    Ok(session.batch_execute("SET synchronous_commit = local").await?)
}

async fn run_in_transaction(
    session: &MigratingSession,
    step: &PlanStep,
    section: &Section,
    context: RunContext<'_>,
    before_retry: &(dyn Fn(&ExecuteError, u32) + Sync),
) -> Result<Vec<StatementTrace>, ExecuteError> {
    let mut attempt = 0;
    loop {
        match transaction(session, step, section, context).await {
            Err(error) if error.is_worth_a_retry() && attempt < context.options.retries => {
                attempt += 1;
                before_retry(&error, attempt);
                tokio::time::sleep(backoff(attempt)).await;
            }
            result => return result,
        }
    }
}

/// 100 ms doubling up to 5 s, with up to half of it as jitter.
fn backoff(attempt: u32) -> Duration {
    let base = Duration::from_millis(100).saturating_mul(1 << attempt.min(6)).min(Duration::from_secs(5));
    Duration::try_from_secs_f64(base.as_secs_f64() * (0.75 + rand::random::<f64>() / 2.0)).unwrap_or(base)
}

async fn transaction(
    session: &MigratingSession,
    step: &PlanStep,
    section: &Section,
    context: RunContext<'_>,
) -> Result<Vec<StatementTrace>, ExecuteError> {
    if let Some(tracer) = context.tracer {
        tracer.begin(session, section).await?;
    }
    session
        .batch_execute(&format!("BEGIN;{}", limits("SET LOCAL", &step.migration, context.options)))
        .await
        .map_err(DatabaseError::from)?;
    match statements_and_ledger(session, step, section, context).await {
        Ok((trace, xact)) => {
            let line = section.statements.last().map_or(1, |statement| statement.line);
            commit(session, context, (&step.migration, line), &xact).await?;
            if crate::fault::is_off("off.ledger-in-transaction") {
                crate::fault::point("migration.unrecorded");
                record(session, step, context.run_id).await?;
            }
            if let Some(tracer) = context.tracer {
                tracer.committed(session).await?;
            }
            Ok(trace)
        }
        Err(error) => {
            if let Err(rollback) = session.batch_execute("ROLLBACK").await {
                // The server rolls back what a lost connection leaves.
                tracing::debug!(error = %rollback, "ROLLBACK failed");
            }
            Err(error)
        }
    }
}

/// The limits of a migration: its own, from its header, before those of the configuration.
fn limits(set: &str, migration: &Migration, options: &ExecuteOptions) -> String {
    let lock = migration.lock_timeout.unwrap_or(options.lock_timeout);
    let statement = migration.statement_timeout.or(options.statement_timeout).unwrap_or_default();
    format!(
        "{set} lock_timeout = {}; {set} statement_timeout = {}",
        quote_literal(&format!("{}ms", lock.as_millis())),
        quote_literal(&format!("{}ms", statement.as_millis()))
    )
}

async fn statements_and_ledger(
    session: &MigratingSession,
    step: &PlanStep,
    section: &Section,
    context: RunContext<'_>,
) -> Result<(Vec<StatementTrace>, String), ExecuteError> {
    let mut trace = Vec::with_capacity(section.statements.len());
    session.set_theirs_locally().await?;
    for statement in &section.statements {
        trace.push(run_statement(session, &step.migration, statement, context).await?);
    }
    // A migration may have changed its role and its search_path; the ledger is ours.
    let ours = format!("RESET SESSION AUTHORIZATION; RESET ROLE; {SET_OURS_LOCALLY}");
    session.batch_execute(&ours).await.map_err(DatabaseError::from)?;
    if !crate::fault::is_off("off.ledger-in-transaction") {
        record(session, step, context.run_id).await?;
    }
    Ok((trace, running_transaction(session).await?))
}

async fn record(session: &Session, step: &PlanStep, run_id: &str) -> Result<(), ExecuteError> {
    let migration = &step.migration;
    match step.direction {
        Direction::Apply => {
            let checksum = migration.checksum.to_string();
            ledger::record_applied(session, (run_id, ledger::How::Apply), (&migration.id, &checksum, &migration.text))
                .await?;
        }
        Direction::Rollback => {
            if !ledger::record_rolled_back(session, &migration.id, &migration.replaces).await? {
                return Err(ExecuteError::LedgerChanged(migration.id.to_string()));
            }
        }
    }
    Ok(())
}

/// Runs a statement in the transaction of its migration, with their search path.
async fn run_statement(
    session: &MigratingSession,
    migration: &Migration,
    statement: &Statement,
    context: RunContext<'_>,
) -> Result<StatementTrace, ExecuteError> {
    let tracer = context.tracer;
    if let Some(tracer) = tracer {
        tracer.before(session).await?;
    }
    let start = Instant::now();
    let rows = send(session, migration, statement, context).await?;
    let duration = start.elapsed();
    if let Some(tracer) = tracer {
        tracer.after(session, statement).await?;
    }
    Ok(StatementTrace { line: statement.line, text: statement.text.clone(), duration, rows, batches: None })
}

/// Sends a statement and waits for it; the rows that it touched.
async fn send(
    session: &Session,
    migration: &Migration,
    statement: &Statement,
    context: RunContext<'_>,
) -> Result<u64, ExecuteError> {
    let sent = session.simple_query(&statement.text);
    let (result, seen) = match (context.tracer, context.locks) {
        (Some(tracer), _) => (tracer.watch(session, sent).await?, Seen::default()),
        (None, Some(locks)) => locks.over(session, sent).await,
        (None, None) => (sent.await, Seen::default()),
    };
    let messages = result.map_err(|source| located(migration, statement, source, seen))?;
    let rows = messages.iter().map(|message| match message {
        tokio_postgres::SimpleQueryMessage::CommandComplete(rows) => *rows,
        _ => 0,
    });
    Ok(rows.sum())
}

fn located(migration: &Migration, statement: &Statement, source: tokio_postgres::Error, seen: Seen) -> ExecuteError {
    let mut source = DatabaseError::from(source);
    let line = source.position.map_or(statement.line, |position| statement.line_of_offset(position));
    let file = migration.path.display().to_string();
    if let Some(waiting) = seen.crowd.filter(|_| source.is_cancelled()) {
        return ExecuteError::Crowded { file, line, waiting };
    }
    if source.is_lock_timeout() || source.is_deadlock() {
        source.in_the_way = seen.blockers;
    }
    ExecuteError::Statement { file, line, source: Box::new(source) }
}
