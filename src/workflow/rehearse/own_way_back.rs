//! Rolling back the last run: its own rehearsal went down and up again, and stands for a new one while it still matches.
//!
//! It proved the down sections on the rows of then. What they would lose now is counted in production; a down section that
//! does more to rows than to drop what the run made is rehearsed anew on the rows of now.

use crate::lint::{data_loss, rule};
use crate::migration::{Direction, Plan, PlanStep};
use crate::postgres::{Session, row_counts};
use crate::report::format_things;
use crate::report::rehearsal::{CheckReport, Loss, RehearsalReport, Reversibility, Verdict, WayBack};
use crate::schema::SchemaEntry;
use crate::store::Store;

use super::super::{Error, findings};
use super::accepted_loss::refusals;
use super::direction_name;
use super::receipt::{Candidate, Expected, Receipt};
use super::stored_receipt::{self, Content};
use super::why_not::WhyNot;

/// How a statement of a down section begins whose effect on rows is to drop them with their table or column, or none.
const DROPS_OR_NOTHING: &[&str] = &["alter", "comment", "create", "drop", "grant", "reset", "revoke", "set"];

/// The rehearsal of the run that the plan undoes, as one of the plan; all but the starting schema is checked.
pub async fn own_way_back(
    store: &Store,
    id: &str,
    expected: &Expected<'_>,
    production: &Session,
) -> Result<Result<Candidate, WhyNot>, Error> {
    let (content, signed_by) = match stored_receipt::read(store, id).await? {
        Ok(read) => read,
        Err(why) => return Ok(Err(why)),
    };
    if let Some(by) = signed_by.filter(|by| by.only_receipts) {
        return Ok(Err(WhyNot::OnlyReceipts(by.name)));
    }
    if let Some(why) = expected.other_circumstances(&content) {
        return Ok(Err(why));
    }
    let report = match stored_receipt::report(store, &content).await? {
        Ok(report) => report,
        Err(why) => return Ok(Err(why)),
    };
    if let Err(why) = undoes(&content, &report, expected.plan) {
        return Ok(Err(why));
    }
    let losses = match losses_now(expected.plan, &content, production).await {
        Ok(losses) => losses,
        Err(why) => return Ok(Err(why)),
    };
    let report = turned_report(report, expected, losses);
    if !findings::denied(&report.findings).is_empty() {
        return Ok(Err(WhyNot::NotMeasured));
    }
    let content = turned(content, expected.plan);
    Ok(Ok(Candidate::new(Receipt { report, content, limited: false })))
}

/// Whether the rehearsal went the plan's way, and came to where the run began.
fn undoes(content: &Content, report: &RehearsalReport, plan: &Plan) -> Result<(), WhyNot> {
    let migrations = plan.steps.iter().rev().map(|step| &step.migration);
    let wanted: Vec<_> = migrations.map(|one| (one.id.to_string(), one.checksum.to_string())).collect();
    if content.direction != direction_name(Direction::Apply) || content.migrations != wanted {
        return Err(WhyNot::OtherPlan("it is not exactly what is rolled back".to_owned()));
    }
    if report.verdict == Verdict::Fail {
        return Err(WhyNot::Failed(report.failure.clone().unwrap_or_default()));
    }
    for (id, _) in &wanted {
        let way = report.ways_back.iter().find(|way| way.migration == *id);
        let came_back = |verdict| matches!(verdict, Reversibility::Reversible | Reversibility::ReversibleWithLoss);
        if !way.is_some_and(|way| came_back(way.verdict)) {
            return Err(WhyNot::NoWayBack(id.clone()));
        }
    }
    match plan.steps.iter().find(|step| more_than_drops(step)) {
        Some(step) => Err(WhyNot::RowsOfNow(step.migration.id.to_string())),
        None => Ok(()),
    }
}

/// Whether a step does more to rows than to drop them with their table or column, or may: nothing but running it tells what.
pub(super) fn more_than_drops(step: &PlanStep) -> bool {
    let more_to_rows = |text: &str| {
        let text = text.to_ascii_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
        let first = text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        !DROPS_OR_NOTHING.contains(&first)
            || text.contains("cascade")
            || (first == "alter" && (text.contains(" type ") || text.contains(" detach ")))
    };
    let statements = step.section().map(|section| section.statements.as_slice()).unwrap_or_default();
    statements.iter().any(|statement| more_to_rows(&statement.text))
}

