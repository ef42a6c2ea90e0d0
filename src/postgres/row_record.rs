//! A short record of a table's rows, by which two states of it are compared without keeping either.

use std::collections::BTreeMap;

use super::contents::Table;
use super::{DatabaseError, Session, quote_identifier};

/// Rows of a table, counted and hashed on the server. The hashes are sums of the hashes of texts, so that the order of
/// rows does not matter and duplicates do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowRecord {
    /// How many rows.
    pub rows: u64,
    /// Hash of the rows: which values stand beside each other.
    pub hash: String,
    /// Each column, by name.
    pub columns: BTreeMap<String, ColumnRecord>,
}

/// The values of one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnRecord {
    /// How many are not null.
    pub values: u64,
    /// Hash of them.
    pub hash: String,
}

/// Reads the record of a table's columns. `columns` pairs the name under which a column is recorded with the one it
/// has; the order of the names given counts, not that of the table.
pub async fn read(
    session: &Session,
    table: &Table,
    columns: &BTreeMap<String, String>,
) -> Result<RowRecord, DatabaseError> {
    let quoted: Vec<String> = columns.values().map(|name| quote_identifier(name)).collect();
    let hash = |text: String| {
        format!("coalesce(pg_catalog.sum(pg_catalog.hashtextextended({text} COLLATE \"C\", 0)), 0)::text")
    };
    let list = |item: &dyn Fn(&String) -> String| quoted.iter().map(item).collect::<Vec<_>>().join(", ");
    // Arrays, because a list of results is limited to 1,664 and a table's columns are to 1,600.
    let sql = format!(
        "SELECT pg_catalog.count(*), {}, ARRAY[{}]::bigint[], ARRAY[{}]::text[] FROM {}",
        hash(format!("(ROW({}))::text", quoted.join(", "))),
        list(&|column| format!("pg_catalog.count({column})")),
        list(&|column| hash(format!("({column})::text"))),
        table.from_sql()
    );
    let row = session.query_one(&sql, &[]).await?;
    let (values, hashes): (Vec<i64>, Vec<String>) = (row.get(2), row.get(3));
    let records = values.into_iter().zip(hashes);
    let records =
        records.map(|(values, hash)| ColumnRecord { values: u64::try_from(values).unwrap_or_default(), hash });
    Ok(RowRecord {
        rows: u64::try_from(row.get::<_, i64>(0)).unwrap_or_default(),
        hash: row.get(1),
        columns: columns.keys().cloned().zip(records).collect(),
    })
}

/// The record of all columns under their own names.
pub async fn read_all(session: &Session, table: &Table) -> Result<RowRecord, DatabaseError> {
    let columns = table.columns.values().map(|column| (column.name.clone(), column.name.clone())).collect();
    read(session, table, &columns).await
}
