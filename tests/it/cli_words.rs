//! `last`, wherever a run or a snapshot is named, and what a snapshot of a refused run is called.

use crate::support::{Scene, Version};

fn migration(scene: &Scene, name: &str, up: &str) {
    let text = format!("-- migrate:up\n{up}\n-- migrate:down\nSELECT 1;\n");
    scene.project.write_migration("app", name, &text);
}

#[test]
fn the_last_run_and_the_last_snapshot_have_a_word() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE dish (id int, price int); INSERT INTO dish VALUES (1, 10)");
    migration(&scene, "0001_note", "ALTER TABLE dish ADD COLUMN note text;");
    scene.run(0, &["apply", "--yes"]);
    let applied = scene.snapshots().remove(0);
    // A second, so that the next id is a later one.
    std::thread::sleep(std::time::Duration::from_secs(1));
    migration(&scene, "0002_price", "ALTER TABLE dish DROP COLUMN price;");
    let refused = scene.run(3, &["apply", "--yes"]);
    assert!(refused.stderr.contains("--accept-data-loss"), "{}", refused.stderr);

    // It is the newest, and comes last.
    let newest = scene.snapshots().into_iter().find(|id| *id != applied).unwrap();
    let listed = scene.run(0, &["snapshot", "list"]).stdout;
    let lines: Vec<&str> = listed.lines().skip(1).collect();
    assert!(lines[0].starts_with(&applied) && !lines[0].contains("refused"), "{listed}");
    assert!(lines[1].starts_with(&newest), "{listed}");
    assert!(lines[1].contains("before apply (refused, nothing changed)"), "{listed}");
    let json = scene.run(0, &["snapshot", "list", "--json"]).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["snapshots"][0]["refused"], &json["snapshots"][1]["refused"]), (&false.into(), &true.into()));

    for word in ["last", "latest"] {
        assert!(scene.run(0, &["restore", word, "--dry-run"]).stdout.contains(&newest));
        assert!(scene.run(0, &["snapshot", "show", word]).stdout.contains(&newest));
    }
    let before = scene.run(0, &["restore", "--before", "last", "--in-place", "--yes"]);
    assert!(before.stderr.contains(&applied), "{}", before.stderr);
    assert!(scene.run(0, &["history", "last"]).stdout.contains("restore "));
    scene.run(0, &["restore", "--undo", "last", "--yes"]);
    let kept = scene.databases().into_iter().find(|name| name != scene.database.name()).unwrap();
    scene.run(0, &["restore", "--drop-old", "last", "--confirm-name", &kept]);
    assert_eq!(scene.databases(), [scene.database.name()]);

    // The remedy fits the mistake.
    let unknown = scene.run(6, &["restore", "--before", "lats"]).stderr;
    assert!(unknown.contains("safe-migrate history") && !unknown.contains("snapshot create"), "{unknown}");
    let unknown = scene.run(2, &["restore", "lats"]).stderr;
    assert!(!unknown.contains("snapshot create"), "{unknown}");
    let word = scene.run(2, &["snapshot", "delete", "last"]).stderr;
    assert!(word.contains("give the ID"), "{word}");
}

/// What would stop a restore stops its dry run as well.
#[test]
fn a_dry_run_checks_what_the_run_checks() {
    let scene = Scene::empty(Version::V15);
    let id = scene.take_snapshot();
    let taken = format!("{}_copy", scene.database.name());
    scene.cluster().sql("postgres", &format!("CREATE DATABASE {taken}"));
    for more in ["--yes", "--dry-run"] {
        let refused = scene.run(1, &["restore", &id, "--to", &taken, more]);
        assert!(refused.stderr.contains("exists already"), "{more}: {}", refused.stderr);
    }
    let resumed = scene.run(1, &["restore", &id, "--in-place", "--resume", "--dry-run"]);
    assert!(resumed.stderr.contains("without --resume"), "{}", resumed.stderr);
}
