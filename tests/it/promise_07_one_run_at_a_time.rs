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
    scene.run(5, &["restore", "latest", "--in-place", "--yes"]);
    let waited = scene.run(0, &["apply", "--yes", "--wait", "60s"]);
    assert_eq!(waited.stdout, "nothing to do\n");
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
