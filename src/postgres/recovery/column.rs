//! The values of one column: staged beside the live table, counted, saved, written and checked.
//!
//! Values are compared by what their output functions print, because not every type has an equality (json, xml,
//! point) and equal is not the same (1.0 and 1.00, two spellings in citext).

use super::super::{DatabaseError, Session, quote_identifier};
use super::facts::{Key, Relation};
use super::foreign_key::ForeignKey;
use super::{count, unmatched};

const STAGE: &str = "pg_temp.safe_migrate_stage";
const BATCH: &str = "pg_temp.safe_migrate_batch";

/// The rows of a live table that get values of one column, and how they are found.
#[derive(Clone, Debug)]
pub struct ColumnRows {
    /// The live table.
    pub table: Relation,
    /// Its primary key.
    pub key: Key,
    /// The column.
    pub column: String,
}

/// Names of the columns of a saved table: they may not collide with those of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedColumns {
    /// The value that was overwritten.
    pub old: String,
    /// The value that was written.
    pub new: String,
}

impl SavedColumns {
    /// `old_value` and `new_value`, longer when the key has such columns.
    pub fn beside(key: &Key) -> Self {
        let free = |name: &str| {
            let mut name = name.to_owned();
            while key.holds(&name) {
                name.push('_');
            }
            name
        };
        Self { old: free("old_value"), new: free("new_value") }
    }
}

/// What would be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColumnCounts {
    /// Rows with values to be written.
    pub staged: u64,
    /// Rows of the live table.
    pub live: u64,
    /// Rows that are in both.
    pub matched: u64,
    /// Of these, rows whose value differs and may be written.
    pub overwrite: u64,
    /// Of these, rows that changed since the value was written that is to be taken back.
    pub changed_since: u64,
    /// Keys that stand for several rows.
    pub duplicates: u64,
}

/// What an output function prints, or null.
pub(super) fn printed(value: &str) -> String {
    // IS NOT NULL is false for a row of nulls, which is a value.
    format!(
        "(CASE WHEN {value} IS DISTINCT FROM NULL THEN pg_catalog.format('%s', {value}) END COLLATE pg_catalog.\"C\")"
    )
}

pub(super) fn differs(left: &str, right: &str) -> String {
    format!("{} IS DISTINCT FROM {}", printed(left), printed(right))
}

impl ColumnRows {
    fn value(&self) -> String {
        format!("t.{}", quote_identifier(&self.column))
    }

    fn joined(&self) -> String {
        format!("{} t JOIN {STAGE} s ON {}", self.table.rows(), self.key.matches("t", "s"))
    }

    /// Makes the empty temporary tables. `value` is the type of a column that the live table does not have.
    pub async fn make_stage(&self, live: &Session, value: Option<&str>) -> Result<(), DatabaseError> {
        let keys: Vec<String> = self.key.quoted().iter().map(|name| format!("t.{name}")).collect();
        let keys: Vec<String> =
            keys.iter().zip(self.key.stage_names()).map(|(name, short)| format!("{name} AS {short}")).collect();
        let value = value.map_or_else(|| self.value(), |name| format!("NULL::{name}"));
        let sql = format!(
            "DROP TABLE IF EXISTS {STAGE}, {BATCH};
             CREATE TEMPORARY TABLE safe_migrate_stage AS
                 SELECT {}, {value} AS value, {value} AS expected FROM {} t WITH NO DATA;
             ALTER TABLE {STAGE} ADD COLUMN n bigint GENERATED ALWAYS AS IDENTITY;
             CREATE TEMPORARY TABLE safe_migrate_batch AS SELECT {}, value, value AS before FROM {STAGE} WITH NO DATA",
            keys.join(", "),
            self.table.quoted(),
            self.key.stage_names().join(", ")
        );
        Ok(live.batch_execute(&sql).await?)
    }

