//! Who stands in the way: the sessions for whose locks others wait, in words for the operator.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{DatabaseError, Session};

/// How often [`watch`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Columns of a blocker: process, name, age of its transaction in seconds, statement. A prepared transaction has no process.
const BLOCKER: &str = "coalesce(a.pid, 0), coalesce(nullif(a.application_name, ''), 'no name'),
     extract(epoch FROM pg_catalog.clock_timestamp() - coalesce(a.xact_start, p.prepared))::bigint,
     coalesce(left(a.query, 100), p.gid, '')";

/// Those that hold or await an exclusive lock on one of these relations: `: backend 4711 (psql) since 12 s: ALTER TABLE …`.
/// Empty when they are gone by now.
pub async fn of_relations(session: &Session, oids: &[u32]) -> Result<String, DatabaseError> {
    let sql = format!(
        "SELECT DISTINCT {BLOCKER} FROM pg_catalog.pg_locks l
           LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
           LEFT JOIN pg_catalog.pg_locks x ON l.pid IS NULL AND x.virtualtransaction = l.virtualtransaction
                 AND x.locktype = 'transactionid'
           LEFT JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = x.transactionid
          WHERE l.relation = ANY ($1) AND l.mode = 'AccessExclusiveLock' AND l.database =
                (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
          ORDER BY 3 DESC NULLS LAST LIMIT 3"
    );
    let rows = session.query(&sql, &[&oids]).await?;
    Ok(in_words(&rows).map(|words| format!(": {words}")).unwrap_or_default())
}

/// Those for whom a session of ours waits: the one with this process number, or any of this name.
async fn of_sessions(session: &Session, pid: i32, name: &str) -> Result<Option<String>, DatabaseError> {
    let sql = format!(
        "SELECT DISTINCT {BLOCKER} FROM pg_catalog.pg_stat_activity w
          CROSS JOIN LATERAL unnest(pg_catalog.pg_blocking_pids(w.pid)) blocking(pid)
           LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = blocking.pid
           LEFT JOIN pg_catalog.pg_prepared_xacts p ON blocking.pid = 0 AND p.database = w.datname
          WHERE (w.pid = $1 OR w.application_name = $2) AND w.datname = pg_catalog.current_database()
          ORDER BY 3 DESC NULLS LAST LIMIT 3"
    );
    Ok(in_words(&session.query(&sql, &[&pid, &name]).await?))
}

/// Those for whom the session with this process number waits.
pub(super) async fn of_backend(session: &Session, pid: i32) -> Result<Option<String>, DatabaseError> {
    // No session has this name.
    of_sessions(session, pid, "\u{1}").await
}

/// How many sessions wait for a lock that this one holds or waits for itself.
pub(super) async fn queue_behind(session: &Session, pid: i32) -> Result<u32, DatabaseError> {
    const QUEUE: &str = "
        SELECT count(DISTINCT w.pid)
          FROM pg_catalog.pg_locks w JOIN pg_catalog.pg_locks o ON o.pid = $1 AND w.pid <> o.pid AND NOT w.granted
           AND (w.locktype = 'relation' AND o.locktype = 'relation' AND w.database = o.database AND w.relation = o.relation
                AND o.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
                OR w.locktype = 'transactionid' AND o.locktype = 'transactionid' AND w.transactionid = o.transactionid)";
    let waiting: i64 = session.query_one(QUEUE, &[&pid]).await?.get(0);
    Ok(u32::try_from(waiting).unwrap_or(u32::MAX))
}

/// Transactions of this database that are older than `limit`, oldest first, in words: what they have locked stays locked
/// until they end.
pub async fn long_transactions(session: &Session, limit: Duration) -> Result<Vec<String>, DatabaseError> {
    const LONG: &str = "
        SELECT pid, coalesce(nullif(application_name, ''), 'no name'), coalesce(state, 'unknown'),
               extract(epoch FROM pg_catalog.clock_timestamp() - xact_start)::bigint, left(query, 100)
          FROM pg_catalog.pg_stat_activity
         WHERE datname = pg_catalog.current_database() AND pid <> pg_catalog.pg_backend_pid()
           AND backend_type = 'client backend' AND xact_start < pg_catalog.clock_timestamp() - $1::float8 * interval '1 second'
         UNION ALL
        SELECT 0, gid, 'prepared', extract(epoch FROM pg_catalog.clock_timestamp() - prepared)::bigint, ''
          FROM pg_catalog.pg_prepared_xacts
         WHERE database = pg_catalog.current_database()
           AND prepared < pg_catalog.clock_timestamp() - $1::float8 * interval '1 second'
         ORDER BY 4 DESC LIMIT 5";
    let rows = session.query(LONG, &[&limit.as_secs_f64()]).await?;
    Ok(rows
        .iter()
        .map(|row| {
            let (pid, name, state): (i32, String, String) = (row.get(0), row.get(1), row.get(2));
            let (age, query): (Option<i64>, String) = (row.get(3), row.get(4));
            let age = age.unwrap_or_default();
            match pid {
                0 => format!("prepared transaction {name} since {age} s"),
                pid => format!("backend {pid} ({name}, {state}) since {age} s: {query}"),
            }
        })
        .collect())
}

/// Cancels what these sessions do: a server process that waits for a lock does not notice that its client is gone, and
/// keeps its own locks.
pub async fn cancel(session: &Session, pid: i32, name: &str) -> Result<(), DatabaseError> {
    let sql = "SELECT pg_catalog.pg_cancel_backend(w.pid) FROM pg_catalog.pg_stat_activity w
                WHERE (w.pid = $1 OR w.application_name = $2) AND w.datname = pg_catalog.current_database()";
    session.query(sql, &[&pid, &name]).await?;
    Ok(())
}

/// The sessions of one snapshot: its leader, which has a lock on every table, and the programs that call themselves so.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotSessions<'a> {
    /// Process number of the leader.
    pub leader: i32,
    /// Name of the programs.
    pub programs: &'a str,
}

