//! A shadow on a named server is never production, in any disguise (P3). Each case asserts the refusal, and that neither
//! the server nor the database was written to.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicUsize, Ordering};

use crate::support::{Output, Scene, Standby, TestCluster, Version, output_of};

const MIGRATION: &str = "-- migrate:up
CREATE TABLE rehearsed_only AS SELECT count(*) AS n FROM dish;
-- migrate:down
DROP TABLE rehearsed_only;
";

/// The role that migrates: owner of the database, without rights to the server.
const ROLE: &str = "app";

fn make_role(cluster: &TestCluster) {
    cluster.sql("postgres", &format!("CREATE ROLE {ROLE} LOGIN PASSWORD 'app-password'"));
}

/// Production on a server of its own, one migration pending, one snapshot.
pub struct Production {
    pub scene: Scene,
    pub snapshot: String,
}

impl Production {
    pub fn new(version: Version) -> Production {
        let cluster = Arc::new(TestCluster::start(version, &["autovacuum=off"]));
        make_role(&cluster);
        let scene = Scene::on(&cluster);
        cluster.sql("postgres", &format!("ALTER DATABASE {} OWNER TO {ROLE}", scene.database.name()));
        scene.database.sql("CREATE TABLE dish (id int PRIMARY KEY, name text); INSERT INTO dish VALUES (1, 'isombe')");
        scene.database.sql(&format!("ALTER TABLE dish OWNER TO {ROLE}; GRANT CREATE ON SCHEMA public TO {ROLE}"));
        scene.project.write_migration("kitchen", "0001_marker", MIGRATION);
        let snapshot = scene.take_snapshot();
        let production = Production { scene, snapshot };
        production.migrate_as(ROLE);
        production
    }

    fn migrate_as(&self, role: &str) {
        let database = &self.scene.database;
        let url = database.cluster().url_as(role, "app-password", database.name());
        let file = self.scene.project.directory().join("safe-migrate.toml");
        let text = std::fs::read_to_string(file).unwrap().replace(&database.url(), &url);
        self.scene.project.configure(&text);
    }

    pub fn shadow_on(&self, url: &str) {
        let file = self.scene.project.directory().join("safe-migrate.toml");
        let text = std::fs::read_to_string(file).unwrap();
        let lines = text.lines().filter(|line| !line.contains("# the shadow"));
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        self.scene.project.configure(&text.replace("[shadow]\n", &format!("[shadow]\nurl = \"{url}\" # the shadow\n")));
    }

    fn rehearse(&self) -> Output {
        self.scene.project.run(&["rehearse", "--snapshot", &self.snapshot])
    }

    fn state(&self) -> String {
        state(self.scene.cluster(), self.scene.database.name())
    }

    /// The rehearsal is refused with these words, and nothing was written to production's server or to these others.
    #[track_caller]
    fn refuses(&self, words: &str, others: &[&TestCluster]) {
        let before: Vec<String> =
            std::iter::once(self.state()).chain(others.iter().map(|other| state(other, "postgres"))).collect();
        let output = self.rehearse();
        let text = format!("{}{}", output.stdout, output.stderr);
        assert_eq!(output.status, 3, "{text}");
        assert!(text.contains(words), "expected {words:?} in: {text}");
        let after: Vec<String> =
            std::iter::once(self.state()).chain(others.iter().map(|other| state(other, "postgres"))).collect();
        assert_eq!(after, before);
    }
}

/// Everything that a write would change: the dump, the roles with their settings, the databases, their counters.
fn state(cluster: &TestCluster, database: &str) -> String {
    // The counters of a session that has just ended come a moment later.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let dump = output_of(cluster.program("pg_dumpall").args(["-d", &cluster.socket_url("postgres")]));
    let dump: String = dump.lines().filter(|line| !line.contains("restrict")).map(|line| format!("{line}\n")).collect();
    let counters = cluster.query(
        database,
        "SELECT datname, tup_inserted, tup_updated, tup_deleted, conflicts, temp_files FROM pg_stat_database
          WHERE datname <> 'template0' ORDER BY 1",
    );
    format!("{counters}\n{dump}")
}

/// Databases of ours on a server.
pub fn ours(cluster: &TestCluster) -> String {
    cluster.query("postgres", "SELECT datname FROM pg_database WHERE datname ~ '^safe_migrate'")
}

/// A shadow server with production's roles.
pub fn shadow_server(version: Version) -> TestCluster {
    let cluster = TestCluster::start_apart(version, &["autovacuum=off"]);
    make_role(&cluster);
    cluster
}

