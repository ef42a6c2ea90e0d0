//! P2: a listed snapshot restores; a partial one is never listed; damage is found before anything is changed.

use std::time::{Duration, Instant};

use crate::support::{Contents, Scene, Version};

#[test]
fn promise_02_a_killed_snapshot_is_never_listed_and_the_next_one_is_whole() {
    let scene = Scene::dusangire(Version::V15);
    scene.database.sql(
        "CREATE TABLE big (a int, b text);
         INSERT INTO big SELECT i, md5(i::text) || md5((i + 1)::text) || md5((i + 2)::text) FROM generate_series(1, 400000) i",
    );
    let mut run = scene.project.command(&["snapshot", "create", "--jobs", "1"]).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while scene.store.objects().iter().filter(|(key, _)| key.starts_with("chunks/")).count() < 2 {
        assert!(run.try_wait().unwrap().is_none() && Instant::now() < deadline, "it ended before it could be killed");
        std::thread::sleep(Duration::from_millis(2));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    assert_eq!(scene.snapshots(), Vec::<String>::new(), "killed in the middle");
    scene.run(6, &["restore", "latest", "--to", "nowhere", "--yes"]);

    let id = scene.take_snapshot();
    assert_eq!(scene.snapshots(), std::slice::from_ref(&id));
    let copy = format!("{}_copy", scene.database.name());
    scene.run(0, &["restore", &id, "--to", &copy, "--yes"]);
    assert_eq!(Contents::of(scene.cluster(), &copy), Contents::of(scene.cluster(), scene.database.name()));
}

#[test]
fn promise_02_a_flipped_byte_in_any_object_is_found_and_no_database_is_left() {
    let scene = Scene::dusangire(Version::V15);
    scene.database.sql(
        "CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 1000) i;
         SELECT lo_from_bytea(1, 'a large object')",
    );
    let id = scene.take_snapshot();
    let (databases, dump) = (scene.databases(), scene.database.dump());
    let objects = scene.store.objects();
    let parts: Vec<_> =
        objects.iter().filter(|(key, _)| key.starts_with("chunks/") || key.ends_with("manifest.json")).collect();
    assert!(parts.len() >= 5, "manifest, schema, roles, rows, large objects: {}", parts.len());
    for (key, bytes) in parts {
        let path = scene.store.directory().join(key);
        for damaged in [flipped(bytes), bytes[..bytes.len() / 2].to_vec()] {
            std::fs::write(&path, damaged).unwrap();
            for arguments in [["restore", &id, "--in-place", "--yes"], ["restore", "latest", "--in-place", "--yes"]] {
                scene.run(6, &arguments);
            }
            assert_eq!(scene.databases(), databases, "{key}");
        }
        std::fs::write(&path, bytes).unwrap();
    }
    assert_eq!(scene.database.dump(), dump);
    scene.run(0, &["restore", &id, "--in-place", "--yes"]);
}

/// JSON that reads well and says something else: only the seal can tell.
#[test]
fn promise_02_a_manifest_that_was_edited_is_damage() {
    let scene = Scene::dusangire(Version::V15);
    let id = scene.take_snapshot();
    let path = scene.store.directory().join(format!("snapshots/{id}/manifest.json"));
    let text = std::fs::read_to_string(&path).unwrap();
    let edited = text.replace("\"command\": \"snapshot create\"", "\"command\": \"apply menu\"");
    assert_ne!(text, edited, "{text}");
    std::fs::write(&path, edited).unwrap();
    let databases = scene.databases();
    scene.run(6, &["restore", &id, "--to", &format!("{}_copy", scene.database.name()), "--yes"]);
    assert_eq!(scene.databases(), databases);
}

fn flipped(bytes: &[u8]) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    damaged
}

#[test]
fn promise_02_latest_is_the_newest_also_within_a_second_and_never_passes_over_a_damaged_one() {
    let scene = Scene::dusangire(Version::V15);
    let copy = format!("{}_copy", scene.database.name());
    scene.database.sql("CREATE TABLE t (a int)");
    let mut newest = String::new();
    for round in 1..=4 {
        scene.database.sql("INSERT INTO t VALUES (1)");
        newest = scene.take_snapshot();
        scene.run(0, &["restore", "latest", "--to", &format!("{copy}_{round}"), "--yes"]);
        let rows = scene.cluster().query(&format!("{copy}_{round}"), "SELECT count(*) FROM t");
        assert_eq!(rows, round.to_string());
    }
    let manifest = scene.store.directory().join(format!("snapshots/{newest}/manifest.json"));
    std::fs::write(&manifest, "{}").unwrap();
    let refused = scene.run(6, &["restore", "latest", "--to", &copy, "--yes"]);
    assert!(refused.stderr.contains(&newest), "{}", refused.stderr);
    assert!(!scene.databases().contains(&copy));
}