    /// The temporary table and its columns, for the rows of the snapshot.
    pub fn stage(&self) -> (&'static str, Vec<String>) {
        let mut columns = self.key.stage_names();
        columns.push("value".to_owned());
        (STAGE, columns)
    }

    /// The query on the scratch database that gives those rows.
    pub fn query(&self, source: &str) -> String {
        let mut columns = self.key.quoted();
        columns.push(quote_identifier(&self.column));
        format!("SELECT {} FROM {source}", columns.join(", "))
    }

    /// Stages what an earlier run saved: its old values are to be written where its new ones still are.
    pub async fn stage_saved(&self, live: &Session, saved: &str, columns: &SavedColumns) -> Result<(), DatabaseError> {
        let sql = format!(
            "INSERT INTO {STAGE} ({}, value, expected) SELECT {}, {}, {} FROM {saved}",
            self.key.stage_names().join(", "),
            self.key.quoted().join(", "),
            quote_identifier(&columns.old),
            quote_identifier(&columns.new)
        );
        Ok(live.batch_execute(&sql).await?)
    }

    /// Tells the planner about the staged rows.
    pub async fn analyze(&self, live: &Session) -> Result<(), DatabaseError> {
        let sql = format!("CREATE INDEX ON {STAGE} (n); ANALYZE {STAGE}");
        Ok(live.batch_execute(&sql).await?)
    }

    /// Counts; `guarded` when only values may be taken back that are still the ones that were written.
    pub async fn counts(&self, live: &Session, present: bool, guarded: bool) -> Result<ColumnCounts, DatabaseError> {
        let changed = if present && guarded { differs(&self.value(), "s.expected") } else { "false".to_owned() };
        let other = if present { differs(&self.value(), "s.value") } else { "true".to_owned() };
        let sql = format!(
            "SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE {changed}),
                    pg_catalog.count(*) FILTER (WHERE NOT ({changed}) AND {other}) FROM {}",
            self.joined()
        );
        let row = live.query_one(&sql, &[]).await?;
        let number = |at: usize| u64::try_from(row.get::<_, i64>(at)).unwrap_or_default();
        let keys = self.key.stage_names().join(", ");
        Ok(ColumnCounts {
            matched: number(0),
            changed_since: number(1),
            overwrite: number(2),
            staged: count(live, &format!("SELECT pg_catalog.count(*) FROM {STAGE}")).await?,
            live: count(live, &format!("SELECT pg_catalog.count(*) FROM {}", self.table.rows())).await?,
            duplicates: count(
                live,
                &format!(
                    "SELECT pg_catalog.count(*) FROM (SELECT FROM {STAGE} GROUP BY {keys} \
                      HAVING pg_catalog.count(*) > 1) d"
                ),
            )
            .await?,
        })
    }

    /// Rows that a foreign key of the table would leave without a match after the values are written. `present` is
    /// whether the table has the column.
    pub async fn orphans(&self, live: &Session, key: &ForeignKey, present: bool) -> Result<u64, DatabaseError> {
        let own = |column: &str| match column == self.column {
            true => "s.value".to_owned(),
            false => format!("t.{}", quote_identifier(column)),
        };
        let other = if present { differs(&self.value(), "s.value") } else { "true".to_owned() };
        let condition = key.has_no_match(&key.references_quoted(), own);
        let sql = format!("SELECT pg_catalog.count(*) FROM {} WHERE {other} AND {condition}", self.joined());
        count(live, &sql).await
    }

