//! `[on_failure]`: what becomes of production when a run fails after it was changed.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Output, Project, Scene, Version};

const ADD: &str =
    "-- migrate:up\nALTER TABLE dish ADD COLUMN size int;\n-- migrate:down\nALTER TABLE dish DROP COLUMN size;\n";
const INDEX: &str = "-- migrate:up transaction:false\nCREATE INDEX CONCURRENTLY dish_name ON dish (name);\n\
                     -- migrate:down transaction:false\nDROP INDEX CONCURRENTLY dish_name;\n";
/// Fails in production only: the rehearsal has no such row.
const LAST: &str = "-- migrate:up\nALTER TABLE dish ALTER name SET NOT NULL;\n-- migrate:down\nALTER TABLE dish ALTER name DROP NOT NULL;\n";

/// Three migrations, of which the last one fails in production: what it cannot have comes after the snapshot.
fn kitchen(version: Version, after: &str, second: &str, last: &str) -> Scene {
    let scene = Scene::empty(version);
    scene.database.sql("CREATE TABLE dish (id int PRIMARY KEY, name text); INSERT INTO dish VALUES (1, 'isombe')");
    for (name, text) in [("0001_add", ADD), ("0002_second", second), ("0003_last", last)] {
        scene.project.write_migration("kitchen", name, text);
    }
    scene.project.configure_more(&format!("[on_failure]\nafter = \"{after}\"\n"));
    scene.run(0, &["rehearse", "--snapshot", "new"]);
    scene.database.sql("INSERT INTO dish VALUES (2, NULL)");
    scene
}

fn outcome(scene: &Scene) -> String {
    scene.database.query("SELECT outcome FROM safe_migrate.run ORDER BY started_at DESC LIMIT 1")
}

fn stored(scene: &Scene) -> Value {
    let runs = scene.store.objects().into_iter().filter(|(key, _)| key.starts_with("runs/"));
    let mut runs: Vec<Value> = runs
        .map(|(key, _)| serde_json::from_slice(&std::fs::read(scene.store.directory().join(key)).unwrap()).unwrap())
        .collect();
    runs.sort_by_key(|run| run["started_at"].as_str().unwrap().to_owned());
    runs.into_iter().find(|run| run["command"] == "apply").unwrap()
}

#[test]
fn on_failure_stops_by_default() {
    let scene = kitchen(Version::V15, "stop", INDEX, LAST);
    let output = scene.run(4, &["apply", "--yes"]);
    assert!(output.stderr.contains("2 of 3 migrations are applied"), "{}", output.stderr);
    assert_eq!((scene.applied().len(), outcome(&scene).as_str()), (2, "failed"));
}

fn rolls_back(version: Version) {
    let scene = kitchen(version, "rollback", INDEX, LAST);
    let (schema, rows) = (scene.schema(), scene.database.query("SELECT * FROM dish ORDER BY 1"));
    let output = scene.run(1, &["apply", "--yes"]);
    let said = &output.stderr;
    assert!(said.contains("0003_last.sql:2"), "{said}");
    assert!(
        said.contains("rolled back kitchen/0002_second") && said.contains("rolled back kitchen/0001_add"),
        "{said}"
    );
    assert!(
        said.contains("production: all 2 migrations that it applied are rolled back; schema and ledger are as before"),
        "{said}"
    );
    assert_eq!((scene.schema(), scene.database.query("SELECT * FROM dish ORDER BY 1")), (schema, rows));
    assert_eq!((scene.applied(), outcome(&scene).as_str()), (Vec::new(), "rolled back"));
    assert_eq!(stored(&scene)["outcome"], "rolled back");
    assert!(scene.run(0, &["history"]).stdout.contains("rolled back"));
    // Not drift, and nothing is in the way.
    scene.database.sql("DELETE FROM dish WHERE name IS NULL");
    scene.run(0, &["apply", "--yes"]);
    assert_eq!(scene.applied().len(), 3);
}

#[test]
fn on_failure_rolls_back_what_the_run_applied() {
    rolls_back(Version::V15);
}

#[test]
fn on_failure_rolls_back_what_the_run_applied_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    rolls_back(Version::V18);
}

/// Only the run's own migrations: what was applied before stays.
#[test]
fn on_failure_leaves_what_an_earlier_run_applied() {
    let scene = kitchen(Version::V15, "rollback", INDEX, LAST);
    scene.database.sql("DELETE FROM dish WHERE name IS NULL");
    scene.run(0, &["apply", "kitchen", "0001", "--yes"]);
    scene.run(0, &["rehearse", "--snapshot", "new"]);
    scene.database.sql("INSERT INTO dish VALUES (2, NULL, 7)");
    let output = scene.run(1, &["apply", "--yes"]);
    assert!(output.stderr.contains("all 1 migration that it applied"), "{}", output.stderr);
    assert_eq!(scene.applied(), ["kitchen/0001_add"]);
    assert_eq!(scene.database.query("SELECT size FROM dish WHERE id = 2"), "7");
}

