//! Writing a snapshot: chunks first, the manifest last.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

use crate::fault;
use crate::store::{Store, StoreError};

use super::{
    Blob, CHUNK_SIZE, ChunkId, FORMAT_VERSION, Level, Manifest, SnapshotError, SnapshotId, Totals, VerifiedSnapshot,
};
use super::{chunk, sealed};

/// How many chunks are asked for at once when they are checked before the manifest is written.
const CHECKS_AT_ONCE: usize = 16;

/// How chunks are made.
#[derive(Clone, Copy, Debug)]
pub struct WriterOptions {
    /// The zstd level, 1 (fast) to 19.
    pub level: i32,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { level: 1 }
    }
}

/// What a writer did so far; each chunk is counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes before compression.
    pub raw_bytes: u64,
    /// Bytes that these chunks take in the store.
    pub stored_bytes: u64,
    /// Bytes that were sent: without the chunks that the store had.
    pub sent_bytes: u64,
    /// Chunks.
    pub chunks: u64,
    /// Chunks that the store had.
    pub reused: u64,
}

/// Puts the chunks of one snapshot into the store and publishes its manifest. Clones share everything.
///
/// The store is used on the runtime in which the writer was made, whichever runtime a caller has: the connections of an
/// S3 client end with the runtime that opened them.
#[derive(Clone, Debug)]
pub struct SnapshotWriter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    options: WriterOptions,
    chunks: Mutex<HashMap<ChunkId, Arc<OnceCell<Sizes>>>>,
    counters: Mutex<Counters>,
    runtime: Handle,
}

/// A chunk on its way into the store; dropping this gives it up.
#[derive(Debug)]
pub(super) struct ChunkTask(JoinHandle<Result<ChunkId, SnapshotError>>);

impl ChunkTask {
    /// Waits until the store has the chunk.
    pub(super) async fn finish(mut self) -> Result<ChunkId, SnapshotError> {
        (&mut self.0).await.map_err(SnapshotError::Task)?
    }
}

impl Drop for ChunkTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Clone, Copy, Debug)]
struct Sizes {
    raw: u64,
    stored: u64,
}

impl SnapshotWriter {
    /// A writer of one snapshot into `store`. Made inside the runtime that is to use the store (it panics outside any).
    pub fn new(store: Store, options: WriterOptions) -> Self {
        let (chunks, counters, runtime) = (Mutex::default(), Mutex::default(), Handle::current());
        let shared = Shared { store, options, chunks, counters, runtime };
        Self { shared: Arc::new(shared) }
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        *lock(&self.shared.counters)
    }

    /// Begins to put a chunk; the caller goes on meanwhile.
    pub(super) fn start_chunk(&self, raw: Vec<u8>) -> ChunkTask {
        let writer = self.clone();
        ChunkTask(self.shared.runtime.spawn(async move { writer.put_chunk(raw).await }))
    }

    /// Makes sure that the store has a chunk of these bytes, and answers its id.
    ///
    /// A chunk that the store has is not sent again, and of equal chunks at the same time one is sent. A chunk in
    /// the store is compared first, and written anew when it is damaged.
    pub async fn put_chunk(&self, raw: Vec<u8>) -> Result<ChunkId, SnapshotError> {
        let raw = Bytes::from(raw);
        let id = compute({
            let raw = raw.clone();
            move || ChunkId::of(&raw)
        })
        .await?;
        if fault::is_off("off.manifest-last") {
            self.shared
                .store
                .put(&SnapshotId::generate(time::OffsetDateTime::now_utc()).manifest_key(), Bytes::new())
                .await?;
        }
        let cell = lock(&self.shared.chunks).entry(id).or_default().clone();
        cell.get_or_try_init(|| self.store_chunk(id, raw)).await?;
        Ok(id)
    }

    /// Stores bytes whose inside is not looked at, in as many chunks as they need.
    pub async fn put_blob(&self, raw: Vec<u8>) -> Result<Blob, SnapshotError> {
        let length = raw.len() as u64;
        if raw.len() <= CHUNK_SIZE {
            let chunks = if raw.is_empty() { Vec::new() } else { vec![self.put_chunk(raw).await?] };
            return Ok(Blob { length, chunks });
        }
        let mut chunks = Vec::new();
        for part in raw.chunks(CHUNK_SIZE) {
            chunks.push(self.put_chunk(part.to_vec()).await?);
        }
        Ok(Blob { length, chunks })
    }

    async fn store_chunk(&self, id: ChunkId, raw: Bytes) -> Result<Sizes, SnapshotError> {
        let (raw_size, level) = (raw.len() as u64, self.shared.options.level);
        let stored = compute(move || chunk::encode(&raw, level))
            .await?
            .map_err(|reason| SnapshotError::Codec { chunk: id, reason })?;
        let stored = Bytes::from(stored);
        let there = self.whole_in_store(&id, &stored, raw_size).await?;
        let sizes = Sizes { raw: raw_size, stored: there.unwrap_or(stored.len() as u64) };
        if there.is_none() {
            self.shared.store.put(&id.key(), stored).await?;
        }
        let mut counters = lock(&self.shared.counters);
        counters.raw_bytes += sizes.raw;
        counters.stored_bytes += sizes.stored;
        counters.sent_bytes += if there.is_some() { 0 } else { sizes.stored };
        counters.chunks += 1;
        counters.reused += u64::from(there.is_some());
        Ok(sizes)
    }

