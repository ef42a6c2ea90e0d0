//! How a snapshot ends: what it rests on is made sure of, and its manifest is written last.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::fault;

use super::pending::put_keys;
use super::signature::Signature;
use super::writer::{Placed, SnapshotWriter, compute};
use super::{Blob, ChunkId, FORMAT_VERSION, Level, Manifest, SnapshotError, Totals, VerifiedSnapshot, chunk, sealed};

/// How many chunks are asked for at once when they are checked before the manifest is written.
const CHECKS_AT_ONCE: usize = 16;

/// The chunks of a snapshot by name.
type Chunks = BTreeMap<ChunkId, Placed>;

impl SnapshotWriter {
    /// Makes sure of every chunk, writes the manifest, and reads it back.
    ///
    /// Fills in the totals and where the chunks lie. Before this returns, nothing may use the snapshot; afterwards it is
    /// complete.
    pub async fn publish(self, mut manifest: Manifest) -> Result<VerifiedSnapshot, SnapshotError> {
        let chunks = self.rest_on(&manifest).await?;
        manifest.totals = totals(&manifest, &chunks);
        manifest.stored = chunks.values().map(|placed| placed.stored.clone()).collect();
        self.check(&manifest, &chunks)?;
        self.check_chunks(&chunks).await?;
        let (store, key) = (&self.shared.store, manifest.id.manifest_key());
        if matches!(store.size(&key).await, Ok(Some(_))) {
            return Err(self.refused("a snapshot of this id exists"));
        }
        let bytes = Bytes::from(sealed::seal(&manifest).map_err(|error| self.refused(&error.to_string()))?);
        let signature = Signature::put(store, &self.shared.bases, &manifest, &bytes).await?;
        fault::point("snapshot.before-manifest");
        store.put(&key, bytes.clone()).await?;
        fault::point("snapshot.manifest-written");
        let read_back = store.get(&key).await?;
        if read_back != bytes || sealed::unseal(&manifest.id, &read_back)? != manifest {
            let reason = "it reads back otherwise than it was written".to_owned();
            return Err(SnapshotError::DamagedManifest { id: manifest.id, key, reason });
        }
        if !self.shared.pending.is_there(store, &manifest.id).await? {
            // It may not be deleted here; then it is listed, and found incomplete by whoever reads it.
            let _kept = store.delete(&key).await;
            return Err(self.refused("somebody gave it up meanwhile, as it took longer than a week; take another one"));
        }
        // Only now: a snapshot that was given up leaves no number that would be missed.
        if let Some(signature) = signature {
            signature.remember(store, &manifest.id).await?;
        }
        Ok(VerifiedSnapshot::new(manifest, Level::Exists))
    }

    /// Says in the store what the snapshot rests on, and makes sure that its bases are there after that. The chunks of one
    /// that was forgotten are copied.
    async fn rest_on(&self, manifest: &Manifest) -> Result<Chunks, SnapshotError> {
        loop {
            let mut chunks = Chunks::new();
            for id in manifest.chunks() {
                let unwritten = || self.refused(&format!("its manifest names chunk {id}, which was not written"));
                chunks.insert(id, self.placed(&id).ok_or_else(unwritten)?);
            }
            let keys = chunks.values().map(|placed| placed.stored.key).collect();
            put_keys(&self.shared.store, &self.shared.id, keys).await?;
            fault::point("snapshot.keys");
            let gone = self.bases_gone(&chunks).await?;
            if gone.is_empty() {
                return Ok(chunks);
            }
            for placed in chunks.values().filter(|placed| placed.base.is_some_and(|base| gone.contains(&base))) {
                self.copy(placed).await?;
            }
        }
    }

    /// The bases of these chunks whose manifests are gone.
    async fn bases_gone(&self, chunks: &Chunks) -> Result<BTreeSet<usize>, SnapshotError> {
        let mut gone = BTreeSet::new();
        if fault::is_off("off.bases-asked-again") {
            return Ok(gone);
        }
        let used: BTreeSet<usize> = chunks.values().filter_map(|placed| placed.base).collect();
        for base in used {
            if !self.shared.bases.is_there(&self.shared.store, base).await? {
                gone.insert(base);
            }
        }
        Ok(gone)
    }

