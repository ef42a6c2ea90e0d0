//! The key of a batched section: that it can serve, and which values come next.

use super::super::{DatabaseError, MigratingSession, Session, qualified, quote_identifier, quote_literal};
use crate::migration::BatchKey;

/// A column whose values batches go along.
#[derive(Debug)]
pub(super) struct Key {
    /// The table, for SQL text.
    table: String,
    /// The column, for SQL text.
    column: String,
    /// Its type, for SQL text.
    type_name: &'static str,
    /// Below every value but itself.
    bottom: &'static str,
    is_number: bool,
    /// Rows of the table, as the server estimates.
    pub(super) rows: Option<u64>,
}

/// The types whose values can be keys: name in the catalog, name in SQL text, the least value.
const TYPES: &[(&str, &str, &str)] = &[
    ("int2", "pg_catalog.int2", "-32768"),
    ("int4", "pg_catalog.int4", "-2147483648"),
    ("int8", "pg_catalog.int8", "-9223372036854775808"),
    ("uuid", "pg_catalog.uuid", "00000000-0000-0000-0000-000000000000"),
    ("text", "pg_catalog.text", ""),
    ("varchar", "pg_catalog.text", ""),
    ("date", "pg_catalog.date", "-infinity"),
    ("timestamp", "pg_catalog.timestamp", "-infinity"),
    ("timestamptz", "pg_catalog.timestamptz", "-infinity"),
];

impl Key {
    /// Looks the column up; the inner error says why it cannot be a key.
    pub(super) async fn find(session: &MigratingSession, key: &BatchKey) -> Result<Result<Key, String>, DatabaseError> {
        let table = match &key.schema {
            Some(schema) => qualified(schema, &key.table),
            None => quote_identifier(&key.table),
        };
        let relation = session.relation(&table).await?;
        let row = session
            .query_opt(
                "SELECT c.relkind::text, a.attname IS NOT NULL, coalesce(a.attnotnull, false), t.typname,
                        EXISTS (SELECT FROM pg_catalog.pg_index i
                                  JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
                                  JOIN pg_catalog.pg_am m ON m.oid = x.relam AND m.amname = 'btree'
                                 WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL
                                   AND i.indkey[0] = a.attnum),
                        nullif(greatest(c.reltuples, 0), 0)::bigint,
                        pg_catalog.format('%I.%I', n.nspname, c.relname)
                   FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                   LEFT JOIN pg_catalog.pg_attribute a
                          ON a.attrelid = c.oid AND a.attname = $2 AND a.attnum > 0 AND NOT a.attisdropped
                   LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
                  WHERE c.oid = $1",
                &[&relation, &key.column],
            )
            .await?;
        let Some(row) = row else { return Ok(Err(format!("there is no table {table}"))) };
        if !matches!(row.get::<_, String>(0).as_str(), "r" | "p") {
            return Ok(Err(format!("{table} is no table")));
        }
        if !row.get::<_, bool>(1) {
            return Ok(Err(format!("table {table} has no column \"{}\"", key.column)));
        }
        let type_name: String = row.get(3);
        let Some((name, sql, bottom)) = TYPES.iter().find(|(name, ..)| *name == type_name) else {
            let names: Vec<&str> = TYPES.iter().map(|(name, ..)| *name).collect();
            return Ok(Err(format!("its type is {type_name}; a key is one of {}", names.join(", "))));
        };
        if !row.get::<_, bool>(2) {
            return Ok(
                Err("it may be null, and no batch would cover a row without a key; make it NOT NULL".to_owned()),
            );
        }
        if !row.get::<_, bool>(4) {
            let why = "no valid btree index without WHERE begins with it, so each batch would read the whole table";
            return Ok(Err(why.to_owned()));
        }
        Ok(Ok(Key {
            table: row.get(6),
            column: quote_identifier(&key.column),
            type_name: sql,
            bottom,
            is_number: name.starts_with("int"),
            rows: row.get::<_, Option<i64>>(5).and_then(|rows| u64::try_from(rows).ok()),
        }))
    }

    /// A value as SQL text of the key's type, whatever stands around it.
    pub(super) fn literal(&self, value: &str) -> String {
        format!("({}::{})", quote_literal(value), self.type_name)
    }

    /// A value below the least one, and the greatest one; none when the table is empty. The inner error says why the first
    /// batch cannot begin.
    pub(super) async fn range(
        &self,
        session: &Session,
    ) -> Result<Result<Option<(String, String)>, String>, DatabaseError> {
        let Self { table, column, .. } = self;
        let end = |order: &str| format!("(SELECT {column} FROM {table} ORDER BY {column} {order} LIMIT 1)");
        let below = if self.is_number {
            // The type has no value below its least one, which is refused beneath.
            "(v::pg_catalog.numeric - 1)::text".to_owned()
        } else {
            quote_literal(self.bottom)
        };
        let sql = format!(
            "SELECT {below}, (SELECT v::text FROM {} AS greatest_value (v)), v = {}
               FROM {} AS least_value (v)",
            end("DESC"),
            self.literal(self.bottom),
            end("ASC")
        );
        let Some(row) = session.query_opt(&sql, &[]).await? else { return Ok(Ok(None)) };
        if row.get::<_, bool>(2) {
            return Ok(Err(format!("a row has the key '{}', and no batch can begin below that", self.bottom)));
        }
        Ok(Ok(Some((row.get(0), row.get(1)))))
    }

    /// The last key of the next batch; none when no row is left.
    pub(super) async fn next(
        &self,
        session: &Session,
        (after, until): (&str, &str),
        size: u32,
    ) -> Result<Option<String>, DatabaseError> {
        let Self { table, column, .. } = self;
        let (after, until) = (self.literal(after), self.literal(until));
        // `ORDER BY k` would go by the text, which is the output column of that name.
        let sql = format!(
            "SELECT k::text FROM (SELECT {column} FROM {table} WHERE {column} > {after} AND {column} <= {until}
                                   ORDER BY {column} LIMIT {size}) AS batch (k) ORDER BY batch.k DESC LIMIT 1"
        );
        Ok(session.query_opt(&sql, &[]).await?.map(|row| row.get(0)))
    }
}
