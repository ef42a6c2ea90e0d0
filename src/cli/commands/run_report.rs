//! What `apply` and `rollback` print, and how their options become a request.

use std::time::Duration;

use serde_json::json;

use super::run_options::{RunFence, RunOptions};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::Outcome;
use crate::report::{format_duration, format_things};
use crate::workflow::{
    ApplyOutcome, ApplyReport, ApplyRequest, Fence, RehearsalChoice, Selection, SnapshotChoice, apply,
};

/// Runs the pipeline for a selection and renders what came of it.
pub(super) async fn run(
    context: &Context,
    options: &RunOptions,
    selection: Selection,
    command: String,
) -> Result<Outcome, CliError> {
    if options.skip_snapshot.is_some() && options.skip_rehearsal.is_none() {
        return Err(CliError::usage("no-snapshot", "a rehearsal needs a snapshot, and --skip-snapshot leaves none")
            .hint("leave --skip-snapshot out, or give --skip-rehearsal REASON as well"));
    }
    let mut project = context.project()?;
    project.execute.unclear = options.step.map(Into::into);
    let request = ApplyRequest {
        selection,
        command,
        snapshot: snapshot_choice(options)?,
        rehearsal: rehearsal_choice(options),
        accept_data_loss: options.accept_data_loss.clone(),
        accept_drift: options.accept_drift.clone(),
        accept_no_restore: options.accept_no_restore.clone(),
        fence: options.fence.map(|fence| match fence {
            RunFence::Writers => Fence::Writers,
            RunFence::Closed => Fence::Closed,
        }),
        wait: options.wait.unwrap_or(Duration::ZERO),
        dry_run: options.dry_run,
    };
    let outcome = apply(&project, &request, &context.operator, context.interrupt.wish()).await?;
    Ok(match outcome {
        ApplyOutcome::NothingToDo => Outcome::new("nothing to do\n", json!({ "run": null, "plan": { "steps": [] } })),
        ApplyOutcome::Planned(plan) => {
            let steps: Vec<String> = plan.steps.iter().map(|step| step.migration.id.to_string()).collect();
            let text = format!("would change {} (plan {})\n", steps.join(", "), plan.hash().short());
            Outcome::new(text, json!({ "run": null, "plan": { "hash": plan.hash().as_str(), "steps": steps } }))
        }
        ApplyOutcome::Done(report) => rendered(&report),
    })
}

fn rehearsal_choice(options: &RunOptions) -> RehearsalChoice {
    match &options.skip_rehearsal {
        Some(reason) => RehearsalChoice::Skip(reason.clone()),
        None => options.rehearsal.choice(),
    }
}

fn snapshot_choice(options: &RunOptions) -> Result<SnapshotChoice, CliError> {
    if let Some(reason) = &options.skip_snapshot {
        return Ok(SnapshotChoice::Skip(reason.clone()));
    }
    options.snapshot.choice()
}

fn rendered(report: &ApplyReport) -> Outcome {
    let run = &report.run;
    let steps: Vec<String> = report.plan.steps.iter().map(|step| step.migration.id.to_string()).collect();
    let taken = run.finished_at.map(|end| (end - run.started_at).unsigned_abs()).unwrap_or_default();
    let mut text =
        format!("run {}: {} in {}\n", run.id, format_things(steps.len() as u64, "migration"), format_duration(taken));
    text.push_str(&format!("  {}\n", report.verification));
    if let Some(snapshot) = &run.snapshot_id {
        text.push_str(&format!("  the way back: {}\n", report.way_back.command(snapshot)));
    }
    let value = json!({
        "run": run,
        "plan": { "hash": report.plan.hash().as_str(), "steps": steps },
        "verification": report.verification,
        "rehearsal": report.rehearsal,
        "phases": report.phases,
    });
    Outcome::new(text, value)
}
