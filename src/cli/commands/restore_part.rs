//! `restore --table`: a part of a snapshot into the live database, and the undoing of that.

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::Outcome;
use crate::report::format_things;
use crate::snapshot::SnapshotId;
use crate::workflow::Project;
use crate::workflow::recover::{
    Action, ForeignKeyCheck, Mode, PartDone, PartPlan, PartReport, PartRequest, PartUndoReport, recover, undo_part,
};

/// Options for a part of a snapshot.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "A part, into the live database")]
pub(crate) struct PartArgs {
    /// Only this table; several, each with --table, with --mode missing: rows that point to each other come in together
    #[arg(long, value_name = "[SCHEMA.]TABLE", conflicts_with_all = ["to", "in_place", "swap", "roles"])]
    pub(crate) table: Vec<String>,
    /// Only this column: its old values, joined back by primary key
    #[arg(long, value_name = "COLUMN", requires = "table")]
    pub(crate) column: Option<String>,
    /// What becomes of a table that is there: beside (left alone), replace
    /// (renamed and kept), missing (gets the rows that it lacks)
    #[arg(
        long,
        value_enum,
        value_name = "MODE",
        requires = "table",
        conflicts_with = "column",
        hide_possible_values = true
    )]
    pub(crate) mode: Option<ModeArg>,
    /// Only these rows of the snapshot
    #[arg(long = "where", value_name = "SQL", requires = "table")]
    pub(crate) condition: Option<String>,
    /// Commit after each N rows instead of once
    #[arg(long, value_name = "N", requires = "table", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) batch: Option<u64>,
}

/// `--mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeArg {
    /// A new table, the present one is left alone
    Beside,
    /// The present table is renamed and kept
    Replace,
    /// Rows that are not there are inserted
    Missing,
}

impl PartArgs {
    /// What is asked for; none when the whole database is.
    pub(crate) fn request(&self, snapshot: &SnapshotId, dry_run: bool) -> Result<Option<PartRequest>, CliError> {
        if self.table.is_empty() {
            return Ok(None);
        }
        let mode = match self.mode {
            Some(ModeArg::Replace) => Mode::Replace,
            Some(ModeArg::Missing) => Mode::Missing,
            Some(ModeArg::Beside) | None => Mode::Beside,
        };
        if self.batch.is_some() && self.column.is_none() && mode != Mode::Missing {
            let what = "--batch is for --column and --mode missing; a table is made in one transaction";
            return Err(CliError::usage("batch-of-a-table", what));
        }
        let alone = self.column.is_some() || self.condition.is_some() || self.batch.is_some();
        if self.table.len() > 1 && (alone || mode != Mode::Missing) {
            let what = "several tables come back in one run with --mode missing, without --column, --where and --batch";
            return Err(CliError::usage("several-tables", what)
                .hint("a table that is not there, or is to come back whole, has a run of its own"));
        }
        Ok(Some(PartRequest {
            snapshot: snapshot.clone(),
            tables: self.table.clone(),
            column: self.column.clone(),
            mode,
            condition: self.condition.clone(),
            batch: self.batch,
            dry_run,
            run_foreign_code: None,
            command: self.command(snapshot, mode),
        }))
    }

    fn command(&self, snapshot: &SnapshotId, mode: Mode) -> String {
        let mut command = format!("restore {snapshot}");
        for table in &self.table {
            command.push_str(&format!(" --table {table}"));
        }
        match (&self.column, mode) {
            (Some(column), _) => command.push_str(&format!(" --column {column}")),
            (None, Mode::Beside) => {}
            (None, Mode::Replace) => command.push_str(" --mode replace"),
            (None, Mode::Missing) => command.push_str(" --mode missing"),
        }
        if let Some(condition) = &self.condition {
            command.push_str(&format!(" --where \"{condition}\""));
        }
        if let Some(batch) = self.batch {
            command.push_str(&format!(" --batch {batch}"));
        }
        command
    }
}

/// Recovers a part, or says what that would do.
pub(crate) async fn run(context: &Context, project: &Project, request: &PartRequest) -> Result<Outcome, CliError> {
    let report = recover(project, request, &context.operator, context.interrupt.wish()).await?;
    Ok(rendered(&report, request))
}

