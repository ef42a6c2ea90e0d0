//! Tables as a rehearsal sees them, and the signs by which it knows that a migration touched their rows.
//!
//! A copy made by `CREATE DATABASE … TEMPLATE` keeps OIDs and attribute numbers, so a renamed table is still the same
//! table, and a renamed column the same column.
//!
//! # Why the signs are sound
//! Only our own session writes to the shadow. Rows of a table change by INSERT, UPDATE, DELETE, MERGE or COPY, which the
//! server counts per table (also what is rolled back, and what a foreign key cascades to), or by TRUNCATE and rewrites,
//! which give the table a new file. The counters of a session reach the others at once after
//! `pg_stat_force_next_flush()` (15 and later); where that is missing, or `track_counts` is off, every table counts as
//! touched. What a table shows of unchanged rows also changes with its columns, so these are signs too.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Statement;

use super::{DatabaseError, Session, qualified, quote_identifier};

/// All tables of a database by OID.
pub type Tables = BTreeMap<u32, Table>;

/// A table or partitioned table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Whether its rows lie in partitions.
    pub partitioned: bool,
    /// Live columns by attribute number.
    pub columns: BTreeMap<i16, Column>,
    /// Attribute numbers of its primary key, or of another key without nulls; empty when it has none.
    pub key: Vec<i16>,
    /// The file its rows lie in.
    pub filenode: Option<u32>,
    /// Rows ever inserted, updated and deleted; none when the server does not count.
    pub written: Option<i64>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Type with modifier, as SQL under an empty search path.
    pub type_sql: String,
    /// OIDs of type and collation, and the modifier.
    pub type_id: String,
    /// The value that rows older than the column show, when it was added without a rewrite.
    pub missing: Option<String>,
}

impl Table {
    /// `schema.table` without quotes, for messages and as a key.
    pub fn display(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// What follows `FROM` to read its rows: its own, or those of its partitions.
    pub fn from_sql(&self) -> String {
        let only = if self.partitioned { "" } else { "ONLY " };
        format!("{only}{}", qualified(&self.schema, &self.name))
    }

    /// Whether rows may have been written between two states of the same table.
    pub fn was_written(&self, later: &Table) -> bool {
        self.filenode != later.filenode || self.written.is_none() || self.written != later.written
    }

    /// Whether rows may show other values in a later state of the same table. Columns that are new do not count.
    pub fn was_touched(&self, later: &Table) -> bool {
        self.was_written(later)
            || self.columns.iter().any(|(number, column)| column.was_touched(later.columns.get(number)))
    }

    /// The attribute number of a column by name.
    pub fn number_of(&self, name: &str) -> Option<i16> {
        self.columns.iter().find(|(_, column)| column.name == name).map(|(number, _)| *number)
    }
}

impl Column {
    /// Whether it is gone or of another type later; a new name is no change.
    pub fn was_touched(&self, later: Option<&Column>) -> bool {
        later.is_none_or(|later| later.type_id != self.type_id)
    }
}

impl Column {
    /// Whether every value of this column is a value of a later one, so that a change of type by itself alters none: the same
    /// type with more room, or a number type that holds all of another's
    /// (PostgreSQL's documentation, "Numeric Types" and "Character Types"; the modifiers as `format_type` reads them).
    pub fn fits_into(&self, later: &Column) -> bool {
        const INTEGERS: [u32; 4] = [21, 23, 20, NUMERIC];
        let (Some((of, room)), Some((into, new_room))) = (self.type_and_modifier(), later.type_and_modifier()) else {
            return false;
        };
        let place = |of: u32| INTEGERS.iter().position(|one| *one == of);
        match (of, into) {
            _ if of == into && room == new_room => true,
            _ if of == into && new_room == -1 => true,
            _ if of == into && room == -1 => false,
            (NUMERIC, NUMERIC) => {
                let ((digits, scale), (new_digits, new_scale)) = (numeric(room), numeric(new_room));
                new_scale >= scale && new_digits - new_scale >= digits - scale
            }
            // In these the modifier is a length, or digits of a second.
            (1042 | 1043 | 1562 | 1083 | 1114 | 1184 | 1266, _) if of == into => new_room >= room,
            (700, 701) | (1043, 25) => true,
            _ => place(of).zip(place(into)).is_some_and(|(of, into)| of < into) && new_room == -1,
        }
    }

