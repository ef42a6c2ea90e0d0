//! `import`: takes over another tool's migrations and what it has applied.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::exec::wrapped;
use super::run_options::parse_reason;
use crate::cli::config::parse_duration;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::Outcome;
use crate::migration::{ForeignTool, NamePattern};
use crate::workflow::adopt::{self, ImportFrom, ImportOutcome, ImportRequest, Imported};

/// Take over another tool's migrations, and what it has applied
///
/// Writes its migrations as files here, and what its own table says is applied into
/// the ledger. Nothing of them is run in production. In a private database all of
/// them are, and what is applied must build what production is. What has no SQL (a
/// RunPython, a Java migration) is named in the file, and lint stops at it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate import --from dbmate db/migrations
  safe-migrate import --from flyway sql --app shop --dry-run
  safe-migrate import --from django backend       the directory of manage.py
  safe-migrate import --from alembic .            the directory of alembic.ini
  safe-migrate import --from rails db             the directory of structure.sql")]
pub(crate) struct Args {
    /// The tool
    #[arg(long, value_name = "TOOL")]
    pub(crate) from: Tool,
    /// Its directory of migrations; of Django and Alembic the one where their commands are run, of Rails `db`
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// The app that they become, for tools that have none [default: the one of [migrations] app]
    #[arg(long, value_name = "APP")]
    pub(crate) app: Option<String>,
    /// The tool's own table, if it is not named as usual
    #[arg(long, value_name = "[SCHEMA.]TABLE")]
    pub(crate) table: Option<String>,
    /// How golang-migrate's files are named, as in `V{version}-{name}.{direction}.sql`
    #[arg(long, value_name = "NAME")]
    pub(crate) pattern: Option<NamePattern>,
    /// Accept that production is not what the applied ones build, for this reason
    #[arg(long, value_name = "WHY", value_parser = parse_reason)]
    pub(crate) accept_drift: Option<String>,
    /// Stop after the comparison; write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Wait this long for another run to end, for example `5m`
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    pub(crate) wait: Option<Duration>,
}

/// A tool whose history can be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tool {
    /// By its manage.py
    Django,
    /// schema_migrations
    Dbmate,
    /// _sqlx_migrations
    Sqlx,
    /// flyway_schema_history
    Flyway,
    /// schema_migrations
    GolangMigrate,
    /// By its --sql
    Alembic,
    /// goose_db_version
    Goose,
    /// _prisma_migrations
    Prisma,
    /// __diesel_schema_migrations
    Diesel,
    /// structure.sql and schema_migrations
    Rails,
}

impl From<Tool> for ImportFrom {
    fn from(tool: Tool) -> Self {
        match tool {
            Tool::Django => ImportFrom::Django,
            Tool::Alembic => ImportFrom::Alembic,
            Tool::Dbmate => ImportFrom::Files(ForeignTool::Dbmate),
            Tool::Sqlx => ImportFrom::Files(ForeignTool::Sqlx),
            Tool::Flyway => ImportFrom::Files(ForeignTool::Flyway),
            Tool::GolangMigrate => ImportFrom::Files(ForeignTool::GolangMigrate),
            Tool::Goose => ImportFrom::Files(ForeignTool::Goose),
            Tool::Prisma => ImportFrom::Files(ForeignTool::Prisma),
            Tool::Diesel => ImportFrom::Files(ForeignTool::Diesel),
            Tool::Rails => ImportFrom::Files(ForeignTool::Rails),
        }
    }
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    let project = context.project()?;
    if args.pattern.is_some() && args.from != Tool::GolangMigrate {
        return Err(CliError::usage("usage", "--pattern is for --from golang-migrate"));
    }
    let absolute = context.directory.join(&args.path);
    let words = match args.from {
        Tool::Django => context.config.exec.django.clone(),
        Tool::Alembic => ["python", "-m", "alembic"].map(str::to_owned).to_vec(),
        _ => Vec::new(),
    };
    let request = ImportRequest {
        from: args.from.into(),
        command: wrapped(context, words, absolute),
        path: args.path.clone(),
        app: args.app.clone().unwrap_or_else(|| project.default_app.clone()),
        table: args.table.clone(),
        names: args.pattern.clone(),
        accept_drift: args.accept_drift.clone(),
        wait: args.wait.unwrap_or_default(),
        dry_run: args.dry_run,
    };
    let outcome = adopt::import(&project, &request, &context.operator, context.interrupt.wish()).await?;
    Ok(match outcome {
        ImportOutcome::Planned(imported) => {
            let text = format!("would take over:\n{}", lines(&imported));
            Outcome::new(text, json!({ "run": null, "migrations": values(context, &imported) }))
        }
        ImportOutcome::Done(imported, report) => {
            let applied = imported.iter().filter(|one| one.applied).count();
            let text = format!(
                "run {}: {} migrations taken over, {applied} of them as applied; none was run\n{}",
                report.run.id,
                imported.len(),
                lines(&imported)
            );
            Outcome::new(text, json!({ "run": report.run, "migrations": values(context, &imported) }))
        }
    })
}

/// `[X] menu/0001_initial   <- 20240101120000`.
fn lines(imported: &[Imported]) -> String {
    let width = imported.iter().map(|one| one.id.to_string().len()).max().unwrap_or_default();
    let line = |one: &Imported| {
        let (mark, id) = (if one.applied { "[X]" } else { "[ ]" }, one.id.to_string());
        format!("  {mark} {id:<width$}  <- {}\n", one.key)
    };
    imported.iter().map(line).collect()
}

fn values(context: &Context, imported: &[Imported]) -> Vec<Value> {
    let value = |one: &Imported| {
        let file = one.path.strip_prefix(&context.directory).unwrap_or(&one.path).display().to_string();
        json!({
            "migration": one.id, "file": file, "key": one.key, "applied": one.applied, "not_carried": one.not_carried,
        })
    };
    imported.iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// README and CHANGELOG list the tools that there are, in the order of `--help`.
    #[test]
    fn the_tools_are_listed() {
        let name = |tool: &Tool| tool.to_possible_value().unwrap().get_name().to_owned();
        let names: Vec<String> = Tool::value_variants().iter().map(name).collect();
        let all = format!("`import --from {} PATH`", names.join("|"));
        for text in [include_str!("../../../README.md"), include_str!("../../../CHANGELOG.md")] {
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(words.contains(&all), "{all}");
        }
        for (tool, name) in Tool::value_variants().iter().zip(&names) {
            let from = ImportFrom::from(*tool);
            assert!(!matches!(from, ImportFrom::Files(files) if files.name() != name), "{name} is {from:?}");
        }
    }
}
