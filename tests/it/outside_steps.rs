//! Steps outside transactions: each is done once, whatever ends the run in its middle, and no half of one stays.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Cut, CutAt, CuttingProxy, Scene, TestCluster, Version};

const SKIP: [&str; 6] = ["apply", "--yes", "--skip-rehearsal", "test", "--skip-snapshot", "test"];

fn scene(version: Version, second: &str) -> Scene {
    let scene = Scene::empty(version);
    scene.database.sql(
        "CREATE TABLE dish (id int PRIMARY KEY, name text); INSERT INTO dish SELECT i, 'dish ' || i FROM generate_series(1, 500) i;
         CREATE TABLE log (i int);",
    );
    write(&scene, second);
    scene
}

fn write(scene: &Scene, up: &str) {
    let text = format!("-- migrate:up transaction:false\n{up}\n");
    scene.project.write_migration("kitchen", "0001_step", &text);
}

/// A session that holds something until it is released.
struct Blocker<'a>(&'a Scene, Child);

impl<'a> Blocker<'a> {
    fn holding(scene: &'a Scene, sql: &str) -> Self {
        let mut psql = scene.cluster().program("psql");
        let text = format!("BEGIN; {sql}; SELECT pg_sleep(300) AS blocking");
        psql.args(["-X", "-q", "-d", &scene.database.socket_url(), "-c", &text]);
        let child = psql.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_until("the blocker blocks", || scene.cluster().query("postgres", &Self::sql(scene, "count(*)")) == "1");
        Self(scene, child)
    }

    fn sql(scene: &Scene, what: &str) -> String {
        let name = scene.database.name();
        format!(
            "SELECT {what} FROM pg_stat_activity WHERE datname = '{name}' AND query ~ 'AS blocking$' AND wait_event = 'PgSleep'"
        )
    }
}

impl Drop for Blocker<'_> {
    fn drop(&mut self) {
        self.0.cluster().query("postgres", &Self::sql(self.0, "count(pg_terminate_backend(pid))"));
        self.1.wait().unwrap();
    }
}

