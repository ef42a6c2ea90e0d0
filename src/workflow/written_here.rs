//! The manifests and receipts that this machine wrote, by their hashes: a store in which one of them has changed raises an
//! alarm.
//!
//! What is not in the list is believed as before; but for settings of a database that act on each session, nothing is believed
//! more for being in it. The list lies outside of the store, in the state directory of
//! the user, so that who can write to the store cannot change it.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::snapshot::{SnapshotId, SnapshotReader};
use crate::store::{ObjectKey, Store, StoreError};

use super::{Error, Operator, Project};

/// Hashes kept for each store; the oldest go first.
const KEPT: usize = 1_000;
const MANIFESTS: &str = "manifests";
const RECEIPTS: &str = "receipts";

fn receipt_key(rehearsal: &str) -> Result<ObjectKey, StoreError> {
    ObjectKey::new(format!("rehearsals/{rehearsal}/receipt.json"))
}

impl Project {
    /// Opens a snapshot, and says it when this machine wrote another manifest under its id.
    pub async fn open_snapshot(
        &self,
        store: &Store,
        id: &SnapshotId,
        operator: &dyn Operator,
    ) -> Result<SnapshotReader, Error> {
        let reader = SnapshotReader::open(store, id).await?;
        if self.wrote_manifest(store, &reader) == Some(false) {
            operator.warn(&format!(
                "ALARM: the manifest of snapshot {id} in {} is not the one that this machine wrote: somebody changed it in the \
                 store. Restore or rehearse with it only when you know why",
                store.location()
            ));
        }
        Ok(reader)
    }

    /// Whether this machine wrote this manifest, as it was read. None: it wrote none of that snapshot.
    pub fn wrote_manifest(&self, store: &Store, reader: &SnapshotReader) -> Option<bool> {
        let written = self.written_list(store, MANIFESTS).map(|list| read(&list)).unwrap_or_default();
        written.get(reader.manifest().id.as_str()).map(|sha256| sha256 == reader.manifest_sha256())
    }

    /// The snapshots that this machine wrote to the store.
    pub(super) fn written_snapshots(&self, store: &Store) -> Vec<SnapshotId> {
        let written = self.written_list(store, MANIFESTS).map(|list| read(&list)).unwrap_or_default();
        written.keys().filter_map(|id| SnapshotId::parse(id).ok()).collect()
    }

    /// Whether this machine wrote this receipt, as it is in the store now. None: it wrote none of that rehearsal.
    pub async fn wrote_receipt(&self, store: &Store, rehearsal: &str) -> Result<Option<bool>, Error> {
        let written = self.written_list(store, RECEIPTS).map(|list| read(&list)).unwrap_or_default();
        let Some(sha256) = written.get(rehearsal) else { return Ok(None) };
        Ok(Some(*sha256 == hex::encode(Sha256::digest(&store.get(&receipt_key(rehearsal)?).await?))))
    }

    /// Remembers a manifest that was just written here. That it cannot stops nothing.
    pub(super) async fn remember_written(&self, store: &Store, id: &SnapshotId) {
        self.remember(store, (MANIFESTS, id.as_str()), Ok(id.manifest_key())).await;
    }

    /// Remembers a receipt that was just written here. That it cannot stops nothing.
    pub(super) async fn remember_receipt(&self, store: &Store, rehearsal: &str) {
        self.remember(store, (RECEIPTS, rehearsal), receipt_key(rehearsal)).await;
    }

    async fn remember(&self, store: &Store, (kind, id): (&str, &str), key: Result<ObjectKey, StoreError>) {
        let Some(list) = self.written_list(store, kind) else { return };
        let remembered = async {
            let key = key.map_err(|error| error.to_string())?;
            let bytes = store.get(&key).await.map_err(|error| error.to_string())?;
            let mut written = read(&list);
            written.insert(id.to_owned(), hex::encode(Sha256::digest(&bytes)));
            while written.len() > KEPT {
                // Ids sort by time.
                written.pop_first();
            }
            write(&list, &written).map_err(|error| error.to_string())
        };
        if let Err(error) = remembered.await {
            tracing::debug!(error, kind, "what was written is not remembered");
        }
    }

    /// By the address of the store: what lies in it could be a copy of another one.
    fn written_list(&self, store: &Store, kind: &str) -> Option<PathBuf> {
        let name = hex::encode(&Sha256::digest(store.location())[..8]);
        Some(self.state_dir.as_ref()?.join(format!("{kind}-{name}.json")))
    }
}

fn read(list: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read(list).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn write(list: &Path, written: &BTreeMap<String, String>) -> std::io::Result<()> {
    let directory = list.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory)?;
    let new = list.with_extension(format!("new-{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec(written)?)?;
    std::fs::rename(new, list)
}
