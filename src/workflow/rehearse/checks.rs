//! Checks: queries that must return no row, before and after.

use crate::migration::{Check, Direction};
use crate::postgres::{ExecuteOptions, MigratingSession, check_query};
use crate::report::rehearsal::{CheckReport, CheckResult};

/// Rows of a check that are shown under `--samples`.
const SHOWN: usize = 3;

/// Runs every check; one that cannot be run says why.
pub async fn run(
    session: &MigratingSession,
    checks: &[Check],
    options: &ExecuteOptions,
    samples: bool,
) -> Vec<CheckResult> {
    let mut results = Vec::with_capacity(checks.len());
    for check in checks {
        results.push(one(session, check, options, if samples { SHOWN } else { 0 }).await);
    }
    results
}

async fn one(session: &MigratingSession, check: &Check, options: &ExecuteOptions, samples: usize) -> CheckResult {
    let mut result = CheckResult { rows: Some(0), ..CheckResult::default() };
    for query in &check.queries {
        let limits = (options.lock_timeout, options.statement_timeout);
        match check_query::run(session, &query.text, limits, samples).await {
            Ok(found) => {
                result.rows = result.rows.map(|rows| rows + found.rows);
                result.samples.extend(found.first);
            }
            Err(error) => {
                let message = format!("line {}: {}", query.line, error.message);
                return CheckResult { rows: None, error: Some(message), samples: Vec::new() };
            }
        }
    }
    result
}

/// Pairs what the checks said before and after.
pub fn paired(checks: &[Check], before: Vec<CheckResult>, after: Vec<CheckResult>) -> Vec<CheckReport> {
    let results = before.into_iter().zip(after);
    checks
        .iter()
        .zip(results)
        .map(|(check, (before, after))| CheckReport { file: check.name.clone(), before, after })
        .collect()
}

/// The checks that the plan broke: they returned no row before it, or could not be run, and return rows now. One that
/// can no longer be run is broken by an apply; after a rollback its table may rightly be gone.
pub fn broken(checks: &[CheckReport], direction: Direction) -> Vec<String> {
    let broken = checks.iter().filter(|check| match (check.before.rows, check.after.rows) {
        (Some(before), Some(after)) => before == 0 && after > 0,
        (None, Some(after)) => after > 0,
        (Some(_), None) => direction == Direction::Apply,
        (None, None) => false,
    });
    broken.filter_map(CheckReport::remark).collect()
}
