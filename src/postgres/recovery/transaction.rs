//! The one transaction in the live database: begun with limits, ended with a commit whose outcome is known.

use std::time::Duration;

use super::super::execute::outcome_of;
use super::super::{ConnectionSpec, DatabaseError, Session};

/// Begins the transaction; a lock that is not given within `lock_timeout` ends it.
pub async fn begin(session: &Session, lock_timeout: Duration) -> Result<(), DatabaseError> {
    // A table that a script makes lies where the database's own default is.
    let limit = lock_timeout.as_millis().max(1);
    session.batch_execute(&format!("BEGIN; SET LOCAL lock_timeout = {limit}")).await?;
    Ok(())
}

/// How a commit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Committed,
    /// The connection was lost and nothing was changed.
    RolledBack,
    /// The connection was lost, and the server could not be asked.
    Unknown,
}

/// Commits. When the connection is lost in the middle, the server is asked what became of it.
pub async fn commit(session: &Session, spec: &ConnectionSpec) -> Result<Outcome, DatabaseError> {
    let row = session.query_one("SELECT pg_catalog.pg_current_xact_id()::text", &[]).await?;
    let xact: String = row.get(0);
    match session.batch_execute("COMMIT").await.map_err(DatabaseError::from) {
        Ok(()) => Ok(Outcome::Committed),
        Err(error) if error.is_connection_lost() || session.is_closed() => Ok(match outcome_of(spec, &xact).await {
            Some(true) => Outcome::Committed,
            Some(false) => Outcome::RolledBack,
            None => Outcome::Unknown,
        }),
        Err(error) => Err(error),
    }
}

/// Runs statements that may fail without an end of the transaction; gives back the server's words when they did.
pub async fn attempt(session: &Session, sql: &str) -> Result<Option<String>, DatabaseError> {
    session.batch_execute("SAVEPOINT safe_migrate_attempt").await?;
    match session.batch_execute(sql).await.map_err(DatabaseError::from) {
        Ok(()) => {
            session.batch_execute("RELEASE SAVEPOINT safe_migrate_attempt").await?;
            Ok(None)
        }
        // Asked to stop, or nobody is there any more: that is no answer about the statement.
        Err(error) if error.is_cancelled() || error.is_connection_lost() || session.is_closed() => Err(error),
        Err(error) => {
            session.batch_execute("ROLLBACK TO SAVEPOINT safe_migrate_attempt").await?;
            Ok(Some(error.to_string()))
        }
    }
}

/// Gives a transaction up that is still open. A session that is gone has none.
pub async fn roll_back(session: &Session) {
    if let Err(error) = session.batch_execute("ROLLBACK").await {
        tracing::debug!(%error, "the transaction ended with its connection");
    }
}

/// Gives a session back the path of ours, after a transaction that needed the database's own one; one that failed is
/// rolled back first. A session that is gone has none.
pub async fn back_to_our_path(session: &Session, failed: bool) {
    if failed {
        roll_back(session).await;
    }
    if let Err(error) = session.batch_execute("SET search_path = ''").await {
        tracing::debug!(%error, "the path ended with its connection");
    }
}
