//! Tables and columns that a recovery made: filled, looked at again, and taken away.

use super::super::{DatabaseError, Session, qualified, quote_identifier};
use super::count;
use super::facts::Relation;

/// Readies tables of the scratch database for their rows: no trigger acts, and what the rows may break goes.
///
/// The other tables are empty there, so a foreign key cannot hold; a constraint that was never validated may not hold
/// for the old rows; and an index would only cost time.
pub async fn ready_for_rows(scratch: &Session, tables: &[(String, String)]) -> Result<(), DatabaseError> {
    for (schema, name) in tables {
        let Some(table) = super::relation(scratch, schema, name).await? else { continue };
        let quoted = table.quoted();
        // The foreign key of a partition is its parent's, and goes with that one.
        let sql = "WITH RECURSIVE keys AS (
                       SELECT oid, conparentid, conrelid, conname FROM pg_catalog.pg_constraint
                        WHERE conrelid = $1 AND (contype = 'f' OR NOT convalidated AND conparentid = 0)
                       UNION
                       SELECT p.oid, p.conparentid, p.conrelid, p.conname FROM keys
                         JOIN pg_catalog.pg_constraint p ON p.oid = keys.conparentid
                   )
                   SELECT pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::pg_catalog.regclass, conname)
                     FROM keys WHERE conparentid = 0
                   UNION ALL
                   SELECT pg_catalog.format('DROP INDEX %I.%I', n.nspname, c.relname)
                     FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
                     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                    WHERE i.indrelid = $1 AND NOT i.indisprimary AND NOT c.relispartition
                      AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid)
                      AND NOT i.indisreplident AND NOT i.indisclustered";
        for row in scratch.query(sql, &[&table.oid]).await? {
            scratch.batch_execute(row.get(0)).await?;
        }
        scratch.batch_execute(&format!("ALTER TABLE {quoted} DISABLE TRIGGER USER")).await?;
    }
    Ok(())
}

/// Counts the rows of a relation.
pub async fn count_rows(session: &Session, rows: &str) -> Result<u64, DatabaseError> {
    count(session, &format!("SELECT pg_catalog.count(*) FROM {rows} t")).await
}

/// The query of the rows of a relation, for a transfer.
pub fn rows_query(columns: &[String], source: &str) -> String {
    let columns: Vec<String> = columns.iter().map(|name| quote_identifier(name)).collect();
    format!("SELECT {} FROM {source}", columns.join(", "))
}

/// Quoted names of columns.
pub fn quoted_columns(columns: &[String]) -> Vec<String> {
    columns.iter().map(|name| quote_identifier(name)).collect()
}

/// Gives the planner statistics of a table.
pub async fn analyze(session: &Session, table: &Relation) -> Result<(), DatabaseError> {
    Ok(session.batch_execute(&format!("ANALYZE {}", table.quoted())).await?)
}

/// Keeps everybody else from a table until the transaction ends.
pub async fn lock_alone(session: &Session, table: &Relation) -> Result<(), DatabaseError> {
    Ok(session.batch_execute(&format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", table.quoted())).await?)
}

/// Drops a table that a run made, with its partitions; fails when something depends on it.
pub async fn drop_table(session: &Session, table: &Relation) -> Result<(), DatabaseError> {
    Ok(session.batch_execute(&format!("DROP TABLE {} RESTRICT", table.quoted())).await?)
}

/// Drops a column that a run brought back; fails when something else depends on it.
pub async fn drop_column(session: &Session, table: &Relation, column: &str) -> Result<(), DatabaseError> {
    let sql = format!("ALTER TABLE {} DROP COLUMN {} RESTRICT", table.quoted(), quote_identifier(column));
    Ok(session.batch_execute(&sql).await?)
}

/// Keeps all values of a column, with the key of their rows, in a new table.
pub async fn keep_column(
    session: &Session,
    table: &Relation,
    key: &super::Key,
    column: &str,
    saved: &str,
) -> Result<u64, DatabaseError> {
    let sql = format!(
        "CREATE TABLE {saved} AS SELECT {}, {} FROM {}",
        key.quoted().join(", "),
        quote_identifier(column),
        table.rows()
    );
    session.batch_execute(&sql).await?;
    count_rows(session, saved).await
}

/// The number of a column, for looking up what depends on it.
pub async fn column_number(session: &Session, table: &Relation, column: &str) -> Result<Option<i16>, DatabaseError> {
    let sql = "SELECT attnum FROM pg_catalog.pg_attribute
                WHERE attrelid = $1 AND attname = $2::text AND attnum > 0 AND NOT attisdropped";
    Ok(session.query_opt(sql, &[&table.oid, &column]).await?.map(|row| row.get(0)))
}

/// A table of the ledger's schema that keeps what a run wrote over: its quoted name, and its name alone.
pub fn saved_table(run_id: &str) -> (String, String) {
    saved_table_of(run_id, 0)
}

/// The same for one of several tables of a run, by its place from 0.
pub fn saved_table_of(run_id: &str, place: usize) -> (String, String) {
    let mut name = format!("saved_{}", run_id.to_lowercase().replace('-', "_"));
    if place > 0 {
        name.push_str(&format!("_{}", place + 1));
    }
    (qualified("safe_migrate", &name), name)
}

/// The quoted name of a saved table that the ledger names.
pub fn saved_name(name: &str) -> String {
    qualified("safe_migrate", name)
}
