//! Functions of somebody with few rights that run as whoever restores.

use std::sync::Arc;

use crate::support::{Running, Scene, TestCluster, Version, output_of};

/// Takes every role back that was set, and rises.
const RISE: &str = "BEGIN
        BEGIN
            EXECUTE 'RESET ROLE'; EXECUTE 'RESET SESSION AUTHORIZATION';
            EXECUTE 'ALTER ROLE mallory_00001 SUPERUSER';
        EXCEPTION WHEN OTHERS THEN NULL; END;
        RETURN true;
    END";

/// A scene on a server of its own, where mallory, who may create in schema public, has done so.
fn scene(version: Version, of_mallory: &str) -> Scene {
    let cluster = Arc::new(TestCluster::start(version, &[]));
    let mallory = cluster.role("mallory", "of-mallory", "");
    let scene = Scene::on(&cluster);
    scene.database.sql("GRANT CREATE, USAGE ON SCHEMA public TO mallory_00001; CREATE TABLE dish (id int PRIMARY KEY)");
    scene.database.sql("INSERT INTO dish VALUES (1), (2); GRANT TRIGGER ON dish TO mallory_00001");
    let functions = format!(
        "CREATE FUNCTION rise(integer) RETURNS boolean LANGUAGE plpgsql AS $$ {RISE} $$;
         CREATE FUNCTION rise_at_once(integer) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$ {RISE} $$;"
    );
    // By a login of her own: from our session she could rise by herself.
    let mut psql = scene.cluster().program("psql");
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &mallory.url(&scene.database)]);
    output_of(psql.args(["-c", &functions, "-c", of_mallory]));
    nobody_rose(&scene, "before anything");
    scene
}

#[track_caller]
fn nobody_rose(scene: &Scene, when: &str) {
    let rose = scene.cluster().query("postgres", "SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory_00001'");
    assert_eq!(rose, "f", "the attack succeeded: {when}");
}

#[track_caller]
fn rose(scene: &Scene) {
    let sql = "SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory_00001'";
    assert_eq!(scene.cluster().query("postgres", sql), "t", "the control does not work, so the test proves nothing");
    scene.cluster().sql("postgres", "ALTER ROLE mallory_00001 NOSUPERUSER");
}

/// What each kind is called in the plan of a restore.
const KINDS: &[(&str, &str)] = &[
    ("table public.checked", "CREATE TABLE checked (id integer CHECK (rise(id))); INSERT INTO checked VALUES (1);"),
    (
        "domain public.risen",
        "CREATE DOMAIN risen AS integer CHECK (rise(VALUE)); CREATE TABLE of_domain (id risen); INSERT INTO of_domain VALUES (1);",
    ),
    (
        "table public.generated",
        "CREATE TABLE generated (id integer DEFAULT 1, g boolean GENERATED ALWAYS AS (rise_at_once(id)) STORED); INSERT INTO generated VALUES (1);",
    ),
    (
        "table public.parts",
        "CREATE TABLE parts (id integer) PARTITION BY LIST ((rise_at_once(id))); CREATE TABLE part PARTITION OF parts FOR VALUES IN (true); INSERT INTO parts VALUES (1);",
    ),
    (
        "constraint whole_check of public.whole",
        "CREATE TABLE whole (id integer); CREATE FUNCTION rise_row(whole) RETURNS boolean LANGUAGE sql AS 'SELECT public.rise(1)'; ALTER TABLE whole ADD CONSTRAINT whole_check CHECK (rise_row(whole.*)); INSERT INTO whole VALUES (1);",
    ),
    ("index at_once", "CREATE TABLE indexed (id integer); CREATE INDEX at_once ON indexed (id) WHERE rise_at_once(1);"),
    (
        "a cast",
        "CREATE TYPE kind AS ENUM ('a'); CREATE FUNCTION kind_id(kind) RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT public.rise_at_once(1)::integer'; CREATE CAST (kind AS integer) WITH FUNCTION kind_id(kind) AS IMPLICIT;",
    ),
];

