//! The programs of a private cluster: `initdb`, and `postgres` as a child of ours.

use super::account::Accounts;
use super::below;
use super::confinement::{self, Confinement};
use super::{ClusterError, data_directory, process};
use crate::postgres::system_user::SystemUser;
use crate::postgres::{ConnectionSpec, Programs};
use rustix::process::Signal;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// A clean shutdown writes out everything that is in memory.
const CLEAN_STOP_TIMEOUT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);
const LOG_LINES: usize = 20;
const LOG: &str = "server.log";

/// Data that is thrown away needs no durability; the load needs room before a checkpoint.
const DEFAULTS: [(&str, &str); 15] = [
    ("listen_addresses", ""),
    ("port", "5432"),
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("max_wal_size", "4GB"),
    ("checkpoint_timeout", "1h"),
    ("autovacuum", "off"),
    ("shared_buffers", "128MB"),
    // /dev/shm is everybody's; production's servers have theirs there.
    ("dynamic_shared_memory_type", "mmap"),
    ("max_locks_per_transaction", "1024"),
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
];

/// What is needed to run the server of one directory.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) programs: Programs,
    pub(super) accounts: Option<Accounts>,
    pub(super) dir: PathBuf,
    child: Option<Child>,
    confinement: Confinement,
}

impl Server {
    pub(super) fn new(programs: Programs, accounts: Option<Accounts>, dir: PathBuf, confine: bool) -> Self {
        let confinement = match confine {
            true => confinement::detect(&programs, accounts.as_ref(), &dir),
            false => Confinement::Open { why: "it was not asked for".to_owned() },
        };
        Self { programs, accounts, dir, child: None, confinement }
    }

    /// Whether it can reach out.
    pub(super) fn confinement(&self) -> &Confinement {
        &self.confinement
    }

