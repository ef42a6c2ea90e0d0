//! All migrations of a project and their order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::MigrationError;
use super::file::Migration;
use super::graph::{DependencyGraph, GraphError, Node};
use super::id::MigrationId;
use super::ledger_check::AppliedMigration;
use super::load::read_directory;
use super::nearest::nearest;
use super::squashed::{self, Squash};

/// Migrations of one app that no other of the app follows, when there are several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The app.
    pub app: String,
    /// What a merging migration has to depend on.
    pub leaves: Vec<MigrationId>,
}

/// All migrations of a project and their order.
#[derive(Clone, Debug)]
pub struct MigrationSet {
    /// All files, also those that a squash stands for, or that stand for a squash.
    files: BTreeMap<MigrationId, Arc<Migration>>,
    migrations: BTreeMap<MigrationId, Arc<Migration>>,
    squashes: Vec<Squash>,
    /// Of each squash, the runs that applied what it replaces.
    pub(super) runs_of_replaced: BTreeMap<MigrationId, BTreeSet<String>>,
    stands_for: BTreeMap<MigrationId, Vec<MigrationId>>,
    pub(super) graph: DependencyGraph,
}

impl MigrationSet {
    /// Reads the directory: `dir/<app>/NNNN_name.sql`, or files directly in `dir` as the one app `default_app`.
    pub fn load(dir: &Path, default_app: &str) -> Result<MigrationSet, MigrationError> {
        MigrationSet::new(read_directory(dir, default_app)?)
    }

    /// Orders migrations that were read already, for a database that has none of them ([`MigrationSet::for_ledger`]).
    pub fn new(migrations: Vec<Migration>) -> Result<MigrationSet, MigrationError> {
        let mut files = BTreeMap::new();
        for migration in migrations {
            if let Some(first) = files.insert(migration.id.clone(), Arc::new(migration)) {
                return Err(MigrationError::Duplicate(first.id.clone()));
            }
        }
        MigrationSet::choose(files, &[])
    }

    /// The same files as a database with these rows sees them: a squash, or what it replaces.
    pub fn for_ledger(self, applied: &[AppliedMigration]) -> Result<MigrationSet, MigrationError> {
        MigrationSet::choose(self.files, applied)
    }

    fn choose(
        files: BTreeMap<MigrationId, Arc<Migration>>,
        applied: &[AppliedMigration],
    ) -> Result<MigrationSet, MigrationError> {
        let chosen = squashed::choose(&files, &applied.iter().map(|row| row.id.clone()).collect())?;
        let runs = |squash: &Squash| {
            let rows = applied.iter().filter(|row| squash.replaces.contains(&row.id));
            (squash.migration.id.clone(), rows.map(|row| row.run_id.clone()).collect())
        };
        let runs_of_replaced = chosen.squashes.iter().map(runs).collect();
        let kept = files.iter().filter(|(id, _)| !chosen.dropped.contains(*id));
        let migrations: BTreeMap<_, _> = kept.map(|(id, file)| (id.clone(), file.clone())).collect();
        let nodes: Vec<Node> = migrations.values().map(|file| node_of(file, &chosen.stands_for)).collect();
        let graph = DependencyGraph::build(&nodes).map_err(|error| explain(error, &migrations))?;
        Ok(MigrationSet {
            files,
            migrations,
            squashes: chosen.squashes,
            runs_of_replaced,
            stands_for: chosen.stands_for,
            graph,
        })
    }

    /// The squashes among the files.
    pub fn squashes(&self) -> &[Squash] {
        &self.squashes
    }

    /// What the graph needs to know of a migration, which may be one that only the ledger has.
    pub(super) fn node_of(&self, migration: &Migration) -> Node {
        node_of(migration, &self.stands_for)
    }

    /// All files, by name: also those that are out of the order because of a squash.
    pub fn files(&self) -> impl Iterator<Item = &Arc<Migration>> {
        self.files.values()
    }

    /// The migration of this name.
    pub fn get(&self, id: &MigrationId) -> Option<&Arc<Migration>> {
        self.migrations.get(id)
    }

    /// All of them, each behind what it depends on; ties by app, number and name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Migration>> {
        self.graph.order().iter().filter_map(|id| self.migrations.get(id))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.migrations.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.migrations.is_empty()
    }

    /// The apps that have migrations.
    pub fn apps(&self) -> BTreeSet<&str> {
        self.migrations.keys().map(|id| id.app.as_str()).collect()
    }

    /// The apps with more than one leaf: every run stops until a migration merges them.
    pub fn conflicts(&self) -> Vec<Conflict> {
        let leaves = self.graph.leaves().into_iter();
        leaves.filter(|(_, leaves)| leaves.len() > 1).map(|(app, leaves)| Conflict { app, leaves }).collect()
    }

    /// The migrations of an app that no other of it follows.
    pub fn leaves_of(&self, app: &str) -> Vec<MigrationId> {
        self.graph.leaves().remove(app).unwrap_or_default()
    }

    /// What `id` depends on directly, its default parent included.
    pub fn dependencies(&self, id: &MigrationId) -> BTreeSet<MigrationId> {
        self.graph.direct_dependencies(id)
    }

    /// All that `id` depends on, without itself.
    pub fn ancestors(&self, id: &MigrationId) -> BTreeSet<MigrationId> {
        self.graph.ancestors(id)
    }

    /// All that depends on `id`, without itself.
    pub fn dependents(&self, id: &MigrationId) -> BTreeSet<MigrationId> {
        self.graph.dependents(id)
    }
}

