//! A role without rights half-way, a clock that is wrong by a day, a standby, a ledger from a newer version.

use std::sync::Arc;
use std::time::Duration;

use super::{APPLY, Ground, ROLLBACK};
use crate::support::{Output, Scene, Standby, TestCluster, Version, tool};

#[test]
fn fault_role_without_rights_half_way() {
    let ground = Ground::new(Version::V15);
    let scene = &ground.scene;
    let role = scene.cluster().role("weak", "weak-password", "CREATEDB");
    scene.database.sql(&format!(
        "CREATE TABLE not_its_own (a int); ALTER TABLE dish OWNER TO {0}; GRANT SELECT ON not_its_own TO {0};
         GRANT CREATE ON SCHEMA public TO {0}; GRANT CREATE ON DATABASE {1} TO {0}",
        role.name(),
        scene.database.name()
    ));
    let text = std::fs::read_to_string(scene.project.directory().join("safe-migrate.toml")).unwrap();
    let url = scene.cluster().url_as(role.name(), "weak-password", scene.database.name());
    scene.project.configure(&text.replace(&scene.database.url(), &url));
    scene.project.write_migration("kitchen", "0003_tag", "-- migrate:up\nALTER TABLE not_its_own ADD COLUMN b int;\n");
    // It could not give admin's tables back to admin.
    let apply = [&APPLY[..], &["--accept-no-restore", "test"]].concat();
    let output = scene.run(4, &apply);
    assert!(output.stderr.contains("must be owner of table not_its_own"), "{}", output.stderr);
    assert!(output.stderr.contains("2 of 3"), "{}", output.stderr);
    ground.says_the_state(&output);
    let effects = ground.holds();
    assert!(effects.size && effects.index && !effects.tag);
    scene.project.write_migration("kitchen", "0003_tag", super::MIGRATIONS[2].1);
    ground.goes_through(&apply);
}

fn with_clock(scene: &Scene, shift: &str, arguments: &[&str]) -> Output {
    let library = tool("SAFE_MIGRATE_TEST_FAKETIME", "libfaketime.so.1");
    scene.project.run_with(arguments, &[("LD_PRELOAD", library.to_str().unwrap()), ("FAKETIME", shift)])
}

fn clock_wrong_by_a_day(shift: &str) {
    let ground = Ground::new(Version::V15);
    let output = with_clock(&ground.scene, shift, &APPLY);
    ground.scene.check(0, &APPLY, &output);
    ground.holds();
    ground.goes_through(&ROLLBACK);
    let output = with_clock(&ground.scene, shift, &["apply", "--yes"]);
    assert_eq!(output.status, 0, "{}", output.stderr);
    ground.holds();
    let output = with_clock(&ground.scene, shift, &["status"]);
    assert_eq!(output.status, 0, "{}", output.stderr);
    ground.goes_through(&ROLLBACK);
}

#[test]
fn fault_clock_a_day_slow() {
    clock_wrong_by_a_day("-1d");
}

#[test]
fn fault_clock_a_day_fast() {
    clock_wrong_by_a_day("+1d");
}

/// P1, no older than the run allows: a clock that runs behind makes an old snapshot look like one from the future,
/// which is younger than any limit.
#[test]
fn fault_clock_a_day_slow_does_not_make_an_old_snapshot_young() {
    let ground = Ground::new(Version::V15);
    let old = ground.scene.take_snapshot();
    std::thread::sleep(Duration::from_secs(3));
    let arguments = ["apply", "--yes", "--skip-rehearsal", "test", "--snapshot", "max-age=1s"];
    let output = with_clock(&ground.scene, "-1d", &arguments);
    ground.scene.check(0, &arguments, &output);
    assert_ne!(ground.scene.database.query("SELECT snapshot_id FROM safe_migrate.run"), old, "{}", output.stderr);
    ground.holds();
}

#[test]
fn fault_standby() {
    let cluster = Arc::new(TestCluster::start(Version::V15, &[]));
    let ground = Ground::on(Scene::on(&cluster));
    let standby = Standby::of(&cluster);
    let url = standby.url(&cluster, ground.scene.database.name());
    for arguments in [&APPLY[..], &ROLLBACK[..]] {
        let words = [arguments, &["--database", &url]].concat();
        let output = ground.scene.project.run(&words);
        assert!([1, 3].contains(&output.status), "{}: {}", output.status, output.stderr);
        assert!(output.stderr.contains("standby"), "{}", output.stderr);
        ground.says_the_state(&output);
    }
    assert_eq!(ground.scene.snapshots(), Vec::<String>::new(), "refused before anything is taken");
    ground.holds();
    ground.goes_through(&APPLY);
}

#[test]
fn fault_ledger_from_a_newer_version() {
    let ground = Ground::new(Version::V15);
    ground.scene.run(0, &APPLY);
    ground.scene.database.sql("INSERT INTO safe_migrate.version VALUES (99)");
    let before = ground.scene.database.dump();
    for arguments in [&APPLY[..], &ROLLBACK[..]] {
        let output = ground.scene.run(1, arguments);
        assert!(output.stderr.contains("version 99"), "{}", output.stderr);
        ground.says_the_state(&output);
    }
    assert_eq!(ground.scene.database.dump(), before);
    ground.scene.database.sql("DELETE FROM safe_migrate.version WHERE version = 99");
    ground.goes_through(&ROLLBACK);
}
