//! `baseline`: adopts a database that is older than its history.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::config::parse_duration;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::Outcome;
use crate::report::format_things;
use crate::workflow::adopt::{self, BaselineFile, BaselineOutcome, BaselineRequest, Grouping};

/// Adopt a database that has no history yet
///
/// Reads its schema, writes 0001_initial (and schema.sql) per app, runs them from
/// nothing in a private database, and only if that comes out equal, object by object,
/// writes the files and records them as applied. Rows are no part of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate baseline                         all in one app
  safe-migrate baseline --by-prefix --dry-run   menu_dish goes to the app menu
  safe-migrate baseline --by-schema
  safe-migrate baseline --app \"menu=menu_*,dish\" --app \"orders=order*\"")]
pub(crate) struct Args {
    /// Each schema is an app
    #[arg(long, conflicts_with_all = ["by_prefix", "app"])]
    pub(crate) by_schema: bool,
    /// The part of a table's name before its first underscore is the app, as Django names tables
    #[arg(long, conflicts_with = "app")]
    pub(crate) by_prefix: bool,
    /// Objects whose names match go to this app; `*` stands for any characters
    #[arg(long, value_name = "APP=PATTERN,…", value_parser = parse_app)]
    pub(crate) app: Vec<(String, Vec<String>)>,
    /// The app of what goes to no other [default: the one of [migrations] app]
    #[arg(long, value_name = "APP")]
    pub(crate) rest: Option<String>,
    /// Stop after the proof; write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Wait this long for another run to end, for example `5m`
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    pub(crate) wait: Option<Duration>,
}

fn parse_app(text: &str) -> Result<(String, Vec<String>), String> {
    match text.split_once('=') {
        Some((app, patterns)) if !app.is_empty() && !patterns.is_empty() => {
            Ok((app.to_owned(), patterns.split(',').map(|pattern| pattern.trim().to_owned()).collect()))
        }
        _ => Err("an app and patterns are wanted, such as menu=menu_*,dish".to_owned()),
    }
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    let project = context.project()?;
    let rest = args.rest.clone().unwrap_or_else(|| project.default_app.clone());
    let grouping = match (args.by_schema, args.by_prefix, args.app.is_empty()) {
        (true, ..) => Grouping::BySchema(rest),
        (_, true, _) => Grouping::ByPrefix(rest),
        (.., true) => Grouping::One(rest),
        _ => Grouping::ByPattern(args.app.clone(), rest),
    };
    let request = BaselineRequest { grouping, wait: args.wait.unwrap_or_default(), dry_run: args.dry_run };
    let outcome = adopt::baseline(&project, &request, &context.operator, context.interrupt.wish()).await?;
    Ok(match outcome {
        BaselineOutcome::Planned(files) => {
            let text = format!("the schema can be built from these; would write:\n{}", lines(context, &files));
            Outcome::new(text, json!({ "run": null, "files": values(context, &files) }))
        }
        BaselineOutcome::Done(files, report) => {
            let migrations = files.iter().filter(|file| file.migration.is_some()).count();
            let (builds, are) = if migrations == 1 { ("builds", "is") } else { ("build", "are") };
            let text = format!(
                "run {}: {} {builds} the schema as it is, and {are} recorded as applied\n{}",
                report.run.id,
                format_things(migrations as u64, "migration"),
                lines(context, &files)
            );
            Outcome::new(text, json!({ "run": report.run, "files": values(context, &files) }))
        }
    })
}

fn shown(context: &Context, file: &BaselineFile) -> String {
    file.path.strip_prefix(&context.directory).unwrap_or(&file.path).display().to_string()
}

fn lines(context: &Context, files: &[BaselineFile]) -> String {
    let names: Vec<String> = files.iter().map(|file| shown(context, file)).collect();
    let width = names.iter().map(String::len).max().unwrap_or_default();
    let line = |(name, file): (&String, &BaselineFile)| {
        format!("  {name:<width$}  {}\n", format_things(file.statements as u64, "statement"))
    };
    names.iter().zip(files).map(line).collect()
}

fn values(context: &Context, files: &[BaselineFile]) -> Vec<Value> {
    let value = |file: &BaselineFile| json!({ "migration": file.migration, "file": shown(context, file), "statements": file.statements });
    files.iter().map(value).collect()
}
