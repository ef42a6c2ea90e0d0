//! P5: a COMMIT whose connection is lost while it waits for a synchronous standby that is away.

use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::{Cut, CutAt, CuttingProxy, Scene, Standby, TestCluster, Version};

const SKIP: [&str; 6] = ["apply", "--yes", "--skip-rehearsal", "test", "--skip-snapshot", "test"];

struct Ground {
    cluster: Arc<TestCluster>,
    scene: Scene,
    proxy: CuttingProxy,
    direct: String,
    standby: Standby,
}

/// A run at its COMMIT, whose connection is cut and whose standby is away.
fn ground(version: Version, apply: &str) -> (Ground, Child) {
    let cluster = Arc::new(TestCluster::start(version, &[]));
    let scene = Scene::on(&cluster);
    scene.database.sql("CREATE TABLE dish (id int PRIMARY KEY)");
    let up = "-- migrate:up\nALTER TABLE dish ADD COLUMN size int;\nSELECT pg_sleep(3);\n-- migrate:down\nALTER TABLE dish DROP COLUMN size;\n";
    scene.project.write_migration("kitchen", "0001_size", up);
    scene.project.configure_more(apply);
    let direct = std::fs::read_to_string(scene.project.directory().join("safe-migrate.toml")).unwrap();
    let proxy =
        CuttingProxy::start(cluster.port(), CutAt { once_sent: "ADD COLUMN size", at: "COMMIT", cut: Cut::Sent });
    scene.project.configure(&direct.replace(&format!(":{}/", cluster.port()), &format!(":{}/", proxy.port())));
    let mut standby = Standby::of(&cluster);
    cluster.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'");
    cluster.sql("postgres", "SELECT pg_reload_conf()");
    wait_until("the standby", || cluster.query("postgres", "SELECT sync_state FROM pg_stat_replication") == "sync");
    let run = scene.project.command(&SKIP).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    wait_until("the migration", || cluster.query("postgres", sleeping) == "1");
    standby.stop();
    wait_until("the COMMIT that waits", || waiting(&cluster));
    (Ground { cluster, scene, proxy, direct, standby }, run)
}

fn waiting(cluster: &TestCluster) -> bool {
    cluster.query("postgres", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query = 'COMMIT'")
        == "1"
}

fn wait_until(what: &str, mut come: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !come() {
        assert!(Instant::now() < deadline, "{what}: never");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn end(mut ground: Ground) {
    ground.scene.project.configure(&ground.direct);
    if ground.cluster.query("postgres", "SELECT count(*) FROM pg_stat_replication") == "0" {
        ground.standby.start_again();
    }
    wait_until("the end of the COMMIT", || !waiting(&ground.cluster));
    let output = ground.scene.run(0, &SKIP);
    assert_eq!(output.stdout, "nothing to do\n");
    assert_eq!(ground.scene.applied(), ["kitchen/0001_size"]);
    ground.cluster.sql("postgres", "ALTER SYSTEM RESET synchronous_standby_names");
    ground.cluster.sql("postgres", "SELECT pg_reload_conf()");
}

#[test]
fn promise_05_a_commit_that_waits_for_a_standby_goes_on_when_it_is_back() {
    for version in [Version::V15, Version::V18] {
        let (mut ground, run) = ground(version, "");
        assert!(ground.proxy.has_cut());
        std::thread::sleep(Duration::from_secs(2));
        ground.standby.start_again();
        let output = run.wait_with_output().unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{words}");
        assert!(words.contains("which waits for a synchronous standby"), "{words}");
        end(ground);
    }
}

#[test]
fn promise_05_a_commit_that_waits_too_long_for_a_standby_is_reported_as_it_is() {
    let (ground, run) = ground(Version::V15, "[apply]\ncommit_wait = \"4s\"\n");
    let output = run.wait_with_output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{words}");
    assert!(words.contains("waits for a synchronous standby (backend"), "{words}");
    assert!(words.contains("bring the standby back"), "{words}");
    // The process that commits still has the lock.
    ground.scene.project.configure(&ground.direct);
    let words = ground.scene.run(5, &SKIP).stderr;
    assert!(words.contains("its COMMIT waits for a synchronous standby"), "{words}");
    assert!(waiting(&ground.cluster), "nobody ended it");
    end(ground);
}

#[test]
fn promise_05_a_commit_that_waits_for_a_standby_can_be_left() {
    let (ground, run) = ground(Version::V15, "");
    std::thread::sleep(Duration::from_secs(2));
    assert!(std::process::Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap().success());
    let output = run.wait_with_output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{words}");
    assert!(waiting(&ground.cluster), "the wait was not cancelled");
    end(ground);
}
