//! Indexes built outside a transaction: what is there, and what a build that stopped leaves behind.

use super::execute::Kind;
use super::{DatabaseError, MigratingSession, Session};

/// `schema.name` of an index `i` with its class `c` and namespace `n`.
const NAME: &str = "pg_catalog.format('%I.%I', n.nspname, c.relname)";

const INDEXES: &str = "pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace";

/// The invalid indexes that there are. By name, because a restored database has other OIDs.
pub(super) async fn invalid_indexes(session: &Session) -> Result<Vec<String>, DatabaseError> {
    let sql = format!("SELECT {NAME} FROM {INDEXES} WHERE NOT i.indisvalid ORDER BY 1");
    Ok(session.query(&sql, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// The valid indexes of a table, named as it is written.
pub(super) async fn indexes_of(session: &MigratingSession, table: &str) -> Result<Vec<String>, DatabaseError> {
    let table = session.relation(table).await?;
    let sql = format!("SELECT {NAME} FROM {INDEXES} WHERE i.indisvalid AND i.indrelid = $1 ORDER BY 1");
    Ok(session.query(&sql, &[&table]).await?.iter().map(|row| row.get(0)).collect())
}

/// The index of a `CREATE INDEX`: in the schema of its table, whatever the search path is.
pub(super) async fn index_on(
    session: &MigratingSession,
    table: &str,
    name: &str,
) -> Result<Option<String>, DatabaseError> {
    let table = session.relation(table).await?;
    let sql = format!(
        "SELECT {NAME} FROM {INDEXES}
          WHERE i.indisvalid AND i.indrelid = $1 AND c.relname = (pg_catalog.parse_ident($2))[1]"
    );
    Ok(session.query_opt(&sql, &[&table, &name]).await?.map(|row| row.get(0)))
}

/// Whether an index is there and valid; none when it is not there.
pub(super) async fn is_valid(session: &MigratingSession, name: &str) -> Result<Option<bool>, DatabaseError> {
    let index = session.relation(name).await?;
    let sql = "SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = $1";
    Ok(session.query_opt(sql, &[&index]).await?.map(|row| row.get(0)))
}

/// The invalid indexes that a statement of this kind left: those that were not there `before`.
///
/// A failed `CREATE INDEX CONCURRENTLY` leaves an invalid index that costs writes and serves no read, `REINDEX` one whose
/// name ends with `_ccnew` or `_ccold`, also on a TOAST table, `DROP` the one that it was about. One that was there before,
/// such as the one that another session is building under the same name, is not ours to drop.
pub(super) async fn left_by(
    session: &MigratingSession,
    kind: &Kind,
    before: &[String],
) -> Result<Vec<String>, DatabaseError> {
    let (scope, one, two) = match kind {
        Kind::CreateIndex { name, table, .. } => (
            "i.indrelid = $2 AND ($3::text IS NULL OR c.relname = (pg_catalog.parse_ident($3))[1])",
            table.clone(),
            name.clone(),
        ),
        Kind::DropIndex { name } => ("i.indexrelid = $2 AND $3::text IS NULL", name.clone(), None),
        Kind::Reindex { what, name } => (
            "c.relname ~ '_cc(new|old)[0-9]*$' AND ($3 NOT IN ('INDEX', 'TABLE') OR i.indrelid IN (
                WITH given AS (SELECT $2::oid AS oid
                         UNION SELECT relid FROM pg_catalog.pg_partition_tree($2::regclass)),
                     tables AS (SELECT oid FROM given
                          UNION SELECT indrelid FROM pg_catalog.pg_index WHERE indexrelid IN (SELECT oid FROM given))
                SELECT oid FROM tables
                 UNION SELECT reltoastrelid FROM pg_catalog.pg_class WHERE oid IN (SELECT oid FROM tables)))",
            name.clone(),
            Some(what.clone()),
        ),
        Kind::Detach { .. } | Kind::Repeatable | Kind::Other => return Ok(Vec::new()),
    };
    let sql = format!(
        "SELECT {NAME} FROM {INDEXES}
          WHERE NOT i.indisvalid AND c.relkind = 'i' AND {NAME} <> ALL ($1::text[]) AND {scope} ORDER BY 1"
    );
    let one = session.relation(&one).await?;
    Ok(session.query(&sql, &[&before, &one, &two]).await?.iter().map(|row| row.get(0)).collect())
}

/// Drops an invalid index after making sure that nobody is building it: who builds one holds this lock on its table (on the
/// table of a TOAST table, which cannot be locked itself).
pub(super) async fn drop_abandoned(session: &MigratingSession, index: &str) -> Result<(), DatabaseError> {
    const TABLE: &str = "
        SELECT pg_catalog.format('%I.%I', n.nspname, t.relname), t.relkind = 'm' FROM pg_catalog.pg_index i
          JOIN pg_catalog.pg_class t ON t.oid = i.indrelid OR t.reltoastrelid = i.indrelid
          JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
         WHERE i.indexrelid = pg_catalog.to_regclass($1) AND NOT i.indisvalid AND t.relkind <> 't'";
    let Some(row) = session.query_opt(TABLE, &[&index]).await? else { return Ok(()) };
    let (table, is_view): (String, bool) = (row.get(0), row.get(1));
    if !is_view {
        // A materialized view cannot be locked.
        session.batch_execute("BEGIN").await?;
        let locked = session.batch_execute(&format!("LOCK TABLE {table} IN SHARE UPDATE EXCLUSIVE MODE")).await;
        session.batch_execute("ROLLBACK").await?;
        locked?;
    }
    // Still invalid now that nobody builds it: it stays so.
    if is_valid(session, index).await? == Some(false) {
        session.batch_execute(&format!("DROP INDEX CONCURRENTLY {index}")).await?;
    }
    Ok(())
}
