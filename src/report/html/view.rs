//! What the page shows, as words and numbers already formatted.

use serde::Serialize;

use super::timeline::{self, Timeline};
use crate::report::effects::SizeReport;
use crate::report::rehearsal::{CheckResult, Loss, MigrationWayBack, RehearsalReport, Reversibility, Verdict, WayBack};
use crate::report::summary::{self, Blocked};
use crate::report::{FindingReport, format_bytes, format_count, format_time};

/// Locks and tables that are listed at once; the others are folded away.
const LISTED: usize = 8;

#[derive(Serialize)]
pub(super) struct Page<'a> {
    tool_version: &'a str,
    source: &'a str,
    direction: &'a str,
    verdict: &'static str,
    verdict_class: &'static str,
    sentence: String,
    failure: Option<&'a str>,
    failed: bool,
    stopped: Option<String>,
    stopped_statement: Option<&'a str>,
    estimates: &'static str,
    blocked: Vec<BlockedRow<'a>>,
    more_blocked: Vec<BlockedRow<'a>>,
    migrations: Vec<Timeline<'a>>,
    tables: Vec<SizeRow<'a>>,
    more_tables: Vec<SizeRow<'a>>,
    losses: Vec<LossRow<'a>>,
    rows: Vec<CountRow<'a>>,
    values: Vec<ValueRow<'a>>,
    compared: String,
    findings: Vec<FindingRow<'a>>,
    way_back: &'static str,
    ways: Vec<WayRow<'a>>,
    reversible_ways: Vec<&'a str>,
    checks: Vec<CheckRow<'a>>,
    shadow: &'a [String],
    facts: Vec<(&'static str, String)>,
}

#[derive(Serialize)]
struct BlockedRow<'a> {
    class: &'static str,
    relation: &'a str,
    effect: String,
    cause: String,
    mode: &'a str,
}

#[derive(Serialize)]
struct LossRow<'a> {
    what: String,
    samples: &'a [String],
}

#[derive(Serialize)]
struct SizeRow<'a> {
    name: &'a str,
    before: String,
    after: String,
    change: String,
}

#[derive(Serialize)]
struct CountRow<'a> {
    table: &'a str,
    before: String,
    after: String,
}

#[derive(Serialize)]
struct ValueRow<'a> {
    column: &'a str,
    changed: String,
    emptied: String,
    filled: String,
    note: &'static str,
    samples: &'a [String],
}

#[derive(Serialize)]
struct FindingRow<'a> {
    class: &'static str,
    level: &'static str,
    message: &'a str,
    code: &'a str,
    place: Option<String>,
    evidence: &'static str,
    remedy: Option<&'a str>,
    allowed: Option<&'a str>,
}

#[derive(Serialize)]
struct WayRow<'a> {
    migration: &'a str,
    verdict: &'static str,
    why: Vec<Why<'a>>,
}

#[derive(Serialize)]
struct Why<'a> {
    text: String,
    samples: &'a [String],
}

#[derive(Serialize)]
struct CheckRow<'a> {
    file: &'a str,
    before: String,
    after: String,
    samples: &'a [String],
}

pub(super) fn of(report: &RehearsalReport) -> Page<'_> {
    let (blocked, more_blocked) = halves(summary::blocked(report).into_iter().map(blocked_row));
    let (tables, more_tables) = halves(report.tables.iter().map(size_row));
    let back = |way: &&MigrationWayBack| is_plain(way);
    Page {
        tool_version: &report.tool_version,
        source: &report.source,
        direction: if report.direction == "rollback" { "a rollback" } else { "an apply" },
        verdict: summary::verdict_word(report),
        verdict_class: verdict_class(report),
        sentence: summary::verdict_sentence(report),
        failure: report.failure.as_deref(),
        failed: report.verdict == Verdict::Fail && report.compared.is_empty(),
        stopped: report.failed_at.as_ref().map(|at| match at.line {
            Some(line) => format!("at line {line} of {}", at.file),
            None => format!("in {}", at.migration),
        }),
        stopped_statement: report.failed_at.as_ref().and_then(|at| at.statement.as_deref()),
        estimates: summary::ESTIMATES,
        blocked,
        more_blocked,
        migrations: timeline::of(report),
        tables,
        more_tables,
        losses: report.losses.iter().map(loss_row).collect(),
        rows: report.row_changes.iter().map(count_row).collect(),
        values: report.value_changes.iter().map(value_row).collect(),
        compared: match report.compared.len() as u64 {
            0 => String::new(),
            1 => "The table that the plan touched was compared, row by row.".to_owned(),
            tables => format!("The {} tables that the plan touched were compared, row by row.", format_count(tables)),
        },
        findings: summary::denied_first(report).into_iter().map(finding_row).collect(),
        way_back: summary::way_back_sentence(report),
        ways: ways(report),
        reversible_ways: report.ways_back.iter().filter(back).map(|way| way.migration.as_str()).collect(),
        checks: report.checks.iter().map(check_row).collect(),
        shadow: &report.shadow,
        facts: facts(report),
    }
}

fn halves<T>(all: impl Iterator<Item = T>) -> (Vec<T>, Vec<T>) {
    let mut first: Vec<T> = all.collect();
    let rest = first.split_off(first.len().min(LISTED));
    (first, rest)
}

