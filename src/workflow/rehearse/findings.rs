//! The remarks of a rehearsal: what the text shows, and what the measurement says of it. The measurement wins.

use std::collections::BTreeSet;

use crate::lint::{Finding, Policy, Subject, lint_plan, rule};
use crate::migration::{Direction, Plan};
use crate::report::rehearsal::{
    CheckReport, Loss, RehearsalReport, Reversibility, StatementReport, StepReport, milliseconds,
};
use crate::report::{Evidence, FindingLevel, FindingReport, format_bytes, format_count, format_list, format_things};

use super::super::findings::{counted, reported};
use super::checks;

/// Fewer rows changed or scanned delay nobody.
const MANY_ROWS: u64 = 1_000;
/// A table of this size, bytes with its indexes and TOAST, is not empty whatever its scans say.
const NOT_EMPTY: u64 = 100_000;
/// What took as long did something, even if no counter says what.
const LONG_MILLISECONDS: f64 = 500.0;

/// What the measurement says of a finding.
enum Judgement {
    /// It has nothing to say.
    Unmeasured,
    /// Nothing of it came true.
    Harmless,
    /// It came true, with this figure.
    True(String),
}

/// The findings after a plan that went through; `invalid` names the invalid indexes after it.
pub(super) fn all(plan: &Plan, report: &RehearsalReport, policy: &Policy, invalid: &[String]) -> Vec<FindingReport> {
    let mut findings = judged(plan, report, policy);
    findings.extend(of_whole(plan, policy, invalid, &report.checks, plan.direction));
    findings
}

fn judged(plan: &Plan, report: &RehearsalReport, policy: &Policy) -> Vec<FindingReport> {
    let statics = lint_plan(plan);
    let mut findings: Vec<FindingReport> =
        statics.iter().filter_map(|finding| with_measurement(finding, report, policy)).collect();
    let writer = Measured { plan, policy };
    for step in &report.steps {
        for (index, statement) in step.statements.iter().enumerate() {
            let seen = |finding: &Finding| is_of(finding, step, statement) && finding.subject != Subject::Text;
            findings.extend(writer.rows(step, index, statics.iter().any(seen)));
        }
        findings.extend(writer.locks(step));
    }
    let unseen =
        |loss: &&Loss| !statics.iter().any(|finding| finding.subject == Subject::Loss && is_about(finding, loss));
    findings.extend(report.losses.iter().filter(unseen).filter_map(|loss| {
        let found = writer.finding("data-loss", None, &loss.what)?;
        Some(FindingReport { allowed: loss.accepted.clone(), ..found })
    }));
    findings.extend(writer.ways_back(report, &statics));
    findings
}

fn is_of(finding: &Finding, step: &StepReport, statement: &StatementReport) -> bool {
    finding.statement_line == statement.line && finding.migration.to_string() == step.migration
}

fn with_measurement(finding: &Finding, report: &RehearsalReport, policy: &Policy) -> Option<FindingReport> {
    let said = reported(finding, policy)?;
    let measured = report.steps.iter().find_map(|step| {
        step.statements.iter().find(|statement| is_of(finding, step, statement)).map(|statement| (step, statement))
    });
    let accepted = accepted(finding, report);
    let judgement = match (finding.subject, measured) {
        (Subject::Loss, Some((_, statement))) => lost(finding, statement, report),
        (Subject::Rows, Some((step, statement))) => rows_waited_for(step, statement),
        (Subject::Changes, Some((_, statement))) => changed(statement),
        _ => Judgement::Unmeasured,
    };
    match judgement {
        Judgement::Unmeasured => Some(said),
        Judgement::Harmless => None,
        Judgement::True(figure) => {
            let message = format!("{}: {figure}", said.message);
            let allowed = said.allowed.or(accepted);
            Some(FindingReport { evidence: Evidence::Measured, message, allowed, ..said })
        }
    }
}

fn lost(finding: &Finding, statement: &StatementReport, report: &RehearsalReport) -> Judgement {
    if finding.code.ends_with("-without-where") {
        return match statement.rows {
            0 => Judgement::Harmless,
            rows => Judgement::True(format_things(rows, "row")),
        };
    }
    let losses: Vec<&str> =
        report.losses.iter().filter(|loss| is_about(finding, loss)).map(|loss| loss.what.as_str()).collect();
    if losses.is_empty() { Judgement::Harmless } else { Judgement::True(losses.join("; ")) }
}

