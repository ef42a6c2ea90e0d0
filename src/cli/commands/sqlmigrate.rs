//! `sqlmigrate`: the SQL of one migration, as Django's command of that name prints it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::Outcome;
use crate::migration::{MigrationId, MigrationSet, Target};
use crate::workflow::Error;

/// Print the SQL of one migration
///
/// Needs no database. `safe-migrate plan --sql` prints that of all that is pending.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate sqlmigrate menu 0004
  safe-migrate sqlmigrate menu 0004 --backwards")]
pub(crate) struct Args {
    /// The app
    #[arg(value_name = "APP")]
    pub(crate) app: String,
    /// The migration: its number, its name, or a unique prefix of it
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The SQL that undoes it
    #[arg(long)]
    pub(crate) backwards: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    let (dir, app) = context.migration_files();
    let set = MigrationSet::load(dir, app).map_err(Error::from)?;
    let known: BTreeSet<MigrationId> = set.files().map(|one| one.id.clone()).collect();
    let target = Target::resolve(&known, Some(&args.app), Some(&args.name)).map_err(Error::from)?;
    let found = match &target {
        Target::Migration(id) => set.files().find(|one| one.id == *id),
        _ => None,
    };
    let Some(migration) = found else {
        return Err(CliError::usage("no-migration", "`zero` names no migration").hint("name one, such as 0001"));
    };
    let section = if args.backwards { migration.down.as_ref() } else { Some(&migration.up) };
    let Some(section) = section else {
        let message = format!("{} has no `-- migrate:down` section", migration.id);
        return Err(
            CliError::usage("irreversible", message).hint("`safe-migrate restore` brings back what was before it")
        );
    };
    let mut text = String::new();
    // Writing to a String cannot fail.
    if let Some(program) = &section.program {
        let _ = writeln!(text, "-- THIS MIGRATION RUNS A PROGRAM: {}", program.display());
    } else {
        let framed = section.transaction;
        text.push_str(if framed { "BEGIN;\n" } else { "" });
        section.statements.iter().for_each(|one| {
            let _ = writeln!(text, "{};", one.text);
        });
        text.push_str(if framed { "COMMIT;\n" } else { "" });
    }
    let statements: Vec<&str> = section.statements.iter().map(|one| one.text.as_str()).collect();
    Ok(Outcome::new(text, json!({ "migration": migration.id, "transaction": section.transaction, "sql": statements })))
}
