//! What the policy makes of what lint found.

use crate::lint::{Finding, Level, Policy, Subject, rule};
use crate::migration::Plan;
use crate::report::{Evidence, FindingLevel, FindingReport};

/// A finding with its level; none when that is off.
pub fn reported(finding: &Finding, policy: &Policy) -> Option<FindingReport> {
    Some(FindingReport {
        code: finding.code.to_owned(),
        level: counted(policy.level(finding.code))?,
        evidence: Evidence::Static,
        migration: Some(finding.migration.to_string()),
        file: Some(finding.file.display().to_string()),
        line: Some(finding.line),
        message: finding.message.clone(),
        remedy: Some(finding.remedy.to_owned()),
        allowed: finding.allowed.clone(),
    })
}

/// What the text of the plan shows.
pub fn of_text(plan: &Plan, policy: &Policy) -> Vec<FindingReport> {
    crate::lint::lint_plan(plan).iter().filter_map(|finding| reported(finding, policy)).collect()
}

/// The findings that stop a run by the policy. Lost data is left out: a gate of its own asks for the plan's hash.
pub fn denied(findings: &[FindingReport]) -> Vec<&FindingReport> {
    let is_loss = |code: &str| rule(code).is_some_and(|rule| rule.subject == Subject::Loss);
    findings.iter().filter(|finding| finding.is_denied() && !is_loss(&finding.code)).collect()
}

/// As a report says it; none for what is off.
pub fn counted(level: Level) -> Option<FindingLevel> {
    match level {
        Level::Off => None,
        Level::Note => Some(FindingLevel::Note),
        Level::Warn => Some(FindingLevel::Warn),
        Level::Deny => Some(FindingLevel::Deny),
    }
}
