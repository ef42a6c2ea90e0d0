//! The report as Markdown for a pull request.
//!
//! Names come from the database and may hold anything. What is a name stands in a code span, where GitHub renders no
//! markup and notifies nobody; in prose every sign of markup is escaped, and `@` and `#` link to nobody.

mod escape;

use std::fmt::Write as _;

use super::rehearsal::{CheckReport, RehearsalReport, Reversibility, StepReport};
use super::summary::{self, Blocked, duration};
use super::{format_bytes, format_count, format_things, format_time};
use escape::{block, cell, code, prose};

/// Rows of a table that are shown at once; the rest is folded away.
const SHOWN: usize = 20;

/// The report.
pub fn markdown(report: &RehearsalReport) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "## Rehearsal on {}: {}\n", code(&report.source), summary::verdict_word(report));
    let _ = writeln!(text, "{}", prose(&summary::verdict_sentence(report)));
    if let Some(statement) = report.failed_at.as_ref().and_then(|at| at.statement.as_deref()) {
        let _ = write!(text, "\n{}", block("sql", statement));
    }
    if let Some(failure) = &report.failure {
        let _ = write!(text, "\n{}", block("", failure));
    }
    users(&mut text, report);
    data(&mut text, report);
    findings(&mut text, report);
    way_back(&mut text, report);
    let remarks: Vec<String> = report.checks.iter().filter_map(CheckReport::remark).collect();
    list(&mut text, "Checks", &remarks);
    statements(&mut text, report);
    closing(&mut text, report);
    text
}

fn users(text: &mut String, report: &RehearsalReport) {
    let blocked = summary::blocked(report);
    if report.steps.is_empty() {
        return;
    }
    text.push_str("\n### What users will notice\n\n");
    if blocked.is_empty() {
        text.push_str("Nobody waits: no table that was there before is locked against reads or writes.\n");
    }
    let rows = blocked
        .iter()
        .map(|one| [cell(one.relation), prose(one.blocks), duration(one.milliseconds), because(one), prose(one.mode)]);
    table(text, ["table", "who waits", "for", "because of", "lock"], rows.collect());
    let _ = writeln!(text, "\n{}", summary::ESTIMATES);
}

fn because(blocked: &Blocked<'_>) -> String {
    match blocked.line {
        0 => cell(blocked.migration),
        line => format!("line {line} of {}", cell(blocked.migration)),
    }
}

fn data(text: &mut String, report: &RehearsalReport) {
    let losses: Vec<String> = report.losses.iter().map(|loss| with_samples(&loss.to_line(), &loss.samples)).collect();
    if !losses.is_empty() {
        text.push_str("\n### Data that is lost\n\n");
        text.push_str(&losses.concat());
    }
    if report.row_changes.is_empty() && report.value_changes.is_empty() && report.tables.is_empty() {
        return;
    }
    text.push_str("\n### Tables and data\n\n");
    let sizes =
        report.tables.iter().map(|size| [cell(&size.relation), format_bytes(size.before), format_bytes(size.after)]);
    table(text, ["table with its indexes", "before", "after"], sizes.collect());
    let rows = report
        .row_changes
        .iter()
        .map(|change| [cell(&change.table), format_count(change.before), format_count(change.after)]);
    table(text, ["rows of", "before", "after"], rows.collect());
    let values = report.value_changes.iter().map(|change| {
        let counts = [change.changed, change.emptied, change.filled].map(format_count);
        let [changed, emptied, filled] = counts;
        [cell(&change.column), changed, emptied, filled]
    });
    table(text, ["values of", "changed", "set to null", "filled"], values.collect());
    for change in report.value_changes.iter().filter(|change| !change.samples.is_empty()) {
        text.push_str(&with_samples(&change.column, &change.samples));
    }
}

