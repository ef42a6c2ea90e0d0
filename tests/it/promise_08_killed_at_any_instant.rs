//! P8: a kill at any instant leaves production in a state that the ledger knows, and blocks nothing.

use std::process::Child;
use std::time::{Duration, Instant};

use crate::support::{Scene, ShadowDirectory, Version};

fn slow(seconds: u32) -> String {
    format!(
        "-- migrate:up\nCREATE TABLE once (a int);\nSELECT pg_sleep({seconds});\n-- migrate:down\nDROP TABLE once;\n"
    )
}

fn wait_for(what: &str, run: &mut Child, mut come: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !come() {
        assert!(run.try_wait().unwrap().is_none() && Instant::now() < deadline, "{what} never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn promise_08_killed_in_a_migration() {
    let scene = Scene::empty(Version::V15);
    scene.project.write_migration("app", "0001_slow", &slow(300));
    let mut run = scene.project.command(&["apply", "--yes", "--skip-rehearsal", "test"]).spawn().unwrap();
    let sleeping = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND query ~ '^SELECT pg_sleep'",
        scene.database.name()
    );
    wait_for("the migration", &mut run, || scene.cluster().query("postgres", &sleeping) == "1");
    run.kill().unwrap();
    run.wait().unwrap();
    assert_eq!(scene.applied(), Vec::<String>::new());
    assert_eq!(scene.database.query("SELECT to_regclass('once')"), "");

    // The server's side of the dead run sleeps for five minutes; it may not hold the lock for so long.
    scene.project.write_migration("app", "0001_slow", &slow(0));
    let output = scene.run(0, &["apply", "--yes"]);
    assert!(output.stderr.contains("never ended"), "the dead run is named: {}", output.stderr);
    assert_eq!(scene.applied(), ["app/0001_slow"]);
    assert_eq!(scene.database.query("SELECT outcome FROM safe_migrate.run ORDER BY started_at"), "died\ndone");
    scene.project.write_migration("app", "0002_next", "-- migrate:up\nSELECT 1;\n-- migrate:down\nSELECT 1;\n");
    assert!(!scene.run(0, &["apply", "--yes"]).stderr.contains("never ended"), "said once");
}

#[test]
fn promise_08_killed_between_two_migrations_is_no_drift() {
    let scene = Scene::empty(Version::V15);
    scene.project.write_migration(
        "app",
        "0001_a",
        "-- migrate:up\nCREATE TABLE a (i int);\n-- migrate:down\nDROP TABLE a;\n",
    );
    scene.run(0, &["apply", "--yes"]);
    let table = "-- migrate:up\nCREATE TABLE b (i int);\n-- migrate:down\nDROP TABLE b;\n";
    scene.project.write_migration("app", "0002_b", table);
    scene.project.write_migration("app", "0003_slow", &slow(300));
    let mut run = scene.project.command(&["apply", "--yes", "--skip-rehearsal", "test"]).spawn().unwrap();
    wait_for("the second migration", &mut run, || scene.applied().len() == 2);
    run.kill().unwrap();
    run.wait().unwrap();

    scene.project.write_migration("app", "0003_slow", &slow(0));
    let output = scene.run(0, &["apply", "--yes"]);
    assert!(output.stderr.contains("died before it could record the schema"), "{}", output.stderr);
    assert_eq!(scene.applied(), ["app/0001_a", "app/0002_b", "app/0003_slow"]);
    scene.database.sql("CREATE TABLE by_hand (i int)");
    scene.project.write_migration("app", "0004_next", "-- migrate:up\nSELECT 1;\n-- migrate:down\nSELECT 1;\n");
    scene.run(3, &["apply", "--yes"]);
}

#[test]
fn promise_08_killed_in_a_rehearsal_leaves_no_shadow() {
    let scene = Scene::empty(Version::V15);
    let shadow = ShadowDirectory::of(&scene.project);
    scene.project.write_migration("app", "0001_slow", &slow(300));
    let mut run = scene.project.command(&["apply", "--yes"]).spawn().unwrap();
    let is_asleep = || shadow.processes().len() > 1 && sleeps(&scene);
    wait_for("the rehearsal", &mut run, is_asleep);
    run.kill().unwrap();
    run.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !shadow.processes().is_empty() {
        assert!(Instant::now() < deadline, "still there: {:?}", shadow.processes());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(scene.applied(), Vec::<String>::new());

    scene.project.write_migration("app", "0001_slow", &slow(0));
    scene.run(0, &["apply", "--yes"]);
    assert_eq!(scene.applied(), ["app/0001_slow"]);
    assert!(shadow.files().is_empty(), "{:?}", shadow.files());
}

/// Whether the shadow has got as far as the migration: it is in the list of processes, as PostgreSQL titles them.
fn sleeps(scene: &Scene) -> bool {
    let title = format!("{} [local] SELECT", scene.database.name());
    std::fs::read_dir("/proc").unwrap().any(|entry| {
        let arguments = std::fs::read(entry.unwrap().path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(&title)
    })
}
