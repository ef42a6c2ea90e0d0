//! The plan in one transaction, as `apply --fence` runs it, on a copy of its own.
//!
//! What is measured, step by step, is the plan one by one: what one open transaction has done nobody else can look at.
//! But a table with pending trigger events cannot be altered, and a new value of an enum cannot be used, in the
//! transaction that made them: what goes through one by one may fail in one, and is tried so first.

use crate::migration::Plan;
use crate::postgres::{ExecuteError, RunContext, commit_together, fence, ledger, run_step_together};
use crate::report::rehearsal::RehearsalReport;

use super::super::Error;
use super::super::schema_reading::{SchemaReading, read_raw};
use super::super::shadow::Scratch;
use super::{Pass, failure};

/// Said before what failed.
const SO: &str = "in one transaction, as --fence runs it: ";

/// Tries the plan on a fresh copy of the shadow, to which nobody may be connected, and drops the copy. Returns the
/// schema that it left; none: it failed, and the report says why.
pub(super) async fn try_together(
    pass: &Pass<'_>,
    plan: &Plan,
    report: &mut RehearsalReport,
) -> Result<Option<SchemaReading>, Error> {
    let copy = pass.shadow.copy().await?;
    let went_through = run(pass, &copy, plan, report).await?;
    let after = match went_through {
        true => Some(read_raw(pass.programs, &copy.spec, &pass.project.fingerprint_ignore).await?),
        false => None,
    };
    pass.shadow.drop_scratch(copy).await?;
    Ok(after)
}

async fn run(pass: &Pass<'_>, copy: &Scratch, plan: &Plan, report: &mut RehearsalReport) -> Result<bool, Error> {
    let (session, spec) = pass.shadow.connect_to_copy(copy, pass.role).await?;
    ledger::ensure(&session, &pass.project.ledger_owners).await?;
    fence::begin(&session).await?;
    let options = &pass.project.execute;
    let context = RunContext {
        programs: None,
        spec: &spec,
        run_id: pass.run_id,
        journal: &[],
        options,
        tracer: None,
        locks: None,
        maintenance: &pass.project.maintenance_database,
        watcher: None,
    };
    for (index, step) in plan.steps.iter().enumerate() {
        pass.shadow.check_copy(copy, &session).await?;
        let mut result = run_step_together(&session, step, context, &|_: &ExecuteError, _| {}).await.map(|_| ());
        if result.is_ok() && index + 1 == plan.steps.len() {
            result = commit_together(&session, context, &step.migration).await;
        }
        if let Err(error) = result {
            let error = Error::from(error);
            report.failure = Some(format!("{SO}{}", failure::failure(step, &error)));
            report.failed_at = Some(failure::failed_at(step, &error));
            report.advice = failure::advice(&error, true);
            session.close().await;
            return Ok(false);
        }
    }
    session.close().await;
    Ok(true)
}

/// Why the plan may not run in one transaction although it goes through: it builds another schema there.
pub(super) fn refuse_other_schema(together: Option<&SchemaReading>, one_by_one: &SchemaReading) -> Option<String> {
    let difference = one_by_one.schema.difference(&together?.schema);
    let differs = !difference.is_empty();
    differs.then(|| format!("{SO}it builds another schema (- one by one, + in one transaction):\n{difference}"))
}
