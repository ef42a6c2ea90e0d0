//! The connection is lost exactly at the COMMIT of a swap: what happened is asked of the server, never guessed.

use crate::support::{Cut, CutAt, CuttingProxy, Scene, Version};

/// A proven database waits to be swapped in, and the project's connections go through a proxy that cuts.
fn scene(version: Version, cut: Cut) -> (Scene, CuttingProxy, String) {
    let scene = Scene::empty(version);
    scene.database.sql("CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
    let id = scene.take_snapshot();
    scene.database.sql("INSERT INTO t VALUES (2)");
    scene.run(0, &["restore", &id, "--yes"]);
    let beside = scene.databases().into_iter().find(|name| name.contains("_restored_")).unwrap();
    let port = scene.cluster().port();
    let proxy = CuttingProxy::start(port, CutAt { once_sent: "RENAME TO", at: "COMMIT", cut });
    let text = std::fs::read_to_string(scene.project.directory().join("safe-migrate.toml")).unwrap();
    let moved = text.replace(&format!(":{port}/"), &format!(":{}/", proxy.port()));
    assert_ne!(moved, text);
    scene.project.configure(&moved);
    (scene, proxy, beside)
}

fn names(scene: &Scene) -> (usize, usize) {
    let databases = scene.databases();
    let with = |part: &str| databases.iter().filter(|name| name.contains(part)).count();
    (with("_restored_"), with("_before_"))
}

/// The server has committed, and nobody heard it.
#[test]
fn restore_swap_whose_answer_is_lost_is_done() {
    for version in [Version::V15, Version::V18] {
        let (scene, proxy, beside) = scene(version, Cut::After);
        let output = scene.run(0, &["restore", "--swap", &beside, "--yes"]);
        assert!(proxy.has_cut());
        assert!(output.stdout.contains("is the restored database"), "{}", output.stdout);
        assert_eq!((scene.database.query("SELECT a FROM t"), names(&scene)), ("1".to_owned(), (0, 1)));
        let run = crate::restore_swap::recorded_run(&scene, "restore --swap");
        assert_eq!(run["outcome"], "done");
        scene.run(0, &["restore", "--undo", run["id"].as_str().unwrap(), "--yes"]);
        assert_eq!(scene.database.query("SELECT sum(a) FROM t"), "3");
    }
}

/// The server never got it, and rolls back when the connection ends.
#[test]
fn restore_swap_whose_commit_never_arrives_is_not_done() {
    for version in [Version::V15, Version::V18] {
        let (scene, proxy, beside) = scene(version, Cut::Before);
        let output = scene.run(1, &["restore", "--swap", &beside, "--yes"]);
        assert!(proxy.has_cut());
        assert!(output.stderr.contains("production: unchanged"), "{}", output.stderr);
        assert_eq!((scene.database.query("SELECT sum(a) FROM t"), names(&scene)), ("3".to_owned(), (1, 0)));
        assert_eq!(crate::restore_swap::recorded_run(&scene, "restore --swap")["outcome"], "failed");
        scene.run(0, &["restore", "--swap", &beside, "--yes"]);
        assert_eq!((scene.database.query("SELECT a FROM t"), names(&scene)), ("1".to_owned(), (0, 1)));
    }
}