/// What the graph needs to know of `migration`, with what is out of it replaced by what stands for it.
fn node_of(migration: &Migration, stands_for: &BTreeMap<MigrationId, Vec<MigrationId>>) -> Node {
    let mean = |ids: &[MigrationId]| -> Vec<MigrationId> {
        let mut next: Vec<MigrationId> = ids.to_vec();
        let mut found: Vec<MigrationId> = Vec::new();
        while let Some(id) = next.pop() {
            match stands_for.get(&id) {
                // What a squash within a squash stands for.
                Some(others) => next.extend(others.iter().cloned()),
                None if id != migration.id && !found.contains(&id) => found.push(id),
                None => {}
            }
        }
        found
    };
    Node { id: migration.id.clone(), depends: mean(&migration.depends), run_before: mean(&migration.run_before) }
}

fn explain(error: GraphError, migrations: &BTreeMap<MigrationId, Arc<Migration>>) -> MigrationError {
    let (migration, dependency) = match error {
        GraphError::Cycle(cycle) => return MigrationError::Cycle { lines: header_lines(&cycle, migrations), cycle },
        GraphError::Unknown { migration, dependency } => (migration, dependency),
    };
    let names: Vec<String> = migrations.keys().filter(|id| **id != migration).map(MigrationId::to_string).collect();
    let wanted = dependency.to_string();
    let nearest = nearest(&wanted, names.iter().map(String::as_str)).first().and_then(|name| name.parse().ok());
    let (path, line) =
        migrations.get(&migration).map(|file| (file.path.clone(), file.line_naming(&dependency))).unwrap_or_default();
    MigrationError::UnknownDependency { path, line, migration, dependency, nearest }
}

/// Where the migrations of a circle name each other.
fn header_lines(cycle: &[MigrationId], migrations: &BTreeMap<MigrationId, Arc<Migration>>) -> Vec<(PathBuf, u32)> {
    let next = cycle.iter().cycle().skip(1);
    let pairs = cycle.iter().zip(next).flat_map(|(one, other)| [(one, other), (other, one)]);
    let named = pairs.filter_map(|(id, other)| {
        let file = migrations.get(id)?;
        let names = file.depends.contains(other) || file.run_before.contains(other);
        names.then(|| (file.path.clone(), file.line_naming(other)))
    });
    named.collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migration(id: &str, header: &str) -> Migration {
        let path = PathBuf::from(format!("m/{id}.sql"));
        Migration::parse(id.parse().unwrap(), path, format!("{header}-- migrate:up\n").as_bytes()).unwrap()
    }

    #[test]
    fn an_unknown_dependency_names_file_line_and_the_nearest() {
        let error = MigrationSet::new(vec![
            migration("menu/0001_initial", ""),
            migration("orders/0001_initial", "-- Orders.\n-- depends: menu/0001_inital\n"),
        ])
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "m/orders/0001_initial.sql:2: orders/0001_initial names menu/0001_inital, and there is no such migration"
        );
        assert_eq!(error.hint().as_deref(), Some("did you mean menu/0001_initial?"));
    }

    #[test]
    fn a_circle_is_shown_as_one() {
        let error = MigrationSet::new(vec![
            migration("a/0001_x", "-- depends: b/0001_x\n"),
            migration("b/0001_x", "-- depends: a/0001_x\n"),
        ])
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "migrations depend on each other in a circle: a/0001_x -> b/0001_x -> a/0001_x\n  \
             m/a/0001_x.sql:1\n  m/b/0001_x.sql:1"
        );
    }

    #[test]
    fn conflicts_are_reported_per_app() {
        let set = MigrationSet::new(vec![
            migration("a/0001_x", ""),
            migration("a/0002_y", ""),
            migration("a/0002_z", ""),
            migration("b/0001_x", ""),
        ])
        .unwrap();
        let conflicts = set.conflicts();
        assert_eq!(conflicts.len(), 1);
        assert_eq!(conflicts[0].leaves, ["a/0002_y".parse().unwrap(), "a/0002_z".parse().unwrap()]);
        assert_eq!(set.apps().into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn the_history_in_this_repository_is_whole_and_reversible() {
        let set = MigrationSet::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations"), "main").unwrap();
        assert_eq!(set.conflicts(), []);
        assert!(set.apps().is_superset(&BTreeSet::from(["accounts", "menu", "orders"])));
        let irreversible: Vec<_> = set.iter().filter(|migration| migration.down.is_none()).map(|m| &m.id).collect();
        assert!(irreversible.is_empty(), "{irreversible:?}");
        assert!(set.iter().all(|migration| !migration.up.statements.is_empty()));
    }

    #[test]
    fn the_same_name_twice_is_refused() {
        let twice = vec![migration("a/0001_x", ""), migration("a/0001_x", "")];
        assert!(matches!(MigrationSet::new(twice), Err(MigrationError::Duplicate(_))));
    }
}
