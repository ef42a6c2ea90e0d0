//! Runs one migration, in one transaction with its ledger row, or step by step with its journal.
//!
//! The same code runs in production and in the shadow, so that what was rehearsed is what is applied.

mod commit;
mod outside;
mod together;

use std::time::{Duration, Instant};

use super::ledger::{self, StepRecord};
use super::{ConnectionSpec, DatabaseError, Session, Tracer, quote_literal};
use crate::migration::{Direction, Migration, PlanStep, Section, Statement};

use commit::commit;
pub(super) use commit::outcome_of;
use outside::run_outside;
pub(super) use together::keep_transaction_sql;
pub use together::{commit_together, run_step_together};

/// Limits under which a migration runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecuteOptions {
    /// `lock_timeout`: how long a statement may wait for a lock before it gives up.
    pub lock_timeout: Duration,
    /// `statement_timeout`; none is no limit.
    pub statement_timeout: Option<Duration>,
    /// How often a transaction that met a lock time-out (55P03) or a deadlock (40P01) is tried again, whole.
    pub retries: u32,
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
}

/// Why a migration did not run.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// A statement was refused; nothing of its transaction remains.
    #[error("{file}:{line}: {source}")]
    Statement {
        /// File of the migration.
        file: String,
        /// Line in it.
        line: u32,
        /// The server's words.
        source: Box<DatabaseError>,
    },
    /// A statement outside a transaction was refused; the ones before it stay.
    #[error("{file}:{line}: {source} (outside a transaction; statements before it that are done: {done})")]
    Step {
        /// File of the migration.
        file: String,
        /// Line in it.
        line: u32,
        /// Statements of the section that are done.
        done: usize,
        /// The server's words.
        source: Box<DatabaseError>,
    },
    /// An earlier run stopped in the middle of a statement outside a transaction.
    #[error("{file}:{line}: an earlier run stopped in this statement, and whether it took effect is not known")]
    Unclear {
        /// File of the migration.
        file: String,
        /// Line in it.
        line: u32,
    },
    /// The ledger does not hold the migration that is rolled back.
    #[error("the ledger changed during the run: {0} is no longer recorded as applied")]
    LedgerChanged(String),
    /// The connection was lost at COMMIT and the outcome could not be read afterwards.
    #[error("the connection was lost at COMMIT of {migration}, and whether it took effect is not known: {source}")]
    UnknownCommit {
        /// The migration.
        migration: String,
        /// What happened to the connection.
        source: Box<DatabaseError>,
    },
    /// The server refused something of ours.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl ExecuteError {
    /// Whether production may have been changed by the step that failed.
    pub fn left_changes(&self) -> bool {
        match self {
            Self::Step { done, .. } => *done > 0,
            Self::Unclear { .. } | Self::UnknownCommit { .. } => true,
            _ => false,
        }
    }

    /// The numbers in the server's report of a deadlock (40P01), in whatever language: the processes are among them.
    pub fn deadlocked_with(&self) -> Vec<i32> {
        let (Self::Statement { source, .. } | Self::Step { source, .. }) = self else { return Vec::new() };
        let detail = source.detail.as_deref().filter(|_| source.is_deadlock()).unwrap_or_default();
        detail.split(|character: char| !character.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    }

    fn is_worth_a_retry(&self) -> bool {
        match self {
            Self::Statement { source, .. } => source.is_lock_timeout() || source.is_deadlock(),
            Self::Database(error) => error.is_lock_timeout() || error.is_deadlock(),
            _ => false,
        }
    }
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
}

/// Runs one step of a plan. `before_retry` is told of each lock that was in the way.
pub async fn run_step(
    session: &Session,
    step: &PlanStep,
    context: RunContext<'_>,
    before_retry: &(dyn Fn(&ExecuteError, u32) + Sync),
) -> Result<Vec<StatementTrace>, ExecuteError> {
    let Some(section) = section(step) else { return Ok(Vec::new()) };
    let result = if section.transaction {
        run_in_transaction(session, step, section, context, before_retry).await
    } else {
        run_outside(session, step, section, context).await
    };
    // A lost connection shows here first; what the step itself met says more, with its file and line.
    let clean = if session.is_closed() { Ok(()) } else { reset(session).await };
    let trace = result?;
    clean?;
    Ok(trace)
}

fn section(step: &PlanStep) -> Option<&Section> {
    match step.direction {
        Direction::Apply => Some(&step.migration.up),
        Direction::Rollback => step.migration.down.as_ref(),
    }
}

