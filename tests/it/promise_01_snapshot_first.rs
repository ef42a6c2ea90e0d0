//! P1: no migration touches production before a snapshot of it is complete, published and verified.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::support::{Project, Scene, Version};

/// Writes down what the store's manifests said at the moment it ran in production.
const SLOW: &str =
    "-- migrate:up\nCREATE TABLE slow (a int);\nSELECT pg_sleep(3);\n-- migrate:down\nDROP TABLE slow;\n";

#[test]
fn promise_01_a_store_that_fails_leaves_production_untouched() {
    let scene = Scene::dusangire(Version::V15);
    let before = scene.database.dump();
    // A file where the directory of the chunks should be: the store opens, and no chunk can be written.
    std::fs::create_dir_all(scene.store.directory()).unwrap();
    std::fs::write(scene.store.directory().join("chunks"), "in the way").unwrap();
    let output = scene.run(6, &["apply", "--yes"]);
    assert!(output.stderr.contains("chunks"), "{}", output.stderr);
    assert_eq!(scene.database.dump(), before);
    assert_eq!(scene.snapshots(), Vec::<String>::new());
}

#[test]
fn promise_01_the_snapshot_of_a_run_is_published_before_its_first_change() {
    let scene = Scene::empty(Version::V15);
    scene.project.write_migration("app", "0001_slow", SLOW);
    let mut run = scene.project.command(&["apply", "--yes", "--skip-rehearsal", "test"]).spawn().unwrap();
    // The moment of the first change: the run's row is in production. The manifest is there already.
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while scene.database.query("SELECT to_regclass('safe_migrate.run')").is_empty() {
        assert!(run.try_wait().unwrap().is_none() && std::time::Instant::now() < deadline, "no run began");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(scene.snapshots().len(), 1, "published before the ledger exists");
    assert!(run.wait().unwrap().success());

    let id = scene.snapshots().remove(0);
    assert_eq!(scene.database.query("SELECT snapshot_id FROM safe_migrate.run"), id);
    let manifest = std::fs::read(scene.store.directory().join(format!("snapshots/{id}/manifest.json"))).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let finished = OffsetDateTime::parse(manifest["finished_at"].as_str().unwrap(), &Rfc3339).unwrap();
    let epoch =
        scene.database.query("SELECT floor(extract(epoch FROM applied_at))::bigint FROM safe_migrate.migration");
    assert!(finished.unix_timestamp() <= epoch.parse().unwrap());
    assert_eq!(manifest["reason"]["run"], scene.database.query("SELECT id FROM safe_migrate.run").as_str());
}

#[test]
fn promise_01_a_named_snapshot_must_be_whole_and_of_this_source() {
    let scene = Scene::dusangire(Version::V15);
    scene.database.sql("CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 1000) i");
    let id = scene.take_snapshot();
    let before = scene.database.dump();

    let other = Project::dusangire(&scene.database, &scene.store);
    let text = std::fs::read_to_string(other.directory().join("safe-migrate.toml")).unwrap();
    other.configure(&text.replace("source = \"test\"", "source = \"another\""));
    let arguments = ["apply", "--yes", "--snapshot", &id];
    let output = other.run(&arguments);
    scene.check(3, &arguments, &output);
    assert!(output.stderr.contains("another"), "{}", output.stderr);

    let (key, _) = scene.store.objects().into_iter().find(|(key, _)| key.starts_with("chunks/")).unwrap();
    std::fs::remove_file(scene.store.directory().join(key)).unwrap();
    scene.run(6, &arguments);
    assert_eq!(scene.database.dump(), before);
}
