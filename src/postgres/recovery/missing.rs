//! Rows that the snapshot has and the live table has not, by primary key; and taking such rows back.

use super::super::{DatabaseError, Session, quote_identifier};
use super::column::differs;
use super::count;
use super::facts::{Key, Relation};
use super::foreign_key::ForeignKey;

const STAGE: &str = "pg_temp.safe_migrate_stage";
const GOING: &str = "pg_temp.safe_migrate_going";
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

fn list(prefix: &str, columns: &[String]) -> String {
    columns.iter().map(|name| format!("{prefix}{}", quote_identifier(name))).collect::<Vec<_>>().join(", ")
}

impl MissingRows {
    fn same_key(&self, left: &str, right: &str) -> String {
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
            "DROP TABLE IF EXISTS {STAGE};
             CREATE TEMPORARY TABLE safe_migrate_stage AS SELECT {} FROM {} t WITH NO DATA;
             ALTER TABLE {STAGE} ADD COLUMN {NUMBER} bigint GENERATED ALWAYS AS IDENTITY",
            list("t.", &self.columns),
            self.table.quoted()
        );
        Ok(live.batch_execute(&sql).await?)
    }

    /// The temporary table and its columns.
    pub fn stage(&self) -> (&'static str, Vec<String>) {
        (STAGE, self.columns.iter().map(|name| quote_identifier(name)).collect())
    }

    /// The query on the scratch database that gives those rows.
    pub fn query(&self, source: &str) -> String {
        format!("SELECT {} FROM {source}", list("", &self.columns))
    }

    /// Stages rows that an earlier run saved.
    pub async fn stage_saved(&self, live: &Session, saved: &str) -> Result<(), DatabaseError> {
        let columns = list("", &self.columns);
        Ok(live.batch_execute(&format!("INSERT INTO {STAGE} ({columns}) SELECT {columns} FROM {saved}")).await?)
    }

    /// Tells the planner about the staged rows.
    pub async fn analyze(&self, live: &Session) -> Result<(), DatabaseError> {
        Ok(live.batch_execute(&format!("CREATE INDEX ON {STAGE} ({NUMBER}); ANALYZE {STAGE}")).await?)
    }

    /// Counts.
    pub async fn counts(&self, live: &Session) -> Result<MissingCounts, DatabaseError> {
        let staged = format!("SELECT pg_catalog.count(*) FROM {STAGE} s");
        Ok(MissingCounts {
            staged: count(live, &staged).await?,
            live: count(live, &format!("SELECT pg_catalog.count(*) FROM {} t", self.table.rows())).await?,
            missing: count(live, &format!("{staged} WHERE {}", self.is_missing())).await?,
        })
    }

    /// Rows to be inserted that a foreign key of the table would leave without a match, neither in the table that it
    /// points to nor among themselves. None when the rows do not bring its columns.
    pub async fn orphans(&self, live: &Session, key: &ForeignKey) -> Result<Option<u64>, DatabaseError> {
        if !key.columns.iter().all(|column| self.columns.contains(column)) {
            return Ok(None);
        }
        let value = |column: &str| format!("s.{}", quote_identifier(column));
        let mut condition = key.has_no_match(&key.references_quoted(), value);
        if key.is_own() {
            condition = format!("{condition} AND {}", key.has_no_match(STAGE, value));
        }
        let sql = format!("SELECT pg_catalog.count(*) FROM {STAGE} s WHERE {} AND {condition}", self.is_missing());
        Ok(Some(count(live, &sql).await?))
    }

    /// Makes the table that keeps what was inserted (or taken out).
    pub async fn make_saved(&self, live: &Session, saved: &str) -> Result<(), DatabaseError> {
        let all = list("t.", &self.all_columns);
        let sql = format!("CREATE TABLE {saved} AS SELECT {all} FROM {} t WITH NO DATA", self.table.quoted());
        Ok(live.batch_execute(&sql).await?)
    }

    /// Inserts the staged rows from the one after `after` to `upto` that are still missing, and keeps them as the
    /// table took them. Returns how many.
    pub async fn insert(&self, live: &Session, (after, upto): (i64, i64), saved: &str) -> Result<u64, DatabaseError> {
        // Somebody may insert the same key between our look and our row; a present row is left as it is.
        let conflict = if self.key.immediate {
            format!("ON CONFLICT ({}) DO NOTHING", self.key.quoted().join(", "))
        } else {
            String::new()
        };
        let table = self.table.quoted();
        let sql = format!(
            "WITH added AS (
                 INSERT INTO {table} AS t ({}) OVERRIDING SYSTEM VALUE
                 SELECT {} FROM {STAGE} s WHERE s.{NUMBER} > $1 AND s.{NUMBER} <= $2 AND {} {conflict}
                 RETURNING {})
             INSERT INTO {saved} ({}) SELECT {} FROM added",
            list("", &self.columns),
            list("s.", &self.columns),
            self.is_missing(),
            list("t.", &self.all_columns),
            list("", &self.all_columns),
            list("", &self.all_columns)
        );
        Ok(live.execute(&sql, &[&after, &upto]).await?)
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
                     (SELECT pg_catalog.max({name})::bigint AS top FROM {STAGE}) m, {sequence} q
                  WHERE m.top > q.last_value OR m.top = q.last_value AND NOT q.is_called"
            );
            live.query(&sql, &[&sequence]).await?;
        }
        Ok(())
    }

    /// Finds the rows of a saved table that are still as they were kept, to be taken out: none that a row of another
    /// table points to. Returns how many there are, how many changed, and how many are pointed to.
    pub async fn find_untouched(
        &self,
        live: &Session,
        saved: &str,
        keys: &[ForeignKey],
    ) -> Result<(u64, u64, u64), DatabaseError> {
        let changed: Vec<String> = self
            .columns
            .iter()
            .map(|name| differs(&format!("t.{}", quote_identifier(name)), &format!("v.{}", quote_identifier(name))))
            .collect();
        let sql = format!(
            "DROP TABLE IF EXISTS {GOING};
             CREATE TEMPORARY TABLE safe_migrate_going AS SELECT {} FROM {} t JOIN {saved} v ON {} WHERE NOT ({})
                FOR UPDATE OF t",
            list("t.", &self.all_columns),
            self.table.rows(),
            self.same_key("t", "v"),
            changed.join(" OR ")
        );
        live.batch_execute(&sql).await?;
        let still = count(
            live,
            &format!(
                "SELECT pg_catalog.count(*) FROM {} t JOIN {saved} v ON {}",
                self.table.rows(),
                self.same_key("t", "v")
            ),
        )
        .await?;
        let untouched = count(live, &format!("SELECT pg_catalog.count(*) FROM {GOING}")).await?;
        let mut pointed_to = 0;
        loop {
            let mut removed = 0;
            for key in keys {
                removed += live.execute(&self.keep_referenced(key), &[]).await?;
            }
            pointed_to += removed;
            if removed == 0 {
                break;
            }
        }
        Ok((untouched - pointed_to, still - untouched, pointed_to))
    }

    /// Leaves rows where they are that a row points to which stays: `ON DELETE CASCADE` would take that one along.
    fn keep_referenced(&self, key: &ForeignKey) -> String {
        let child_stays = match key.is_own() {
            true => format!("NOT EXISTS (SELECT FROM {GOING} o WHERE {})", self.same_key("o", "c")),
            false => "true".to_owned(),
        };
        let given: Vec<String> =
            key.columns.iter().map(|name| format!("c.{} IS DISTINCT FROM NULL", quote_identifier(name))).collect();
        let no_match = key.has_no_match("(SELECT g.*)", |column| format!("c.{}", quote_identifier(column)));
        format!(
            "DELETE FROM {GOING} g WHERE EXISTS (SELECT FROM {} c WHERE {child_stays} AND {} AND NOT ({no_match}))",
            key.table_quoted(),
            given.join(" AND "),
        )
    }

    /// Takes the rows out that [`find_untouched`](Self::find_untouched) found, and keeps them in `saved`.
    pub async fn take_out(&self, live: &Session, saved: &str) -> Result<u64, DatabaseError> {
        let all = list("", &self.all_columns);
        live.batch_execute(&format!("INSERT INTO {saved} ({all}) SELECT {all} FROM {GOING}")).await?;
        let sql = format!("DELETE FROM {} AS t USING {GOING} g WHERE {}", self.table.rows(), self.same_key("t", "g"));
        Ok(live.execute(&sql, &[]).await?)
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
                "SELECT pg_catalog.count(*) FROM {STAGE} s WHERE {} AND EXISTS (SELECT FROM {} t WHERE {})",
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
