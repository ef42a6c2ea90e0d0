//! `--fence`: writers wait from before the snapshot until the one commit of all migrations.

use std::time::{Duration, Instant};

use crate::support::{Client, Running, SEES, Scene, Version, seen_and_kept, writers, written};

fn migration(scene: &Scene, name: &str, up: &str) {
    let text = format!("-- migrate:up\n{up}\n-- migrate:down\nSELECT 1;\n");
    scene.project.write_migration("app", name, &text);
}

/// Statements of this kind are refused by a lock, in the words of psql.
fn is_kept_out(scene: &Scene, sql: &str) -> bool {
    let result = scene.cluster().try_sql(scene.database.name(), &format!("SET lock_timeout = '100ms'; {sql}"));
    result.is_err_and(|words| words.contains("lock timeout"))
}

fn no_gap(version: Version) {
    let scene = Scene::empty(version);
    let role = scene.cluster().role("writer", "secret", "");
    let writers = writers(&scene, &role);
    scene.project.write_migration("app", "0001_sees", SEES);
    let mut run = Running::start(&scene.project, &["apply", "--yes", "--fence"]);
    run.wait_for("locked against writers");
    for sql in [
        "INSERT INTO written (way) VALUES ('x')",
        "SET session_replication_role = replica; DELETE FROM written",
        "BEGIN READ WRITE; UPDATE written SET way = 'x'",
        "TRUNCATE written",
        "SELECT lo_create(0)",
        "ALTER TABLE written ADD COLUMN c int",
    ] {
        assert!(is_kept_out(&scene, sql), "{sql} gets through");
    }
    run.wait_for("large objects are locked too");
    // By reading: what is written before the lock is there stops the run, as it should.
    run.wait_until("the lock on large objects", |_| is_kept_out(&scene, "SELECT lo_get(oid) FROM object"));
    assert!(is_kept_out(&scene, "SELECT lo_put(oid, 0, 'y') FROM object"));
    let before = written(&scene);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(written(&scene), before, "and readers go on");
    let output = run.end();
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert!(output.stderr.contains("nothing was written since the snapshot"), "{}", output.stderr);
    let deadline = Instant::now() + Duration::from_secs(30);
    while written(&scene) == before {
        assert!(Instant::now() < deadline, "the writers go on after the run");
    }
    drop(writers);
    let (seen, kept) = seen_and_kept(&scene);
    assert_eq!(seen, kept, "a restore would lose what the migration saw and the snapshot did not");
}

#[test]
fn fence_writers_have_no_gap() {
    no_gap(Version::V15);
}

#[test]
fn fence_writers_have_no_gap_on_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    no_gap(Version::V18);
}

#[test]
fn fence_of_an_ordinary_owner_says_that_large_objects_are_not_fenced() {
    let scene = Scene::empty(Version::V15);
    let role = scene.cluster().role("owner", "secret", "CREATEDB");
    scene.database.sql(&format!(
        "ALTER DATABASE {} OWNER TO {role}; CREATE TABLE t (i int); ALTER TABLE t OWNER TO {role};
         GRANT CREATE ON SCHEMA public TO {role}; GRANT EXECUTE ON FUNCTION pg_control_system() TO {role};
         SELECT lo_create(4711); ALTER LARGE OBJECT 4711 OWNER TO {role}",
        scene.database.name(),
        role = role.name()
    ));
    migration(&scene, "0001_a", "CREATE TABLE a (i int);");
    let url = role.url(&scene.database);
    let arguments = ["apply", "--yes", "--fence", "--skip-rehearsal", "test", "--database", &url];
    let output = scene.run(0, &arguments);
    assert!(output.stderr.contains("large objects are NOT fenced"), "{}", output.stderr);

    scene.database.sql("CREATE TABLE of_others (i int)");
    scene.database.sql(&format!("GRANT SELECT ON of_others TO {}", role.name()));
    migration(&scene, "0002_b", "CREATE TABLE b (i int);");
    let output = scene.run(3, &[&arguments[..], &["--accept-drift", "test"]].concat());
    assert!(output.stderr.contains("permission denied for table of_others"), "{}", output.stderr);
    assert!(output.stderr.contains("GRANT UPDATE"), "{}", output.stderr);
}

