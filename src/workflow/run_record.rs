//! The record of a run, in the ledger and in the store: a restore swaps the ledger too, so the store has its own copy.

use std::collections::BTreeSet;
use std::path::Path;

use crate::postgres::{RunRecord, ServerClock};
use crate::report::redact;
use crate::signing::Kind;
use crate::snapshot::SnapshotId;
use crate::store::{ObjectKey, Signable, Store};

use super::{Error, Operator, Project, origin};

/// A new record of a run on the project's migrations.
pub async fn start(project: &Project, command: &str, clock: ServerClock) -> RunRecord {
    start_in(&project.migrations_dir, project, command, clock).await
}

/// A new record of a run whose files lie in this directory; its id sorts by time like a snapshot's. Dated by the server's
/// clock: the runs of one database may come from machines whose clocks differ.
pub async fn start_in(directory: &Path, project: &Project, command: &str, clock: ServerClock) -> RunRecord {
    let started_at = clock.now();
    RunRecord {
        id: SnapshotId::generate(started_at).to_string(),
        command: command.to_owned(),
        actor: project.actor.user.clone(),
        host: project.actor.host.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at,
        finished_at: None,
        outcome: None,
        plan_hash: None,
        snapshot_id: None,
        rehearsal_id: None,
        fingerprint_before: None,
        fingerprint_after: None,
        bypass: project.store.trust.accept_unsigned.as_ref().map(|why| format!("unsigned accepted: {why}")),
        error: None,
        swap: None,
        origin: Some(origin::read(directory).await),
        clock,
    }
}

/// Closes a record.
pub fn finish(record: &mut RunRecord, outcome: &str, error: Option<&Error>) {
    record.finished_at = Some(record.clock.now());
    record.outcome = Some(outcome.to_owned());
    record.error = error.map(|error| redact(&error.to_string()));
}

/// Writes `runs/<id>.json`. The source stands beside the record, because one store serves several databases.
pub async fn write(store: &Store, source: &str, record: &RunRecord) -> Result<(), Error> {
    let mut value = super::json("the record of the run", record)?;
    if let Some(object) = value.as_object_mut() {
        object.insert("source".to_owned(), source.into());
    }
    let key = ObjectKey::new(format!("runs/{}.json", record.id))?;
    let body = serde_json::to_vec_pretty(&value)
        .map_err(|source| Error::Json { what: "cannot write the record of the run".to_owned(), source })?;
    store.sign_again(Signable { kind: Kind::Run, source, key: &key, bytes: &body }).await?;
    Ok(store.put(&key, body.into()).await?)
}

/// Writes the record where that is possible: a restore must not fail, on the worst day, for a store that can only be
/// read.
pub async fn keep(store: &Store, source: &str, record: &RunRecord, operator: &dyn Operator) {
    if let Err(error) = write(store, source, record).await {
        operator.warn(&format!("run {} is not recorded in the store: {error}", record.id));
    }
}

/// The same, for a command that works without a store too.
pub async fn keep_if_possible(project: &Project, record: &RunRecord, operator: &dyn Operator) {
    if project.store.url.is_empty() {
        return;
    }
    match project.open_store().await {
        Ok(store) => keep(&store, &project.source, record, operator).await,
        Err(error) => operator.warn(&format!("run {} is not recorded in the store: {error}", record.id)),
    }
}

/// The source whose run this is, by the store's record; none when there is no store, or it has no such record.
pub async fn source_of(project: &Project, run_id: &str) -> Option<String> {
    if project.store.url.is_empty() {
        return None;
    }
    let store = project.open_store().await.ok()?;
    let body = store.get(&ObjectKey::new(format!("runs/{run_id}.json")).ok()?).await.ok()?;
    let value: serde_json::Value = serde_json::from_slice(&body).ok()?;
    Some(value.get("source")?.as_str()?.to_owned())
}

/// Ids of all runs that the store knows, of all sources.
pub async fn ids(store: &Store) -> Result<BTreeSet<String>, Error> {
    let objects = store.list("runs/").await?;
    let id = |key: &str| Some(key.strip_prefix("runs/")?.strip_suffix(".json")?.to_owned());
    Ok(objects.iter().filter_map(|object| id(object.key.as_str())).collect())
}

/// Reads the runs of a source from the store, oldest first. A record that cannot be read is left out: it is history,
/// not evidence.
pub async fn read_all(store: &Store, source: &str) -> Result<Vec<RunRecord>, Error> {
    read(store, source, usize::MAX, Belief::Anybody).await
}

/// The same without those that nobody signed who counts: what is restored goes by them.
pub async fn read_believed(store: &Store, source: &str) -> Result<Vec<RunRecord>, Error> {
    read(store, source, usize::MAX, Belief::Signed).await
}

/// The same, of the newest `limit` records of the store.
pub async fn read_newest(store: &Store, source: &str, limit: usize) -> Result<Vec<RunRecord>, Error> {
    read(store, source, limit, Belief::Anybody).await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Belief {
    Anybody,
    Signed,
}

async fn read(store: &Store, source: &str, limit: usize, belief: Belief) -> Result<Vec<RunRecord>, Error> {
    let mut keys: Vec<ObjectKey> = store.list("runs/").await?.into_iter().map(|object| object.key).collect();
    keys.retain(|key| key.as_str().ends_with(".json"));
    keys.sort_by(|a, b| b.as_str().cmp(a.as_str()));
    let mut records = Vec::new();
    for key in keys.into_iter().take(limit) {
        let body = store.get(&key).await?;
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(&body) else { continue };
        if value.get("source").and_then(serde_json::Value::as_str) != Some(source) {
            continue;
        }
        let object = Signable { kind: Kind::Run, source, key: &key, bytes: &body };
        if belief == Belief::Signed && store.signed_again_by(object).await?.is_err() {
            continue;
        }
        if let Ok(record) = serde_json::from_value::<RunRecord>(value) {
            // What it is of says its name, not its text: one that was copied to another name is another's.
            if key.as_str() == format!("runs/{}.json", record.id) {
                records.push(record);
            }
        }
    }
    // An id counts whole seconds only.
    records.sort_by(|a, b| (a.started_at, &a.id).cmp(&(b.started_at, &b.id)));
    Ok(records)
}