/// There are no walls around a server that somebody named, so it is as with production's own.
#[test]
fn rehearse_on_a_named_server_runs_nothing_of_others() {
    let production = Production::new(Version::V15);
    let (cluster, database) = (production.scene.cluster(), &production.scene.database);
    let shadow = shadow_server(Version::V15);
    for server in [cluster.as_ref(), &shadow] {
        server.sql("postgres", "CREATE ROLE mallory");
    }
    database.sql(
        "CREATE FUNCTION public.rise(integer) RETURNS boolean LANGUAGE plpgsql AS
           'BEGIN ALTER ROLE mallory SUPERUSER; RETURN true; EXCEPTION WHEN OTHERS THEN RETURN true; END';
         ALTER FUNCTION public.rise(integer) OWNER TO mallory;
         CREATE TABLE checked (id integer CHECK (rise(id))); ALTER TABLE checked OWNER TO mallory; GRANT SELECT ON checked TO app",
    );
    database.sql("SET SESSION AUTHORIZATION mallory; INSERT INTO checked VALUES (1)");
    production.shadow_on(&shadow.url("postgres"));
    let rose = || shadow.query("postgres", "SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'");
    let refused = production.scene.run(3, &["rehearse", "--snapshot", "new"]);
    assert!(refused.stderr.contains("public.rise of mallory, called by table public.checked"), "{}", refused.stderr);
    assert_eq!((rose().as_str(), ours(&shadow).as_str()), ("f", ""));
    // The control: who is named is trusted, and there it may rise.
    let file = production.scene.project.directory().join("safe-migrate.toml");
    let text = std::fs::read_to_string(file).unwrap();
    production.scene.project.configure(&format!("{text}\n[trust]\nowners = [\"mallory\"]\n"));
    production.scene.run(0, &["rehearse", "--snapshot", "new"]);
    assert_eq!(rose(), "t");
}

fn a_named_server_is_used_and_left_as_it_was(version: Version) {
    let production = Production::new(version);
    let shadow = shadow_server(version);
    production.shadow_on(&shadow.url("postgres"));
    let (before, there) = (production.state(), state(&shadow, "postgres"));
    let output = production.rehearse();
    assert_eq!(output.status, 0, "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("reversible: down and up again"), "{}", output.stdout);
    assert!(
        output.stdout.contains("shadow: the shadow was a database on postgres://admin@127.0.0.1"),
        "{}",
        output.stdout
    );
    assert!(!format!("{}{}", output.stdout, output.stderr).contains(shadow.password()));
    assert_eq!(production.state(), before);
    assert_eq!(ours(&shadow), "");
    let dumps = |text: &str| text.split_once("\n--\n").unwrap().1.to_owned();
    assert_eq!(dumps(&state(&shadow, "postgres")), dumps(&there), "roles and databases are as they were");
}

#[test]
fn rehearse_on_a_named_server() {
    a_named_server_is_used_and_left_as_it_was(Version::V15);
}

#[test]
fn rehearse_on_a_named_server_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    a_named_server_is_used_and_left_as_it_was(Version::V18);
}

/// Production's server by its own address, by another one, by its socket, and through another database.
fn productions_own_server_is_refused(version: Version) {
    let production = Production::new(version);
    let cluster = Arc::clone(production.scene.cluster());
    let name = production.scene.database.name().to_owned();
    for url in [cluster.url_as(ROLE, "app-password", &name), cluster.url("postgres")] {
        production.shadow_on(&url);
        production.refuses("is the address of the database that is to be migrated", &[]);
    }
    let elsewhere = cluster.url("postgres").replace("127.0.0.1", "localhost");
    production.shadow_on(&elsewhere);
    production.refuses("is the address of the database that is to be migrated", &[]);
    // Here nothing but the server itself can tell.
    production.shadow_on(&cluster.socket_url("postgres"));
    production.refuses("is production's own server", &[]);

    // The same cluster, other database; a database made from it by template; the mark copied by hand.
    cluster.sql("postgres", &format!("CREATE DATABASE {name}_staging TEMPLATE {name}"));
    let oid = cluster.query("postgres", &format!("SELECT oid FROM pg_database WHERE datname = '{name}_staging'"));
    let mark = format!("shadow:{}:{oid}", "0123456789abcdef".repeat(2));
    cluster.sql("postgres", &format!("ALTER DATABASE {name}_staging SET safe_migrate.mark = '{mark}'"));
    production.shadow_on(&cluster.socket_url(&format!("{name}_staging")));
    production.refuses("is production's own server", &[]);
    assert_eq!(cluster.query(&format!("{name}_staging"), "SELECT count(*) FROM dish"), "1");
}

#[test]
fn rehearse_never_on_productions_own_server() {
    productions_own_server_is_refused(Version::V15);
}

#[test]
fn rehearse_never_on_productions_own_server_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    productions_own_server_is_refused(Version::V18);
}

