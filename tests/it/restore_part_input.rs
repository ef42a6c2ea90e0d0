//! `restore --table` with wrong input, as JSON, and killed at any moment.

use std::time::Duration;

use crate::support::{Scene, ShadowDirectory, Version};

fn shop() -> (Scene, String) {
    let scene = Scene::empty(Version::V15);
    scene.database.sql(
        "CREATE TABLE dish (id int PRIMARY KEY, price int, twice int GENERATED ALWAYS AS (price * 2) STORED);
         INSERT INTO dish SELECT n, n FROM generate_series(1, 30) n;
         CREATE VIEW card AS SELECT * FROM dish; CREATE TABLE becomes_a_view (a int)",
    );
    let id = scene.take_snapshot();
    (scene, id)
}

#[test]
fn what_is_no_table_or_column_is_named_with_near_names() {
    let (scene, id) = shop();
    scene.database.sql("DROP TABLE becomes_a_view; CREATE VIEW becomes_a_view AS SELECT 1");
    let dump = scene.database.dump();
    for (options, words) in [
        (&["--table", "dihs"][..], "hint: did you mean public.dish?"),
        (&["--table", "zzz"], "the snapshot has no table \"zzz\""),
        (&["--table", "card"], "public.card is a view"),
        (&["--table", "becomes_a_view"], "is a view in the live database and was a table"),
        (&["--table", "dish", "--column", "prise"], "hint: did you mean price?"),
        (&["--table", "dish", "--column", "twice"], "twice of public.dish is a generated column"),
        (&["--table", "dish", "--batch", "5"], "--batch is for --column and --mode missing"),
        (&["--column", "price"], "--table"),
        (&["--table", "dish", "--in-place"], "cannot be used with"),
        (&["--table", "dish", "--mode", "sideways"], "invalid value"),
    ] {
        let arguments = [&["restore", &id][..], options, &["--yes"]].concat();
        let output = scene.run(2, &arguments);
        assert!(output.stderr.contains(words), "{words} in\n{}", output.stderr);
    }
    let key = scene.run(3, &["restore", &id, "--table", "dish", "--column", "id", "--yes"]);
    assert!(key.stderr.contains("id is part of the primary key"), "{}", key.stderr);
    let unknown = scene.run(1, &["restore", "--undo", "20260101T000000Z-abcdef", "--yes"]);
    assert!(unknown.stderr.contains("no database that run"), "{}", unknown.stderr);
    assert_eq!(scene.database.dump(), dump);
    assert_eq!(scene.databases().len(), 1);
}

#[test]
fn json_has_the_counts_the_run_and_the_way_back() {
    let (scene, id) = shop();
    scene.database.sql("UPDATE dish SET price = 0 WHERE id > 10");
    let read = |output: &str| -> serde_json::Value { serde_json::from_str(output).unwrap() };
    let command = ["restore", &id, "--table", "dish", "--column", "price", "--json"];
    let dry = read(&scene.run(0, &[&command[..], &["--dry-run"]].concat()).stdout);
    assert_eq!(dry["outcome"], "ok");
    assert_eq!(dry["recovery"]["action"], "column");
    for (count, expected) in [("overwrites", 20), ("unchanged", 10), ("only_live", 0), ("snapshot_rows", 30)] {
        assert_eq!(dry["recovery"][count], expected, "{count}");
    }
    let done = read(&scene.run(0, &[&command[..], &["--yes"]].concat()).stdout);
    assert_eq!((&done["changed"], &done["run"]["outcome"]), (&20.into(), &"done".into()));
    let undo = ["restore", "--undo", done["run"]["id"].as_str().unwrap(), "--yes", "--json"];
    assert_eq!(read(&scene.run(0, &undo).stdout)["undo"]["changed"], 20);
    let refused = read(&scene.run(3, &undo).stdout);
    assert_eq!((&refused["outcome"], &refused["error"]["code"]), (&"refused".into(), &"recovery-refused".into()));
}

#[test]
fn a_killed_recovery_leaves_the_rows_as_they_were_or_all_written() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql(
        "CREATE TABLE dish (id int PRIMARY KEY, price int);
         INSERT INTO dish SELECT n, n FROM generate_series(1, 50000) n",
    );
    let shadow = ShadowDirectory::of(&scene.project);
    let id = scene.take_snapshot();
    let wrong = "SELECT count(*) FROM dish WHERE price <> id";
    for moment in [60, 150, 300, 450, 600, 750, 900, 1050] {
        scene.database.sql("UPDATE dish SET price = 0");
        let mut child = scene
            .project
            .command(&["restore", &id, "--table", "dish", "--column", "price", "--yes"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(moment));
        child.kill().unwrap();
        child.wait().unwrap();
        let left = scene.database.query(wrong);
        assert!(left == "0" || left == "50000", "{left} after {moment} ms");
    }
    scene.database.sql("UPDATE dish SET price = 0");
    scene.run(0, &["restore", &id, "--table", "dish", "--column", "price", "--yes"]);
    assert_eq!(scene.database.query(wrong), "0");
    assert_eq!(scene.databases().len(), 1, "the next recovery drops what the killed ones left");
    shadow.must_become_empty();
}

#[test]
fn an_interrupt_or_a_damaged_chunk_leaves_the_live_database_and_no_stray_one() {
    let (scene, id) = shop();
    scene.database.sql("UPDATE dish SET price = 0");
    let rows = scene.database.query("SELECT * FROM dish ORDER BY id");
    let options = ["restore", &id, "--table", "dish", "--column", "price", "--yes"];
    let child = scene
        .project
        .command(&options)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let begun = std::time::Instant::now();
    while scene.databases().len() == 1 && begun.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(scene.databases().len(), 1, "the scratch database is dropped at once");

    for (key, _) in scene.store.objects().iter().filter(|(key, _)| key.starts_with("chunks/")) {
        std::fs::write(scene.store.directory().join(key), "damaged").unwrap();
    }
    scene.run(6, &options);
    assert_eq!(scene.database.query("SELECT * FROM dish ORDER BY id"), rows);
    assert_eq!(scene.databases().len(), 1);
}

#[test]
fn a_ledger_of_the_first_version_is_upgraded_by_the_run_and_not_by_a_look() {
    let (scene, id) = shop();
    scene.database.sql("UPDATE dish SET price = 0");
    let command = ["restore", &id, "--table", "dish", "--column", "price", "--yes"];
    scene.run(0, &command);
    scene.database.sql(
        "DROP TABLE safe_migrate.recovery, safe_migrate.lease, safe_migrate.schema;
         ALTER TABLE safe_migrate.step DROP COLUMN place, DROP COLUMN rows_done;
         ALTER TABLE safe_migrate.run DROP COLUMN number;
         DELETE FROM safe_migrate.version WHERE version > 1",
    );
    let dump = scene.database.dump();
    scene.run(0, &["history"]);
    scene.run(0, &[&command[..], &["--dry-run"]].concat());
    scene.run(1, &["restore", "--undo", "20260101T000000Z-abcdef", "--yes"]);
    assert_eq!(scene.database.dump(), dump);
    scene.database.sql("UPDATE dish SET price = 0");
    scene.run(0, &command);
    assert_eq!(scene.database.query("SELECT max(version) FROM safe_migrate.version"), "3");
    assert_eq!(scene.database.query("SELECT kind FROM safe_migrate.recovery"), "column");
}
