//! A PostgreSQL server of our own for a rehearsal: in a temporary directory, reachable by its Unix socket only.
//!
//! It goes when it is stopped or dropped; a watchdog removes it when this process is killed; and what even that left
//! behind, the next run sweeps away.

mod account;
pub mod below;
mod confinement;
mod copied;
mod error;
mod orphan;
mod process;
mod server;
#[cfg(test)]
pub(crate) mod tests;
mod walls;
mod watchdog;
mod work_directory;

pub use confinement::{Confinement, Walls, words_that_confine};
pub use copied::StoppedCluster;
pub use error::ClusterError;
pub use walls::provide as provide_walls;
pub use work_directory::WorkDirectory;

use super::system_user::SystemUser;
use super::{ConnectionSpec, Programs};
use account::Accounts;
use server::Server;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use watchdog::Watchdog;

/// How the directories of private clusters begin.
const PREFIX: &str = "safe-migrate-shadow-";
const RANDOM_LETTERS: usize = 6;
const PORT: u16 = 5432;
/// Without the closing NUL: `sun_path` has 108 bytes on Linux and 104 on other systems.
const SOCKET_PATH_LIMIT: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// What a private cluster is made of.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The programs, of the major version to run.
    pub programs: Programs,
    /// The name of the bootstrap superuser.
    pub superuser: String,
    /// Where its directory is made.
    pub parent_dir: PathBuf,
    /// Server settings, over the defaults.
    pub settings: Vec<(String, String)>,
    /// The user of the operating system that runs it when this process is root; default `postgres`.
    pub run_as: Option<String>,
    /// Whether it is kept to itself, where the system lets it: no network, no other server's socket, no shell.
    pub confine: bool,
}

/// A running server of our own.
#[derive(Debug)]
pub struct PrivateCluster {
    server: Server,
    superuser: String,
    settings: Vec<(String, String)>,
    watchdog: Option<Watchdog>,
    removed: bool,
}

impl PrivateCluster {
    /// Makes a cluster with `initdb` and starts its server. Takes about two seconds; nothing is left when it fails.
    pub async fn start(options: ClusterOptions) -> Result<Self, ClusterError> {
        let mut cluster = Self::init(options).await?;
        cluster.start_first().await?;
        Ok(cluster)
    }

    /// Makes a cluster with `initdb`. Its server was never started, so its files make a template of empty clusters
    /// ([`PrivateCluster::stopped`]); [`PrivateCluster::start_first`] starts it.
    pub async fn init(options: ClusterOptions) -> Result<Self, ClusterError> {
        let cluster = Self::prepare(options)?;
        cluster.server.init(&cluster.superuser).await?;
        if let Some(accounts) = &cluster.server.accounts {
            hand_over(&cluster.server.dir, &accounts.runner)?;
        }
        Ok(cluster)
    }

    /// Starts the server, with its settings, on files as `initdb` makes them, or on a copy of such files.
    pub async fn start_first(&mut self) -> Result<(), ClusterError> {
        self.server.configure(&self.settings, true)?;
        self.launch("postgres").await
    }

    /// Makes its directory, watched; neither data nor a server yet.
    fn prepare(options: ClusterOptions) -> Result<Self, ClusterError> {
        options.programs.check_has_server()?;
        let accounts = account::choose(options.run_as.as_deref(), &options.programs)?;
        let dir = create_directory(&options.parent_dir)?;
        // Watched before anything else: finding out how it can be confined takes a while, in which we may be killed.
        let watchdog = match claim(&dir, accounts.as_ref(), options.programs.environment()) {
            Ok(watchdog) => Some(watchdog),
            Err(error) => {
                std::fs::remove_dir_all(&dir).ok();
                return Err(error);
            }
        };
        let server = Server::new(options.programs, accounts, dir, options.confine);
        // From here on dropping it cleans up.
        let ClusterOptions { superuser, settings, .. } = options;
        Ok(Self { server, superuser, settings, watchdog, removed: false })
    }

    /// Starts the server and waits until a connection to this database is accepted.
    async fn launch(&mut self, database: &str) -> Result<(), ClusterError> {
        let spec = self.spec(database);
        self.server.launch(&spec).await
    }

    /// The connection to one of its databases, as the bootstrap superuser.
    pub fn spec(&self, database: &str) -> ConnectionSpec {
        ConnectionSpec::for_socket(&self.server.dir, PORT, &self.superuser, database)
    }

    /// The programs it runs.
    pub fn programs(&self) -> &Programs {
        &self.server.programs
    }

