//! The snapshots of a store.

use futures_util::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::signing::{Doubt, SignedBy};
use crate::store::{Store, StoreError};

use super::pending::{is_unfinished, unfinished};
use super::reader::{ReadManifest, read_manifest};
use super::{Reason, SnapshotError, SnapshotId};

/// How many manifests are read at once.
const READ_AT_ONCE: usize = 8;

/// One snapshot in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotSummary {
    /// Its name.
    pub id: SnapshotId,
    /// What its manifest says.
    pub state: SnapshotState,
}

impl SnapshotSummary {
    /// The details of a snapshot whose manifest could be read, and is believed.
    pub fn details(&self) -> Option<&SnapshotDetails> {
        match &self.state {
            SnapshotState::Complete(details) => Some(details),
            SnapshotState::Untrusted { .. } | SnapshotState::Damaged { .. } => None,
        }
    }

    /// The source that its manifest names, whoever wrote it.
    pub fn said_source(&self) -> Option<&str> {
        match &self.state {
            SnapshotState::Complete(details) | SnapshotState::Untrusted { details, .. } => Some(&details.source),
            SnapshotState::Damaged { .. } => None,
        }
    }
}

/// Whether a listed snapshot can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotState {
    /// Its manifest is whole (its chunks were not looked at).
    Complete(SnapshotDetails),
    /// Its manifest is whole, and nobody whom the configuration trusts signed it.
    Untrusted {
        /// What the manifest says.
        details: SnapshotDetails,
        /// Why it is not believed.
        doubt: Doubt,
    },
    /// Its manifest is damaged, or asks for a newer version.
    Damaged {
        /// What is wrong.
        reason: String,
    },
}

/// What a listing shows of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotDetails {
    /// The configured name of the database it came from.
    pub source: String,
    /// The name of that database on its server.
    pub database: String,
    /// When it was started (UTC).
    pub started_at: OffsetDateTime,
    /// When all rows were read (UTC).
    pub finished_at: OffsetDateTime,
    /// Why it was taken.
    pub reason: Reason,
    /// Rows in it.
    pub rows: u64,
    /// Bytes before compression.
    pub raw_bytes: u64,
    /// Bytes of its chunks in the store, some of which other snapshots may share.
    pub stored_bytes: u64,
    /// The SHA-256 of the manifest's text, in hexadecimal digits.
    pub manifest_sha256: String,
    /// Who signed it; none where nothing says whom to believe.
    pub signed_by: Option<SignedBy>,
}

/// The snapshots of the store, newest first.
///
/// A directory without a manifest is not listed: its snapshot was never published. A damaged manifest is listed as
/// such and hides no other.
pub async fn list(store: &Store) -> Result<Vec<SnapshotSummary>, SnapshotError> {
    let names = store.list_directories("snapshots").await?;
    let ids = names.into_iter().filter_map(|name| SnapshotId::parse(&name).ok());
    let summaries = stream::iter(ids).map(|id| summary(store, id)).buffer_unordered(READ_AT_ONCE);
    let read: Vec<Option<SnapshotSummary>> = summaries.try_collect().await?;
    let mut found: Vec<SnapshotSummary> = read.into_iter().flatten().collect();
    found.sort_by(|left, right| age(right).cmp(&age(left)));
    Ok(found)
}

/// What snapshots are ordered by. An id counts whole seconds; within one second the manifest tells, where it can be read.
/// One that cannot be read counts as the newest of its second: it may be, and must not be passed over.
fn age(summary: &SnapshotSummary) -> (&str, bool, Option<OffsetDateTime>, &str) {
    let id = summary.id.as_str();
    let second = id.split('-').next().unwrap_or(id);
    let started_at = summary.details().map(|details| details.started_at);
    (second, started_at.is_none(), started_at, id)
}

async fn summary(store: &Store, id: SnapshotId) -> Result<Option<SnapshotSummary>, SnapshotError> {
    let state = match read_manifest(store, &id).await {
        Ok(ReadManifest { manifest, bytes, signed }) => {
            let details = |signed_by| SnapshotDetails {
                rows: manifest.users_rows(),
                source: manifest.source,
                database: manifest.database.name,
                started_at: manifest.started_at,
                finished_at: manifest.finished_at,
                reason: manifest.reason,
                raw_bytes: manifest.totals.raw_bytes,
                stored_bytes: manifest.totals.stored_bytes,
                manifest_sha256: hex::encode(Sha256::digest(&bytes)),
                signed_by,
            };
            match signed {
                Ok(by) => SnapshotState::Complete(details(by)),
                Err(doubt) => SnapshotState::Untrusted { details: details(None), doubt },
            }
        }
        Err(SnapshotError::NoSuchSnapshot { .. }) => return Ok(None),
        Err(SnapshotError::DamagedManifest { reason, .. }) => SnapshotState::Damaged { reason },
        Err(error @ SnapshotError::NewerFormat { .. }) => SnapshotState::Damaged { reason: error.to_string() },
        // A disk that cannot read this file may read the others.
        Err(SnapshotError::Store(StoreError::Io { source, .. })) => {
            SnapshotState::Damaged { reason: format!("its manifest cannot be read: {source}") }
        }
        Err(error) => return Err(error),
    };
    Ok(Some(SnapshotSummary { id, state }))
}

/// Removes a snapshot by removing its manifest, whatever state that is in; of one without a manifest, what says that it is
/// being taken. Its chunks stay: others may share them.
pub async fn delete(store: &Store, id: &SnapshotId) -> Result<(), SnapshotError> {
    let key = id.manifest_key();
    if store.size(&key).await?.is_none() {
        if !is_unfinished(store, id).await? {
            return Err(SnapshotError::NoSuchSnapshot { location: store.location(), id: id.clone() });
        }
        // Its writer, if there is one, finds that out at its end.
        for key in unfinished(id) {
            store.delete(&key).await?;
        }
        return Ok(());
    }
    store.delete(&key).await?;
    // Only now: while there is no manifest, these say what is in use.
    store.delete(&key.signature()).await?;
    store.delete(&id.keys_key()).await?;
    Ok(store.delete(&id.pending_key()).await?)
}
