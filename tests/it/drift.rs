//! Drift is shown as the entries that differ, with both texts; and the ground is looked at before each migration.

use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::{Output, Project, Scene, Standby, TestCluster, Version};

const SKIP: [&str; 2] = ["--skip-rehearsal", "test"];

fn table(name: &str) -> String {
    format!("-- migrate:up\nCREATE TABLE {name} (i int);\n-- migrate:down\nDROP TABLE {name};\n")
}

/// One applied migration and a pending one.
fn half_applied(version: Version) -> Scene {
    let scene = Scene::empty(version);
    scene.project.write_migration("app", "0001_a", &table("a"));
    scene.run(0, &["apply", "--yes"]);
    scene.project.write_migration("app", "0002_b", &table("b"));
    scene
}

fn shows_both_texts(version: Version) {
    let scene = half_applied(version);
    scene
        .database
        .sql("ALTER TABLE a ALTER i TYPE bigint; CREATE VIEW v AS SELECT 1 AS one; CREATE TABLE gone (i int)");
    let refused = scene.run(3, &["apply", "--yes"]);
    let said = &refused.stderr;
    for part in ["(- recorded, + found)", "~ TABLE public.a", "-     i integer", "+     i bigint", "+ VIEW public.v"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.contains("production: unchanged") && !said.contains("recorded "), "{said}");
    assert_eq!(scene.snapshots().len(), 1, "it stops before a snapshot");

    let accepted = scene.run(0, &["apply", "--yes", "--accept-drift", "made by hand"]);
    assert!(
        accepted.stderr.contains("made by hand") && accepted.stderr.contains("+ VIEW public.v"),
        "{}",
        accepted.stderr
    );
    let bypass = "SELECT bypass FROM safe_migrate.run ORDER BY started_at DESC LIMIT 1";
    assert_eq!(scene.database.query(bypass), "drift accepted: made by hand");
    // The run recorded what it left, and only that is kept.
    let kept = "SELECT count(*), bool_and(run_id = (SELECT max(id) FROM safe_migrate.run)) FROM safe_migrate.schema";
    assert_eq!(scene.database.query(kept), "1|t");
    scene.database.sql("DROP TABLE gone");
    scene.project.write_migration("app", "0003_c", &table("c"));
    assert!(scene.run(3, &["apply", "--yes"]).stderr.contains("- TABLE public.gone"));
}

#[test]
fn drift_shows_the_entries_with_both_texts() {
    shows_both_texts(Version::V15);
}

#[test]
fn drift_shows_the_entries_with_both_texts_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    shows_both_texts(Version::V18);
}

#[test]
fn drift_is_cut_short_and_counted() {
    let scene = half_applied(Version::V15);
    scene.database.sql(
        "DO $$ BEGIN FOR n IN 1..60 LOOP EXECUTE format('CREATE TABLE by_hand_%s (a int, b int)', n); END LOOP; END $$",
    );
    let refused = scene.run(3, &["apply", "--yes"]);
    assert!(refused.stderr.contains("more lines (60 entries differ)"), "{}", refused.stderr);
    assert!(refused.stderr.lines().count() < 75, "{}", refused.stderr.lines().count());
}

#[test]
fn drift_without_a_kept_schema_says_the_hashes_and_another_pg_dump_is_none() {
    let scene = half_applied(Version::V15);
    scene.database.sql("CREATE TABLE by_hand (i int); DELETE FROM safe_migrate.schema");
    let refused = scene.run(3, &["apply", "--yes"]);
    assert!(refused.stderr.contains("recorded ") && refused.stderr.contains(", found "), "{}", refused.stderr);
    scene
        .database
        .sql("UPDATE safe_migrate.run SET fingerprint_after = jsonb_set(fingerprint_after, '{pg_dump}', '\"15.1\"')");
    scene.run(0, &["apply", "--yes"]);
}

/// What is ignored from now on is no drift of then.
#[test]
fn drift_of_what_is_ignored_by_now_is_none() {
    let scene = half_applied(Version::V15);
    scene.database.sql("CREATE SCHEMA partman; CREATE TABLE partman.part (i int)");
    scene.run(3, &["apply", "--yes"]);
    scene.run(0, &["apply", "--yes", "--accept-drift", "extension"]);
    scene.project.write_migration("app", "0003_c", &table("c"));
    scene.project.configure_more("[fingerprint]\nignore = [\"partman.*\"]\n");
    scene.run(0, &["apply", "--yes"]);
}

