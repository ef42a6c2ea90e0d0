//! The order in which a database is filled, without a database.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::builds::{self, Build, Tree};
use super::schedule::{Schedule, Task};
use crate::postgres::ArchiveEntry;
use crate::snapshot::tests::sample_manifest;
use crate::snapshot::{ChunkId, Manifest, RowSetHash, Segment};

const TABLES: [(u32, &str); 4] = [(1, "drink"), (2, "side"), (3, "item"), (4, "whole")];

fn entry(id: u32, kind: &str, name: &str, needs: &[u32]) -> ArchiveEntry {
    let (schema, sql) = (Some("menu".to_owned()), "SELECT 1".to_owned());
    ArchiveEntry {
        id,
        kind: kind.to_owned(),
        schema,
        name: name.to_owned(),
        needs: needs.to_vec(),
        sql,
        ..Default::default()
    }
}

/// `whole` is partitioned into `drink` and `side`; `item` is a table of its own; the fourth of the manifest is empty.
fn plan() -> (Manifest, Vec<Tree>, Vec<Build>) {
    let mut manifest = sample_manifest();
    for (table, segments) in manifest.tables.iter_mut().zip([3_u64, 2, 1, 0]) {
        let segment = |offset: u64| {
            let chunk = ChunkId::of(format!("{} {offset}", table.name).as_bytes());
            Segment { chunk, offset, length: 10 - offset, rows: RowSetHash::default() }
        };
        table.segments = (0..segments).map(segment).collect();
    }
    let named = |name: &str| ("menu".to_owned(), name.to_owned());
    let trees = builds::trees(&manifest, vec![(named("whole"), vec![named("drink"), named("side"), named("away")])]);
    let mut entries: Vec<ArchiveEntry> = TABLES.iter().map(|(id, name)| entry(*id, "TABLE", name, &[])).collect();
    entries.extend([
        entry(5, "FOREIGN TABLE", "away", &[]),
        entry(6, "MATERIALIZED VIEW", "seen", &[3]),
        entry(10, "CONSTRAINT", "item pkey", &[3, 3]),
        entry(11, "INDEX", "item_a", &[3]),
        entry(12, "INDEX", "whole_a", &[4]),
        entry(13, "INDEX", "drink_a", &[1, 12]),
        entry(14, "INDEX ATTACH", "drink_a", &[12, 13]),
        entry(15, "COMMENT", "INDEX item_a", &[11]),
        entry(16, "COMMENT", "TABLE item", &[3]),
        entry(17, "FK CONSTRAINT", "whole item", &[4, 10, 3]),
        entry(18, "INDEX", "seen_a", &[6]),
        entry(19, "STATISTICS", "s", &[3]),
        entry(20, "CONSTRAINT", "away pkey", &[5]),
        entry(21, "FK CONSTRAINT", "item seen", &[3, 18]),
    ]);
    let builds = builds::builds(&manifest, &trees, entries);
    (manifest, trees, builds)
}

#[test]
fn only_what_needs_tables_that_are_loaded_is_built_early() {
    let (_, trees, builds) = plan();
    let made: Vec<u32> = builds.iter().map(|build| build.entry.id).collect();
    assert_eq!(made, [10, 11, 12, 13, 14, 15, 17], "a comment on a table is pre-data's; a view is not there yet");
    let of = |id: u32| builds.iter().find(|build| build.entry.id == id).unwrap();
    assert_eq!(of(17).full, BTreeSet::from([0, 1, 2]), "every partition and the table it refers to");
    assert_eq!(of(17).locks.tables, BTreeSet::from([0, 1, 2, 4]));
    assert_eq!((&of(12).full, &of(12).locks.tables), (&BTreeSet::new(), &BTreeSet::from([4])), "it looks at no row");
    assert_eq!(of(14).full, BTreeSet::from([0]));
    assert!(of(17).locks.conflict(&of(11).locks) && of(17).locks.conflict(&trees[0].locks));
    assert!(!of(11).locks.conflict(&of(11).locks), "two indexes of one table are built at once");
}

fn name(task: &Task) -> String {
    match task {
        Task::Load(load) => format!("load {}", load.parts[0].0),
        Task::Vacuum(table) => format!("vacuum {table}"),
        Task::Build(build) => format!("build {}", build.entry.id),
        Task::Analyze(tree) => format!("analyze {tree}"),
    }
}

/// Three workers, of which one does not load, that end their tasks in the order given; builds in `failing` fail.
async fn run(order: &[usize], failing: &[u32]) -> Vec<String> {
    let (manifest, trees, builds) = plan();
    let locks: Vec<_> = builds.iter().map(|build| (build.entry.id, build.locks.clone())).collect();
    let schedule = Schedule::new(&manifest, builds, &trees);
    let lock_of = |task: &Task| match task {
        Task::Build(build) => locks.iter().find(|(id, _)| *id == build.entry.id).map(|(_, locks)| locks.clone()),
        Task::Analyze(tree) => Some(trees[*tree].locks.clone()),
        _ => None,
    };
    let (mut running, mut done): (Vec<Task>, Vec<String>) = (Vec::new(), Vec::new());
    for turn in 0.. {
        while running.len() < 3 {
            let next =
                tokio::time::timeout(std::time::Duration::from_millis(1), schedule.next(running.len() < 2)).await;
            let Ok(Some(task)) = next else { break };
            let ours = lock_of(&task);
            for other in running.iter().filter_map(lock_of) {
                assert!(!ours.as_ref().is_some_and(|ours| ours.conflict(&other)), "{} would wait", name(&task));
            }
            running.push(task);
        }
        if running.is_empty() {
            break;
        }
        let task = running.remove(order.get(turn).copied().unwrap_or(0) % running.len());
        match &task {
            Task::Build(build) if failing.contains(&build.entry.id) => schedule.left(&task),
            _ => {
                schedule.done(&task);
                done.push(name(&task));
            }
        }
    }
    done
}

#[track_caller]
fn comes_before(done: &[String], first: &str, second: &str) {
    let at =
        |name: &str| done.iter().position(|one| one == name).unwrap_or_else(|| panic!("{name} is not in {done:?}"));
    assert!(at(first) < at(second), "{second} came before {first}: {done:?}");
}

#[tokio::test]
async fn what_failed_takes_along_only_what_needs_it() {
    let done = run(&[], &[10, 12]).await;
    for missing in ["build 10", "build 12", "build 13", "build 14", "build 17"] {
        assert!(!done.contains(&missing.to_owned()), "{missing}");
    }
    comes_before(&done, "vacuum 2", "build 11");
    comes_before(&done, "build 11", "build 15");
    comes_before(&done, "vacuum 1", "analyze 0");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn in_any_order_everything_is_done_once_and_after_what_it_needs(order in prop::collection::vec(0_usize..3, 0..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let done = runtime.block_on(run(&order, &[]));
        let unique: BTreeSet<&String> = done.iter().filter(|one| !one.starts_with("load")).collect();
        prop_assert_eq!(unique.len() + 6, done.len(), "six loads");
        for id in [10, 11, 12, 13, 14, 15, 17] {
            prop_assert!(done.contains(&format!("build {id}")), "{} is missing in {:?}", id, done);
        }
        for (first, second) in [
            ("vacuum 2", "build 10"), ("build 12", "build 13"), ("vacuum 0", "build 13"), ("build 13", "build 14"),
            ("build 10", "build 17"), ("vacuum 0", "build 17"), ("vacuum 1", "build 17"), ("vacuum 0", "analyze 0"),
            ("vacuum 1", "analyze 0"),
        ] {
            comes_before(&done, first, second);
        }
    }
}
