//! Which snapshots a store keeps: what the rules say, what may never go, and the removal.
//!
//! | file | what it holds |
//! |---|---|
//! | `policy.rs` | [`Rules`] and what they decide (pure) |
//! | `needed.rs` | why a snapshot may not go, whatever the rules say |
//! | `pins.rs`, `proofs.rs` | what the store keeps beside a snapshot: that it is pinned, and that it was restored |
//! | `protection.rs` | what would come back if a source were lost now |
//! | `tombstones.rs` | that a snapshot was forgotten on purpose |
//! | `withheld.rs` | snapshots that are gone, and nobody signed why |

mod needed;
mod pins;
mod policy;
mod proofs;
mod protection;
mod tombstones;
mod withheld;

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};

use crate::postgres::RunRecord;
use crate::report::format_things;
use crate::snapshot::{self, SnapshotDetails, SnapshotId, SnapshotState, SnapshotSummary};
use crate::store::Store;

pub use pins::{Pin, pin, pins, unpin};
pub use policy::{Decision, Rules};
pub use proofs::{disprove, is_damage, proven};
pub use protection::{Protection, protection};
pub use tombstones::{lost, put as put_tombstone};
pub use withheld::{Withheld, withheld};

pub(super) use proofs::{disprove_by, record_proof};
pub(super) use tombstones::forgotten;

use super::{Error, Gate, Operator, Project, restore, run_record};
use needed::Needed;
use policy::{Facts, TakenFor, decide};

/// More than so many in a hundred are not removed at once, unless the operator says another number.
const MAX_REMOVE: u32 = 25;
const RECENT: Duration = Duration::days(2);

/// What forgetting would do.
#[derive(Debug)]
pub struct ForgetPlan {
    /// Of each source, newest first.
    pub sources: Vec<SourcePlan>,
    /// Snapshots that cannot be read, or are not believed, and why: whose they are is not known, so they stay.
    pub unreadable: Vec<(SnapshotId, &'static str)>,
    /// Names the removals: the same snapshots go under the same hash.
    pub hash: String,
}

/// What forgetting would do to the snapshots of one source.
#[derive(Debug)]
pub struct SourcePlan {
    /// The configured name of the database.
    pub source: String,
    /// What becomes of each.
    pub decisions: Vec<Decision>,
    /// How many of them were taken in the last two days.
    pub recent: usize,
}

impl ForgetPlan {
    /// The snapshots that would go, oldest first.
    pub fn removals(&self) -> Vec<&SnapshotId> {
        let decisions = self.sources.iter().flat_map(|source| &source.decisions);
        let mut ids: Vec<&SnapshotId> = decisions.filter(|one| !one.keep).map(|one| &one.id).collect();
        ids.sort();
        ids
    }

    /// How many there are.
    pub fn snapshots(&self) -> usize {
        self.sources.iter().map(|source| source.decisions.len()).sum()
    }

