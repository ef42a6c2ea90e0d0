//! Migrations in one transaction: the fence's. Each has a savepoint, and one COMMIT ends them all.

use super::super::connection::SET_OURS;
use super::super::{DatabaseError, MigratingSession, Session};
use super::commit::{commit, running_transaction};
use super::{
    ExecuteError, RunContext, StatementTrace, backoff, keep_session, limits, reset, section, statements_and_ledger,
};
use crate::migration::{Migration, PlanStep, Section};

/// Settings of a session that stays in a transaction while others work: nothing ends it for being idle or long.
pub(in super::super) fn keep_transaction_sql(session: &Session) -> String {
    let mut sql = "SET idle_in_transaction_session_timeout = 0".to_owned();
    if session.server_version_num() >= 170_000 {
        sql.push_str(";SET transaction_timeout = 0");
    }
    sql
}

/// Runs one transactional step within the open transaction of `session`; a failure leaves that transaction as it was
/// before the step. `before_retry` is told of each lock that was in the way.
pub async fn run_step_together(
    session: &MigratingSession,
    step: &PlanStep,
    context: RunContext<'_>,
    before_retry: &(dyn Fn(&ExecuteError, u32) + Sync),
) -> Result<Vec<StatementTrace>, ExecuteError> {
    let Some(section) = section(step) else { return Ok(Vec::new()) };
    let mut attempt = 0;
    let trace = loop {
        match savepoint(session, step, section, context).await {
            Err(error) if error.is_worth_a_retry() && attempt < context.options.retries => {
                attempt += 1;
                before_retry(&error, attempt);
                tokio::time::sleep(backoff(attempt)).await;
            }
            result => break result?,
        }
    };
    reset_within(session).await?;
    Ok(trace)
}

async fn savepoint(
    session: &MigratingSession,
    step: &PlanStep,
    section: &Section,
    context: RunContext<'_>,
) -> Result<Vec<StatementTrace>, ExecuteError> {
    let begin = format!("SAVEPOINT safe_migrate_step;{}", limits("SET LOCAL", &step.migration, context.options));
    session.batch_execute(&begin).await.map_err(DatabaseError::from)?;
    let result = async {
        let (trace, _) = statements_and_ledger(session, step, section, context).await?;
        check_deferred(session, &step.migration).await?;
        Ok(trace)
    };
    match result.await {
        Ok(trace) => {
            session.batch_execute("RELEASE SAVEPOINT safe_migrate_step").await.map_err(DatabaseError::from)?;
            Ok(trace)
        }
        Err(error) => {
            let back = "ROLLBACK TO SAVEPOINT safe_migrate_step;RELEASE SAVEPOINT safe_migrate_step";
            if let Err(rollback) = session.batch_execute(back).await {
                // The caller ends the transaction; a lost connection has ended it.
                tracing::debug!(error = %rollback, "ROLLBACK TO failed");
            }
            Err(error)
        }
    }
}

/// What a COMMIT would check is checked at the end of each migration. Taken back at once: the mode of the constraints
/// stays as it is for the next migration, and the checks wait for the COMMIT once more.
async fn check_deferred(session: &Session, migration: &Migration) -> Result<(), ExecuteError> {
    let check = "SAVEPOINT safe_migrate_deferred;SET CONSTRAINTS ALL IMMEDIATE;
         ROLLBACK TO SAVEPOINT safe_migrate_deferred;RELEASE SAVEPOINT safe_migrate_deferred";
    session.batch_execute(check).await.map_err(|error| ExecuteError::AtCommit {
        file: migration.path.display().to_string(),
        line: migration.up.statements.last().map_or(1, |statement| statement.line),
        source: Box::new(error.into()),
    })
}

/// As [`reset`] between two migrations, without leaving the transaction.
async fn reset_within(session: &MigratingSession) -> Result<(), DatabaseError> {
    let keep = keep_transaction_sql(session);
    session
        .batch_execute(&format!(
            "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; {SET_OURS}; {keep}; DISCARD TEMP; DISCARD SEQUENCES"
        ))
        .await?;
    session.reset_theirs();
    keep_session(session).await
}

/// The one COMMIT; `last` names it in errors. When the connection is lost there, the server is asked what became of it.
pub async fn commit_together(
    session: &MigratingSession,
    context: RunContext<'_>,
    last: &Migration,
) -> Result<(), ExecuteError> {
    let xact = running_transaction(session).await?;
    let line = last.up.statements.last().map_or(1, |statement| statement.line);
    commit(session, context, (last, line), &xact).await?;
    if !session.is_closed()
        && let Err(error) = reset(session).await
    {
        // It is committed, whatever becomes of this.
        tracing::debug!(%error, "the session is not as it was");
    }
    Ok(())
}
