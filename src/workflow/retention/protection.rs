//! What would come back of a source if it were lost now: the newest snapshot, the newest one that was proven.

use serde::Serialize;
use time::OffsetDateTime;

use crate::snapshot::{SnapshotId, SnapshotReader};
use crate::store::Store;

use super::super::{Error, Project};
use super::proofs;

/// So many manifests are read at most, newest first: another source of the same store may have taken many since.
const LOOKED_AT: usize = 32;

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Protection {
    /// The newest snapshot.
    pub newest: Option<Newest>,
    /// The newest that was restored and compared.
    pub proven: Option<ProvenSnapshot>,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Newest {
    /// Its name.
    pub id: SnapshotId,
    /// When it was begun (UTC).
    #[serde(with = "time::serde::rfc3339")]
    pub taken_at: OffsetDateTime,
}

/// A snapshot that was restored and compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProvenSnapshot {
    /// Its name.
    pub id: SnapshotId,
    /// When it was begun (UTC).
    #[serde(with = "time::serde::rfc3339")]
    pub taken_at: OffsetDateTime,
    /// When it was proven (UTC).
    #[serde(with = "time::serde::rfc3339")]
    pub proven_at: OffsetDateTime,
    /// How long it took until every row was there and read back, in seconds; none in older records.
    pub seconds: Option<f64>,
}

/// Looks at the store of a project. Where there is none yet, nothing would come back.
pub async fn protection(project: &Project) -> Result<Protection, Error> {
    let Some(store) = Store::open_if_there(&project.store).await? else { return Ok(Protection::default()) };
    let mut found = Protection::default();
    for id in newest_first(store.list_directories("snapshots").await?) {
        if let Some(reader) = of_source(project, &store, &id).await {
            found.newest = Some(Newest { taken_at: reader.manifest().started_at, id });
            break;
        }
    }
    let proofs = store.list("proofs").await?;
    let names = proofs.iter().filter_map(|object| object.key.as_str().strip_prefix("proofs/")?.strip_suffix(".json"));
    for id in newest_first(names.map(str::to_owned).collect()) {
        let Some(reader) = of_source(project, &store, &id).await else { continue };
        if let Some(proof) = proofs::read(&store, &id, (&project.source, reader.manifest_sha256())).await? {
            let taken_at = reader.manifest().started_at;
            found.proven = Some(ProvenSnapshot { id, taken_at, proven_at: proof.at, seconds: proof.seconds });
            break;
        }
    }
    Ok(found)
}

fn newest_first(names: Vec<String>) -> impl Iterator<Item = SnapshotId> {
    let mut ids: Vec<SnapshotId> = names.iter().filter_map(|name| SnapshotId::parse(name).ok()).collect();
    ids.sort_unstable_by(|one, other| other.cmp(one));
    ids.into_iter().take(LOOKED_AT)
}

/// One that can be read, is believed, and is of this source.
async fn of_source(project: &Project, store: &Store, id: &SnapshotId) -> Option<SnapshotReader> {
    let reader = SnapshotReader::open(store, id).await.ok()?;
    (reader.manifest().source == project.source).then_some(reader)
}
