//! The remarks of a rehearsal.

use crate::lint::Finding;
use crate::migration::{Direction, Plan};
use crate::report::rehearsal::CheckReport;
use crate::report::{Evidence, FindingLevel, FindingReport};

use super::super::schema_reading::SchemaReading;
use super::checks;

/// What the text of the plan shows.
pub(super) fn of_text(plan: &Plan) -> Vec<FindingReport> {
    crate::lint::data_loss(plan).into_iter().map(report_of).collect()
}

fn report_of(finding: Finding) -> FindingReport {
    FindingReport {
        code: finding.code.to_owned(),
        level: FindingLevel::Warn,
        evidence: Evidence::Static,
        migration: Some(finding.migration.to_string()),
        file: Some(finding.file.display().to_string()),
        line: Some(finding.line),
        message: finding.message,
        remedy: None,
        allowed: finding.allowed,
    }
}

/// What the rehearsal saw that is about no statement.
pub(super) fn of_whole(after: &SchemaReading, checks: &[CheckReport], direction: Direction) -> Vec<FindingReport> {
    let invalid = after.schema.invalid_indexes();
    let invalid = (!invalid.is_empty())
        .then(|| measured("invalid-index", format!("invalid indexes afterwards: {}", invalid.join(", "))));
    let broken = checks::broken(checks, direction);
    let remarks = checks.iter().filter_map(CheckReport::remark).filter(|remark| !broken.contains(remark));
    invalid.into_iter().chain(remarks.map(|remark| measured("check", remark))).collect()
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
