//! Making plans.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::error::{MigrationError, PlanError};
use super::file::Migration;
use super::graph::{DependencyGraph, GraphError, Node};
use super::id::MigrationId;
use super::ledger_check::AppliedMigration;
use super::plan::{Direction, Plan, PlanStep};
use super::set::MigrationSet;
use super::target::Target;

impl MigrationSet {
    /// The pending migrations that lead to a target, each behind what it depends on.
    ///
    /// Without `app`: all. With `app`: all of it. With `target` (a number, a name or the start of one): up to and with
    /// it. What those depend on in other apps comes along. Nothing to do gives an empty plan.
    pub fn plan_apply(
        &self,
        applied: &[AppliedMigration],
        app: Option<&str>,
        target: Option<&str>,
    ) -> Result<Plan, PlanError> {
        let applied_ids = ids(applied);
        let known = self.iter().map(|migration| migration.id.clone()).collect();
        let ends: Vec<MigrationId> = match Target::resolve(&known, app, target)? {
            Target::All => known.into_iter().collect(),
            Target::App(app) => known.into_iter().filter(|id| id.app == app).collect(),
            Target::Migration(id) => {
                self.refuse_going_back(&id, &applied_ids)?;
                vec![id]
            }
            Target::Zero(app) => return Err(PlanError::ZeroIsRollback { app }),
        };
        let wanted = self.graph.with_ancestors(&ends);
        let pending =
            |migration: &&Arc<Migration>| wanted.contains(&migration.id) && !applied_ids.contains(&migration.id);
        Ok(Plan::new(Direction::Apply, self.iter().filter(pending).cloned().collect()))
    }

    fn refuse_going_back(&self, target: &MigrationId, applied: &BTreeSet<MigrationId>) -> Result<(), PlanError> {
        if !applied.contains(target) {
            return Ok(());
        }
        let behind = self.dependents(target);
        let is_later = |id: &&MigrationId| id.app == target.app && behind.contains(*id) && applied.contains(*id);
        let later: Vec<MigrationId> = self.graph.order().iter().filter(is_later).cloned().collect();
        if later.is_empty() { Ok(()) } else { Err(PlanError::AlreadyPast { target: target.clone(), later }) }
    }

    /// Rolls back what is applied behind `target` in `app`, and all that depends on it in any app, in reverse order.
    ///
    /// `target` is a number, a name, the start of one, or `zero` for all of the app. Migrations without file are taken
    /// from the text that the ledger keeps. Nothing to do gives an empty plan.
    pub fn plan_rollback(&self, applied: &[AppliedMigration], app: &str, target: &str) -> Result<Plan, PlanError> {
        let history = History::new(self, applied)?;
        let starts = self.behind(&history, applied, app, target)?;
        history.rollback(starts)
    }

    /// The same without the down sections: what is to be forgotten, not undone (`rollback --fake`).
    pub fn plan_forget(&self, applied: &[AppliedMigration], app: &str, target: &str) -> Result<Plan, PlanError> {
        let history = History::new(self, applied)?;
        let starts = self.behind(&history, applied, app, target)?;
        history.forget(starts)
    }

    /// What is applied, each behind what it depends on, by the ledger's own texts.
    pub fn applied_in_order(&self, applied: &[AppliedMigration]) -> Result<Vec<Arc<Migration>>, PlanError> {
        let history = History::new(self, applied)?;
        let rows: BTreeMap<&MigrationId, &AppliedMigration> = applied.iter().map(|row| (&row.id, row)).collect();
        let in_order = history.graph.order().iter().filter_map(|id| rows.get(id));
        let read = |row: &&AppliedMigration| {
            let found = |migration: Arc<Migration>| match self.get(&row.id) {
                Some(file) => Arc::new(Migration::clone(&migration).with_programs_of(file)),
                None => migration,
            };
            read_ledger_text(row)
                .map(found)
                .map_err(|source| PlanError::LedgerText { migration: row.id.clone(), source: Box::new(source) })
        };
        in_order.map(read).collect()
    }

    /// The applied migrations of `app` behind `target`.
    fn behind(
        &self,
        history: &History<'_>,
        applied: &[AppliedMigration],
        app: &str,
        target: &str,
    ) -> Result<BTreeSet<MigrationId>, PlanError> {
        let known = self.iter().map(|migration| migration.id.clone()).chain(ids(applied)).collect();
        let starts: Vec<MigrationId> = match Target::resolve(&known, Some(app), Some(target))? {
            Target::Migration(target) if !history.applied.contains(&target) => {
                return Err(PlanError::TargetNotApplied { target });
            }
            Target::Migration(target) => {
                history.graph.dependents(&target).into_iter().filter(|id| id.app == app).collect()
            }
            _ => known.into_iter().filter(|id| id.app == app).collect(),
        };
        // Only what is applied counts as a start: an applied migration may, by mistake, stand on an unapplied one.
        Ok(starts.into_iter().filter(|id| history.applied.contains(id)).collect())
    }