#[test]
fn fence_names_a_prepared_transaction_in_the_way() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE t (i int); CREATE TABLE u (i int)");
    let gid = format!("it's {}", scene.database.name());
    let quoted = gid.replace('\'', "''");
    scene.database.sql(&format!("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION '{quoted}'"));
    migration(&scene, "0001_a", "CREATE TABLE a (i int);");
    for fence in ["--fence", "--fence=closed"] {
        let output = scene.run(3, &["apply", "--yes", fence, "--skip-rehearsal", "test"]);
        assert!(output.stderr.contains(&format!("\"{gid}\"")), "{}", output.stderr);
        assert!(output.stderr.contains(&format!("ROLLBACK PREPARED '{quoted}'")), "{}", output.stderr);
        assert_eq!(scene.snapshots(), Vec::<String>::new(), "before the snapshot");
    }
    scene.database.sql(&format!("ROLLBACK PREPARED '{quoted}'"));
    scene.run(0, &["apply", "--yes", "--fence", "--skip-rehearsal", "test"]);
}

#[test]
fn fence_ends_who_stays_in_the_way_and_says_so() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE t (i int)");
    let mut idle = Client::connect(scene.cluster(), &scene.database.socket_url());
    assert!(idle.send("SET application_name = 'forgotten'; BEGIN; INSERT INTO t VALUES (1);"));
    migration(&scene, "0001_a", "CREATE TABLE a AS SELECT count(*) FROM t;");
    let output = scene.run(0, &["apply", "--yes", "--fence", "--skip-rehearsal", "test"]);
    assert!(output.stderr.contains("in the way of the fence and is ended: backend"), "{}", output.stderr);
    assert!(output.stderr.contains("forgotten"), "{}", output.stderr);
    assert!(!idle.is_connected());
    assert_eq!(scene.database.query("SELECT * FROM a"), "0");
}

#[test]
fn fence_solves_the_deadlock_with_a_reader_that_turns_writer() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE t (i int)");
    let mut turning = Client::connect(scene.cluster(), &scene.database.socket_url());
    assert!(turning.send("SET application_name = 'turning'; BEGIN; SELECT count(*) FROM t;"));
    migration(&scene, "0001_a", "ALTER TABLE t ADD COLUMN c int DEFAULT 1;");
    let mut run = Running::start(&scene.project, &["apply", "--yes", "--fence", "--skip-rehearsal", "test"]);
    run.wait_for("locked against writers");
    turning.begin("INSERT INTO t VALUES (2);");
    let output = run.end();
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert!(output.stderr.contains("is ended: backend") && output.stderr.contains("turning"), "{}", output.stderr);
    assert_eq!(scene.database.query("SELECT count(*) FROM t"), "0");
}

#[test]
fn fence_with_writers_of_two_tables_in_both_orders() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE a (i int); CREATE TABLE b (i int)");
    let url = scene.database.socket_url();
    let _writers: Vec<_> = [("a", "b"), ("b", "a")]
        .map(|(one, other)| {
            let again = format!(
                "BEGIN; INSERT INTO {one} VALUES (1); SELECT pg_sleep(0.01); INSERT INTO {other} VALUES (1); COMMIT;"
            );
            crate::support::Writer::start(scene.cluster(), &url, "SELECT 1;", &again)
        })
        .into();
    migration(
        &scene,
        "0001_c",
        "CREATE TABLE c AS SELECT (SELECT count(*) FROM a) = (SELECT count(*) FROM b) AS same;",
    );
    scene.run(0, &["apply", "--yes", "--fence", "--skip-rehearsal", "test"]);
    assert_eq!(scene.database.query("SELECT same FROM c"), "t");
}

#[test]
fn fence_a_plan_that_fails_in_the_middle_leaves_everything_unchanged() {
    let scene = Scene::empty(Version::V15);
    migration(&scene, "0001_a", "CREATE TABLE a (i int);");
    migration(&scene, "0002_b", "CREATE TABLE b (i int);\nSELECT 1 / 0;");
    let before = scene.schema();
    let output = scene.run(1, &["apply", "--yes", "--fence", "--skip-rehearsal", "test"]);
    assert!(output.stderr.contains("0002_b.sql:3") && output.stderr.contains("unchanged"), "{}", output.stderr);
    assert_eq!((scene.applied(), scene.schema()), (Vec::new(), before));
    assert_eq!(scene.database.query("SELECT outcome FROM safe_migrate.run"), "failed");

    migration(&scene, "0002_b", "CREATE TABLE b (i int);");
    scene.run(0, &["apply", "--yes", "--fence"]);
    assert_eq!(scene.applied(), ["app/0001_a", "app/0002_b"]);
    scene.run(0, &["rollback", "app", "zero", "--yes", "--fence"]);
    assert_eq!(scene.applied(), Vec::<String>::new());
}

