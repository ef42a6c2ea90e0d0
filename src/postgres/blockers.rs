//! Who stands in the way: the sessions for whose locks others wait, in words for the operator.

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

/// Returns when one of these sessions has waited for a lock for `limit`, with the words for who has it.
///
/// `pg_dump` limits the wait for the tables that it locks, and no other: the text of a view that somebody drops keeps
/// it waiting for ever.
pub async fn watch(session: &Session, pid: i32, name: &str, limit: Duration) -> Result<String, DatabaseError> {
    let mut since = None;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let blockers = of_sessions(session, pid, name).await?;
        let waiting_since = *since.get_or_insert_with(Instant::now);
        match blockers {
            Some(words) if waiting_since.elapsed() >= limit => return Ok(words),
            Some(_) => {}
            None => since = None,
        }
    }
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
