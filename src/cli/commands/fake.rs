//! `apply --fake`, `apply --fake-initial`, `rollback --fake`: the ledger is brought to what is there.

use std::time::Duration;

use serde_json::{Value, json};

use super::run_options::parse_reason;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::Outcome;
use crate::report::format_things;
use crate::workflow::Selection;
use crate::workflow::adopt::{FakeOutcome, FakeRequest, FakeScope, Faked, fake};

/// Options of the commands that record without running.
#[derive(Debug, clap::Args)]
pub(crate) struct FakeOptions {
    /// Record without running, after checking in a private database that it is true of this one
    #[arg(long, conflicts_with = "django")]
    pub(crate) fake: bool,
    /// With --fake: without the check, for this reason; it is recorded
    #[arg(long, value_name = "REASON", requires = "fake", value_parser = parse_reason)]
    pub(crate) force_fake: Option<String>,
}

/// What is to be recorded.
pub(super) struct Asked {
    pub(super) selection: Selection,
    pub(super) scope: FakeScope,
    pub(super) command: String,
    pub(super) force: Option<String>,
    pub(super) wait: Option<Duration>,
    pub(super) dry_run: bool,
}

/// Records, and renders what was recorded.
pub(super) async fn run(context: &Context, asked: Asked) -> Result<Outcome, CliError> {
    let project = context.project()?;
    let is_back = matches!(asked.selection, Selection::Back { .. });
    let request = FakeRequest {
        selection: asked.selection,
        scope: asked.scope,
        command: asked.command,
        force: asked.force,
        wait: asked.wait.unwrap_or_default(),
        dry_run: asked.dry_run,
    };
    let outcome = fake(&project, &request, &context.operator, context.interrupt.wish()).await?;
    let state = if is_back { "not applied" } else { "applied" };
    Ok(match outcome {
        FakeOutcome::Nothing => Outcome::new("nothing to record\n", json!({ "run": null, "faked": [] })),
        FakeOutcome::Planned(faked) => {
            let text = format!("would record as {state}:\n{}", lines(&faked));
            Outcome::new(text, json!({ "run": null, "faked": values(&faked) }))
        }
        FakeOutcome::Done(faked, report) => {
            let count = format_things(faked.len() as u64, "migration");
            let text = format!("run {}: {count} recorded as {state}, none was run\n{}", report.run.id, lines(&faked));
            Outcome::new(text, json!({ "run": report.run, "faked": values(&faked) }))
        }
    })
}

fn lines(faked: &[Faked]) -> String {
    let line = |one: &Faked| match one.objects {
        Some(0) => format!("  {}\n", one.migration),
        Some(count) => format!("  {}  ({} found)\n", one.migration, format_things(count as u64, "object")),
        None => format!("  {}  (not checked)\n", one.migration),
    };
    faked.iter().map(line).collect()
}

fn values(faked: &[Faked]) -> Vec<Value> {
    faked.iter().map(|one| json!({ "migration": one.migration, "checked": one.objects.is_some() })).collect()
}