fn wait_until(what: &str, mut come: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !come() {
        assert!(Instant::now() < deadline, "{what}: never");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts a run, and kills it while its session is at this query (the beginning of it, as a pattern).
fn kill_at(scene: &Scene, query: &str, and: &str) {
    let mut run = scene.project.command(&SKIP).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let there = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND application_name = 'safe-migrate'
            AND state = 'active' AND query ~ '^{query}'",
        scene.database.name()
    );
    wait_until(query, || {
        assert!(run.try_wait().unwrap().is_none(), "the run ended before {query}");
        scene.cluster().query("postgres", &there) == "1" && scene.database.query(and) == "t"
    });
    run.kill().unwrap();
    run.wait().unwrap();
}

#[track_caller]
fn no_invalid_index(scene: &Scene) {
    let invalid = "SELECT string_agg(indexrelid::regclass::text, ' ') FROM pg_index WHERE NOT indisvalid";
    assert_eq!(scene.database.query(invalid), "");
}

/// PostgreSQL: each of these is refused in a transaction before anything is done, with one of two codes.
#[test]
fn outside_steps_are_refused_in_a_transaction_by_code() {
    for version in [Version::V15, Version::V18] {
        let scene = scene(version, "SELECT 1;");
        scene.database.sql(
            "CREATE TABLE p (i int) PARTITION BY RANGE (i); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9);
             CREATE INDEX dish_name ON dish (name);
             CREATE PROCEDURE pr() LANGUAGE plpgsql AS $$BEGIN INSERT INTO log VALUES (1); COMMIT; END$$",
        );
        for (code, statement) in [
            ("25001", "CREATE INDEX CONCURRENTLY a ON dish (name)"),
            ("25001", "DROP INDEX CONCURRENTLY dish_name"),
            ("25001", "REINDEX TABLE CONCURRENTLY dish"),
            ("25001", "REINDEX SCHEMA public"),
            ("25001", "VACUUM dish"),
            ("25001", "CLUSTER"),
            ("25001", "ALTER SYSTEM SET work_mem = '5MB'"),
            ("25001", "CREATE DATABASE another"),
            ("25001", "DROP DATABASE another"),
            ("25001", "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY"),
            ("25001", "CREATE SUBSCRIPTION s CONNECTION 'dbname=x' PUBLICATION p"),
            ("2D000", "CALL pr()"),
            ("2D000", "DO $$BEGIN INSERT INTO log VALUES (1); COMMIT; END$$"),
        ] {
            let error = scene
                .cluster()
                .try_sql(scene.database.name(), &format!("\\set VERBOSITY sqlstate\nBEGIN;\n{statement};\n"));
            assert!(error.clone().unwrap_err().contains(code), "{statement}: {error:?}");
        }
        assert_eq!(scene.database.query("SELECT count(*) FROM log"), "0");
        scene.database.sql("CREATE TYPE mood AS ENUM ('ok'); BEGIN; ALTER TYPE mood ADD VALUE 'fine'; COMMIT;");
    }
}

#[test]
fn outside_steps_that_may_be_in_a_transaction_are_never_in_doubt() {
    for version in [Version::V15, Version::V18] {
        let up = "INSERT INTO log VALUES (1);\nINSERT INTO log SELECT 2 FROM pg_sleep(SECONDS);\nINSERT INTO log VALUES (3);";
        let scene = scene(version, &up.replace("SECONDS", "300"));
        kill_at(&scene, "INSERT INTO log SELECT 2", "SELECT true");
        assert_eq!(scene.database.query("SELECT string_agg(i::text, ' ') FROM log"), "1");
        write(&scene, &up.replace("SECONDS", "0"));
        let output = scene.run(0, &["apply", "--yes"]);
        assert!(output.stderr.contains("going on at statement 2 of 3, line 3"), "{}", output.stderr);
        assert_eq!(scene.database.query("SELECT string_agg(i::text, ' ' ORDER BY i) FROM log"), "1 2 3");
        assert_eq!(scene.applied(), ["kitchen/0001_step"]);
        assert_eq!(scene.database.query("SELECT DISTINCT state FROM safe_migrate.step"), "recorded");
    }
}

#[test]
fn outside_steps_killed_in_a_concurrent_index_leave_none_that_is_invalid() {
    for (version, up) in [
        (Version::V15, "CREATE INDEX CONCURRENTLY dish_name ON dish (name);"),
        (Version::V18, "CREATE UNIQUE INDEX CONCURRENTLY ON dish (name);"),
        (Version::V15, "REINDEX TABLE CONCURRENTLY dish;"),
        (Version::V18, "REINDEX INDEX CONCURRENTLY dish_pkey;"),
    ] {
        let scene = scene(version, up);
        scene.project.configure_more("[apply]\nlock_timeout = \"60s\"\n");
        let blocker = Blocker::holding(&scene, "INSERT INTO log VALUES (0); INSERT INTO dish VALUES (0, 'x')");
        let begun = "SELECT EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)";
        kill_at(&scene, up.split(' ').next().unwrap(), begun);
        drop(blocker);
        let output = scene.run(0, &["apply", "--yes"]);
        assert!(output.stderr.contains("an earlier run stopped in it"), "{}", output.stderr);
        no_invalid_index(&scene);
        let indexes = "SELECT count(*) FROM pg_index WHERE indrelid = 'dish'::regclass AND indisvalid";
        assert_eq!(scene.database.query(indexes), if up.starts_with("CREATE") { "2" } else { "1" }, "{up}");
        assert_eq!(scene.applied(), ["kitchen/0001_step"]);
    }
}

#[test]
fn outside_steps_done_when_nobody_could_write_it_down_are_not_done_again() {
    let scene = scene(Version::V15, "CREATE INDEX CONCURRENTLY ON dish (name);\nVACUUM dish;");
    let port = scene.cluster().port();
    // The run dies after the index is built: the row that says so never arrives.
    let proxy = CuttingProxy::start(port, CutAt { once_sent: "CREATE INDEX CONC", at: "BEGIN", cut: Cut::Before });
    let direct = std::fs::read_to_string(scene.project.directory().join("safe-migrate.toml")).unwrap();
    scene.project.configure(&direct.replace(&format!(":{port}/"), &format!(":{}/", proxy.port())));
    let output = scene.run(4, &SKIP);
    assert!(proxy.has_cut() && output.stderr.contains("the next run will find that out"), "{}", output.stderr);
    scene.project.configure(&direct);
    scene.run(0, &["apply", "--yes"]);
    assert_eq!(
        scene.database.query("SELECT count(*) FROM pg_index WHERE indrelid = 'dish'::regclass AND indisvalid"),
        "2"
    );
    no_invalid_index(&scene);
}

#[test]
fn outside_steps_wait_for_a_lock_by_trying_again() {
    for up in ["CREATE INDEX CONCURRENTLY dish_name ON dish (name);", "ALTER TABLE dish ADD COLUMN size int;"] {
        let scene = scene(Version::V15, up);
        let output = std::thread::scope(|scope| {
            let blocker = Blocker::holding(&scene, "INSERT INTO dish VALUES (0, 'x')");
            let run = scope.spawn(|| scene.run(0, &SKIP));
            std::thread::sleep(Duration::from_secs(2));
            drop(blocker);
            run.join().unwrap()
        });
        assert!(output.stderr.contains("trying again (1 of 10)"), "{}", output.stderr);
        no_invalid_index(&scene);
        assert_eq!(scene.applied(), ["kitchen/0001_step"]);
    }
}

#[test]
fn outside_steps_say_when_an_invalid_index_stays_and_drop_it_later() {
    let scene = scene(Version::V15, "CREATE INDEX CONCURRENTLY dish_name ON dish (name);");
    scene.project.configure_more("[apply]\nretries = 0\n");
    let blocker = Blocker::holding(&scene, "INSERT INTO dish VALUES (0, 'x')");
    let output = scene.run(4, &SKIP);
    assert!(output.stderr.contains("index public.dish_name is invalid now"), "{}", output.stderr);
    drop(blocker);
    scene.run(0, &["apply", "--yes"]);
    no_invalid_index(&scene);
}

#[test]
fn outside_steps_that_only_repeat_are_run_again() {
    let scene = scene(Version::V15, "VACUUM (ANALYZE) dish;\nINSERT INTO log VALUES (1);");
    scene.project.configure_more("[apply]\nlock_timeout = \"60s\"\n");
    let blocker = Blocker::holding(&scene, "LOCK TABLE dish IN SHARE UPDATE EXCLUSIVE MODE");
    kill_at(&scene, "VACUUM", "SELECT true");
    drop(blocker);
    scene.run(0, &["apply", "--yes"]);
    assert_eq!(scene.database.query("SELECT count(*) FROM log"), "1");
}

#[test]
fn outside_steps_end_a_half_detached_partition() {
    for version in [Version::V15, Version::V18] {
        let scene = scene(version, "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY;");
        scene.database.sql(
            "CREATE TABLE p (i int) PARTITION BY RANGE (i); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9)",
        );
        scene.project.configure_more("[apply]\nlock_timeout = \"60s\"\n");
        let blocker = Blocker::holding(&scene, "SELECT FROM p");
        kill_at(&scene, "ALTER TABLE p DETACH", "SELECT EXISTS (SELECT FROM pg_inherits WHERE inhdetachpending)");
        drop(blocker);
        scene.run(0, &SKIP);
        assert_eq!(scene.database.query("SELECT count(*) FROM pg_inherits WHERE inhparent = 'p'::regclass"), "0");
        assert_eq!(scene.applied(), ["kitchen/0001_step"]);
    }
}

#[test]
fn outside_steps_of_which_nothing_tells_are_left_to_the_operator() {
    let scene = scene(Version::V15, "CALL pr();");
    scene.database.sql(
        "CREATE TABLE slow (seconds int); INSERT INTO slow VALUES (300);
         CREATE PROCEDURE pr() LANGUAGE plpgsql AS $$
         BEGIN
           DELETE FROM log; INSERT INTO log VALUES (1); COMMIT;
           PERFORM pg_sleep(seconds) FROM slow; INSERT INTO log VALUES (2);
         END$$",
    );
    kill_at(&scene, "CALL pr", "SELECT EXISTS (SELECT FROM log)");
    scene.database.sql("UPDATE slow SET seconds = 0");
    let output = scene.run(3, &["apply", "--yes"]);
    assert!(output.stderr.contains("0001_step.sql:2") && output.stderr.contains("--step again"), "{}", output.stderr);
    let output = scene.run(4, &SKIP);
    assert!(output.stderr.contains("--step done or --step again"), "{}", output.stderr);
    scene.run(0, &["apply", "--yes", "--step", "again"]);
    assert_eq!(scene.database.query("SELECT string_agg(i::text, ' ' ORDER BY i) FROM log"), "1 2");
    assert_eq!(scene.applied(), ["kitchen/0001_step"]);
}

#[test]
fn outside_steps_go_on_with_the_settings_that_were_made() {
    let scene = scene(Version::V15, "CREATE SCHEMA side;\nSET search_path = side;\nCREATE TABLE a ();\nSELECT 1 / 0;");
    let output = scene.run(4, &SKIP);
    assert!(output.stderr.contains("0001_step.sql:5"), "{}", output.stderr);
    write(&scene, "CREATE SCHEMA side;\nSET search_path = side;\nCREATE TABLE a ();\nCREATE TABLE b ();");
    scene.run(0, &["apply", "--yes"]);
    assert_eq!(scene.database.query("SELECT count(*) FROM pg_class WHERE relnamespace = 'side'::regnamespace"), "2");
}

#[test]
fn outside_steps_journal_under_our_role_and_keep_the_migrations_own() {
    let scene = scene(Version::V18, "SELECT 1;");
    let role = scene.cluster().role("owner", "x", "");
    write(
        &scene,
        &format!("SET ROLE {0};\nCREATE TABLE {0}.a ();\nVACUUM {0}.a;\nCREATE TABLE {0}.b ();", role.name()),
    );
    scene.database.sql(&format!("CREATE SCHEMA {0} AUTHORIZATION {0}", role.name()));
    scene.run(0, &SKIP);
    let owners =
        "SELECT string_agg(relname || relowner::regrole, ' ' ORDER BY 1) FROM pg_class WHERE relname IN ('a', 'b')";
    assert_eq!(scene.database.query(owners), format!("a{0} b{0}", role.name()));
    scene.database.sql(&format!("DROP SCHEMA {} CASCADE", role.name()));
}

#[test]
fn outside_steps_that_are_done_may_not_change() {
    let scene = scene(Version::V15, "INSERT INTO log VALUES (1);\nSELECT 1 / 0;");
    scene.run(4, &SKIP);
    write(&scene, "INSERT INTO log VALUES (10);\nSELECT 1;");
    let output = scene.run(4, &SKIP);
    assert!(output.stderr.contains("0001_step.sql:2: an earlier run began statement 1"), "{}", output.stderr);
    let output = scene.run(3, &["apply", "--yes"]);
    assert!(output.stderr.contains("0001_step.sql:2: an earlier run began statement 1"), "{}", output.stderr);
    write(&scene, "INSERT INTO log VALUES (1);\nSELECT 1;");
    scene.run(0, &["apply", "--yes"]);
    assert_eq!(scene.database.query("SELECT string_agg(i::text, ' ') FROM log"), "1");
}

#[test]
fn outside_steps_survive_a_crash_of_the_server() {
    let cluster = std::sync::Arc::new(TestCluster::start(Version::V15, &["fsync=on"]));
    let scene = Scene::on(&cluster);
    scene.database.sql("CREATE TABLE dish (id int PRIMARY KEY, name text); CREATE TABLE log (i int)");
    write(&scene, "INSERT INTO log VALUES (1);\nCREATE INDEX CONCURRENTLY dish_name ON dish (name);");
    scene.project.configure_more("[apply]\nlock_timeout = \"60s\"\n");
    let mut holder = scene.cluster().program("psql");
    holder.args([
        "-X",
        "-q",
        "-d",
        &scene.database.socket_url(),
        "-c",
        "BEGIN; INSERT INTO dish VALUES (0, 'x'); SELECT pg_sleep(300)",
    ]);
    let mut holder = holder.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the blocker", || {
        scene.cluster().query("postgres", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "1"
    });
    let run = scene.project.command(&SKIP).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let begun = "SELECT EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)";
    wait_until("the index", || scene.database.query(begun) == "t");
    // One process that dies hard makes the server end all others and recover.
    let pid = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    let pid = scene.cluster().query("postgres", pid);
    assert!(std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    holder.wait().unwrap();
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    wait_until("the recovery", || scene.cluster().try_sql("postgres", "SELECT 1").is_ok());
    scene.run(0, &["apply", "--yes"]);
    no_invalid_index(&scene);
    assert_eq!(scene.database.query("SELECT string_agg(i::text, ' ') FROM log"), "1");
    assert_eq!(scene.applied(), ["kitchen/0001_step"]);
}

#[test]
fn outside_steps_whose_ledger_row_was_committed_unheard_are_applied() {
    for cut in [Cut::Before, Cut::After] {
        let scene = scene(Version::V15, "INSERT INTO log VALUES (1);");
        let port = scene.cluster().port();
        let proxy =
            CuttingProxy::start(port, CutAt { once_sent: "BEGIN; RESET SESSION AUTHORIZATION", at: "COMMIT", cut });
        let direct = std::fs::read_to_string(scene.project.directory().join("safe-migrate.toml")).unwrap();
        scene.project.configure(&direct.replace(&format!(":{port}/"), &format!(":{}/", proxy.port())));
        scene.run(if cut == Cut::After { 0 } else { 4 }, &SKIP);
        assert!(proxy.has_cut());
        scene.run(0, &SKIP);
        assert_eq!(scene.applied(), ["kitchen/0001_step"]);
        assert_eq!(scene.database.query("SELECT count(*) FROM log"), "1");
    }
}
