//! The shadow before anything is run on it: restored from the snapshot and proven, or a copy of one that was.

use time::OffsetDateTime;

use crate::postgres::Programs;
use crate::snapshot::SnapshotReader;

use super::super::schema_reading::{SchemaReading, read_raw};
use super::super::shadow::{Kept, Shadow};
use super::super::{Error, Gate, Interrupt, Operator, Project};
use super::phases::Stopwatch;

/// A snapshot restored into a shadow and proven, before anything is run on it.
#[derive(Debug)]
pub struct RestoredShadow {
    /// The shadow.
    pub shadow: Shadow,
    /// Its schema.
    pub before: SchemaReading,
    /// When the restore began.
    pub started_at: OffsetDateTime,
    /// When a copy was restored that was kept; none: just now.
    pub restored_at: Option<OffsetDateTime>,
    /// Where the time went so far.
    pub stopwatch: Stopwatch,
}

/// Restores the snapshot into a shadow and proves that the one is the other; or copies the shadow that was kept of it.
pub async fn restore(
    project: &Project,
    programs: &Programs,
    reader: &SnapshotReader,
    kept: Option<&Kept>,
    operator: &dyn Operator,
    interrupt: &Interrupt,
) -> Result<RestoredShadow, Error> {
    let started_at = OffsetDateTime::now_utc();
    let mut stopwatch = Stopwatch::start();
    let copied = match kept {
        Some(kept) => kept.start(project, programs, reader, operator, interrupt).await?,
        None => None,
    };
    let (shadow, restored_at) = match copied {
        Some((shadow, proven_at)) => (shadow, Some(proven_at)),
        None => (restore_anew(project, programs, reader, operator, interrupt).await?, None),
    };
    stopwatch.phase(if restored_at.is_some() { "copy from cache" } else { "restore" });
    let shadow = match kept.filter(|_| restored_at.is_none()) {
        Some(kept) => {
            let shadow = kept.keep(shadow, reader, operator, interrupt).await?;
            stopwatch.phase("keep");
            shadow
        }
        None => shadow,
    };
    let before = read_raw(programs, &shadow.spec(), &project.fingerprint_ignore).await?;
    Ok(RestoredShadow { shadow, before, started_at, restored_at, stopwatch })
}

async fn restore_anew(
    project: &Project,
    programs: &Programs,
    reader: &SnapshotReader,
    operator: &dyn Operator,
    interrupt: &Interrupt,
) -> Result<Shadow, Error> {
    operator.step("restoring the snapshot into a shadow");
    let (shadow, proof) =
        Shadow::restore(project, programs, reader, Some(project.target.user()), operator, interrupt).await?;
    if proof.differences.is_empty() { Ok(shadow) } else { Err(Gate::ProofFailed(proof.differences).into()) }
}
