//! Snapshots that were restored and compared: `proofs/<id>.json`.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;

use crate::snapshot::{SnapshotId, SnapshotReader};
use crate::store::{ObjectKey, Store};

use super::super::{Error, Proof, ProofLevel};

/// How long a store may take to record a proof, which nobody waits for.
const PATIENCE: Duration = Duration::from_secs(3);

/// That a snapshot was restored, and what was compared.
#[derive(Serialize)]
struct Proven<'a> {
    level: ProofLevel,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    /// Of the manifest that was restored.
    manifest_sha256: &'a str,
    rows: u64,
}

fn key(id: &SnapshotId) -> Option<ObjectKey> {
    ObjectKey::new(format!("proofs/{id}.json")).ok()
}

/// Records that the whole of a snapshot was restored and found equal. That it cannot stops nothing: a store may be read-only.
pub async fn record_proof(reader: &SnapshotReader, proof: &Proof) {
    let manifest = reader.manifest();
    if !proof.differences.is_empty() || proof.rows != manifest.totals.rows {
        return;
    }
    let proven = Proven {
        level: proof.level,
        at: OffsetDateTime::now_utc(),
        manifest_sha256: reader.manifest_sha256(),
        rows: proof.rows,
    };
    let (Some(key), Ok(body)) = (key(&manifest.id), serde_json::to_vec_pretty(&proven)) else { return };
    match tokio::time::timeout(PATIENCE, reader.store().put(&key, body.into())).await {
        Ok(Ok(())) => {}
        result => tracing::debug!(?result, snapshot = %manifest.id, "the proof is not recorded"),
    }
}

/// The snapshots that were restored and compared.
pub async fn proven(store: &Store) -> Result<BTreeSet<SnapshotId>, Error> {
    let objects = store.list("proofs").await?;
    let id = |key: &str| SnapshotId::parse(key.strip_prefix("proofs/")?.strip_suffix(".json")?).ok();
    Ok(objects.iter().filter_map(|object| id(object.key.as_str())).collect())
}

/// Removes what is recorded of one that is gone.
pub(super) async fn forget(store: &Store, id: &SnapshotId) {
    let Some(key) = key(id) else { return };
    if let Err(error) = store.delete(&key).await {
        tracing::debug!(%error, snapshot = %id, "its proof is not removed");
    }
}
