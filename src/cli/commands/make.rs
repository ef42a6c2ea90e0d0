//! `make`: writes migration files.

use std::path::Path;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::Outcome;
use crate::workflow::author::{self, EmptyRequest, MergeRequest, RenumberRequest};

/// Write a migration: an empty one, a merge of two leaves, or a new number
///
/// A merge is proven first: both branches run in both orders in private databases,
/// and schema and rows must come out equal. Nothing is written where they clash.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("what").required(true).args(["empty", "merge", "renumber"]),
    after_help = "\
EXAMPLES:
  safe-migrate make menu --empty --name add_allergens
  safe-migrate make --merge
  safe-migrate make menu --merge --dry-run
  safe-migrate make menu --renumber 0004_calories"
)]
pub(crate) struct Args {
    /// Only these apps
    #[arg(value_name = "APP")]
    pub(crate) apps: Vec<String>,
    /// A file to be filled in, with header, up and down
    #[arg(long)]
    pub(crate) empty: bool,
    /// A migration that depends on both leaves of an app, if they commute
    #[arg(long)]
    pub(crate) merge: bool,
    /// The next free number for this migration, which is applied nowhere
    #[arg(long, value_name = "NAME")]
    pub(crate) renumber: Option<String>,
    /// Words of the new migration's name
    #[arg(long, value_name = "N", conflicts_with = "renumber")]
    pub(crate) name: Option<String>,
    /// Show what would be written; write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    match &args.renumber {
        Some(name) => renumber(context, args, name).await,
        None if args.merge => merge(context, args).await,
        None => empty(context, args),
    }
}

fn one_app(args: &Args) -> Result<&str, CliError> {
    match args.apps.as_slice() {
        [app] => Ok(app),
        _ => Err(CliError::usage("one-app", "name the one app that it is for")
            .hint("for example: safe-migrate make menu --empty --name add_allergens")),
    }
}

fn shown(context: &Context, path: &Path) -> String {
    path.strip_prefix(&context.directory).unwrap_or(path).display().to_string()
}

fn empty(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    let app = one_app(args)?.to_owned();
    let request = EmptyRequest { app, name: args.name.clone(), dry_run: args.dry_run };
    // No database is needed for it.
    let (id, path, text) = author::empty(context.migration_files(), &request)?;
    let file = shown(context, &path);
    let said = match args.dry_run {
        true => format!("would create {file}:\n{text}"),
        false => format!("created {file}\n"),
    };
    Ok(Outcome::new(said, json!({ "migrations": [{ "migration": id, "file": file, "text": text }] })))
}

async fn merge(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    let project = context.project_without_store()?;
    let request = MergeRequest { apps: args.apps.clone(), name: args.name.clone(), dry_run: args.dry_run };
    let merged = async { Ok(author::merge(&project, &request, &context.operator).await?) };
    let merged = context.unless_interrupted(merged).await?;
    if merged.is_empty() {
        return Ok(Outcome::new("No conflicts detected to merge.\n", json!({ "migrations": [] })));
    }
    let mut text = String::new();
    let mut values = Vec::new();
    for one in &merged {
        let file = shown(context, &one.path);
        let proven = "both orders lead to the same schema and rows";
        text.push_str(&match args.dry_run {
            true => format!("{proven}; would create {file}:\n{}", one.text),
            false => format!("{proven}; created {file}\n"),
        });
        values.push(json!({ "migration": one.id, "file": file, "text": one.text, "leaves": one.leaves }));
    }
    Ok(Outcome::new(text, json!({ "migrations": values })))
}

async fn renumber(context: &Context, args: &Args, name: &str) -> Result<Outcome, CliError> {
    let project = context.project_without_store()?;
    let request = RenumberRequest { app: one_app(args)?.to_owned(), name: name.to_owned(), dry_run: args.dry_run };
    let done = async { Ok(author::renumber(&project, &request).await?) };
    let done = context.unless_interrupted(done).await?;
    let would = if args.dry_run { "would rename" } else { "renamed" };
    let mut text = format!("{would} {} to {}\n", done.from, shown(context, &done.path));
    let named_in: Vec<String> = done.named_in.iter().map(|path| shown(context, path)).collect();
    named_in.iter().for_each(|file| text.push_str(&format!("  and its name in {file}\n")));
    text.push_str(&format!("it is not applied in \"{}\"; other databases were not asked\n", done.database));
    Ok(Outcome::new(text, json!({ "from": done.from, "to": done.to, "named_in": named_in })))
}
