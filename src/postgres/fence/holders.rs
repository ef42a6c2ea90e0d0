//! Who stands in the way of a fence: those that wrote in a transaction that is still open, and those with whom the
//! migrations would wait for each other.

use super::super::{DatabaseError, Session, swap};

/// The modes that do not go with SHARE.
const CONFLICTING: &str = "('RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
      'AccessExclusiveLock')";

/// One that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process; none for a prepared transaction.
    pub pid: Option<i32>,
    /// The name of a prepared transaction.
    pub gid: Option<String>,
    /// `backend 4711 (psql, role ada) since 12 s: UPDATE …`.
    pub words: String,
    /// Whether this role may end it.
    pub may_end: bool,
}

/// Columns: process, gid, words, may be ended. A statement is cut to one line of 80 characters.
fn columns() -> String {
    format!(
        "a.pid, p.gid,
         coalesce('backend ' || a.pid || ' (' || coalesce(nullif(a.application_name, ''), a.backend_type, 'hidden')
                  || coalesce(', role ' || a.usename, '') || ')' || coalesce(' since '
                  || extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::bigint || ' s', '')
                  || coalesce(': ' || left(regexp_replace(a.query, '\\s+', ' ', 'g'), 80), ''),
                  'prepared transaction ' || quote_literal(p.gid), 'somebody'),
         coalesce({}, false)",
        swap::MAY_END
    )
}

const FROM: &str = "pg_catalog.pg_locks l
      LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
      LEFT JOIN pg_catalog.pg_locks x ON l.pid IS NULL AND x.virtualtransaction = l.virtualtransaction
            AND x.locktype = 'transactionid'
      LEFT JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = x.transactionid";

fn holding() -> String {
    format!(
        "l.locktype = 'relation' AND l.granted AND l.mode IN {CONFLICTING} AND l.relation = ANY ($1)
         AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
    )
}

/// Those that hold a lock on one of these tables that does not go with SHARE, without the session `ours`.
pub async fn holders(session: &Session, tables: &[(u32, String)], ours: i32) -> Result<Vec<Holder>, DatabaseError> {
    let sql = format!(
        "SELECT DISTINCT {} FROM {FROM} WHERE {} AND l.pid IS DISTINCT FROM $2 ORDER BY 1",
        columns(),
        holding()
    );
    let oids: Vec<u32> = tables.iter().map(|(oid, _)| *oid).collect();
    let rows = session.query(&sql, &[&oids, &ours]).await?;
    Ok(rows.iter().map(|row| holder(row, 0)).collect())
}

/// The prepared transactions among them: no session can be ended for these.
pub async fn prepared(session: &Session, tables: &[(u32, String)]) -> Result<Vec<String>, DatabaseError> {
    let holders = holders(session, tables, 0).await?;
    Ok(holders.into_iter().filter_map(|holder| holder.gid).collect())
}

/// Ends these sessions, each only while it still holds such a lock: a process number may be another's by now.
pub async fn end(session: &Session, tables: &[(u32, String)], pids: &[i32]) -> Result<(), DatabaseError> {
    let sql = format!(
        "SELECT pg_catalog.pg_terminate_backend(pid) FROM (SELECT DISTINCT a.pid FROM {FROM} WHERE {} AND a.pid = ANY ($2)
            AND a.pid <> pg_catalog.pg_backend_pid() AND {}) ours",
        holding(),
        swap::MAY_END
    );
    let oids: Vec<u32> = tables.iter().map(|(oid, _)| *oid).collect();
    session.query(&sql, &[&oids, &pids]).await?;
    Ok(())
}

/// Ends those for whom the session `ours` waits while they wait, over whatever others, for `ours`: a reader that turned
/// writer behind the fence, whose table a migration now wants for itself. Returns them in words.
///
/// The server answers some of these at once with an error in ours (40P01, `ProcSleep` in `proc.c`), so that nobody is
/// seen to wait; `named` are the numbers in that error. Of these, those are ended that wait for `ours`.
pub async fn end_deadlocked(session: &Session, ours: i32, named: &[i32]) -> Result<Vec<String>, DatabaseError> {
    let sql = format!(
        "WITH RECURSIVE waiting AS MATERIALIZED (
             SELECT w.pid, pg_catalog.pg_blocking_pids(w.pid) AS blockers
               FROM (SELECT DISTINCT l.pid FROM pg_catalog.pg_locks l WHERE NOT l.granted AND l.pid IS NOT NULL) w),
         behind AS (
             SELECT pid FROM waiting WHERE $1 = ANY (blockers)
              UNION SELECT w.pid FROM waiting w JOIN behind b ON b.pid = ANY (w.blockers)),
         deadlocked AS MATERIALIZED (
             SELECT b.pid FROM behind b WHERE b.pid <> $1 AND (b.pid = ANY ($2)
                 OR EXISTS (SELECT FROM waiting w WHERE w.pid = $1 AND b.pid = ANY (w.blockers))))
         SELECT pg_catalog.pg_terminate_backend(a.pid), {} FROM deadlocked JOIN pg_catalog.pg_stat_activity a USING (pid)
           LEFT JOIN pg_catalog.pg_prepared_xacts p ON false
          WHERE {}",
        columns(),
        swap::MAY_END
    );
    let rows = session.query(&sql, &[&ours, &named]).await?;
    Ok(rows.iter().map(|row| holder(row, 1).words).collect())
}

fn holder(row: &tokio_postgres::Row, first: usize) -> Holder {
    Holder { pid: row.get(first), gid: row.get(first + 1), words: row.get(first + 2), may_end: row.get(first + 3) }
}
