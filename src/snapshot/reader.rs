//! Reading a snapshot: the manifest first, then its chunks, each checked before it is used.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::signing::{Doubt, Kind, SignedBy};
use crate::store::{Signable, Store, StoreError};

use super::writer::compute;
use super::{Blob, ChunkId, ChunkKey, Manifest, RowSetHash, Segment, SnapshotError, SnapshotId, TableData};
use super::{chunk, sealed};

/// How many chunks are kept that several segments share (a chunk of small tables has hundreds).
const KEPT: usize = 4;

/// Reads one snapshot. Clones share everything.
///
/// The store is used on the runtime in which the reader was opened, whichever runtime a caller has: the connections of an
/// S3 client end with the runtime that opened them.
#[derive(Clone, Debug)]
pub struct SnapshotReader {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    manifest: Manifest,
    manifest_sha256: String,
    signed_by: Option<SignedBy>,
    shared: HashSet<ChunkId>,
    /// Raw bytes of each chunk, as the manifest has them.
    sizes: HashMap<ChunkId, u64>,
    kept: Mutex<VecDeque<(ChunkId, Bytes)>>,
    runtime: Handle,
}

/// A chunk on its way here; the caller does something else meanwhile.
#[derive(Debug)]
pub struct ChunkAhead(JoinHandle<Result<Bytes, SnapshotError>>);

impl ChunkAhead {
    /// Waits for the raw bytes, checked against the chunk's name.
    pub async fn finish(self) -> Result<Bytes, SnapshotError> {
        self.0.await.map_err(SnapshotError::Task)?
    }
}

impl SnapshotReader {
    /// Reads and checks the manifest: that it is there, whole, of a format and features known here, and signed by a key that
    /// counts where any does.
    pub async fn open(store: &Store, id: &SnapshotId) -> Result<Self, SnapshotError> {
        let read = read_manifest(store, id).await?;
        let signed_by = read.believed(id)?.cloned();
        let (manifest, manifest_sha256) = (read.manifest, hex::encode(Sha256::digest(&read.bytes)));
        if let Some((part, reason)) = manifest.contradictions().into_iter().next() {
            return Err(SnapshotError::Mismatch { part, reason });
        }
        let shared = shared_chunks(&manifest);
        let sizes = manifest.largest_chunks();
        let (store, kept, runtime) = (store.clone(), Mutex::default(), Handle::current());
        Ok(Self {
            inner: Arc::new(Inner { store, manifest, manifest_sha256, signed_by, shared, sizes, kept, runtime }),
        })
    }

