//! How much disk and time a restore will take, and how sure that is.

use std::path::Path;
use std::time::Duration;

use crate::postgres::{RunRecord, Session, database};
use crate::snapshot::{Manifest, SnapshotId, SnapshotReader};
use crate::store::Store;

use super::super::doctor::space::free_bytes;
use super::super::{Error, Project, run_record};

/// Bytes of rows that are restored and proven in a second where nothing was measured: a small server's.
const ASSUMED_RATE: u64 = 20_000_000;
/// Schema, indexes of small tables and the proof of the schema.
const AT_LEAST_SECONDS: u64 = 2;
/// Bytes of rows below which the time goes into the schema.
const SMALL: u64 = 20_000_000;
/// Records of runs that are looked at for an earlier restore.
const LOOKED_AT: usize = 20;

/// Disk that a restore takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Space {
    /// About as many bytes as this.
    pub needed: u64,
    /// Free bytes where the server keeps its data; none when that disk cannot be seen from here.
    pub free: Option<u64>,
}

/// Time that a restore takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TimeEstimate {
    /// About as many seconds as this.
    pub seconds: u64,
    /// Whether an earlier restore of this source was measured; otherwise a rate is assumed.
    pub measured: bool,
}

/// A database takes as much as the live one does, or, where that is gone or was emptied, its rows and half as much again.
pub(super) async fn space(
    project: &Project,
    session: &Session,
    manifest: &Manifest,
    live: &str,
) -> Result<Space, Error> {
    let size = database::size(session, live).await?.unwrap_or_default();
    let by_rows = manifest.totals.raw_bytes.saturating_add(manifest.totals.raw_bytes / 2);
    let free = match project.target.is_local() {
        true => database::data_directory(session).await?.and_then(|path| free_in(Path::new(&path))),
        false => None,
    };
    Ok(Space { needed: size.max(by_rows), free })
}

/// Only when the directory is there: the server may be in a container of this machine.
fn free_in(path: &Path) -> Option<u64> {
    path.exists().then(|| free_bytes(path).ok()).flatten()
}

/// From the last restore of this source, else from an assumed rate.
pub(super) async fn time(project: &Project, store: &Store, manifest: &Manifest) -> TimeEstimate {
    let bytes = manifest.totals.raw_bytes;
    if let Some(measured) = measured(project, store, bytes).await {
        return TimeEstimate { seconds: measured.as_secs().max(1), measured: true };
    }
    TimeEstimate { seconds: (bytes / ASSUMED_RATE).max(AT_LEAST_SECONDS), measured: false }
}

/// An estimate is not worth a failure: what cannot be read is passed over.
async fn measured(project: &Project, store: &Store, bytes: u64) -> Option<Duration> {
    let runs = run_record::read_newest(store, &project.source, LOOKED_AT).await.ok()?;
    let is_restore = |run: &&RunRecord| run.command.starts_with("restore ") && run.outcome.as_deref() == Some("done");
    for run in runs.iter().rev().filter(is_restore) {
        let Some(took) = run.finished_at.map(|end| (end - run.started_at).unsigned_abs()) else { continue };
        let Some(id) = run.snapshot_id.as_deref().and_then(|id| SnapshotId::parse(id).ok()) else { continue };
        let Ok(reader) = SnapshotReader::open(store, &id).await else { continue };
        // A small database measures how long a schema takes, which says nothing of rows, and the other way round.
        let then = reader.manifest().totals.raw_bytes;
        if (then > SMALL) == (bytes > SMALL) {
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let share = if bytes > SMALL { bytes as f64 / then as f64 } else { 1.0 };
            return Some(Duration::try_from_secs_f64(took.as_secs_f64() * share).unwrap_or(Duration::MAX));
        }
    }
    None
}