    fn type_and_modifier(&self) -> Option<(u32, i32)> {
        let mut parts = self.type_id.split(' ');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}

const NUMERIC: u32 = 1700;

/// Digits in all, and behind the point (numeric.c, `make_numeric_typmod`).
fn numeric(modifier: i32) -> (i32, i32) {
    let packed = modifier - 4;
    ((packed >> 16) & 0xffff, ((packed & 0x7ff) ^ 1024) - 1024)
}

/// Makes what `session` counted visible to other sessions. False when the server does not count for it.
pub async fn flush_counters(session: &Session) -> Result<bool, DatabaseError> {
    if session.server_version_num() < 150_000 {
        return Ok(false);
    }
    // Sent when the server waits for the next statement, which is before it says that this one is done.
    let row = session
        .query_one(
            "SELECT pg_catalog.current_setting('track_counts')::bool, pg_catalog.pg_stat_force_next_flush()",
            &[],
        )
        .await?;
    Ok(row.get(0))
}

/// The query of the tables, prepared.
#[derive(Clone, Debug)]
pub struct TablesQuery(Statement);

/// Prepares the query for a session that reads the tables many times.
pub async fn prepare(session: &Session) -> Result<TablesQuery, DatabaseError> {
    Ok(TablesQuery(session.prepare(TABLES).await?))
}

/// Reads the tables of a database, without the ledger's; no row of them is read.
pub async fn read(session: &Session, query: &TablesQuery, counted: bool) -> Result<Tables, DatabaseError> {
    let rows = session.query(&query.0, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), table(row, counted))).collect())
}

const TABLES: &str = "
    SELECT c.oid, n.nspname::text, c.relname::text, c.relkind = 'p', pg_catalog.pg_relation_filenode(c.oid),
           pg_catalog.pg_stat_get_tuples_inserted(c.oid) + pg_catalog.pg_stat_get_tuples_updated(c.oid)
             + pg_catalog.pg_stat_get_tuples_deleted(c.oid),
           a.numbers, a.names, a.types, a.ids, a.missing,
           (SELECT pg_catalog.array_agg(u.number ORDER BY u.place)
              FROM (SELECT * FROM pg_catalog.pg_index i
                     WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
                       AND i.indexprs IS NULL AND NOT EXISTS
                           (SELECT FROM pg_catalog.pg_attribute k WHERE k.attrelid = c.oid AND NOT k.attnotnull
                               AND k.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]))
                     ORDER BY i.indisprimary DESC, i.indexrelid LIMIT 1) i,
                   LATERAL pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY u (number, place)
             WHERE u.place <= i.indnkeyatts)
      FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace,
           LATERAL (SELECT pg_catalog.array_agg(a.attnum ORDER BY a.attnum) AS numbers,
                           pg_catalog.array_agg(a.attname::text ORDER BY a.attnum) AS names,
                           pg_catalog.array_agg(pg_catalog.format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum) AS types,
                           pg_catalog.array_agg(pg_catalog.concat_ws(' ', a.atttypid, a.atttypmod, a.attcollation)
                                                ORDER BY a.attnum) AS ids,
                           pg_catalog.array_agg(a.attmissingval::text ORDER BY a.attnum) AS missing
                      FROM pg_catalog.pg_attribute a
                     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) a
     WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
       AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'safe_migrate')";

fn table(row: &tokio_postgres::Row, counted: bool) -> Table {
    let numbers: Option<Vec<i16>> = row.get(6);
    let texts = |place: usize| row.get::<_, Option<Vec<String>>>(place).unwrap_or_default();
    let missing: Vec<Option<String>> = row.get::<_, Option<Vec<Option<String>>>>(10).unwrap_or_default();
    let properties = texts(7).into_iter().zip(texts(8)).zip(texts(9)).zip(missing);
    let columns = properties.map(|(((name, type_sql), type_id), missing)| Column { name, type_sql, type_id, missing });
    let written: Option<i64> = row.get(5);
    Table {
        schema: row.get(1),
        name: row.get(2),
        partitioned: row.get(3),
        columns: numbers.unwrap_or_default().into_iter().zip(columns).collect(),
        key: row.get::<_, Option<Vec<i16>>>(11).unwrap_or_default(),
        filenode: row.get(4),
        written: written.filter(|_| counted),
    }
}

