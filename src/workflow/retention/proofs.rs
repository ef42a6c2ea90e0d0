//! Snapshots that were restored and compared: `proofs/<id>.json`.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::signing::Kind;
use crate::snapshot::{SnapshotError, SnapshotId, SnapshotReader, SnapshotSummary};
use crate::store::{ObjectKey, Signable, Store};

use super::super::{Error, Proof, ProofLevel};

/// How long a store may take to record a proof, which nobody waits for.
const PATIENCE: Duration = Duration::from_secs(3);
const READ_AT_ONCE: usize = 8;

/// That a snapshot was restored, and what was compared.
#[derive(Serialize)]
struct Proven<'a> {
    level: ProofLevel,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    /// Of the manifest that was restored.
    manifest_sha256: &'a str,
    rows: u64,
    /// How long it took until every row was there and read back.
    seconds: f64,
}

/// What is read of it.
#[derive(Deserialize)]
pub(super) struct RecordedProof {
    #[serde(with = "time::serde::rfc3339")]
    pub(super) at: OffsetDateTime,
    manifest_sha256: String,
    pub(super) seconds: Option<f64>,
}

fn key(id: &SnapshotId) -> Option<ObjectKey> {
    ObjectKey::new(format!("proofs/{id}.json")).ok()
}

/// Records that the whole of a snapshot was restored and found equal, or that it was not. That it cannot stops nothing: a
/// store may be read-only.
pub async fn record_proof(reader: &SnapshotReader, proof: &Proof, took: Duration) {
    let (manifest, store) = (reader.manifest(), reader.store());
    if !proof.differences.is_empty() {
        return disprove(store, &manifest.id).await;
    }
    if proof.rows != manifest.totals.rows {
        return;
    }
    let proven = Proven {
        level: proof.level,
        at: OffsetDateTime::now_utc(),
        manifest_sha256: reader.manifest_sha256(),
        rows: proof.rows,
        seconds: took.as_secs_f64(),
    };
    let (Some(key), Ok(body)) = (key(&manifest.id), serde_json::to_vec_pretty(&proven)) else { return };
    let recording = async {
        store.sign(Signable { kind: Kind::Proof, source: &manifest.source, key: &key, bytes: &body }).await?;
        store.put(&key, body.clone().into()).await
    };
    match tokio::time::timeout(PATIENCE, recording).await {
        Ok(Ok(())) => {}
        result => tracing::debug!(?result, snapshot = %manifest.id, "the proof is not recorded"),
    }
}

/// Those of these snapshots that were restored and compared, as they are now.
pub async fn proven(store: &Store, found: &[SnapshotSummary]) -> Result<BTreeSet<SnapshotId>, Error> {
    let objects = store.list("proofs").await?;
    let recorded: BTreeSet<&str> = objects.iter().map(|object| object.key.as_str()).collect();
    let ask = |one: &SnapshotSummary| {
        let (key, details) = (key(&one.id)?, one.details()?);
        let proof = (one.id.clone(), key, details.source.clone(), details.manifest_sha256.clone());
        recorded.contains(proof.1.as_str()).then_some(proof)
    };
    let asked: Vec<_> = found.iter().filter_map(ask).collect();
    let asking = asked.into_iter().map(async |(id, key, source, manifest_sha256)| {
        Ok::<_, Error>(at(store, &key, (&source, &manifest_sha256)).await?.map(|_| id))
    });
    let held: Vec<Option<SnapshotId>> = stream::iter(asking).buffer_unordered(READ_AT_ONCE).try_collect().await?;
    Ok(held.into_iter().flatten().collect())
}

/// The proof of a snapshot, when there is one that [`proven`] counts.
pub(super) async fn read(store: &Store, id: &SnapshotId, of: (&str, &str)) -> Result<Option<RecordedProof>, Error> {
    match key(id) {
        Some(key) => at(store, &key, of).await,
        None => Ok(None),
    }
}

/// The proof that lies there, when it is of this source and manifest, and of somebody who counts.
async fn at(
    store: &Store,
    key: &ObjectKey,
    (source, manifest_sha256): (&str, &str),
) -> Result<Option<RecordedProof>, Error> {
    let body = match store.get(key).await {
        Ok(body) => body,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let proof = serde_json::from_slice::<RecordedProof>(&body).ok();
    let Some(proof) = proof.filter(|proof| proof.manifest_sha256 == manifest_sha256) else { return Ok(None) };
    let object = Signable { kind: Kind::Proof, source, key, bytes: &body };
    Ok(store.signed_by(object).await?.is_ok().then_some(proof))
}

/// It does not come back as it should: what was once proven holds no longer.
pub async fn disprove(store: &Store, id: &SnapshotId) {
    forget(store, id).await;
}

/// The same where an error tells it.
pub async fn disprove_by(store: &Store, id: &SnapshotId, error: &Error) {
    if matches!(error, Error::Snapshot(error) if is_damage(error)) {
        disprove(store, id).await;
    }
}

/// Whether an error says something about the snapshot, and not about the way to it.
pub fn is_damage(error: &SnapshotError) -> bool {
    match error {
        SnapshotError::DamagedManifest { .. } | SnapshotError::DamagedChunk { .. } | SnapshotError::Mismatch { .. } => {
            true
        }
        SnapshotError::Store(error) => error.is_not_found(),
        _ => false,
    }
}

/// Removes what is recorded of one that is gone.
pub(super) async fn forget(store: &Store, id: &SnapshotId) {
    let Some(key) = key(id) else { return };
    for key in [&key, &key.signature()] {
        if let Err(error) = store.delete(key).await {
            tracing::debug!(%error, snapshot = %id, "its proof is not removed");
        }
    }
}
