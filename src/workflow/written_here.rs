//! The manifests that this machine wrote, by their hashes: a store in which one of them has changed raises an alarm.
//!
//! Never a grant: what is not in the list is believed as before. The list lies outside of the store, in the state directory of
//! the user, so that who can write to the store cannot change it.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::snapshot::{SnapshotId, SnapshotReader};
use crate::store::Store;

use super::{Error, Operator, Project};

/// Hashes kept for each store; the oldest go first.
const KEPT: usize = 1_000;

impl Project {
    /// Opens a snapshot, and says it when this machine wrote another manifest under its id.
    pub async fn open_snapshot(
        &self,
        store: &Store,
        id: &SnapshotId,
        operator: &dyn Operator,
    ) -> Result<SnapshotReader, Error> {
        let reader = SnapshotReader::open(store, id).await?;
        let written = self.written_list(store).map(|list| read(&list)).unwrap_or_default();
        if written.get(id.as_str()).is_some_and(|sha256| sha256 != reader.manifest_sha256()) {
            operator.warn(&format!(
                "ALARM: the manifest of snapshot {id} in {} is not the one that this machine wrote: somebody changed it in the \
                 store. Restore or rehearse with it only when you know why",
                store.location()
            ));
        }
        Ok(reader)
    }

    /// Remembers a manifest that was just written here. That it cannot stops nothing.
    pub(super) async fn remember_written(&self, store: &Store, id: &SnapshotId) {
        let Some(list) = self.written_list(store) else { return };
        let remembered = async {
            let bytes = store.get(&id.manifest_key()).await.map_err(|error| error.to_string())?;
            let mut written = read(&list);
            written.insert(id.to_string(), hex::encode(Sha256::digest(&bytes)));
            while written.len() > KEPT {
                // Ids sort by time.
                written.pop_first();
            }
            write(&list, &written).map_err(|error| error.to_string())
        };
        if let Err(error) = remembered.await {
            tracing::debug!(error, "the manifest is not remembered");
        }
    }

    /// By the address of the store: what lies in it could be a copy of another one.
    fn written_list(&self, store: &Store) -> Option<PathBuf> {
        let name = hex::encode(&Sha256::digest(store.location())[..8]);
        Some(self.state_dir.as_ref()?.join(format!("manifests-{name}.json")))
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