    /// The size of the chunk in the store, when it is there and whole: a snapshot rests on it from now on, and a chunk of the
    /// right size may have rotted.
    async fn whole_in_store(&self, id: &ChunkId, stored: &Bytes, raw: u64) -> Result<Option<u64>, SnapshotError> {
        match self.shared.store.holds(&id.key(), stored).await {
            Ok(Some(true)) => return Ok(Some(stored.len() as u64)),
            Ok(Some(false)) => {}
            // S3 answers 403 instead of 404 to those who may not list the bucket.
            Ok(None) | Err(StoreError::PermissionDenied { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // Another level or version of zstd made it, or it is damaged.
        let found = match self.shared.store.get_at_most(&id.key(), chunk::largest_stored(raw)).await {
            Ok(found) => found,
            Err(StoreError::Damaged { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let (size, id) = (found.len() as u64, *id);
        Ok(compute(move || chunk::decode(&found, &id, raw).is_ok()).await?.then_some(size))
    }

    /// Checks that every chunk is in the store, writes the manifest, and reads it back.
    ///
    /// Fills in the totals. Before this returns, nothing lists the snapshot; afterwards it is complete.
    pub async fn publish(self, mut manifest: Manifest) -> Result<VerifiedSnapshot, SnapshotError> {
        manifest.totals = self.totals(&manifest)?;
        self.check(&manifest)?;
        self.check_chunks(&manifest).await?;
        let (store, key) = (&self.shared.store, manifest.id.manifest_key());
        let refused = |reason: String| SnapshotError::NotPublished { id: manifest.id.clone(), reason };
        if matches!(store.size(&key).await, Ok(Some(_))) {
            return Err(refused("a snapshot of this id exists".to_owned()));
        }
        fault::point("snapshot.before-manifest");
        let bytes = Bytes::from(sealed::seal(&manifest).map_err(|error| refused(error.to_string()))?);
        store.put(&key, bytes.clone()).await?;
        fault::point("snapshot.manifest-written");
        let read_back = store.get(&key).await?;
        if read_back != bytes || sealed::unseal(&manifest.id, &read_back)? != manifest {
            let reason = "it reads back otherwise than it was written".to_owned();
            return Err(SnapshotError::DamagedManifest { id: manifest.id, key, reason });
        }
        Ok(VerifiedSnapshot::new(manifest, Level::Exists))
    }

    fn sizes(&self, id: &ChunkId) -> Option<Sizes> {
        lock(&self.shared.chunks).get(id).and_then(|cell| cell.get().copied())
    }

    fn totals(&self, manifest: &Manifest) -> Result<Totals, SnapshotError> {
        let rows = manifest.tables.iter().map(|table| table.rows.rows).sum();
        let mut totals = Totals { rows, ..Totals::default() };
        for id in manifest.chunks() {
            let Some(sizes) = self.sizes(&id) else {
                let reason = format!("its manifest names chunk {id}, which was not written");
                return Err(SnapshotError::NotPublished { id: manifest.id.clone(), reason });
            };
            totals.raw_bytes += sizes.raw;
            totals.stored_bytes += sizes.stored;
            totals.chunks += 1;
        }
        Ok(totals)
    }

    /// What makes a manifest unfit to be published, before the store is asked.
    fn check(&self, manifest: &Manifest) -> Result<(), SnapshotError> {
        let (store, of) = (self.shared.store.id(), &manifest.store_id);
        let raw_size = |id: &ChunkId| self.sizes(id).map_or(0, |sizes| sizes.raw);
        let outside = manifest.tables.iter().flat_map(|table| &table.segments).find(|segment| {
            segment.offset.checked_add(segment.length).is_none_or(|end| end > raw_size(&segment.chunk))
        });
        let uneven = |blob: &Blob| blob.chunks.iter().map(raw_size).sum::<u64>() != blob.length;
        let reason = if manifest.format_version != FORMAT_VERSION || !manifest.features.is_empty() {
            format!("this version writes format {FORMAT_VERSION} without features")
        } else if store != of {
            format!("it is made for the store {of} and this one is {store}")
        } else if let Some((part, reason)) = manifest.contradictions().into_iter().next() {
            format!("{part}: {reason}")
        } else if let Some(segment) = outside {
            format!("a segment reaches beyond its chunk {}", segment.chunk)
        } else if let Some((name, _)) = manifest.blobs().into_iter().find(|(_, blob)| uneven(blob)) {
            format!("the length of {name} is not the sum of its chunks")
        } else {
            return Ok(());
        };
        Err(SnapshotError::NotPublished { id: manifest.id.clone(), reason })
    }

    /// Every chunk is there, in the size it was written or found in.
    async fn check_chunks(&self, manifest: &Manifest) -> Result<(), SnapshotError> {
        let check = |id: ChunkId| async move {
            let (expected, found) =
                (self.sizes(&id).map(|sizes| sizes.stored), self.shared.store.size(&id.key()).await?);
            if expected == found {
                return Ok(());
            }
            let found = found.map_or_else(|| "is not in the store".to_owned(), |size| format!("has {size} bytes now"));
            let reason = format!("{} {found}; did something else change the store?", id.key());
            Err(SnapshotError::NotPublished { id: manifest.id.clone(), reason })
        };
        stream::iter(manifest.chunks()).map(check).buffer_unordered(CHECKS_AT_ONCE).try_collect().await
    }
}

/// Locks; a panic elsewhere while it was held leaves counters and maps usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs work for the processor beside the tasks that wait for the network.
pub(super) async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, SnapshotError> {
    tokio::task::spawn_blocking(work).await.map_err(SnapshotError::Task)
}
