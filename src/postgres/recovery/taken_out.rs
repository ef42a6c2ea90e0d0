//! Taking rows out again that a recovery inserted: those that nobody changed since, and to which nothing points that stays.

use super::super::{DatabaseError, Session, quote_identifier};
use super::column::differs;
use super::count;
use super::foreign_key::ForeignKey;
use super::missing::{MissingRows, list};

/// Rows of one table that a recovery inserted.
#[derive(Clone, Debug)]
pub struct InsertedRows {
    /// The live table.
    pub rows: MissingRows,
    /// The quoted name of the table that keeps them as they were inserted.
    pub kept_in: String,
    /// The foreign keys that point to the table.
    pub incoming: Vec<ForeignKey>,
}

/// What is found of the rows of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FoundRows {
    /// They can be taken out.
    pub going: u64,
    /// Somebody changed them.
    pub changed: u64,
    /// A row that stays points to them.
    pub pointed_to: u64,
}

/// Finds the rows that can be taken out, of several tables whose rows may point to each other.
pub async fn find_untouched(live: &Session, tables: &[InsertedRows]) -> Result<Vec<FoundRows>, DatabaseError> {
    let mut found = Vec::new();
    for table in tables {
        found.push(table.find_unchanged(live).await?);
    }
    // What stays may keep others; until nothing does any more.
    loop {
        let mut removed = 0;
        for (table, found) in tables.iter().zip(&mut found) {
            for key in &table.incoming {
                let kept = live.execute(&table.keep_referenced(key, tables), &[]).await?;
                found.pointed_to += kept;
                found.going -= kept;
                removed += kept;
            }
        }
        if removed == 0 {
            return Ok(found);
        }
    }
}

/// Takes the rows out that [`find_untouched`] found, in one statement, and keeps them in the tables that are named.
pub async fn take_out(live: &Session, tables: &[InsertedRows], saved: &[String]) -> Result<u64, DatabaseError> {
    let (mut parts, mut gone) = (Vec::new(), Vec::new());
    for (table, saved) in tables.iter().zip(saved) {
        let (rows, going) = (&table.rows, table.going());
        let (place, all) = (rows.place, list("", &rows.all_columns));
        live.batch_execute(&format!("INSERT INTO {saved} ({all}) SELECT {all} FROM {going}")).await?;
        let same = rows.same_key("t", "g");
        parts.push(format!(
            "gone_{place} AS (DELETE FROM {} AS t USING {going} g WHERE {same} RETURNING 1)",
            rows.table.rows()
        ));
        gone.push(format!("SELECT 1 FROM gone_{place}"));
    }
    count(live, &format!("WITH {} SELECT pg_catalog.count(*) FROM ({}) a", parts.join(", "), gone.join(" UNION ALL ")))
        .await
}

impl InsertedRows {
    fn going(&self) -> String {
        format!("pg_temp.safe_migrate_going_{}", self.rows.place)
    }

    /// Locks the rows that are still as they were kept, and notes them.
    async fn find_unchanged(&self, live: &Session) -> Result<FoundRows, DatabaseError> {
        let (rows, saved, going) = (&self.rows, &self.kept_in, self.going());
        let changed: Vec<String> = rows
            .columns
            .iter()
            .map(|name| differs(&format!("t.{}", quote_identifier(name)), &format!("v.{}", quote_identifier(name))))
            .collect();
        let kept = format!("{} t JOIN {saved} v ON {}", rows.table.rows(), rows.same_key("t", "v"));
        let sql = format!(
            "DROP TABLE IF EXISTS {going};
             CREATE TEMPORARY TABLE safe_migrate_going_{} AS SELECT {} FROM {kept} WHERE NOT ({}) FOR UPDATE OF t",
            rows.place,
            list("t.", &rows.all_columns),
            changed.join(" OR ")
        );
        live.batch_execute(&sql).await?;
        let still = count(live, &format!("SELECT pg_catalog.count(*) FROM {kept}")).await?;
        let untouched = count(live, &format!("SELECT pg_catalog.count(*) FROM {going}")).await?;
        Ok(FoundRows { going: untouched, changed: still - untouched, pointed_to: 0 })
    }

    /// Leaves rows where they are that a row points to which stays: `ON DELETE CASCADE` would take that one along.
    fn keep_referenced(&self, key: &ForeignKey, tables: &[Self]) -> String {
        let child =
            tables.iter().find(|one| one.rows.table.schema == key.table.0 && one.rows.table.name == key.table.1);
        let child_stays = match child {
            Some(child) => {
                format!("NOT EXISTS (SELECT FROM {} o WHERE {})", child.going(), child.rows.same_key("o", "c"))
            }
            None => "true".to_owned(),
        };
        let given: Vec<String> =
            key.columns.iter().map(|name| format!("c.{} IS DISTINCT FROM NULL", quote_identifier(name))).collect();
        let no_match = key.has_no_match("(SELECT g.*)", |column| format!("c.{}", quote_identifier(column)));
        format!(
            "DELETE FROM {} g WHERE EXISTS (SELECT FROM {} c WHERE {child_stays} AND {} AND NOT ({no_match}))",
            self.going(),
            key.table_quoted(),
            given.join(" AND "),
        )
    }
}
