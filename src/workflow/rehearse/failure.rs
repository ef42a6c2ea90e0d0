//! What stopped a rehearsal, and where.

use crate::migration::PlanStep;
use crate::postgres::ExecuteError;
use crate::report::redact;
use crate::report::rehearsal::{FailedAt, shorten};

use super::super::Error;

/// What failed; a statement's error names the file already.
pub fn failure(step: &PlanStep, error: &Error) -> String {
    redact(&match error {
        Error::Execute(error @ ExecuteError::AtCommit { .. }) => error.to_string(),
        Error::Execute(error) if line(error).is_some() => error.to_string(),
        _ => format!("{}: {error}", step.migration.id),
    })
}

/// Where it failed.
pub fn failed_at(step: &PlanStep, error: &Error) -> FailedAt {
    let line = match error {
        Error::Execute(error) => line(error),
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

/// What to do about it, where that is known.
pub fn advice(error: &Error, together: bool) -> Option<String> {
    match error {
        Error::Execute(error) => error.advice(together).map(str::to_owned),
        _ => None,
    }
}

fn line(error: &ExecuteError) -> Option<u32> {
    match error {
        ExecuteError::Statement { line, .. }
        | ExecuteError::Step { line, .. }
        | ExecuteError::Unclear { line, .. }
        | ExecuteError::Changed { line, .. }
        | ExecuteError::Key { line, .. } => Some(*line),
        _ => None,
    }
}