    /// Its directory, with the socket, the data and the log.
    pub fn dir(&self) -> &Path {
        &self.server.dir
    }

    /// The process number of its server, while it runs.
    pub fn server_pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Whether the server can reach out of this machine, or to another server on it.
    pub fn confinement(&self) -> &Confinement {
        self.server.confinement()
    }

    /// Restarts the server with further settings; the data stays, every session ends.
    pub async fn restart_with(&mut self, settings: &[(String, String)]) -> Result<(), ClusterError> {
        self.server.configure(settings, false)?;
        self.server.stop_cleanly().await;
        self.launch("postgres").await
    }

    /// Ends the server and removes its directory.
    pub async fn stop(self) -> Result<(), ClusterError> {
        let dir = self.server.dir.clone();
        let removed = tokio::task::spawn_blocking(move || {
            let mut cluster = self;
            cluster.remove()
        });
        let result = removed.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        result.map_err(|source| ClusterError::Io { what: "remove", path: dir, source })
    }

    /// Removes the clusters and [`WorkDirectory`]s in `parent_dir` whose owner is gone; gives their directories.
    ///
    /// Only directories with our name and an owner's file, owned by this user or the one that runs servers, are
    /// looked at; their servers are ended first.
    pub async fn sweep_orphans(parent_dir: &Path, run_as: Option<&str>) -> Result<Vec<PathBuf>, ClusterError> {
        let (parent, run_as) = (parent_dir.to_owned(), run_as.map(str::to_owned));
        let swept = tokio::task::spawn_blocking(move || {
            orphan::sweep(&parent, &[PREFIX, WorkDirectory::PREFIX], run_as.as_deref())
        })
        .await;
        swept.unwrap_or_else(|error| {
            let source = std::io::Error::other(error);
            Err(ClusterError::Io { what: "sweep", path: parent_dir.to_owned(), source })
        })
    }

    fn remove(&mut self) -> std::io::Result<()> {
        if self.removed {
            return Ok(());
        }
        self.removed = true;
        self.server.stop_now();
        let result = std::fs::remove_dir_all(&self.server.dir);
        if let Some(mut watchdog) = self.watchdog.take() {
            watchdog.dismiss();
        }
        result
    }
}

impl Drop for PrivateCluster {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::warn!(dir = %self.server.dir.display(), %error, "a private cluster was not removed");
        }
    }
}

/// The directory belongs to this process, is watched, and is used by whom makes its files.
fn claim(dir: &Path, accounts: Option<&Accounts>, environment: &[(String, String)]) -> Result<Watchdog, ClusterError> {
    orphan::write_owner(dir)?;
    let watchdog = Watchdog::start(dir, environment)?;
    if let Some(accounts) = accounts {
        let (user, group) = (Some(accounts.maker.uid), Some(accounts.maker.gid));
        std::os::unix::fs::chown(dir, user, group).map_err(|source| not_handed_over(dir, source))?;
    }
    Ok(watchdog)
}

fn hand_over(dir: &Path, runner: &SystemUser) -> Result<(), ClusterError> {
    account::hand_over(dir, runner).map_err(|source| not_handed_over(dir, source))
}

fn not_handed_over(dir: &Path, source: std::io::Error) -> ClusterError {
    ClusterError::Io { what: "hand over", path: dir.to_owned(), source }
}

fn data_directory(dir: &Path) -> PathBuf {
    dir.join("data")
}

/// Makes a directory that only this user may enter, with a path short enough for a socket.
fn create_directory(parent: &Path) -> Result<PathBuf, ClusterError> {
    let io = |what| move |source| ClusterError::Io { what, path: parent.to_owned(), source };
    // The server would not find a relative path from where it runs.
    let parent = std::path::absolute(parent).map_err(io("find"))?;
    let prefix = format!("{PREFIX}{}", orphan::owner_in_name());
    let longest = parent.join(format!("{prefix}{}", "x".repeat(RANDOM_LETTERS))).join(format!(".s.PGSQL.{PORT}"));
    let length = longest.as_os_str().as_bytes().len();
    if length > SOCKET_PATH_LIMIT {
        return Err(ClusterError::SocketPathTooLong { path: longest, length, limit: SOCKET_PATH_LIMIT });
    }
    tempfile::Builder::new()
        .prefix(&prefix)
        .rand_bytes(RANDOM_LETTERS)
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir_in(&parent)
        .map(tempfile::TempDir::keep)
        .map_err(|source| ClusterError::Io { what: "create a directory in", path: parent, source })
}
