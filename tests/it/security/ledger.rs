//! A role that may create schemas makes `safe_migrate` first, with a trigger that runs as whoever applies.

use std::sync::Arc;

use crate::support::{Scene, TestCluster, Version};

/// Made before the first run, so that it is no drift.
const FUNCTION: &str = "
    CREATE FUNCTION public.rise() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        EXECUTE format('ALTER ROLE %I SUPERUSER', 'mallory_00001'); RETURN NEW; END $$";
const TRIGGER: &str =
    "CREATE TRIGGER rise BEFORE INSERT ON safe_migrate.run FOR EACH ROW EXECUTE FUNCTION public.rise();";

/// A scene on a server of its own, whose first role is mallory; she may create in the database.
fn scene(version: Version) -> Scene {
    let cluster = Arc::new(TestCluster::start(version, &[]));
    let mallory = cluster.role("mallory", "of-mallory", "");
    assert_eq!(mallory.name(), "mallory_00001");
    let scene = Scene::on(&cluster);
    let name = scene.database.name();
    scene.database.sql(&format!(
        "GRANT CREATE ON DATABASE {name} TO mallory_00001; GRANT CREATE ON SCHEMA public TO mallory_00001;
         CREATE TABLE dish (id int PRIMARY KEY); SET ROLE mallory_00001; {FUNCTION}"
    ));
    scene.project.write_migration("kitchen", "0001_size", "-- migrate:up\nALTER TABLE dish ADD COLUMN size int;\n");
    scene
}

#[track_caller]
fn nobody_rose(scene: &Scene) {
    let rose = scene.cluster().query("postgres", "SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory_00001'");
    assert_eq!(rose, "f", "the attack succeeded");
}

/// The ledger as another project of the same version makes it, given to mallory.
fn squatted(version: Version) -> Scene {
    let scene = scene(version);
    scene.run(0, &["apply", "--yes"]);
    scene.project.write_migration("kitchen", "0002_name", "-- migrate:up\nALTER TABLE dish ADD COLUMN name text;\n");
    scene
}

fn refuses(scene: &Scene, words: &str) {
    let before = scene.database.dump();
    let output = scene.project.run(&["apply", "--yes"]);
    nobody_rose(scene);
    assert_ne!(output.status, 0, "{}", output.stdout);
    assert!(output.stderr.contains("not safe-migrate's own") && output.stderr.contains(words), "{}", output.stderr);
    assert!(output.stderr.contains("production: unchanged"), "{}", output.stderr);
    assert_eq!(scene.database.dump(), before);
    let doctor = scene.project.run(&["doctor"]);
    assert!(doctor.stdout.contains("not safe-migrate's own"), "{}", doctor.stdout);
    nobody_rose(scene);
    // Nor does it stand in the way of the worst day.
    scene.take_snapshot();
}

fn ledger_of_somebody_else(version: Version) {
    let scene = squatted(version);
    scene.database.sql("ALTER TABLE safe_migrate.run OWNER TO mallory_00001");
    refuses(&scene, "run belongs to mallory_00001");
    scene.database.sql("ALTER TABLE safe_migrate.run OWNER TO admin; ALTER SCHEMA safe_migrate OWNER TO mallory_00001");
    refuses(&scene, "the schema belongs to mallory_00001");
    scene
        .database
        .sql("ALTER SCHEMA safe_migrate OWNER TO admin; GRANT CREATE ON SCHEMA safe_migrate TO mallory_00001");
    refuses(&scene, "mallory_00001 may create in it");
    scene.database.sql(
        "REVOKE CREATE ON SCHEMA safe_migrate FROM mallory_00001; GRANT TRIGGER ON safe_migrate.run TO mallory_00001",
    );
    refuses(&scene, "mallory_00001 may make triggers on run");
    scene
        .database
        .sql(&format!("GRANT USAGE ON SCHEMA safe_migrate TO mallory_00001; SET ROLE mallory_00001; {TRIGGER}"));
    refuses(&scene, "trigger rise on run");
    // The control: a row that plain SQL writes there makes her superuser.
    scene.database.sql("INSERT INTO safe_migrate.run (id, command, actor, host, version, started_at) VALUES ('x', 'x', 'x', 'x', 'x', now())");
    let rose = "SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory_00001'";
    assert_eq!(scene.cluster().query("postgres", rose), "t", "the control does not work");
    // Cleaned up, the next run goes through.
    scene.database.sql(
        "ALTER ROLE mallory_00001 NOSUPERUSER; DROP TRIGGER rise ON safe_migrate.run; DELETE FROM safe_migrate.run WHERE id = 'x';
         REVOKE ALL ON safe_migrate.run FROM mallory_00001",
    );
    scene.run(0, &["apply", "--yes"]);
}

#[test]
fn security_ledger_of_somebody_else_is_not_written() {
    ledger_of_somebody_else(Version::V15);
}

#[test]
fn security_ledger_of_somebody_else_is_not_written_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    ledger_of_somebody_else(Version::V18);
}

/// The owner of the database is no superuser: what it owns is not written by one, unless the operator names it.
#[test]
fn security_ledger_of_the_databases_owner_is_named_by_a_superuser() {
    let scene = squatted(Version::V15);
    let name = scene.database.name();
    scene.database.sql(&format!(
        "ALTER DATABASE {name} OWNER TO mallory_00001; ALTER TABLE safe_migrate.run OWNER TO mallory_00001"
    ));
    let refused = scene.project.run(&["apply", "--yes"]);
    assert!(refused.stderr.contains("run belongs to mallory_00001"), "{}", refused.stderr);
    assert!(refused.stderr.contains("[ledger] owners"), "{}", refused.stderr);
    scene.project.configure_more("[ledger]\nowners = [\"mallory_00001\"]\n");
    scene.run(0, &["apply", "--yes"]);
    scene.run(0, &["doctor"]);
}
