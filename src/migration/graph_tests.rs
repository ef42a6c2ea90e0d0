use proptest::prelude::*;

use super::*;

fn id(text: &str) -> MigrationId {
    text.parse().unwrap()
}

/// `"a/0002_x > a/0001_x b/0001_x"`: the first depends on the others.
fn node(text: &str) -> Node {
    let (own, depends) = text.split_once(" > ").unwrap_or((text, ""));
    Node { id: id(own), depends: depends.split_whitespace().map(id).collect(), run_before: vec![] }
}

fn graph(nodes: &[&str]) -> DependencyGraph {
    DependencyGraph::build(&nodes.iter().map(|text| node(text)).collect::<Vec<_>>()).unwrap()
}

fn names<'a>(ids: impl IntoIterator<Item = &'a MigrationId>) -> Vec<String> {
    ids.into_iter().map(MigrationId::to_string).collect()
}

#[test]
fn numbers_of_an_app_follow_each_other_and_apps_follow_their_dependencies() {
    let graph = graph(&["b/0001_x > c/0002_x", "a/0003_x", "a/0001_x > b/0001_x", "c/0002_x", "c/0001_x"]);
    assert_eq!(names(graph.order()), ["c/0001_x", "c/0002_x", "b/0001_x", "a/0001_x", "a/0003_x"]);
    assert_eq!(names(&graph.ancestors(&id("b/0001_x"))), ["c/0001_x", "c/0002_x"]);
    assert_eq!(names(&graph.dependents(&id("c/0002_x"))), ["a/0001_x", "a/0003_x", "b/0001_x"]);
    assert_eq!(names(&graph.direct_dependencies(&id("a/0003_x"))), ["a/0001_x"]);
}

#[test]
fn equal_numbers_share_their_parent_and_both_are_leaves() {
    let graph = graph(&["a/0001_x", "a/0002_y", "a/0002_z"]);
    for name in ["a/0002_y", "a/0002_z"] {
        assert_eq!(names(&graph.direct_dependencies(&id(name))), ["a/0001_x"]);
    }
    assert_eq!(names(&graph.leaves()["a"]), ["a/0002_y", "a/0002_z"]);
}

#[test]
fn only_a_stated_dependency_merges_two_leaves() {
    let unaware = graph(&["a/0001_x", "a/0002_y", "a/0002_z", "a/0003_w"]);
    assert_eq!(names(&unaware.leaves()["a"]), ["a/0002_y", "a/0002_z", "a/0003_w"]);
    assert_eq!(names(&unaware.direct_dependencies(&id("a/0003_w"))), ["a/0002_y", "a/0002_z"]);
    let merged = graph(&["a/0001_x", "a/0002_y", "a/0002_z", "a/0003_w > a/0002_y a/0002_z"]);
    assert_eq!(names(&merged.leaves()["a"]), ["a/0003_w"]);
}

#[test]
fn a_dependent_in_another_app_leaves_a_leaf_a_leaf() {
    let graph = graph(&["a/0001_x", "b/0001_x > a/0001_x"]);
    assert_eq!(names(&graph.leaves()["a"]), ["a/0001_x"]);
}

#[test]
fn run_before_turns_the_dependency_round() {
    let mut first = node("b/0001_x");
    first.run_before = vec![id("a/0001_x")];
    let graph = DependencyGraph::build(&[node("a/0001_x"), first]).unwrap();
    assert_eq!(names(graph.order()), ["b/0001_x", "a/0001_x"]);
}

#[test]
fn a_circle_is_listed_in_order_without_what_only_hangs_on_it() {
    let nodes =
        ["d/0001_x > c/0001_x", "c/0001_x > a/0001_x", "b/0001_x > c/0001_x", "a/0001_x > b/0001_x", "e/0001_x"];
    let nodes: Vec<Node> = nodes.iter().map(|text| node(text)).collect();
    let Err(GraphError::Cycle(cycle)) = DependencyGraph::build(&nodes) else { panic!("no circle found") };
    assert_eq!(names(&cycle), ["a/0001_x", "b/0001_x", "c/0001_x"]);
    let Err(GraphError::Cycle(own)) = DependencyGraph::build(&[node("a/0001_x > a/0001_x")]) else {
        panic!("no circle found")
    };
    assert_eq!(names(&own), ["a/0001_x"]);
}

#[test]
fn an_unknown_dependency_names_both() {
    let error = DependencyGraph::build(&[node("a/0001_x > b/0001_x")]).unwrap_err();
    let GraphError::Unknown { migration, dependency } = error else { panic!("{error:?}") };
    assert_eq!((migration, dependency), (id("a/0001_x"), id("b/0001_x")));
}

/// Migrations of three apps, each depending on some that were made before it: never a circle.
fn acyclic() -> impl Strategy<Value = Vec<Node>> {
    prop::collection::vec((0usize..3, prop::collection::vec(any::<prop::sample::Index>(), 0..3)), 1..14).prop_map(
        |specs| {
            let mut nodes: Vec<Node> = Vec::new();
            for (number, (app, depends)) in specs.into_iter().enumerate() {
                let own = id(&format!("{}/{:04}_x", ["a", "b", "c"][app], number));
                let depends = if nodes.is_empty() {
                    vec![]
                } else {
                    depends.iter().map(|index| nodes[index.index(nodes.len())].id.clone()).collect()
                };
                nodes.push(Node { id: own, depends, run_before: vec![] });
            }
            nodes
        },
    )
}

proptest! {
    #[test]
    fn the_order_respects_every_dependency_and_not_the_order_of_files(nodes in acyclic(), turn in any::<prop::sample::Index>()) {
        let graph = DependencyGraph::build(&nodes).unwrap();
        let place: BTreeMap<&MigrationId, usize> = graph.order().iter().enumerate().map(|(at, id)| (id, at)).collect();
        prop_assert_eq!(place.len(), nodes.len());
        for id in graph.order() {
            for dependency in graph.direct_dependencies(id) {
                prop_assert!(place[&dependency] < place[id]);
            }
            for ancestor in graph.ancestors(id) {
                prop_assert!(graph.dependents(&ancestor).contains(id));
            }
        }
        let mut turned = nodes.clone();
        turned.rotate_left(turn.index(nodes.len()));
        let again = DependencyGraph::build(&turned).unwrap();
        prop_assert_eq!(again.order(), graph.order());
    }
}
