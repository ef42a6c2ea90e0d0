//! Whether everything that the snapshots of a store need is there, each chunk looked at once.

use std::collections::{BTreeMap, HashMap};

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::store::Store;

use super::reader::{read_chunk, read_manifest_of_anybody};
use super::{ChunkKey, Manifest, Sample, SnapshotError, SnapshotId};

/// How many manifests, and how many chunks, are read at once.
const AT_ONCE: usize = 8;

/// What a look at a whole store found.
#[derive(Debug, Default)]
pub struct StoreCheck {
    /// Snapshots whose manifests are whole.
    pub snapshots: u64,
    /// Those whose manifests are not, with what is wrong.
    pub unreadable: Vec<(SnapshotId, String)>,
    /// Chunks that snapshots need.
    pub chunks: u64,
    /// Those that were read.
    pub read: u64,
    /// Chunks that nothing needs, and bytes that they take.
    pub unused: (u64, u64),
    /// What is wrong with chunks.
    pub damages: Vec<StoreDamage>,
}

/// A chunk that is not what snapshots need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreDamage {
    /// Where it should lie.
    pub key: ChunkKey,
    /// What is wrong.
    pub reason: String,
    /// The snapshots that need it, oldest first.
    pub snapshots: Vec<SnapshotId>,
}

/// What the manifests say of a chunk.
struct Wanted {
    raw: u64,
    /// None: format 1 does not say it.
    stored: Option<u64>,
    is_there: bool,
}

/// Looks at every manifest and the sizes of all chunks, and reads the chunks of a part. `progress` is told chunks read and
/// chunks to read.
///
/// Snapshots may be taken and forgotten meanwhile: what looks damaged is asked for again before it is said.
pub async fn check(
    store: &Store,
    read: Option<Sample>,
    progress: impl Fn(u64, u64) + Send + Sync,
) -> Result<StoreCheck, SnapshotError> {
    let mut found = StoreCheck::default();
    let mut wanted: HashMap<ChunkKey, Wanted> = HashMap::new();
    let mut manifests = stream::iter(ids(store).await?).map(|id| manifest(store, id)).buffer_unordered(AT_ONCE);
    while let Some(read) = manifests.next().await {
        match read? {
            None => {}
            Some((id, Err(reason))) => found.unreadable.push((id, reason)),
            Some((_, Ok(manifest))) => {
                found.snapshots += 1;
                want(&mut wanted, &manifest);
            }
        }
    }
    drop(manifests);
    found.unreadable.sort();
    found.chunks = wanted.len() as u64;
    let mut reasons: BTreeMap<ChunkKey, String> = BTreeMap::new();
    for directory in store.list_directories("chunks").await? {
        for object in store.list(&format!("chunks/{directory}")).await? {
            let Some(key) = ChunkKey::parse(object.key.as_str()) else { continue };
            let Some(wanted) = wanted.get_mut(&key) else {
                found.unused = (found.unused.0 + 1, found.unused.1 + object.size);
                continue;
            };
            wanted.is_there = true;
            match wanted.stored {
                Some(stored) if stored != object.size => {
                    let reason = format!("it has {} bytes and should have {stored}", object.size);
                    reasons.insert(key, reason);
                }
                None if object.size == 0 => drop(reasons.insert(key, "it is empty".to_owned())),
                _ => {}
            }
        }
    }
    let missing = wanted.iter().filter(|(_, wanted)| !wanted.is_there);
    reasons.extend(missing.map(|(key, _)| (*key, "it is missing".to_owned())));
    if let Some(sample) = read {
        let part = wanted.iter().filter(|(key, wanted)| wanted.is_there && sample.contains(&key.chunk));
        let part: Vec<(ChunkKey, u64)> = part.map(|(key, wanted)| (*key, wanted.raw)).collect();
        let total = part.len() as u64;
        let mut reads = stream::iter(part).map(|(key, raw)| damage(store, key, raw)).buffer_unordered(AT_ONCE);
        while let Some((key, reason)) = reads.try_next().await? {
            found.read += 1;
            progress(found.read, total);
            reasons.extend(reason.map(|reason| (key, reason)));
        }
    }
    found.damages = still_needed(store, reasons).await?;
    Ok(found)
}

async fn ids(store: &Store) -> Result<Vec<SnapshotId>, SnapshotError> {
    let names = store.list_directories("snapshots").await?;
    Ok(names.iter().filter_map(|name| SnapshotId::parse(name).ok()).collect())
}

/// None: there is none, because it is being taken or was forgotten.
type Read = Option<(SnapshotId, Result<Manifest, String>)>;

async fn manifest(store: &Store, id: SnapshotId) -> Result<Read, SnapshotError> {
    match read_manifest_of_anybody(store, &id).await {
        Ok(manifest) => Ok(Some((id, Ok(manifest)))),
        Err(SnapshotError::NoSuchSnapshot { .. }) => Ok(None),
        Err(error @ (SnapshotError::DamagedManifest { .. } | SnapshotError::NewerFormat { .. })) => {
            Ok(Some((id, Err(error.to_string()))))
        }
        Err(error) => Err(error),
    }
}

fn want(wanted: &mut HashMap<ChunkKey, Wanted>, manifest: &Manifest) {
    let sizes: HashMap<_, _> = manifest.stored.iter().map(|one| (one.chunk, (one.raw, one.stored))).collect();
    for (chunk, largest) in manifest.largest_chunks() {
        let (raw, stored) = match sizes.get(&chunk) {
            Some((raw, stored)) => (*raw, Some(*stored)),
            None => (largest, None),
        };
        let known = wanted.entry(manifest.key_of(&chunk)).or_insert(Wanted { raw: 0, stored: None, is_there: false });
        known.raw = known.raw.max(raw);
        known.stored = known.stored.or(stored);
    }
}

/// What is wrong with the content of a chunk, if anything.
async fn damage(store: &Store, key: ChunkKey, raw: u64) -> Result<(ChunkKey, Option<String>), SnapshotError> {
    match read_chunk(store, &key, raw).await {
        Ok(_) => Ok((key, None)),
        Err(SnapshotError::DamagedChunk { reason, .. }) => Ok((key, Some(reason))),
        Err(SnapshotError::Store(error)) if error.is_not_found() => Ok((key, Some("it is missing".to_owned()))),
        Err(error) => Err(error),
    }
}

/// The damages that a snapshot of now still needs, with those that do.
async fn still_needed(store: &Store, reasons: BTreeMap<ChunkKey, String>) -> Result<Vec<StoreDamage>, SnapshotError> {
    if reasons.is_empty() {
        return Ok(Vec::new());
    }
    let mut needed: BTreeMap<ChunkKey, Vec<SnapshotId>> = BTreeMap::new();
    let mut manifests = stream::iter(ids(store).await?).map(|id| manifest(store, id)).buffered(AT_ONCE);
    while let Some(read) = manifests.try_next().await? {
        let Some((id, Ok(manifest))) = read else { continue };
        for key in manifest.keys().into_iter().filter(|key| reasons.contains_key(key)) {
            needed.entry(key).or_default().push(id.clone());
        }
    }
    let damage = |(key, snapshots): (ChunkKey, Vec<SnapshotId>)| {
        let reason = reasons.get(&key).cloned().unwrap_or_default();
        StoreDamage { key, reason, snapshots }
    };
    Ok(needed.into_iter().map(damage).collect())
}
