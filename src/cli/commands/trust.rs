//! `trust`: directories of other users whose configuration file is read all the same.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::config::Trust;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::Outcome;

/// Read the configuration file of a directory that belongs to somebody else
///
/// A safe-migrate.toml that is found by search is read when it belongs to you, to root or, under sudo, to who called it:
/// it can name programs to run. This remembers, for your user, a directory in which another owner is expected. A file that
/// --config names is not asked about.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate trust /srv/restaurant
  safe-migrate trust --list
  safe-migrate trust --remove /srv/restaurant")]
pub(crate) struct Args {
    /// The directory of the configuration file
    #[arg(value_name = "DIR", required_unless_present = "list")]
    directory: Option<PathBuf>,

    /// Trust it no longer
    #[arg(long)]
    remove: bool,

    /// Show the directories that are trusted
    #[arg(long, conflicts_with_all = ["directory", "remove"])]
    list: bool,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    let trust = Trust::of(&context.environment);
    let Some(directory) = &args.directory else {
        let all = trust.directories();
        let text: String = all.iter().map(|one| format!("{}\n", one.display())).collect();
        return Ok(Outcome::new(text, json!({ "directories": all })));
    };
    let changed = trust.change(directory, args.remove)?;
    let text = match (args.remove, changed) {
        (false, true) => format!("{} is trusted from now on\n", directory.display()),
        (false, false) => format!("{} was trusted already\n", directory.display()),
        (true, true) => format!("{} is trusted no longer\n", directory.display()),
        (true, false) => format!("{} was not trusted\n", directory.display()),
    };
    Ok(Outcome::new(text, json!({ "directories": trust.directories() })))
}