fn rendered(report: &PartReport, request: &PartRequest) -> Outcome {
    let plans = &report.plans;
    let Some(done) = &report.done else {
        let lines: Vec<String> = plans.iter().flat_map(PartPlan::lines).collect();
        let text = match (request.dry_run, plans.iter().all(PartPlan::is_empty)) {
            (true, _) => format!("would {}\nnothing was changed\n", lines.join("\n")),
            (false, _) => format!("nothing to do: {}\n", lines.join("\n")),
        };
        return Outcome::new(text, planned(plans));
    };
    let mut text = made(plans, done);
    for key in plans.iter().flat_map(|plan| &plan.foreign_keys) {
        if let Some(why) = &key.left_out {
            text.push_str(&format!("foreign key {} of {} is not back: {why}\n", key.name, key.table));
        }
    }
    for note in &done.notes {
        let of = |key: &ForeignKeyCheck| key.left_out.is_some() && note.contains(&key.name);
        if !plans.iter().flat_map(|plan| &plan.foreign_keys).any(of) {
            text.push_str(&format!("{note}\n"));
        }
    }
    text.push_str(&format!("to undo: safe-migrate restore --undo {}\n", done.run.id));
    let mut value = planned(plans);
    for (name, part) in [
        ("run", json!(done.run)),
        ("changed", json!(done.changed)),
        ("saved", saved(&done.saved)),
        ("notes", json!(done.notes)),
    ] {
        value[name] = part;
    }
    Outcome::new(text, value)
}

/// `recovery` for one table, `recoveries` for several.
fn planned(plans: &[PartPlan]) -> Value {
    match plans {
        [plan] => json!({ "recovery": plan }),
        plans => json!({ "recoveries": plans }),
    }
}

/// The name of one saved table, or a list of several.
fn saved(names: &[String]) -> Value {
    match names {
        [] => Value::Null,
        [name] => json!(name),
        names => json!(names),
    }
}

/// What is done, and where what it wrote over is kept.
fn made(plans: &[PartPlan], done: &PartDone) -> String {
    let Some(plan) = plans.first() else { return String::new() };
    let rows = format_things(done.changed, "row");
    let column = plan.column.as_deref().unwrap_or_default();
    let mut text = match plan.action {
        Action::Column => format!("{column} of {} is written back in {rows}\n", plan.table),
        Action::ColumnReturns => format!("{column} of {} is back, with the values of {rows}\n", plan.table),
        Action::Missing => {
            let tables: Vec<&str> = plans.iter().map(|plan| plan.table.as_str()).collect();
            format!("{rows} inserted into {}\n", tables.join(" and "))
        }
        Action::Beside => format!("{} is made, with {rows}\n", plan.makes.as_deref().unwrap_or_default()),
        Action::TableReturns | Action::Replace => format!("{} is back, with {rows}\n", plan.table),
    };
    if !done.saved.is_empty() {
        let what = if plan.action == Action::Missing { "what was inserted" } else { "what was overwritten" };
        text.push_str(&format!("{what} is kept in {}\n", done.saved.join(" and ")));
    }
    text
}

/// `restore --undo RUN` of a recovery of a part; none when the run was no such.
pub(crate) async fn undo(context: &Context, run: &str) -> Result<Option<Outcome>, CliError> {
    let project = context.project()?;
    let report = undo_part(&project, run, &context.operator, context.interrupt.wish()).await?;
    Ok(report.as_ref().map(undone))
}

fn undone(report: &PartUndoReport) -> Outcome {
    let mut text = format!("done: {}\n", report.summary);
    if !report.saved.is_empty() {
        text.push_str(&format!("what was there is kept in {}\n", report.saved.join(" and ")));
    }
    for note in &report.notes {
        text.push_str(&format!("{note}\n"));
    }
    text.push_str(&format!("to undo that: safe-migrate restore --undo {}\n", report.run.id));
    Outcome::new(
        text,
        json!({ "undo": {
            "run": report.run, "undone": report.undone, "table": report.table, "summary": report.summary,
            "changed": report.changed, "kept": report.kept, "saved": saved(&report.saved), "notes": report.notes,
        }}),
    )
}
