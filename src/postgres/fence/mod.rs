//! The fence: every table locked against writers in one transaction, so that nothing is written between a snapshot and
//! the migrations.
//!
//! SHARE mode conflicts with what INSERT, UPDATE, DELETE, COPY and TRUNCATE take, whoever sends them and in whatever
//! mode; it goes with SELECT and with the locks of a snapshot. It dies with the session. `default_transaction_read_only`
//! would be none: `BEGIN READ WRITE` walks past it.

mod closed;
mod holders;
mod large_objects;

use std::collections::BTreeSet;
use std::time::Duration;

use super::{DatabaseError, Session, catalog, execute, quote_literal};

pub use closed::{ClosedFence, FenceRecord, end_sessions, other_sessions, probe_rights};
pub use holders::{Holder, end, end_deadlocked, holders, prepared};
pub use large_objects::{LargeObjects, bytes_table, large_objects, lock_bytes, pieces_written_since};

/// How often the list of tables may change while they are locked.
const ROUNDS: usize = 10;
/// Large objects are made and removed in this table; only a superuser may lock it.
const METADATA: (u32, &str) = (2995, "\"pg_catalog\".\"pg_largeobject_metadata\"");
/// And their bytes lie in this one.
const BYTES: (u32, &str) = (2613, "\"pg_catalog\".\"pg_largeobject\"");

/// Why the tables were not locked.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// Others hold locks; nothing is locked by us.
    #[error("others hold locks on these tables")]
    Contended(DatabaseError),
    /// Tables came and went each time.
    #[error("the list of tables changed {ROUNDS} times while they were being locked")]
    Restless,
    /// The server refused.
    #[error("{0}")]
    Database(#[from] DatabaseError),
}

impl From<tokio_postgres::Error> for FenceError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::from(DatabaseError::from(error))
    }
}

/// The tables that a fence locks: those that a snapshot reads, without the ledger.
pub async fn tables(session: &Session, large_objects: bool) -> Result<Vec<(u32, String)>, DatabaseError> {
    let mut tables = catalog::lockable_relations(session).await?;
    tables.retain(|(_, name)| !name.starts_with("\"safe_migrate\"."));
    if large_objects {
        tables.push((METADATA.0, METADATA.1.to_owned()));
    }
    Ok(tables)
}

/// Begins the one transaction: the locks are taken in it, and the migrations run in it. No timeout of the role or the
/// database ends it for being idle or long.
pub async fn begin(session: &Session) -> Result<(), DatabaseError> {
    let keep = execute::keep_transaction_sql(session);
    session.batch_execute(&format!("{keep};BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE")).await?;
    Ok(())
}

/// Gives the locks back, and whatever else the transaction holds.
pub async fn end_transaction(session: &Session) -> Result<(), DatabaseError> {
    Ok(session.batch_execute("ROLLBACK").await?)
}

/// How a prepared transaction is ended by hand.
pub fn end_prepared_by_hand(gid: &str) -> String {
    let gid = quote_literal(gid);
    format!("COMMIT PREPARED {gid} or ROLLBACK PREPARED {gid}")
}

/// Locks the tables in SHARE mode, each waited for no longer than `timeout`; `lister` is a session beside it, outside a
/// transaction. Returns what is locked: a list that did not change while the last of it was being locked.
///
/// When somebody is in the way all locks are given back, because waiting with them in hand is how deadlocks with
/// transactions that write one table after another are made.
pub async fn lock(
    session: &Session,
    lister: &Session,
    large_objects: bool,
    timeout: Duration,
) -> Result<Vec<(u32, String)>, FenceError> {
    let begin = format!("SAVEPOINT safe_migrate_fence;SET LOCAL lock_timeout = {}", timeout.as_millis());
    session.batch_execute(&begin).await?;
    match lock_all(session, lister, large_objects).await {
        Ok(locked) => {
            session.batch_execute("SET LOCAL lock_timeout = 0;RELEASE SAVEPOINT safe_migrate_fence").await?;
            Ok(locked)
        }
        Err(error) => {
            if !session.is_closed() {
                let back = "ROLLBACK TO SAVEPOINT safe_migrate_fence;RELEASE SAVEPOINT safe_migrate_fence";
                session.batch_execute(back).await?;
            }
            Err(error)
        }
    }
}

async fn lock_all(session: &Session, lister: &Session, large_objects: bool) -> Result<Vec<(u32, String)>, FenceError> {
    let mut locked = BTreeSet::new();
    for _ in 0..ROUNDS {
        let now = tables(lister, large_objects).await?;
        let new: Vec<&(u32, String)> = now.iter().filter(|table| !locked.contains(*table)).collect();
        if new.is_empty() {
            return Ok(now);
        }
        for batch in new.chunks(200) {
            let names: Vec<String> = batch.iter().map(|(_, name)| format!("ONLY {name}")).collect();
            let sql = format!("LOCK TABLE {} IN SHARE MODE", names.join(", "));
            session.batch_execute(&sql).await.map_err(|error| refused(error.into()))?;
        }
        locked.extend(new.into_iter().cloned());
    }
    Err(FenceError::Restless)
}

fn refused(error: DatabaseError) -> FenceError {
    // A table that was dropped meanwhile (42P01, 3F000) is not there at the next try.
    let gone = error.has_sqlstate("42P01") || error.has_sqlstate("3F000");
    if gone || error.is_lock_timeout() || error.is_deadlock() {
        FenceError::Contended(error)
    } else {
        FenceError::Database(error)
    }
}
