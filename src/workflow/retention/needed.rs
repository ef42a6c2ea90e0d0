//! Why a snapshot may not go, whatever the rules say.

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;

use crate::postgres::{KeptDatabase, RunRecord, ledger};
use crate::snapshot::SnapshotId;
use crate::store::Store;

use super::super::{Error, Operator, Project, rehearse};
use super::pins::Pin;

/// Reasons by snapshot.
pub(super) struct Needed(BTreeMap<SnapshotId, Vec<String>>);

/// Runs whose old databases or overwritten rows are kept in production.
struct KeptOfRuns(BTreeSet<String>);

impl Needed {
    /// Reads what needs the snapshots of a source: pins, runs, what production keeps, and stored rehearsals.
    pub(super) async fn read(
        (project, store): (&Project, &Store),
        (source, runs): (&str, &[RunRecord]),
        pins: &BTreeMap<SnapshotId, Pin>,
        operator: &dyn Operator,
    ) -> Result<Self, Error> {
        let mut needed = Self(BTreeMap::new());
        for (id, pin) in pins {
            needed.add(Some(id.as_str()), format!("pinned: {}", pin.why));
        }
        for run in runs.iter().filter(|run| run.outcome.is_none()) {
            needed.add(run.snapshot_id.as_deref(), format!("the way back of run {}, which has not ended", run.id));
        }
        if let Some(last) = runs.iter().rev().find(|run| run.snapshot_id.is_some()) {
            needed.add(last.snapshot_id.as_deref(), format!("the way back of the last run, {}", last.id));
        }
        let kept = match project.source == source {
            true => KeptOfRuns::read(project, operator).await,
            false => None,
        };
        for run in runs.iter().filter(|run| kept.as_ref().map_or(may_keep(run), |kept| kept.0.contains(&run.id))) {
            needed.add(run.snapshot_id.as_deref(), format!("production keeps what run {} put aside", run.id));
        }
        let since = OffsetDateTime::now_utc() - project.max_age;
        for (rehearsal, snapshot) in rehearse::bases(store, since).await? {
            needed.add(Some(&snapshot), format!("rehearsal {rehearsal} stands for a new one"));
        }
        Ok(needed)
    }

    fn add(&mut self, snapshot: Option<&str>, why: String) {
        if let Some(Ok(id)) = snapshot.map(SnapshotId::parse) {
            self.0.entry(id).or_default().push(why);
        }
    }

    /// Why this one may not go.
    pub(super) fn of(&self, id: &SnapshotId) -> Vec<String> {
        self.0.get(id).cloned().unwrap_or_default()
    }
}

/// Whether a run may have put something aside, where production was not asked.
fn may_keep(run: &RunRecord) -> bool {
    run.swap.as_ref().is_some_and(|swap| swap.kept.is_some()) || run.command.contains("--table")
}

impl KeptOfRuns {
    /// None: production cannot be asked from here, which is said.
    async fn read(project: &Project, operator: &dyn Operator) -> Option<Self> {
        match Self::asked(project).await {
            Ok(kept) => Some(kept),
            Err(error) => {
                operator.warn(&format!(
                    "production was not asked what it keeps of earlier runs, so their snapshots stay: {error}"
                ));
                None
            }
        }
    }

    async fn asked(project: &Project) -> Result<Self, Error> {
        let session = project.target.connect("safe-migrate retention").await?;
        let kept = KeptDatabase::all(&session).await?.into_iter().map(|kept| kept.run);
        let runs = kept.chain(ledger::runs_with_saved_tables(&session).await?).collect();
        session.close().await;
        Ok(Self(runs))
    }
}
