//! Other people's sessions: writers, and those who hold locks while a snapshot is taken.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Scene, TestCluster};

/// A psql that stays open; it ends with the handle, and its server process with it.
#[derive(Debug)]
pub struct Backend<'a> {
    cluster: &'a TestCluster,
    name: String,
    child: Child,
    input: Option<ChildStdin>,
}

impl<'a> Backend<'a> {
    /// A session in this database that calls itself `name`.
    pub fn open(cluster: &'a TestCluster, database: &str, name: &str) -> Backend<'a> {
        let mut psql = cluster.program("psql");
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &cluster.socket_url(database)]).env("PGAPPNAME", name);
        psql.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = psql.spawn().expect("psql lies beside postgres");
        let input = child.stdin.take();
        Backend { cluster, name: name.to_owned(), child, input }
    }

    /// Sends statements; does not wait for them.
    pub fn send(&mut self, sql: &str) {
        let input = self.input.as_mut().expect("open until it is dropped");
        writeln!(input, "{sql}").and_then(|()| input.flush()).expect("psql listens");
    }
}

impl Drop for Backend<'_> {
    fn drop(&mut self) {
        let end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = ";
        let ended = self.cluster.try_sql("postgres", &format!("{end}'{}'", self.name));
        drop(self.input.take());
        let waited = self.child.wait();
        assert!(std::thread::panicking() || (ended.is_ok() && waited.is_ok()), "{ended:?} {waited:?}");
    }
}

/// Waits until a query of the server's views answers `t`.
#[track_caller]
pub fn wait_until(cluster: &TestCluster, condition: &str) {
    wait_until_in(cluster, "postgres", condition);
}

/// The same, asked in a database.
#[track_caller]
pub fn wait_until_in(cluster: &TestCluster, database: &str, condition: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while cluster.query(database, &format!("SELECT {condition}")) != "t" {
        assert!(Instant::now() < deadline, "not so within 30 s: {condition}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Condition: a session of this name holds (or waits for) a lock of this mode in the database.
pub fn has_lock(scene: &Scene, session: &str, mode: &str, granted: bool) -> String {
    format!(
        "EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.application_name LIKE '{session}'
                 AND a.datname = '{}' AND l.locktype = 'relation' AND l.mode = '{mode}Lock' AND l.granted = {granted})",
        scene.database.name()
    )
}

/// A run of the binary that goes on while the test does other things.
pub fn start(scene: &Scene, arguments: &[&str]) -> Child {
    let mut command: Command = scene.project.command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("cannot run the binary")
}

/// Waits for such a run: its exit status, stdout and stderr.
#[track_caller]
pub fn finish(child: Child) -> (i32, String, String) {
    let output = child.wait_with_output().expect("our own child");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the binary prints UTF-8");
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}
