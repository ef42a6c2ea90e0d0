//! P5: a connection lost exactly at COMMIT is resolved by asking the server, never guessed.

use crate::support::{Cut, CutAt, CuttingProxy, Scene, Version};

const UP: &str =
    "-- migrate:up\nALTER TABLE dish ADD COLUMN size int;\n-- migrate:down\nALTER TABLE dish DROP COLUMN size;\n";

/// A pending migration; all connections to production go through a proxy that cuts at the COMMIT of that migration.
fn scene(version: Version, cut: Cut) -> (Scene, CuttingProxy) {
    let scene = Scene::empty(version);
    scene.database.sql("CREATE TABLE dish (id int PRIMARY KEY); INSERT INTO dish VALUES (1)");
    scene.project.write_migration("kitchen", "0001_size", UP);
    let port = scene.cluster().port();
    let proxy = CuttingProxy::start(port, CutAt { once_sent: "ADD COLUMN size", at: "COMMIT", cut });
    let text = std::fs::read_to_string(scene.project.directory().join("safe-migrate.toml")).unwrap();
    let moved = text.replace(&format!(":{port}/"), &format!(":{}/", proxy.port()));
    assert_ne!(moved, text);
    scene.project.configure(&moved);
    (scene, proxy)
}

fn has_column(scene: &Scene) -> bool {
    let sql = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'dish' AND column_name = 'size'";
    scene.database.query(sql) == "1"
}

/// Column and ledger row are both there, or neither is.
#[track_caller]
fn agrees(scene: &Scene, applied: bool) {
    let rows = scene.applied();
    assert_eq!((has_column(scene), rows.len()), (applied, usize::from(applied)), "{rows:?}");
}

#[test]
fn promise_05_a_commit_that_never_arrived_did_not_happen() {
    for version in [Version::V15, Version::V18] {
        let (scene, proxy) = scene(version, Cut::Before);
        let output = scene.run(1, &["apply", "--yes"]);
        assert!(proxy.has_cut() && output.stderr.contains("production: unchanged"), "{}", output.stderr);
        agrees(&scene, false);
        scene.run(0, &["apply", "--yes"]);
        agrees(&scene, true);
    }
}

#[test]
fn promise_05_a_commit_whose_answer_was_lost_did_happen() {
    for version in [Version::V15, Version::V18] {
        let (scene, proxy) = scene(version, Cut::After);
        let output = scene.run(0, &["apply", "--yes"]);
        assert!(proxy.has_cut() && output.stderr.contains("applied kitchen/0001_size"), "{}", output.stderr);
        agrees(&scene, true);
        assert!(scene.run(0, &["apply", "--yes"]).stdout.contains("nothing to do"));
        assert_eq!(scene.database.query("SELECT count(*) FROM safe_migrate.run WHERE finished_at IS NULL"), "0");
    }
}

/// With more to do the run stops: the session that was lost held the lock.
#[test]
fn promise_05_a_run_that_lost_its_session_at_a_commit_goes_no_further() {
    let (scene, proxy) = scene(Version::V15, Cut::After);
    scene.project.write_migration(
        "kitchen",
        "0002_next",
        "-- migrate:up\nCREATE TABLE next (a int);\n-- migrate:down\nDROP TABLE next;\n",
    );
    let output = scene.run(4, &["apply", "--yes"]);
    assert!(proxy.has_cut());
    assert!(output.stderr.contains("kitchen/0001_size"), "it says what is applied: {}", output.stderr);
    agrees(&scene, true);
    scene.run(0, &["apply", "--yes"]);
    assert_eq!(scene.applied(), ["kitchen/0001_size", "kitchen/0002_next"]);
}

#[test]
fn promise_05_a_lost_commit_behind_a_fence() {
    let (behind, proxy) = scene(Version::V15, Cut::Before);
    let output = behind.run(1, &["apply", "--yes", "--fence"]);
    assert!(proxy.has_cut() && output.stderr.contains("production: unchanged"), "{}", output.stderr);
    agrees(&behind, false);
    for fence in ["--fence", "--fence=closed"] {
        let (scene, proxy) = scene(Version::V15, Cut::After);
        let output = scene.run(0, &["apply", "--yes", fence]);
        assert!(proxy.has_cut(), "{}", output.stderr);
        agrees(&scene, true);
        scene.database.sql("INSERT INTO dish VALUES (2)");
    }
}