fn findings(text: &mut String, report: &RehearsalReport) {
    if report.findings.is_empty() {
        return;
    }
    text.push_str("\n### Findings\n\n");
    let rows = summary::denied_first(report).into_iter().map(|finding| {
        let remedy = match (&finding.allowed, &finding.remedy) {
            (Some(why), _) => format!("accepted: {}", prose(why)),
            (None, remedy) => remedy.as_deref().map(prose).unwrap_or_default(),
        };
        let place = finding.place().map(|place| cell(&place)).unwrap_or_default();
        [finding.level.name().to_owned(), cell(&finding.code), prose(&finding.message), place, remedy]
    });
    table(text, ["level", "code", "what", "where", "remedy"], rows.collect());
}

fn way_back(text: &mut String, report: &RehearsalReport) {
    let _ = writeln!(text, "\n### The way back\n\n{}", summary::way_back_sentence(report));
    let told = report
        .ways_back
        .iter()
        .filter(|way| !matches!(way.verdict, Reversibility::Reversible | Reversibility::NotTried));
    let lines: Vec<String> = told
        .flat_map(|way| {
            let why = way.why.iter().chain(way.losses.iter().map(|loss| &loss.what));
            why.map(move |why| format!("- {} {}: {}\n", code(&way.migration), way.verdict_text(), prose(why)))
        })
        .collect();
    if !lines.is_empty() {
        let _ = write!(text, "\n{}", lines.concat());
    }
}

fn statements(text: &mut String, report: &RehearsalReport) {
    let count: usize = report.steps.iter().map(|step| step.statements.len()).sum();
    if count == 0 {
        return;
    }
    let migrations = format_things(report.steps.len() as u64, "migration");
    let statements = format_things(count as u64, "statement");
    let _ = writeln!(text, "\n<details><summary>{migrations}, {statements}</summary>");
    report.steps.iter().for_each(|step| step_table(text, step));
    text.push_str("\n</details>\n");
}

fn step_table(text: &mut String, step: &StepReport) {
    let _ = writeln!(
        text,
        "\n{} ({})\n",
        code(&step.migration),
        duration(step.effects.elapsed_milliseconds.max(step.milliseconds))
    );
    let rows = step.statements.iter().map(|statement| {
        let did = statement.effects.lines().iter().map(|line| prose(line)).collect::<Vec<_>>().join("; ");
        let time = duration(statement.milliseconds);
        [statement.line.to_string(), cell(&statement.text), time, format_count(statement.rows), did]
    });
    rows_of(text, ["line", "statement", "time", "rows", "what it did"], &rows.collect::<Vec<_>>());
}

fn closing(text: &mut String, report: &RehearsalReport) {
    let server =
        if report.server_version.is_empty() { report.server_major.to_string() } else { report.server_version.clone() };
    let as_of = report.snapshot_taken_at.map(|time| format!(", rows as of {}", format_time(time))).unwrap_or_default();
    let _ = writeln!(
        text,
        "\nRehearsal {} on snapshot {}{as_of}; PostgreSQL {}; plan {}; safe-migrate {}.",
        code(&report.id),
        code(&report.snapshot),
        prose(&server),
        code(report.plan_hash.get(..12).unwrap_or(&report.plan_hash)),
        prose(&report.tool_version)
    );
}

fn list(text: &mut String, title: &str, lines: &[String]) {
    if !lines.is_empty() {
        let _ = writeln!(text, "\n### {title}\n");
        lines.iter().for_each(|line| text.push_str(&format!("- {}\n", prose(line))));
    }
}

fn with_samples(what: &str, samples: &[String]) -> String {
    let samples: String = samples.iter().map(|sample| format!("  - {}\n", code(sample))).collect();
    format!("- {}\n{samples}", prose(what))
}

/// A table; nothing when it has no rows, and folded beyond [`SHOWN`] of them.
fn table<const N: usize>(text: &mut String, header: [&str; N], rows: Vec<[String; N]>) {
    let (shown, rest) = rows.split_at(rows.len().min(SHOWN));
    rows_of(text, header, shown);
    if !rest.is_empty() {
        let _ = writeln!(text, "\n<details><summary>{} more</summary>\n", rest.len());
        rows_of(text, header, rest);
        text.push_str("\n</details>\n");
    }
}

