//! Comparing the files with what the ledger says is applied.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use super::checksum::Checksum;
use super::id::MigrationId;
use super::set::{Conflict, MigrationSet};

/// One row of the ledger's table `migration`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedMigration {
    /// Its name.
    pub id: MigrationId,
    /// The checksum of the file that was applied, 64 hex digits.
    pub checksum: String,
    /// The text of the file that was applied.
    pub text: String,
    /// When its transaction wrote this row.
    pub applied_at: OffsetDateTime,
    /// The run that applied it.
    pub run_id: String,
    /// `apply`, `fake`, `squash` or `import`.
    pub how: String,
}

/// An applied migration whose file is another one now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedMigration {
    /// The migration.
    pub id: MigrationId,
    /// The checksum of the file.
    pub file: Checksum,
    /// The checksum in the ledger.
    pub ledger: String,
}

/// An applied migration that stands on one that is not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inconsistency {
    /// What is applied.
    pub applied: MigrationId,
    /// Its dependency, which is not.
    pub dependency: MigrationId,
}

/// Where files and ledger disagree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerCheck {
    /// Applied files that changed: every run stops until `repair`.
    pub changed: Vec<ChangedMigration>,
    /// Applied, and there is no file: a warning while nothing is pending, a gate otherwise.
    pub missing: Vec<MigrationId>,
    /// Apps with more than one leaf.
    pub conflicts: Vec<Conflict>,
    /// Applied migrations that stand on unapplied ones.
    pub inconsistent: Vec<Inconsistency>,
}

impl LedgerCheck {
    /// Whether files and ledger agree in everything.
    pub fn is_clean(&self) -> bool {
        *self == LedgerCheck::default()
    }
}

impl MigrationSet {
    /// Compares the files with the ledger's rows. What is missing is sorted by name, the rest is in dependency order.
    pub fn check(&self, applied: &[AppliedMigration]) -> LedgerCheck {
        let names: BTreeSet<&MigrationId> = applied.iter().map(|row| &row.id).collect();
        let mut check = LedgerCheck { conflicts: self.conflicts(), ..LedgerCheck::default() };
        check.missing = names.iter().filter(|id| self.get(id).is_none()).map(|id| (*id).clone()).collect();
        for migration in self.iter() {
            let Some(row) = applied.iter().find(|row| row.id == migration.id) else { continue };
            if row.checksum != migration.checksum.as_str() {
                let (id, file, ledger) = (row.id.clone(), migration.checksum.clone(), row.checksum.clone());
                check.changed.push(ChangedMigration { id, file, ledger });
            }
            for dependency in self.dependencies(&migration.id) {
                if !names.contains(&dependency) {
                    check.inconsistent.push(Inconsistency { applied: row.id.clone(), dependency });
                }
            }
        }
        check
    }
}
