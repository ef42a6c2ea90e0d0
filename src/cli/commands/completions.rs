//! `completions`: the words that a shell completes.

use clap::CommandFactory;
use clap_complete::Shell;
use serde_json::json;

use crate::cli::arguments::Arguments;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::Outcome;

/// Print the completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate completions bash > safe-migrate.bash
  safe-migrate completions fish > safe-migrate.fish")]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) async fn run(_context: &Context, args: &Args) -> Result<Outcome, CliError> {
    // Generated into memory: clap_complete panics when a pipe breaks.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "safe-migrate", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let value = json!({ "shell": args.shell.to_string(), "script": &script });
    Ok(Outcome::new(script, value))
}
