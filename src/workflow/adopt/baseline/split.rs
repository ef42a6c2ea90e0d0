//! Divides the entries of a dump into migrations: per app, and in as many as the dependencies between apps need.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::tarjan_scc;
use petgraph::graph::DiGraph;

use crate::postgres::ArchiveEntry;

use super::grouping::last_entries;

/// A migration to be: its app, and the entries in it, in the order of the dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) app: String,
    /// 1 for the first of its app.
    pub(super) number: usize,
    pub(super) entries: Vec<usize>,
    /// Chunks of other apps that it needs.
    pub(super) needs: BTreeSet<(String, usize)>,
}

/// Divides the entries, whose apps are given, into chunks in an order in which they can run.
///
/// Apps have a fixed order; an entry that needs one of an app behind its own goes one round later.
pub(super) fn split(entries: &[ArchiveEntry], apps: &[String]) -> Vec<Chunk> {
    let by_id: BTreeMap<u32, usize> = entries.iter().enumerate().map(|(at, entry)| (entry.id, at)).collect();
    // An operator class of an extension is used without a word; a dump has extensions first.
    let is_first = |at: usize| matches!(entries[at].kind.as_str(), "SCHEMA" | "EXTENSION");
    let extensions: Vec<usize> = (0..entries.len()).filter(|at| entries[*at].kind == "EXTENSION").collect();
    let needs = |at: usize| {
        let stated = entries[at].needs.iter().filter_map(|id| by_id.get(id)).copied();
        let unsaid = extensions.iter().copied().filter(move |_| !is_first(at));
        stated.chain(unsaid).filter(move |one| *one != at)
    };
    let comes_last = last_entries(entries);
    let rank = ranks(entries.len(), apps, &needs);
    let mut rounds = vec![0_usize; entries.len()];
    // A dump is in an order in which each entry stands behind what it needs; where it is not, once more.
    loop {
        let mut settled = true;
        for at in 0..entries.len() {
            let least = |need: usize| rounds[need] + usize::from(rank[&apps[need]] > rank[&apps[at]]);
            let round = needs(at).map(least).max().unwrap_or_default().max(rounds[at]);
            settled &= round == rounds[at];
            rounds[at] = round;
            if round > entries.len() {
                // A circle of entries, which no dump has.
                settled = true;
                break;
            }
        }
        if settled {
            break;
        }
    }
    let several = apps.iter().collect::<BTreeSet<_>>().len() > 1;
    let last = rounds.iter().max().copied().unwrap_or_default() + 1;
    for at in (0..entries.len()).filter(|at| several && comes_last[*at]) {
        rounds[at] = last;
    }
    let mut chunks: BTreeMap<(usize, usize), Chunk> = BTreeMap::new();
    let mut place: Vec<(usize, usize)> = Vec::new();
    for at in 0..entries.len() {
        let key = (rounds[at], rank[&apps[at]]);
        place.push(key);
        let new = || Chunk { app: apps[at].clone(), number: 0, entries: Vec::new(), needs: BTreeSet::new() };
        chunks.entry(key).or_insert_with(new).entries.push(at);
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for chunk in chunks.values_mut() {
        let count = counts.entry(chunk.app.clone()).or_default();
        *count += 1;
        chunk.number = *count;
    }
    let names: BTreeMap<(usize, usize), (String, usize)> =
        chunks.iter().map(|(key, chunk)| (*key, (chunk.app.clone(), chunk.number))).collect();
    for chunk in chunks.values_mut() {
        let needed = chunk.entries.iter().flat_map(|at| needs(*at)).map(|need| names[&place[need]].clone());
        chunk.needs = needed.filter(|(app, _)| *app != chunk.app).collect();
        // What holds for all comes behind all.
        if chunk.entries.iter().any(|at| rounds[*at] == last) {
            let others = counts.iter().filter(|(app, _)| **app != chunk.app);
            chunk.needs.extend(others.map(|(app, count)| (app.clone(), *count)));
        }
    }
    chunks.into_values().collect()
}

/// The apps in an order in which each stands behind those it needs, as far as they do not need each other.
fn ranks<I: Iterator<Item = usize>>(
    count: usize,
    apps: &[String],
    needs: &impl Fn(usize) -> I,
) -> BTreeMap<String, usize> {
    let mut graph = DiGraph::<&str, ()>::new();
    let mut nodes = BTreeMap::new();
    for app in apps.iter().collect::<BTreeSet<_>>() {
        nodes.insert(app.as_str(), graph.add_node(app));
    }
    for at in 0..count {
        for need in needs(at).filter(|need| apps[*need] != apps[at]) {
            graph.update_edge(nodes[apps[at].as_str()], nodes[apps[need].as_str()], ());
        }
    }
    // Each set of apps behind those that it needs: tarjan_scc gives the reverse topological order of edges to what is needed.
    let mut order: Vec<&str> = Vec::new();
    for mut set in tarjan_scc(&graph) {
        set.sort_by_key(|node| graph[*node]);
        order.extend(set.into_iter().map(|node| graph[node]));
    }
    order.into_iter().enumerate().map(|(rank, app)| (app.to_owned(), rank)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u32, kind: &str, needs: &[u32]) -> ArchiveEntry {
        ArchiveEntry { id, kind: kind.to_owned(), needs: needs.to_vec(), ..Default::default() }
    }

    fn shape(entries: &[ArchiveEntry], apps: &[&str]) -> Vec<(String, usize, Vec<usize>)> {
        let apps: Vec<String> = apps.iter().map(|app| (*app).to_owned()).collect();
        split(entries, &apps).into_iter().map(|chunk| (chunk.app, chunk.number, chunk.entries)).collect()
    }

    #[test]
    fn an_app_stands_behind_what_it_needs() {
        let entries = [entry(1, "TABLE", &[]), entry(2, "TABLE", &[]), entry(3, "FK CONSTRAINT", &[1, 2])];
        let found = shape(&entries, &["a", "z", "a"]);
        assert_eq!(found, [("z".to_owned(), 1, vec![1]), ("a".to_owned(), 1, vec![0, 2])]);
    }

    #[test]
    fn apps_that_need_each_other_get_a_second_migration() {
        let entries = [
            entry(1, "TABLE", &[]),
            entry(2, "TABLE", &[]),
            entry(3, "FK CONSTRAINT", &[1, 2]),
            entry(4, "FK CONSTRAINT", &[2, 1]),
        ];
        let found = shape(&entries, &["a", "b", "a", "b"]);
        assert_eq!(
            found,
            [("a".to_owned(), 1, vec![0]), ("b".to_owned(), 1, vec![1, 3]), ("a".to_owned(), 2, vec![2])]
        );
    }

    #[test]
    fn what_holds_for_later_objects_comes_last() {
        let entries = [entry(1, "DEFAULT ACL", &[]), entry(2, "TABLE", &[]), entry(3, "TABLE", &[])];
        let apps = ["a", "a", "b"].map(str::to_owned);
        let chunks = split(&entries, &apps);
        let last = chunks.last().unwrap();
        assert_eq!((last.entries.as_slice(), last.number), (&[0][..], 2));
        assert!(last.needs.contains(&("b".to_owned(), 1)));
    }
}
