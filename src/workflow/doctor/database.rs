//! The target database: whether it can be read whole, its ledger, and what restores of it left beside it.

use std::collections::BTreeSet;

use crate::postgres::{
    DatabaseError, KeptDatabase, Ledger, LedgerError, MarkKind, RunLock, Session, catalog, database,
};
use crate::report::{format_bytes, format_list, format_time};
use crate::workflow::Project;

use super::check::{Check, explain};
use super::server::Reached;

/// Readability, ledger, unfinished runs, databases that restores left.
pub(super) async fn checks(project: &Project, reached: &Reached) -> Vec<Check> {
    let mut checks = of_the_target(project, reached).await;
    checks.push(match &reached.maintenance {
        Some(session) => left_by_restores(session, project.target.database())
            .await
            .unwrap_or_else(|error| Check::failed(RESTORES, explain(&error), None)),
        None => Check::not_tried(RESTORES, "the maintenance database"),
    });
    checks
}

const RESTORES: &str = "restores";

/// The databases beside the live one that a restore made or put aside, with what becomes of each.
async fn left_by_restores(session: &Session, live: &str) -> Result<Check, DatabaseError> {
    let mut kept = Vec::new();
    for one in KeptDatabase::all(session).await?.into_iter().filter(|one| one.live == live) {
        kept.push(format!("{} is kept for `restore --undo {}`", with_size(session, &one.name).await?, one.run));
    }
    let mut left = Vec::new();
    let mut remedies = BTreeSet::new();
    for (name, kind) in database::not_ended(session, live).await? {
        let (what, remedy) = match kind {
            MarkKind::Unfinished | MarkKind::Shadow => {
                ("half filled", "the next restore drops what is half filled".to_owned())
            }
            MarkKind::Filled => ("filled but not whole", "`restore` with `--resume` goes on with it".to_owned()),
            MarkKind::Proven => ("proven, not in service", format!("to put it in service: restore --swap {name}")),
        };
        left.push(format!("{} is {what}", with_size(session, &name).await?));
        remedies.insert(remedy);
    }
    let finding = [left.as_slice(), &kept].concat().join("; ");
    if left.is_empty() {
        return Ok(Check::ok(RESTORES, if kept.is_empty() { "none left a database".to_owned() } else { finding }));
    }
    if RunLock::is_taken(session, live).await? {
        return Ok(Check::ok(RESTORES, format!("{finding}; a run is at work now")));
    }
    Ok(Check::warn(RESTORES, finding, Vec::from_iter(remedies).join("; ")))
}

async fn with_size(session: &Session, name: &str) -> Result<String, DatabaseError> {
    let size = database::size(session, name).await?;
    Ok(format!("\"{name}\" ({})", size.map_or_else(|| "size not known".to_owned(), format_bytes)))
}

async fn of_the_target(project: &Project, reached: &Reached) -> Vec<Check> {
    let Some(session) = &reached.target else {
        return ["readable", "ledger", "runs"].map(|name| Check::not_tried(name, "the database")).to_vec();
    };
    let mut checks = vec![readable(project, session, reached.database_bytes().unwrap_or_default()).await];
    checks.extend(ledger(session, &project.ledger_owners).await);
    checks
}

async fn readable(project: &Project, session: &Session, bytes: u64) -> Check {
    const NAME: &str = "readable";
    match unreadable(session).await {
        Err(error) => Check::failed(NAME, explain(&error), None),
        Ok((tables, names)) if names.is_empty() => {
            Check::ok(NAME, format!("all of {tables} tables, {}", format_bytes(bytes)))
        }
        Ok((tables, names)) => {
            let role = project.target.user();
            let acting = catalog::acting_role(session).await.unwrap_or_else(|_| format!("role \"{role}\""));
            let finding = format!(
                "{acting} cannot read every row of {} of {tables} tables, so no snapshot can be taken: {}",
                names.len(),
                format_list(&names)
            );
            let remedy = format!(
                "as a superuser: GRANT pg_read_all_data TO \"{role}\", and ALTER ROLE \"{role}\" BYPASSRLS \
                 where tables have row-level security"
            );
            Check::failed(NAME, finding, Some(remedy))
        }
    }
}

async fn unreadable(session: &Session) -> Result<(usize, Vec<String>), DatabaseError> {
    let tables = catalog::tables(session).await?;
    Ok((tables.len(), catalog::peculiarities(session, &tables).await?.unreadable))
}

async fn ledger(session: &Session, owners: &[String]) -> [Check; 2] {
    let ledger = match Ledger::read(session).await {
        Ok(ledger) => ledger,
        Err(error) => {
            let remedy = match &error {
                LedgerError::Newer { .. } => Some("use the newer safe-migrate that wrote it".to_owned()),
                LedgerError::Database(error) if error.has_sqlstate("42501") => {
                    Some("grant the role USAGE on schema safe_migrate and SELECT on its tables".to_owned())
                }
                _ => None,
            };
            let finding = explain(&error);
            return [Check::failed("ledger", finding, remedy), Check::not_tried("runs", "the ledger")];
        }
    };
    if !ledger.present {
        let none = "none yet; the first run that writes makes it";
        return [Check::ok("ledger", none), Check::ok("runs", "none yet")];
    }
    if let Err(error) = crate::postgres::ledger::ours::check(session, owners).await {
        let remedy = "find out who made it; then drop it, give it to a role you trust (ALTER … OWNER TO), or name its owner in [ledger] owners";
        return [Check::failed("ledger", explain(&error), Some(remedy.to_owned())), unfinished(&ledger)];
    }
    let found = format!("{} migrations applied", ledger.applied.len());
    [Check::ok("ledger", found), unfinished(&ledger)]
}

fn unfinished(ledger: &Ledger) -> Check {
    let unfinished: Vec<String> = ledger
        .unfinished()
        .map(|run| format!("{} ({}, started {} on {})", run.id, run.command, format_time(run.started_at), run.host))
        .collect();
    let half_done = ledger.half_done();
    if let Some(one) = half_done.first() {
        let ids: Vec<String> = half_done.iter().map(|one| one.id.to_string()).collect();
        let finding = format!("half done outside a transaction: {}", format_list(&ids));
        let remedy = format!(
            "finish it with `safe-migrate apply`, or go back: safe-migrate restore --before {} --in-place",
            one.run_id
        );
        return Check::warn("runs", finding, remedy);
    }
    if unfinished.is_empty() {
        return Check::ok("runs", format!("{}, all of them ended", ledger.runs.len()));
    }
    let remedy =
        "if it is not running any more, look at it with `safe-migrate history RUN`, then run the command again";
    Check::warn("runs", format!("not ended: {}", format_list(&unfinished)), remedy)
}
