//! What the log and the event triggers say of a command, as the report says it.

use crate::migration::without_literals;
use crate::postgres::foreign_trace::{Event, EventKind, Logged};
use crate::report::effects::{EffectsReport, LockReport, StepEffectsReport};
use crate::report::rehearsal::{StatementReport, StepReport, shorten};

/// Statements that a report lists: the longest, when there are more.
const LISTED: usize = 300;
/// A query that took as long, milliseconds, is listed too.
const LONG: f64 = 100.0;
/// An event is noted by the server's clock, a statement's end is rounded to milliseconds.
const ROUNDING: f64 = 0.005;

/// The report of the command as one step.
pub(super) fn step(words: &str, milliseconds: f64, logged: &[Logged], events: &[Event]) -> StepReport {
    let begun = logged.first().map_or(0.0, begin);
    let mut listed: Vec<&Logged> = logged.iter().filter(|one| is_listed(one)).collect();
    if listed.len() > LISTED {
        let mut longest: Vec<f64> = listed.iter().map(|one| one.milliseconds).collect();
        longest.sort_by(|one, other| other.total_cmp(one));
        listed.retain(|one| one.milliseconds >= longest[LISTED - 1]);
        listed.truncate(LISTED);
    }
    let statements: Vec<StatementReport> = (1..)
        .zip(&listed)
        .map(|(line, one)| StatementReport {
            line,
            text: shorten(&text(one), 200),
            milliseconds: one.milliseconds,
            rows: 0,
            batches: None,
            effects: effects(one, line, (begun, logged), events),
        })
        .collect();
    let mut blocking: Vec<LockReport> =
        statements.iter().flat_map(|one| &one.effects.locks).filter(|lock| lock.blocks != NOTHING).cloned().collect();
    let by_length = |one: &LockReport, other: &LockReport| other.held_milliseconds.total_cmp(&one.held_milliseconds);
    blocking.sort_by(|one, other| {
        (&one.relation, &one.mode).cmp(&(&other.relation, &other.mode)).then(by_length(one, other))
    });
    blocking.dedup_by(|one, other| one.relation == other.relation && one.mode == other.mode);
    blocking.sort_by(by_length);
    StepReport {
        migration: words.to_owned(),
        milliseconds,
        statements,
        effects: StepEffectsReport {
            blocking_locks: blocking,
            elapsed_milliseconds: milliseconds,
            ..StepEffectsReport::default()
        },
    }
}

/// Of a lock that keeps no reader and no writer waiting.
const NOTHING: &str = "";

/// Data definition as it is, unless it is of what has a password; of all else no value of a row.
fn text(one: &Logged) -> String {
    let upper = one.text.to_ascii_uppercase();
    let may_hold_secret =
        ["ROLE", "USER", "SUBSCRIPTION", "SERVER", "PASSWORD"].iter().any(|word| upper.contains(word));
    if may_hold_secret || is_data(&one.text) { without_literals(&one.text) } else { one.text.clone() }
}

fn first_word(text: &str) -> String {
    let word = text.trim_start().split(|letter: char| !letter.is_ascii_alphabetic()).next().unwrap_or_default();
    word.to_ascii_uppercase()
}

fn is_data(text: &str) -> bool {
    !matches!(first_word(text).as_str(), "CREATE" | "ALTER" | "DROP" | "COMMENT" | "GRANT" | "REVOKE" | "TRUNCATE")
}

fn is_listed(one: &Logged) -> bool {
    let word = first_word(&one.text);
    let changes = matches!(word.as_str(), "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "COPY" | "LOCK" | "CALL" | "DO")
        || matches!(word.as_str(), "VACUUM" | "REINDEX" | "CLUSTER" | "REFRESH" | "IMPORT");
    changes || !is_data(&one.text) || one.milliseconds >= LONG
}

fn begin(one: &Logged) -> f64 {
    one.ended - one.milliseconds / 1000.0
}

fn effects(one: &Logged, line: u32, (begun, logged): (f64, &[Logged]), events: &[Event]) -> EffectsReport {
    let during = |event: &&Event| {
        // A statement may be one of several that were sent as one text.
        let same = event.query.trim() == one.text.trim();
        same && event.pid == one.pid && event.at >= begin(one) - ROUNDING && event.at <= one.ended + ROUNDING
    };
    let released = released(one, logged);
    let mut report =
        EffectsReport { starts_at_milliseconds: (begin(one) - begun) * 1000.0, ..EffectsReport::default() };
    for event in events.iter().filter(during) {
        if event.kind == EventKind::Rewrite {
            report.rewritten.push(event.object.clone());
        }
        for (mode, relation) in &event.locks {
            let lock = LockReport {
                relation: relation.clone(),
                mode: mode.name().to_owned(),
                held_milliseconds: (released - begin(one)) * 1000.0,
                blocks: if mode.blocks_application() { mode.blocks() } else { NOTHING }.to_owned(),
                starts_at_milliseconds: report.starts_at_milliseconds,
                line,
            };
            if !report.locks.contains(&lock) {
                report.locks.push(lock);
            }
        }
    }
    report.rewritten.dedup();
    report
}

/// When the transaction of a statement ended: with its COMMIT, or with itself.
fn released(one: &Logged, logged: &[Logged]) -> f64 {
    let mut in_transaction = false;
    for other in logged.iter().filter(|other| other.pid == one.pid) {
        let word = first_word(&other.text);
        if std::ptr::eq(other, one) && !in_transaction {
            return one.ended;
        }
        match word.as_str() {
            "BEGIN" | "START" => in_transaction = true,
            "COMMIT" | "ROLLBACK" | "END" | "ABORT" if !other.text.to_ascii_uppercase().contains(" TO ") => {
                in_transaction = false;
                if other.ended >= one.ended {
                    return other.ended;
                }
            }
            _ => {}
        }
    }
    one.ended
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::LockMode;

    fn logged(ended: f64, milliseconds: f64, text: &str) -> Logged {
        Logged { pid: 1, ended, milliseconds, text: text.to_owned() }
    }

    #[test]
    fn a_lock_lasts_until_the_commit_and_values_are_left_out() {
        let log = [
            logged(1.0, 0.0, "BEGIN"),
            logged(2.0, 100.0, "ALTER TABLE dish ADD b int DEFAULT 1"),
            logged(3.0, 1000.0, "INSERT INTO dish VALUES ('secret')"),
            logged(3.5, 1.0, "SELECT 'quick'"),
            logged(4.0, 0.0, "COMMIT"),
            logged(5.0, 500.0, "ALTER TABLE menu ADD c int"),
        ];
        let event = |at, table: &str, query: &str| Event {
            kind: EventKind::Command,
            at,
            pid: 1,
            tag: "ALTER TABLE".to_owned(),
            object: table.to_owned(),
            query: query.to_owned(),
            locks: vec![(LockMode::AccessExclusive, table.to_owned())],
        };
        let report =
            step("tool up", 4000.0, &log, &[event(1.99, "dish", &log[1].text), event(4.9, "menu", &log[5].text)]);
        let texts: Vec<&str> = report.statements.iter().map(|one| one.text.as_str()).collect();
        assert_eq!(
            texts,
            ["ALTER TABLE dish ADD b int DEFAULT 1", "INSERT INTO dish VALUES (…)", "ALTER TABLE menu ADD c int"]
        );
        let held: Vec<(&str, u32)> = report
            .effects
            .blocking_locks
            .iter()
            .map(|lock| (lock.relation.as_str(), lock.held_milliseconds.round() as u32))
            .collect();
        assert_eq!(held, [("dish", 2100), ("menu", 500)]);
    }
}
