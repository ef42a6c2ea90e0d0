//! One run at a time per database: advisory locks that are tried, never waited for.
//!
//! Waiting inside a transaction would deadlock with `CREATE INDEX CONCURRENTLY`. Advisory locks belong to one database,
//! so the lock is taken in the maintenance database, keyed by the target's name (a restore runs while the target is
//! gone), and by `apply` in the target too, on the session that migrates: losing one loses both.

use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::{DatabaseError, Session};
use crate::fault;

/// Longer than the `client_connection_check_interval` of a session that migrates, or of one that makes a database.
const DEAD_RUN_IS_NOTICED: Duration = Duration::from_secs(10);

/// A run that ended a moment ago has its lock until the server has noticed, which takes a loaded server longer.
const JUST_ENDED: Duration = Duration::from_secs(1);

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run has it.
    #[error("another run holds the lock of database \"{database}\"{holder}")]
    Held {
        /// The database.
        database: String,
        /// " (process …)" where the server tells, else empty.
        holder: String,
    },
    /// The server refused.
    #[error("{0}")]
    Database(#[from] DatabaseError),
}

/// The right to run; it lives as long as the sessions that took it.
#[derive(Debug)]
pub struct RunLock {
    run_key: i64,
    target_key: i64,
}

impl RunLock {
    /// Takes the lock of `database` on a maintenance session, trying again until `wait` has passed.
    ///
    /// A living run's session is idle nearly always. One in the middle of a statement may be a dead run's that makes or
    /// drops a database and has not noticed that nobody listens: it is given a moment.
    pub async fn acquire(session: &Session, database: &str, wait: Duration) -> Result<Self, LockError> {
        Self::acquire_telling(session, database, wait, |_| {}).await
    }

