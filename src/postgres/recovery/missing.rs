//! Rows that the snapshot has and live tables have not, by primary key.

use super::super::{DatabaseError, Session, quote_identifier};
use super::count;
use super::facts::{Key, Relation};
use super::foreign_key::ForeignKey;

const NUMBER: &str = "safe_migrate_row_number";

/// The live table that gets rows, and the columns that they bring.
#[derive(Clone, Debug)]
pub struct MissingRows {
    /// The live table.
    pub table: Relation,
    /// Its primary key.
    pub key: Key,
    /// Columns that both have, without generated ones.
    pub columns: Vec<String>,
    /// All columns of the live table.
    pub all_columns: Vec<String>,
    /// Which of the tables of one run it is, from 0: it names the temporary tables.
    pub place: usize,
}

/// What would be inserted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MissingCounts {
    /// Rows of the snapshot.
    pub staged: u64,
    /// Rows of the live table.
    pub live: u64,
    /// Rows of the snapshot that the live table lacks.
    pub missing: u64,
}

pub(super) fn list(prefix: &str, columns: &[String]) -> String {
    columns.iter().map(|name| format!("{prefix}{}", quote_identifier(name))).collect::<Vec<_>>().join(", ")
}

impl MissingRows {
    fn stage_name(&self) -> String {
        format!("safe_migrate_stage_{}", self.place)
    }

    fn staged(&self) -> String {
        format!("pg_temp.{}", self.stage_name())
    }

    pub(super) fn same_key(&self, left: &str, right: &str) -> String {
        let equal = |column: &super::KeyColumn| {
            let name = quote_identifier(&column.name);
            format!("{left}.{name} {} {right}.{name}", column.operator)
        };
        self.key.columns.iter().map(equal).collect::<Vec<_>>().join(" AND ")
    }

    fn is_missing(&self) -> String {
        format!("NOT EXISTS (SELECT FROM {} t WHERE {})", self.table.rows(), self.same_key("t", "s"))
    }

    /// Makes the empty temporary table for the rows of the snapshot.
    pub async fn make_stage(&self, live: &Session) -> Result<(), DatabaseError> {
        let sql = format!(
            "DROP TABLE IF EXISTS {stage};
             CREATE TEMPORARY TABLE {} AS SELECT {} FROM {} t WITH NO DATA;
             ALTER TABLE {stage} ADD COLUMN {NUMBER} bigint GENERATED ALWAYS AS IDENTITY",
            self.stage_name(),
            list("t.", &self.columns),
            self.table.quoted(),
            stage = self.staged()
        );
        Ok(live.batch_execute(&sql).await?)
    }

    /// The temporary table and its columns.
    pub fn stage(&self) -> (String, Vec<String>) {
        (self.staged(), self.columns.iter().map(|name| quote_identifier(name)).collect())
    }

    /// The query on the scratch database that gives those rows.
    pub fn query(&self, source: &str) -> String {
        format!("SELECT {} FROM {source}", list("", &self.columns))
    }

    /// Stages rows that an earlier run saved.
    pub async fn stage_saved(&self, live: &Session, saved: &str) -> Result<(), DatabaseError> {
        let columns = list("", &self.columns);
        let stage = self.staged();
        Ok(live.batch_execute(&format!("INSERT INTO {stage} ({columns}) SELECT {columns} FROM {saved}")).await?)
    }

    /// Tells the planner about the staged rows.
    pub async fn analyze(&self, live: &Session) -> Result<(), DatabaseError> {
        let stage = self.staged();
        Ok(live.batch_execute(&format!("CREATE INDEX ON {stage} ({NUMBER}); ANALYZE {stage}")).await?)
    }

    /// Counts.
    pub async fn counts(&self, live: &Session) -> Result<MissingCounts, DatabaseError> {
        let staged = format!("SELECT pg_catalog.count(*) FROM {} s", self.staged());
        Ok(MissingCounts {
            staged: count(live, &staged).await?,
            live: count(live, &format!("SELECT pg_catalog.count(*) FROM {} t", self.table.rows())).await?,
            missing: count(live, &format!("{staged} WHERE {}", self.is_missing())).await?,
        })
    }

    /// Rows to be inserted that a foreign key of the table would leave without a match, neither in the table that it
    /// points to nor among the rows that are inserted `together` (with themselves). None when the rows do not bring its
    /// columns.
    pub async fn orphans(
        &self,
        live: &Session,
        key: &ForeignKey,
        together: &[&Self],
    ) -> Result<Option<u64>, DatabaseError> {
        if !key.columns.iter().all(|column| self.columns.contains(column)) {
            return Ok(None);
        }
        let value = |column: &str| format!("s.{}", quote_identifier(column));
        let mut conditions = vec![self.is_missing(), key.has_no_match(&key.references_quoted(), value)];
        let comes = |rows: &&&Self| {
            let is_referenced = rows.table.schema == key.references.0 && rows.table.name == key.references.1;
            is_referenced && key.referenced.iter().all(|column| rows.columns.contains(column))
        };
        conditions.extend(together.iter().filter(comes).map(|rows| key.has_no_match(&rows.staged(), value)));
        let (stage, conditions) = (self.staged(), conditions.join(" AND "));
        Ok(Some(count(live, &format!("SELECT pg_catalog.count(*) FROM {stage} s WHERE {conditions}")).await?))
    }