/// The rehearsal did not prove the way back of what is applied by then.
#[test]
fn on_failure_does_not_roll_back_what_was_not_proven() {
    let lossy = "-- migrate:up\nUPDATE dish SET name = upper(name) WHERE id = 1;\n-- migrate:down\nSELECT 1;\n";
    let scene = kitchen(Version::V15, "rollback", lossy, LAST);
    let hash = accepted(&scene);
    let output = scene.run(4, &["apply", "--yes", "--accept-data-loss", &hash]);
    let said = &output.stderr;
    assert!(said.contains("whatever [on_failure] says"), "it is said before: {said}");
    assert!(
        said.contains("it was not rolled back: the rehearsal found that kitchen/0002_second cannot be undone"),
        "{said}"
    );
    let snapshot = stored(&scene)["snapshot_id"].as_str().unwrap().to_owned();
    assert!(said.contains(&format!("restore {snapshot} --in-place")) && said.contains("2 of 3"), "{said}");
    assert_eq!((scene.applied().len(), outcome(&scene).as_str()), (2, "failed"));
}

fn accepted(scene: &Scene) -> String {
    let plan: Value = serde_json::from_str(&scene.run(0, &["plan", "--json"]).stdout).unwrap();
    plan["plan"]["hash"].as_str().unwrap().to_owned()
}

#[test]
fn on_failure_without_a_rehearsal_nothing_is_rolled_back() {
    let scene = kitchen(Version::V15, "rollback", INDEX, LAST);
    let output = scene.run(4, &["apply", "--yes", "--skip-rehearsal", "test"]);
    assert!(output.stderr.contains("no rehearsal proved the down sections"), "{}", output.stderr);
    assert_eq!(scene.applied().len(), 2);
}

/// The journaled half of a step outside a transaction cannot be undone by its down section.
#[test]
fn on_failure_half_of_a_step_outside_a_transaction_is_left_to_a_restore() {
    let half = "-- migrate:up transaction:false\nCREATE TABLE half (i int);\nALTER TABLE dish ALTER name SET NOT NULL;\n\
                -- migrate:down\nDROP TABLE half;\nALTER TABLE dish ALTER name DROP NOT NULL;\n";
    let scene = kitchen(Version::V15, "rollback", INDEX, half);
    let output = scene.run(4, &["apply", "--yes"]);
    let said = &output.stderr;
    assert!(said.contains("no down section undoes half of it"), "{said}");
    let snapshot = stored(&scene)["snapshot_id"].as_str().unwrap().to_owned();
    assert!(said.contains(&format!("restore {snapshot} --in-place")), "{said}");
    assert_eq!(scene.applied().len(), 2);
}

/// A check that finds rows afterwards is a failure too.
#[test]
fn on_failure_a_failed_verification_is_rolled_back() {
    let scene = kitchen(Version::V15, "rollback", INDEX, "-- migrate:up\nSELECT 1;\n-- migrate:down\nSELECT 1;\n");
    scene.project.write(
        "migrations/kitchen/checks/named.sql",
        "SELECT id FROM dish WHERE name IS NULL AND EXISTS (SELECT FROM pg_class WHERE relname = 'dish_name');\n",
    );
    let output = scene.run(1, &["apply", "--yes"]);
    assert!(
        output.stderr.contains("the verification found") && output.stderr.contains("as before"),
        "{}",
        output.stderr
    );
    assert_eq!((scene.applied().len(), outcome(&scene).as_str()), (0, "rolled back"));
}

/// The operator's wish to stop is no failure.
#[test]
fn on_failure_an_interrupted_run_just_stops() {
    let slow = "-- migrate:up\nSELECT pg_sleep(CASE WHEN EXISTS (SELECT FROM dish WHERE name IS NULL) THEN 60 ELSE 0 END);\n\
                -- migrate:down\nSELECT 1;\n";
    let scene = kitchen(Version::V15, "rollback", INDEX, slow);
    let mut run = scene.project.command(&["apply", "--yes"]).stderr(Stdio::piped()).spawn().unwrap();
    let asleep = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep' AND datname = '{}'",
        scene.database.name()
    );
    let deadline = Instant::now() + Duration::from_secs(60);
    while scene.cluster().query("postgres", &asleep) == "0" {
        assert!(run.try_wait().unwrap().is_none() && Instant::now() < deadline, "it never slept");
        std::thread::sleep(Duration::from_millis(20));
    }
    let killed = Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = run.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("2 of 3 migrations are applied") && !said.contains("rolled back"), "{said}");
    assert_eq!((scene.applied().len(), outcome(&scene).as_str()), (2, "interrupted"));
}

