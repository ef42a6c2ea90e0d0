//! Why a private cluster did not start.

use crate::postgres::{ConnectionError, ProgramError};
use std::path::PathBuf;
use std::process::ExitStatus;

/// Why a private cluster did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// A program of the server is missing.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// PostgreSQL refuses to run as root, and there is no user to run it as.
    #[error("PostgreSQL does not run as root, and this machine has no user `{user}` to run it as")]
    NoSuchUser {
        /// The user that is missing.
        user: String,
    },
    /// Only root can run programs as another user.
    #[error("the private server cannot run as `{user}`: this process is not root")]
    CannotSwitchUser {
        /// The user that was asked for.
        user: String,
    },
    /// The user that runs the server may not reach its programs or its directory.
    #[error("user `{user}`, who runs the private server, may not reach {}", path.display())]
    NotReachable {
        /// The user.
        user: String,
        /// The directory of the programs, or that of the cluster.
        path: PathBuf,
    },
    /// The path of the Unix socket would be too long for the operating system.
    #[error("the path {} is too long for a Unix socket: {length} bytes of at most {limit}", path.display())]
    SocketPathTooLong {
        /// The path of the socket.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
        /// What the operating system allows, in bytes.
        limit: usize,
    },
    /// A file or directory could not be made, changed or removed.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// `create`, `write`, `remove`, …
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A program could not be started.
    #[error("cannot run {}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `initdb` failed.
    #[error("initdb failed ({status}):\n{output}")]
    Initdb {
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said.
        output: String,
    },
    /// The server ended while it started.
    #[error("the private server ended while it started ({status}); the end of its log:\n{log}")]
    Exited {
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// The server took too long to accept a connection.
    #[error("the private server did not accept a connection within {seconds} s; the end of its log:\n{log}")]
    NotReady {
        /// How long was waited.
        seconds: u64,
        /// The end of its log.
        log: String,
        /// What the last attempt said.
        source: ConnectionError,
    },
    /// It did not end as a server does whose files are complete.
    #[error("the private server did not shut down cleanly ({state})")]
    NotCleanlyStopped {
        /// What `pg_controldata` says.
        state: String,
    },
    /// A setting's name is not one.
    #[error("`{name}` is not the name of a server setting")]
    InvalidSetting {
        /// The name.
        name: String,
    },
}

impl ClusterError {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Program(error) => return Some(error.hint()),
            Self::NoSuchUser { .. } => {
                "create that user (useradd --system postgres), or run safe-migrate as a user other than root"
            }
            Self::CannotSwitchUser { .. } => "leave the user out: the server then runs as the user of this process",
            Self::NotReachable { .. } => "use programs and a [shadow] dir that every user may read and enter",
            Self::SocketPathTooLong { .. } => "name a directory with a shorter path in [shadow] dir",
            Self::Io { .. } => "check the space and the permissions of [shadow] dir",
            Self::Spawn { .. } => "check the installation of PostgreSQL's server programs",
            Self::Initdb { .. } | Self::Exited { .. } => {
                "see the lines above; often the disk or the shared memory is full"
            }
            Self::NotCleanlyStopped { .. } => "the machine may be overloaded; `--no-cache` goes without stopping it",
            Self::NotReady { .. } => "the machine may be overloaded; try again",
            Self::InvalidSetting { .. } => return None,
        };
        Some(text.to_owned())
    }
}
