//! What is damaged in a snapshot: all of it, by table and object.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use crate::store::{ObjectKey, Store, StoreError};

use super::error::needed_by;
use super::reader::{difference, read_chunk, read_manifest, slice};
use super::writer::compute;
use super::{ChunkId, ChunkKey, Manifest, RowSetHash, Sample, Segment, SnapshotError, SnapshotId, VerifiedSnapshot};

/// How far to verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The manifest is whole and every chunk is there.
    Exists,
    /// Every chunk is read: its SHA-256, and the count and row-set hash of each segment.
    Hash,
}

impl Level {
    fn at_once(self) -> usize {
        match self {
            Self::Exists => 16,
            Self::Hash => 4,
        }
    }
}

/// One object that is not what the snapshot needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The object.
    pub key: ObjectKey,
    /// The tables and blobs that need it, such as `table public.orders`: all of them, of which the sentence names three.
    pub parts: Vec<String>,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}{}", self.key, self.reason, needed_by(&self.parts))
    }
}

/// What a verification found.
#[derive(Clone, Debug)]
pub struct VerifyReport {
    /// The snapshot.
    pub id: SnapshotId,
    /// How far it was verified.
    pub level: Level,
    /// Which of its chunks were looked at.
    pub sample: Sample,
    /// Chunks that were looked at.
    pub chunks: u64,
    /// Chunks that the snapshot has.
    pub all_chunks: u64,
    /// All damage, sorted by object. Empty: the snapshot is whole.
    pub damages: Vec<Damage>,
    manifest: Option<Manifest>,
}

impl VerifyReport {
    /// The evidence, when the whole was looked at and nothing is damaged; otherwise [`SnapshotError::Damaged`] or
    /// [`SnapshotError::PartlyVerified`].
    pub fn into_verified(self) -> Result<VerifiedSnapshot, SnapshotError> {
        match (self.manifest, self.damages.first()) {
            (_, None) if !self.sample.is_whole() => {
                Err(SnapshotError::PartlyVerified { id: self.id, sample: self.sample })
            }
            (Some(manifest), None) => Ok(VerifiedSnapshot::new(manifest, self.level)),
            (_, first) => {
                let first = first.map(ToString::to_string).unwrap_or_default();
                Err(SnapshotError::Damaged { id: self.id, count: self.damages.len(), first })
            }
        }
    }
}

/// Verifies a snapshot. `progress` is told chunks done and chunks in all.
///
/// Damage does not end it: it is gathered in the report. A store that cannot be reached or refuses us does.
pub async fn verify(
    store: &Store,
    id: &SnapshotId,
    level: Level,
    progress: impl Fn(u64, u64) + Send + Sync,
) -> Result<VerifyReport, SnapshotError> {
    verify_sample(store, id, level, Sample::WHOLE, progress).await
}

/// Verifies the manifest and the chunks of one part, as [`verify`] does.
///
/// The parts together find what [`verify`] finds, but for a blob of several chunks whose length is not their sum: a
/// mistake of the writer, which checks it, and not of the store.
pub async fn verify_sample(
    store: &Store,
    id: &SnapshotId,
    level: Level,
    sample: Sample,
    progress: impl Fn(u64, u64) + Send + Sync,
) -> Result<VerifyReport, SnapshotError> {
    let mut report =
        VerifyReport { id: id.clone(), level, sample, chunks: 0, all_chunks: 0, damages: Vec::new(), manifest: None };
    let manifest = match read_manifest(store, id).await {
        Ok(read) => {
            read.believed(id)?;
            read.manifest
        }
        Err(SnapshotError::DamagedManifest { key, reason, .. }) => {
            report.damages.push(Damage { key, parts: vec!["the whole snapshot".to_owned()], reason });
            return Ok(report);
        }
        Err(error) => return Err(error),
    };
    report.damages.extend(foreign_store(store, &manifest));
    let in_manifest = manifest.contradictions().into_iter();
    report.damages.extend(in_manifest.map(|(part, reason)| Damage {
        key: id.manifest_key(),
        parts: vec![part],
        reason,
    }));

    let mut uses = uses(&manifest);
    report.all_chunks = uses.len() as u64;
    uses.retain(|chunk, _| sample.contains(chunk));
    let total = uses.len() as u64;
    let placed: Vec<(ChunkKey, Uses)> = uses.into_iter().map(|(chunk, uses)| (manifest.key_of(&chunk), uses)).collect();
    let checks = placed.into_iter().map(|(key, uses)| check_chunk(store, level, key, uses));
    let mut checked = stream::iter(checks).buffer_unordered(level.at_once());
    let mut raw_sizes = BTreeMap::new();
    while let Some(result) = checked.next().await {
        let Checked { chunk, raw_size, damages } = result?;
        raw_sizes.extend(raw_size.map(|size| (chunk, size)));
        report.damages.extend(damages);
        report.chunks += 1;
        progress(report.chunks, total);
    }
    report.damages.extend(uneven_blobs(&manifest, &raw_sizes));
    report.damages.sort_by(|left, right| left.key.cmp(&right.key));
    report.manifest = Some(manifest);
    Ok(report)
}