/// Who accepted all that a finding lost; none when something of it is accepted by nobody.
fn accepted(finding: &Finding, report: &RehearsalReport) -> Option<String> {
    let lost = report.losses.iter().filter(|loss| finding.subject == Subject::Loss && is_about(finding, loss));
    let by: Option<BTreeSet<&str>> = lost.map(|loss| loss.accepted.as_deref()).collect();
    by.filter(|by| !by.is_empty()).map(|by| Vec::from_iter(by).join("; "))
}

/// Whether a statement of the finding named what was lost: `table` or `table.column`, or the schema of it.
fn is_about(finding: &Finding, loss: &Loss) -> bool {
    let object = loss.object.replace('"', "");
    let Some((schema, rest)) = object.split_once('.') else { return false };
    let wanted = if finding.code == "drop-schema" { schema } else { rest };
    finding.objects.iter().any(|object| object == wanted)
}

fn rows_waited_for(step: &StepReport, statement: &StatementReport) -> Judgement {
    let figures: Vec<String> = rewritten(step, statement).into_iter().map(|(figure, _)| figure).collect();
    if !figures.is_empty() {
        return Judgement::True(figures.join("; "));
    }
    let scans = statement.effects.scanned.iter().filter(|scan| scan.rows_read > 0);
    let scans: Vec<String> = scans.map(|scan| scanned(step, &scan.relation, scan.rows_read)).collect();
    if !scans.is_empty() {
        return Judgement::True(scans.join("; "));
    }
    if statement.milliseconds >= LONG_MILLISECONDS {
        return Judgement::True(format!("took {}", milliseconds(statement.milliseconds)));
    }
    Judgement::Harmless
}

fn changed(statement: &StatementReport) -> Judgement {
    let written = &statement.effects.rows_written;
    let rows: u64 = written.iter().map(|rows| rows.inserted + rows.updated + rows.deleted).sum();
    if rows < MANY_ROWS { Judgement::Harmless } else { Judgement::True(format!("{} rows", format_count(rows))) }
}

/// Tables with rows that the statement wrote anew: in words, and bytes before.
fn rewritten(step: &StepReport, statement: &StatementReport) -> Vec<(String, u64)> {
    let effects = &statement.effects;
    let size = |name: &str| effects.sizes.iter().find(|size| size.relation == name).map_or(0, |size| size.before);
    let has_rows = |name: &str| {
        effects.scanned.iter().any(|scan| scan.relation == name && scan.rows_read > 0) || size(name) > NOT_EMPTY
    };
    let tables = effects.rewritten.iter().filter(|name| has_rows(name));
    tables
        .map(|name| {
            let bytes = match size(name) {
                0 => String::new(),
                bytes => format!(", {},", format_bytes(bytes)),
            };
            (format!("rewrote {name}{bytes}{}", under_lock(step, name)), size(name))
        })
        .collect()
}

fn scanned(step: &StepReport, relation: &str, rows: u64) -> String {
    format!("read {} of {relation}{}", format_things(rows, "row"), under_lock(step, relation))
}

fn under_lock(step: &StepReport, relation: &str) -> String {
    let lock = step.effects.blocking_locks.iter().find(|lock| lock.relation == relation);
    lock.map(|lock| format!(" under {} for {}", lock.mode, milliseconds(lock.held_milliseconds))).unwrap_or_default()
}

/// Writes what only the measurement shows.
struct Measured<'a> {
    plan: &'a Plan,
    policy: &'a Policy,
}

