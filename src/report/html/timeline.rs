//! The statements of each migration and the locks they hold, as bars on one axis.

use serde::Serialize;

use crate::report::effects::LockReport;
use crate::report::format_things;
use crate::report::rehearsal::{RehearsalReport, StatementReport, StepReport};
use crate::report::summary::duration;
use crate::report::{format_bytes, format_count};

/// Statements that get a bar; the others are in the table below.
const BARS: usize = 15;
/// Plans of so many migrations show all of them unfolded.
const UNFOLDED: usize = 3;
/// A lock that blocks for so long unfolds its migration, milliseconds.
const LONG: f64 = 100.0;

#[derive(Serialize)]
pub(super) struct Timeline<'a> {
    name: &'a str,
    summary: String,
    open: bool,
    half: String,
    end: String,
    rows: Vec<Bar>,
    left_out: Option<String>,
    statements: Vec<Row<'a>>,
}

/// A statement or a lock; left and width are percent of the axis.
#[derive(Serialize)]
struct Bar {
    kind: &'static str,
    line: u32,
    label: String,
    note: String,
    class: &'static str,
    left: String,
    width: String,
    time: String,
}

#[derive(Serialize)]
struct Row<'a> {
    line: u32,
    text: &'a str,
    time: String,
    rows: String,
    wal: String,
    did: Vec<String>,
}

/// How much a lock is in the way, as a class of the style sheet.
pub(super) fn strength(blocks: &str) -> &'static str {
    if blocks.starts_with("reads") { "strongest" } else { "strong" }
}

pub(super) fn of(report: &RehearsalReport) -> Vec<Timeline<'_>> {
    report.steps.iter().map(|step| timeline(step, report.steps.len() <= UNFOLDED)).collect()
}

fn timeline(step: &StepReport, unfolded: bool) -> Timeline<'_> {
    let length = length(step);
    let longest = step.effects.blocking_locks.iter().map(|lock| lock.held_milliseconds).fold(0.0, f64::max);
    let locks = match step.effects.blocking_locks.len() as u64 {
        0 => "nobody waits".to_owned(),
        count => format!("{} in the way, the longest for {}", format_things(count, "lock"), duration(longest)),
    };
    let shown = shown(step);
    let (rows, left_out) = (bars(step, &shown, length), step.statements.len() - shown.len());
    Timeline {
        name: &step.migration,
        summary: format!("{}, {}; {locks}", duration(length), format_things(step.statements.len() as u64, "statement")),
        open: unfolded || longest >= LONG,
        half: duration(length / 2.0),
        end: duration(length),
        rows,
        left_out: (left_out > 0).then(|| {
            format!(
                "{} that took less time and hold no lock in the way: in the table.",
                format_things(left_out as u64, "statement")
            )
        }),
        statements: step.statements.iter().map(row).collect(),
    }
}

/// Length of the axis: to the end of the commit, and of whatever goes on for longer.
fn length(step: &StepReport) -> f64 {
    let statements = step.statements.iter().map(|one| one.effects.starts_at_milliseconds + one.milliseconds);
    let locks = step.effects.blocking_locks.iter().map(|lock| lock.starts_at_milliseconds + lock.held_milliseconds);
    statements.chain(locks).fold(step.effects.elapsed_milliseconds.max(step.milliseconds), f64::max)
}

/// Places of the statements that get a bar, in order: those that hold a lock in the way, then the longest.
fn shown(step: &StepReport) -> Vec<usize> {
    let holds =
        |index: &usize| step.effects.blocking_locks.iter().any(|lock| lock.line == step.statements[*index].line);
    let mut places: Vec<usize> = (0..step.statements.len()).collect();
    places.sort_by(|a, b| {
        let time = |index: &usize| step.statements[*index].milliseconds;
        holds(b).cmp(&holds(a)).then(time(b).total_cmp(&time(a)))
    });
    places.truncate(BARS);
    places.sort_unstable();
    places
}

fn bars(step: &StepReport, shown: &[usize], length: f64) -> Vec<Bar> {
    let mut bars = Vec::new();
    let mut said = Vec::new();
    for statement in shown.iter().map(|place| &step.statements[*place]) {
        bars.push(statement_bar(statement, length));
        // Two statements may stand on one line; their locks are said once.
        if !said.contains(&statement.line) {
            said.push(statement.line);
            let locks = step.effects.blocking_locks.iter().filter(|lock| lock.line == statement.line);
            bars.extend(locks.map(|lock| lock_bar(lock, length)));
        }
    }
    let unplaced = step.effects.blocking_locks.iter().filter(|lock| !said.contains(&lock.line));
    bars.extend(unplaced.map(|lock| lock_bar(lock, length)));
    bars
}

fn statement_bar(statement: &StatementReport, length: f64) -> Bar {
    let (left, width) = place(statement.effects.starts_at_milliseconds, statement.milliseconds, length);
    Bar {
        kind: "statement",
        line: statement.line,
        label: statement.text.clone(),
        note: statement.effects.lines().join("; "),
        class: "",
        left,
        width,
        time: duration(statement.milliseconds),
    }
}

fn lock_bar(lock: &LockReport, length: f64) -> Bar {
    let (left, width) = place(lock.starts_at_milliseconds, lock.held_milliseconds, length);
    Bar {
        kind: "lock",
        line: 0,
        label: format!("{} on {}", lock.mode, lock.relation),
        note: format!("{} wait", lock.blocks),
        class: strength(&lock.blocks),
        left,
        width,
        time: duration(lock.held_milliseconds),
    }
}

fn place(start: f64, duration: f64, length: f64) -> (String, String) {
    let percent = |time: f64| if length > 0.0 { (time / length * 100.0).clamp(0.0, 100.0) } else { 0.0 };
    let left = percent(start).min(99.5);
    (format!("{left:.2}"), format!("{:.2}", percent(duration).min(100.0 - left)))
}

fn row(statement: &StatementReport) -> Row<'_> {
    let effects = &statement.effects;
    let mut did = effects.lines();
    let locks = effects
        .locks
        .iter()
        .map(|lock| format!("lock {} on {} for {}", lock.mode, lock.relation, duration(lock.held_milliseconds)));
    did.extend(locks);
    Row {
        line: statement.line,
        text: &statement.text,
        time: duration(statement.milliseconds),
        rows: format_count(statement.rows),
        wal: format_bytes(effects.wal_bytes),
        did,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_lie_within_the_axis() {
        assert_eq!(place(0.0, 50.0, 100.0), ("0.00".to_owned(), "50.00".to_owned()));
        assert_eq!(place(80.0, 50.0, 100.0), ("80.00".to_owned(), "20.00".to_owned()));
        assert_eq!(place(100.0, 0.0, 100.0), ("99.50".to_owned(), "0.00".to_owned()));
        assert_eq!(place(0.0, 0.0, 0.0), ("0.00".to_owned(), "0.00".to_owned()));
    }
}