#[test]
fn fence_refuses_a_step_outside_a_transaction_before_the_snapshot() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE t (i int)");
    let outside =
        "-- migrate:up transaction:false\nCREATE INDEX CONCURRENTLY t_i ON t (i);\n-- migrate:down\nDROP INDEX t_i;\n";
    scene.project.write_migration("app", "0001_index", outside);
    let output = scene.run(3, &["apply", "--yes", "--fence"]);
    assert!(output.stderr.contains("app/0001_index") && output.stderr.contains("--fence=closed"), "{}", output.stderr);
    assert_eq!(scene.snapshots(), Vec::<String>::new());
}

#[test]
fn fence_checks_deferred_constraints_at_the_end_of_each_migration() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql(
        "CREATE TABLE p (id int PRIMARY KEY);
         CREATE TABLE q (id int REFERENCES p DEFERRABLE INITIALLY DEFERRED)",
    );
    // The second migration repairs what a COMMIT of the first alone would have refused.
    migration(&scene, "0001_q", "INSERT INTO q VALUES (1);");
    migration(&scene, "0002_p", "INSERT INTO p VALUES (1);");
    let output = scene.run(1, &["apply", "--yes", "--fence", "--skip-rehearsal", "test"]);
    assert!(output.stderr.contains("0001_q.sql") && output.stderr.contains("q_id_fkey"), "{}", output.stderr);

    // Deferred within a migration still, also in the second one.
    migration(&scene, "0001_q", "INSERT INTO q VALUES (1);\nINSERT INTO p VALUES (1);");
    migration(&scene, "0002_p", "INSERT INTO q VALUES (2);\nINSERT INTO p VALUES (2);");
    scene.run(0, &["apply", "--yes", "--fence"]);
    assert_eq!(scene.database.query("SELECT count(*) FROM p JOIN q USING (id)"), "2");
}

#[test]
fn fence_is_rehearsed_in_one_transaction() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql(
        "CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p VALUES (1);
         CREATE TABLE q (id int REFERENCES p DEFERRABLE INITIALLY DEFERRED);
         CREATE TYPE mood AS ENUM ('sad')",
    );
    migration(&scene, "0001_q", "INSERT INTO q VALUES (1);");
    migration(&scene, "0002_q", "ALTER TABLE q ADD COLUMN c int;");
    let before = scene.schema();
    let output = scene.run(3, &["apply", "--yes", "--fence"]);
    assert!(output.stderr.contains("one transaction") && output.stderr.contains("0002_q.sql"), "{}", output.stderr);
    assert!(output.stderr.contains("pending trigger events"), "{}", output.stderr);
    assert_eq!((scene.applied(), scene.schema()), (Vec::new(), before));
    scene.run(0, &["apply", "--yes"]);

    migration(&scene, "0003_mood", "ALTER TYPE mood ADD VALUE 'happy';");
    migration(&scene, "0004_mood", "CREATE TABLE m (mood mood DEFAULT 'happy');");
    let output = scene.run(3, &["apply", "--yes", "--fence"]);
    assert!(output.stderr.contains("unsafe use of new value"), "{}", output.stderr);
    scene.run(0, &["apply", "--yes", "--fence=closed"]);
}

#[test]
fn fence_does_not_go_by_a_receipt_of_the_other_grouping() {
    let scene = Scene::empty(Version::V15);
    migration(&scene, "0001_a", "CREATE TABLE a (i int);");
    scene.run(0, &["rehearse", "--snapshot", "new"]);
    let output = scene.run(0, &["apply", "--yes", "--fence"]);
    assert!(output.stderr.contains("in a transaction each, and --fence runs them in one"), "{}", output.stderr);
    assert!(!output.stderr.contains("still matches"), "{}", output.stderr);

    // The gate of the loss stops it when all is rehearsed.
    scene.database.sql("CREATE TABLE t AS SELECT 1 AS i");
    migration(&scene, "0002_b", "DROP TABLE t;");
    let arguments = ["apply", "--yes", "--accept-drift", "test", "--fence"];
    scene.run(3, &arguments);
    let output = scene.run(3, &arguments[..4]);
    assert!(output.stderr.contains("its migrations ran in one transaction, as with --fence"), "{}", output.stderr);
}