/// The OIDs of the tables in whose files nothing is: they have no rows. One question instead of a count for each.
pub async fn empty(session: &Session) -> Result<BTreeSet<u32>, DatabaseError> {
    const EMPTY: &str = "
        SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'r' AND c.relam = (SELECT oid FROM pg_catalog.pg_am WHERE amname = 'heap')
           AND n.nspname !~ '^pg_' AND pg_catalog.pg_relation_size(c.oid) = 0";
    Ok(session.query(EMPTY, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// Counts the rows of a table.
pub async fn rows(session: &Session, table: &Table) -> Result<u64, DatabaseError> {
    count(session, &format!("SELECT pg_catalog.count(*) FROM {}", table.from_sql())).await
}

/// Counts the values of a column that are not null.
pub async fn values(session: &Session, table: &Table, column: &str) -> Result<u64, DatabaseError> {
    let column = quote_identifier(column);
    count(session, &format!("SELECT pg_catalog.count({column}) FROM {}", table.from_sql())).await
}

async fn count(session: &Session, sql: &str) -> Result<u64, DatabaseError> {
    let count: i64 = session.query_one(sql, &[]).await?.get(0);
    Ok(u64::try_from(count).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(filenode: u32, written: Option<i64>, columns: &[(i16, &str, &str)]) -> Table {
        let column = |(number, name, id): &(i16, &str, &str)| {
            let column = Column { name: (*name).into(), type_sql: String::new(), type_id: (*id).into(), missing: None };
            (*number, column)
        };
        Table {
            schema: "public".into(),
            name: "t".into(),
            partitioned: false,
            columns: columns.iter().map(column).collect(),
            key: vec![],
            filenode: Some(filenode),
            written,
        }
    }

    #[test]
    fn each_sign_counts_and_a_new_name_or_column_does_not() {
        let start = state(1, Some(5), &[(1, "a", "23"), (2, "b", "25")]);
        assert!(!start.was_touched(&state(1, Some(5), &[(1, "x", "23"), (2, "b", "25"), (3, "c", "25")])));
        assert!(start.was_touched(&state(2, Some(5), &[(1, "a", "23"), (2, "b", "25")])), "a new file");
        assert!(start.was_touched(&state(1, Some(6), &[(1, "a", "23"), (2, "b", "25")])), "a row was written");
        assert!(start.was_touched(&state(1, Some(5), &[(1, "a", "23"), (3, "b", "25")])), "a column is gone");
        assert!(start.was_touched(&state(1, Some(5), &[(1, "a", "20"), (2, "b", "25")])), "another type");
        let unknown = state(1, None, &[(1, "a", "23")]);
        assert!(unknown.was_touched(&unknown.clone()), "what is not counted may have been written");
    }

    #[test]
    fn a_type_with_more_room_keeps_every_value() {
        let column = |type_id: &str| Column {
            name: "a".to_owned(),
            type_sql: String::new(),
            type_id: type_id.to_owned(),
            missing: None,
        };
        let numeric = |digits: i32, scale: i32| format!("1700 {} 0", ((digits << 16) | (scale & 0x7ff)) + 4);
        let fits = |from: &str, to: &str| column(from).fits_into(&column(to));
        assert!(fits(&numeric(10, 2), &numeric(12, 2)) && fits(&numeric(10, 2), "1700 -1 0"));
        assert!(!fits(&numeric(10, 2), &numeric(12, 1)) && !fits(&numeric(10, 2), &numeric(10, 3)));
        assert!(!fits("1700 -1 0", &numeric(10, 2)) && fits(&numeric(3, -2), &numeric(5, 0)));
        assert!(fits("1043 14 100", "1043 24 100") && !fits("1043 24 100", "1043 14 100"));
        assert!(fits("1043 14 100", "25 -1 100") && !fits("25 -1 100", "1043 14 100"));
        assert!(fits("21 -1 0", "20 -1 0") && fits("23 -1 0", "1700 -1 0") && !fits("20 -1 0", "23 -1 0"));
        assert!(!fits("23 -1 0", &numeric(10, 2)) && fits("700 -1 0", "701 -1 0") && !fits("25 -1 100", "23 -1 0"));
    }
}
