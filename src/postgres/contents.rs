//! What a plan did to the rows: tables, columns and counts before and after, matched by OID.
//!
//! A copy made by `CREATE DATABASE … TEMPLATE` keeps the OIDs, so a renamed table is still the same table.

use std::collections::BTreeMap;

use super::{DatabaseError, Session, qualified, quote_identifier};

/// A table with its columns and its number of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableContents {
    /// `schema.table`, unquoted, for messages.
    pub name: String,
    /// Quoted `schema.table`.
    pub quoted: String,
    /// Live columns by attribute number.
    pub columns: BTreeMap<i16, String>,
    /// Rows.
    pub rows: u64,
}

/// Reads tables and partitioned tables of a database with their exact row counts, without the ledger's.
pub async fn read(session: &Session) -> Result<BTreeMap<u32, TableContents>, DatabaseError> {
    let rows = session
        .query(
            "SELECT c.oid, n.nspname::text, c.relname::text,
                    coalesce(array_agg(a.attnum ORDER BY a.attnum) FILTER (WHERE a.attnum IS NOT NULL), '{}'),
                    coalesce(array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attnum IS NOT NULL), '{}')
               FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
              WHERE c.relkind = 'r' AND c.relpersistence <> 't'
                AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'safe_migrate')
              GROUP BY 1, 2, 3",
            &[],
        )
        .await?;
    let mut tables = BTreeMap::new();
    for row in rows {
        let (oid, schema, name): (u32, String, String) = (row.get(0), row.get(1), row.get(2));
        let (numbers, names): (Vec<i16>, Vec<String>) = (row.get(3), row.get(4));
        let quoted = qualified(&schema, &name);
        let count: i64 = session.query_one(&format!("SELECT count(*) FROM ONLY {quoted}"), &[]).await?.get(0);
        tables.insert(
            oid,
            TableContents {
                name: format!("{schema}.{name}"),
                quoted,
                columns: numbers.into_iter().zip(names).collect(),
                rows: u64::try_from(count).unwrap_or_default(),
            },
        );
    }
    Ok(tables)
}

/// Counts the values of a column that are not null.
pub async fn values(session: &Session, table: &TableContents, column: &str) -> Result<u64, DatabaseError> {
    let sql = format!("SELECT count({}) FROM ONLY {}", quote_identifier(column), table.quoted);
    let count: i64 = session.query_one(&sql, &[]).await?.get(0);
    Ok(u64::try_from(count).unwrap_or_default())
}
