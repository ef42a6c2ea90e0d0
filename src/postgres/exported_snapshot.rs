//! The leader of a snapshot: it locks every table, and only then exports what all workers will see.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::catalog::{self, Table};
use super::{ConnectionSpec, DatabaseError, Session, blockers, prepare_copy_session};

/// How often the list of tables may change under us before we give up.
const ATTEMPTS: usize = 5;

/// Why the leader could not export a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A lock was not granted in time.
    #[error("the tables could not be locked for reading within {} s{blockers}", timeout.as_secs_f64())]
    Locked {
        /// How long was waited.
        timeout: Duration,
        /// ": backend 4711 (application) since 12 s: ALTER TABLE …", or empty.
        blockers: String,
    },
    /// Tables came and went at each attempt.
    #[error("the list of tables changed {ATTEMPTS} times while they were being locked")]
    Restless,
    /// The server refused.
    #[error("{0}")]
    Database(#[from] DatabaseError),
    /// No connection.
    #[error(transparent)]
    Connection(#[from] super::ConnectionError),
}

impl From<tokio_postgres::Error> for ExportError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

/// An open transaction whose snapshot is exported; it ends when this is dropped.
#[derive(Debug)]
pub struct ExportedSnapshot {
    /// The leader's session, inside its transaction. It holds a lock on every table.
    pub session: Arc<Session>,
    /// Name for `SET TRANSACTION SNAPSHOT` and `pg_dump --snapshot`.
    pub name: String,
    /// Position in the write-ahead log.
    pub lsn: String,
    /// The tables, as the snapshot sees them.
    pub tables: Vec<Table>,
    begun: Instant,
}

impl ExportedSnapshot {
    /// Locks every table in ACCESS SHARE mode and exports a snapshot.
    ///
    /// `LOCK` takes no snapshot. Exported before the locks, a TRUNCATE or a rewrite in between would be read as an empty
    /// table (tried); so the list is made outside, locked, and made again under the snapshot: equal, or once more.
    /// `lister` is another session on that database.
    pub async fn take(spec: &ConnectionSpec, lister: &Session, timeout: Duration) -> Result<Self, ExportError> {
        for _ in 0..ATTEMPTS {
            let session = spec.connect("safe-migrate snapshot leader").await?;
            prepare_copy_session(&session, None).await?;
            let relations = catalog::lockable_relations(lister).await?;
            let begun = Instant::now();
            match lock(&session, &relations, timeout).await {
                Ok(()) => {}
                Err(error) if error.is_lock_timeout() => {
                    let oids: Vec<u32> = relations.iter().map(|(oid, _)| *oid).collect();
                    let blockers = blockers::of_relations(lister, &oids).await?;
                    return Err(ExportError::Locked { timeout, blockers });
                }
                // A table was dropped between listing and locking.
                Err(error) if error.has_sqlstate("42P01") => continue,
                Err(error) => return Err(error.into()),
            }
            let row = session
                .query_one("SELECT pg_catalog.pg_export_snapshot(), pg_catalog.pg_current_wal_lsn()::text", &[])
                .await?;
            if catalog::lockable_relations(&session).await? == relations {
                let tables = catalog::tables(&session).await?;
                let session = Arc::new(session);
                return Ok(Self { name: row.get(0), lsn: row.get(1), tables, session, begun });
            }
        }
        Err(ExportError::Restless)
    }

    /// Gives the locks back: somebody waits for them for whom we wait.
    pub async fn give_up(self) {
        // A cancellation that was meant for what it did before may meet this. With the connection the locks go too.
        for _ in 0..2 {
            if self.session.batch_execute("ROLLBACK").await.is_ok() {
                break;
            }
        }
    }

    /// Ends the transaction, and answers how long it held back vacuum.
    ///
    /// As long as it was open, no VACUUM in this database could remove a row version that died after it began. The
    /// locks count as well: `LOCK` takes no snapshot of its own, but looks the names up under one of the catalogs'.
    pub async fn end(self) -> Result<Duration, ExportError> {
        self.session.batch_execute("COMMIT").await?;
        Ok(self.begun.elapsed())
    }
}

async fn lock(session: &Session, relations: &[(u32, String)], timeout: Duration) -> Result<(), DatabaseError> {
    session
        .batch_execute(&format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL lock_timeout = {}",
            timeout.as_millis()
        ))
        .await?;
    for batch in relations.chunks(200) {
        let names: Vec<String> = batch.iter().map(|(_, name)| format!("ONLY {name}")).collect();
        session.batch_execute(&format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", "))).await?;
    }
    session.batch_execute("SET LOCAL lock_timeout = 0").await?;
    Ok(())
}
