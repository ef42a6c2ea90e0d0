//! The remarks of a rehearsal, and where it stopped.

use crate::migration::{Direction, Plan, PlanStep};
use crate::postgres::ExecuteError;
use crate::report::rehearsal::{CheckReport, FailedAt, shorten};
use crate::report::{Evidence, FindingLevel, FindingReport};

use super::super::Error;
use super::super::schema_reading::SchemaReading;
use super::checks;

/// What the text of the plan says: statements that lose data and that no `-- allow:` accepts.
pub fn of_text(plan: &Plan) -> Vec<FindingReport> {
    let findings = crate::lint::data_loss(plan).into_iter().filter(|finding| finding.allowed.is_none());
    let finding = |finding: crate::lint::Finding| FindingReport {
        code: finding.code.to_owned(),
        level: FindingLevel::Warn,
        evidence: Evidence::Static,
        migration: Some(finding.migration.to_string()),
        file: Some(finding.file.display().to_string()),
        line: Some(finding.line),
        message: finding.message,
        remedy: None,
        allowed: finding.allowed,
    };
    findings.map(finding).collect()
}

/// Indexes that are invalid afterwards.
pub fn of_indexes(after: &SchemaReading) -> Option<FindingReport> {
    let invalid = after.schema.invalid_indexes();
    let message = || format!("invalid indexes afterwards: {}", invalid.join(", "));
    (!invalid.is_empty()).then(|| measured("invalid-index", message()))
}

/// Checks that returned rows before the plan already, or that can no longer be run.
pub fn of_checks(reports: &[CheckReport], direction: Direction) -> Vec<FindingReport> {
    let broken = checks::broken(reports, direction);
    let remarks = reports.iter().filter_map(CheckReport::remark).filter(|remark| !broken.contains(remark));
    remarks.map(|remark| measured("check-failed", remark)).collect()
}

fn measured(code: &str, message: String) -> FindingReport {
    FindingReport {
        code: code.to_owned(),
        level: FindingLevel::Warn,
        evidence: Evidence::Measured,
        migration: None,
        file: None,
        line: None,
        message,
        remedy: None,
        allowed: None,
    }
}

/// What failed; a statement's error names the file already.
pub fn failure(step: &PlanStep, error: &Error) -> String {
    match error {
        Error::Execute(ExecuteError::Statement { .. } | ExecuteError::Step { .. }) => error.to_string(),
        _ => format!("{}: {error}", step.migration.id),
    }
}

/// Where it failed.
pub fn failed_at(step: &PlanStep, error: &Error) -> FailedAt {
    let line = match error {
        Error::Execute(ExecuteError::Statement { line, .. } | ExecuteError::Step { line, .. }) => Some(*line),
        _ => None,
    };
    let mut statements = step.section().into_iter().flat_map(|section| &section.statements);
    let failed = statements.find(|statement| Some(statement.line) == line);
    let migration = &step.migration;
    FailedAt {
        migration: migration.id.to_string(),
        file: migration.path.display().to_string(),
        line,
        statement: failed.map(|statement| shorten(&statement.text, 200)),
    }
}