    /// Copies a chunk to a key of this snapshot, while it is still there.
    async fn copy(&self, placed: &Placed) -> Result<(), SnapshotError> {
        let (stored, store) = (&placed.stored, &self.shared.store);
        let bytes = match store.get_at_most(&stored.key.object(), chunk::largest_stored(stored.raw)).await {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => {
                return Err(
                    self.refused("a snapshot that it rests on was forgotten and swept meanwhile; take another one")
                );
            }
            Err(error) => return Err(error.into()),
        };
        let (id, raw, read) = (stored.chunk, stored.raw, bytes.clone());
        compute(move || chunk::decode(&read, &id, raw)).await?.map_err(|reason| SnapshotError::DamagedChunk {
            key: stored.key.object(),
            parts: Vec::new(),
            reason,
        })?;
        self.replace(self.put_own(stored.chunk, stored.raw, bytes).await?);
        Ok(())
    }

    /// What makes a manifest unfit to be published, before the store is asked.
    fn check(&self, manifest: &Manifest, chunks: &Chunks) -> Result<(), SnapshotError> {
        let (store, of) = (self.shared.store.id(), &manifest.store_id);
        let raw_size = |id: &ChunkId| chunks.get(id).map_or(0, |placed| placed.stored.raw);
        let outside = manifest.tables.iter().flat_map(|table| &table.segments).find(|segment| {
            segment.offset.checked_add(segment.length).is_none_or(|end| end > raw_size(&segment.chunk))
        });
        let uneven = |blob: &Blob| blob.chunks.iter().map(raw_size).sum::<u64>() != blob.length;
        let reason = if manifest.format_version != FORMAT_VERSION || !manifest.features.is_empty() {
            format!("this version writes format {FORMAT_VERSION} without features")
        } else if manifest.id != self.shared.id {
            format!("it was begun as {} and its manifest is that of {}", self.shared.id, manifest.id)
        } else if store != of {
            format!("it is made for the store {of} and this one is {store}")
        } else if let Some((part, reason)) = manifest.contradictions().into_iter().next() {
            format!("{part}: {reason}")
        } else if let Some(reason) = manifest.misplaced() {
            reason
        } else if let Some(segment) = outside {
            format!("a segment reaches beyond its chunk {}", segment.chunk)
        } else if let Some((name, _)) = manifest.blobs().into_iter().find(|(_, blob)| uneven(blob)) {
            format!("the length of {name} is not the sum of its chunks")
        } else {
            return Ok(());
        };
        Err(self.refused(&reason))
    }

    /// Every chunk is there, in the size it was written or found in.
    async fn check_chunks(&self, chunks: &Chunks) -> Result<(), SnapshotError> {
        let check = |placed: Placed| async move {
            let key = placed.stored.key.object();
            let found = self.shared.store.size(&key).await?;
            if found == Some(placed.stored.stored) {
                return Ok(());
            }
            let found = found.map_or_else(|| "is not in the store".to_owned(), |size| format!("has {size} bytes now"));
            Err(self.refused(&format!("{key} {found}; did something else change the store?")))
        };
        let placed: Vec<Placed> = chunks.values().cloned().collect();
        stream::iter(placed).map(check).buffer_unordered(CHECKS_AT_ONCE).try_collect().await
    }

    fn refused(&self, reason: &str) -> SnapshotError {
        SnapshotError::NotPublished { id: self.shared.id.clone(), reason: reason.to_owned() }
    }
}

fn totals(manifest: &Manifest, chunks: &Chunks) -> Totals {
    let mut totals = Totals { rows: manifest.tables.iter().map(|table| table.rows.rows).sum(), ..Totals::default() };
    for placed in chunks.values() {
        totals.raw_bytes += placed.stored.raw;
        totals.stored_bytes += placed.stored.stored;
        totals.chunks += 1;
    }
    totals
}
