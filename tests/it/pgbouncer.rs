//! Through PgBouncer no run begins, in any mode, idle or busy; through the server's own address it does.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::{PgBouncer, PoolMode, Scene, TestCluster, TestRole, Version, clean_command};

const UP: &str =
    "-- migrate:up\nALTER TABLE dish ADD COLUMN size int;\n-- migrate:down\nALTER TABLE dish DROP COLUMN size;\n";
const PASSWORD: &str = "kitchen-pass-word";

/// A kitchen of an ordinary role: it owns the database and its table, and is no admin of anything else.
fn kitchen(version: Version) -> (Scene, TestRole) {
    let cluster = TestCluster::shared(version);
    let role = cluster.role("cook", PASSWORD, "CREATEDB");
    let scene = Scene::on(&cluster);
    let (name, database) = (role.name(), scene.database.name());
    scene.database.sql(&format!(
        "ALTER DATABASE {database} OWNER TO {name}; ALTER SCHEMA public OWNER TO {name};
         SET ROLE {name}; CREATE TABLE dish (id int PRIMARY KEY); INSERT INTO dish VALUES (1)"
    ));
    scene.project.write_migration("kitchen", "0001_size", UP);
    (scene, role)
}

/// Clients that keep servers of the pool in use until they are ended.
struct Busy<'a> {
    clients: Vec<Child>,
    scene: &'a Scene,
}

impl Busy<'_> {
    fn start<'a>(scene: &'a Scene, url: &str, clients: u32) -> Busy<'a> {
        let psql = scene.cluster().bin_dir().join("psql");
        let start = |_| {
            let mut command = clean_command(&psql);
            command.args(["-X", "-q", "-d", url, "-c", "SELECT 'busy', pg_sleep(600)"]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("psql")
        };
        let busy = Busy { clients: (0..clients).map(start).collect(), scene };
        let deadline = Instant::now() + Duration::from_secs(60);
        while busy.of_each("count(*)") != clients.to_string() {
            assert!(Instant::now() < deadline, "the clients do not get their servers");
            std::thread::sleep(Duration::from_millis(20));
        }
        busy
    }

    fn of_each(&self, what: &str) -> String {
        let database = self.scene.database.name();
        let theirs = format!("datname = '{database}' AND query LIKE 'SELECT ''busy''%' AND state = 'active'");
        self.scene.cluster().query("postgres", &format!("SELECT {what} FROM pg_stat_activity WHERE {theirs}"))
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        for client in &mut self.clients {
            let _ = client.kill();
            let _ = client.wait();
        }
        // A server process that sleeps does not notice that its client is gone.
        self.of_each("pg_terminate_backend(pid, 60000)");
    }
}

/// Refused with the reason, before anything is written.
#[track_caller]
fn is_refused(scene: &Scene, url: &str, case: &str) {
    for arguments in [&["apply", "--yes", "--json"][..], &["snapshot", "create", "--json"]] {
        let arguments = [arguments, &["--database", url]].concat();
        let output = scene.project.run(&arguments);
        assert_eq!(output.status, 3, "{case}: {}{}", output.stdout, output.stderr);
        assert!(output.stdout.contains("\"code\": \"pooler\""), "{case}: {}", output.stdout);
        assert!(output.stdout.contains("connection pooler"), "{case}: {}", output.stdout);
        let text = format!("{}{}", output.stdout, output.stderr);
        assert!(!text.contains(PASSWORD), "{case}: a secret is printed");
    }
    assert!(scene.snapshots().is_empty(), "{case}: a snapshot was taken");
    assert!(scene.database.query("SELECT to_regnamespace('safe_migrate')").is_empty(), "{case}: a ledger was made");
}

fn every_pool_is_refused(version: Version, mode: PoolMode) {
    let (scene, role) = kitchen(version);
    let direct = role.url(&scene.database);
    let login = (role.name(), PASSWORD);
    for size in [1, 5] {
        for losing in [false, true] {
            let start = if losing { PgBouncer::start_losing_options } else { PgBouncer::start };
            let pooler = start(scene.cluster(), mode, size, login);
            let url = pooler.url(&direct);
            let case = format!("{mode:?} mode, {size} servers, options lost: {losing}");
            is_refused(&scene, &url, &format!("{case}, idle"));
            for clients in [size.div_ceil(2), size] {
                let _busy = Busy::start(&scene, &url, clients);
                is_refused(&scene, &url, &format!("{case}, {clients} of them in use"));
            }
        }
    }
    let output = scene.project.run(&["apply", "--yes", "--database", &direct]);
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert_eq!((scene.applied().len(), scene.snapshots().len()), (1, 1));
}

#[test]
fn pgbouncer_in_transaction_mode_is_refused() {
    every_pool_is_refused(Version::V15, PoolMode::Transaction);
}

#[test]
fn pgbouncer_in_statement_mode_is_refused() {
    every_pool_is_refused(Version::V18, PoolMode::Statement);
}

#[test]
fn pgbouncer_in_session_mode_is_refused() {
    every_pool_is_refused(Version::V15, PoolMode::Session);
}

/// Commands that only read do not look for a pooler; one whose servers are all in use does not leave them waiting for
/// ever, and the message says what may be in the way.
#[test]
fn pgbouncer_whose_servers_are_all_in_use_is_named() {
    let (scene, role) = kitchen(Version::V15);
    let login = (role.name(), PASSWORD);
    let pooler = PgBouncer::start_losing_options(scene.cluster(), PoolMode::Transaction, 1, login);
    let url = pooler.url(&role.url(&scene.database));
    let _busy = Busy::start(&scene, &url, 1);
    let output = scene.project.run(&["status", "--database", &format!("{url}?connect_timeout=1")]);
    assert_ne!(output.status, 0, "{}", output.stdout);
    assert!(output.stderr.contains("did not answer the first query within"), "{}", output.stderr);
    assert!(output.stderr.contains("connection pooler whose servers are all in use"), "{}", output.stderr);
}

/// Commands that only read go through, and what they set does not stay with a server that others get next.
#[test]
fn pgbouncer_keeps_nothing_of_commands_that_read() {
    let (scene, role) = kitchen(Version::V15);
    let direct = role.url(&scene.database);
    scene.run(0, &["apply", "--yes", "--database", &direct, "--skip-rehearsal", "a test"]);
    let login = (role.name(), PASSWORD);
    for mode in [PoolMode::Transaction, PoolMode::Session] {
        for losing in [false, true] {
            let start = if losing { PgBouncer::start_losing_options } else { PgBouncer::start };
            let pooler = start(scene.cluster(), mode, 1, login);
            let url = pooler.url(&direct);
            for command in ["status", "plan", "history"] {
                let output = scene.project.run(&[command, "--database", &url]);
                assert_eq!(output.status, 0, "{mode:?}, options lost: {losing}, {command}: {}", output.stderr);
                let mut psql = clean_command(scene.cluster().bin_dir().join("psql"));
                let path = crate::support::output_of(psql.args(["-XAtq", "-d", &url, "-c", "SHOW search_path"]));
                assert_eq!(path.trim(), "\"$user\", public", "{mode:?}, options lost: {losing}, {command}");
            }
        }
    }
}
