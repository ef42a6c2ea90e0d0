//! A migration that stopped in the middle, outside a transaction: seen by every command, with its file or without.

use crate::support::{Scene, Version};

const APPLY: [&str; 4] = ["apply", "--yes", "--skip-rehearsal", "test"];

fn half_done() -> Scene {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE dish (id int PRIMARY KEY, name text); INSERT INTO dish VALUES (1, 'a'), (2, 'a')");
    write(&scene, "0001_step");
    let failed = scene.run(4, &APPLY);
    assert!(failed.stderr.contains("restore "), "{}", failed.stderr);
    scene
}

fn write(scene: &Scene, name: &str) {
    scene.project.write_migration(
        "kitchen",
        name,
        "-- migrate:up transaction:false\nALTER TABLE dish ADD COLUMN a int;\nCREATE UNIQUE INDEX CONCURRENTLY dish_name ON dish (name);\n",
    );
}

fn way_back(stderr: &str) -> &str {
    stderr.split("safe-migrate restore ").nth(1).unwrap().split_whitespace().next().unwrap()
}

#[test]
fn half_done_is_a_state_of_its_own() {
    let scene = half_done();
    let status = scene.run(0, &["status"]);
    assert!(status.stdout.contains("[~] 0001_step"), "{}", status.stdout);
    assert!(status.stdout.contains("0 applied, 0 pending, 1 half done"), "{}", status.stdout);
    assert!(status.stderr.contains("kitchen/0001_step stopped in the middle"), "{}", status.stderr);
    let check = scene.run(3, &["status", "--check"]);
    assert!(check.stderr.contains("1 migration half done"), "{}", check.stderr);
    assert!(scene.run(0, &["plan"]).stderr.contains("stopped in the middle"));
    let doctor = scene.project.run(&["doctor"]).stdout;
    assert!(doctor.contains("half done outside a transaction: kitchen/0001_step"), "{doctor}");

    // What a second attempt took a snapshot of is half done already: that is no way back.
    let snapshots = scene.snapshots();
    std::thread::sleep(std::time::Duration::from_secs(1));
    let again = scene.run(4, &APPLY);
    assert!(snapshots.contains(&way_back(&again.stderr).to_owned()), "{}", again.stderr);

    // Mended, it goes on where it stopped.
    scene.database.sql("UPDATE dish SET name = 'b' WHERE id = 2");
    scene.run(0, &APPLY);
    assert!(!scene.run(0, &["status", "--check"]).stderr.contains("in the middle"));
    assert!(scene.run(0, &["status"]).stdout.contains("1 applied, 0 pending;"));
}

#[test]
fn half_done_is_seen_without_its_file_and_under_another_name() {
    let scene = half_done();
    let file = scene.project.directory().join("migrations/kitchen/0001_step.sql");
    std::fs::remove_file(&file).unwrap();
    let status = scene.run(3, &["status", "--check"]);
    assert!(
        status.stdout.contains("[~] 0001_step") && status.stderr.contains("its file is not here"),
        "{}",
        status.stderr
    );
    // Under another name it would begin at its first statement, which is done.
    write(&scene, "0001_renamed");
    for arguments in [&APPLY[..], &["plan"]] {
        let refused = scene.run(3, arguments).stderr;
        assert!(refused.contains("what is half done must be finished first"), "{refused}");
        assert!(refused.contains("put the file back under that name"), "{refused}");
    }
    std::fs::rename(file.with_file_name("0001_renamed.sql"), &file).unwrap();
    scene.database.sql("UPDATE dish SET name = 'b' WHERE id = 2");
    scene.run(0, &APPLY);
}

/// What `make` wrote above a file is no word of the operator's about rows.
#[test]
fn loss_that_nobody_measured_wants_its_hash_whatever_the_file_allows() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE dish (id int); INSERT INTO dish SELECT generate_series(1, 1000)");
    scene.project.write_migration(
        "kitchen",
        "0001_gone",
        "-- allow: drop-table it is not in schema.sql\n-- migrate:up\nDROP TABLE dish;\n",
    );
    let blind = ["apply", "--yes", "--skip-rehearsal", "x", "--skip-snapshot", "x"];
    let refused = scene.run(3, &blind);
    assert!(refused.stderr.contains("--accept-data-loss"), "{}", refused.stderr);
    assert_eq!(scene.database.query("SELECT count(*) FROM dish"), "1000");
    // And what the rehearsal measured ends the rehearsal as it would end the run.
    scene.take_snapshot();
    let rehearsed = scene.run(3, &["rehearse"]);
    assert!(rehearsed.stderr.contains("apply would refuse: the plan loses data"), "{}", rehearsed.stderr);
    let hash =
        rehearsed.stderr.split("--accept-data-loss ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    scene.run(0, &["rehearse", "--accept-data-loss", &hash]);
    scene.run(0, &["apply", "--yes", "--accept-data-loss", &hash]);
}

#[test]
fn the_ledger_is_not_a_migrations_to_change() {
    let scene = Scene::empty(Version::V15);
    scene.project.write_migration(
        "kitchen",
        "0001_ledger",
        "-- allow: ledger-touched we know\n-- migrate:up\nDROP TABLE IF EXISTS safe_migrate.step;\n-- migrate:down\nSELECT 1;\n",
    );
    let found = scene.run(3, &["lint"]);
    assert!(found.stdout.contains("deny: changes the ledger of safe-migrate [ledger-touched]"), "{}", found.stdout);
    let refused = scene.run(3, &["apply", "--yes"]);
    assert!(refused.stderr.contains("[ledger-touched]"), "{}", refused.stderr);
}
