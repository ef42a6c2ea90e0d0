//! `exec`: any other migration command, wrapped.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::rehearse;
use super::run_options::{RunRehearsal, RunSnapshot, parse_reason};
use super::snapshot_options::SnapshotOptions;
use crate::cli::config::parse_duration;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::Outcome;
use crate::cli::project::exec_variables;
use crate::report::format_duration;
use crate::workflow::exec::{self, BackTrial, Django, ExecOutcome, ExecReport, ExecRequest, Probe, WrappedCommand};
use crate::workflow::with_accepted;

/// Wrap the migration command you have: Django, Alembic, Rails, Prisma, Knex…
///
/// Takes and verifies a snapshot, restores it into a copy, runs the command there,
/// says what it did, asks, and only then runs the same command in production. The
/// command gets the database's address in variables ([exec] env), once of the copy
/// and once of production. One that would not heed them is not started. In a git
/// repository without changes a rehearsal stands for the next run of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate exec -- python manage.py migrate
  safe-migrate exec --dir backend -- python manage.py migrate menu 0001 --yes
  safe-migrate exec --rehearse -- alembic upgrade head
  safe-migrate exec --yes -- npx knex migrate:latest")]
pub(crate) struct Args {
    /// Run the command in this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// The command runs a Django project's manage.py; found by that name without this option
    #[arg(long)]
    pub(crate) django: bool,
    #[command(flatten)]
    pub(crate) options: ExecOptions,
    /// The command and its arguments, behind `--`
    #[arg(value_name = "COMMAND", last = true, required = true)]
    pub(crate) command: Vec<String>,
}

/// When the way back is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TryBack {
    /// Unless nothing was applied before
    Auto,
    /// Never
    Skip,
    /// In any case
    Once,
}

/// How the run of a wrapped command is secured.
#[derive(Debug, clap::Args)]
pub(crate) struct ExecOptions {
    /// Stop after the rehearsal
    #[arg(long, visible_alias = "dry-run")]
    pub(crate) rehearse: bool,
    /// The snapshot to rehearse on and to fall back on: `new`, an ID, or the newest if no older than `max-age=15m`
    #[arg(long, value_name = "new|ID|max-age=DUR", default_value = "new")]
    pub(crate) snapshot: RunSnapshot,
    /// Accept a stored rehearsal of this command that still matches: the newest (`auto`), none (`new`), or the one with
    /// this ID
    #[arg(long, value_name = "auto|new|ID", default_value = "auto", conflicts_with = "rehearse")]
    pub(crate) rehearsal: RunRehearsal,
    /// Try the way back of a Django project on the copy: each app to where it stood, and up again
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = TryBack::Auto)]
    pub(crate) way_back: TryBack,
    /// Accept that the command loses data; the rehearsal prints the hash
    #[arg(long, value_name = "HASH")]
    pub(crate) accept_data_loss: Option<String>,
    /// Accept that the schema is not the one the last run left, for this reason
    #[arg(long, value_name = "WHY")]
    pub(crate) accept_drift: Option<String>,
    /// Accept that this role could not restore the snapshot, for this reason; it is recorded
    #[arg(long, value_name = "WHY", value_parser = parse_reason)]
    pub(crate) accept_no_restore: Option<String>,
    /// Wait this long for another run to end, for example `5m`
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    pub(crate) wait: Option<Duration>,
    #[command(flatten)]
    pub(crate) taking: SnapshotOptions,
    #[command(flatten)]
    pub(crate) of_apply: OptionsOfApply,
}

/// Options of `apply` that a wrapped command cannot have: they are refused by name, with the reason.
#[derive(Debug, clap::Args)]
pub(crate) struct OptionsOfApply {
    #[arg(long, hide = true, value_name = "REASON")]
    skip_snapshot: Option<String>,
    #[arg(long, hide = true, value_name = "REASON")]
    skip_rehearsal: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "writers")]
    fence: Option<String>,
    #[arg(long, hide = true)]
    step: Option<String>,
}

