//! Removes the chunks that no snapshot needs. FORMAT.md says why it cannot take one that somebody needs.

use std::collections::HashSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use time::{Duration, OffsetDateTime};
use xxhash_rust::xxh3::xxh3_64;

use crate::fault;
use crate::store::{ObjectKey, Store, StoreError};

use super::pending::{self, GIVEN_UP_AFTER, Pending};
use super::reader::read_manifest_of_anybody;
use super::{ChunkKey, SnapshotError, SnapshotId, Tag};

/// How many manifests are read, and how many chunks removed, at once.
const AT_ONCE: usize = 16;
/// Programs that know only format 1 may still be at work so long after the store was raised; their chunks have no tags.
const OLDER_AT_WORK: Duration = GIVEN_UP_AFTER;

/// What a sweep would remove, as the store was when it was looked at.
#[derive(Debug, Default)]
pub struct Look {
    /// Chunks in the store.
    pub chunks: u64,
    /// Bytes in the store that they take.
    pub stored_bytes: u64,
    /// Chunks that nothing needs, with their sizes.
    unused: Vec<(ChunkKey, u64)>,
    /// Snapshots that were begun long ago and never finished.
    pub given_up: Vec<SnapshotId>,
    /// Snapshots that are being taken, or were begun a short time ago.
    pub pending: Vec<SnapshotId>,
    /// Unused chunks of format 1 that stay until no older program can be at work.
    pub waiting: u64,
}

impl Look {
    /// How many chunks nothing needs.
    pub fn unused(&self) -> u64 {
        self.unused.len() as u64
    }

    /// Bytes in the store that they take.
    pub fn unused_bytes(&self) -> u64 {
        self.unused.iter().map(|(_, size)| size).sum()
    }

    /// The names of the chunks that nothing needs, sorted.
    pub fn unused_keys(&self) -> Vec<ObjectKey> {
        let mut keys: Vec<ObjectKey> = self.unused.iter().map(|(key, _)| key.object()).collect();
        keys.sort();
        keys
    }
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Chunks that were removed.
    pub removed: u64,
    /// Bytes in the store that they took.
    pub bytes: u64,
    /// Chunks that somebody needs by now.
    pub needed_again: u64,
    /// Chunks that the store does not let go yet (a retention lock).
    pub refused: u64,
}

/// What is in use. Keys are kept as 64 bits of a hash, so that a million take 16 MB: of two with the same bits both stay.
#[derive(Default)]
struct InUse {
    keys: HashSet<u64>,
    tags: HashSet<Tag>,
    pending: Vec<(SnapshotId, Pending)>,
}

impl InUse {
    fn name(&mut self, keys: &[ChunkKey]) {
        self.keys.extend(keys.iter().map(bits));
    }

    fn has(&self, key: &ChunkKey) -> bool {
        let being_written = |tag: Tag| self.tags.contains(&tag) && !fault::is_off("off.tags");
        self.keys.contains(&bits(key)) || key.tag.is_some_and(being_written)
    }
}

fn bits(key: &ChunkKey) -> u64 {
    xxh3_64(key.to_string().as_bytes())
}

/// Looks what nothing needs. Changes nothing.
///
/// What was put after it was asked what is in use is found too: [`sweep`] asks again before it removes anything.
pub async fn look(store: &Store, now: OffsetDateTime) -> Result<Look, SnapshotError> {
    let in_use = in_use(store).await?;
    let closed = store.closed_to_older_since().await?;
    let older_at_work = closed.is_some_and(|since| since.saturating_add(OLDER_AT_WORK) > now);
    let mut found = Look::default();
    // One directory after the other, so that only what is unused is held in memory.
    for directory in store.list_directories("chunks").await? {
        for object in store.list(&format!("chunks/{directory}")).await? {
            let Some(key) = ChunkKey::parse(object.key.as_str()) else { continue };
            found.chunks += 1;
            found.stored_bytes += object.size;
            if in_use.has(&key) {
                continue;
            }
            if key.tag.is_none() && older_at_work {
                found.waiting += 1;
            } else {
                found.unused.push((key, object.size));
            }
        }
    }
    let is_old = |pending: &Pending| pending.begun_at.saturating_add(GIVEN_UP_AFTER) < now;
    for (id, pending) in in_use.pending {
        if is_old(&pending) { found.given_up.push(id) } else { found.pending.push(id) }
    }
    Ok(found)
}

/// Removes what was found and is still in no use. `progress` is told chunks done and chunks in all.
pub async fn sweep(
    store: &Store,
    found: Look,
    progress: impl Fn(u64, u64) + Send + Sync,
) -> Result<Swept, SnapshotError> {
    for id in &found.given_up {
        // Its writer looks for the first of these at its end.
        for key in pending::unfinished(id) {
            store.delete(&key).await?;
        }
    }
    fault::point("sweep.looked");
    let in_use = if fault::is_off("off.sweep-looks-again") { InUse::default() } else { in_use(store).await? };
    let total = found.unused();
    let (unused, needed): (Vec<_>, Vec<_>) = found.unused.into_iter().partition(|(key, _)| !in_use.has(key));
    let mut swept = Swept { needed_again: needed.len() as u64, ..Swept::default() };
    let removals = unused.into_iter().map(|(key, size)| async move { (store.delete(&key.object()).await, size) });
    let mut removals = stream::iter(removals).buffer_unordered(AT_ONCE);
    while let Some((result, size)) = removals.next().await {
        fault::point("sweep.removed");
        match result {
            Ok(()) => {
                swept.removed += 1;
                swept.bytes += size;
            }
            Err(StoreError::PermissionDenied { .. }) if swept.removed > 0 => swept.refused += 1,
            Err(error) => return Err(error.into()),
        }
        progress(swept.removed + swept.refused + swept.needed_again, total);
    }
    Ok(swept)
}

/// Reads what every snapshot rests on, finished or not.
async fn in_use(store: &Store) -> Result<InUse, SnapshotError> {
    let names = store.list_directories("snapshots").await?;
    let ids = names.into_iter().filter_map(|name| SnapshotId::parse(&name).ok());
    let mut claims = stream::iter(ids).map(|id| claim(store, id)).buffer_unordered(AT_ONCE);
    let mut in_use = InUse::default();
    while let Some(claim) = claims.try_next().await? {
        in_use.name(&claim.keys);
        if let Some((id, pending)) = claim.pending {
            in_use.tags.insert(pending.tag);
            in_use.pending.push((id, pending));
        }
    }
    Ok(in_use)
}

/// What one snapshot rests on.
#[derive(Default)]
struct Claim {
    keys: Vec<ChunkKey>,
    pending: Option<(SnapshotId, Pending)>,
}

async fn claim(store: &Store, id: SnapshotId) -> Result<Claim, SnapshotError> {
    match read_manifest_of_anybody(store, &id).await {
        Ok(manifest) => return Ok(Claim { keys: manifest.keys(), pending: None }),
        Err(SnapshotError::NoSuchSnapshot { .. }) => {}
        Err(error @ (SnapshotError::DamagedManifest { .. } | SnapshotError::NewerFormat { .. })) => {
            // What it says of itself beside its manifest; without that, nobody knows what it needs.
            let keys = pending::read_keys(store, &id).await.ok().flatten().ok_or(error)?;
            return Ok(Claim { keys, pending: None });
        }
        Err(error) => return Err(error),
    }
    let Some(pending) = Pending::read(store, &id).await? else { return Ok(Claim::default()) };
    let keys = pending::read_keys(store, &id).await?.unwrap_or_default();
    Ok(Claim { keys, pending: Some((id, pending)) })
}