#[test]
fn fence_goes_with_a_killed_run() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE t (i int)");
    migration(&scene, "0001_slow", "INSERT INTO t VALUES (1);\nSELECT pg_sleep(300);");
    let mut run = Running::start(&scene.project, &["apply", "--yes", "--fence", "--skip-rehearsal", "test"]);
    let asleep = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND query ~ '^SELECT pg_sleep'",
        scene.database.name()
    );
    run.wait_until("the migration", |_| scene.cluster().query("postgres", &asleep) == "1");
    assert!(is_kept_out(&scene, "INSERT INTO t VALUES (2)"));
    run.kill();
    scene.database.sql("SET lock_timeout = '30s'; INSERT INTO t VALUES (3)");
    assert_eq!(scene.database.query("SELECT i FROM t"), "3");
    let output = scene.run(0, &["status"]);
    assert!(output.stderr.contains("never ended") || output.stdout.contains("0001_slow"), "{}", output.stderr);
    migration(&scene, "0001_slow", "INSERT INTO t VALUES (1);");
    let output = scene.run(0, &["apply", "--yes", "--fence"]);
    assert!(output.stderr.contains("never ended"), "the dead run is known: {}", output.stderr);
}

#[test]
fn fence_is_let_down_by_an_interrupt() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE t (i int)");
    migration(&scene, "0001_a", "CREATE TABLE a (i int);");
    migration(&scene, "0002_slow", "INSERT INTO t VALUES (1);\nSELECT pg_sleep(300);");
    let mut run = Running::start(&scene.project, &["apply", "--yes", "--fence", "--skip-rehearsal", "test"]);
    run.wait_for("ran app/0001_a");
    run.interrupt();
    let output = run.end();
    assert_eq!(output.status, 130, "{}", output.stderr);
    assert!(output.stderr.contains("unchanged"), "{}", output.stderr);
    scene.database.sql("SET lock_timeout = '5s'; INSERT INTO t VALUES (3)");
    assert_eq!((scene.applied(), scene.database.query("SELECT i FROM t")), (Vec::new(), "3".to_owned()));
}

#[test]
fn fence_is_not_ended_by_the_timeouts_of_the_database() {
    let scene = Scene::empty(Version::V18);
    scene.database.sql(&format!(
        "CREATE TABLE t (i int);
         ALTER DATABASE {db} SET idle_in_transaction_session_timeout = '300ms';
         ALTER DATABASE {db} SET transaction_timeout = '1500ms'",
        db = scene.database.name()
    ));
    migration(&scene, "0001_a", "INSERT INTO t VALUES (1);");
    migration(&scene, "0002_b", "INSERT INTO t VALUES (2);\nSELECT pg_sleep(1);");
    scene.run(0, &["apply", "--yes", "--fence", "--skip-rehearsal", "test"]);
    assert_eq!(scene.database.query("SELECT count(*) FROM t"), "2");
}

#[test]
fn fence_a_table_made_behind_it_stops_the_run() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE t (i int)");
    migration(&scene, "0001_slow", "SELECT pg_sleep(1);");
    let mut run = Running::start(&scene.project, &["apply", "--yes", "--fence"]);
    run.wait_for("locked against writers");
    scene.database.sql("CREATE TABLE behind (i int)");
    let output = run.end();
    assert_eq!(output.status, 3, "{}", output.stderr);
    assert!(output.stderr.contains("behind"), "{}", output.stderr);
}

#[test]
fn fence_stops_when_large_objects_were_written_while_they_were_copied() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE object AS SELECT lo_from_bytea(0, 'x') AS oid");
    migration(&scene, "0001_a", "CREATE TABLE a (i int);");
    let put = "SELECT lo_put(oid, (random() * 100)::int, 'y') FROM object;";
    let writer = crate::support::Writer::start(scene.cluster(), &scene.database.socket_url(), "SELECT 1;", put);
    let output = scene.run(3, &["apply", "--yes", "--fence", "--skip-rehearsal", "test"]);
    assert!(output.stderr.contains("large objects were written while the snapshot"), "{}", output.stderr);
    assert_eq!(scene.applied(), Vec::<String>::new());
    drop(writer);
    scene.run(0, &["apply", "--yes", "--fence", "--skip-rehearsal", "test"]);
}
