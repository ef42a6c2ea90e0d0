//! P5: production is always in a state that the ledger knows.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Scene, Version};

fn three(scene: &Scene, second: &str) {
    for (name, text) in
        [("0001_a", "CREATE TABLE a (i int);"), ("0002_b", second), ("0003_c", "CREATE TABLE c (i int);")]
    {
        scene.project.write_migration("app", name, &format!("-- migrate:up\n{text}\n-- migrate:down\nSELECT 1;\n"));
    }
}

#[test]
fn promise_05_a_plan_that_stops_in_the_middle_says_where_production_is() {
    let scene = Scene::empty(Version::V15);
    three(&scene, "CREATE TABLE b (i int);\nSELECT 1 / 0;");
    let output = scene.run(4, &["apply", "--yes", "--skip-rehearsal", "test"]);
    assert_eq!(scene.applied(), ["app/0001_a"]);
    assert!(output.stderr.contains("1 of 3"), "{}", output.stderr);
    assert!(output.stderr.contains("0002_b.sql:3"), "{}", output.stderr);
    let snapshot = scene.snapshots().remove(0);
    assert!(output.stderr.contains(&format!("restore {snapshot} --in-place")), "{}", output.stderr);
    let tables = "SELECT string_agg(relname, ',' ORDER BY 1) FROM pg_class WHERE relname IN ('a', 'b', 'c')";
    assert_eq!(scene.database.query(tables), "a");

    // Not drift: the run that failed left a known schema.
    three(&scene, "CREATE TABLE b (i int);");
    scene.run(0, &["apply", "--yes"]);
    assert_eq!(scene.applied(), ["app/0001_a", "app/0002_b", "app/0003_c"]);
}

#[test]
fn promise_05_a_session_that_is_ended_in_a_migration_leaves_it_unapplied() {
    let scene = Scene::empty(Version::V15);
    three(&scene, "CREATE TABLE b (i int);\nSELECT pg_sleep(60);");
    let arguments = ["apply", "--yes", "--skip-rehearsal", "test"];
    let mut run = scene.project.command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    let sleeping = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
          WHERE datname = '{}' AND query ~ '^SELECT pg_sleep' AND pid <> pg_backend_pid()",
        scene.database.name()
    );
    let deadline = Instant::now() + Duration::from_secs(60);
    while scene.cluster().query("postgres", &sleeping) == "0" {
        assert!(run.try_wait().unwrap().is_none() && Instant::now() < deadline, "it never slept");
        std::thread::sleep(Duration::from_millis(50));
    }
    let output = run.wait_with_output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "the first migration stays: {words}");
    assert!(words.contains("0002_b.sql:3") && words.contains("1 of 3"), "{words}");
    assert_eq!(scene.applied(), ["app/0001_a"]);
    assert_eq!(scene.database.query("SELECT to_regclass('b')"), "");
    assert_eq!(scene.database.query("SELECT outcome FROM safe_migrate.run"), "failed");

    three(&scene, "CREATE TABLE b (i int);");
    scene.begin_applied();
    assert_eq!(scene.applied(), ["app/0001_a", "app/0002_b", "app/0003_c"]);
}

#[test]
fn promise_05_a_constraint_that_fails_at_commit_leaves_no_ledger_row() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql(
        "CREATE TABLE p (id int PRIMARY KEY);
         CREATE TABLE q (id int REFERENCES p DEFERRABLE INITIALLY DEFERRED)",
    );
    let text = "-- migrate:up\nCREATE TABLE b (i int);\nINSERT INTO q VALUES (1);\n-- migrate:down\nDROP TABLE b;\n";
    scene.project.write_migration("app", "0001_q", text);
    let before = scene.schema();
    let output = scene.run(1, &["apply", "--yes", "--skip-rehearsal", "test"]);
    assert!(output.stderr.contains("q_id_fkey"), "{}", output.stderr);
    assert_eq!((scene.applied(), scene.schema()), (Vec::new(), before));
}
