//! P7: one run at a time per database.

use std::time::{Duration, Instant};

use crate::support::{Scene, Version};

#[test]
fn promise_07_the_second_run_is_refused_or_waits() {
    let scene = Scene::empty(Version::V15);
    let slow = "-- migrate:up\nCREATE TABLE once (a int);\nSELECT pg_sleep(4);\n-- migrate:down\nDROP TABLE once;\n";
    scene.project.write_migration("app", "0001_slow", slow);
    let arguments = ["apply", "--yes", "--skip-rehearsal", "test"];
    let mut first = scene.project.command(&arguments).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while scene.database.query("SELECT to_regclass('safe_migrate.run')").is_empty() {
        assert!(first.try_wait().unwrap().is_none() && Instant::now() < deadline, "no run began");
        std::thread::sleep(Duration::from_millis(20));
    }
    let refused = scene.run(5, &arguments);
    assert!(refused.stderr.contains("--wait"), "{}", refused.stderr);
    let run = scene.database.query("SELECT id FROM safe_migrate.run");
    assert!(refused.stderr.contains(&format!(": run {run} (apply) by ")), "by its lease: {}", refused.stderr);
    assert!(scene.run(0, &["status"]).stderr.contains("has not ended"));
    scene.run(5, &["restore", "latest", "--in-place", "--yes"]);
    let waited = scene.run(0, &["apply", "--yes", "--wait", "60s"]);
    assert_eq!(waited.stdout, "nothing to do\n");
    assert!(waited.stderr.contains("waiting for another run to let go of"), "{}", waited.stderr);
    assert_eq!(scene.database.query("SELECT count(*) FROM safe_migrate.lease"), "0");
    assert!(first.wait().unwrap().success());
    assert_eq!(scene.applied(), ["app/0001_slow"]);
    assert_eq!(scene.snapshots().len(), 1);
}

#[test]
fn promise_07_two_runs_at_the_same_instant_apply_once() {
    let scene = Scene::dusangire(Version::V15);
    let arguments = ["apply", "--yes", "--skip-rehearsal", "test"];
    let runs: Vec<_> = (0..3).map(|_| scene.project.command(&arguments).spawn().unwrap()).collect();
    let mut codes: Vec<_> = runs.into_iter().map(|mut run| run.wait().unwrap().code()).collect();
    codes.sort();
    assert_eq!(codes[0], Some(0));
    assert!(codes.iter().all(|code| [Some(0), Some(5)].contains(code)), "{codes:?}");
    assert_eq!(scene.database.query("SELECT count(*) FROM safe_migrate.run"), "1");
}

/// Without a ledger there is no lease; the name of the session tells who it is.
#[test]
fn promise_07_the_first_run_of_all_is_named_by_its_session() {
    let scene = Scene::empty(Version::V15);
    scene.project.write_migration("app", "0001_slow", "-- migrate:up\nSELECT pg_sleep(3);\n");
    let mut first = scene.project.command(&["apply", "--yes"]).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    // In the target, where it is taken last; the server is shared with other tests.
    let locked = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
                   WHERE locktype = 'advisory' AND datname = current_database()";
    while scene.database.query(locked) == "0" {
        assert!(first.try_wait().unwrap().is_none() && Instant::now() < deadline, "no run began");
        std::thread::sleep(Duration::from_millis(5));
    }
    let refused = scene.run(5, &["rollback", "app", "zero", "--yes"]);
    assert!(refused.stderr.contains("(safe-migrate apply by "), "{}", refused.stderr);
    first.kill().unwrap();
    first.wait().unwrap();
}

/// A run that died holds nothing; the next one says whose it was and what it had done, once.
#[test]
fn promise_07_a_dead_holder_is_named_with_what_it_left() {
    let scene = Scene::empty(Version::V15);
    scene.project.write_migration("app", "0001_a", "-- migrate:up\nSELECT 1;\n");
    scene.begin_applied();
    scene.project.write_migration(
        "app",
        "0002_b",
        "-- migrate:up
CREATE TABLE dish AS SELECT 1 AS id;
CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(300); RETURN 1; END';
",
    );
    scene.project.write_migration(
        "app",
        "0003_slow",
        "-- migrate:up transaction:false\nCREATE INDEX CONCURRENTLY dish_slow ON dish (slow(id));\n",
    );
    let mut run = scene.project.command(&["apply", "--yes", "--skip-rehearsal", "test"]).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
    while scene.database.query(asleep) == "0" {
        assert!(run.try_wait().unwrap().is_none() && Instant::now() < deadline, "no run began");
        std::thread::sleep(Duration::from_millis(20));
    }
    let id = scene.database.query("SELECT run_id FROM safe_migrate.lease");
    run.kill().unwrap();
    run.wait().unwrap();
    while scene.database.query(asleep) != "0" {
        assert!(Instant::now() < deadline, "the dead run goes on");
        std::thread::sleep(Duration::from_millis(50));
    }
    let status = scene.run(0, &["status"]).stderr;
    assert!(status.contains(&id) && status.contains("its lock is free"), "{status}");
    scene.project.write_migration("app", "0003_slow", "-- migrate:up\nSELECT 3;\n");
    let output = scene.project.run(&["apply", "--yes", "--skip-rehearsal", "test"]);
    let words = output.stderr;
    assert!(words.contains(&format!("run {id} (apply) by ")) && words.contains("app/0002_b"), "{words}");
    assert!(words.contains("it stopped in app/0003_slow, statement 1, outside a transaction"), "{words}");
}