impl Measured<'_> {
    fn finding(&self, code: &str, place: Option<(&str, Option<u32>)>, message: &str) -> Option<FindingReport> {
        let level = counted(self.policy.level(code))?;
        Some(self.at_level(code, level, place, message.to_owned()))
    }

    fn at_level(
        &self,
        code: &str,
        level: FindingLevel,
        place: Option<(&str, Option<u32>)>,
        message: String,
    ) -> FindingReport {
        let migration = place.and_then(|(id, _)| {
            self.plan.steps.iter().map(|step| &step.migration).find(|migration| migration.id.to_string() == id)
        });
        let allow = migration.and_then(|migration| migration.allows.iter().find(|allow| allow.code == code));
        FindingReport {
            code: code.to_owned(),
            level,
            evidence: Evidence::Measured,
            migration: migration.map(|migration| migration.id.to_string()),
            file: migration.map(|migration| migration.path.display().to_string()),
            line: place.and_then(|(_, line)| line),
            message,
            remedy: rule(code).map(|rule| rule.remedy.to_owned()),
            allowed: allow.map(|allow| allow.why.clone()),
        }
    }

    /// Rewrites and scans of one statement that the text does not show, and rewrites beyond the budget.
    fn rows(&self, step: &StepReport, index: usize, seen: bool) -> Vec<FindingReport> {
        let Some(statement) = step.statements.get(index) else { return Vec::new() };
        let place = Some((step.migration.as_str(), Some(statement.line)));
        let rewritten = rewritten(step, statement);
        let mut findings = Vec::new();
        for (figure, bytes) in &rewritten {
            match self.policy.max_rewrite.filter(|budget| bytes > budget) {
                Some(budget) => {
                    let message = format!("{figure}; max_rewrite in [policy] is {}", format_bytes(budget));
                    findings.push(self.at_level("rewrite", FindingLevel::Deny, place, message));
                }
                None if !seen => findings.extend(self.finding("rewrite", place, figure)),
                None => {}
            }
        }
        if seen || !rewritten.is_empty() {
            return findings;
        }
        // An earlier statement of the same transaction may hold the lock.
        let so_far = step.statements.iter().take(index + 1).flat_map(|statement| &statement.effects.locks);
        for scan in statement.effects.scanned.iter().filter(|scan| scan.rows_read >= MANY_ROWS) {
            let blocking = step.effects.blocking_locks.iter().filter(|lock| lock.relation == scan.relation);
            let mut held = blocking
                .filter(|lock| so_far.clone().any(|taken| taken.relation == lock.relation && taken.mode == lock.mode));
            if held.next().is_some() {
                let figure = scanned(step, &scan.relation, scan.rows_read);
                findings.extend(self.finding("full-scan", place, &figure));
            }
        }
        findings
    }

    /// Locks for which the application waits for long.
    fn locks(&self, step: &StepReport) -> Vec<FindingReport> {
        let mut findings = Vec::new();
        for lock in &step.effects.blocking_locks {
            let held = crate::report::rehearsal::of_milliseconds(lock.held_milliseconds);
            if held < self.policy.long_lock() {
                continue;
            }
            let takes = |statement: &&StatementReport| {
                statement.effects.locks.iter().any(|one| one.relation == lock.relation && one.mode == lock.mode)
            };
            let line = step.statements.iter().find(takes).map(|statement| statement.line);
            let place = Some((step.migration.as_str(), line));
            let time = milliseconds(lock.held_milliseconds);
            let message = format!("{} wait {time} for {} on {}", lock.blocks, lock.mode, lock.relation);
            match self.policy.max_blocking_lock.filter(|budget| held > *budget) {
                Some(budget) => {
                    let budget = milliseconds(budget.as_secs_f64() * 1000.0);
                    let message = format!("{message}; max_blocking_lock in [policy] is {budget}");
                    findings.push(self.at_level("blocking-lock", FindingLevel::Deny, place, message));
                }
                None => findings.extend(self.finding("blocking-lock", place, &message)),
            }
        }
        findings
    }

    /// Migrations that cannot be undone, unless their files say so already.
    fn ways_back(&self, report: &RehearsalReport, statics: &[Finding]) -> Vec<FindingReport> {
        let stuck = report.ways_back.iter().filter(|way| way.verdict == Reversibility::NotReversible);
        let said = |id: &str| statics.iter().any(|one| one.code == "missing-down" && one.migration.to_string() == id);
        let new = stuck.filter(|way| !said(&way.migration));
        new.filter_map(|way| {
            let why = way
                .why
                .first()
                .and_then(|why| why.lines().next())
                .unwrap_or("it cannot be undone")
                .trim_end_matches(':');
            self.finding("irreversible", Some((&way.migration, None)), why)
        })
        .collect()
    }
}

/// What the rehearsal saw that is about no statement.
fn of_whole(
    plan: &Plan,
    policy: &Policy,
    invalid: &[String],
    checks: &[CheckReport],
    direction: Direction,
) -> Vec<FindingReport> {
    let writer = Measured { plan, policy };
    let message = format!("invalid indexes afterwards: {}", format_list(invalid));
    let invalid = (!invalid.is_empty()).then(|| writer.finding("invalid-index", None, &message)).flatten();
    let broken = checks::broken(checks, direction);
    let remarks = checks.iter().filter_map(CheckReport::remark).filter(|remark| !broken.contains(remark));
    invalid.into_iter().chain(remarks.filter_map(|remark| writer.finding("check", None, &remark))).collect()
}