    /// The same; tells once for whom it waits (": backend …", or empty where the server does not say).
    pub async fn acquire_telling(
        session: &Session,
        database: &str,
        wait: Duration,
        tell: impl Fn(&str),
    ) -> Result<Self, LockError> {
        let run_key = key("run", database);
        let begun = Instant::now();
        let mut is_told = wait.is_zero();
        loop {
            if try_lock(session, run_key).await? || fault::is_off("off.run-lock") {
                fault::point("lock.taken");
                return Ok(Self { run_key, target_key: key("target", database) });
            }
            if !is_told {
                tell(&holder(session, run_key).await?);
                is_told = true;
            }
            let perhaps_dead = begun.elapsed() < DEAD_RUN_IS_NOTICED && is_busy(session, run_key).await?;
            if begun.elapsed() >= wait.max(JUST_ENDED) && !perhaps_dead {
                return Err(LockError::Held { database: database.to_owned(), holder: holder(session, run_key).await? });
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Takes a second lock on the session that migrates. Its key is another one, because the maintenance database may
    /// be the target itself.
    ///
    /// Who has it while the first lock is ours is a dead run: its maintenance session was idle and ended at once, the
    /// one that migrated ends when the server notices that nobody listens. So this waits for a moment.
    pub async fn also_on(&self, session: &Session, database: &str) -> Result<(), LockError> {
        let deadline = Instant::now() + DEAD_RUN_IS_NOTICED;
        while !try_lock(session, self.target_key).await? && !fault::is_off("off.run-lock") {
            if Instant::now() >= deadline {
                let holder = holder(session, self.target_key).await?;
                return Err(LockError::Held { database: database.to_owned(), holder });
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        Ok(())
    }

    /// Waits for a moment until nobody has the second lock in the target, of which only the name is given because it may
    /// take no connections; false when somebody still has it.
    pub async fn target_is_free(&self, maintenance: &Session, database: &str) -> Result<bool, DatabaseError> {
        let deadline = Instant::now() + DEAD_RUN_IS_NOTICED;
        let (high, low) = halves(self.target_key);
        let held =
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_database d ON d.oid = l.database
             WHERE l.locktype = 'advisory' AND l.granted AND l.classid = $1 AND l.objid = $2 AND l.objsubid = 1
               AND d.datname = $3)";
        while maintenance.query_one(held, &[&high, &low, &database]).await?.get(0) {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        Ok(true)
    }

    /// Whether both sessions still have their locks; asked before each migration. Losing one loses both.
    pub async fn is_held(&self, maintenance: &Session, target: &Session) -> Result<bool, DatabaseError> {
        let held = Self::holds(maintenance, self.run_key).await? && Self::holds(target, self.target_key).await?;
        Ok(held || fault::is_off("off.run-lock"))
    }

    /// Whether somebody has the lock of this database; any session of the server sees it.
    pub async fn is_taken(session: &Session, database: &str) -> Result<bool, DatabaseError> {
        let (high, low) = halves(key("run", database));
        let row = session
            .query_one(
                "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted
                    AND classid = $1 AND objid = $2 AND objsubid = 1)",
                &[&high, &low],
            )
            .await?;
        Ok(row.get(0))
    }

    /// Whether the maintenance session still has its lock: what a restore needs, which ends the other one.
    pub async fn is_held_by_maintenance(&self, maintenance: &Session) -> Result<bool, DatabaseError> {
        Self::holds(maintenance, self.run_key).await
    }

    async fn holds(session: &Session, key: i64) -> Result<bool, DatabaseError> {
        let (high, low) = halves(key);
        let row = session
            .query_one(
                "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted
                    AND pid = pg_catalog.pg_backend_pid() AND classid = $1 AND objid = $2 AND objsubid = 1)",
                &[&high, &low],
            )
            .await?;
        Ok(row.get(0))
    }
}

async fn try_lock(session: &Session, key: i64) -> Result<bool, DatabaseError> {
    Ok(session.query_one("SELECT pg_catalog.pg_try_advisory_lock($1)", &[&key]).await?.get(0))
}

/// Whether the holder is in the middle of a statement. False where the server does not tell.
async fn is_busy(session: &Session, key: i64) -> Result<bool, DatabaseError> {
    let (high, low) = halves(key);
    let row = session
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
              WHERE l.locktype = 'advisory' AND l.granted AND l.classid = $1 AND l.objid = $2 AND l.objsubid = 1
                AND a.state = 'active')",
            &[&high, &low],
        )
        .await?;
    Ok(row.get(0))
}

async fn holder(session: &Session, key: i64) -> Result<String, DatabaseError> {
    let (high, low) = halves(key);
    let row = session
        .query_opt(
            "SELECT a.pid, a.application_name, coalesce(host(a.client_addr), 'local'), a.backend_start::timestamptz(0)::text,
                    CASE WHEN a.wait_event = 'SyncRep' THEN '; its COMMIT waits for a synchronous standby' ELSE '' END
               FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
              WHERE l.locktype = 'advisory' AND l.granted AND l.classid = $1 AND l.objid = $2 AND l.objsubid = 1
              LIMIT 1",
            &[&high, &low],
        )
        .await?;
    Ok(row.map_or_else(String::new, |row| {
        format!(
            ": backend {} ({}, from {}, since {}){}",
            row.get::<_, i32>(0),
            row.get::<_, Option<String>>(1).unwrap_or_default(),
            row.get::<_, Option<String>>(2).unwrap_or_default(),
            row.get::<_, Option<String>>(3).unwrap_or_default(),
            row.get::<_, String>(4)
        )
    }))
}

/// The lock's key: the first eight bytes of a hash of the database's name.
fn key(purpose: &str, database: &str) -> i64 {
    let digest = Sha256::digest(format!("safe-migrate {purpose} {database}").as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(bytes)
}

/// `pg_locks` shows a 64-bit key as two halves of type oid.
fn halves(key: i64) -> (u32, u32) {
    let bytes = key.to_be_bytes();
    (
        u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
        u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    )
}
