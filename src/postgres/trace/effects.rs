//! What a statement did, from what was read before and after it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::relation::Relation;
use crate::postgres::lock_mode::LockMode;

/// What the statements of one step did, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepEffects {
    /// One for each statement that ran.
    pub statements: Vec<StatementEffects>,
    /// Write-ahead log of the whole step with its ledger row and its commit, bytes.
    pub wal_bytes: u64,
    /// Temporary files of the whole step, bytes; none before PostgreSQL 15, which tells too late.
    pub temporary_bytes: Option<u64>,
    /// Time that reading after its statements took, which no other figure contains.
    pub tracing: Duration,
    /// From its begin to the end of its commit.
    pub elapsed: Duration,
    /// Tables and materialized views that it locked or whose size it changed, by OID: the size before and after it.
    pub tables: BTreeMap<u32, SizeChange>,
}

/// What one statement did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatementEffects {
    /// When it started, after the begin of its step.
    pub started: Duration,
    /// Locks that it took and that no statement before it in the transaction held.
    pub locks: Vec<HeldLock>,
    /// Whether the locks were seen from another session every few milliseconds, so that shorter ones may be missing.
    pub sampled: bool,
    /// Tables, materialized views and (where their table stayed) indexes that were written anew: the file changed.
    pub rewritten: Vec<String>,
    /// Tables that were emptied by taking a new file.
    pub truncated: Vec<String>,
    /// Sequential scans, counted by the server.
    pub scans: Vec<Scan>,
    /// Rows written, counted by the server.
    pub rows: Vec<RowsWritten>,
    /// Write-ahead log, bytes.
    pub wal_bytes: u64,
    /// Tables and materialized views whose size changed.
    pub sizes: Vec<SizeChange>,
    /// Indexes that are invalid now and were not before.
    pub invalid_indexes: Vec<String>,
}

/// One lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldLock {
    /// `schema.name`.
    pub relation: String,
    /// Its mode.
    pub mode: LockMode,
    /// From the start of the statement to the end of the transaction, without the time that tracing took. For a
    /// sampled one: from the first sample to the last and one interval.
    pub held: Duration,
    /// When it began, after the begin of its step: with its statement.
    pub begins: Duration,
    /// Whether others can want the relation: it was there before the transaction.
    pub existed: bool,
    /// The table of an index.
    pub index_of: Option<String>,
}

/// Sequential scans of one relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// `schema.name`.
    pub relation: String,
    /// How many were begun.
    pub scans: u64,
    /// Rows that they read.
    pub rows_read: u64,
}

/// Rows of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowsWritten {
    /// `schema.name`.
    pub table: String,
    /// `INSERT`, `COPY`.
    pub inserted: u64,
    /// `UPDATE`.
    pub updated: u64,
    /// `DELETE`.
    pub deleted: u64,
}

/// A size before and after, with indexes and TOAST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizeChange {
    /// `schema.name`.
    pub relation: String,
    /// Bytes; 0 for a new one.
    pub before: u64,
    /// Bytes; 0 for a dropped one.
    pub after: u64,
}

impl StatementEffects {
    /// Compares one relation; `counted` is what the server counted on it in between.
    fn compare(&mut self, truncates: bool, before: Option<&Relation>, after: Option<&Relation>) {
        let (old, new) = match (before, after) {
            (Some(old), Some(new)) => (old, new),
            (None, Some(new)) => return self.compare_size(new, 0, new.bytes),
            (Some(old), None) => return self.compare_size(old, old.bytes, 0),
            (None, None) => return,
        };
        self.compare_size(new, old.bytes, new.bytes);
        if old.filenode != new.filenode && (new.has_rows() || new.kind == 'i') {
            // PostgreSQL has no mark for a truncation; a statement that truncates and fills again counts as a rewrite.
            let emptied = new.kind == 'r' && new.heap_bytes == 0 && (truncates || old.heap_bytes > 0);
            if emptied { &mut self.truncated } else { &mut self.rewritten }.push(new.name.clone());
        }
    }

    fn compare_size(&mut self, relation: &Relation, before: u64, after: u64) {
        if relation.has_rows() && before != after {
            self.sizes.push(SizeChange { relation: relation.name.clone(), before, after });
        }
    }

    fn count(&mut self, relation: &Relation, before: Option<&Relation>) {
        if relation.is_index() {
            return;
        }
        let counted = relation.counters.since(before.map(|old| old.counters).unwrap_or_default());
        if counted.scans > 0 {
            let relation = relation.name.clone();
            self.scans.push(Scan { relation, scans: counted.scans, rows_read: counted.rows_read });
        }
        if counted.inserted + counted.updated + counted.deleted > 0 {
            self.rows.push(RowsWritten {
                table: relation.name.clone(),
                inserted: counted.inserted,
                updated: counted.updated,
                deleted: counted.deleted,
            });
        }
    }

    /// Fills in all but locks and bytes of the log, given `touched` relations before and after.
    pub(super) fn fill(
        &mut self,
        truncates: bool,
        touched: impl Iterator<Item = u32>,
        before: &BTreeMap<u32, Relation>,
        after: &BTreeMap<u32, Relation>,
    ) {
        for oid in touched {
            let (old, new) = (before.get(&oid), after.get(&oid));
            self.compare(truncates, old, new);
            let Some(new) = new else { continue };
            self.count(new, old);
            if new.is_index() && !new.valid && old.is_none_or(|old| old.valid) {
                self.invalid_indexes.push(new.name.clone());
            }
        }
        self.forget_indexes_of_changed_tables(after);
    }

    /// The indexes of a table that was rewritten or truncated are so too; one line says it.
    fn forget_indexes_of_changed_tables(&mut self, after: &BTreeMap<u32, Relation>) {
        let changed = |name: &str| self.rewritten.iter().chain(&self.truncated).any(|changed| changed == name);
        let implied: Vec<String> = after
            .values()
            .filter(|index| index.is_index() && after.get(&index.table).is_some_and(|table| changed(&table.name)))
            .map(|index| index.name.clone())
            .collect();
        self.rewritten.retain(|name| !implied.contains(name));
    }
}
