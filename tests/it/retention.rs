//! Snapshots that no rule keeps go, what is needed stays whatever the rules say, and what nothing needs is swept.

use std::os::unix::process::ExitStatusExt;

use serde_json::Value;

use crate::support::{Project, Scene, Version};

fn json(scene: &Scene, status: i32, arguments: &[&str]) -> Value {
    let output = scene.run(status, &[arguments, &["--json"]].concat());
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", output.stdout, output.stderr))
}

/// What `forget` would do: the reasons by snapshot, with `remove` for one that goes.
fn decided(document: &Value, id: &str) -> String {
    let snapshots = document["snapshots"].as_array().unwrap();
    let one = snapshots.iter().find(|one| one["id"] == id).unwrap_or_else(|| panic!("{id}: {document}"));
    let reasons: Vec<&str> = one["reasons"].as_array().unwrap().iter().map(|reason| reason.as_str().unwrap()).collect();
    if one["keep"] == true { reasons.join(", ") } else { format!("remove: {}", reasons.join(", ")) }
}

fn chunks(scene: &Scene) -> usize {
    scene.store.objects().iter().filter(|(key, _)| key.starts_with("chunks/")).count()
}

fn rows(scene: &Scene, number: u32) {
    scene.database.sql(&format!("INSERT INTO dish SELECT {number}, md5(n::text) FROM generate_series(1, 50) n"));
}

fn scene() -> Scene {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE dish (id int, name text)");
    scene
}

#[test]
fn retention_removes_what_no_rule_keeps_and_nothing_that_is_needed() {
    let scene = scene();
    let taken: Vec<String> = (0..3)
        .map(|number| {
            rows(&scene, number);
            scene.take_snapshot()
        })
        .collect();
    let [old, pinned, plain] = &taken[..] else { unreachable!() };
    scene.run(2, &["snapshot", "pin", pinned, "two\nlines"]);
    scene.run(0, &["snapshot", "pin", pinned, "the audit of 2026"]);
    scene.project.write_migration(
        "app",
        "0001_price",
        "-- migrate:up\nALTER TABLE dish ADD price int;\n-- migrate:down\nALTER TABLE dish DROP price;\n",
    );
    scene.run(0, &["apply", "--yes"]);
    let before_run = scene.snapshots().into_iter().find(|id| !taken.contains(id)).unwrap();
    scene.run(0, &["restore", &before_run, "--in-place", "--yes"]);
    let newest = scene.take_snapshot();
    scene.run(0, &["snapshot", "verify", plain, "--level", "restore"]);

    let forget = ["snapshot", "forget", "--keep-last", "1"];
    let shown = json(&scene, 0, &[&forget[..], &["--dry-run"]].concat());
    assert_eq!(decided(&shown, old), "remove: no rule keeps it");
    assert_eq!(decided(&shown, pinned), "pinned: the audit of 2026");
    assert_eq!(decided(&shown, plain), "proven 2");
    let why = decided(&shown, &before_run);
    for reason in ["the way back of the last run", "production keeps what run", "stands for a new one", "proven 1"] {
        assert!(why.contains(reason), "{reason}: {why}");
    }
    assert_eq!(decided(&shown, &newest), "last 1");
    assert_eq!(scene.snapshots().len(), 5, "a dry run");

    // Each by itself: without a pin, and without counting what was proven.
    scene.run(0, &["snapshot", "unpin", pinned]);
    let without = json(&scene, 0, &[&forget[..], &["--dry-run", "--keep-proven", "0"]].concat());
    assert_eq!(decided(&without, pinned), "remove: no rule keeps it");
    assert_eq!(decided(&without, plain), "remove: no rule keeps it");
    scene.run(0, &["snapshot", "pin", pinned, "again"]);

    // Three of five at once are a mistake until they are named.
    let hash = without["plan_hash"].as_str().unwrap();
    let many = [&forget[..], &["--keep-proven", "0", "--yes", "--max-remove", "20"]].concat();
    let refused = scene.run(3, &many).stderr;
    assert!(refused.contains("2 of 5 snapshots would be removed") && refused.contains("--plan-hash "), "{refused}");
    let other = scene.run(2, &[&forget[..], &["--yes", "--plan-hash", hash]].concat()).stderr;
    assert!(other.contains("other snapshots than those of plan"), "{other}");
    scene.run(3, &[&forget[..], &["--no-input"]].concat());
    assert_eq!(scene.snapshots().len(), 5);

    let before = chunks(&scene);
    let done = json(&scene, 0, &[&forget[..], &["--prune", "--yes"]].concat());
    assert_eq!(done["removed"], serde_json::json!([old]));
    assert!(done["prune"]["removed"].as_u64().unwrap() >= 1, "{done}");
    assert!(chunks(&scene) < before);
    let mut left = [pinned, plain, &before_run, &newest].map(String::as_str);
    left.sort_unstable();
    let mut snapshots = scene.snapshots();
    snapshots.sort();
    assert_eq!(snapshots, left);
    for id in left {
        scene.run(0, &["snapshot", "verify", id, "--level", "hash"]);
    }
    let copy = format!("{}_copy", scene.database.name());
    scene.run(0, &["restore", pinned, "--to", &copy, "--yes"]);
    assert_eq!(scene.cluster().query(&copy, "SELECT count(*) FROM dish"), "100");
    // Where only the store can be reached.
    let elsewhere = Project::empty();
    let pruned = elsewhere.run(&["store", "prune", "--yes", "--store", &scene.store.url()]);
    assert!(pruned.stdout.starts_with("nothing to remove; "), "{}{}", pruned.stdout, pruned.stderr);
}