    /// Refuses more than so many in a hundred at once, as a mistake in the rules would remove them. None: a quarter of them, or
    /// as many as were taken in the last two days, since where many are taken each day as many go.
    pub fn refuse_many(&self, percent: Option<u32>) -> Result<(), Error> {
        let (removed, of) = (self.removals().len(), self.snapshots());
        let recent: usize = self.sources.iter().map(|source| source.recent).sum();
        let (percent, always) = percent.map_or((MAX_REMOVE, recent), |percent| (percent, 0));
        if removed * 100 <= of * percent as usize || removed <= always {
            return Ok(());
        }
        Err(Gate::ForgetsMany { what: format!("{removed} of {of}"), percent, plan_hash: self.hash.clone() }.into())
    }
}

/// Looks what these rules would remove of a source; none: of every source of the store. Changes nothing.
pub async fn plan(
    project: &Project,
    store: &Store,
    source: Option<&str>,
    rules: &Rules,
    operator: &dyn Operator,
) -> Result<ForgetPlan, Error> {
    let now = OffsetDateTime::now_utc();
    let found = snapshot::list(store).await?;
    let refused = restore::refused(store, &found).await;
    let unreadable = found.iter().filter_map(|one| Some((one.id.clone(), unread(&one.state)?))).collect();
    let of = |one: &SnapshotSummary| one.details().map(|details| details.source.clone());
    let names: BTreeSet<String> = match source {
        Some(source) => BTreeSet::from([source.to_owned()]),
        None => found.iter().filter_map(of).collect(),
    };
    let (proven, pins) = (proven(store, &found).await?, pins(store).await?);
    let mut sources = Vec::new();
    for name in names {
        let runs = run_record::read_all(store, &name).await?;
        let needed = Needed::read((project, store), (&name, &runs), &pins, operator).await?;
        let mine = found.iter().filter_map(|one| Some((&one.id, one.details()?)));
        let facts = mine.filter(|(_, details)| details.source == name).map(|(id, details)| Facts {
            id: id.clone(),
            taken_at: details.started_at,
            taken: taken(details, refused.contains(id), &runs),
            proven: proven.contains(id),
            needed: needed.of(id),
        });
        let facts: Vec<Facts> = facts.collect();
        let is_recent = |one: &&Facts| (Duration::ZERO..=RECENT).contains(&(now - one.taken_at));
        let recent = facts.iter().filter(is_recent).count();
        sources.push(SourcePlan { decisions: decide(facts, rules, now), recent, source: name });
    }
    let mut plan = ForgetPlan { sources, unreadable, hash: String::new() };
    plan.hash = hash(&plan, store);
    Ok(plan)
}

fn unread(state: &SnapshotState) -> Option<&'static str> {
    match state {
        SnapshotState::Complete(_) => None,
        SnapshotState::Untrusted { .. } => Some("is not believed"),
        SnapshotState::Damaged { .. } => Some("cannot be read"),
    }
}

fn taken(details: &SnapshotDetails, refused: bool, runs: &[RunRecord]) -> TakenFor {
    let is_of = |run: &RunRecord| details.reason.run.as_deref() == Some(run.id.as_str());
    match (refused, runs.iter().any(is_of)) {
        (true, _) => TakenFor::Refused,
        (false, true) => TakenFor::Change,
        (false, false) => TakenFor::NoRun,
    }
}

fn hash(plan: &ForgetPlan, store: &Store) -> String {
    let mut hasher = Sha256::new();
    hasher.update(store.id());
    for id in plan.removals() {
        hasher.update("\n");
        hasher.update(id.as_str());
    }
    hex::encode(&hasher.finalize()[..6])
}

/// Removes what the plan removes, oldest first, and answers what was removed. What was pinned meanwhile stays.
pub async fn forget(
    project: &Project,
    store: &Store,
    plan: &ForgetPlan,
    operator: &dyn Operator,
) -> Result<Vec<SnapshotId>, Error> {
    let mut removed = Vec::new();
    for id in plan.removals() {
        if pins::is_pinned(store, id).await? {
            operator.step(&format!("snapshot {id} was pinned meanwhile, and stays"));
            continue;
        }
        tombstones::put(project, store, id).await?;
        match snapshot::delete(store, id).await {
            // Somebody else forgets too.
            Ok(()) | Err(snapshot::SnapshotError::NoSuchSnapshot { .. }) => removed.push(id.clone()),
            Err(error) => {
                operator.step(&format!("{} were removed before this", format_things(removed.len() as u64, "snapshot")));
                return Err(error.into());
            }
        }
        // Its rows are not kept on this machine either.
        project.shadow_cache_forget(id.as_str());
        forget_beside(store, id).await;
    }
    Ok(removed)
}

/// Removes what is kept beside a snapshot that is gone. That it cannot stops nothing.
pub async fn forget_beside(store: &Store, id: &SnapshotId) {
    proofs::forget(store, id).await;
    if let Err(error) = unpin(store, id).await {
        tracing::debug!(%error, snapshot = %id, "its pin is not removed");
    }
}
