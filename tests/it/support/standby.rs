//! A physical standby of a test server.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::cluster::{TestCluster, free_port};
use super::programs::{ServerUser, clean_command, output_of};
use super::watchdog::Watchdog;

/// A running standby; it and its files go with the handle.
#[derive(Debug)]
pub struct Standby {
    directory: PathBuf,
    bin_dir: PathBuf,
    user: ServerUser,
    port: u16,
    server: Vec<Child>,
    watchdog: Watchdog,
}

impl Standby {
    /// Copies the server with `pg_basebackup` and follows it.
    pub fn of(primary: &TestCluster) -> Standby {
        let directory = tempfile::Builder::new().prefix("test-standby-").tempdir().expect("a directory").keep();
        let watchdog = Watchdog::new(&directory, "QUIT");
        let user = ServerUser::find(&directory);
        user.give(&directory);
        let (bin_dir, data, port) = (primary.bin_dir().to_owned(), directory.join("data"), free_port());
        output_of(
            user.command(bin_dir.join("pg_basebackup"))
                .args(["-d", &primary.socket_url("postgres"), "-R", "-X", "stream", "-c", "fast", "-D"])
                .arg(&data)
                .current_dir(&directory),
        );
        let mut standby = Standby { directory, bin_dir, user, port, server: Vec::new(), watchdog };
        standby.spawn();
        standby
    }

    fn spawn(&mut self) {
        let (directory, port) = (&self.directory, self.port);
        let mut command = self.user.command(self.bin_dir.join("postgres"));
        command.arg("-D").arg(directory.join("data")).args([
            "-p",
            &port.to_string(),
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
        ]);
        command.arg(format!("unix_socket_directories={}", directory.display()));
        // A standby must have room for what its primary allows.
        command.args(["-c", "max_connections=100", "-c", "max_prepared_transactions=10", "-c", "wal_level=logical"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir(directory);
        let child = command.spawn().expect("the standby starts");
        self.watchdog.watch(&child);
        self.server.push(child);
        let mut ready = clean_command(self.bin_dir.join("pg_isready"));
        ready.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !ready.status().expect("pg_isready").success() {
            assert!(Instant::now() < deadline, "the standby is not ready after 60 s");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The address of a database, as the superuser of the primary.
    pub fn url(&self, primary: &TestCluster, database: &str) -> String {
        primary.url(database).replace(&format!(":{}/", primary.port()), &format!(":{}/", self.port))
    }

    /// Ends the server; its data stays.
    pub fn stop(&mut self) {
        let mut command = self.user.command(self.bin_dir.join("pg_ctl"));
        let data = self.directory.join("data");
        output_of(command.args(["stop", "-w", "-m", "immediate", "-D"]).arg(data).current_dir(&self.directory));
        for mut server in self.server.drain(..) {
            server.wait().expect("our own child");
        }
    }

    /// Starts it again after [`stop`](Standby::stop).
    pub fn start_again(&mut self) {
        self.spawn();
    }

    /// Makes a primary of it.
    pub fn promote(&self) {
        let mut command = self.user.command(self.bin_dir.join("pg_ctl"));
        output_of(command.args(["promote", "-w", "-D"]).arg(self.directory.join("data")).current_dir(&self.directory));
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        self.watchdog.clean_up(&mut self.server);
    }
}
