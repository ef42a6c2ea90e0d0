//! The runs so far, from the ledger and from the store: each can be away, and a restore takes the ledger back in time.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::postgres::{ConnectionError, Ledger, RunRecord};
use crate::store::{Store, StoreError};

use super::{Error, Operator, Project, lift_dead_fence, run_record};

/// One run, and where it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HistoryEntry {
    /// What is known of it.
    #[serde(flatten)]
    pub run: RunRecord,
    /// Whether the ledger of the database, as it is now, has it.
    pub in_ledger: bool,
    /// Whether the store has it.
    pub in_store: bool,
}

/// The runs against this database, newest first. Changes nothing; the store is never created.
///
/// A database or a store that cannot be read is a warning while the other one can be. A store that does not exist yet
/// has no runs, and neither has a project without one (an empty address).
pub async fn history(project: &Project, operator: &dyn Operator) -> Result<Vec<HistoryEntry>, Error> {
    let ledger = ledger_runs(project, operator).await;
    let store = store_runs(project).await;
    let (ledger, store) = match (ledger, store) {
        (Ok(ledger), Ok(store)) => (ledger, store.unwrap_or_default()),
        (Ok(ledger), Err(error)) => {
            operator.warn(&format!("runs of the ledger only: {}", explained(&error)));
            (ledger, Vec::new())
        }
        (Err(error), Ok(Some(store))) => {
            operator.warn(&format!("runs of the store only: {}", explained(&error)));
            (Vec::new(), store)
        }
        (Err(error), Ok(None)) => return Err(error),
        (Err(error), Err(other)) => {
            operator.warn(&explained(&other));
            return Err(error);
        }
    };
    Ok(merged(ledger, store))
}

async fn ledger_runs(project: &Project, operator: &dyn Operator) -> Result<Vec<RunRecord>, Error> {
    let mut session = project.target.connect("safe-migrate history").await;
    if matches!(session, Err(ConnectionError::NotAllowed { .. })) && lift_dead_fence(project, operator).await? {
        session = project.target.connect("safe-migrate history").await;
    }
    let session = session?;
    Ok(Ledger::read(&session).await?.runs)
}

/// None: there is no store.
async fn store_runs(project: &Project) -> Result<Option<Vec<RunRecord>>, Error> {
    if project.store.url.is_empty() {
        return Ok(None);
    }
    match Store::open(&project.store).await {
        Ok(store) => Ok(Some(run_record::read_all(&store, &project.source).await?)),
        Err(StoreError::NotAStore { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// An error with its causes on one line.
fn explained(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// A run that ended keeps the store's record: the one in the ledger may come from a restored database, which knows
/// the run only as it was when the snapshot was taken.
fn merged(ledger: Vec<RunRecord>, store: Vec<RunRecord>) -> Vec<HistoryEntry> {
    let entry = |run: RunRecord| HistoryEntry { run, in_ledger: true, in_store: false };
    let mut by_id: BTreeMap<String, HistoryEntry> =
        ledger.into_iter().map(|run| (run.id.clone(), entry(run))).collect();
    for run in store {
        match by_id.get_mut(&run.id) {
            Some(known) => {
                known.in_store = true;
                if run.outcome.is_some() {
                    known.run = run;
                }
            }
            None => {
                by_id.insert(run.id.clone(), HistoryEntry { run, in_ledger: false, in_store: true });
            }
        }
    }
    let mut entries: Vec<HistoryEntry> = by_id.into_values().collect();
    entries.sort_by(|a, b| (b.run.started_at, &b.run.id).cmp(&(a.run.started_at, &a.run.id)));
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn run(id: &str, outcome: Option<&str>) -> RunRecord {
        RunRecord {
            id: id.to_owned(),
            command: "apply".to_owned(),
            actor: "ada".to_owned(),
            host: "one".to_owned(),
            version: "1".to_owned(),
            started_at: datetime!(2026-11-22 14:00 UTC),
            finished_at: None,
            outcome: outcome.map(str::to_owned),
            plan_hash: None,
            snapshot_id: None,
            rehearsal_id: None,
            fingerprint_before: None,
            fingerprint_after: None,
            bypass: None,
            error: None,
            swap: None,
            origin: None,
            clock: crate::postgres::ServerClock::default(),
        }
    }

    fn seen(entries: &[HistoryEntry]) -> Vec<(&str, Option<&str>, bool, bool)> {
        entries
            .iter()
            .map(|one| (one.run.id.as_str(), one.run.outcome.as_deref(), one.in_ledger, one.in_store))
            .collect()
    }

    #[test]
    fn a_run_is_listed_once_and_a_restore_hides_none() {
        let ledger = vec![run("1", Some("done")), run("2", Some("restored")), run("3", Some("failed"))];
        let store = vec![run("2", Some("done")), run("3", None), run("4", Some("done"))];
        let expected = [
            ("4", Some("done"), false, true),
            ("3", Some("failed"), true, true),
            ("2", Some("done"), true, true),
            ("1", Some("done"), true, false),
        ];
        assert_eq!(seen(&merged(ledger, store)), expected);
    }
}