    /// Makes the data directory.
    pub(super) async fn init(&self, superuser: &str) -> Result<(), ClusterError> {
        self.check_reachable().await?;
        let mut command = self.command("initdb");
        command.args(["--no-sync", "--auth=trust", "--encoding=UTF8", "--no-locale"]);
        command.arg("--username").arg(superuser).arg("--pgdata").arg(data_directory(&self.dir));
        let output = run(command).await.map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => self.not_reachable(&self.dir),
            _ => ClusterError::Spawn { program: self.programs.dir().join("initdb"), source },
        })?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        Err(ClusterError::Initdb { status: output.status, output: tail(&text) })
    }

    fn runner(&self) -> Option<&SystemUser> {
        self.accounts.as_ref().map(|accounts| &accounts.runner)
    }

    /// A user who may not enter the directory of the programs would see a message about something else.
    async fn check_reachable(&self) -> Result<(), ClusterError> {
        let mut command = self.command("initdb");
        command.arg("--version").current_dir("/");
        match run(command).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(self.not_reachable(self.programs.dir()))
            }
            Err(source) => Err(ClusterError::Spawn { program: self.programs.dir().join("initdb"), source }),
        }
    }

    fn not_reachable(&self, path: &Path) -> ClusterError {
        let user = self.accounts.as_ref();
        let user = user.map_or_else(|| "of this process".to_owned(), |accounts| accounts.maker.name.clone());
        ClusterError::NotReachable { user, path: path.to_owned() }
    }

    /// Appends settings; later ones win. `unix_socket_directories` always stays our own directory.
    pub(super) fn configure(&self, settings: &[(String, String)], first: bool) -> Result<(), ClusterError> {
        let mut text = String::from("\n");
        let defaults = DEFAULTS.iter().filter(|_| first).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let socket = ("unix_socket_directories".to_owned(), self.dir.display().to_string());
        for (name, value) in defaults.chain(settings.iter().cloned()).chain([socket]) {
            text.push_str(&setting_line(&name, &value)?);
        }
        let path = data_directory(&self.dir).join("postgresql.conf");
        below::append(&self.dir, "data/postgresql.conf")
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|source| ClusterError::Io { what: "write", path, source })
    }

    /// Starts the server and waits until it accepts a connection.
    pub(super) async fn launch(&mut self, spec: &ConnectionSpec) -> Result<(), ClusterError> {
        let file = below::append(&self.dir, LOG);
        let file = file.map_err(|source| ClusterError::Io { what: "create", path: self.dir.join(LOG), source })?;
        let copy = |file: &File| file.try_clone().map_or_else(|_| Stdio::null(), Stdio::from);
        let mut command = self.server_command();
        command.arg("-D").arg(data_directory(&self.dir)).stdout(copy(&file)).stderr(file);
        // Ctrl-C at the terminal goes to a whole process group; when to stop is decided here.
        command.process_group(0);
        let program = self.programs.dir().join("postgres");
        self.child = Some(command.spawn().map_err(|source| ClusterError::Spawn { program, source })?);
        self.wait_until_ready(spec).await
    }

    async fn wait_until_ready(&mut self, spec: &ConnectionSpec) -> Result<(), ClusterError> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.exit_status() {
                return Err(ClusterError::Exited { status, log: self.log_tail() });
            }
            match spec.connect("safe-migrate").await {
                Ok(session) => {
                    session.close().await;
                    return Ok(());
                }
                Err(source) if begun.elapsed() > START_TIMEOUT => {
                    let seconds = START_TIMEOUT.as_secs();
                    return Err(ClusterError::NotReady { seconds, log: self.log_tail(), source });
                }
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Shuts down cleanly, keeping the data, for a restart.
    pub(super) async fn stop_cleanly(&mut self) {
        self.signal(Signal::INT);
        let begun = Instant::now();
        while self.is_running() && begun.elapsed() < CLEAN_STOP_TIMEOUT {
            tokio::time::sleep(POLL).await;
        }
        self.stop_now();
    }

    /// Ends the server at once; its data is thrown away. Blocks for as long as that takes.
    ///
    /// SIGQUIT before SIGKILL: killed, the server would leave shared memory behind.
    pub(super) fn stop_now(&mut self) {
        self.signal(Signal::QUIT);
        let begun = Instant::now();
        while self.is_running() && begun.elapsed() < STOP_TIMEOUT {
            std::thread::sleep(POLL);
        }
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// The process number of the server, while it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Signals the server unless its end was seen: then its number may be another's.
    fn signal(&mut self, signal: Signal) {
        if self.is_running()
            && let Some(pid) = self.pid()
        {
            process::signal(pid, signal);
        }
    }

    fn is_running(&mut self) -> bool {
        self.child.is_some() && self.exit_status().is_none()
    }

    fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().ok().flatten())
    }

    /// The server itself: confined where that is possible, and with nothing of ours for libpq to use in any case.
    fn server_command(&self) -> Command {
        let wrapped = match &self.confinement {
            Confinement::Confined(walls) => confinement::wrap(walls, &self.programs, self.runner(), &self.dir),
            Confinement::Open { .. } => None,
        };
        let mut command = match wrapped {
            Some(mut command) => {
                command.current_dir(&self.dir).stdin(Stdio::null()).arg(self.programs.dir().join("postgres"));
                command
            }
            None => self.command_as(self.runner(), "postgres"),
        };
        if let Some(account) = self.runner() {
            command.env("USER", &account.name);
        }
        confinement::libpq_goes_nowhere(&mut command, &self.dir);
        command
    }

    /// A program as the one that makes the files.
    fn command(&self, program: &str) -> Command {
        self.command_as(self.accounts.as_ref().map(|accounts| &accounts.maker), program)
    }

    fn command_as(&self, account: Option<&SystemUser>, program: &str) -> Command {
        let mut command = self.programs.command(program).into_std();
        command.current_dir(&self.dir);
        if let Some(account) = account {
            command.uid(account.uid).gid(account.gid).env("USER", &account.name).env("HOME", &self.dir);
        }
        command
    }

    fn log_tail(&self) -> String {
        tail(&below::read(&self.dir, LOG).unwrap_or_default())
    }
}

async fn run(command: Command) -> io::Result<std::process::Output> {
    tokio::process::Command::from(command).kill_on_drop(true).output().await
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

/// One line of `postgresql.conf`; in quotes a backslash begins an escape there.
fn setting_line(name: &str, value: &str) -> Result<String, ClusterError> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$');
    if name.is_empty() || !name.bytes().all(letter) {
        return Err(ClusterError::InvalidSetting { name: name.to_owned() });
    }
    let quoted = value.replace('\\', "\\\\").replace('\'', "''").replace('\n', "\\n");
    Ok(format!("{name} = '{quoted}'\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_quoted() {
        assert_eq!(setting_line("a.b", r"it's \ x").unwrap(), "a.b = 'it''s \\\\ x'\n");
        assert!(setting_line("a = 1\nb", "x").is_err());
    }
}
