//! Writing a snapshot: chunks first, the manifest last.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

use crate::fault;
use crate::store::{Store, StoreError};

use super::bases::Bases;
use super::pending::{Pending, is_gone};
use super::{Blob, CHUNK_SIZE, ChunkId, ChunkKey, SnapshotError, SnapshotId, StoredChunk, Tag, chunk};

/// How long is spent on what a snapshot leaves that failed.
const GIVING_UP: Duration = Duration::from_secs(2);

/// Which snapshot is written, and how.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// The name of the snapshot.
    pub id: SnapshotId,
    /// The configured name of the database it is of: its snapshots have most of the chunks already.
    pub source: String,
    /// Snapshots that are known to the caller, for a store that may not be listed.
    pub known: Vec<SnapshotId>,
    /// The zstd level, 1 (fast) to 19.
    pub level: i32,
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
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) id: SnapshotId,
    pub(super) pending: Pending,
    pub(super) bases: Bases,
    level: i32,
    chunks: Mutex<HashMap<ChunkId, Arc<OnceCell<Placed>>>>,
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

/// Where a chunk lies, and the base that it rests on, if it is not this writer's own.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) stored: StoredChunk,
    pub(super) base: Option<usize>,
}

impl SnapshotWriter {
    /// Begins a snapshot in `store`: older programs refuse the store from now on, and no sweep takes what is written.
    ///
    /// Called inside the runtime that is to use the store (it panics outside any).
    pub async fn begin(store: Store, options: WriterOptions) -> Result<Self, SnapshotError> {
        let now = OffsetDateTime::now_utc();
        store.raise_format(now).await?;
        let WriterOptions { id, source, known, level } = options;
        let pending = Pending { tag: Tag::draw(), begun_at: now };
        pending.put(&store, &id).await?;
        fault::point("snapshot.pending");
        let bases = Bases::read(&store, &source, &known).await?;
        let (chunks, counters, runtime) = (Mutex::default(), Mutex::default(), Handle::current());
        let shared = Shared { store, id, pending, bases, level, chunks, counters, runtime };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Gives the snapshot up, before it was tried to publish it: a sweep need not wait a week for what it wrote. Where that may
    /// not be deleted, it stays until then.
    pub async fn give_up(&self) {
        let (store, id) = (&self.shared.store, &self.shared.id);
        let deleting = async {
            store.delete(&id.pending_key()).await?;
            store.delete(&id.keys_key()).await
        };
        // The store may be what failed, and whoever pressed Ctrl-C waits.
        match tokio::time::timeout(GIVING_UP, deleting).await {
            Ok(Ok(())) => {}
            result => tracing::debug!(?result, snapshot = %id, "what says that it is being taken stays"),
        }
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

    async fn store_chunk(&self, id: ChunkId, raw: Bytes) -> Result<Placed, SnapshotError> {
        let (raw_size, level) = (raw.len() as u64, self.shared.level);
        let stored = compute(move || chunk::encode(&raw, level))
            .await?
            .map_err(|reason| SnapshotError::Codec { chunk: id, reason })?;
        let stored = Bytes::from(stored);
        let there = self.in_a_base(&id, &stored, raw_size).await?;
        let reused = there.is_some();
        let placed = match there {
            Some(placed) => placed,
            None => self.put_own(id, raw_size, stored).await?,
        };
        let mut counters = lock(&self.shared.counters);
        counters.raw_bytes += placed.stored.raw;
        counters.stored_bytes += placed.stored.stored;
        counters.sent_bytes += if reused { 0 } else { placed.stored.stored };
        counters.chunks += 1;
        counters.reused += u64::from(reused);
        Ok(placed)
    }

    /// Puts a chunk under a key of this snapshot.
    pub(super) async fn put_own(&self, chunk: ChunkId, raw: u64, stored: Bytes) -> Result<Placed, SnapshotError> {
        let key = ChunkKey { chunk, tag: Some(self.shared.pending.tag) };
        let (size, sha256) = (stored.len() as u64, Some(hex::encode(Sha256::digest(&stored))));
        self.shared.store.put(&key.object(), stored).await?;
        Ok(Placed { stored: StoredChunk { chunk, key, raw, stored: size, sha256 }, base: None })
    }

    /// The chunk as a base has it, when it is there and whole: a snapshot rests on it from now on, and a chunk of the right
    /// size may have rotted.
    async fn in_a_base(&self, id: &ChunkId, stored: &Bytes, raw: u64) -> Result<Option<Placed>, SnapshotError> {
        let Some((base, known)) = self.shared.bases.find(id) else { return Ok(None) };
        let placed = |stored: u64, sha256: Option<String>| {
            let stored = StoredChunk { raw, stored, sha256, ..known.clone() };
            Some(Placed { stored, base: Some(base) })
        };
        let key = known.key.object();
        match self.shared.store.holds(&key, stored).await {
            Ok(Some(true)) => return Ok(placed(stored.len() as u64, Some(hex::encode(Sha256::digest(stored))))),
            Ok(Some(false)) => {}
            Ok(None) => return Ok(None),
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // Another level or version of zstd made it, or it is damaged.
        let found = match self.shared.store.get_at_most(&key, chunk::largest_stored(raw)).await {
            Ok(found) => found,
            Err(StoreError::Damaged { .. }) => return Ok(None),
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let (size, id) = (found.len() as u64, *id);
        let sha256 = hex::encode(Sha256::digest(&found));
        let is_whole = compute(move || chunk::decode(&found, &id, raw).is_ok()).await?;
        Ok(if is_whole { placed(size, Some(sha256)) } else { None })
    }

    /// Where a chunk lies that was put or found.
    pub(super) fn placed(&self, id: &ChunkId) -> Option<Placed> {
        lock(&self.shared.chunks).get(id).and_then(|cell| cell.get().cloned())
    }

    /// From now on the snapshot rests on this one in the place of another of the same name.
    pub(super) fn replace(&self, placed: Placed) {
        let chunk = placed.stored.chunk;
        lock(&self.shared.chunks).insert(chunk, Arc::new(OnceCell::new_with(Some(placed))));
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
