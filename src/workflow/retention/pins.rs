//! Snapshots that somebody wants to keep: `pins/<id>.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::snapshot::{SnapshotId, SnapshotReader};
use crate::store::{ObjectKey, Store};

use super::super::{Error, Project};

/// Why a snapshot is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The reason that was given.
    pub why: String,
    /// Who pinned it.
    pub by: String,
    /// When (UTC).
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

fn key(id: &SnapshotId) -> Result<ObjectKey, Error> {
    Ok(ObjectKey::new(format!("pins/{id}.json"))?)
}

/// Pins a snapshot that is there; over an older pin.
pub async fn pin(project: &Project, store: &Store, id: &SnapshotId, why: &str) -> Result<Pin, Error> {
    SnapshotReader::open(store, id).await?;
    let by = format!("{}@{}", project.actor.user, project.actor.host);
    let pin = Pin { why: why.to_owned(), by, at: OffsetDateTime::now_utc() };
    let body = serde_json::to_vec_pretty(&pin)
        .map_err(|source| Error::Json { what: "cannot write the pin".to_owned(), source })?;
    store.put(&key(id)?, body.into()).await?;
    Ok(pin)
}

/// Takes the pin off; false: there was none.
pub async fn unpin(store: &Store, id: &SnapshotId) -> Result<bool, Error> {
    let key = key(id)?;
    let there = store.size(&key).await?.is_some();
    store.delete(&key).await?;
    Ok(there)
}

/// Whether it is pinned now.
pub(super) async fn is_pinned(store: &Store, id: &SnapshotId) -> Result<bool, Error> {
    Ok(store.size(&key(id)?).await?.is_some())
}

/// Every pin of the store. One that cannot be read pins too.
pub async fn pins(store: &Store) -> Result<BTreeMap<SnapshotId, Pin>, Error> {
    let mut found = BTreeMap::new();
    for object in store.list("pins").await? {
        let name = object.key.as_str().strip_prefix("pins/").and_then(|name| name.strip_suffix(".json"));
        let Some(Ok(id)) = name.map(SnapshotId::parse) else { continue };
        let body = store.get(&object.key).await?;
        let unread = || Pin { why: "(its pin cannot be read)".to_owned(), by: String::new(), at: id.begun_at() };
        let mut pin: Pin = serde_json::from_slice(&body).unwrap_or_else(|_| unread());
        // One line of a list each, whoever wrote it.
        pin.why = pin.why.split_whitespace().collect::<Vec<_>>().join(" ");
        found.insert(id, pin);
    }
    Ok(found)
}
