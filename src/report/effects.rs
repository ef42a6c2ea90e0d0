//! What the statements of a rehearsed migration did: locks, files, scans, rows, bytes.
//!
//! Every field has a default, so that reports of earlier versions are read.

use serde::{Deserialize, Serialize};

use super::rehearsal::{StepReport, milliseconds};
use super::{format_bytes, format_count};

/// What one statement did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct EffectsReport {
    /// When it started, after the begin of its migration; without the time that measuring took.
    pub starts_at_milliseconds: f64,
    /// Locks that it was the first of its transaction to take.
    pub locks: Vec<LockReport>,
    /// Whether locks were sampled from outside, every 5 ms, so that shorter ones may be missing.
    pub locks_sampled: bool,
    /// Relations written anew.
    pub rewritten: Vec<String>,
    /// Tables emptied by truncation.
    pub truncated: Vec<String>,
    /// Sequential scans.
    pub scanned: Vec<ScanReport>,
    /// Rows written, by table.
    pub rows_written: Vec<RowsReport>,
    /// Write-ahead log, bytes. Production writes more where it writes full pages after a checkpoint.
    pub wal_bytes: u64,
    /// Sizes that changed.
    pub sizes: Vec<SizeReport>,
    /// Indexes that became invalid.
    pub invalid_indexes: Vec<String>,
}

/// What one migration did as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct StepEffectsReport {
    /// Locks on relations that were there before, for which the application's reads or writes wait; for each relation
    /// and mode the longest, and no weaker lock that ends before a stronger one.
    pub blocking_locks: Vec<LockReport>,
    /// Write-ahead log with the ledger row and the commit, bytes.
    pub wal_bytes: u64,
    /// Temporary files, bytes; none where the server does not tell in time.
    pub temporary_bytes: Option<u64>,
    /// Time that measuring took after its statements; in no other figure.
    pub tracing_milliseconds: f64,
    /// From the begin to the end of the commit, without measuring; 0 when it was not measured.
    pub elapsed_milliseconds: f64,
}

/// One lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LockReport {
    /// `schema.name`.
    pub relation: String,
    /// As in `LOCK TABLE … IN … MODE`.
    pub mode: String,
    /// From the start of the statement to the end of its transaction.
    pub held_milliseconds: f64,
    /// What waits for it.
    pub blocks: String,
    /// When it began, after the begin of its migration: with its statement.
    #[serde(default)]
    pub starts_at_milliseconds: f64,
    /// Line of the statement that took it; 0 when it is not known.
    #[serde(default)]
    pub line: u32,
}

/// Sequential scans of one relation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ScanReport {
    /// `schema.name`.
    pub relation: String,
    /// How many; each parallel worker counts as one.
    pub scans: u64,
    /// Rows read by all of them.
    pub rows_read: u64,
}

/// Rows written to one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RowsReport {
    /// `schema.name`.
    pub table: String,
    /// Inserted.
    pub inserted: u64,
    /// Updated.
    pub updated: u64,
    /// Deleted.
    pub deleted: u64,
}

/// Size of one table with its indexes and TOAST.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SizeReport {
    /// `schema.name`.
    pub relation: String,
    /// Before, bytes.
    pub before: u64,
    /// After, bytes.
    pub after: u64,
}

/// Fewer rows read are no remark.
const ROWS_WORTH_A_LINE: u64 = 1_000;

impl StepReport {
    /// Blocking locks, rewrites and scans, a line each.
    pub fn effect_lines(&self) -> Vec<String> {
        let locks = self.effects.blocking_locks.iter().map(|lock| {
            let held = milliseconds(lock.held_milliseconds);
            format!("{} on {} for {held}: blocks {}", lock.mode, lock.relation, lock.blocks)
        });
        let statements = self.statements.iter().flat_map(|statement| {
            let at = statement.line;
            statement.effects.lines().into_iter().map(move |line| format!("line {at}: {line}"))
        });
        let temporary = self.effects.temporary_bytes.filter(|bytes| *bytes > 0);
        let temporary = temporary.map(|bytes| format!("temporary files: {}", format_bytes(bytes)));
        locks.chain(statements).chain(temporary).collect()
    }
}

impl EffectsReport {
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.rewritten.iter().map(|name| format!("rewrites {name}{}", self.bytes(name))).collect();
        lines.extend(self.truncated.iter().map(|name| format!("truncates {name}")));
        // A rewrite reads everything anyway.
        let scans = self.scanned.iter().filter(|scan| scan.rows_read >= ROWS_WORTH_A_LINE);
        let scans = scans.filter(|scan| !self.rewritten.contains(&scan.relation));
        lines.extend(scans.map(|scan| format!("scans {} ({} rows)", scan.relation, format_count(scan.rows_read))));
        lines.extend(self.invalid_indexes.iter().map(|name| format!("leaves the index {name} invalid")));
        lines
    }

    fn bytes(&self, name: &str) -> String {
        let size = self.sizes.iter().find(|size| size.relation == name);
        size.map(|size| format!(" ({} before, {} after)", format_bytes(size.before), format_bytes(size.after)))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::rehearsal::StatementReport;

    #[test]
    fn a_report_of_an_earlier_version_is_read() {
        let text = r#"{"migration": "a/0001_b", "milliseconds": 1.5,
            "statements": [{"line": 2, "text": "SELECT 1", "milliseconds": 1.5, "rows": 1}]}"#;
        let step: StepReport = serde_json::from_str(text).unwrap();
        assert_eq!(
            (step.effects, &step.statements[0].effects),
            (StepEffectsReport::default(), &EffectsReport::default())
        );
    }

    #[test]
    fn locks_rewrites_and_large_scans_are_lines() {
        let scan = |relation: &str, scans, rows_read| ScanReport { relation: relation.to_owned(), scans, rows_read };
        let lock = LockReport {
            relation: "public.orders".to_owned(),
            mode: "ACCESS EXCLUSIVE".to_owned(),
            held_milliseconds: 4_200.0,
            blocks: "reads and writes".to_owned(),
            starts_at_milliseconds: 0.0,
            line: 3,
        };
        let effects = EffectsReport {
            rewritten: vec!["public.orders".to_owned()],
            scanned: vec![scan("public.orders", 3, 60_000), scan("public.small", 1, 5), scan("public.dish", 2, 40_000)],
            sizes: vec![SizeReport { relation: "public.orders".to_owned(), before: 1_000_000, after: 2_000_000 }],
            invalid_indexes: vec!["public.by_day".to_owned()],
            ..EffectsReport::default()
        };
        let step = StepReport {
            migration: "shop/0002_x".to_owned(),
            milliseconds: 4_200.0,
            statements: vec![StatementReport {
                line: 3,
                text: String::new(),
                milliseconds: 1.0,
                rows: 0,
                batches: None,
                effects,
            }],
            effects: StepEffectsReport {
                blocking_locks: vec![lock],
                temporary_bytes: Some(2_000_000),
                ..StepEffectsReport::default()
            },
        };
        let lines = [
            "ACCESS EXCLUSIVE on public.orders for 4.2 s: blocks reads and writes",
            "line 3: rewrites public.orders (1.0 MB before, 2.0 MB after)",
            "line 3: scans public.dish (40,000 rows)",
            "line 3: leaves the index public.by_day invalid",
            "temporary files: 2.0 MB",
        ];
        assert_eq!(step.effect_lines(), lines);
    }
}
