//! What a writer says in the store before its manifest is there, so that no sweep takes away what it rests on.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::store::{ObjectKey, Store, StoreError};

use super::{ChunkKey, SnapshotError, SnapshotId, Tag};

/// How long after its beginning a snapshot without a manifest is given up. Its writer finds that out.
pub(super) const GIVEN_UP_AFTER: Duration = Duration::days(7);

/// `pending.json`: a snapshot is being taken, and the keys with this tag are in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) tag: Tag,
    #[serde(with = "time::serde::rfc3339")]
    pub(super) begun_at: OffsetDateTime,
}

/// `keys.json`: what the snapshot will rest on.
#[derive(Debug, Serialize, Deserialize)]
struct Keys {
    keys: Vec<ChunkKey>,
}

impl Pending {
    /// Puts it, once: who finds it gone later knows that the snapshot was given up.
    pub(super) async fn put(&self, store: &Store, id: &SnapshotId) -> Result<(), SnapshotError> {
        Ok(store.put(&id.pending_key(), to_bytes(id, self)?).await?)
    }

    /// Whether it is still there as it was put. Refused to read counts as gone: S3 answers 403 instead of 404 to those who
    /// may not list the bucket.
    pub(super) async fn is_there(&self, store: &Store, id: &SnapshotId) -> Result<bool, SnapshotError> {
        match store.get(&id.pending_key()).await {
            Ok(bytes) => Ok(serde_json::from_slice::<Self>(&bytes).is_ok_and(|found| found == *self)),
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// None: there is none. One that cannot be read is an error.
    pub(super) async fn read(store: &Store, id: &SnapshotId) -> Result<Option<Self>, SnapshotError> {
        match store.get(&id.pending_key()).await {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map(Some).map_err(|error| damaged(id, id.pending_key(), &error))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether a snapshot was begun and has no manifest: it is being taken, or was never finished.
pub async fn is_unfinished(store: &Store, id: &SnapshotId) -> Result<bool, SnapshotError> {
    if store.size(&id.manifest_key()).await?.is_some() {
        return Ok(false);
    }
    for key in unfinished(id) {
        if store.size(&key).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What lies in the store of a snapshot without a manifest, in the order in which it goes.
pub(super) fn unfinished(id: &SnapshotId) -> [ObjectKey; 3] {
    [id.pending_key(), id.keys_key(), id.manifest_key().signature()]
}

/// Puts what the snapshot will rest on.
pub(super) async fn put_keys(store: &Store, id: &SnapshotId, keys: Vec<ChunkKey>) -> Result<(), SnapshotError> {
    Ok(store.put(&id.keys_key(), to_bytes(id, &Keys { keys })?).await?)
}

/// What the snapshot will rest on; none where its writer has not said it yet.
pub(super) async fn read_keys(store: &Store, id: &SnapshotId) -> Result<Option<Vec<ChunkKey>>, SnapshotError> {
    match store.get(&id.keys_key()).await {
        Ok(bytes) => serde_json::from_slice::<Keys>(&bytes)
            .map(|keys| Some(keys.keys))
            .map_err(|error| damaged(id, id.keys_key(), &error)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether an object is surely not what somebody put there.
pub(super) fn is_gone(error: &StoreError) -> bool {
    error.is_not_found() || matches!(error, StoreError::PermissionDenied { .. })
}

fn to_bytes(id: &SnapshotId, value: &impl Serialize) -> Result<Bytes, SnapshotError> {
    let text = serde_json::to_vec_pretty(value);
    text.map(Bytes::from).map_err(|error| SnapshotError::NotPublished { id: id.clone(), reason: error.to_string() })
}

fn damaged(id: &SnapshotId, key: ObjectKey, error: &serde_json::Error) -> SnapshotError {
    let reason = format!("it cannot be read: {error}");
    SnapshotError::DamagedPending { id: id.clone(), key, reason }
}
