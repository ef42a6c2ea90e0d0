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