fn rows_of<const N: usize>(text: &mut String, header: [&str; N], rows: &[[String; N]]) {
    if rows.is_empty() {
        return;
    }
    if !text.ends_with("\n\n") {
        text.push('\n');
    }
    let _ = writeln!(text, "| {} |\n|{}", header.join(" | "), "---|".repeat(N));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample_report::{SECRET, hostile, plain};

    #[test]
    fn it_reads_like_this() {
        insta::assert_snapshot!(markdown(&plain().without_samples()), @r##"
        ## Rehearsal on `shop`: Pass with findings

        On a copy of production the apply of 1 migration went through. Read first: 1 loss of data, 2 findings, the way back.

        ### What users will notice

        | table | who waits | for | because of | lock |
        |---|---|---|---|---|
        | `public.orders` | reads and writes | 4.2 s | line 3 of `shop/0002_x` | ACCESS EXCLUSIVE |

        Times are estimates: they were measured on a copy, on other hardware, without other load and without waiting for disks. In production the statement also waits for its lock first, and whoever wants the table queues behind it.

        ### Data that is lost

        - table public.old is gone with 2 rows

        ### Tables and data

        | table with its indexes | before | after |
        |---|---|---|
        | `public.orders` | 1.0 MB | 2.0 MB |

        | rows of | before | after |
        |---|---|---|
        | `public.old` | 2 | 0 |

        | values of | changed | set to null | filled |
        |---|---|---|---|
        | `public.orders.note` | 1,234 | 0 | 5 |

        ### Findings

        | level | code | what | where | remedy |
        |---|---|---|---|---|
        | warn | `drop-table` | drops the table old with all its rows | `migrations/shop/0002_x.sql:4` | Rename it first. |
        | note | `check-failed` | check a.sql returns 1 row |  |  |
        | deny | `rewrite` | rewrites orders | `migrations/shop/0002_x.sql:3` | accepted: it is small |

        ### The way back

        Not reversible by its own down sections. The way back is the snapshot.

        - `shop/0002_x` not reversible: it has no down section

        ### Checks

        - check shop/checks/a.sql returns 1 row before already, 1 row after

        <details><summary>1 migration, 2 statements</summary>

        `shop/0002_x` (4.2 s)

        | line | statement | time | rows | what it did |
        |---|---|---|---|---|
        | 3 | `ALTER TABLE orders ALTER id TYPE bigint` | 4.2 s | 0 | rewrites public.orders (1.0 MB before, 2.0 MB after) |
        | 4 | `DROP TABLE old` | under 1 ms | 0 |  |

        </details>

        Rehearsal `20261122T135823Z-7f3a9c` on snapshot `20261122T135000Z-7f3a9d`, rows as of 2026-11-22T13:50:02Z; PostgreSQL 15.20; plan `ab12`; safe-migrate 0.1.0.
        "##);
    }

    #[test]
    fn samples_are_shown_only_when_the_report_has_them() {
        assert!(markdown(&plain()).contains(SECRET));
        assert!(!markdown(&plain().without_samples()).contains(SECRET));
    }

    #[test]
    fn no_name_ends_a_cell_a_span_or_a_line() {
        let text = markdown(&hostile());
        let mut outside = String::new();
        let mut fenced = false;
        for line in text.lines() {
            if line.starts_with("```") || line == "``" {
                fenced = !fenced;
            } else if !fenced {
                assert!(!line.starts_with("::"), "{line}");
                if line.starts_with('|') {
                    let bars = line.replace("\\|", "").matches('|').count();
                    assert!([4, 5, 6].contains(&bars), "{bars} bars: {line}");
                }
                outside.push_str(&outside_of_spans(line));
                outside.push('\n');
            }
        }
        assert!(!outside.contains("<script") && !outside.contains("@team") && !outside.contains("#12"), "{outside}");
    }

    /// Spans here are between double back-quotes: the hostile text holds a single one.
    fn outside_of_spans(line: &str) -> String {
        line.split("``").step_by(2).collect()
    }
}