/// The text of a subscription holds a password.
#[test]
fn drift_never_shows_or_keeps_the_password_of_a_subscription() {
    let scene = half_applied(Version::V15);
    let subscription = |password: &str| {
        format!(
            "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port=1 password={password}' PUBLICATION p
             WITH (connect = false, slot_name = NONE)"
        )
    };
    scene.database.sql(&subscription("s3cret-one"));
    let refused = scene.run(3, &["apply", "--yes"]);
    assert!(refused.stderr.contains("+ SUBSCRIPTION s") && !refused.stderr.contains("s3cret"), "{}", refused.stderr);
    scene.run(0, &["apply", "--yes", "--accept-drift", "meant", "--skip-rehearsal", "test"]);
    assert_eq!(scene.database.query("SELECT count(*) FROM safe_migrate.schema WHERE text ~ 's3cret'"), "0");
    scene.database.sql("DROP SUBSCRIPTION s");
    scene.database.sql(&subscription("s3cret-two"));
    scene.project.write_migration("app", "0003_c", &table("c"));
    let refused = scene.run(3, &["apply", "--yes"]);
    assert!(
        refused.stderr.contains("only in a subscription") && !refused.stderr.contains("s3cret"),
        "{}",
        refused.stderr
    );
    scene.database.sql("DROP SUBSCRIPTION s");
}

/// A restore records the schema too: the round trip is no drift, and what comes after it is readable.
#[test]
fn drift_after_a_restore_is_readable() {
    let scene = half_applied(Version::V15);
    let id = scene.take_snapshot();
    scene.run(0, &["restore", &id, "--in-place", "--yes"]);
    scene.database.sql("CREATE TABLE by_hand (i int)");
    assert!(scene.run(3, &["apply", "--yes"]).stderr.contains("+ TABLE public.by_hand"));
}

fn slow(name: &str) -> String {
    format!("-- migrate:up\nCREATE TABLE {name} (i int);\nSELECT pg_sleep(4);\n-- migrate:down\nDROP TABLE {name};\n")
}

/// A run that sleeps in its first migration.
struct Sleeping {
    scene: Scene,
    run: Child,
}

impl Sleeping {
    fn new(points: &str) -> Sleeping {
        Sleeping::of(&[("0001_a", &slow("a")), ("0002_b", &table("b"))], points)
    }

    fn of(migrations: &[(&str, &str)], points: &str) -> Sleeping {
        let scene = Scene::empty(Version::V15);
        for (name, text) in migrations {
            scene.project.write_migration("app", name, text);
        }
        let arguments = [&["apply", "--yes"][..], &SKIP].concat();
        let mut command = match points {
            "" => scene.project.command(&arguments),
            points => scene.project.command_with_faults(points, &arguments),
        };
        let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut sleeping = Sleeping { scene, run };
        let asleep = "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep' AND datname = '{}'"
            .replace("{}", sleeping.scene.database.name());
        let deadline = Instant::now() + Duration::from_secs(60);
        while sleeping.scene.cluster().query("postgres", &asleep) == "0" {
            assert!(sleeping.run.try_wait().unwrap().is_none() && Instant::now() < deadline, "it never slept");
            std::thread::sleep(Duration::from_millis(20));
        }
        sleeping
    }

    fn end(self) -> (Scene, Output) {
        let output = self.run.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        (self.scene, Output { status: output.status.code().unwrap_or(-1), stdout, stderr })
    }
}

/// `ALTER DATABASE … RENAME` refuses while somebody is connected; the catalog does not.
#[test]
fn meanwhile_another_database_got_the_name() {
    let sleeping = Sleeping::new("");
    let (cluster, name) = (sleeping.scene.cluster().clone(), sleeping.scene.database.name().to_owned());
    let rename = |from: &str, to: &str| {
        cluster.sql("postgres", &format!("UPDATE pg_database SET datname = '{to}' WHERE datname = '{from}'"));
    };
    rename(&name, &format!("{name}_away"));
    cluster.sql("postgres", &format!("CREATE DATABASE {name}"));
    let (scene, output) = sleeping.end();
    assert_eq!(output.status, 4, "{}", output.stderr);
    assert!(
        output.stderr.contains("another database has its name") && output.stderr.contains("1 of 2"),
        "{}",
        output.stderr
    );
    let tables = "SELECT string_agg(relname, ',' ORDER BY 1) FROM pg_class WHERE relname IN ('a', 'b')";
    assert_eq!(cluster.query(&format!("{name}_away"), tables), "a");
    assert_eq!(scene.database.query(tables), "");
    cluster.sql("postgres", &format!("DROP DATABASE {name} WITH (FORCE)"));
    rename(&format!("{name}_away"), &name);
}

