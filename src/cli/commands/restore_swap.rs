//! `restore --swap`, `--undo` and `--drop-old`: what was done before is put in place, taken back, or cleared away.

use serde_json::json;

use super::history::restore_by_word;
use super::restore::Args;
use super::restore_part;
use super::restore_report::swap_text;
use crate::cli::context::Context;
use crate::cli::error::{CliError, ErrorKind};
use crate::cli::output::Outcome;
use crate::report::format_bytes;
use crate::workflow::restore::{Choice, DropReport, choose, drop_old, knows, swap, undo};
use crate::workflow::{Project, verify_by_restore};

/// Runs the one that was asked for; none when it was none of them.
pub(super) async fn run(context: &Context, args: &Args) -> Result<Option<Outcome>, CliError> {
    let operator = &context.operator;
    if let Some(name) = &args.swap {
        let report = swap(&project(context)?, name, operator).await?;
        return Ok(Some(Outcome::new(swap_text(&report, "restored"), json!({ "swap": report }))));
    }
    if let Some(run) = &args.undo {
        let project = project(context)?;
        let run = &restore_by_word(context, &project, run).await?;
        if !knows(&project, run).await?
            && let Some(outcome) = restore_part::undo(context, run).await?
        {
            return Ok(Some(outcome));
        }
        let report = undo(&project, run, operator).await?;
        return Ok(Some(Outcome::new(swap_text(&report, "former"), json!({ "swap": report }))));
    }
    if let Some(run) = &args.prove {
        return prove(context, run).await.map(Some);
    }
    if let Some(run) = &args.drop_old {
        let project = project(context)?;
        let run = &restore_by_word(context, &project, run).await?;
        let report = drop_old(&project, run, args.confirm_name.as_deref(), operator).await?;
        return Ok(Some(Outcome::new(dropped(&report), json!({ "drop": report }))));
    }
    Ok(None)
}

/// The snapshot of a run, restored into a private server: what can be proven when the database is in use already.
async fn prove(context: &Context, word: &str) -> Result<Outcome, CliError> {
    let project = context.project()?;
    let run = restore_by_word(context, &project, word).await?;
    let store = project.open_store().await?;
    let snapshot = choose(&project, &store, &Choice::Before(run.clone()), &context.operator).await?;
    let proof = verify_by_restore(&project, &store, &snapshot, &context.operator, context.interrupt.wish()).await?;
    let value = json!({ "run": run, "snapshot": snapshot, "proof": proof });
    if proof.differences.is_empty() {
        let text = format!(
            "the stored chunks of snapshot {snapshot}, which run {run} restored, are proven: every row, and the schema\n\
             not proven: the rows of the live database, which may have changed since\n"
        );
        return Ok(Outcome::new(text, value));
    }
    let lines: String = proof.differences.iter().map(|one| format!("\n  {one}")).collect();
    let error = CliError::new(ErrorKind::Snapshot, "damaged", format!("snapshot {snapshot} is damaged:{lines}"));
    Err(error.with_findings(Outcome::new("", value)))
}

/// The store is needed for the record of the run alone.
fn project(context: &Context) -> Result<Project, CliError> {
    match context.project() {
        Err(error) if error.code == "store-missing" => context.project_without_store(),
        result => result,
    }
}

fn dropped(report: &DropReport) -> String {
    let size = report.bytes.map(|bytes| format!(" ({})", format_bytes(bytes))).unwrap_or_default();
    format!("dropped \"{}\"{size}; \"{}\" is untouched\n", report.dropped, report.live)
}
