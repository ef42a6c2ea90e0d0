//! `rollback`: run the down sections in production.

use super::django;
use super::fake::{self, FakeOptions};
use super::run_options::RunOptions;
use super::run_report;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::Outcome;
use crate::workflow::Selection;
use crate::workflow::adopt::FakeScope;

/// Undo migrations by their down sections
///
/// With the same care as `apply`: snapshot, rehearsal, question, verification.
/// Data that the down sections drop is lost to the database; a snapshot is taken
/// first, as before every run. To get data back, use `restore` instead: where rows
/// would be lost, or a down section is missing, the message names the snapshot and
/// what restoring it would lose. `--last` goes by the rehearsal of the run that it
/// undoes, which went down and up again, while that still matches.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate rollback menu 0005      menu/0005 stays applied
  safe-migrate rollback menu zero      undo the whole app
  safe-migrate rollback --last         undo the last run
  safe-migrate rollback --last --dry-run")]
pub(crate) struct Args {
    /// The app to roll back, with all that depends on what is undone
    #[arg(value_name = "APP", required_unless_present = "last", requires = "target")]
    pub(crate) app: Option<String>,
    /// The migration that stays applied as the last one, or `zero` for none
    #[arg(value_name = "TARGET")]
    pub(crate) target: Option<String>,
    /// Undo what the last run applied
    #[arg(long, conflicts_with_all = ["app", "target"])]
    pub(crate) last: bool,
    /// On the migrations of a Django project, by its own manage.py ([exec] django)
    #[arg(long, conflicts_with = "last")]
    pub(crate) django: bool,
    #[command(flatten)]
    pub(crate) fake: FakeOptions,
    #[command(flatten)]
    pub(crate) options: RunOptions,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    if args.django {
        return django::migrate(context, (args.app.as_deref(), args.target.as_deref()), &args.options).await;
    }
    let (selection, command) = match (&args.app, &args.target) {
        (Some(app), Some(target)) => {
            let selection = Selection::Back { app: app.clone(), target: target.clone() };
            (selection, format!("rollback {app} {target}"))
        }
        _ => (Selection::BackLast, "rollback --last".to_owned()),
    };
    if args.fake.fake {
        let asked = fake::Asked {
            selection,
            scope: FakeScope::All,
            command: format!("{command} --fake"),
            force: args.fake.force_fake.clone(),
            wait: args.options.wait,
            dry_run: args.options.dry_run,
        };
        return fake::run(context, asked).await;
    }
    run_report::run(context, &args.options, selection, command).await
}
