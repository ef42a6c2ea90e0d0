//! What a step did, as the report says it.

use std::collections::BTreeMap;

use crate::migration::PlanStep;
use crate::postgres::StatementTrace;
use crate::postgres::trace::{HeldLock, StatementEffects, StepEffects};
use crate::report::effects::{EffectsReport, LockReport, RowsReport, ScanReport, SizeReport, StepEffectsReport};
use crate::report::rehearsal::{StatementReport, StepReport, shorten};

/// The report of one step, from its statements and what the tracer saw of them.
pub(super) fn step_report(step: &PlanStep, statements: &[StatementTrace], effects: StepEffects) -> StepReport {
    let blocking_locks = blocking_locks(&located(statements, &effects.statements));
    let mut seen = effects.statements.into_iter();
    let statements: Vec<StatementReport> = statements
        .iter()
        .map(|statement| StatementReport {
            line: statement.line,
            text: shorten(&statement.text, 200),
            milliseconds: statement.duration.as_secs_f64() * 1000.0,
            rows: statement.rows,
            batches: statement.batches,
            effects: effects_report(seen.next().unwrap_or_default(), statement.line),
        })
        .collect();
    StepReport {
        migration: step.migration.id.to_string(),
        milliseconds: statements.iter().map(|statement| statement.milliseconds).sum(),
        statements,
        effects: StepEffectsReport {
            blocking_locks,
            wal_bytes: effects.wal_bytes,
            temporary_bytes: effects.temporary_bytes,
            tracing_milliseconds: effects.tracing.as_secs_f64() * 1000.0,
            elapsed_milliseconds: effects.elapsed.as_secs_f64() * 1000.0,
        },
    }
}

/// Sizes of the tables that the steps locked or changed, before the first and after the last of them.
#[derive(Debug, Default)]
pub(super) struct TableSizes(BTreeMap<u32, SizeReport>);

impl TableSizes {
    /// Adds what one step did; all sizes so far, the largest first, without what was made and dropped again.
    pub(super) fn with(&mut self, effects: &StepEffects) -> Vec<SizeReport> {
        for (oid, size) in &effects.tables {
            let first = SizeReport { relation: size.relation.clone(), before: size.before, after: size.after };
            let entry = self.0.entry(*oid).or_insert(first);
            entry.after = size.after;
        }
        let mut sizes: Vec<SizeReport> = self.0.values().filter(|size| size.before + size.after > 0).cloned().collect();
        sizes.sort_by(|a, b| b.before.max(b.after).cmp(&a.before.max(a.after)).then(a.relation.cmp(&b.relation)));
        sizes
    }
}

fn effects_report(seen: StatementEffects, line: u32) -> EffectsReport {
    EffectsReport {
        starts_at_milliseconds: seen.started.as_secs_f64() * 1000.0,
        locks: seen.locks.iter().map(|lock| lock_report(lock, line)).collect(),
        locks_sampled: seen.sampled,
        rewritten: seen.rewritten,
        truncated: seen.truncated,
        scanned: seen
            .scans
            .into_iter()
            .map(|scan| ScanReport { relation: scan.relation, scans: scan.scans, rows_read: scan.rows_read })
            .collect(),
        rows_written: seen
            .rows
            .into_iter()
            .map(|rows| RowsReport {
                table: rows.table,
                inserted: rows.inserted,
                updated: rows.updated,
                deleted: rows.deleted,
            })
            .collect(),
        wal_bytes: seen.wal_bytes,
        sizes: seen
            .sizes
            .into_iter()
            .map(|size| SizeReport { relation: size.relation, before: size.before, after: size.after })
            .collect(),
        invalid_indexes: seen.invalid_indexes,
    }
}

fn lock_report(lock: &HeldLock, line: u32) -> LockReport {
    LockReport {
        relation: lock.relation.clone(),
        mode: lock.mode.name().to_owned(),
        held_milliseconds: lock.held.as_secs_f64() * 1000.0,
        blocks: lock.mode.blocks().to_owned(),
        starts_at_milliseconds: lock.begins.as_secs_f64() * 1000.0,
        line,
    }
}

