//! `squash`: one migration in the place of several.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::Outcome;
use crate::workflow::Operator;
use crate::workflow::author::{self, SquashRequest};

/// Put one migration in the place of several
///
/// Runs the originals from nothing in a private database, then the squash, and
/// writes it only if schema and rows come out equal. Databases that have none of the
/// originals run the squash; those that have all count it as applied; those that have
/// some go on with the originals.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate squash menu 0001 0006
  safe-migrate squash menu 0001 0006 --name initial_3_0 --dry-run")]
pub(crate) struct Args {
    /// The app
    #[arg(value_name = "APP")]
    pub(crate) app: String,
    /// The first migration: its number, its name, or a unique prefix of it
    #[arg(value_name = "FIRST")]
    pub(crate) first: String,
    /// The last one
    #[arg(value_name = "LAST")]
    pub(crate) last: String,
    /// Words of the new migration's name [default: squashed_LAST]
    #[arg(long, value_name = "N")]
    pub(crate) name: Option<String>,
    /// Leave all statements as they are
    #[arg(long)]
    pub(crate) no_optimize: bool,
    /// Show the file; write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    let project = context.project_without_store()?;
    let request = SquashRequest {
        app: args.app.clone(),
        first: args.first.clone(),
        last: args.last.clone(),
        name: args.name.clone(),
        as_they_are: args.no_optimize,
        dry_run: args.dry_run,
    };
    let squash = async { Ok(author::squash(&project, &request, &context.operator).await?) };
    let squashed = context.unless_interrupted(squash).await?;
    let file = squashed.path.strip_prefix(&context.directory).unwrap_or(&squashed.path).display().to_string();
    squashed.shortened.iter().for_each(|what| context.operator.step(&format!("  {what}")));
    if let Err(why) = &squashed.way_down {
        context.operator.warn(&format!("the squash cannot be rolled back as it should: {why}"));
    }
    let (before, after) = squashed.statements;
    let mut text = match before == after {
        true => format!("{after} statements, as many as in the originals\n"),
        false => format!("optimized from {before} statements to {after}\n"),
    };
    text.push_str(&match args.dry_run {
        true => format!("would create {file}:\n{}", squashed.text),
        false => format!(
            "created {file}: it builds the same schema and rows\n\
             leave the {} originals where they are: databases that have some of them need them;\n\
             `safe-migrate status` says on each database when it does not any more\n",
            squashed.replaces.len()
        ),
    });
    let value = json!({
        "migration": squashed.id,
        "file": file,
        "text": squashed.text,
        "replaces": squashed.replaces,
        "statements": { "before": before, "after": after },
        "shortened": squashed.shortened,
        "reversible": squashed.way_down.is_ok(),
    });
    Ok(Outcome::new(text, value))
}