#[test]
fn retention_wants_a_rule_and_asks() {
    let scene = scene();
    let id = scene.take_snapshot();
    let refused = scene.run(2, &["snapshot", "forget", "--yes"]).stderr;
    assert!(refused.contains("no rule says which snapshots stay") && refused.contains("[retention]"), "{refused}");
    scene.project.configure_more("[retention]\nkeep_within = \"1h\"\nkeep_proven = 0\n");
    let shown = scene.run(0, &["snapshot", "forget", "--yes"]).stdout;
    assert!(shown.contains(&id) && shown.contains("within") && shown.contains("nothing to remove"), "{shown}");
    let shown = json(&scene, 0, &["snapshot", "forget", "--keep-within", "0", "--keep-daily", "0", "--keep-last", "1"]);
    assert_eq!(decided(&shown, &id), "last 1");
    // Of no run, unproven, unpinned: still the only one.
    let shown = json(&scene, 0, &["snapshot", "forget", "--keep-within", "1ms"]);
    assert_eq!(decided(&shown, &id), "the only one");
}

#[test]
fn retention_sweep_that_is_killed_leaves_every_snapshot_whole() {
    let scene = scene();
    let ids: Vec<String> = (0..3)
        .map(|number| {
            rows(&scene, number);
            scene.take_snapshot()
        })
        .collect();
    // One object that cannot be read stops every sweep, and can be taken away.
    let garbage = scene.store.directory().join("snapshots/20991231T000000Z-bad000");
    std::fs::create_dir_all(&garbage).unwrap();
    std::fs::write(garbage.join("pending.json"), "{").unwrap();
    let stopped = scene.run(6, &["store", "prune", "--yes"]).stderr;
    assert!(
        stopped.contains("20991231T000000Z-bad000") && stopped.contains("`safe-migrate snapshot delete ID`"),
        "{stopped}"
    );
    scene.run(0, &["snapshot", "delete", "20991231T000000Z-bad000", "--yes"]);
    scene.run(6, &["snapshot", "delete", "20991231T000000Z-bad000", "--yes"]);
    rows(&scene, 7);
    let half_done =
        scene.project.command_with_faults("snapshot.keys=return", &["snapshot", "create"]).output().unwrap();
    assert_eq!(half_done.status.signal(), Some(9));
    scene.run(0, &["snapshot", "delete", &ids[1], "--yes"]);
    let before = chunks(&scene);
    for point in ["sweep.looked", "sweep.removed"] {
        let killed =
            scene.project.command_with_faults(&format!("{point}=return"), &["store", "prune", "--yes"]).output();
        assert_eq!(killed.unwrap().status.signal(), Some(9), "{point}");
    }
    let shown = scene.run(0, &["store", "prune", "--dry-run"]).stdout;
    assert!(shown.contains("1 snapshot not finished, begun less than a week ago"), "{shown}");
    scene.run(0, &["store", "prune", "--yes"]);
    assert!(chunks(&scene) < before);
    let checked = json(&scene, 0, &["store", "check", "--read", "1/1"]);
    assert!(checked["snapshots"] == 2 && checked["chunks"] == checked["read"] && checked["unused"] != 0, "{checked}");
    for id in [&ids[0], &ids[2]] {
        scene.run(0, &["snapshot", "verify", id, "--level", "hash"]);
    }
    assert_eq!(scene.snapshots().len(), 2);
    rows(&scene, 9);
    let next = scene.take_snapshot();
    scene.run(0, &["snapshot", "verify", &next, "--level", "hash"]);
    let path = scene.store.directory().join(format!("snapshots/{next}/manifest.json"));
    let manifest: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let key = manifest["stored"][0]["key"].as_str().unwrap();
    std::fs::write(scene.store.directory().join(key), "").unwrap();
    let damaged = scene.run(6, &["store", "check"]);
    assert!(damaged.stdout.contains(key) && damaged.stdout.contains(&next), "{}{}", damaged.stdout, damaged.stderr);
}
