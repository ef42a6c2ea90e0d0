//! What changed in the live database since the snapshot: what a restore would take back.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::postgres::{Ledger, database, row_counts};
use crate::snapshot::{Manifest, SnapshotReader, TableData};

use super::super::project::Server;
use super::super::{Error, Project};

/// An estimate that differs by less than this share says nothing.
const NOISE: f64 = 0.02;

/// What the live database is like now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "why")]
pub enum Live {
    /// It was read.
    Read,
    /// There is no such database.
    Gone,
    /// It could not be read, for this reason.
    Unreadable(String),
}

/// A table that has other rows than in the snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableChange {
    /// `schema.name`.
    pub table: String,
    /// Rows in the snapshot; none when it did not have the table.
    pub then: Option<u64>,
    /// Rows now; none when the table is gone.
    pub now: Option<u64>,
    /// Whether `now` was counted; an estimate otherwise.
    pub exact: bool,
}

/// What changed since the snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Since {
    /// Whether the live database could be looked at.
    pub live: Live,
    /// Tables with other counts, the most different first. Values that changed in place are not seen here.
    pub tables: Vec<TableChange>,
    /// Tables with the same counts, as far as counts and estimates tell.
    pub same: usize,
    /// Whether every table was counted; some were estimated otherwise.
    pub exact: bool,
    /// Whether both ledgers could be compared.
    pub ledgers: bool,
    /// Migrations applied since.
    pub applied: Vec<String>,
    /// Migrations rolled back since.
    pub rolled_back: Vec<String>,
}

impl Since {
    /// Whether the live database could be looked at.
    pub fn was_read(&self) -> bool {
        self.live == Live::Read
    }
}

/// Compares the live database with the snapshot. Never fails because of the live one: it may be why we are here.
pub async fn since(project: &Project, server: &Server, reader: &SnapshotReader, live: &str) -> Result<Since, Error> {
    let mut since = Since {
        live: Live::Gone,
        tables: Vec::new(),
        same: 0,
        exact: true,
        ledgers: false,
        applied: Vec::new(),
        rolled_back: Vec::new(),
    };
    if !database::exists(&server.maintenance, live).await? {
        return Ok(since);
    }
    since.live = match look(project, reader, live, &mut since).await {
        Ok(()) => Live::Read,
        Err(error) => Live::Unreadable(error.to_string()),
    };
    Ok(since)
}

async fn look(project: &Project, reader: &SnapshotReader, live: &str, since: &mut Since) -> Result<(), Error> {
    let session = project.database(live).connect("safe-migrate restore").await?;
    let now = row_counts::now(&session).await?;
    since.exact = now.iter().all(|count| count.exact);
    (since.tables, since.same) = compare(reader.manifest(), &now);
    // A ledger that is gone or of another version is a reason to restore, not one to stop.
    if let (Ok(ledger), Some(then)) = (Ledger::read(&session).await, applied_then(reader).await?)
        && ledger.present
    {
        let now: Vec<String> = ledger.applied.iter().map(|one| one.id.to_string()).collect();
        since.ledgers = true;
        since.applied = now.iter().filter(|id| !then.contains(id)).cloned().collect();
        since.rolled_back = then.into_iter().filter(|id| !now.contains(id)).collect();
    }
    session.close().await;
    Ok(())
}

fn compare(manifest: &Manifest, now: &[row_counts::RowCount]) -> (Vec<TableChange>, usize) {
    let is_ours = |schema: &str| schema == "safe_migrate";
    let mut here: BTreeMap<String, &row_counts::RowCount> = now
        .iter()
        .filter(|count| !is_ours(&count.schema))
        .map(|count| (format!("{}.{}", count.schema, count.name), count))
        .collect();
    let (mut changes, mut same) = (Vec::new(), 0);
    for table in manifest.tables.iter().filter(|table| !is_ours(&table.schema)) {
        let (name, then) = (table.qualified_name(), table.rows.rows);
        match here.remove(&name) {
            None => changes.push(TableChange { table: name, then: Some(then), now: None, exact: true }),
            Some(count) => match count.rows {
                Some(rows) if differs(then, rows, count.exact) => {
                    changes.push(TableChange { table: name, then: Some(then), now: Some(rows), exact: count.exact });
                }
                _ => same += 1,
            },
        }
    }
    let new = here.into_iter().map(|(table, count)| TableChange {
        table,
        then: None,
        now: Some(count.rows.unwrap_or_default()),
        exact: count.exact,
    });
    changes.extend(new);
    changes.sort_by_key(|change| (std::cmp::Reverse(distance(change)), change.table.clone()));
    (changes, same)
}

fn differs(then: u64, now: u64, exact: bool) -> bool {
    if exact {
        return then != now;
    }
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let share = then.abs_diff(now) as f64 / then.max(1) as f64;
    share > NOISE
}

/// A table that came or went counts with all its rows; one that went counts without any too.
fn distance(change: &TableChange) -> u64 {
    match (change.then, change.now) {
        (Some(then), Some(now)) => then.abs_diff(now),
        (Some(then), None) => then.max(1),
        (None, now) => now.unwrap_or_default(),
    }
}

/// The migrations in the snapshot's own ledger, from the rows of that table; none when it has no ledger.
async fn applied_then(reader: &SnapshotReader) -> Result<Option<Vec<String>>, Error> {
    let is_ledger = |table: &&TableData| table.schema == "safe_migrate" && table.name == "migration";
    let Some(table) = reader.manifest().tables.iter().find(is_ledger) else { return Ok(None) };
    let at = |name: &str| table.columns.iter().position(|column| column == name);
    let (Some(app), Some(name)) = (at("app"), at("name")) else { return Ok(None) };
    let mut ids = Vec::new();
    for segment in &table.segments {
        let rows = reader.get_segment(segment).await?;
        for line in String::from_utf8_lossy(&rows).lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            if let (Some(app), Some(name)) = (fields.get(app), fields.get(name)) {
                ids.push(format!("{app}/{name}"));
            }
        }
    }
    Ok(Some(ids))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_must_differ_by_more_than_its_noise() {
        assert!(differs(100, 101, true) && !differs(100, 100, true));
        assert!(!differs(1_000_000, 1_010_000, false) && differs(1_000_000, 900_000, false));
    }
}
