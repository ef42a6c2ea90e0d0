//! `restore --swap`, `--undo` and `--drop-old`: what was done before is put in place, taken back, or cleared away.

use serde_json::json;

use super::restore::Args;
use super::restore_part;
use super::restore_report::swap_text;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::Outcome;
use crate::report::format_bytes;
use crate::workflow::Project;
use crate::workflow::restore::{DropReport, drop_old, knows, swap, undo};

/// Runs the one that was asked for; none when it was none of them.
pub(super) async fn run(context: &Context, args: &Args) -> Result<Option<Outcome>, CliError> {
    let operator = &context.operator;
    if let Some(name) = &args.swap {
        let report = swap(&project(context)?, name, operator).await?;
        return Ok(Some(Outcome::new(swap_text(&report, "restored"), json!({ "swap": report }))));
    }
    if let Some(run) = &args.undo {
        let project = project(context)?;
        if !knows(&project, run).await?
            && let Some(outcome) = restore_part::undo(context, run).await?
        {
            return Ok(Some(outcome));
        }
        let report = undo(&project, run, operator).await?;
        return Ok(Some(Outcome::new(swap_text(&report, "former"), json!({ "swap": report }))));
    }
    if let Some(run) = &args.drop_old {
        let report = drop_old(&project(context)?, run, args.confirm_name.as_deref(), operator).await?;
        return Ok(Some(Outcome::new(dropped(&report), json!({ "drop": report }))));
    }
    Ok(None)
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
