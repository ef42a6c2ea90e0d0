//! Which snapshot to restore: the newest one is often the one taken after the damage.

use std::collections::BTreeSet;

use time::{Duration, OffsetDateTime};

use crate::signing::Doubt;
use crate::snapshot::{self, SnapshotId, SnapshotState, SnapshotSummary};
use crate::store::Store;

use super::super::retention::{forgotten, withheld};
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
    /// The one taken before the last run that took one.
    BeforeLast,
}

/// What to do where the store has no snapshot.
pub const TAKE_ONE: &str = "take one with `safe-migrate snapshot create`";
const LIST_SNAPSHOTS: &str = "`safe-migrate snapshot list` shows what there is";
const LIST_RUNS: &str = "`safe-migrate history` lists the runs";

impl Choice {
    /// A snapshot by its word: an id, or `latest` (also `last`).
    pub fn snapshot(word: &str) -> Result<Self, Error> {
        Ok(match word {
            "latest" | "last" => Self::Latest,
            id => Self::Id(SnapshotId::parse(id)?),
        })
    }

    /// The snapshot before a run by that one's word: an id, `last-apply` or `last`.
    pub fn before(word: &str) -> Self {
        match word {
            "last-apply" => Self::BeforeLastApply,
            "last" => Self::BeforeLast,
            run => Self::Before(run.to_owned()),
        }
    }
}

/// The snapshots of this source, newest first; damaged ones are left out.
pub async fn candidates(project: &Project, store: &Store) -> Result<Vec<SnapshotSummary>, Error> {
    let all = snapshot::list(store).await?;
    let of_source =
        |summary: &SnapshotSummary| summary.details().is_some_and(|details| details.source == project.source);
    Ok(refused_last(store, all.into_iter().filter(of_source).collect()).await)
}

/// Puts the snapshots last that runs took which then changed nothing: a gate refused them, or they stopped before. Such a
/// run has no record in the store, which knows of each run before production does.
pub async fn refused_last(store: &Store, found: Vec<SnapshotSummary>) -> Vec<SnapshotSummary> {
    let refused = refused(store, &found).await;
    let (last, first): (Vec<_>, Vec<_>) = found.into_iter().partition(|one| refused.contains(&one.id));
    first.into_iter().chain(last).collect()
}

/// Those of these snapshots whose run changed nothing. Nothing is said where the store cannot be listed.
pub async fn refused(store: &Store, found: &[SnapshotSummary]) -> BTreeSet<SnapshotId> {
    let Ok(runs) = run_record::ids(store).await else { return BTreeSet::new() };
    let is_refused = |one: &&SnapshotSummary| {
        let run = one.details().and_then(|details| details.reason.run.as_ref());
        run.is_some_and(|run| !runs.contains(run))
    };
    found.iter().filter(is_refused).map(|one| one.id.clone()).collect()
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
            before(project, store, changes, "apply or rollback").await
        }
        Choice::BeforeLast => {
            before(project, store, |record| record.snapshot_id.is_some(), "run with a snapshot").await
        }
    }
}

/// The newest of this source. A newer one with a damaged manifest may be of this source too: passing over it in silence
/// would restore an older state than the operator means.
async fn latest(project: &Project, store: &Store, operator: &dyn Operator) -> Result<SnapshotId, Error> {
    let latest_possible = OffsetDateTime::now_utc() + CLOCKS_DIFFER;
    let found = snapshot::list(store).await?;
    for gap in withheld(store, &found).await?.into_iter().filter(|gap| gap.source == project.source) {
        if gap.newest.1 > gap.newest.0 {
            return Err(Error::NoSnapshot {
                message: format!("the newest snapshot cannot be told: {gap}"),
                hint: LIST_SNAPSHOTS,
            });
        }
        operator.warn(&gap.to_string());
    }
    let forgotten = forgotten(store).await?;
    for summary in found {
        if forgotten.contains(summary.id.as_str()) {
            operator
                .warn(&format!("snapshot {} was forgotten, and somebody put it back; it does not count", summary.id));
            continue;
        }
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
            SnapshotState::Untrusted { doubt: doubt @ Doubt::Exchanged, .. } => {
                let message = format!(
                    "the newest snapshot cannot be told: {} was changed ({doubt}); name the one to restore by its id",
                    summary.id
                );
                return Err(Error::NoSnapshot { message, hint: LIST_SNAPSHOTS });
            }
            SnapshotState::Untrusted { details, doubt } if details.source == project.source => {
                // Whoever can write to the store could be the newest; and could stop every restore, were this an error.
                operator.warn(&format!("snapshot {} does not count as the newest: {doubt}", summary.id));
            }
            SnapshotState::Complete(_) | SnapshotState::Untrusted { .. } => {}
            // Anybody can put something there that cannot be read; not, that one of the keys signed it.
            SnapshotState::Damaged { reason } if store.trust().is_set() && !is_signed(store, &summary.id).await? => {
                operator.warn(&format!("snapshot {} does not count: {reason}, and it is not signed", summary.id));
            }
            SnapshotState::Damaged { reason } => {
                let message = format!(
                    "the newest snapshot cannot be told: {} is damaged ({reason}); name the one to restore by its id",
                    summary.id
                );
                return Err(Error::NoSnapshot { message, hint: LIST_SNAPSHOTS });
            }
        }
    }
    let message = format!("{} holds no snapshot of source \"{}\"", store.location(), project.source);
    Err(Error::NoSnapshot { message, hint: TAKE_ONE })
}

/// Whether a key that counts signed a snapshot of this id, whatever has become of it.
async fn is_signed(store: &Store, id: &SnapshotId) -> Result<bool, Error> {
    let signed = snapshot::statement(store, id).await?;
    Ok(signed.is_some_and(|signed| store.trust().keys.iter().any(|key| key.key == signed.key)))
}

async fn before(
    project: &Project,
    store: &Store,
    wanted: impl Fn(&crate::postgres::RunRecord) -> bool,
    what: &str,
) -> Result<SnapshotId, Error> {
    let runs = run_record::read_believed(store, &project.source).await?;
    let believed = runs.iter().rev().find(|run| wanted(run));
    if store.trust().is_set() {
        // An older one in its place would be another snapshot than is meant.
        let all = run_record::read_all(store, &project.source).await?;
        let newest = all.iter().rev().find(|run| wanted(run));
        if newest.is_some_and(|newest| believed.is_none_or(|one| one.id != newest.id)) {
            let message = format!("the record of {what} is not signed by a key that counts");
            return Err(Error::NoSnapshot {
                message,
                hint: "name the snapshot by its id; `safe-migrate snapshot list` says before what it was taken",
            });
        }
    }
    let Some(run) = believed else {
        let message = format!("{} knows no {what} of source \"{}\"", store.location(), project.source);
        return Err(Error::NoSnapshot { message, hint: LIST_RUNS });
    };
    let id = run.snapshot_id.as_deref().ok_or_else(|| Error::NoSnapshot {
        message: format!("run {} ({}) took no snapshot", run.id, run.command),
        hint: LIST_SNAPSHOTS,
    })?;
    Ok(SnapshotId::parse(id)?)
}
