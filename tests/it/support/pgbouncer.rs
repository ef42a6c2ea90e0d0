//! PgBouncer in front of a test server.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::cluster::{TestCluster, free_port};
use super::programs::{ServerUser, tool};
use super::watchdog::Watchdog;

/// When a server of the pool goes back to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMode {
    Session,
    Transaction,
    Statement,
}

/// A running PgBouncer; it and its files go with the handle.
#[derive(Debug)]
pub struct PgBouncer {
    port: u16,
    server_port: u16,
    process: Vec<Child>,
    watchdog: Watchdog,
}

impl PgBouncer {
    /// In front of all databases of the server, for this role (name and password), as installed: it refuses `options`.
    pub fn start(cluster: &TestCluster, mode: PoolMode, pool_size: u32, role: (&str, &str)) -> PgBouncer {
        PgBouncer::start_with(cluster, mode, pool_size, role, "")
    }

    /// The same, told to lose the `options` of a connection, as one is for clients that send some.
    pub fn start_losing_options(
        cluster: &TestCluster,
        mode: PoolMode,
        pool_size: u32,
        role: (&str, &str),
    ) -> PgBouncer {
        let lost = "ignore_startup_parameters = options,extra_float_digits";
        PgBouncer::start_with(cluster, mode, pool_size, role, lost)
    }

    fn start_with(
        cluster: &TestCluster,
        mode: PoolMode,
        pool_size: u32,
        (role, password): (&str, &str),
        more: &str,
    ) -> PgBouncer {
        let directory = tempfile::Builder::new().prefix("test-pgbouncer-").tempdir().expect("a directory").keep();
        let mut watchdog = Watchdog::new(&directory, "TERM");
        let user = ServerUser::find(&directory);
        user.give(&directory);
        let program = reachable(&tool("SAFE_MIGRATE_TEST_PGBOUNCER", "bin/pgbouncer"), user);
        let (port, server_port) = (free_port(), cluster.port());
        let pool_mode = format!("{mode:?}").to_lowercase();
        let configuration = format!(
            "[databases]\n* = host=127.0.0.1 port={server_port} user={role} password={password}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = plain\n\
             auth_file = {users}\npool_mode = {pool_mode}\ndefault_pool_size = {pool_size}\n{more}\n",
            users = directory.join("users").display()
        );
        for (name, text) in [("pgbouncer.ini", configuration), ("users", format!("\"{role}\" \"{password}\"\n"))] {
            let path = directory.join(name);
            std::fs::write(&path, text).expect("our own directory");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("our own file");
            user.give(&path);
        }
        let log = std::fs::File::create(directory.join("log")).expect("our own directory");
        let mut command = user.command(program);
        command.arg(directory.join("pgbouncer.ini")).current_dir(&directory);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut child = command.spawn().expect("PgBouncer starts");
        watchdog.watch(&child);
        wait_until_it_listens(port, &mut child, &directory);
        PgBouncer { port, server_port, process: vec![child], watchdog }
    }

    /// An address of the server, led through here.
    pub fn url(&self, direct: &str) -> String {
        direct.replace(&format!(":{}/", self.server_port), &format!(":{}/", self.port))
    }
}

/// Debian's lies where everybody may run it.
fn reachable(program: &Path, user: ServerUser) -> PathBuf {
    assert!(user.can_run(program), "{} cannot be run by the user of the test servers", program.display());
    program.to_owned()
}

fn wait_until_it_listens(port: u16, child: &mut Child, directory: &Path) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let log = || std::fs::read_to_string(directory.join("log")).unwrap_or_default();
        assert!(child.try_wait().expect("our own child").is_none(), "PgBouncer ended:\n{}", log());
        assert!(Instant::now() < deadline, "PgBouncer does not listen after 60 s:\n{}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.watchdog.clean_up(&mut self.process);
    }
}
