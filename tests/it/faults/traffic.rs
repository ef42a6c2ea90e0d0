//! Production is busy: readers, writers and idle transactions in the way, deadlocks, a migration that never ends, two
//! operators at once.

use std::io::Write;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::{APPLY, Applied, Ground, ROLLBACK, ended, until};
use crate::support::{Project, TestDatabase, Version};

/// A session of the application, which runs what it is sent and ends with the handle.
struct Application<'a>(Child, &'a TestDatabase);

impl Application<'_> {
    fn connect(database: &TestDatabase) -> Application<'_> {
        let cluster = database.cluster();
        let mut psql = cluster.program("psql");
        psql.args(["-X", "-q", "-d", &cluster.socket_url(database.name())]).env("PGAPPNAME", "the-app");
        let psql = psql.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Application(psql.spawn().unwrap(), database)
    }

    /// Sends SQL; `seen` is true of the database when it has been run.
    fn send(&mut self, database: &TestDatabase, sql: &str, seen: &str) {
        writeln!(self.0.stdin.as_mut().unwrap(), "{sql}").unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while database.query(&format!("SELECT ({seen})::text")) != "true" {
            assert!(std::time::Instant::now() < deadline, "{sql} was not run");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Application<'_> {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        // The server does not notice before the statement ends.
        self.1.query(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
              WHERE application_name = 'the-app' AND datname = current_database()",
        );
    }
}

const HAS_LOCK: &str = "SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.application_name = 'the-app' AND relation = 'dish'::regclass";

/// Something holds a lock that the first migration needs: the run waits in short tries and names it; when it never goes
/// the run stops with production unchanged; when it goes the run goes through.
fn in_the_way(sql: &str) {
    let ground = Ground::new(Version::V15);
    ground.scene.project.configure_more("[apply]\nretries = 2\nlock_timeout = \"200ms\"\n");
    let database = &ground.scene.database;
    let mut application = Application::connect(database);
    application.send(database, sql, HAS_LOCK);
    let output = ground.scene.run(1, &APPLY);
    assert!(output.stderr.contains("lock timeout") && output.stderr.contains("the-app"), "{}", output.stderr);
    ground.says_the_state(&output);
    drop(application);
    assert_eq!(ground.holds(), Applied { size: false, index: false, tag: false });

    let mut application = Application::connect(database);
    application.send(database, sql, HAS_LOCK);
    let text = std::fs::read_to_string(ground.scene.project.directory().join("safe-migrate.toml")).unwrap();
    ground.scene.project.configure(&text.replace("retries = 2", "retries = 50"));
    let child = ground.start(&APPLY);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(ground.scene.applied(), Vec::<String>::new());
    drop(application);
    let output = ended(child);
    assert_eq!(output.status, 0, "{}", output.stderr);
    ground.holds();
    ground.goes_through(&ROLLBACK);
}

#[test]
fn fault_long_reader_in_the_way() {
    in_the_way("BEGIN; SELECT count(*), pg_sleep(300) FROM dish;");
}

#[test]
fn fault_long_writer_in_the_way() {
    in_the_way("BEGIN; UPDATE dish SET price = price WHERE id = 1; SELECT pg_sleep(300);");
}

#[test]
fn fault_idle_transaction_in_the_way() {
    in_the_way("BEGIN; SELECT 1 FROM dish LIMIT 1;");
}

/// The migration has one table and wants the other, the application the other way round. Whichever the server ends,
/// the migration is applied once and whole.
#[test]
fn fault_deadlock_with_the_application() {
    let ground = Ground::new(Version::V15);
    ground.scene.project.configure_more("[apply]\nlock_timeout = \"20s\"\n");
    let database = &ground.scene.database;
    database.sql("CREATE TABLE visit (id int)");
    let text =
        "-- allow: update-without-where all\n-- allow: drop-column a test\n-- migrate:up\nUPDATE dish SET price = price + 1;\nALTER TABLE dish ADD COLUMN size int;\nSELECT pg_sleep(2);
LOCK TABLE visit;\n-- migrate:down\nUPDATE dish SET price = price - 1;\nALTER TABLE dish DROP COLUMN size;\n";
    ground.scene.project.write_migration("kitchen", "0001_size", text);
    let mut application = Application::connect(database);
    application.send(database, "BEGIN; LOCK TABLE visit IN SHARE MODE;", &HAS_LOCK.replace("dish", "visit"));
    let mut child = ground.start(&APPLY);
    let asleep =
        "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep' AND datname = current_database()";
    until("the sleep", &mut child, || database.query(asleep) != "0");
    writeln!(application.0.stdin.as_mut().unwrap(), "SELECT count(*) FROM dish; COMMIT;").unwrap();
    let output = ended(child);
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert!(ground.scene.cluster().log().contains("deadlock detected"), "there was one");
    drop(application);
    ground.holds();
    ground.goes_through(&ROLLBACK);
}

#[test]
fn fault_migration_that_never_ends() {
    let ground = Ground::new(Version::V15);
    ground.scene.project.configure_more("[apply]\nstatement_timeout = \"1s\"\n");
    let text = "-- migrate:up\nUPDATE dish SET price = price + 7 WHERE id > 0;\nSELECT pg_sleep(100000);\n";
    ground.scene.project.write_migration("kitchen", "0003_tag", text);
    let output = ground.scene.run(4, &APPLY);
    assert!(output.stderr.contains("statement timeout") && output.stderr.contains("2 of 3"), "{}", output.stderr);
    ground.says_the_state(&output);
    ground.holds();
    ground.scene.project.write_migration("kitchen", "0003_tag", super::MIGRATIONS[2].1);
    ground.goes_through(&APPLY);
}

/// Two working directories with the same migrations, as on two machines.
#[test]
fn fault_two_applies_at_once_from_two_machines() {
    let ground = Ground::new(Version::V15);
    let other = Project::new(&ground.scene.database, &ground.scene.store);
    other.configure_more(crate::support::DATA_MAY_GO);
    for (name, text) in super::MIGRATIONS {
        other.write_migration("kitchen", name, text);
    }
    for _ in 0..3 {
        let here = ground.start(&APPLY);
        let mut there = other.command(&APPLY);
        let there = there.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (here, there) = (ended(here), ended(there));
        let mut codes = [here.status, there.status];
        codes.sort_unstable();
        assert!(codes == [0, 5] || codes == [0, 0], "{}{}", here.stderr, there.stderr);
        assert_eq!(
            ground
                .scene
                .database
                .query("SELECT count(*) FROM safe_migrate.run WHERE outcome = 'done' AND command ~ '^apply'"),
            "1"
        );
        assert_eq!(ground.holds(), Applied { size: true, index: true, tag: true });
        ground.goes_through(&ROLLBACK);
        ground.scene.database.sql("DELETE FROM safe_migrate.run");
    }
}