/// The rows and values that the plan drops, as production has them now.
async fn losses_now(plan: &Plan, content: &Content, production: &Session) -> Result<Vec<Loss>, WhyNot> {
    let mut losses: Vec<Loss> = Vec::new();
    for finding in data_loss(plan) {
        let again = || WhyNot::RowsOfNow(finding.migration.to_string());
        for object in &finding.objects {
            let (table, column) = match (finding.code, object.split_once('.')) {
                ("drop-table", None) => (object.as_str(), None),
                ("drop-column", Some((table, column))) => (table, Some(column)),
                _ => return Err(again()),
            };
            let schemas = schemas_of(content, table, column);
            if schemas.is_empty() {
                return Err(again());
            }
            for schema in schemas {
                let amount = row_counts::in_time(production, (schema, table), column).await.map_err(|_| again())?;
                if amount > 0 {
                    losses.push(loss(format!("{schema}.{table}"), column, amount));
                }
            }
        }
    }
    Ok(losses)
}

/// Where the run made this table, or this column of it.
fn schemas_of<'a>(content: &'a Content, table: &str, column: Option<&str>) -> Vec<&'a str> {
    let is_it = |entry: &&SchemaEntry| entry.kind == "TABLE" && entry.name == table;
    let before = |after: &SchemaEntry| {
        content.starting_schema.entries().iter().filter(is_it).find(|entry| entry.schema == after.schema)
    };
    let made = |after: &&SchemaEntry| match (before(after), column) {
        (None, None) => true,
        (Some(before), Some(_)) => before.text != after.text,
        _ => false,
    };
    content.schema_after.entries().iter().filter(is_it).filter(made).map(|entry| entry.schema.as_str()).collect()
}

fn loss(table: String, column: Option<&str>, amount: u64) -> Loss {
    let (object, what) = match column {
        None => (table.clone(), format!("table {table} is gone with {}, counted now", format_things(amount, "row"))),
        Some(column) => {
            let object = format!("{table}.{column}");
            (object.clone(), format!("column {object} is gone with {}, counted now", format_things(amount, "value")))
        }
    };
    Loss { object, amount, what, samples: Vec::new(), accepted: None }
}

/// The report as that of the way back alone: what was measured of the way there is left out.
fn turned_report(report: RehearsalReport, expected: &Expected<'_>, losses: Vec<Loss>) -> RehearsalReport {
    let is_loss = |code: &str| rule(code).is_some_and(|rule| rule.subject == crate::lint::Subject::Loss);
    let mut findings = findings::of_text(expected.plan, &expected.project.policy);
    findings.retain(|finding| !is_loss(&finding.code));
    let turned = |check: CheckReport| CheckReport { before: check.after, after: check.before, ..check };
    let settled = losses.is_empty() && findings.is_empty();
    let turned = RehearsalReport {
        direction: direction_name(Direction::Rollback).to_owned(),
        plan_hash: expected.plan.hash().to_string(),
        steps: Vec::new(),
        row_changes: Vec::new(),
        value_changes: Vec::new(),
        compared: Vec::new(),
        tables: Vec::new(),
        way_back: WayBack::NotTried,
        ways_back: Vec::new(),
        checks: report.checks.into_iter().map(turned).collect(),
        verdict: if settled { Verdict::Pass } else { Verdict::PassWithFindings },
        losses,
        findings,
        ..report
    };
    RehearsalReport { refusals: refusals(&turned, expected.project), ..turned }
}

/// The same ends, the other way round.
fn turned(content: Content, plan: &Plan) -> Content {
    let migrations = plan.steps.iter().map(|step| &step.migration);
    Content {
        direction: direction_name(Direction::Rollback).to_owned(),
        plan_hash: plan.hash().to_string(),
        migrations: migrations.map(|one| (one.id.to_string(), one.checksum.to_string())).collect(),
        changes: content.starting_schema.changes_since(&content.schema_after),
        starting_schema: content.schema_after,
        schema_after: content.starting_schema,
        ..content
    }
}
