//! The order of the steps.

use super::*;

impl<'a> Builder<'a> {
    /// Steps in an order in which each stands behind what it must follow; those of one app and one mode together.
    pub(super) fn ordered(self) -> Result<Vec<Step>, Vec<Inexpressible>> {
        let Self { graph, .. } = self;
        let circle = kosaraju_scc(&graph).into_iter().find(|one| one.len() > 1);
        if let Some(circle) = circle {
            let steps = circle.iter().map(|node| graph[*node].operation.up.join("; ")).filter(|one| !one.is_empty());
            return Err(vec![Inexpressible {
                key: Default::default(),
                have: None,
                want: None,
                why: format!(
                    "each of these steps would have to come before another one:\n{}",
                    steps.collect::<Vec<_>>().join("\n")
                ),
            }]);
        }
        let mut left: BTreeMap<NodeIndex, usize> = graph
            .node_indices()
            .map(|node| (node, graph.neighbors_directed(node, petgraph::Direction::Incoming).count()))
            .collect();
        let mut places: BTreeMap<NodeIndex, usize> = BTreeMap::new();
        let mut steps: Vec<Step> = Vec::new();
        let mut current: Option<(String, Mode)> = None;
        while !left.is_empty() {
            let ready: Vec<NodeIndex> = left.iter().filter(|(_, count)| **count == 0).map(|(node, _)| *node).collect();
            let fits = |node: &&NodeIndex| {
                let step = &graph[**node];
                current.as_ref().is_some_and(|(app, mode)| {
                    *app == step.app && *mode == step.operation.mode && *mode != Mode::Batches
                })
            };
            let next = ready.iter().filter(fits).min_by_key(|node| graph[**node].rank).copied();
            let first = |node: &&NodeIndex| {
                let step = &graph[**node];
                (step.operation.mode, step.operation.up.is_empty(), step.rank, step.app.clone())
            };
            let Some(next) = next.or_else(|| ready.iter().min_by_key(first).copied()) else { break };
            left.remove(&next);
            let mut step = graph[next].clone();
            for before in graph.neighbors_directed(next, petgraph::Direction::Incoming) {
                step.after.insert(places[&before]);
            }
            for after in graph.neighbors(next) {
                if let Some(count) = left.get_mut(&after) {
                    *count -= 1;
                }
            }
            current = Some((step.app.clone(), step.operation.mode));
            places.insert(next, steps.len());
            steps.push(step);
        }
        Ok(steps)
    }
}
