//! What a restore and a swap came to, in words and in JSON.

use std::time::Duration;

use serde_json::json;

use crate::cli::error::{CliError, ErrorKind};
use crate::cli::output::Outcome;
use crate::report::{format_duration, format_things};
use crate::workflow::restore::{Moments, RestoreReport, SwapReport};
use crate::workflow::{Proof, ProofLevel};

/// The outcome of a whole restore. The last line says what to do next.
pub(super) fn rendered(report: &RestoreReport) -> Result<Outcome, CliError> {
    let (plan, proof) = (&report.plan, &report.proof);
    let mut text = match proof.differences.is_empty() {
        true => proven(proof),
        false => String::new(),
    };
    text.push_str(&moments(&report.moments));
    if !plan.left_out.is_empty() {
        text.push_str(&format!("left out, as asked for: {}\n", plan.left_out.join(", ")));
    }
    for warning in &proof.warnings {
        text.push_str(&format!("as in the snapshot: {warning}\n"));
    }
    if !report.without_password.is_empty() {
        let names = report.without_password.join(", ");
        text.push_str(&format!("roles made without a password, which cannot log in with one: {names}\n"));
    }
    text.push_str(&match &report.swap {
        Some(swap) => swap_text(swap, "restored"),
        None if plan.since.is_some() => {
            format!("\"{}\" is ready; to put it in place: safe-migrate restore --swap {0}\n", plan.fills)
        }
        None => format!("\"{}\" is ready\n", plan.fills),
    });
    let value = json!({
        "restore": plan,
        "proof": proof,
        "not_made": report.not_made,
        "swap": report.swap,
        "moments": report.moments,
        "roles_without_password": report.without_password,
        "run": report.run,
    });
    let outcome = Outcome::new(text, value);
    if !proof.differences.is_empty() {
        let lines: String = proof.differences.iter().map(|one| format!("\n  {one}")).collect();
        let undo = report.swap.as_ref().map(|swap| format!("safe-migrate restore --undo {}", swap.run));
        let message = format!("in service, and not the snapshot:{lines}");
        return Err(CliError::new(ErrorKind::ProductionChanged, "proof-failed", message)
            .production("the restored database is in service; the one before it is kept")
            .hint(format!("look at these tables; to put the old database back: {}", undo.unwrap_or_default()))
            .with_findings(outcome));
    }
    if report.not_made.is_empty() {
        return Ok(outcome);
    }
    let lines: String = report.not_made.iter().map(|one| format!("\n  {}: {}", one.entry, one.why)).collect();
    Err(CliError::new(ErrorKind::ProductionChanged, "restored-in-part", format!("this did not come back:{lines}"))
        .production(format!("\"{}\" is restored without it", plan.replaces.as_ref().unwrap_or(&plan.fills)))
        .hint("the snapshot has it still; look into what the server says of it")
        .with_findings(outcome))
}

/// `in service after 41 s; proven after 58 s`.
fn moments(moments: &Moments) -> String {
    let seconds = |seconds: f64| format_duration(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    let Some(in_service) = moments.in_service_seconds else { return String::new() };
    let held_back = moments.vacuum_held_back_seconds;
    let held_back = held_back.map(|time| format!("; vacuum was held back for {}", seconds(time))).unwrap_or_default();
    format!("in service after {}; proven after {}{held_back}\n", seconds(in_service), seconds(moments.proven_seconds))
}

fn proven(proof: &Proof) -> String {
    let (counted, sequences) = (&proof.counted, format_things(proof.sequences as u64, "sequence"));
    match proof.level {
        ProofLevel::Rows => {
            format!("proven: {counted} and {sequences} equal the snapshot; schema equal to plain pg_restore\n")
        }
        ProofLevel::Counts => format!(
            "proven: the row counts of {counted} and {sequences} equal the snapshot; schema equal to plain pg_restore\n\
             not proven: what is in the rows (--proof counts)\n"
        ),
    }
}

/// What points where now, and the ways on from here.
pub(super) fn swap_text(swap: &SwapReport, which: &str) -> String {
    let live = &swap.live;
    match &swap.kept {
        Some(kept) => format!(
            "\"{live}\" is the {which} database; the one before it is kept as \"{kept}\"\n\
             to go back: safe-migrate restore --undo {0}; to drop the one before: safe-migrate restore --drop-old {0}\n",
            swap.run
        ),
        None => format!("\"{live}\" is the {which} database; there was none before it\n"),
    }
}
