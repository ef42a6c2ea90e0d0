//! The record of a run, in the ledger and in the store: a restore swaps the ledger too, so the store has its own copy.

use time::OffsetDateTime;

use crate::postgres::RunRecord;
use crate::snapshot::SnapshotId;
use crate::store::{ObjectKey, Store};

use super::{Error, Project};

/// A new record; its id sorts by time like a snapshot's.
pub fn start(project: &Project, command: &str) -> RunRecord {
    let started_at = OffsetDateTime::now_utc();
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
        bypass: None,
        error: None,
    }
}

/// Closes a record.
pub fn finish(record: &mut RunRecord, outcome: &str, error: Option<&Error>) {
    record.finished_at = Some(OffsetDateTime::now_utc());
    record.outcome = Some(outcome.to_owned());
    record.error = error.map(ToString::to_string);
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
    Ok(store.put(&key, body.into()).await?)
}

/// Reads the runs of a source from the store, oldest first. A record that cannot be read is left out: it is history,
/// not evidence.
pub async fn read_all(store: &Store, source: &str) -> Result<Vec<RunRecord>, Error> {
    let mut records = Vec::new();
    for object in store.list("runs/").await? {
        let body = store.get(&object.key).await?;
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(&body) else { continue };
        if value.get("source").and_then(serde_json::Value::as_str) != Some(source) {
            continue;
        }
        if let Ok(record) = serde_json::from_value::<RunRecord>(value) {
            records.push(record);
        }
    }
    // An id counts whole seconds only.
    records.sort_by(|a, b| (a.started_at, &a.id).cmp(&(b.started_at, &b.id)));
    Ok(records)
}
