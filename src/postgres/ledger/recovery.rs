//! Recoveries of parts of a snapshot: what each wrote, and what undoing it needs.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::{DatabaseError, Session, qualified};
use super::LedgerError;

/// The second version of the ledger.
pub(super) const UPGRADE: &str = "
    CREATE TABLE safe_migrate.recovery (
        run_id text PRIMARY KEY, kind text NOT NULL, table_schema text NOT NULL, table_name text NOT NULL,
        column_name text, saved text, details jsonb NOT NULL, undone_by text,
        recorded_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp());
    INSERT INTO safe_migrate.version (version) VALUES (2);";

/// One recovery of a part, as the transaction that did it left it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecoveryRecord {
    /// The run.
    pub run_id: String,
    /// What was done, in one word that the workflow knows.
    pub kind: String,
    /// Schema of the live table.
    pub schema: String,
    /// Name of the live table.
    pub table: String,
    /// Column, when one column was recovered.
    pub column: Option<String>,
    /// Table of this schema that keeps what was overwritten or added.
    pub saved: Option<String>,
    /// What else undoing needs.
    pub details: Value,
    /// The run that undid it.
    pub undone_by: Option<String>,
}

impl RecoveryRecord {
    /// The record of a run that did the same to several tables; of one table, its own.
    pub fn of_tables(mut parts: Vec<Self>) -> Option<Self> {
        let tables: Vec<Value> = parts
            .iter()
            .map(|part| {
                json!({ "schema": part.schema, "table": part.table, "saved": part.saved, "details": part.details })
            })
            .collect();
        let several = parts.len() > 1;
        let mut record = parts.drain(..).next()?;
        if several {
            record.saved = None;
            record.details = json!({ "tables": tables });
        }
        Some(record)
    }

    /// The same for each of its tables.
    pub fn tables(&self) -> Vec<Self> {
        let Some(tables) = self.details["tables"].as_array() else { return vec![self.clone()] };
        let text = |part: &Value, name: &str| part[name].as_str().map(str::to_owned);
        let part = |part: &Value| Self {
            schema: text(part, "schema").unwrap_or_default(),
            table: text(part, "table").unwrap_or_default(),
            saved: text(part, "saved"),
            details: part["details"].clone(),
            ..self.clone()
        };
        tables.iter().map(part).collect()
    }

    /// Writes the row, in the transaction of the change.
    pub async fn insert(&self, session: &Session) -> Result<(), DatabaseError> {
        session
            .execute(
                "INSERT INTO safe_migrate.recovery (run_id, kind, table_schema, table_name, column_name, saved, details)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
                &[&self.run_id, &self.kind, &self.schema, &self.table, &self.column, &self.saved, &self.details],
            )
            .await?;
        Ok(())
    }

    /// Says which run undid this one. False when another did before.
    pub async fn mark_undone(&self, session: &Session, by: &str) -> Result<bool, DatabaseError> {
        let sql = "UPDATE safe_migrate.recovery SET undone_by = $2 WHERE run_id = $1 AND undone_by IS NULL";
        Ok(session.execute(sql, &[&self.run_id, &by]).await? == 1)
    }
}

/// The runs of which a table is there that keeps what they overwrote or added.
pub async fn runs_with_saved_tables(session: &Session) -> Result<BTreeSet<String>, LedgerError> {
    let mut runs = BTreeSet::new();
    for record in recoveries(session).await?.into_iter().filter(|one| one.undone_by.is_none()) {
        for saved in record.tables().into_iter().filter_map(|part| part.saved) {
            let name = qualified("safe_migrate", &saved);
            let there = "SELECT pg_catalog.to_regclass($1) IS NOT NULL";
            if session.query_one(there, &[&name]).await?.try_get::<_, bool>(0)? {
                runs.insert(record.run_id.clone());
            }
        }
    }
    Ok(runs)
}

/// Reads the recoveries, oldest first; a ledger of the first version has none.
pub async fn recoveries(session: &Session) -> Result<Vec<RecoveryRecord>, LedgerError> {
    let there = "SELECT pg_catalog.to_regclass('safe_migrate.recovery') IS NOT NULL";
    if !session.query_one(there, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(Vec::new());
    }
    let rows = session
        .query(
            "SELECT run_id, kind, table_schema, table_name, column_name, saved, details, undone_by
               FROM safe_migrate.recovery ORDER BY recorded_at, run_id",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(RecoveryRecord {
                run_id: row.try_get(0)?,
                kind: row.try_get(1)?,
                schema: row.try_get(2)?,
                table: row.try_get(3)?,
                column: row.try_get(4)?,
                saved: row.try_get(5)?,
                details: row.try_get(6)?,
                undone_by: row.try_get(7)?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_record_holds_several_tables() {
        let part = |table: &str| RecoveryRecord {
            run_id: "r".to_owned(),
            kind: "missing".to_owned(),
            schema: "public".to_owned(),
            table: table.to_owned(),
            column: None,
            saved: Some(format!("saved_{table}")),
            details: json!({ "columns": [table] }),
            undone_by: None,
        };
        assert_eq!(RecoveryRecord::of_tables(vec![part("a")]), Some(part("a")));
        assert_eq!(part("a").tables(), [part("a")]);
        let both = RecoveryRecord::of_tables(vec![part("a"), part("b")]).unwrap();
        // An older program finds no saved table, and undoes nothing instead of half.
        assert_eq!(both.saved, None);
        assert_eq!(both.tables(), [part("a"), part("b")]);
        assert_eq!(RecoveryRecord::of_tables(Vec::new()), None);
    }
}
