//! Visibility map and planner statistics of a database that was just filled.

use super::{DatabaseError, Session, qualified};

// Analyzing a table samples its children too, and a foreign one is sampled on the remote server: every ancestor of a
// foreign table is left out.
const REACHES_OUT: &str = "
    WITH RECURSIVE above (oid) AS (
        SELECT i.inhparent FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class f ON f.oid = i.inhrelid WHERE f.relkind = 'f'
        UNION SELECT i.inhparent FROM pg_catalog.pg_inherits i JOIN above ON i.inhrelid = above.oid)";

/// Runs `VACUUM ANALYZE`, without asking any remote server for rows.
pub async fn gather(session: &Session) -> Result<(), DatabaseError> {
    let sql = format!("{REACHES_OUT} SELECT EXISTS (SELECT FROM above)");
    if !session.query_one(&sql, &[]).await?.get::<_, bool>(0) {
        return Ok(session.batch_execute("VACUUM ANALYZE").await?);
    }
    let sql = format!(
        "{REACHES_OUT} SELECT n.nspname::text, c.relname::text, c.oid IN (SELECT oid FROM above)
           FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_toast' ORDER BY 1, 2"
    );
    for row in session.query(&sql, &[]).await? {
        let verb = if row.get(2) { "VACUUM" } else { "VACUUM ANALYZE" };
        let name = qualified(&row.get::<_, String>(0), &row.get::<_, String>(1));
        session.batch_execute(&format!("{verb} {name}")).await?;
    }
    Ok(())
}