    /// The same snapshot without these tables and sequences, by schema and name: as if it had never held them.
    #[must_use]
    pub fn leaving_out(&self, tables: &BTreeSet<(String, String)>, sequences: &BTreeSet<(String, String)>) -> Self {
        let Inner { store, manifest, manifest_sha256, signed_by, sizes, runtime, .. } = &*self.inner;
        let mut manifest = manifest.clone();
        manifest.tables.retain(|table| !tables.contains(&(table.schema.clone(), table.name.clone())));
        manifest.sequences.retain(|one| !sequences.contains(&(one.schema.clone(), one.name.clone())));
        let bytes = |table: &TableData| table.segments.iter().map(|segment| segment.length).sum::<u64>();
        manifest.totals.rows = manifest.tables.iter().map(|table| table.rows.rows).sum();
        manifest.totals.raw_bytes = manifest.tables.iter().map(bytes).sum();
        let (shared, kept) = (shared_chunks(&manifest), Mutex::default());
        let inner = Inner {
            store: store.clone(),
            manifest,
            manifest_sha256: manifest_sha256.clone(),
            signed_by: signed_by.clone(),
            shared,
            sizes: sizes.clone(),
            kept,
            runtime: runtime.clone(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The store that it lies in.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// The SHA-256 of the manifest's text as it lies in the store, in hexadecimal digits.
    pub fn manifest_sha256(&self) -> &str {
        &self.inner.manifest_sha256
    }

    /// Who signed it; none where nothing says whom to believe.
    pub fn signed_by(&self) -> Option<&SignedBy> {
        self.inner.signed_by.as_ref()
    }

    /// Begins to read a chunk.
    pub fn start_chunk(&self, id: &ChunkId) -> ChunkAhead {
        let (reader, id) = (self.clone(), *id);
        ChunkAhead(self.inner.runtime.spawn(async move { reader.read(&id).await }))
    }

    /// The raw bytes of a chunk, checked against its name. A damaged answer is asked for once more.
    pub async fn get_chunk(&self, id: &ChunkId) -> Result<Bytes, SnapshotError> {
        self.start_chunk(id).finish().await
    }

    async fn read(&self, id: &ChunkId) -> Result<Bytes, SnapshotError> {
        if let Some(raw) = self.kept(id) {
            return Ok(raw);
        }
        let largest = self.inner.sizes.get(id).copied().unwrap_or(chunk::LARGEST_RAW);
        let raw = read_chunk(&self.inner.store, &self.inner.manifest.key_of(id), largest)
            .await
            .map_err(|error| self.name_parts(id, error))?;
        if self.inner.shared.contains(id) {
            let mut kept = self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push_front((*id, raw.clone()));
            kept.truncate(KEPT);
        }
        Ok(raw)
    }

    /// The bytes of a blob.
    pub async fn get_blob(&self, blob: &Blob) -> Result<Vec<u8>, SnapshotError> {
        let mut bytes = Vec::new();
        for id in &blob.chunks {
            bytes.extend_from_slice(&self.get_chunk(id).await?);
        }
        if bytes.len() as u64 == blob.length {
            return Ok(bytes);
        }
        let reason = format!("its chunks hold {} bytes and it names {}", bytes.len(), blob.length);
        let part = self
            .inner
            .manifest
            .blobs()
            .into_iter()
            .find(|(_, known)| *known == blob)
            .map_or("a blob", |(name, _)| name);
        Err(SnapshotError::Mismatch { part: part.to_owned(), reason })
    }

    /// The rows of a segment as `COPY` text. Its chunk is checked; count and row-set hash with
    /// [`get_checked_segment`](Self::get_checked_segment).
    pub async fn get_segment(&self, segment: &Segment) -> Result<Bytes, SnapshotError> {
        segment.of(&self.get_chunk(&segment.chunk).await?)
    }

    /// The rows of a segment as `COPY` text, counted and hashed.
    pub async fn get_checked_segment(&self, segment: &Segment) -> Result<Bytes, SnapshotError> {
        let rows = self.get_segment(segment).await?;
        let found = compute({
            let rows = rows.clone();
            move || RowSetHash::of_lines(&rows)
        })
        .await?;
        match difference(&segment.rows, &found) {
            None => Ok(rows),
            Some(reason) => {
                Err(SnapshotError::Mismatch { part: format!("a segment of chunk {}", segment.chunk), reason })
            }
        }
    }

    /// Damage of a chunk, also its absence, with what needs it.
    fn name_parts(&self, id: &ChunkId, error: SnapshotError) -> SnapshotError {
        let reason = match error {
            SnapshotError::DamagedChunk { reason, .. } => reason,
            SnapshotError::Store(error) if error.is_not_found() => "it is missing".to_owned(),
            error => return error,
        };
        let (key, parts) = (self.inner.manifest.key_of(id).object(), self.inner.manifest.parts_of(id));
        SnapshotError::DamagedChunk { key, parts, reason }
    }

    fn kept(&self, id: &ChunkId) -> Option<Bytes> {
        let kept = self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(key, _)| key == id).map(|(_, raw)| raw.clone())
    }
}

/// A manifest as it was read, and whether it is believed.
pub(super) struct ReadManifest {
    pub(super) manifest: Manifest,
    pub(super) bytes: Bytes,
    pub(super) signed: Result<Option<SignedBy>, Doubt>,
}

impl ReadManifest {
    /// Who signed it, or an error where nobody did who counts.
    pub(super) fn believed(&self, id: &SnapshotId) -> Result<Option<&SignedBy>, SnapshotError> {
        match &self.signed {
            Ok(by) => Ok(by.as_ref()),
            Err(doubt) => Err(SnapshotError::Untrusted { id: id.clone(), doubt: doubt.clone() }),
        }
    }
}

/// Reads a manifest and looks at its signature.
pub(super) async fn read_manifest(store: &Store, id: &SnapshotId) -> Result<ReadManifest, SnapshotError> {
    let bytes = manifest_bytes(store, id).await?;
    let manifest = sealed::unseal(id, &bytes)?;
    let key = id.manifest_key();
    let object = Signable { kind: Kind::Manifest, source: &manifest.source, key: &key, bytes: &bytes };
    let signed = store.signed_by(object).await?;
    Ok(ReadManifest { manifest, bytes, signed })
}

/// Reads a manifest whoever wrote it: what it names is in use.
pub(super) async fn read_manifest_of_anybody(store: &Store, id: &SnapshotId) -> Result<Manifest, SnapshotError> {
    sealed::unseal(id, &manifest_bytes(store, id).await?)
}

pub(super) async fn manifest_bytes(store: &Store, id: &SnapshotId) -> Result<Bytes, SnapshotError> {
    match store.get(&id.manifest_key()).await {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.is_not_found() => {
            Err(SnapshotError::NoSuchSnapshot { location: store.location(), id: id.clone() })
        }
        Err(error) => Err(error.into()),
    }
}

/// Reads and checks a chunk of at most so many raw bytes; a damaged answer is asked for once more, as the way may be at fault
/// and not the store.
pub(super) async fn read_chunk(store: &Store, key: &ChunkKey, largest: u64) -> Result<Bytes, SnapshotError> {
    match read_chunk_once(store, key, largest).await {
        Err(SnapshotError::DamagedChunk { reason, .. }) => {
            tracing::debug!(%key, reason, "the chunk is read again");
            read_chunk_once(store, key, largest).await
        }
        result => result,
    }
}

async fn read_chunk_once(store: &Store, key: &ChunkKey, largest: u64) -> Result<Bytes, SnapshotError> {
    let damaged = |reason: String| SnapshotError::DamagedChunk { key: key.object(), parts: Vec::new(), reason };
    let stored = match store.get_at_most(&key.object(), chunk::largest_stored(largest)).await {
        Err(StoreError::Damaged { .. }) => return Err(damaged("it is larger than the snapshot says".to_owned())),
        result => result?,
    };
    let name = key.chunk;
    let raw = compute(move || chunk::decode(&stored, &name, largest)).await?;
    raw.map(Bytes::from).map_err(damaged)
}

impl Segment {
    /// The rows of this segment as `COPY` text, from the raw bytes of its chunk.
    pub fn of(&self, raw: &Bytes) -> Result<Bytes, SnapshotError> {
        slice(raw, self).ok_or_else(|| beyond(self))
    }
}

pub(super) fn slice(raw: &Bytes, segment: &Segment) -> Option<Bytes> {
    let start = usize::try_from(segment.offset).ok()?;
    let end = start.checked_add(usize::try_from(segment.length).ok()?)?;
    (end <= raw.len()).then(|| raw.slice(start..end))
}

fn beyond(segment: &Segment) -> SnapshotError {
    let reason = format!("it reaches to byte {} and beyond the chunk", segment.offset.saturating_add(segment.length));
    SnapshotError::Mismatch { part: format!("a segment of chunk {}", segment.chunk), reason }
}

/// How rows that were read differ from those that were recorded, for a message.
pub(super) fn difference(recorded: &RowSetHash, found: &RowSetHash) -> Option<String> {
    if recorded == found {
        None
    } else if recorded.rows != found.rows {
        Some(format!("{} rows were recorded and {} are there", recorded.rows, found.rows))
    } else {
        Some(format!("the {} rows are not the recorded ones (their hash differs)", found.rows))
    }
}

fn shared_chunks(manifest: &Manifest) -> HashSet<ChunkId> {
    let mut seen = HashSet::new();
    let segments = manifest.tables.iter().flat_map(|table| &table.segments);
    segments.map(|segment| segment.chunk).filter(|chunk| !seen.insert(*chunk)).collect()
}
