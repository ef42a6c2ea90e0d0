//! Which snapshot to restore: the newest one is often the one taken after the damage.

use time::{Duration, OffsetDateTime};

use crate::snapshot::{self, SnapshotId, SnapshotState, SnapshotSummary};
use crate::store::Store;

use super::super::{Error, Operator, Project, run_record};

/// How far the clock of another machine may be ahead.
const CLOCKS_DIFFER: Duration = Duration::minutes(5);

/// How the operator names a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// By its id.
    Id(SnapshotId),
    /// The newest of this source.
    Latest,
    /// The one taken before a run.
    Before(String),
    /// The one taken before the last apply or rollback.
    BeforeLastApply,
}

/// The snapshots of this source, newest first; damaged ones are left out.
pub async fn candidates(project: &Project, store: &Store) -> Result<Vec<SnapshotSummary>, Error> {
    let all = snapshot::list(store).await?;
    Ok(all
        .into_iter()
        .filter(|summary| summary.details().is_some_and(|details| details.source == project.source))
        .collect())
}

/// Finds the snapshot that the operator means. `latest` never crosses sources.
pub async fn choose(
    project: &Project,
    store: &Store,
    choice: &Choice,
    operator: &dyn Operator,
) -> Result<SnapshotId, Error> {
    match choice {
        Choice::Id(id) => Ok(id.clone()),
        Choice::Latest => latest(project, store, operator).await,
        Choice::Before(run) => before(project, store, |record| record.id == *run, &format!("run {run}")).await,
        Choice::BeforeLastApply => {
            let changes = |record: &crate::postgres::RunRecord| {
                record.command.starts_with("apply") || record.command.starts_with("rollback")
            };
            before(project, store, changes, "an apply or rollback").await
        }
    }
}

/// The newest of this source. A newer one with a damaged manifest may be of this source too: passing over it in silence
/// would restore an older state than the operator means.
async fn latest(project: &Project, store: &Store, operator: &dyn Operator) -> Result<SnapshotId, Error> {
    let latest_possible = OffsetDateTime::now_utc() + CLOCKS_DIFFER;
    for summary in snapshot::list(store).await? {
        if summary.id.begun_at() > latest_possible {
            // Whoever can write to the store could be the newest for ever by a date.
            operator.warn(&format!(
                "snapshot {} is dated in the future and does not count as the newest; name it by its id if it is right",
                summary.id
            ));
            continue;
        }
        match summary.state {
            SnapshotState::Complete(details) if details.source == project.source => return Ok(summary.id),
            SnapshotState::Complete(_) => {}
            SnapshotState::Damaged { reason } => {
                return Err(Error::NoSnapshot(format!(
                    "the newest snapshot cannot be told: {} is damaged ({reason}); name the one to restore by its id",
                    summary.id
                )));
            }
        }
    }
    Err(Error::NoSnapshot(format!("{} holds no snapshot of source \"{}\"", store.location(), project.source)))
}

async fn before(
    project: &Project,
    store: &Store,
    wanted: impl Fn(&crate::postgres::RunRecord) -> bool,
    what: &str,
) -> Result<SnapshotId, Error> {
    let runs = run_record::read_all(store, &project.source).await?;
    let Some(run) = runs.iter().rev().find(|run| wanted(run)) else {
        return Err(Error::NoSnapshot(format!(
            "{} knows no {what} of source \"{}\"",
            store.location(),
            project.source
        )));
    };
    let id = run
        .snapshot_id
        .as_deref()
        .ok_or_else(|| Error::NoSnapshot(format!("run {} ({}) took no snapshot", run.id, run.command)))?;
    Ok(SnapshotId::parse(id)?)
}