/// What a migration may have set does not leak into the next one. `DISCARD ALL` would release the advisory lock.
async fn reset(session: &Session) -> Result<(), DatabaseError> {
    session
        .batch_execute("RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; DISCARD TEMP; DISCARD SEQUENCES")
        .await?;
    keep_session(session).await
}

/// Settings of a session that holds a lock: it is not ended for being idle, and the server notices within two seconds
/// that we died, also in the middle of a statement, so that a dead run never blocks the next. What it commits outlives
/// a crash, also where the server is set to lose the last commits.
pub async fn keep_session(session: &Session) -> Result<(), DatabaseError> {
    session.batch_execute("SET synchronous_commit = on").await?;
    if session.server_version_num() >= 140_000 {
        session.batch_execute("SET idle_session_timeout = 0; SET client_connection_check_interval = '2s'").await?;
    }
    Ok(())
}

async fn run_in_transaction(
    session: &Session,
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
    base.mul_f64(0.75 + rand::random::<f64>() / 2.0)
}

async fn transaction(
    session: &Session,
    step: &PlanStep,
    section: &Section,
    context: RunContext<'_>,
) -> Result<Vec<StatementTrace>, ExecuteError> {
    if let Some(tracer) = context.tracer {
        tracer.begin(session, section).await?;
    }
    session
        .batch_execute(&format!("BEGIN;{}", limits("SET LOCAL", context.options)))
        .await
        .map_err(DatabaseError::from)?;
    match statements_and_ledger(session, step, section, context).await {
        Ok((trace, xact)) => {
            commit(session, context.spec, &step.migration, &xact).await?;
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

fn limits(set: &str, options: &ExecuteOptions) -> String {
    format!(
        "{set} lock_timeout = {}; {set} statement_timeout = {}",
        quote_literal(&format!("{}ms", options.lock_timeout.as_millis())),
        quote_literal(&format!("{}ms", options.statement_timeout.unwrap_or_default().as_millis()))
    )
}

async fn statements_and_ledger(
    session: &Session,
    step: &PlanStep,
    section: &Section,
    context: RunContext<'_>,
) -> Result<(Vec<StatementTrace>, String), ExecuteError> {
    let mut trace = Vec::with_capacity(section.statements.len());
    for statement in &section.statements {
        trace.push(run_statement(session, &step.migration, statement, context.tracer).await?);
    }
    // A migration may have changed its role or its search_path; the ledger is ours.
    session.batch_execute("RESET SESSION AUTHORIZATION; RESET ROLE").await.map_err(DatabaseError::from)?;
    record(session, step, context.run_id).await?;
    let row =
        session.query_one("SELECT pg_catalog.pg_current_xact_id()::text", &[]).await.map_err(DatabaseError::from)?;
    Ok((trace, row.get(0)))
}

async fn record(session: &Session, step: &PlanStep, run_id: &str) -> Result<(), ExecuteError> {
    let migration = &step.migration;
    match step.direction {
        Direction::Apply => {
            let checksum = migration.checksum.to_string();
            ledger::record_applied(session, run_id, (&migration.id, &checksum, &migration.text)).await?;
        }
        Direction::Rollback => {
            if !ledger::record_rolled_back(session, &migration.id).await? {
                return Err(ExecuteError::LedgerChanged(migration.id.to_string()));
            }
        }
    }
    Ok(())
}

async fn run_statement(
    session: &Session,
    migration: &Migration,
    statement: &Statement,
    tracer: Option<&Tracer>,
) -> Result<StatementTrace, ExecuteError> {
    if let Some(tracer) = tracer {
        tracer.before(session).await?;
    }
    let start = Instant::now();
    let sent = session.simple_query(&statement.text);
    let result = match tracer {
        Some(tracer) => tracer.watch(session, sent).await?,
        None => sent.await,
    };
    let duration = start.elapsed();
    let messages = result.map_err(|source| located(migration, statement, source))?;
    if let Some(tracer) = tracer {
        tracer.after(session, statement).await?;
    }
    let rows = messages
        .iter()
        .map(|message| match message {
            tokio_postgres::SimpleQueryMessage::CommandComplete(rows) => *rows,
            _ => 0,
        })
        .sum();
    Ok(StatementTrace { line: statement.line, text: statement.text.clone(), duration, rows })
}

fn located(migration: &Migration, statement: &Statement, source: tokio_postgres::Error) -> ExecuteError {
    let source = DatabaseError::from(source);
    let line = source.position.map_or(statement.line, |position| statement.line_of_offset(position));
    ExecuteError::Statement { file: migration.path.display().to_string(), line, source: Box::new(source) }
}
