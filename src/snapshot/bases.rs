//! The snapshots whose chunks a new one rests on: what they name is not sent again.

use std::collections::HashMap;

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::signing::{SignedBy, SigningKey};
use crate::store::{Numbered, Store, StoreError};

use super::pending::is_gone;
use super::reader::{ReadManifest, read_manifest};
use super::{ChunkId, Manifest, SnapshotError, SnapshotId, StoredChunk};

/// So many of the writer's own source: the newest ones are nearly all that the next one needs.
const OF_THE_SOURCE: usize = 3;
/// And so many of others: sources that are copies of each other share chunks.
const OF_OTHERS: usize = 3;
/// Manifests that are read at most to find those.
const LOOKED_AT: usize = 64;
const AT_ONCE: usize = 4;

/// Chunks that the store has, each with the base that names it.
#[derive(Debug, Default)]
pub(super) struct Bases {
    chunks: HashMap<ChunkId, (usize, StoredChunk)>,
    ids: Vec<SnapshotId>,
    /// The newest number that the key of this machine gave for the writer's source.
    signed_here: Option<Numbered>,
}

impl Bases {
    /// Reads the newest snapshots of the store. Where it may not be listed, those of `known`; what cannot be read is passed
    /// over.
    pub(super) async fn read(store: &Store, source: &str, known: &[SnapshotId]) -> Result<Self, SnapshotError> {
        let listed = match store.list_directories("snapshots").await {
            Ok(names) => names.iter().filter_map(|name| SnapshotId::parse(name).ok()).collect(),
            Err(StoreError::PermissionDenied { .. }) => known.to_vec(),
            Err(error) => return Err(error.into()),
        };
        let mut ids: Vec<SnapshotId> = listed;
        ids.sort_by(|left, right| right.cmp(left));
        let mut manifests =
            stream::iter(ids.into_iter().take(LOOKED_AT)).map(|id| readable(store, id)).buffered(AT_ONCE);
        let (mut bases, mut of_source, mut of_others) = (Self::default(), 0, 0);
        while let Some(manifest) = manifests.try_next().await? {
            let Some(read) = manifest.filter(|read| read.manifest.store_id == store.id()) else { continue };
            let manifest = read.manifest;
            if manifest.source == source {
                bases.number(store, &manifest.id, read.signed.ok().flatten());
            }
            let count = if manifest.source == source { &mut of_source } else { &mut of_others };
            let most = if manifest.source == source { OF_THE_SOURCE } else { OF_OTHERS };
            if *count < most {
                *count += 1;
                bases.add(&manifest);
            }
            if of_source == OF_THE_SOURCE {
                break;
            }
        }
        Ok(bases)
    }

    fn number(&mut self, store: &Store, id: &SnapshotId, signed: Option<SignedBy>) {
        let own = store.trust().signer.as_ref().map(SigningKey::public);
        let Some(signed) = signed.filter(|signed| Some(signed.statement.key) == own) else { return };
        let sequence = signed.statement.sequence;
        if self.signed_here.as_ref().is_none_or(|newest| newest.sequence < sequence) {
            self.signed_here = Some(Numbered { sequence, hash: signed.hash, snapshot: id.to_string() });
        }
    }

    /// The newest number that the key of this machine gave, as far as the store was read.
    pub(super) fn signed_here(&self) -> Option<&Numbered> {
        self.signed_here.as_ref()
    }

    /// The newest that names a chunk is asked for it.
    fn add(&mut self, manifest: &Manifest) {
        let base = self.ids.len();
        self.ids.push(manifest.id.clone());
        for stored in &manifest.stored {
            self.chunks.entry(stored.chunk).or_insert_with(|| (base, stored.clone()));
        }
        if manifest.stored.is_empty() {
            for (chunk, raw) in manifest.largest_chunks() {
                // Format 1 does not say how large a chunk is in the store: that is seen when it is looked at.
                let stored = StoredChunk { chunk, key: manifest.key_of(&chunk), raw, stored: 0, sha256: None };
                self.chunks.entry(chunk).or_insert((base, stored));
            }
        }
    }

    /// Where these raw bytes lie already, and the base that says so.
    pub(super) fn find(&self, chunk: &ChunkId) -> Option<(usize, &StoredChunk)> {
        self.chunks.get(chunk).map(|(base, stored)| (*base, stored))
    }

    /// Whether the manifest of a base is there now.
    pub(super) async fn is_there(&self, store: &Store, base: usize) -> Result<bool, SnapshotError> {
        let Some(id) = self.ids.get(base) else { return Ok(false) };
        match store.size(&id.manifest_key()).await {
            Ok(size) => Ok(size.is_some()),
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// One that nobody signed who counts is no base: what it says of its chunks is not believed.
async fn readable(store: &Store, id: SnapshotId) -> Result<Option<ReadManifest>, SnapshotError> {
    match read_manifest(store, &id).await {
        Ok(read) => Ok(Some(read).filter(|read| read.signed.is_ok())),
        Err(SnapshotError::Store(error)) if !is_gone(&error) => Err(error.into()),
        Err(_) => Ok(None),
    }
}