/// Why a snapshot cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// One of its sessions has waited for too long for somebody's lock.
    Waits(String),
    /// One of its sessions waits behind somebody who waits for the leader: neither would ever end.
    Deadlocked(String),
    /// Somebody has waited for too long behind it.
    HoldsUp(String),
}

/// How long the sessions of a snapshot may wait, and others for them.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For locks of others.
    pub wait: Duration,
    /// Of others, behind the snapshot; none: as long as it takes.
    pub block: Option<Duration>,
}

/// How often [`watch`] looks at first: what is deadlocked from the beginning begins again soon.
const LOOK_AT_FIRST: Duration = Duration::from_millis(100);
const AT_FIRST: Duration = Duration::from_secs(3);

/// Returns when a snapshot cannot go on. `longest`: how long others have waited behind it, in milliseconds.
///
/// `pg_dump` limits the wait for the tables that it locks, and no other: the text of a view that somebody drops keeps
/// it waiting for ever. And the server knows no deadlock between one who queues behind another one and our leader, because
/// our programs wait for each other outside of it.
pub async fn watch(
    session: &Session,
    ours: SnapshotSessions<'_>,
    patience: Patience,
    longest: &AtomicU64,
) -> Result<Blocked, DatabaseError> {
    let begun = Instant::now();
    let mut since = None;
    loop {
        tokio::time::sleep(if begun.elapsed() < AT_FIRST { LOOK_AT_FIRST } else { LOOK_EVERY }).await;
        if let Some(held_up) = held_up(session, ours).await? {
            let waited = u64::try_from(held_up.waited.as_millis()).unwrap_or(u64::MAX);
            longest.fetch_max(waited, Ordering::Relaxed);
            if held_up.deadlocked {
                return Ok(Blocked::Deadlocked(held_up.words));
            }
            if patience.block.is_some_and(|limit| held_up.waited >= limit) {
                return Ok(Blocked::HoldsUp(held_up.words));
            }
        }
        let blockers = of_sessions(session, ours.leader, ours.programs).await?;
        let waiting_since = *since.get_or_insert_with(Instant::now);
        match blockers {
            Some(words) if waiting_since.elapsed() >= patience.wait => return Ok(Blocked::Waits(words)),
            Some(_) => {}
            None => since = None,
        }
    }
}

/// Who waits for the sessions of a snapshot.
struct HeldUp {
    /// The longest of them.
    waited: Duration,
    /// `ALTER TABLE …` and on which table.
    words: String,
    /// Whether one of ours waits for one of them.
    deadlocked: bool,
}

async fn held_up(session: &Session, ours: SnapshotSessions<'_>) -> Result<Option<HeldUp>, DatabaseError> {
    const HELD_UP: &str = "
        WITH ours AS MATERIALIZED (
            SELECT pid FROM pg_catalog.pg_stat_activity
             WHERE (pid = $1 OR application_name = $2) AND datname = pg_catalog.current_database()
        ), waiting AS MATERIALIZED (
            SELECT l.pid, l.relation, l.waitstart, pg_catalog.pg_blocking_pids(l.pid) AS by, l.pid IN (SELECT pid FROM ours) AS own
              FROM pg_catalog.pg_locks l WHERE NOT l.granted
        )
        SELECT extract(epoch FROM pg_catalog.clock_timestamp() - w.waitstart)::float8,
               'backend ' || w.pid || ' (' || coalesce(nullif(a.application_name, ''), 'no name') || ') wants '
                          || coalesce(w.relation::regclass::text, 'a lock') || ': ' || coalesce(left(a.query, 100), ''),
               EXISTS (SELECT FROM waiting o WHERE o.own AND w.pid = ANY (o.by))
          FROM waiting w LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = w.pid
         WHERE NOT w.own AND w.by && ARRAY(SELECT pid FROM ours)
         ORDER BY 3 DESC, 1 DESC NULLS LAST LIMIT 1";
    let Some(row) = session.query_opt(HELD_UP, &[&ours.leader, &ours.programs]).await? else { return Ok(None) };
    let seconds = row.try_get::<_, Option<f64>>(0)?.unwrap_or_default().max(0.0);
    Ok(Some(HeldUp {
        waited: Duration::try_from_secs_f64(seconds).unwrap_or_default(),
        words: row.try_get(1)?,
        deadlocked: row.try_get(2)?,
    }))
}

fn in_words(rows: &[tokio_postgres::Row]) -> Option<String> {
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let (pid, name): (i32, String) = (row.get(0), row.get(1));
            let age = row.get::<_, Option<i64>>(2).unwrap_or_default();
            let what: String = row.get(3);
            match pid {
                0 => format!("prepared transaction {what} since {age} s"),
                pid => format!("backend {pid} ({name}) since {age} s: {what}"),
            }
        })
        .collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}
