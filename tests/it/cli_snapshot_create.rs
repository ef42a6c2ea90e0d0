//! `snapshot create` and the options of every command that takes a snapshot.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Scene, Version};

/// A table whose size in the store depends on the level of zstd.
fn scene_with_text() -> Scene {
    let scene = Scene::empty(Version::V15);
    scene.database.sql(
        "CREATE TABLE dish (id int, name text);
         INSERT INTO dish SELECT i, 'dish ' || i % 97 || md5((i % 3001)::text) FROM generate_series(1, 20000) i",
    );
    scene
}

/// Bytes of the largest chunk that a run leaves in a store of its own.
fn stored(scene: &Scene, store: &str, arguments: &[&str]) -> u64 {
    scene.run(0, &[arguments, &["--store", store]].concat());
    largest(&scene.project.directory().join(store).join("chunks"))
}

fn largest(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let size = |entry: std::fs::DirEntry| match entry.metadata().unwrap() {
        about if about.is_dir() => largest(&entry.path()),
        about => about.len(),
    };
    entries.map(size).max().unwrap_or_default()
}

#[test]
fn the_level_of_the_command_line_wins_over_the_configured_one() {
    let scene = scene_with_text();
    scene.project.write_migration("menu", "0001_a", "-- migrate:up\nSELECT 1;\n-- migrate:down\nSELECT 1;\n");
    let fast = stored(&scene, "default", &["snapshot", "create"]);
    let small = stored(&scene, "flag", &["snapshot", "create", "--compression", "19"]);
    assert!(small * 10 < fast * 9, "level 19 has {small} bytes and level 1 {fast}");

    scene.project.configure_more("[snapshot]\ncompression = 19\n");
    assert_eq!(stored(&scene, "configured", &["snapshot", "create"]), small);
    let level = ["--compression", "1"];
    let run = ["--yes", "--skip-rehearsal", "no shadow is needed here"];
    for (store, command) in [
        ("create", vec!["snapshot", "create"]),
        ("rehearse", vec!["rehearse", "--snapshot", "new"]),
        ("apply", [&["apply"], &run[..]].concat()),
        ("rollback", [&["rollback", "--last"], &run[..]].concat()),
    ] {
        // The ledger is copied too, and grows from run to run.
        let bytes = stored(&scene, store, &[&command[..], &level].concat());
        assert!(bytes.abs_diff(fast) * 50 < fast, "{command:?}: {bytes} and not {fast}");
    }
}

#[test]
fn a_level_that_is_not_offered_is_a_usage_error_that_names_the_range() {
    let scene = Scene::empty(Version::V15);
    for level in ["0", "20", "-1", "fast"] {
        let option = format!("--compression={level}");
        for command in [&["snapshot", "create"][..], &["apply"], &["rollback", "--last"], &["rehearse"]] {
            let output = scene.run(2, &[command, &[option.as_str()]].concat());
            assert!(output.stderr.contains("a number from 1 to 19 is wanted"), "{}", output.stderr);
        }
    }
    scene.project.configure_more("[snapshot]\ncompression = 20\n");
    let output = scene.run(2, &["snapshot", "create"]);
    assert!(output.stderr.contains("compression is 20; it must be 1 to 19"), "{}", output.stderr);
}

/// How long a snapshot of the scene takes, and its bytes of rows.
fn timed(scene: &Scene, arguments: &[&str]) -> (Duration, f64) {
    let began = Instant::now();
    let output = scene.run(0, &[&["snapshot", "create", "--json"], arguments].concat());
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    (began.elapsed(), document["raw_bytes"].as_f64().unwrap())
}

#[test]
fn the_limit_holds_for_all_workers_together() {
    let scene = Scene::empty(Version::V15);
    // Three ranges of 16 MiB, so that three workers have something to read at the same time.
    scene.database.sql(
        "CREATE TABLE bulk AS SELECT repeat(md5(i::text), 31) AS note FROM generate_series(1, 40000) i;
         CREATE TABLE dish (name text); INSERT INTO dish VALUES ('Ugali')",
    );
    let (took, bytes) = timed(&scene, &["--jobs", "3", "--max-rate", "10 MB/s"]);
    assert!(bytes > 39e6, "{bytes} bytes of rows");
    assert!(took.as_secs_f64() >= 3.9, "{bytes} bytes in {took:?}");
}

#[test]
fn a_configured_limit_holds_inside_one_chunk() {
    let scene = scene_with_text();
    scene.project.configure_more("[snapshot]\nmax_rate = \"300kB/s\"\n");
    let (took, bytes) = timed(&scene, &[]);
    assert!((600e3..16e6).contains(&bytes), "{bytes} bytes of rows");
    assert!(took.as_secs_f64() >= 600e3 / 300e3, "{bytes} bytes in {took:?}");
}

#[test]
fn a_limit_of_0_lifts_the_configured_one() {
    let scene = scene_with_text();
    // A week for this table.
    scene.project.configure_more("[snapshot]\nmax_rate = \"1\"\n");
    scene.run(0, &["snapshot", "create", "--max-rate", "0"]);
    let output = scene.run(2, &["snapshot", "create", "--max-rate", "50 Mbit/s"]);
    assert!(output.stderr.contains("`50 Mbit/s` is not a rate"), "{}", output.stderr);
}

#[test]
fn it_says_how_long_it_held_back_vacuum() {
    let scene = scene_with_text();
    let id = scene.take_snapshot();
    let shown = |arguments: &[&str]| scene.run(0, &[&["snapshot", "show"], arguments].concat()).stdout;
    let document: Value = serde_json::from_str(&shown(&[&id, "--json"])).unwrap();
    let quick = document["snapshot"]["vacuum_held_back_ms"].as_u64().unwrap();

    let began = Instant::now();
    let output = scene.run(0, &["snapshot", "create", "--json", "--max-rate", "300kB/s"]);
    let took = began.elapsed().as_millis();
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    let slow = document["vacuum_held_back_ms"].as_u64().unwrap();
    // 600 kB of rows were read under the one transaction.
    assert!(2_000 <= slow && u128::from(slow) <= took && quick < slow, "{quick} and {slow} ms of {took} ms");
    assert!(shown(&["latest"]).lines().any(|line| line.starts_with("vacuum         held back for ")));
    assert!(output.stderr.contains(" of it new; vacuum was held back for "), "{}", output.stderr);
}
