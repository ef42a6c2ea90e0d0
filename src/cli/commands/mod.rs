//! The commands, one file each: an `Args` struct whose doc comment is the help text, and a `run` function.

mod apply;
mod baseline;
mod completions;
mod django;
mod doctor;
mod drill;
mod exec;
mod fake;
mod history;
mod import;
mod init;
mod lint;
mod make;
mod plan;
mod rehearse;
mod rehearse_formats;
mod repair;
mod restore;
mod restore_part;
mod restore_report;
mod restore_swap;
mod rollback;
mod run_options;
mod run_report;
mod snapshot;
mod snapshot_options;
mod sqlmigrate;
mod squash;
mod status;
mod status_graph;
mod store;
mod store_keys;
mod trust;

use clap::Subcommand;

use super::context::Context;
use super::error::CliError;
use super::output::Outcome;
use crate::workflow::{Error, lift_dead_fence};
use snapshot_options::SnapshotOptions;

/// What the operator wants done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(init::Args),
    Doctor(doctor::Args),
    #[command(alias = "showmigrations")]
    Status(status::Args),
    Plan(plan::Args),
    Lint(lint::Args),
    #[command(alias = "makemigrations")]
    Make(make::Args),
    #[command(alias = "squashmigrations")]
    Squash(squash::Args),
    #[command(hide = true)]
    Sqlmigrate(sqlmigrate::Args),
    #[command(subcommand)]
    Snapshot(snapshot::Command),
    #[command(subcommand)]
    Store(store::Command),
    Drill(drill::Args),
    Rehearse(rehearse::Args),
    #[command(alias = "migrate")]
    Apply(apply::Args),
    Rollback(rollback::Args),
    Restore(restore::Args),
    Repair(repair::Args),
    Baseline(baseline::Args),
    Import(import::Args),
    Exec(exec::Args),
    History(history::Args),
    Trust(trust::Args),
    Completions(completions::Args),
}

impl Command {
    /// The name as typed, for the JSON document.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Command::Init(_) => "init",
            Command::Doctor(_) => "doctor",
            Command::Status(_) => "status",
            Command::Plan(_) => "plan",
            Command::Lint(_) => "lint",
            Command::Make(_) => "make",
            Command::Squash(_) => "squash",
            Command::Sqlmigrate(_) => "sqlmigrate",
            Command::Snapshot(command) => command.name(),
            Command::Store(command) => command.name(),
            Command::Drill(_) => "drill",
            Command::Rehearse(_) => "rehearse",
            Command::Apply(_) => "apply",
            Command::Rollback(_) => "rollback",
            Command::Restore(_) => "restore",
            Command::Repair(_) => "repair",
            Command::Baseline(_) => "baseline",
            Command::Import(_) => "import",
            Command::Exec(_) => "exec",
            Command::History(_) => "history",
            Command::Trust(_) => "trust",
            Command::Completions(_) => "completions",
        }
    }

    /// Whether the configuration file is read; the others must work where it is missing or broken.
    pub(crate) fn reads_config(&self) -> bool {
        !matches!(self, Command::Init(_) | Command::Trust(_) | Command::Completions(_))
    }

    /// Whether its purpose is to change production, so that each of its failures says what production is now.
    pub(crate) fn changes_production(&self) -> bool {
        matches!(self, Command::Apply(_) | Command::Rollback(_) | Command::Restore(_) | Command::Exec(_))
    }

    /// How a snapshot is taken, for a command that may take one.
    pub(crate) fn snapshot_options(&self) -> Option<&SnapshotOptions> {
        match self {
            Command::Snapshot(command) => command.snapshot_options(),
            Command::Rehearse(args) => Some(&args.taking),
            Command::Apply(args) => Some(&args.options.taking),
            Command::Rollback(args) => Some(&args.options.taking),
            Command::Exec(args) => Some(&args.options.taking),
            _ => None,
        }
    }

    /// Whether it goes on, in some way, when the database takes no connection.
    fn bears_a_closed_database(&self) -> bool {
        matches!(self, Command::Doctor(_) | Command::Restore(_))
    }

    /// Runs the command; once more when a dead run's fence was in its way, and is lifted now.
    pub(crate) async fn run(&self, context: &Context) -> Result<Outcome, CliError> {
        if self.bears_a_closed_database()
            && let Ok(project) = context.project_without_store()
        {
            // A server that cannot be reached is the command's own matter.
            if let Err(error @ Error::Lock(_)) = lift_dead_fence(&project, &context.operator).await {
                return Err(error.into());
            }
        }
        match self.run_once(context).await {
            Err(error) if error.is_refused_connection() => {
                let lifted = lift_dead_fence(&context.project_without_store()?, &context.operator).await?;
                if lifted { self.run_once(context).await } else { Err(error) }
            }
            result => result,
        }
    }

    async fn run_once(&self, context: &Context) -> Result<Outcome, CliError> {
        match self {
            Command::Init(args) => init::run(context, args).await,
            Command::Doctor(args) => doctor::run(context, args).await,
            Command::Status(args) => status::run(context, args).await,
            Command::Plan(args) => plan::run(context, args).await,
            Command::Lint(args) => lint::run(context, args).await,
            Command::Make(args) => make::run(context, args).await,
            Command::Squash(args) => squash::run(context, args).await,
            Command::Sqlmigrate(args) => sqlmigrate::run(context, args),
            Command::Snapshot(command) => command.run(context).await,
            Command::Store(command) => command.run(context).await,
            Command::Drill(args) => drill::run(context, args).await,
            Command::Rehearse(args) => rehearse::run(context, args).await,
            Command::Apply(args) => apply::run(context, args).await,
            Command::Rollback(args) => rollback::run(context, args).await,
            Command::Restore(args) => restore::run(context, args).await,
            Command::Repair(args) => repair::run(context, args).await,
            Command::Baseline(args) => baseline::run(context, args).await,
            Command::Import(args) => import::run(context, args).await,
            Command::Exec(args) => exec::run(context, args).await,
            Command::History(args) => history::run(context, args).await,
            Command::Trust(args) => trust::run(context, args).await,
            Command::Completions(args) => completions::run(context, args).await,
        }
    }
}