#[test]
fn rehearse_never_on_a_standby() {
    let production = Production::new(Version::V15);
    let cluster = production.scene.cluster();
    let standby = Standby::of(cluster);
    production.shadow_on(&standby.url(cluster, "postgres"));
    production.refuses("is a standby of production", &[]);
    // Promoted it can be written to, and it still is a physical copy: its name may be in somebody's failover.
    standby.promote();
    production.shadow_on(&standby.url(cluster, "postgres"));
    production.refuses("is production's own server", &[]);
}

/// A forwarder on its own port: another host name, a pooler, and a name that leads elsewhere from one moment to the
/// next.
struct Forwarder {
    port: u16,
    target: Arc<AtomicU16>,
    connections: Arc<AtomicUsize>,
    /// After so many connections the target changes to the second one.
    switch_after: Arc<AtomicU32>,
}

impl Forwarder {
    fn new(first: u16, second: u16) -> Forwarder {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let forwarder = Forwarder {
            port: listener.local_addr().unwrap().port(),
            target: Arc::new(AtomicU16::new(first)),
            connections: Arc::default(),
            switch_after: Arc::new(AtomicU32::new(u32::MAX)),
        };
        let (target, count) = (Arc::clone(&forwarder.target), Arc::clone(&forwarder.connections));
        let switch = Arc::clone(&forwarder.switch_after);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let number = count.fetch_add(1, Ordering::SeqCst);
                if number as u64 >= u64::from(switch.load(Ordering::SeqCst)) {
                    target.store(second, Ordering::SeqCst);
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", target.load(Ordering::SeqCst))) else { continue };
                for (mut from, mut to) in [
                    (client.try_clone().unwrap(), server.try_clone().unwrap()),
                    (server.try_clone().unwrap(), client.try_clone().unwrap()),
                ] {
                    std::thread::spawn(move || {
                        let mut buffer = [0; 8192];
                        while let Ok(length @ 1..) = from.read(&mut buffer) {
                            if to.write_all(&buffer[..length]).is_err() {
                                break;
                            }
                        }
                        to.shutdown(Shutdown::Both).ok();
                        from.shutdown(Shutdown::Both).ok();
                    });
                }
            }
        });
        forwarder
    }

    fn url(&self, cluster: &TestCluster) -> String {
        cluster.url("postgres").replace(&format!(":{}/", cluster.port()), &format!(":{}/", self.port))
    }
}

#[test]
fn rehearse_never_on_production_behind_another_name() {
    let production = Production::new(Version::V15);
    let cluster = production.scene.cluster();
    let forwarder = Forwarder::new(cluster.port(), cluster.port());
    production.shadow_on(&forwarder.url(cluster));
    production.refuses("is production's own server", &[]);
}

/// A name that leads to the shadow's server when it is looked at and to production's afterwards, at every moment.
#[test]
fn rehearse_never_on_a_name_that_leads_to_production_later() {
    let production = Production::new(Version::V15);
    let cluster = production.scene.cluster();
    let shadow = shadow_server(Version::V15);
    // The same password there: nothing but our own checks may stand in the way.
    shadow.sql("postgres", &format!("ALTER ROLE admin PASSWORD '{}'", cluster.password()));
    let forwarder = Forwarder::new(shadow.port(), cluster.port());
    let url = forwarder.url(cluster);
    production.shadow_on(&url);
    let whole = production.rehearse();
    assert_eq!(whole.status, 0, "{}{}", whole.stdout, whole.stderr);
    let connections = forwarder.connections.load(Ordering::SeqCst);
    assert!(connections > 10, "{connections}");

    let mut refused = 0;
    let before = production.state();
    let step = if crate::support::is_long() { 1 } else { connections / 6 };
    for switch in (1..connections).step_by(step) {
        let begun = forwarder.connections.load(Ordering::SeqCst);
        forwarder.target.store(shadow.port(), Ordering::SeqCst);
        forwarder.switch_after.store((begun + switch) as u32, Ordering::SeqCst);
        let output = production.rehearse();
        forwarder.switch_after.store(u32::MAX, Ordering::SeqCst);
        forwarder.target.store(shadow.port(), Ordering::SeqCst);
        refused += usize::from(output.status != 0);
        assert!(matches!(output.status, 0 | 1 | 3), "{}{}", output.stdout, output.stderr);
        assert_eq!(
            production.state(),
            before,
            "switched after connection {switch}: {}{}",
            output.stdout,
            output.stderr
        );
    }
    assert!(refused > 3, "{refused}");
    // What could not be removed then goes with the next rehearsal.
    assert_eq!(production.rehearse().status, 0);
    assert_eq!(ours(&shadow), "");
}