    /// Rolls back exactly the migrations that run `run_id` applied, in reverse order.
    ///
    /// Refused when a migration of a later run depends on one of them. A run that applied nothing gives an empty plan.
    pub fn plan_rollback_run(&self, applied: &[AppliedMigration], run_id: &str) -> Result<Plan, PlanError> {
        let history = History::new(self, applied)?;
        let own: BTreeSet<MigrationId> =
            applied.iter().filter(|row| row.run_id == run_id).map(|row| row.id.clone()).collect();
        for squash in own.iter().filter_map(|id| self.get(id)).filter(|one| !one.replaces.is_empty()) {
            let others = self.runs_of_replaced.get(&squash.id).into_iter().flatten().filter(|run| *run != run_id);
            if let Some(other) = others.into_iter().next() {
                return Err(PlanError::SquashOfSeveralRuns {
                    run_id: run_id.to_owned(),
                    squash: squash.id.clone(),
                    other: other.clone(),
                });
            }
        }
        let behind = history.graph.with_dependents(&own);
        let is_later = |id: &&MigrationId| behind.contains(*id) && history.applied.contains(*id) && !own.contains(*id);
        if let Some(later) = history.graph.order().iter().find(is_later).cloned() {
            let before = history.graph.ancestors(&later);
            let needed = own.iter().find(|id| before.contains(*id)).unwrap_or(&later).clone();
            return Err(PlanError::NeededByLater { run_id: run_id.to_owned(), needed, later });
        }
        history.rollback(own)
    }
}

fn ids(applied: &[AppliedMigration]) -> BTreeSet<MigrationId> {
    applied.iter().map(|row| row.id.clone()).collect()
}

/// The files together with the applied migrations that have no file any more.
struct History<'a> {
    set: &'a MigrationSet,
    applied: BTreeSet<MigrationId>,
    /// Applied migrations without file, read from the ledger. An unreadable text matters only when it has to run.
    ledger_only: BTreeMap<MigrationId, Result<Arc<Migration>, MigrationError>>,
    graph: DependencyGraph,
}

impl<'a> History<'a> {
    fn new(set: &'a MigrationSet, applied: &[AppliedMigration]) -> Result<History<'a>, PlanError> {
        let missing = applied.iter().filter(|row| set.get(&row.id).is_none());
        let ledger_only: BTreeMap<_, _> = missing.map(|row| (row.id.clone(), read_ledger_text(row))).collect();
        let mut nodes: Vec<Node> = set.iter().map(|migration| set.node_of(migration)).collect();
        let known: BTreeSet<MigrationId> =
            nodes.iter().map(|node| node.id.clone()).chain(ledger_only.keys().cloned()).collect();
        nodes.extend(ledger_only.iter().map(|(id, migration)| ledger_node(set, (id, migration.as_ref().ok()), &known)));
        let graph = DependencyGraph::build(&nodes).map_err(order_error)?;
        Ok(History { set, applied: ids(applied), ledger_only, graph })
    }

    /// Rolls back `starts` and the applied migrations that depend on them.
    fn rollback(self, starts: BTreeSet<MigrationId>) -> Result<Plan, PlanError> {
        let plan = self.forget(starts)?;
        match plan.steps.iter().find(|step| step.migration.down.is_none()) {
            Some(PlanStep { migration, .. }) => {
                Err(PlanError::IrreversibleMigration { migration: migration.id.clone(), path: migration.path.clone() })
            }
            None => Ok(plan),
        }
    }

    /// The same, whether there is a way down or not.
    fn forget(mut self, starts: BTreeSet<MigrationId>) -> Result<Plan, PlanError> {
        let mut undone = self.graph.with_dependents(&starts);
        undone.retain(|id| self.applied.contains(id) || starts.contains(id));
        let reverse: Vec<MigrationId> =
            self.graph.order().iter().rev().filter(|id| undone.contains(*id)).cloned().collect();
        let migrations: Vec<Arc<Migration>> =
            reverse.into_iter().map(|id| self.text_of(id)).collect::<Result<_, PlanError>>()?;
        Ok(Plan::new(Direction::Rollback, migrations))
    }

    fn text_of(&mut self, id: MigrationId) -> Result<Arc<Migration>, PlanError> {
        let migration = match (self.set.get(&id), self.ledger_only.remove(&id)) {
            (Some(migration), _) => migration.clone(),
            (None, Some(Ok(migration))) => migration,
            (None, Some(Err(source))) => return Err(PlanError::LedgerText { migration: id, source: Box::new(source) }),
            // Every start and every dependent is a file or a row, so there is no such case to explain better.
            (None, None) => return Err(PlanError::TargetNotApplied { target: id }),
        };
        Ok(migration)
    }
}

fn read_ledger_text(row: &AppliedMigration) -> Result<Arc<Migration>, MigrationError> {
    let path = PathBuf::from(format!("the ledger's text of {}", row.id));
    Migration::parse(row.id.clone(), path, row.text.as_bytes()).map(Arc::new)
}

/// A migration without file. What it names and nobody has any more orders nothing.
fn ledger_node(
    set: &MigrationSet,
    (id, migration): (&MigrationId, Option<&Arc<Migration>>),
    known: &BTreeSet<MigrationId>,
) -> Node {
    let Some(migration) = migration else {
        return Node { id: id.clone(), depends: vec![], run_before: vec![] };
    };
    let mut node = set.node_of(migration);
    node.depends.retain(|id| known.contains(id));
    node.run_before.retain(|id| known.contains(id));
    node
}

fn order_error(error: GraphError) -> PlanError {
    PlanError::Order(Box::new(match error {
        GraphError::Cycle(cycle) => MigrationError::Cycle { cycle, lines: Vec::new() },
        GraphError::Unknown { migration, dependency } => MigrationError::UnknownDependency {
            path: PathBuf::from(format!("{migration}.sql")),
            line: 1,
            migration,
            dependency,
            nearest: None,
        },
    }))
}

#[cfg(test)]
#[path = "planning_tests.rs"]
mod tests;
