//! The other way back: where a down section is missing or loses rows, a snapshot may lose fewer.

use crate::migration::{Direction, MigrationId, PlanError};
use crate::report::{format_count, format_list, format_things};
use crate::snapshot::{SnapshotId, SnapshotReader};

use super::super::project::Server;
use super::super::rehearse::RehearsalEvidence;
use super::super::restore::{Since, WayBack, since};
use super::super::state::State;
use super::super::{Error, Gate, Project};
use super::{Prepared, Run};

/// What restoring the snapshot of the run that applied a migration would mean.
pub(super) struct RestoreInstead {
    snapshot: SnapshotId,
    run: String,
    /// Rows that came since, with whether all of them were counted; none: the live database could not be compared.
    rows: Option<(u64, bool)>,
    /// Applied since the snapshot, and not among those that are to be undone.
    also: Vec<String>,
    way_back: WayBack,
}

impl RestoreInstead {
    /// For the oldest of these migrations. None: no snapshot was taken before it, or it is not in the store any more.
    async fn of(
        project: &Project,
        server: &Server,
        state: &State,
        migrations: &[MigrationId],
    ) -> Result<Option<Self>, Error> {
        // What a squash stands for came with several runs.
        if state.migrations.squashes().iter().any(|one| migrations.contains(&one.migration.id)) {
            return Ok(None);
        }
        let applied = state.ledger.applied.iter().filter(|one| migrations.contains(&one.id));
        let Some(first) = applied.min_by_key(|one| one.applied_at) else { return Ok(None) };
        let run = state.ledger.runs.iter().find(|run| run.id == first.run_id);
        let Some(snapshot) = run.and_then(|run| run.snapshot_id.as_deref()) else { return Ok(None) };
        let snapshot = SnapshotId::parse(snapshot)?;
        let store = project.open_store().await?;
        let reader = SnapshotReader::open(&store, &snapshot).await?;
        let since = since(project, server, &reader, project.target.database()).await?;
        // By the ledger of now: the snapshot before the first run has none.
        let own = state.ledger.applied.iter().filter(|one| one.run_id == first.run_id);
        let began = own.map(|one| one.applied_at).min().unwrap_or(first.applied_at);
        let later = state.ledger.applied.iter().filter(|one| one.applied_at >= began && !migrations.contains(&one.id));
        let also = later.map(|one| one.id.to_string()).collect();
        let way_back = WayBack::of_role(project, &server.maintenance).await?;
        Ok(Some(Self { way_back, snapshot, run: first.run_id.clone(), rows: rows_since(&since), also }))
    }

    /// The command and what it loses, in a sentence.
    fn describe(&self) -> String {
        let command = self.way_back.command(self.snapshot.as_str());
        let loses = match self.rows {
            None => "what it would lose could not be counted".to_owned(),
            Some((0, true)) => "no table has more rows than then; values changed in place would be lost".to_owned(),
            Some((0, false)) => "by the server's estimates no table has more rows than then".to_owned(),
            Some((rows, exact)) => {
                let about = if exact { "" } else { "about " };
                let how = if exact { "counted now" } else { "an estimate" };
                format!(
                    "it loses {about}{} written since ({how}), and values changed in place",
                    format_things(rows, "row")
                )
            }
        };
        let also = match self.also.as_slice() {
            [] => String::new(),
            also => format!("; it takes back {} too", format_list(also)),
        };
        format!("{command} (from before run {}): {loses}{also}", self.run)
    }
}

fn rows_since(since: &Since) -> Option<(u64, bool)> {
    if !since.was_read() {
        return None;
    }
    let more = |then: Option<u64>, now: Option<u64>| now.unwrap_or_default().saturating_sub(then.unwrap_or_default());
    let rows = since.tables.iter().map(|table| more(table.then, table.now)).sum();
    Some((rows, since.exact))
}

/// A migration without a down section: says the way that is left, and what it loses.
pub(super) async fn explain(project: &Project, server: &Server, state: &State, error: Error) -> Error {
    let Error::Plan(PlanError::IrreversibleMigration { migration, .. }) = &error else { return error };
    let found = RestoreInstead::of(project, server, state, std::slice::from_ref(migration)).await;
    let hint = match found {
        Ok(Some(way)) => way.describe(),
        Ok(None) => {
            format!("no snapshot was taken before {migration}; `safe-migrate snapshot list` shows what there is")
        }
        Err(why) => format!("the snapshot from before {migration} cannot be used: {why}"),
    };
    match error {
        Error::Plan(source) => Error::NoWayDown { source, hint },
        error => error,
    }
}

impl Prepared {
    async fn restore_instead(&self, project: &Project) -> Result<Option<RestoreInstead>, Error> {
        let migrations: Vec<MigrationId> = self.plan.steps.iter().map(|step| step.migration.id.clone()).collect();
        RestoreInstead::of(project, &self.server, &self.state, &migrations).await
    }

    /// What a dry run of a rollback adds: what the text of the down sections drops, and the other way.
    pub(super) async fn ways_back(&self, project: &Project) -> Vec<String> {
        if self.plan.direction == Direction::Apply {
            return Vec::new();
        }
        let losses = crate::lint::data_loss(&self.plan);
        let mut lines: Vec<String> = losses.iter().map(|finding| format!("the plan: {finding}")).collect();
        match self.restore_instead(project).await {
            Ok(Some(way)) => lines.push(format!("instead of the plan: {}", way.describe())),
            Ok(None) => lines.push("instead of the plan: no snapshot was taken before".to_owned()),
            Err(error) => lines.push(format!("instead of the plan: its snapshot cannot be used: {error}")),
        }
        lines
    }
}

impl Run<'_> {
    /// Adds to a refusal for lost data what a restore would lose, and which of the two loses fewer rows.
    pub(super) async fn with_restore_instead(&self, error: Error, evidence: &RehearsalEvidence) -> Error {
        let Error::Gate(gate) = error else { return error };
        let (mut losses, plan_hash) = match *gate {
            Gate::DataLoss { losses, plan_hash } if self.prepared.plan.direction == Direction::Rollback => {
                (losses, plan_hash)
            }
            gate => return gate.into(),
        };
        if let Ok(Some(way)) = self.prepared.restore_instead(self.project).await {
            losses.push(format!("  instead: {}", way.describe()));
            if let (RehearsalEvidence::Receipt(receipt), Some((rows, _))) = (evidence, way.rows) {
                let lost: u64 = receipt.report().losses.iter().map(|loss| loss.amount).sum();
                let (lost_text, rows_text) = (format_count(lost), format_count(rows));
                losses.push(match rows < lost {
                    true => format!("  the restore loses less: {rows_text} against {lost_text} rows or values"),
                    false => format!("  the plan loses no more: {lost_text} rows or values against {rows_text}"),
                });
            }
        }
        Gate::DataLoss { losses, plan_hash }.into()
    }
}