#[test]
fn rehearse_on_a_shared_server_leaves_roles_and_the_cluster_alone() {
    let production = Production::new(Version::V15);
    let shadow = shadow_server(Version::V15);
    production.shadow_on(&shadow.url("postgres"));
    for (statement, words) in [
        ("CREATE ROLE other", "CREATE ROLE"),
        ("ALTER ROLE app CONNECTION LIMIT 0", "ALTER ROLE"),
        ("DO $$BEGIN EXECUTE 'DROP ROLE ' || 'app'; END$$", "DROP ROLE"),
        ("GRANT app TO admin", "GRANT or REVOKE of a role"),
        ("ALTER DATABASE postgres SET work_mem = '1MB'", "ALTER DATABASE"),
        ("ALTER SYSTEM SET work_mem = '1MB'", "ALTER SYSTEM"),
        ("CREATE TABLESPACE t LOCATION '/tmp'", "CREATE TABLESPACE"),
        ("COPY dish TO PROGRAM 'cat'", "COPY with PROGRAM"),
        ("CREATE SUBSCRIPTION s CONNECTION 'dbname=x' PUBLICATION p", "CREATE SUBSCRIPTION"),
    ] {
        let text = format!("-- transaction:false\n-- migrate:up\n{statement};\n-- migrate:down\nSELECT 1;\n");
        production.scene.project.write_migration(
            "kitchen",
            "0001_marker",
            &text.replacen("-- transaction:false\n", "", 1),
        );
        let before = state(&shadow, "postgres");
        let output = production.rehearse();
        let text = format!("{}{}", output.stdout, output.stderr);
        assert_eq!(output.status, 3, "{statement}: {text}");
        assert!(text.contains("not rehearsed") && text.contains(words), "{statement}: {text}");
        let dumps = |text: &str| text.split_once("\n--\n").unwrap().1.to_owned();
        assert_eq!(dumps(&state(&shadow, "postgres")), dumps(&before), "{statement}");
    }
    // Put together at run time, so that no text shows it: the role has no right to it.
    let hidden = "-- migrate:up\nDO $$BEGIN EXECUTE 'ALTER RO' || 'LE admin CONNECTION LIMIT 0'; END$$;\n";
    production.scene.project.write_migration("kitchen", "0001_marker", hidden);
    let output = production.rehearse();
    assert_eq!(output.status, 3, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("42501"), "{}{}", output.stdout, output.stderr);
    let limit = "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'admin'";
    assert_eq!(shadow.query("postgres", limit), "-1");

    // A role that has the right is refused before anything is made.
    for (option, words) in [("SUPERUSER", "is a superuser there"), ("NOSUPERUSER CREATEROLE", "CREATEROLE")] {
        shadow.sql("postgres", &format!("ALTER ROLE {ROLE} {option}"));
        production.refuses(words, &[&shadow]);
    }
    shadow.sql("postgres", &format!("DROP ROLE {ROLE}"));
    production.refuses("roles are never made on a shared server: app", &[&shadow]);
    assert_eq!(ours(&shadow), "");
}

#[test]
fn rehearse_removes_the_shadow_of_a_killed_rehearsal_only_when_its_owner_is_gone() {
    let production = Production::new(Version::V15);
    let shadow = shadow_server(Version::V15);
    production.shadow_on(&shadow.url("postgres"));
    // One that lives, and one that is killed.
    let slow = "-- migrate:up\nSELECT pg_sleep(60);\n";
    production.scene.project.write_migration("kitchen", "0001_marker", slow);
    let start = || {
        let mut command = production.scene.project.command(&["rehearse", "--snapshot", &production.snapshot]);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        command.spawn().unwrap()
    };
    let running = |number: &str| {
        // Not by the word alone: a session that asked this a moment ago may still be seen with its question.
        let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'";
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while shadow.query("postgres", sleeping) != number {
            assert!(std::time::Instant::now() < deadline, "no {number} rehearsals: {}", ours(&shadow));
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    };
    let mut living = start();
    running("1");
    let mut killed = start();
    running("2");
    assert_eq!(ours(&shadow).lines().count(), 4, "{}", ours(&shadow));
    killed.kill().unwrap();
    killed.wait().unwrap();
    // The server notices within two seconds, in the middle of a statement too.
    running("1");
    production.scene.project.write_migration("kitchen", "0001_marker", MIGRATION);
    let output = production.rehearse();
    assert_eq!(output.status, 0, "{}{}", output.stdout, output.stderr);
    assert_eq!(ours(&shadow).lines().count(), 2, "{}", ours(&shadow));
    // Asked to stop, it removes its own.
    let pid = rustix::process::Pid::from_raw(living.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(living.wait().unwrap().code(), Some(130));
    assert_eq!(ours(&shadow), "");
}