/// The id of the store is in every manifest, so that a changed `safe-migrate.json` is found too.
fn foreign_store(store: &Store, manifest: &Manifest) -> Option<Damage> {
    let reason = format!("the store's id is {}, and the snapshot was made for {}", store.id(), manifest.store_id);
    let damage = Damage { key: Store::root_key(), parts: vec!["the whole snapshot".to_owned()], reason };
    (store.id() != manifest.store_id).then_some(damage)
}

/// What a chunk is needed for.
#[derive(Default)]
struct Uses {
    segments: Vec<(String, Segment)>,
    blobs: Vec<String>,
    /// Raw bytes that it has at most.
    largest: u64,
}

impl Uses {
    /// Each table and blob once.
    fn parts(&self) -> Vec<String> {
        let mut parts: Vec<String> = self.segments.iter().map(|(table, _)| table).chain(&self.blobs).cloned().collect();
        parts.dedup();
        parts
    }
}

fn uses(manifest: &Manifest) -> BTreeMap<ChunkId, Uses> {
    let mut uses: BTreeMap<ChunkId, Uses> = BTreeMap::new();
    for table in &manifest.tables {
        for segment in &table.segments {
            let name = format!("table {}", table.qualified_name());
            uses.entry(segment.chunk).or_default().segments.push((name, segment.clone()));
        }
    }
    for (name, blob) in manifest.blobs() {
        blob.chunks.iter().for_each(|chunk| uses.entry(*chunk).or_default().blobs.push(name.to_owned()));
    }
    for (chunk, largest) in manifest.largest_chunks() {
        uses.entry(chunk).or_default().largest = largest;
    }
    uses
}

struct Checked {
    chunk: ChunkId,
    /// Known at [`Level::Hash`], when the chunk is whole.
    raw_size: Option<u64>,
    damages: Vec<Damage>,
}

async fn check_chunk(store: &Store, level: Level, at: ChunkKey, uses: Uses) -> Result<Checked, SnapshotError> {
    let (chunk, key) = (at.chunk, at.object());
    let found = match level {
        Level::Exists => match store.size(&key).await {
            Ok(Some(0)) => Err("it is empty".to_owned()),
            Ok(Some(_)) => Ok(None),
            Ok(None) => Err("it is missing".to_owned()),
            Err(error) => Err(damage_of(error)?),
        },
        Level::Hash => match read_chunk(store, &at, uses.largest).await {
            Ok(raw) => Ok(Some(raw)),
            Err(SnapshotError::DamagedChunk { reason, .. }) => Err(reason),
            Err(SnapshotError::Store(error)) => Err(damage_of(error)?),
            Err(error) => return Err(error),
        },
    };
    match found {
        Ok(None) => Ok(Checked { chunk, raw_size: None, damages: Vec::new() }),
        Ok(Some(raw)) => {
            let raw_size = Some(raw.len() as u64);
            let damages = compute(move || check_segments(&key, &raw, uses.segments)).await?;
            Ok(Checked { chunk, raw_size, damages })
        }
        Err(reason) => {
            let damage = Damage { key, parts: uses.parts(), reason };
            Ok(Checked { chunk, raw_size: None, damages: vec![damage] })
        }
    }
}

/// What an error of the store says about the object, unless it says something about the store.
fn damage_of(error: StoreError) -> Result<String, StoreError> {
    match error {
        StoreError::NotFound { .. } => Ok("it is missing".to_owned()),
        StoreError::Io { action, source, .. } => Ok(format!("cannot {action} it: {source}")),
        error => Err(error),
    }
}

fn check_segments(key: &ObjectKey, raw: &Bytes, segments: Vec<(String, Segment)>) -> Vec<Damage> {
    let check = |(table, segment): (String, Segment)| {
        let reason = match slice(raw, &segment) {
            None => Some("a segment reaches beyond it".to_owned()),
            Some(rows) => difference(&segment.rows, &RowSetHash::of_lines(&rows)),
        };
        reason.map(|reason| Damage { key: key.clone(), parts: vec![table], reason })
    };
    segments.into_iter().filter_map(check).collect()
}

/// Blobs all of whose chunks are whole and whose length is not their sum.
fn uneven_blobs(manifest: &Manifest, raw_sizes: &BTreeMap<ChunkId, u64>) -> Vec<Damage> {
    let check = |(name, blob): (&'static str, &super::Blob)| {
        let sum = blob.chunks.iter().map(|chunk| raw_sizes.get(chunk)).sum::<Option<u64>>()?;
        let reason = format!("{name} should have {} bytes and its chunks hold {sum}", blob.length);
        let damage = Damage { key: manifest.id.manifest_key(), parts: vec![name.to_owned()], reason };
        (sum != blob.length).then_some(damage)
    };
    manifest.blobs().into_iter().filter_map(check).collect()
}
