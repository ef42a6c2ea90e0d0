//! What a restore and a swap came to, in words and in JSON.

use serde_json::json;

use crate::cli::output::Outcome;
use crate::report::format_things;
use crate::workflow::restore::{RestoreReport, SwapReport};
use crate::workflow::{Proof, ProofLevel};

/// The outcome of a whole restore. The last line says what to do next.
pub(super) fn rendered(report: &RestoreReport) -> Outcome {
    let (plan, proof) = (&report.plan, &report.proof);
    let mut text = proven(proof);
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
        "swap": report.swap,
        "roles_without_password": report.without_password,
        "run": report.run,
    });
    Outcome::new(text, value)
}

fn proven(proof: &Proof) -> String {
    let (rows, tables) = (format_things(proof.rows, "row"), format_things(proof.tables as u64, "table"));
    let sequences = format_things(proof.sequences as u64, "sequence");
    match proof.level {
        ProofLevel::Rows => {
            format!("proven: {rows} in {tables} and {sequences} equal the snapshot; schema equal to plain pg_restore\n")
        }
        ProofLevel::Counts => format!(
            "proven: the row counts of {tables} ({rows}) and {sequences} equal the snapshot; schema equal to plain pg_restore\n\
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
