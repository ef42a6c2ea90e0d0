//! `plan`: the steps that a run would take.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::django;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::Outcome;
use crate::lint::{self, Finding};
use crate::migration::{Direction, Plan, PlanStep};
use crate::workflow::{Error, Operator, Selection, State};

/// Show the steps that `apply` or `rollback` would take, in order
///
/// Reads the ledger and the migration files; changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate plan
  safe-migrate plan menu 0007
  safe-migrate plan --sql > plan.sql
  safe-migrate plan menu 0005 --rollback")]
pub(crate) struct Args {
    /// Only this app and what it depends on
    #[arg(value_name = "APP")]
    pub(crate) app: Option<String>,
    /// Up to this migration: its number, its name, or a unique prefix of it
    #[arg(value_name = "TARGET", requires = "app")]
    pub(crate) target: Option<String>,
    /// Print the SQL of each step
    #[arg(long)]
    pub(crate) sql: bool,
    /// Plan backwards from the ledger's state down to TARGET (a migration, or `zero`)
    #[arg(long, requires = "target")]
    pub(crate) rollback: bool,
    /// Of the migrations of a Django project, by its own manage.py ([exec] django)
    #[arg(long, conflicts_with_all = ["target", "rollback"])]
    pub(crate) django: bool,
}

impl Args {
    fn selection(&self) -> Selection {
        selection(self.app.as_deref(), self.target.as_deref(), self.rollback)
    }
}

/// What `plan` and `rehearse` were asked for; clap makes sure that `--rollback` has an app and a target.
pub(super) fn selection(app: Option<&str>, target: Option<&str>, rollback: bool) -> Selection {
    match (app, target) {
        (Some(app), Some(target)) if rollback => Selection::Back { app: app.to_owned(), target: target.to_owned() },
        _ => Selection::Forward { app: app.map(str::to_owned), target: target.map(str::to_owned) },
    }
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    if args.django {
        return django::plan(context, args.app.as_deref(), args.sql).await;
    }
    let project = context.project_without_store()?;
    let plan = context
        .unless_interrupted(async {
            let session = project.target.connect("safe-migrate plan").await.map_err(Error::from)?;
            let state = State::read(&project, &session).await?;
            state.refuse_mixed(&project).await?;
            let plan = state.plan(&args.selection())?;
            state.refuse_disagreement(&plan)?;
            state.refuse_half_done(&plan)?;
            for one in state.ledger.half_done() {
                context.operator.warn(&state.half_done_in_words(&one));
            }
            Ok(plan)
        })
        .await?;
    let findings = lint::data_loss(&plan);
    let directory = &context.directory;
    let text = match args.sql {
        true => sql(&plan, directory),
        false => steps(&plan, &findings, directory),
    };
    Ok(Outcome::new(text, value(&plan, &findings, directory, args.sql)))
}

fn title(plan: &Plan) -> String {
    let verb = match plan.direction {
        Direction::Apply => "apply",
        Direction::Rollback => "roll back",
    };
    let count = plan.steps.len();
    format!("plan {}: {verb} {count} migration{}", plan.hash().short(), if count == 1 { "" } else { "s" })
}

fn statements(step: &PlanStep) -> usize {
    step.section().map_or(0, |section| section.statements.len())
}

fn in_transaction(step: &PlanStep) -> bool {
    step.section().is_none_or(|section| section.transaction)
}

/// `3 statements, in one transaction`.
fn manner(step: &PlanStep) -> String {
    if let Some(program) = step.section().and_then(|section| section.program.as_ref()) {
        return format!("runs {}", program.display());
    }
    let count = statements(step);
    let how = if in_transaction(step) { "in one transaction" } else { "outside a transaction" };
    format!("{count} statement{}, {how}", if count == 1 { "" } else { "s" })
}