impl OptionsOfApply {
    fn refuse(&self) -> Result<(), CliError> {
        let copy =
            "what a wrapped command does is known only from a copy; --snapshot max-age=1h reuses one that is there";
        let own = "a wrapped command has sessions and transactions of its own; keep writers out by the application";
        let refused = [
            (self.skip_snapshot.is_some(), "--skip-snapshot", copy),
            (self.skip_rehearsal.is_some(), "--skip-rehearsal", copy),
            (self.fence.is_some(), "--fence", own),
            (self.step.is_some(), "--step", own),
        ];
        match refused.iter().find(|(given, ..)| *given) {
            Some((_, name, why)) => {
                Err(CliError::usage("exec-option", format!("exec has no {name}")).production("unchanged").hint(*why))
            }
            None => Ok(()),
        }
    }
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    args.options.of_apply.refuse()?;
    let config = &context.config.exec;
    let django = Django::of(&args.command);
    if args.django && django.is_none() {
        return Err(CliError::usage("no-manage-py", "--django, but the command runs no manage.py")
            .hint("for example: safe-migrate exec --django -- python manage.py migrate"));
    }
    let probe = match (django, &config.probe) {
        (Some(django), _) => Probe::Django(django),
        (None, Some(words)) => Probe::Program(words.clone()),
        (None, None) => {
            return Err(CliError::usage(
                "no-probe",
                "nothing shows that the command heeds the variables of [exec] env",
            )
            .production("unchanged")
            .hint(
                "name in [exec] probe a program that connects as the command does and changes nothing, such as \
                     [\"alembic\", \"current\"] or [\"npx\", \"knex\", \"migrate:currentVersion\"]",
            ));
        }
    };
    let dir = args.dir.as_ref().map_or_else(|| context.directory.clone(), |dir| context.directory.join(dir));
    let request = ExecRequest {
        command: wrapped(context, args.command.clone(), dir),
        probe,
        pending: config.pending.clone(),
        snapshot: args.options.snapshot.choice()?,
        rehearsal: args.options.rehearsal.choice(),
        way_back: match args.options.way_back {
            TryBack::Auto => BackTrial::Auto,
            TryBack::Skip => BackTrial::Skip,
            TryBack::Once => BackTrial::Once,
        },
        accept_data_loss: args.options.accept_data_loss.clone(),
        accept_drift: args.options.accept_drift.clone(),
        accept_no_restore: args.options.accept_no_restore.clone(),
        wait: args.options.wait.unwrap_or_default(),
        rehearse_only: args.options.rehearse,
    };
    run_request(context, &request).await
}

/// A command with the environment that `[exec]` gives it.
pub(super) fn wrapped(context: &Context, words: Vec<String>, dir: PathBuf) -> WrappedCommand {
    let config = &context.config.exec;
    WrappedCommand { words, dir, templates: config.env.clone(), passed: exec_variables(&config.pass) }
}

/// Runs the pipeline and renders what came of it.
pub(super) async fn run_request(context: &Context, request: &ExecRequest) -> Result<Outcome, CliError> {
    let project = context.project()?;
    let outcome = exec::exec(&project, request, &context.operator, context.interrupt.wish()).await?;
    Ok(match outcome {
        ExecOutcome::NothingPending(words) => {
            let text = format!("nothing to do: by `{words}` nothing is pending; no snapshot was taken\n");
            Outcome::new(text, json!({ "run": null, "rehearsal": null, "asked": words }))
        }
        ExecOutcome::NothingToDo(report) => Outcome::new(
            "nothing to do: on the copy the command changed nothing, so it was not run in production\n",
            json!({ "run": null, "rehearsal": report }),
        ),
        ExecOutcome::Rehearsed(report) => {
            let text = format!("rehearsed, and production is unchanged ({})\n", report.id);
            let report = with_accepted(*report, request.accept_data_loss.as_deref(), &project);
            return rehearse::concluded(context, &report, text);
        }
        ExecOutcome::Done(report) => rendered(&report),
    })
}

fn rendered(report: &ExecReport) -> Outcome {
    let run = &report.run;
    let taken = run.finished_at.map(|end| (end - run.started_at).unsigned_abs()).unwrap_or_default();
    let mut text = format!("run {}: the command went through, in {}\n", run.id, format_duration(taken));
    for one in &report.applied {
        text.push_str(&format!("  {one}\n"));
    }
    text.push_str(&format!("  {}\n", report.verification));
    if let Some(snapshot) = &run.snapshot_id {
        text.push_str(&format!("  the way back: {}\n", report.way_back.command(snapshot)));
    }
    let value = json!({
        "run": run,
        "applied": report.applied,
        "verification": report.verification,
        "rehearsal": report.rehearsal,
        "phases": report.phases,
    });
    Outcome::new(text, value)
}
