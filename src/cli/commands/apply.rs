//! `apply`: migrate production.

use super::django;
use super::fake::{self, FakeOptions};
use super::run_options::RunOptions;
use super::run_report;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::Outcome;
use crate::workflow::adopt::FakeScope;
use crate::workflow::{Operator, Selection};

/// Snapshot, rehearse, ask, migrate and verify production
///
/// Takes and verifies a snapshot, restores it into a copy, runs the plan there,
/// asks, and only then runs the same plan in production. What was rehearsed is
/// what is applied; anything else stops with production untouched.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate apply
  safe-migrate apply --dry-run
  safe-migrate apply menu 0007 --yes
  safe-migrate apply --snapshot max-age=15m --wait 5m
  safe-migrate apply --django             Django's own migrations, by manage.py
  safe-migrate apply --fence              writers wait; a restore would lose nothing
  safe-migrate apply menu 0007 --fake     it was run by hand: check, and record it")]
pub(crate) struct Args {
    /// Only this app and what it depends on
    #[arg(value_name = "APP")]
    pub(crate) app: Option<String>,
    /// Up to this migration: its number, its name, or a unique prefix of it
    #[arg(value_name = "TARGET", requires = "app")]
    pub(crate) target: Option<String>,
    /// On the migrations of a Django project, by its own manage.py ([exec] django)
    #[arg(long)]
    pub(crate) django: bool,
    #[command(flatten)]
    pub(crate) fake: FakeOptions,
    /// Do that for the first migration of each app whose tables are there, and apply the rest
    #[arg(long, conflicts_with_all = ["fake", "django"])]
    pub(crate) fake_initial: bool,
    #[command(flatten)]
    pub(crate) options: RunOptions,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    if args.django {
        return django::migrate(context, (args.app.as_deref(), args.target.as_deref()), &args.options).await;
    }
    let words = ["apply"].into_iter().chain(args.app.as_deref()).chain(args.target.as_deref());
    let command = words.collect::<Vec<_>>().join(" ");
    let selection = Selection::Forward { app: args.app.clone(), target: args.target.clone() };
    if args.fake.fake || args.fake_initial {
        let scope = if args.fake_initial { FakeScope::Initial } else { FakeScope::All };
        let option = if args.fake_initial { "--fake-initial" } else { "--fake" };
        let faked = fake::run(
            context,
            fake::Asked {
                selection: selection.clone(),
                scope,
                command: format!("{command} {option}"),
                force: args.fake.force_fake.clone(),
                wait: args.options.wait,
                dry_run: args.options.dry_run,
            },
        )
        .await?;
        if args.fake.fake || args.options.dry_run {
            return Ok(faked);
        }
        context.operator.step(faked.text().trim_end());
    }
    run_report::run(context, &args.options, selection, command).await
}
