//! The server restarts under a run, and a deadlock with the application.

use std::process::Child;
use std::sync::Arc;

use super::{APPLY, Ground, ended, until};
use crate::support::{Scene, TestCluster, Version};

/// The second migration sleeps; the server is stopped in it and started again.
fn restarted_in_a_migration(version: Version, mode: &str, outside: bool) {
    let cluster = Arc::new(TestCluster::start(version, &["fsync=on", "synchronous_commit=on", "full_page_writes=on"]));
    let ground = Ground::on(Scene::on(&cluster));
    let options = if outside { " transaction:false" } else { "" };
    let text = format!("-- migrate:up{options}\nSELECT pg_sleep(300) FROM dish LIMIT 1;\n");
    ground.scene.project.write_migration("kitchen", "0002_index", &text);
    let mut child: Child = ground.start(&APPLY);
    let asleep = "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep'";
    until("the migration", &mut child, || cluster.query("postgres", asleep) == "1");
    cluster.restart(mode);
    let output = ended(child);
    assert_eq!(output.status, 4, "{}", output.stderr);
    assert!(output.stderr.contains("1 of 3"), "{}", output.stderr);
    ground.says_the_state(&output);
    assert!(ground.holds().size);
    ground.scene.project.write_migration("kitchen", "0002_index", super::MIGRATIONS[1].1);
    if outside {
        // It changed nothing, and nobody can know: the journal says so, and a person has looked.
        ground.scene.database.sql("DELETE FROM safe_migrate.step");
    }
    ground.goes_through(&APPLY);
}

#[test]
fn fault_server_restart_fast() {
    restarted_in_a_migration(Version::V15, "fast", false);
}

#[test]
fn fault_server_restart_immediate() {
    restarted_in_a_migration(Version::V15, "immediate", false);
}

#[test]
fn fault_server_restart_immediate_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    restarted_in_a_migration(Version::V18, "immediate", false);
}

/// In the middle of a concurrent index build: it is dropped and built again.
#[test]
fn fault_server_restart_in_a_concurrent_index() {
    let cluster =
        Arc::new(TestCluster::start(Version::V15, &["fsync=on", "synchronous_commit=on", "full_page_writes=on"]));
    let ground = Ground::on(Scene::on(&cluster));
    ground.scene.database.sql(
        "CREATE FUNCTION slow(numeric) RETURNS numeric IMMUTABLE LANGUAGE plpgsql AS
         $$ BEGIN PERFORM pg_sleep(1); RETURN $1; END $$",
    );
    let text = "-- migrate:up transaction:false\nCREATE INDEX CONCURRENTLY dish_price ON dish (slow(price));\n";
    ground.scene.project.write_migration("kitchen", "0002_index", text);
    let mut child = ground.start(&APPLY);
    let building = "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^CREATE INDEX' AND state = 'active'";
    until("the build", &mut child, || cluster.query("postgres", building) == "1");
    cluster.restart("immediate");
    let output = ended(child);
    assert_eq!(output.status, 4, "{}", output.stderr);
    ground.says_the_state(&output);
    ground.holds();
    ground
        .scene
        .database
        .sql("CREATE OR REPLACE FUNCTION slow(numeric) RETURNS numeric IMMUTABLE LANGUAGE sql AS 'SELECT $1'");
    let next = ["apply", "--yes", "--skip-rehearsal", "test", "--accept-drift", "the function"];
    ground.scene.run(0, &next);
    assert_eq!(ground.scene.database.query("SELECT count(*) FROM pg_index WHERE NOT indisvalid"), "0");
    let effects = ground.holds();
    assert!(effects.size && effects.index && effects.tag);
}
