//! Visibility map and planner statistics of a database that was just filled.

use std::collections::BTreeSet;

use super::{DatabaseError, Session, qualified};

// Analyzing a table samples its children too, and a foreign one is sampled on the remote server: every ancestor of a
// foreign table is left out.
const REACHES_OUT: &str = "
    WITH RECURSIVE above (oid) AS (
        SELECT i.inhparent FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class f ON f.oid = i.inhrelid WHERE f.relkind = 'f'
        UNION SELECT i.inhparent FROM pg_catalog.pg_inherits i JOIN above ON i.inhrelid = above.oid)";

/// A relation by schema and name.
pub type Name = (String, String);

/// The tables that are analyzed on their own: without children, and no partition of a table that is analyzed as a whole.
///
/// `ANALYZE` of a partitioned table analyzes every partition again (before 18 there is no way to ask for less).
pub async fn independent(session: &Session) -> Result<BTreeSet<Name>, DatabaseError> {
    let sql = format!(
        "{REACHES_OUT}
         SELECT n.nspname::text, c.relname::text
           FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE c.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid)
            AND (NOT c.relispartition OR pg_catalog.pg_partition_root(c.oid) IN (SELECT oid FROM above))"
    );
    let rows = session.query(&sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// The partitioned tables that are analyzed as a whole, the topmost ones, with their leaves.
pub async fn partitioned(session: &Session) -> Result<Vec<(Name, Vec<Name>)>, DatabaseError> {
    let sql = format!(
        "{REACHES_OUT}
         SELECT n.nspname::text, c.relname::text, ln.nspname::text, l.relname::text
           FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          CROSS JOIN LATERAL pg_catalog.pg_partition_tree(c.oid) tree
           JOIN pg_catalog.pg_class l ON l.oid = tree.relid JOIN pg_catalog.pg_namespace ln ON ln.oid = l.relnamespace
          WHERE c.relkind = 'p' AND NOT c.relispartition AND c.oid NOT IN (SELECT oid FROM above) AND tree.isleaf
          ORDER BY 1, 2"
    );
    let mut found: Vec<(Name, Vec<Name>)> = Vec::new();
    for row in session.query(&sql, &[]).await? {
        let (root, leaf): (Name, Name) = ((row.get(0), row.get(1)), (row.get(2), row.get(3)));
        match found.last_mut() {
            Some((last, leaves)) if *last == root => leaves.push(leaf),
            _ => found.push((root, vec![leaf])),
        }
    }
    Ok(found)
}

/// Sets the visibility map of one table and, if asked, its statistics.
pub async fn vacuum(session: &Session, schema: &str, name: &str, analyze: bool) -> Result<(), DatabaseError> {
    let verb = if analyze { "VACUUM (ANALYZE)" } else { "VACUUM" };
    Ok(session.batch_execute(&format!("{verb} {}", qualified(schema, name))).await?)
}

/// Vacuums and analyzes what still needs it, without asking any remote server for rows.
///
/// `done` are tables that were vacuumed, and those of [`independent`] analyzed, when they were full, and those of
/// [`partitioned`] that were analyzed. They are analyzed once more only where an index over an expression or a statistics
/// object wants figures of its own.
pub async fn gather(session: &Session, done: &BTreeSet<Name>) -> Result<(), DatabaseError> {
    let sql = format!(
        "{REACHES_OUT}
         SELECT n.nspname::text, c.relname::text, c.oid IN (SELECT oid FROM above),
                EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indexprs IS NOT NULL)
                OR EXISTS (SELECT FROM pg_catalog.pg_statistic_ext s WHERE s.stxrelid = c.oid),
                c.relkind = 'p', c.relispartition,
                EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid)
           FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't'
            AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1, 2"
    );
    for row in session.query(&sql, &[]).await? {
        let name: Name = (row.get(0), row.get(1));
        let (reaches_out, more, partitioned): (bool, bool, bool) = (row.get(2), row.get(3), row.get(4));
        let (partition, parent): (bool, bool) = (row.get(5), row.get(6));
        match (partitioned, done.contains(&name)) {
            // It has no pages of its own: a vacuum of it is one of every partition again. The topmost one covers all.
            (true, known) if reaches_out || partition || (known && !more) => {}
            (true, _) => analyze(session, &name).await?,
            (false, true) if !reaches_out && (parent || more) => analyze(session, &name).await?,
            (false, true) => {}
            (false, false) => vacuum(session, &name.0, &name.1, !reaches_out).await?,
        }
    }
    Ok(())
}

/// Gathers the statistics of one table, and of all its partitions.
pub async fn analyze(session: &Session, name: &Name) -> Result<(), DatabaseError> {
    Ok(session.batch_execute(&format!("ANALYZE {}", qualified(&name.0, &name.1))).await?)
}