fn runs_as_nobody_else(version: Version) {
    let objects: String = KINDS.iter().map(|(_, sql)| *sql).collect();
    let scene = scene(version, &objects);
    let id = scene.take_snapshot();
    nobody_rose(&scene, "a snapshot");
    let databases = scene.databases();
    for arguments in [&["--to", "copy"][..], &["--in-place"], &[]] {
        let arguments = [&["restore", &id, "--yes"], arguments].concat();
        let output = scene.run(3, &arguments);
        nobody_rose(&scene, &arguments.join(" "));
        assert!(
            output.stderr.contains("public.rise of mallory_00001, called by table public.checked"),
            "{}",
            output.stderr
        );
        assert!(output.stderr.contains("owners = [\"mallory_00001\"] in [trust]"), "{}", output.stderr);
        assert_eq!(scene.databases(), databases);
    }
    let plan = scene.run(0, &["restore", &id, "--to", "copy", "--dry-run"]);
    for (kind, _) in KINDS {
        assert!(plan.stdout.contains(&format!("called by {kind}")), "{kind} is not in:\n{}", plan.stdout);
    }
    // A part of it is loaded on the same server.
    let output = scene.run(3, &["restore", &id, "--table", "checked", "--yes"]);
    assert!(output.stderr.contains("table public.checked"), "{}", output.stderr);
    nobody_rose(&scene, "restore --table");
    // Behind walls it may rise as it likes.
    scene.run(0, &["snapshot", "verify", &id, "--level", "restore"]);
    scene.project.write_migration("kitchen", "0001_size", "-- migrate:up\nALTER TABLE dish ADD COLUMN size int;\n");
    scene.run(0, &["rehearse", "--snapshot", "latest"]);
    nobody_rose(&scene, "a rehearsal");
    // What is given a reason does run, and so do the programs of PostgreSQL.
    let output = scene.run(0, &["restore", &id, "--to", "copy", "--yes", "--run-foreign-code", "read on Monday"]);
    assert!(output.stderr.contains("(read on Monday)"), "{}", output.stderr);
    rose(&scene);
    // Nor does the session give up its rights for good (CVE-2018-1058 and others are of this kind).
    scene.cluster().sql("copy", "SET SESSION AUTHORIZATION mallory_00001; INSERT INTO public.checked VALUES (2)");
    rose(&scene);
    scene.cluster().sql("postgres", "DROP DATABASE copy; CREATE DATABASE copy TEMPLATE template0");
    let dump = scene.database.dump();
    scene.cluster().sql("copy", &dump);
    rose(&scene);
}

#[test]
fn security_functions_of_others_do_not_run_in_a_restore() {
    runs_as_nobody_else(Version::V15);
}

#[test]
fn security_functions_of_others_do_not_run_in_a_restore_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    runs_as_nobody_else(Version::V18);
}

/// PostgreSQL itself runs these as the owner, or not at all while rows are loaded; no question is asked for them.
#[test]
fn security_functions_of_others_that_run_as_their_owner_are_no_obstacle() {
    let scene = scene(
        Version::V18,
        "CREATE TABLE honest (id integer DEFAULT length('x'), flag boolean DEFAULT rise(1));
         CREATE INDEX honest_flag ON honest (rise_at_once(id));
         INSERT INTO honest VALUES (1, true);
         CREATE MATERIALIZED VIEW risen AS SELECT rise(id) FROM honest;
         CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM public.rise(1); RETURN NEW; END $$;
         CREATE TRIGGER act BEFORE INSERT ON honest FOR EACH ROW EXECUTE FUNCTION act();",
    );
    let id = scene.take_snapshot();
    scene.run(0, &["restore", &id, "--to", "copy", "--yes"]);
    nobody_rose(&scene, "a restore");
}

#[test]
fn security_functions_of_owners_who_are_trusted_run() {
    let scene =
        scene(Version::V15, "CREATE TABLE checked (id integer CHECK (rise(id))); INSERT INTO checked VALUES (1)");
    scene.project.configure_more("[trust]\nowners = [\"mallory_00001\"]\n");
    let id = scene.take_snapshot();
    scene.run(0, &["restore", &id, "--to", "copy", "--yes"]);
    rose(&scene);
}

#[test]
fn security_triggers_of_others_do_not_fire_in_a_recovery() {
    let scene = scene(
        Version::V15,
        "CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM public.rise(1); RETURN NEW; END $$;
         CREATE TRIGGER act BEFORE INSERT ON dish FOR EACH ROW EXECUTE FUNCTION act();",
    );
    let id = scene.take_snapshot();
    scene.database.sql("DELETE FROM dish WHERE id = 2");
    let recovery = ["restore", &id, "--table", "dish", "--mode", "missing", "--yes"];
    let output = scene.run(3, &recovery);
    nobody_rose(&scene, "a recovery");
    assert!(output.stderr.contains("public.act of mallory_00001, called by trigger act"), "{}", output.stderr);
    assert_eq!(scene.database.query("SELECT count(*) FROM dish"), "1");
    scene.run(0, &[&recovery[..], &["--run-foreign-code", "for the test"]].concat());
    assert_eq!(scene.database.query("SELECT count(*) FROM dish"), "2");
    rose(&scene);
}

