//! The order of migrations: who depends on whom.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{Dfs, EdgeRef, IntoNeighbors, Reversed, Visitable};

use super::id::MigrationId;

/// What the graph needs to know of a migration.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub id: MigrationId,
    pub depends: Vec<MigrationId>,
    pub run_before: Vec<MigrationId>,
}

/// Why there is no order.
#[derive(Debug)]
pub(super) enum GraphError {
    Unknown { migration: MigrationId, dependency: MigrationId },
    Cycle(Vec<MigrationId>),
}

/// How a dependency came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    /// `depends:` or `run-before:`.
    Stated,
    /// The next lower number of the app.
    Default,
    /// The next lower number of the app, which several migrations have. It keeps the order but merges nothing: the
    /// author of the later migration saw only one of them.
    Ambiguous,
}

/// Migrations and their dependencies; an edge goes from a dependency to what depends on it.
#[derive(Clone, Debug)]
pub(super) struct DependencyGraph {
    graph: DiGraph<MigrationId, Edge>,
    nodes: BTreeMap<MigrationId, NodeIndex>,
    order: Vec<MigrationId>,
}

impl DependencyGraph {
    pub fn build(migrations: &[Node]) -> Result<DependencyGraph, GraphError> {
        let mut graph = DiGraph::new();
        let nodes: BTreeMap<MigrationId, NodeIndex> =
            migrations.iter().map(|node| (node.id.clone(), graph.add_node(node.id.clone()))).collect();
        let numbers = by_number(nodes.keys());
        for node in migrations {
            let find = |dependency: &MigrationId| {
                nodes
                    .get(dependency)
                    .copied()
                    .ok_or_else(|| GraphError::Unknown { migration: node.id.clone(), dependency: dependency.clone() })
            };
            let own = nodes[&node.id];
            for dependency in &node.depends {
                graph.update_edge(find(dependency)?, own, Edge::Stated);
            }
            for later in &node.run_before {
                graph.update_edge(own, find(later)?, Edge::Stated);
            }
            let parents = default_parents(node, &numbers);
            for parent in parents {
                let edge = if parents.len() > 1 { Edge::Ambiguous } else { Edge::Default };
                let parent = nodes[parent];
                if graph.find_edge(parent, own).is_none() {
                    graph.add_edge(parent, own, edge);
                }
            }
        }
        let order = topological_order(&graph)?;
        Ok(DependencyGraph { graph, nodes, order })
    }

    /// All migrations, each behind what it depends on; ties by app, number and name.
    pub fn order(&self) -> &[MigrationId] {
        &self.order
    }

    pub fn direct_dependencies(&self, id: &MigrationId) -> BTreeSet<MigrationId> {
        let Some(index) = self.nodes.get(id) else { return BTreeSet::new() };
        self.graph.neighbors_directed(*index, Direction::Incoming).map(|node| self.graph[node].clone()).collect()
    }

    /// All that `id` depends on, without itself.
    pub fn ancestors(&self, id: &MigrationId) -> BTreeSet<MigrationId> {
        let mut all = self.with_ancestors([id]);
        all.remove(id);
        all
    }

    /// These, and all that one of them depends on.
    pub fn with_ancestors<'a>(&self, ids: impl IntoIterator<Item = &'a MigrationId>) -> BTreeSet<MigrationId> {
        self.reached(Reversed(&self.graph), ids)
    }

    /// All that depends on `id`, without itself.
    pub fn dependents(&self, id: &MigrationId) -> BTreeSet<MigrationId> {
        let mut all = self.with_dependents([id]);
        all.remove(id);
        all
    }

    /// These, and all that depends on one of them.
    pub fn with_dependents<'a>(&self, ids: impl IntoIterator<Item = &'a MigrationId>) -> BTreeSet<MigrationId> {
        self.reached(&self.graph, ids)
    }

    /// One walk for all of the starts: each migration is visited once.
    fn reached<'a, G>(&self, graph: G, ids: impl IntoIterator<Item = &'a MigrationId>) -> BTreeSet<MigrationId>
    where
        G: IntoNeighbors<NodeId = NodeIndex> + Visitable<NodeId = NodeIndex> + Copy,
    {
        let mut search = Dfs::empty(graph);
        let mut found = BTreeSet::new();
        for start in ids.into_iter().filter_map(|id| self.nodes.get(id)) {
            search.move_to(*start);
            while let Some(node) = search.next(graph) {
                found.insert(self.graph[node].clone());
            }
        }
        found
    }

    /// Per app, the migrations that no other of the app follows.
    pub fn leaves(&self) -> BTreeMap<String, Vec<MigrationId>> {
        let mut leaves: BTreeMap<String, Vec<MigrationId>> = BTreeMap::new();
        for (id, index) in &self.nodes {
            let followed = self
                .graph
                .edges_directed(*index, Direction::Outgoing)
                .any(|edge| *edge.weight() != Edge::Ambiguous && self.graph[edge.target()].app == id.app);
            if !followed {
                leaves.entry(id.app.clone()).or_default().push(id.clone());
            }
        }
        leaves
    }
}