    /// Rows of another table that point to a value of this column which would be overwritten.
    pub async fn left_behind(&self, live: &Session, key: &ForeignKey) -> Result<u64, DatabaseError> {
        let matched = format!("NOT ({})", key.has_no_match("x", |column| format!("c.{}", quote_identifier(column))));
        // The values that are about to go, as a relation with the names of the referenced columns.
        let going: Vec<String> = key.referenced.iter().map(|name| format!("t.{}", quote_identifier(name))).collect();
        let sql = format!(
            "WITH x AS MATERIALIZED (SELECT {} FROM {} WHERE {}) SELECT pg_catalog.count(*) FROM {} c WHERE {matched} AND {}",
            going.join(", "),
            self.joined(),
            differs(&self.value(), "s.value"),
            key.table_quoted(),
            key.columns
                .iter()
                .map(|name| format!("c.{} IS DISTINCT FROM NULL", quote_identifier(name)))
                .collect::<Vec<_>>()
                .join(" AND ")
        );
        count(live, &sql).await
    }

    /// Makes the table that keeps the overwritten values.
    pub async fn make_saved(&self, live: &Session, saved: &str, columns: &SavedColumns) -> Result<(), DatabaseError> {
        let value = self.value();
        let keys: Vec<String> = self.key.quoted().iter().map(|name| format!("t.{name}")).collect();
        let sql = format!(
            "CREATE TABLE {saved} AS SELECT {}, {value} AS {}, {value} AS {} FROM {} t WITH NO DATA",
            keys.join(", "),
            quote_identifier(&columns.old),
            quote_identifier(&columns.new),
            self.table.quoted()
        );
        Ok(live.batch_execute(&sql).await?)
    }

    /// Writes the staged rows from the one after `after` to `upto`: locks what differs, saves it, writes it, and looks
    /// whether it stayed. Returns how many rows were written and how many a trigger changed again.
    pub async fn write(
        &self,
        live: &Session,
        (after, upto): (i64, i64),
        saved: Option<(&str, &SavedColumns)>,
        guarded: bool,
    ) -> Result<(u64, u64), DatabaseError> {
        let short = self.key.stage_names();
        let staged: Vec<String> = short.iter().map(|name| format!("s.{name}")).collect();
        let unchanged =
            if guarded { format!("AND NOT ({})", differs(&self.value(), "s.expected")) } else { String::new() };
        live.batch_execute(&format!("TRUNCATE {BATCH}")).await?;
        let sql = format!(
            "INSERT INTO {BATCH} ({}, value, before) SELECT {}, s.value, {} FROM {}
              WHERE s.n > $1 AND s.n <= $2 AND {} {unchanged} FOR UPDATE OF t",
            short.join(", "),
            staged.join(", "),
            self.value(),
            self.joined(),
            differs(&self.value(), "s.value")
        );
        live.execute(&sql, &[&after, &upto]).await?;
        if let Some((saved, columns)) = saved {
            let sql = format!(
                "INSERT INTO {saved} ({}, {}, {}) SELECT {}, before, value FROM {BATCH}",
                self.key.quoted().join(", "),
                quote_identifier(&columns.old),
                quote_identifier(&columns.new),
                short.join(", ")
            );
            live.batch_execute(&sql).await?;
        }
        let on = self.key.matches("t", "b");
        let sql = format!(
            "UPDATE {} AS t SET {} = b.value FROM {BATCH} b WHERE {on}",
            self.table.rows(),
            quote_identifier(&self.column)
        );
        let written = live.execute(&sql, &[]).await?;
        let sql = format!(
            "SELECT pg_catalog.count(*) FROM {BATCH} b LEFT JOIN {} t ON {on} WHERE {}",
            self.table.rows(),
            differs(&self.value(), "b.value")
        );
        Ok((written, count(live, &sql).await?))
    }

    /// Rows of the live table without a value.
    pub async fn nulls(&self, live: &Session) -> Result<u64, DatabaseError> {
        let sql = format!("SELECT pg_catalog.count(*) FROM {} t WHERE {} IS NULL", self.table.rows(), self.value());
        count(live, &sql).await
    }

    /// Rows of the live table that a foreign key would leave without a match, as they are now.
    pub async fn orphans_now(&self, live: &Session, key: &ForeignKey) -> Result<u64, DatabaseError> {
        unmatched(live, key, &self.table.rows(), &key.references_quoted()).await
    }
}