/// During the last migration: what is compared afterwards is not another database that got the name.
#[test]
fn meanwhile_another_database_got_the_name_during_the_last_migration() {
    let sleeping = Sleeping::of(&[("0001_a", &slow("a"))], "");
    let (cluster, name) = (sleeping.scene.cluster().clone(), sleeping.scene.database.name().to_owned());
    let rename = |from: &str, to: &str| {
        cluster.sql("postgres", &format!("UPDATE pg_database SET datname = '{to}' WHERE datname = '{from}'"));
    };
    rename(&name, &format!("{name}_away"));
    cluster.sql("postgres", &format!("CREATE DATABASE {name}"));
    let (scene, output) = sleeping.end();
    assert_eq!(output.status, 4, "{}", output.stderr);
    assert!(output.stderr.contains("another database has its name"), "{}", output.stderr);
    assert_eq!(scene.database.query("SELECT to_regclass('a')"), "");
    cluster.sql("postgres", &format!("DROP DATABASE {name} WITH (FORCE)"));
    rename(&format!("{name}_away"), &name);
}

#[test]
fn meanwhile_the_ledger_changed() {
    let sleeping = Sleeping::new("");
    sleeping
        .scene
        .database
        .sql("INSERT INTO safe_migrate.migration VALUES ('app', '0009_other', 'x', '', now(), 'somebody', 'apply')");
    let (scene, output) = sleeping.end();
    assert_eq!(output.status, 4, "{}", output.stderr);
    assert!(output.stderr.contains("its ledger (came to it: app/0009_other)"), "{}", output.stderr);
    assert_eq!(scene.database.query("SELECT to_regclass('b')"), "");
}

#[test]
fn meanwhile_the_schema_changed_and_the_safeguard_is_what_stops_it() {
    let trigger = "CREATE FUNCTION by_hand() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$";
    for (points, status) in [("", 3), ("off.changed-meanwhile=return", 0)] {
        let scene = Scene::empty(Version::V15);
        scene.project.write_migration("app", "0001_a", &table("a"));
        // The rehearsal's shadow is where the time goes: production changes while it runs.
        let slow = "-- migrate:up\nSELECT pg_sleep(3);\n-- migrate:down\nSELECT 1;\n";
        scene.project.write_migration("app", "0002_slow", slow);
        let arguments = ["apply", "--yes"];
        let mut command = match points {
            "" => scene.project.command(&arguments),
            points => scene.project.command_with_faults(points, &arguments),
        };
        let mut run = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while scene.snapshots().is_empty() {
            assert!(run.try_wait().unwrap().is_none() && Instant::now() < deadline, "there never was a snapshot");
            std::thread::sleep(Duration::from_millis(20));
        }
        scene.database.sql(trigger);
        let output = run.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let code = output.status.code().unwrap();
        match status {
            3 => {
                assert_eq!(code, 3, "{said}");
                assert!(
                    said.contains("changed while this run was being prepared") && said.contains("by_hand()"),
                    "{said}"
                );
                assert!(scene.applied().is_empty());
            }
            // Without it production is migrated, and only the verification afterwards sees the other schema.
            _ => assert_eq!((code, scene.applied().len()), (4, 2), "{said}"),
        }
    }
}

#[test]
fn drift_is_what_stops_a_changed_schema() {
    let scene = half_applied(Version::V15);
    scene.database.sql("CREATE TABLE by_hand (i int)");
    let output = Project::output_of(&mut scene.project.command_with_faults("off.drift=return", &["apply", "--yes"]));
    assert_eq!(output.status, 0, "{}", output.stderr);
}

#[test]
fn meanwhile_the_server_is_a_standby() {
    let cluster = Arc::new(TestCluster::start(Version::V15, &["wal_level=logical"]));
    let scene = Scene::on(&cluster);
    scene.project.write_migration("app", "0001_a", &table("a"));
    let standby = Standby::of(&cluster);
    for command in [&["apply", "--yes"][..], &["rollback", "--last", "--yes"]] {
        let url = standby.url(&cluster, scene.database.name());
        let output = scene.run(3, &[command, &["--database", &url]].concat());
        assert!(output.stderr.contains("is a standby") && output.stderr.contains("the primary"), "{}", output.stderr);
    }
    assert!(scene.snapshots().is_empty());
}
