//! The COMMIT of a migration, and what became of it when nobody heard the answer.

use super::super::{ConnectionSpec, DatabaseError, Session};
use super::{ExecuteError, backoff};
use crate::migration::Migration;

/// COMMIT, and when the connection is lost there: what the server says of the transaction.
pub(super) async fn commit(
    session: &Session,
    spec: &ConnectionSpec,
    migration: &Migration,
    xact: &str,
) -> Result<(), ExecuteError> {
    crate::fault::point("migration.before-commit");
    let Err(error) = session.batch_execute("COMMIT").await else { return Ok(()) };
    let error = DatabaseError::from(error);
    if !error.is_connection_lost() && !session.is_closed() {
        // A deferred constraint, for instance: the server has rolled the transaction back.
        return Err(ExecuteError::Statement {
            file: migration.path.display().to_string(),
            line: migration.up.statements.last().map_or(1, |statement| statement.line),
            source: Box::new(error),
        });
    }
    match outcome_of(spec, xact).await {
        Some(true) => Ok(()),
        Some(false) => Err(ExecuteError::Database(error)),
        None => Err(ExecuteError::UnknownCommit { migration: migration.id.to_string(), source: Box::new(error) }),
    }
}

/// Whether a transaction committed, asked over a new connection until it is no longer in progress. Read at once the
/// ledger was empty and the row appeared later, so the transaction's status comes first.
pub(in super::super) async fn outcome_of(spec: &ConnectionSpec, xact: &str) -> Option<bool> {
    for attempt in 0..60_u32 {
        tokio::time::sleep(backoff(attempt.min(4))).await;
        let Ok(again) = spec.connect("safe-migrate commit check").await else { continue };
        let Ok(row) = again.query_one("SELECT pg_catalog.pg_xact_status($1::text::xid8)", &[&xact]).await else {
            continue;
        };
        match row.get::<_, Option<String>>(0).as_deref() {
            Some("committed") => return Some(true),
            Some("aborted") => return Some(false),
            _ => {}
        }
    }
    None
}
