//! The command line: the commands and the options that all of them take.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::commands::Command;
use crate::signing::PublicKey;

/// Change the schema of a PostgreSQL database that you cannot afford to lose.
///
/// Every run takes a verified snapshot first, rehearses the migrations on a copy
/// restored from it, and can be undone by one command.
#[derive(Debug, Parser)]
#[command(
    name = "safe-migrate",
    version,
    max_term_width = 80,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "\
EXAMPLES:
  safe-migrate init            write safe-migrate.toml
  safe-migrate doctor          is everything in place?
  safe-migrate rehearse        try the pending migrations on a copy
  safe-migrate apply           snapshot, rehearse, ask, migrate, verify
  safe-migrate restore         choose a snapshot and put it back

EXIT CODES:
  0    done, or nothing to do
  1    failed; production unchanged
  2    wrong command line or configuration
  3    a gate refused, or --check found something
  4    production changed and needs attention
  5    another run holds the lock
  6    snapshot or store unreachable, incomplete or damaged
  130  interrupted; production unchanged"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: GlobalArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArguments {
    /// Read this file instead of the nearest safe-migrate.toml [env: SAFE_MIGRATE_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The database: a URL, or what else libpq takes [env: SAFE_MIGRATE_DATABASE_URL, then DATABASE_URL]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) database: Option<String>,
    /// Name under which snapshots are kept [default: the database's name]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// Directory of the migration files [default: migrations]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) migrations: Option<PathBuf>,
    /// Where snapshots live: s3://BUCKET/PREFIX or a directory
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// Believe what this key signed, besides the keys of [trust] [env: SAFE_MIGRATE_TRUST_KEY]
    #[arg(long, global = true, value_name = "KEY")]
    pub(crate) trust_key: Vec<PublicKey>,
    /// Believe what is not signed, in this run; the reason is recorded
    #[arg(long, global = true, value_name = "WHY")]
    pub(crate) accept_unsigned: Option<String>,
    /// Number of parallel workers
    #[arg(long, global = true, value_name = "N", value_parser = parse_jobs)]
    pub(crate) jobs: Option<usize>,
    /// Print one JSON document on stdout, also on failure
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Answer yes to every question
    #[arg(long, global = true)]
    pub(crate) yes: bool,
    /// No progress; warnings and errors are still printed
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Log what happens inside; twice for more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to use colour: auto, always or never
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN", hide_possible_values = true)]
    pub(crate) color: ColorChoice,
    /// Never ask, even on a terminal
    #[arg(long, global = true, alias = "noinput")]
    pub(crate) no_input: bool,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Also through a pipe
    Always,
    /// Not even on a terminal
    Never,
}

fn parse_jobs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(jobs @ 1..=64) => Ok(jobs),
        _ => Err("a number from 1 to 64 is wanted".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// Every command with its long help, subcommands included: ("snapshot create", help, has subcommands).
    fn helps() -> Vec<(String, String, bool)> {
        fn collect(command: &mut clap::Command, path: &str, into: &mut Vec<(String, String, bool)>) {
            let is_group = command.has_subcommands();
            into.push((path.to_string(), command.render_long_help().to_string(), is_group));
            for child in command.get_subcommands_mut() {
                let path = format!("{path} {}", child.get_name());
                collect(child, &path, into);
            }
        }
        let mut command = Arguments::command();
        command.build();
        let mut helps = Vec::new();
        collect(&mut command, "safe-migrate", &mut helps);
        helps
    }

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_help_fits_eighty_columns() {
        for (path, help, _) in helps() {
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{path}: {line}");
            }
        }
    }

    #[test]
    fn every_command_shows_an_example_of_itself_that_parses() {
        for (path, help, is_group) in helps() {
            assert!(help.contains("EXAMPLES:"), "{path}");
            let examples: Vec<&str> =
                help.lines().filter_map(|line| line.strip_prefix("  safe-migrate ")).map(str::trim).collect();
            assert!(!examples.is_empty(), "{path}");
            for example in examples {
                // Two blanks or more divide the command from its explanation.
                let words = example.split("  ").next().unwrap_or_default();
                let words = words.split(" >").next().unwrap_or_default();
                let line = format!("safe-migrate {words}");
                assert!(is_group || line.starts_with(&path), "{path} shows {line}");
                Arguments::try_parse_from(shell_words(&line)).unwrap_or_else(|error| panic!("{line}: {error}"));
            }
        }
    }

    /// Splits at blanks, with double quotes around a word that holds some.
    fn shell_words(line: &str) -> Vec<String> {
        let parts = line.split('"').enumerate();
        parts
            .flat_map(|(at, part)| match at % 2 {
                0 => part.split_whitespace().map(str::to_string).collect(),
                _ => vec![part.to_string()],
            })
            .collect()
    }

    fn parses(line: &str) -> bool {
        Arguments::try_parse_from(shell_words(&format!("safe-migrate {line}"))).is_ok()
    }

    #[test]
    fn contradictions_are_refused() {
        for line in [
            "apply --snapshot new --skip-snapshot why",
            "apply --snapshot max-age=soon",
            "apply --skip-snapshot \" \"",
            "apply --wait soon",
            "rollback",
            "rollback menu",
            "rollback menu zero --last",
            "restore latest --before last-apply",
            "restore latest --to copy --in-place",
            "restore --swap copy --in-place",
            "restore --swap copy latest",
            "rehearse --rollback",
            "plan --rollback menu",
            "--jobs 0 status",
            "snapshot verify",
            "snapshot verify latest --sample 3/2",
            "snapshot create --compression 0",
            "apply --compression 20",
            "snapshot create --max-rate fast",
            "rehearse --compression fast",
            "status --compression 3",
        ] {
            assert!(!parses(line), "{line}");
        }
        for line in [
            "rollback --last --compression 19",
            "status --json --jobs 2",
            "rollback --last --yes",
            "restore --before last-apply --in-place",
        ] {
            assert!(parses(line), "{line}");
        }
    }
}