type Numbers<'a> = BTreeMap<&'a str, BTreeMap<u64, Vec<&'a MigrationId>>>;

fn by_number<'a>(ids: impl Iterator<Item = &'a MigrationId>) -> Numbers<'a> {
    let mut numbers: Numbers<'a> = BTreeMap::new();
    for id in ids {
        numbers.entry(&id.app).or_default().entry(id.number()).or_default().push(id);
    }
    numbers
}

/// The migrations with the next lower number of the app, unless the migration names a parent there itself.
fn default_parents<'a>(node: &Node, numbers: &'a Numbers<'a>) -> &'a [&'a MigrationId] {
    if node.depends.iter().any(|dependency| dependency.app == node.id.app) {
        return &[];
    }
    let lower = numbers.get(node.id.app.as_str()).and_then(|app| app.range(..node.id.number()).next_back());
    lower.map_or(&[], |(_, parents)| parents.as_slice())
}

/// Kahn's algorithm; the smallest of those that are ready goes first, so that the order is always the same.
fn topological_order(graph: &DiGraph<MigrationId, Edge>) -> Result<Vec<MigrationId>, GraphError> {
    let incoming = |node| graph.neighbors_directed(node, Direction::Incoming);
    let mut waiting: BTreeMap<NodeIndex, usize> =
        graph.node_indices().map(|node| (node, incoming(node).count())).collect();
    let mut ready: BTreeSet<(&MigrationId, NodeIndex)> =
        waiting.iter().filter(|(_, count)| **count == 0).map(|(node, _)| (&graph[*node], *node)).collect();
    let mut order = Vec::new();
    while let Some((id, node)) = ready.pop_first() {
        waiting.remove(&node);
        order.push(id.clone());
        for next in graph.neighbors(node) {
            if let Some(count) = waiting.get_mut(&next) {
                *count -= 1;
                if *count == 0 {
                    ready.insert((&graph[next], next));
                }
            }
        }
    }
    if waiting.is_empty() { Ok(order) } else { Err(GraphError::Cycle(a_cycle(graph, &waiting))) }
}

/// A circle among the nodes that wait: each of them waits for another, so walking back must come round.
fn a_cycle(graph: &DiGraph<MigrationId, Edge>, waiting: &BTreeMap<NodeIndex, usize>) -> Vec<MigrationId> {
    let mut path: Vec<NodeIndex> = Vec::new();
    let mut next = waiting.keys().copied().min_by_key(|node| &graph[*node]);
    while let Some(node) = next {
        if let Some(start) = path.iter().position(|seen| *seen == node) {
            path.drain(..start);
            break;
        }
        path.push(node);
        next = graph
            .neighbors_directed(node, Direction::Incoming)
            .filter(|dependency| waiting.contains_key(dependency))
            .min_by_key(|dependency| &graph[*dependency]);
    }
    let mut cycle: Vec<MigrationId> = path.into_iter().map(|node| graph[node].clone()).collect();
    let smallest = cycle.iter().enumerate().min_by_key(|(_, id)| *id).map_or(0, |(at, _)| at);
    cycle.rotate_left(smallest);
    cycle
}

#[cfg(test)]
#[path = "graph_tests.rs"]
mod tests;