/// A kill in the middle of rolling back leaves what the ledger says, and blocks nothing.
#[test]
fn on_failure_killed_while_rolling_back() {
    let scene = kitchen(Version::V15, "rollback", INDEX, LAST);
    let points = "failure.rolling-back=1*off->return";
    let output = Project::output_of(&mut scene.project.command_with_faults(points, &["apply", "--yes"]));
    assert_eq!(output.status, -1, "{}", output.stderr);
    assert_eq!(scene.applied(), ["kitchen/0001_add"]);
    assert_eq!(scene.database.query("SELECT to_regclass('dish_name')"), "");
    scene.database.sql("DELETE FROM dish WHERE name IS NULL");
    let again = scene.run(0, &["apply", "--yes"]);
    assert!(again.stderr.contains("never ended"), "{}", again.stderr);
    assert_eq!(scene.applied().len(), 3);
}

#[test]
fn on_failure_restore_wants_a_fence() {
    let scene = kitchen(Version::V15, "restore", INDEX, LAST);
    let before = scene.snapshots().len();
    let refused = scene.run(3, &["apply", "--yes"]);
    assert!(
        refused.stderr.contains("needs --fence=closed") && refused.stderr.contains("would be lost"),
        "{}",
        refused.stderr
    );
    assert_eq!((scene.snapshots().len(), scene.applied().len()), (before, 0));
}

fn restored(scene: &Scene) -> Output {
    let points = "off.fence-for-restore=return";
    Project::output_of(&mut scene.project.command_with_faults(points, &["apply", "--yes"]))
}

fn restores(version: Version) {
    let scene = kitchen(version, "restore", INDEX, LAST);
    let rows = scene.database.query("SELECT * FROM dish ORDER BY 1");
    let output = restored(&scene);
    scene.check(1, &["apply"], &output);
    let snapshot = stored(&scene)["snapshot_id"].as_str().unwrap().to_owned();
    let said = &output.stderr;
    assert!(said.contains(&format!("production: restored from snapshot {snapshot}")), "{said}");
    assert!(said.contains("0003_last.sql:2") && said.contains("restore --drop-old"), "{said}");
    assert_eq!(scene.database.query("SELECT * FROM dish ORDER BY 1"), rows);
    assert_eq!(scene.database.query("SELECT to_regclass('dish_name')"), "");
    assert_eq!((scene.applied().len(), scene.databases().len()), (0, 2), "the old one is kept");
    assert_eq!(stored(&scene)["outcome"], "restored");
    // The lock is free, and nothing is drift.
    scene.database.sql("DELETE FROM dish WHERE name IS NULL");
    scene.check(0, &["apply"], &restored(&scene));
    assert_eq!(scene.applied().len(), 3);
}

#[test]
fn on_failure_restores_the_snapshot_of_the_run() {
    restores(Version::V15);
}

#[test]
fn on_failure_restores_the_snapshot_of_the_run_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    restores(Version::V18);
}

/// The fence stands until the snapshot is in place: nothing that was written is lost, and both databases are open again.
fn restores_behind_the_fence(version: Version) {
    let scene = kitchen(version, "restore", INDEX, LAST);
    let arguments = ["apply", "--yes", "--fence=closed", "--skip-rehearsal", "test"];
    let output = scene.run(1, &arguments);
    assert!(output.stderr.contains("production: restored from snapshot"), "{}", output.stderr);
    assert!(output.stderr.contains("is open again"), "{}", output.stderr);
    assert_eq!(scene.database.query("SELECT count(*) FROM dish"), "2");
    assert_eq!(scene.database.query("SELECT to_regclass('dish_name')"), "");
    assert_eq!(scene.applied().len(), 0);
    let databases = scene.databases();
    let kept = databases.iter().find(|name| name.contains("_before_")).unwrap();
    assert_eq!(scene.cluster().query(kept, "SELECT to_regclass('dish_name')"), "dish_name", "{databases:?}");
    // Of this test's databases: other tests raise fences on this server.
    let fences = format!(
        "SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
          WHERE setconfig::text ~ 'safe_migrate.fence' AND d.datname LIKE '{}%'",
        scene.database.name()
    );
    assert_eq!(scene.cluster().query("postgres", &fences), "0");
    scene.database.sql("DELETE FROM dish WHERE name IS NULL");
    scene.run(0, &arguments);
    assert_eq!(scene.applied().len(), 3);
}

#[test]
fn on_failure_restores_behind_a_closed_fence() {
    restores_behind_the_fence(Version::V15);
}

#[test]
fn on_failure_restores_behind_a_closed_fence_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    restores_behind_the_fence(Version::V18);
}