fn no_login_is_left(scene: &Scene) {
    let left =
        scene.cluster().query("postgres", "SELECT rolname FROM pg_roles WHERE rolname LIKE 'safe\\_migrate\\_load%'");
    assert_eq!(left, "");
}

/// What runs while rows come in runs as a login that can do what the owner of the table can.
fn rows_come_in_as_their_owner(version: Version) {
    let objects: String = KINDS[..4].iter().map(|(_, sql)| *sql).collect();
    let scene = scene(version, &objects);
    let before = scene.database.dump();
    let id = scene.take_snapshot();
    let output = scene.run(0, &["restore", &id, "--in-place", "--yes"]);
    nobody_rose(&scene, "a restore");
    no_login_is_left(&scene);
    assert!(output.stderr.contains("functions of others that run as the owner of the table: "), "{}", output.stderr);
    assert_eq!(scene.database.dump(), before);
    // The same function in a table of ours is another matter.
    scene.database.sql("CREATE TABLE ours (id integer CHECK (rise(id)))");
    let id = scene.take_snapshot();
    let output = scene.run(3, &["restore", &id, "--in-place", "--yes"]);
    assert!(output.stderr.contains("called by table public.ours"), "{}", output.stderr);
    nobody_rose(&scene, "a restore of a table of ours");
}

#[test]
fn security_rows_of_others_come_in_as_their_owner() {
    rows_come_in_as_their_owner(Version::V15);
}

#[test]
fn security_rows_of_others_come_in_as_their_owner_18() {
    rows_come_in_as_their_owner(Version::V18);
}

#[test]
fn security_a_login_that_a_killed_restore_left_is_dropped_by_the_next() {
    let scene = scene(
        Version::V18,
        "CREATE FUNCTION slow(integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
             IF session_user::text LIKE 'safe_migrate_load%' THEN PERFORM pg_sleep(4); END IF; RETURN true; END $$;
         CREATE TABLE checked (id integer CHECK (slow(id))); INSERT INTO checked VALUES (1);",
    );
    let id = scene.take_snapshot();
    let mut run = Running::start(&scene.project, &["restore", &id, "--to", "copy", "--yes"]);
    let at_it =
        "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'safe\\_migrate\\_load%' AND state = 'active'";
    run.wait_until("a row", |_| scene.cluster().query("postgres", at_it) == "1");
    run.kill();
    let output = scene.run(0, &["restore", &id, "--to", "copy", "--yes"]);
    assert!(output.stderr.contains("dropped the login safe_migrate_load_"), "{}", output.stderr);
    no_login_is_left(&scene);
    assert_eq!(scene.cluster().query("copy", "SELECT id FROM checked"), "1");
}

/// Nobody is asked when a failed run is restored, so what would be asked stops the run before it begins.
#[test]
fn security_a_run_that_a_failure_would_restore_asks_before() {
    let scene = scene(Version::V15, KINDS[4].1);
    scene.project.configure_more("[on_failure]\nafter = \"restore\"\n");
    scene.project.write_migration("kitchen", "0001_size", "-- migrate:up\nALTER TABLE dish ADD COLUMN size int;\n");
    let before = scene.database.dump();
    let output = scene.run(3, &["apply", "--yes", "--fence=closed"]);
    assert!(output.stderr.contains("called by constraint whole_check of public.whole"), "{}", output.stderr);
    assert_eq!(scene.database.dump(), before);
    nobody_rose(&scene, "apply");
}

/// A trigger on the ledger is restored with it, and the restore does not write that ledger.
#[test]
fn security_a_restored_ledger_of_somebody_else_is_not_written() {
    let scene = scene(
        Version::V15,
        "CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM public.rise(1); RETURN NEW; END $$;",
    );
    scene.project.write_migration("kitchen", "0001_size", "-- migrate:up\nALTER TABLE dish ADD COLUMN size int;\n");
    scene.begin_applied();
    scene
        .database
        .sql("CREATE TRIGGER act BEFORE INSERT OR UPDATE ON safe_migrate.run FOR EACH ROW EXECUTE FUNCTION act()");
    let id = scene.take_snapshot();
    for arguments in [&["--to", "copy"][..], &["--in-place"]] {
        let output = scene.run(0, &[&["restore", &id, "--yes"], arguments].concat());
        assert!(output.stderr.contains("not safe-migrate's own: trigger act on run"), "{}", output.stderr);
        nobody_rose(&scene, "a restore");
    }
    scene.cluster().sql("copy", "UPDATE safe_migrate.run SET outcome = outcome");
    rose(&scene);
}
