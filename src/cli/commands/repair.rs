//! `repair`: the file of an applied migration was changed, and builds the same.

use std::time::Duration;

use serde_json::json;

use crate::cli::config::parse_duration;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::Outcome;
use crate::workflow::adopt::{self, RepairOutcome, RepairRequest};

/// Accept the changed file of an applied migration, if it builds the same
///
/// Every run stops at an applied file that was changed. Where the change means
/// nothing (a comment, another spelling), this runs both texts in private databases,
/// and lets the ledger take the file's when schema and rows come out equal.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate repair menu 0004
  safe-migrate repair menu 0004_menus --dry-run")]
pub(crate) struct Args {
    /// The app
    #[arg(value_name = "APP")]
    pub(crate) app: String,
    /// The migration: its number, its name, or a unique prefix of it
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Stop after the comparison
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Wait this long for another run to end, for example `5m`
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    pub(crate) wait: Option<Duration>,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    let project = context.project()?;
    let request = RepairRequest {
        app: args.app.clone(),
        name: args.name.clone(),
        wait: args.wait.unwrap_or_default(),
        dry_run: args.dry_run,
    };
    let outcome = adopt::repair(&project, &request, &context.operator, context.interrupt.wish()).await?;
    Ok(match outcome {
        RepairOutcome::NotChanged(id) => {
            Outcome::new(format!("nothing to repair: the file of {id} is what was applied\n"), json!({ "run": null }))
        }
        RepairOutcome::Equal(id) => Outcome::new(
            format!("{id}: both texts build the same; the ledger would take the file's\n"),
            json!({ "run": null, "repaired": id }),
        ),
        RepairOutcome::Done(id, report) => Outcome::new(
            format!("run {}: the ledger has the file's text of {id}; both build the same\n", report.run.id),
            json!({ "run": report.run, "repaired": id }),
        ),
    })
}