/// The locks of a step with the line of the statement that took each.
fn located<'a>(statements: &[StatementTrace], effects: &'a [StatementEffects]) -> Vec<(&'a HeldLock, u32)> {
    let lines = statements.iter().map(|statement| statement.line).chain(std::iter::repeat(0));
    effects.iter().zip(lines).flat_map(|(seen, line)| seen.locks.iter().map(move |lock| (lock, line))).collect()
}

/// The locks for which the application waits, longest first.
fn blocking_locks(locks: &[(&HeldLock, u32)]) -> Vec<LockReport> {
    let says_more = |other: &HeldLock, lock: &HeldLock| {
        let same = other.relation == lock.relation || lock.index_of.as_ref() == Some(&other.relation);
        same && other.mode >= lock.mode
            && other.held >= lock.held
            && (other.mode, other.held, &other.relation) != (lock.mode, lock.held, &lock.relation)
    };
    let mut blocking: Vec<(&HeldLock, u32)> = locks
        .iter()
        .filter(|(lock, _)| lock.existed && lock.mode.blocks_application())
        .filter(|(lock, _)| !locks.iter().any(|(other, _)| says_more(other, lock)))
        .copied()
        .collect();
    blocking.sort_by(|(a, _), (b, _)| b.held.cmp(&a.held).then(b.mode.cmp(&a.mode)).then(a.relation.cmp(&b.relation)));
    blocking.dedup_by(|(a, _), (b, _)| a == b);
    blocking.into_iter().map(|(lock, line)| lock_report(lock, line)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::postgres::LockMode;

    fn lock(relation: &str, mode: LockMode, seconds: u64, index_of: Option<&str>) -> HeldLock {
        let held = Duration::from_secs(seconds);
        HeldLock {
            relation: relation.to_owned(),
            mode,
            held,
            begins: Duration::ZERO,
            existed: true,
            index_of: index_of.map(str::to_owned),
        }
    }

    fn lines(locks: Vec<HeldLock>) -> Vec<String> {
        let locks: Vec<(&HeldLock, u32)> = locks.iter().map(|lock| (lock, 1)).collect();
        blocking_locks(&locks).iter().map(|lock| format!("{} {}", lock.relation, lock.mode)).collect()
    }

    #[test]
    fn a_weaker_lock_is_not_said_beside_a_stronger_one_that_lasts_as_long() {
        let locks = vec![lock("t", LockMode::Share, 2, None), lock("t", LockMode::AccessExclusive, 2, None)];
        assert_eq!(lines(locks), ["t ACCESS EXCLUSIVE"]);
        let locks = vec![lock("t", LockMode::Share, 3, None), lock("t", LockMode::AccessExclusive, 2, None)];
        assert_eq!(lines(locks), ["t SHARE", "t ACCESS EXCLUSIVE"], "each blocks longer or more than the other");
    }

    #[test]
    fn the_lock_of_an_index_is_said_when_its_table_has_a_weaker_one() {
        let index = || lock("i", LockMode::AccessExclusive, 2, Some("t"));
        assert_eq!(lines(vec![index(), lock("t", LockMode::AccessExclusive, 2, None)]), ["t ACCESS EXCLUSIVE"]);
        let both = ["i ACCESS EXCLUSIVE", "t SHARE"];
        assert_eq!(lines(vec![index(), lock("t", LockMode::Share, 2, None)]), both, "REINDEX INDEX");
    }

    #[test]
    fn what_blocks_nobody_is_no_line() {
        let new = HeldLock { existed: false, ..lock("new", LockMode::AccessExclusive, 2, None) };
        assert_eq!(lines(vec![new, lock("t", LockMode::RowExclusive, 2, None)]), Vec::<String>::new());
    }
}