fn verdict_class(report: &RehearsalReport) -> &'static str {
    match report.verdict {
        _ if report.is_refused() => "fail",
        Verdict::Pass => "pass",
        Verdict::PassWithFindings => "findings",
        Verdict::Fail => "fail",
    }
}

fn blocked_row(blocked: Blocked<'_>) -> BlockedRow<'_> {
    BlockedRow {
        class: if blocked.milliseconds < 50.0 { "brief" } else { timeline::strength(blocked.blocks) },
        relation: blocked.relation,
        effect: blocked.effect(),
        cause: blocked.cause(),
        mode: blocked.mode,
    }
}

fn loss_row(loss: &Loss) -> LossRow<'_> {
    LossRow { what: loss.to_line(), samples: &loss.samples }
}

fn size_row(size: &SizeReport) -> SizeRow<'_> {
    let bytes = |bytes: u64, other: &str| if bytes == 0 { other.to_owned() } else { format_bytes(bytes) };
    SizeRow {
        name: &size.relation,
        before: bytes(size.before, "not there"),
        after: bytes(size.after, "dropped"),
        change: match (size.before, size.after) {
            (before, after) if after > before => format!("+{}", format_bytes(after - before)),
            (before, after) if after < before => format!("−{}", format_bytes(before - after)),
            _ => "none".to_owned(),
        },
    }
}

fn count_row(change: &crate::report::rehearsal::RowChange) -> CountRow<'_> {
    CountRow { table: &change.table, before: format_count(change.before), after: format_count(change.after) }
}

fn value_row(change: &crate::report::rehearsal::ValueChange) -> ValueRow<'_> {
    ValueRow {
        column: &change.column,
        changed: format_count(change.changed),
        emptied: format_count(change.emptied),
        filled: format_count(change.filled),
        note: match (change.without_key, change.other_type) {
            (true, _) => "no key: at most so many; rows are compared as a whole",
            (false, true) => "another type, or made anew",
            (false, false) => "",
        },
        samples: &change.samples,
    }
}

fn finding_row(finding: &FindingReport) -> FindingRow<'_> {
    FindingRow {
        class: finding.level.name(),
        level: finding.level.name(),
        message: &finding.message,
        code: &finding.code,
        place: finding.place(),
        evidence: finding.evidence.in_words(),
        remedy: finding.remedy.as_deref(),
        allowed: finding.allowed.as_deref(),
    }
}

fn is_plain(way: &MigrationWayBack) -> bool {
    way.verdict == Reversibility::Reversible && way.notes.is_empty() && way.not_deterministic.is_empty()
}

/// The migrations of which more is to be said than that they are reversible.
fn ways(report: &RehearsalReport) -> Vec<WayRow<'_>> {
    let said = |text: &str| Why { text: text.to_owned(), samples: &[] };
    if report.ways_back.is_empty()
        && let WayBack::Differs(differences) = &report.way_back
    {
        let why = differences.iter().map(|difference| said(difference)).collect();
        return vec![WayRow { migration: "the plan", verdict: "differs", why }];
    }
    let told = report.ways_back.iter().filter(|way| !is_plain(way) && way.verdict != Reversibility::NotTried);
    told.map(|way| {
        let mut why: Vec<Why<'_>> = way.why.iter().map(|why| said(why)).collect();
        why.extend(way.losses.iter().map(|loss| Why { text: loss.what.clone(), samples: &loss.samples }));
        why.extend(way.notes.iter().map(|note| said(note)));
        if !way.not_deterministic.is_empty() {
            why.push(said(&format!("other values when run again: {}", way.not_deterministic.join(", "))));
        }
        WayRow { migration: &way.migration, verdict: way.verdict_text(), why }
    })
    .collect()
}

fn check_row(check: &crate::report::rehearsal::CheckReport) -> CheckRow<'_> {
    let words = |result: &CheckResult| match (result.rows, &result.error) {
        (Some(rows), _) => format_count(rows),
        (None, Some(error)) => format!("cannot be run: {error}"),
        (None, None) => "cannot be run".to_owned(),
    };
    let (before, after) = (words(&check.before), words(&check.after));
    CheckRow { file: &check.file, before, after, samples: &check.after.samples }
}

/// Versions and hashes; what an older report does not tell is left out.
fn facts(report: &RehearsalReport) -> Vec<(&'static str, String)> {
    let fingerprint = report.starting_fingerprint.get("hash").and_then(|hash| hash.as_str()).unwrap_or_default();
    let server = match report.server_version.as_str() {
        "" => report.server_major.to_string(),
        version => version.to_owned(),
    };
    let facts = [
        ("Rehearsal", report.id.clone()),
        ("Started", format_time(report.started_at)),
        ("Ended", format_time(report.finished_at)),
        ("Snapshot", report.snapshot.clone()),
        ("Rows as of", report.snapshot_taken_at.map(format_time).unwrap_or_default()),
        ("PostgreSQL", server),
        ("safe-migrate", report.tool_version.clone()),
        ("Plan (SHA-256)", report.plan_hash.clone()),
        ("Starting schema", fingerprint.to_owned()),
    ];
    facts.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}
