//! What stands in the way of a migration, and who waits behind it.

use std::io::Write;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Scene, TestDatabase, Version};

const COLUMN: &str =
    "-- migrate:up\nALTER TABLE dish ADD COLUMN size int;\n-- migrate:down\nALTER TABLE dish DROP COLUMN size;\n";
const APPLY: [&str; 4] = ["apply", "--yes", "--skip-rehearsal", "test"];

fn scene(version: Version) -> Scene {
    let scene = Scene::empty(version);
    scene.database.sql("CREATE TABLE dish (id int PRIMARY KEY); INSERT INTO dish SELECT generate_series(1, 100)");
    scene.project.write_migration("kitchen", "0001_size", COLUMN);
    scene
}

/// A session of the application that runs this and keeps what it has locked; it ends with the handle.
struct Application(Child);

impl Application {
    fn run(database: &TestDatabase, name: &str, sql: &str) -> Application {
        let cluster = database.cluster();
        let mut psql = cluster.program("psql");
        psql.args(["-X", "-q", "-d", &cluster.socket_url(database.name())]).env("PGAPPNAME", name);
        let mut child = psql.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "{sql}").unwrap();
        Application(child)
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(database: &TestDatabase, condition: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while database.query(&format!("SELECT ({condition})::text")) != "true" {
        assert!(Instant::now() < deadline, "never: {condition}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn named_with_process_query_and_age(version: Version) {
    let scene = scene(version);
    scene.project.configure_more("[apply]\nretries = 1\nlock_timeout = \"300ms\"\nlong_transaction = \"1s\"\n");
    let _reader = Application::run(&scene.database, "the-report", "BEGIN; SELECT 'monthly', count(*) FROM dish;");
    let reader =
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'the-report' AND state = 'idle in transaction'";
    until(&scene.database, &format!("EXISTS ({reader} AND xact_start < now() - interval '2s')"));
    let pid = scene.database.query(reader);
    let output = scene.run(1, &APPLY);
    let long = format!(
        "a transaction has been open for long, and what it locked stays locked: backend {pid} (the-report, idle in transaction)"
    );
    assert!(output.stderr.contains(&long), "{}", output.stderr);
    let blocked = format!("in the way: backend {pid} (the-report) since ");
    assert_eq!(output.stderr.matches(&blocked).count(), 2, "in the retry's line and in the error: {}", output.stderr);
    assert!(output.stderr.contains("SELECT 'monthly', count(*) FROM dish"), "{}", output.stderr);
    assert!(output.stderr.contains("trying again (1 of 1)"), "{}", output.stderr);
    assert_eq!(scene.applied(), Vec::<String>::new());
}

#[test]
fn lock_wait_names_who_is_in_the_way() {
    named_with_process_query_and_age(Version::V15);
}

#[test]
fn lock_wait_names_who_is_in_the_way_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    named_with_process_query_and_age(Version::V18);
}

#[test]
fn lock_wait_names_a_prepared_transaction() {
    let scene = scene(Version::V15);
    scene.project.configure_more("[apply]\nretries = 0\nlock_timeout = \"300ms\"\n");
    scene.database.sql("BEGIN; UPDATE dish SET id = id; PREPARE TRANSACTION 'forgotten'");
    let output = scene.run(1, &APPLY);
    assert!(output.stderr.contains("prepared transaction forgotten since"), "{}", output.stderr);
    scene.database.sql("ROLLBACK PREPARED 'forgotten'");
    scene.run(0, &APPLY);
}

#[test]
fn lock_wait_has_limits_of_the_migration_in_its_header() {
    let scene = scene(Version::V15);
    scene.project.configure_more("[apply]\nretries = 0\n");
    scene.project.write_migration(
        "kitchen",
        "0001_size",
        "-- lock-timeout: 7s\n-- statement-timeout: 20s\n-- migrate:up
CREATE TABLE seen AS SELECT current_setting('lock_timeout') AS lock, current_setting('statement_timeout') AS statement;
-- migrate:down\nDROP TABLE seen;\n",
    );
    scene.project.write_migration(
        "kitchen",
        "0002_more",
        "-- migrate:up\nINSERT INTO seen SELECT current_setting('lock_timeout'), current_setting('statement_timeout');\n-- migrate:down\nDELETE FROM seen WHERE lock = '500ms';\n",
    );
    scene.run(0, &APPLY);
    assert_eq!(scene.database.query("SELECT * FROM seen ORDER BY 1"), "500ms|0\n7s|20s");
    scene.project.write_migration("kitchen", "0003_bad", "-- lock-timeout: a while\n-- migrate:up\nSELECT 1;\n");
    let output = scene.run(2, &APPLY);
    assert!(
        output.stderr.contains("0003_bad.sql:1") && output.stderr.contains("is not a duration"),
        "{}",
        output.stderr
    );
}

/// While a migration holds a table and many wait for it, it gives way, and is tried again.
fn gives_way(version: Version) {
    let scene = scene(version);
    scene.project.configure_more("[apply]\nretries = 1\nmax_queue = 3\n");
    let slow = "-- migrate:up\nLOCK TABLE dish;\nSELECT pg_sleep(60);\n-- migrate:down\nSELECT 1;\n";
    scene.project.write_migration("kitchen", "0001_size", slow);
    let mut command = scene.project.command(&APPLY);
    let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let asleep =
        "EXISTS (SELECT FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep' AND datname = current_database())";
    until(&scene.database, asleep);
    // Each comes back as soon as it was served, for as long as the run takes.
    let query = "SELECT count(*) FROM dish \\watch 0.01";
    let _readers: Vec<_> = (0..6).map(|_| Application::run(&scene.database, "a-guest", query)).collect();
    let output = run.wait_with_output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(
        words.contains("0001_size.sql:3: cancelled, because ") && words.contains("sessions waited behind it"),
        "{words}"
    );
    assert!(words.contains("trying again (1 of 1)") && words.contains("max_queue"), "{words}");
    assert!(words.contains("production: unchanged"), "{words}");
}

#[test]
fn lock_wait_gives_way_to_a_queue() {
    gives_way(Version::V15);
}

#[test]
fn lock_wait_gives_way_to_a_queue_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    gives_way(Version::V18);
}