fn steps(plan: &Plan, findings: &[Finding], directory: &Path) -> String {
    if plan.is_empty() {
        return "nothing to do\n".to_owned();
    }
    let mut text = format!("{}\n", title(plan));
    let width = plan.steps.iter().map(|step| step.migration.id.to_string().len()).max().unwrap_or_default();
    for (number, step) in plan.steps.iter().enumerate() {
        let id = step.migration.id.to_string();
        let _ = writeln!(text, "{:>4}. {id:<width$}  {}", number + 1, manner(step));
        for note in &step.migration.breaking {
            let _ = writeln!(text, "      breaks: {note}");
        }
        for finding in findings.iter().filter(|finding| finding.migration == step.migration.id) {
            let place = format!("{}:{}", shown(&finding.file, directory), finding.line);
            let _ = writeln!(text, "      {place}: {} [{}]", finding.message, finding.code);
            if let Some(why) = &finding.allowed {
                let _ = writeln!(text, "        allowed: {why}");
            }
        }
    }
    text
}

/// A path as the operator types it.
fn shown(path: &Path, directory: &Path) -> String {
    path.strip_prefix(directory).unwrap_or(path).display().to_string()
}

/// The plan as a file for `psql` and for reviewers; what is not SQL is a comment.
fn sql(plan: &Plan, directory: &Path) -> String {
    if plan.is_empty() {
        return "-- nothing to do\n".to_owned();
    }
    let mut text = format!("-- {}\n", title(plan));
    for step in &plan.steps {
        let _ = write!(text, "\n-- {}: {}\n", step.migration.id, manner(step));
        for note in &step.migration.breaking {
            let _ = writeln!(text, "-- breaks: {note}");
        }
        let path = shown(&step.migration.path, directory);
        let sections = step.section().into_iter().filter(|section| section.program.is_none());
        for statement in sections.flat_map(|section| &section.statements) {
            let _ = writeln!(text, "-- {path}:{}\n{};", statement.line, statement.text);
        }
    }
    text
}

fn value(plan: &Plan, findings: &[Finding], directory: &Path, with_sql: bool) -> Value {
    let steps: Vec<Value> = plan
        .steps
        .iter()
        .map(|step| {
            let mut value = json!({
                "migration": step.migration.id,
                "file": shown(&step.migration.path, directory),
                "transaction": in_transaction(step),
                "statements": statements(step),
                "breaking": step.migration.breaking,
                "reversible": step.migration.down.is_some(),
            });
            if with_sql {
                let statements = step.section().map(|section| section.statements.as_slice()).unwrap_or_default();
                let sql: Vec<Value> =
                    statements.iter().map(|one| json!({ "line": one.line, "text": one.text })).collect();
                value["sql"] = sql.into();
            }
            value
        })
        .collect();
    let findings: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "code": finding.code,
                "message": finding.message,
                "migration": finding.migration,
                "file": shown(&finding.file, directory),
                "line": finding.line,
                "allowed": finding.allowed,
            })
        })
        .collect();
    json!({
        "plan": { "direction": plan.direction, "hash": plan.hash().as_str(), "steps": steps },
        "findings": findings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migration::{Migration, MigrationSet};

    fn plan(text: &str) -> Plan {
        let id = "menu/0001_x".parse().unwrap();
        let migration = Migration::parse(id, "/p/migrations/menu/0001_x.sql".into(), text.as_bytes()).unwrap();
        MigrationSet::new(vec![migration]).unwrap().plan_apply(&[], None, None).unwrap()
    }

    #[test]
    fn the_sql_names_file_and_line_of_each_statement() {
        let plan = plan("-- breaking: old readers\n-- migrate:up transaction:false\nSELECT 1; -- one\n\nSELECT 2\n");
        let text = sql(&plan, Path::new("/p"));
        let body = text.split_once("\n\n").unwrap().1;
        let expected = "-- menu/0001_x: 2 statements, outside a transaction\n\
                        -- breaks: old readers\n\
                        -- migrations/menu/0001_x.sql:3\nSELECT 1;\n\
                        -- migrations/menu/0001_x.sql:5\nSELECT 2;\n";
        assert_eq!(body, expected);
    }

    #[test]
    fn steps_show_what_breaks_and_what_is_lost() {
        let plan = plan("-- breaking: old readers\n-- allow: drop-table unused\n-- migrate:up\nDROP TABLE a;\n");
        let text = steps(&plan, &lint::data_loss(&plan), Path::new("/p"));
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines[..2], ["   1. menu/0001_x  1 statement, in one transaction", "      breaks: old readers"]);
        assert!(lines[2].starts_with("      migrations/menu/0001_x.sql:4: ") && lines[2].ends_with("[drop-table]"));
        assert_eq!(lines[3..], ["        allowed: unused"]);
    }
}