    /// Makes the table that keeps what was inserted (or taken out).
    pub async fn make_saved(&self, live: &Session, saved: &str) -> Result<(), DatabaseError> {
        let all = list("t.", &self.all_columns);
        let sql = format!("CREATE TABLE {saved} AS SELECT {all} FROM {} t WITH NO DATA", self.table.quoted());
        Ok(live.batch_execute(&sql).await?)
    }

    /// The statement that inserts the staged rows from the one after `$1` to `$2` that are still missing.
    fn insertion(&self) -> String {
        // Somebody may insert the same key between our look and our row; a present row is left as it is.
        let conflict = if self.key.immediate {
            format!("ON CONFLICT ({}) DO NOTHING", self.key.quoted().join(", "))
        } else {
            String::new()
        };
        format!(
            "INSERT INTO {} AS t ({}) OVERRIDING SYSTEM VALUE
             SELECT {} FROM {} s WHERE s.{NUMBER} > $1 AND s.{NUMBER} <= $2 AND {} {conflict} RETURNING {}",
            self.table.quoted(),
            list("", &self.columns),
            list("s.", &self.columns),
            self.staged(),
            self.is_missing(),
            list("t.", &self.all_columns),
        )
    }

    /// Moves the sequences of the table's columns on, where a row has a larger number than they have given out.
    pub async fn advance_sequences(&self, live: &Session) -> Result<(), DatabaseError> {
        for column in &self.columns {
            let sequence: Option<String> = live
                .query_one("SELECT pg_catalog.pg_get_serial_sequence($1, $2)", &[&self.table.quoted(), &column])
                .await?
                .get(0);
            let Some(sequence) = sequence else { continue };
            let name = quote_identifier(column);
            let sql = format!(
                "SELECT pg_catalog.setval($1::text::pg_catalog.regclass, m.top) FROM
                     (SELECT pg_catalog.max({name})::bigint AS top FROM {}) m, {sequence} q
                  WHERE m.top > q.last_value OR m.top = q.last_value AND NOT q.is_called",
                self.staged()
            );
            live.query(&sql, &[&sequence]).await?;
        }
        Ok(())
    }

    /// Unique indexes besides the key's, by which rows to be inserted collide with others: name and number of rows.
    pub async fn collisions(&self, live: &Session) -> Result<Vec<(String, u64)>, DatabaseError> {
        let indexes = live
            .query(
                "SELECT c.relname::text, pg_catalog.array_agg(a.attname::text ORDER BY k.at),
                        pg_catalog.array_agg(pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname) ORDER BY k.at)
                   FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
                  CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indclass::oid[]) WITH ORDINALITY k (attnum, opclass, at)
                   JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                   JOIN pg_catalog.pg_opclass oc ON oc.oid = k.opclass
                   JOIN pg_catalog.pg_amop p ON p.amopfamily = oc.opcfamily AND p.amopstrategy = 3
                        AND p.amoplefttype = oc.opcintype AND p.amoprighttype = oc.opcintype
                   JOIN pg_catalog.pg_operator o ON o.oid = p.amopopr
                   JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
                  WHERE i.indrelid = $1 AND i.indisunique AND NOT i.indisprimary AND i.indpred IS NULL
                    AND i.indexprs IS NULL AND k.at <= i.indnkeyatts
                  GROUP BY c.relname ORDER BY 1",
                &[&self.table.oid],
            )
            .await?;
        let mut found = Vec::new();
        for index in indexes {
            let columns: Vec<String> = index.get(1);
            if !columns.iter().all(|column| self.columns.contains(column)) {
                continue;
            }
            let operators: Vec<String> = index.get(2);
            let equal = |(name, operator): (&String, &String)| {
                let name = quote_identifier(name);
                format!("t.{name} {operator} s.{name}")
            };
            let equal: Vec<String> = columns.iter().zip(&operators).map(equal).collect();
            let sql = format!(
                "SELECT pg_catalog.count(*) FROM {} s WHERE {} AND EXISTS (SELECT FROM {} t WHERE {})",
                self.staged(),
                self.is_missing(),
                self.table.rows(),
                equal.join(" AND ")
            );
            let rows = count(live, &sql).await?;
            if rows > 0 {
                found.push((index.get(0), rows));
            }
        }
        Ok(found)
    }
}

/// Inserts the staged rows of all of these tables from the one after `after` to `upto` that are still missing, and keeps
/// each table's, as the table took them, in the table that is named beside it. Returns how many.
///
/// In one statement, because the server looks at a foreign key when the statement ends: rows of two tables that point to
/// each other come in together, whether their keys can be deferred or not.
pub async fn insert_missing(
    live: &Session,
    tables: &[(&MissingRows, String)],
    (after, upto): (i64, i64),
) -> Result<u64, DatabaseError> {
    let (mut parts, mut added) = (Vec::new(), Vec::new());
    for (rows, saved) in tables {
        let (place, all) = (rows.place, list("", &rows.all_columns));
        parts.push(format!("added_{place} AS ({})", rows.insertion()));
        parts.push(format!("kept_{place} AS (INSERT INTO {saved} ({all}) SELECT {all} FROM added_{place})"));
        added.push(format!("SELECT 1 FROM added_{place}"));
    }
    let sql = format!("WITH {} SELECT pg_catalog.count(*) FROM ({}) a", parts.join(", "), added.join(" UNION ALL "));
    let inserted: i64 = live.query_one(&sql, &[&after, &upto]).await?.get(0);
    Ok(u64::try_from(inserted).unwrap_or_default())
}
