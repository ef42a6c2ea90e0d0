//! `make`: writes migrations.

use std::path::Path;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::{CliError, ErrorKind};
use crate::cli::output::Outcome;
use crate::workflow::author::{self, EmptyRequest, Made, MakeRequest, MergeRequest, RenumberRequest};

/// Write the migrations that lead to what schema.sql wishes for
///
/// migrations/APP/schema.sql holds the schema as it shall be, in plain CREATE
/// statements. What the migrations build and what the files wish for are built in
/// private databases; the difference becomes migrations, which are run there and back
/// before they are written. Production is only asked for its version, roles and settings.
///
/// With --empty a file to be filled in, with --merge the merge of two leaves (both
/// branches are run in both orders first), with --renumber the next free number.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("what").args(["empty", "merge", "renumber", "schema", "check"]),
    after_help = "\
EXAMPLES:
  safe-migrate make                    all apps that have a schema.sql
  safe-migrate make menu --dry-run
  safe-migrate make --check            exit 3 when schema.sql and migrations differ
  safe-migrate make menu --rename menu_menuitem.name=title
  safe-migrate make menu --default \"menu_menuitem.allergens=''\"
  safe-migrate make menu --schema      write schema.sql from the migrations
  safe-migrate make menu --empty --name add_allergens
  safe-migrate make --merge
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
    /// The first schema.sql, from what the migrations build
    #[arg(long)]
    pub(crate) schema: bool,
    /// Write nothing; exit 3 when schema.sql and migrations differ
    #[arg(long)]
    pub(crate) check: bool,
    /// Words of the new migration's name
    #[arg(long, value_name = "N", conflicts_with_all = ["renumber", "schema", "check"])]
    pub(crate) name: Option<String>,
    /// This was renamed: a column (TABLE.OLD=NEW), a value of an enum (TYPE.OLD=NEW), a table or a sequence (OLD=NEW)
    #[arg(long = "rename", value_name = "T.OLD=NEW", conflicts_with = "what")]
    pub(crate) renames: Vec<String>,
    /// Nothing was renamed: what is gone is dropped, what is new is made
    #[arg(long, conflicts_with = "what")]
    pub(crate) no_renames: bool,
    /// What the rows that are there get in a new column that is NOT NULL: an SQL expression
    #[arg(long = "default", value_name = "T.COLUMN=VALUE", conflicts_with = "what")]
    pub(crate) values: Vec<String>,
    /// Show what would be written; write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    match &args.renumber {
        Some(name) => renumber(context, args, name).await,
        None if args.merge => merge(context, args).await,
        None if args.empty => empty(context, args),
        None if args.schema => schema(context, args).await,
        None => make(context, args).await,
    }
}

fn request(args: &Args) -> MakeRequest {
    MakeRequest {
        apps: args.apps.clone(),
        name: args.name.clone(),
        renames: args.renames.clone(),
        no_renames: args.no_renames,
        values: args.values.clone(),
        check: args.check,
        dry_run: args.dry_run,
    }
}

async fn make(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    let project = context.project_without_store()?;
    let request = request(args);
    let made = async { Ok(author::make(&project, &request, &context.operator).await?) };
    let migrations = match context.unless_interrupted(made).await? {
        Made::Nothing => {
            let of = if args.apps.is_empty() { String::new() } else { format!(" in {}", names(&args.apps)) };
            return Ok(Outcome::new(
                format!("No changes detected{of}\n"),
                json!({ "changes": false, "migrations": [] }),
            ));
        }
        Made::Differs(difference) => {
            return Err(CliError::new(
                ErrorKind::Gate,
                "changes",
                format!("schema.sql and migrations differ (- migrations, + schema.sql):\n{difference}"),
            )
            .hint("`safe-migrate make` writes the migration; with --dry-run it shows it"));
        }
        Made::Migrations(migrations) => migrations,
    };
    let mut text = String::new();
    let mut values = Vec::new();
    let mut app = None;
    for one in &migrations {
        if app != Some(&one.id.app) {
            text.push_str(&format!("Migrations for '{}':\n", one.id.app));
            app = Some(&one.id.app);
        }
        let file = shown(context, &one.path);
        text.push_str(&format!("  {file}\n"));
        one.operations.iter().for_each(|operation| text.push_str(&format!("    {operation}\n")));
        if let Some(why) = &one.irreversible {
            text.push_str(&format!("    no way back: {why}\n"));
        }
        if args.dry_run {
            text.push_str(
                &one.text.lines().map(|line| format!("      {line}").trim_end().to_owned() + "\n").collect::<String>(),
            );
        }
        values.push(json!({
            "migration": one.id,
            "file": file,
            "text": one.text,
            "operations": one.operations,
            "reversible": one.irreversible.is_none(),
        }));
    }
    let proven = "run in a private database: they lead to schema.sql, and back where they have a way back";
    text.push_str(&match args.dry_run {
        true => format!("{proven}; nothing was written (--dry-run)\n"),
        false => format!("{proven}\n"),
    });
    Ok(Outcome::new(text, json!({ "changes": true, "migrations": values })))
}

fn names(apps: &[String]) -> String {
    apps.iter().map(|app| format!("'{app}'")).collect::<Vec<_>>().join(", ")
}

async fn schema(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    let project = context.project_without_store()?;
    let request = request(args);
    let made = async { Ok(author::schema_files(&project, &request, &context.operator).await?) };
    let files = context.unless_interrupted(made).await?;
    if files.is_empty() {
        return Ok(Outcome::new("every app has a schema.sql\n", json!({ "files": [] })));
    }
    let mut text = String::new();
    let mut values = Vec::new();
    for one in &files {
        let file = shown(context, &one.path);
        text.push_str(&match args.dry_run {
            true => format!("would create {file}:\n{}", one.text),
            false => format!("created {file}: it builds what the migrations build\n"),
        });
        values.push(json!({ "app": one.app, "file": file, "text": one.text }));
    }
    Ok(Outcome::new(text, json!({ "files": values })))
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
