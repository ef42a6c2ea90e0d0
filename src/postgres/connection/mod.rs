//! Connections: one parser for everything libpq takes, serving the client library and the `pg_*` programs.

mod address;
mod connect;
mod conninfo;
mod database_error;
mod endpoint;
mod environment;
mod error;
mod keyword;
mod passfile;
mod password;
mod program_environment;
mod resolve;
mod search_path;
mod service_file;
mod session;
#[cfg(test)]
mod tests;
mod tls;

pub use database_error::{DatabaseError, describe};
pub use endpoint::{Endpoint, PLACEHOLDERS};
pub use environment::Environment;
pub use error::ConnectionError;
pub use search_path::{MigratingSession, SET_OURS, SET_OURS_LOCALLY};
pub use session::{Canceller, Notice, Session};

use passfile::Passfile;
use password::PasswordCommand;
use secrecy::SecretString;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tls::TlsSettings;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A host name or IP address.
    Tcp(String),
    /// The directory of a Unix socket.
    Unix(PathBuf),
}

/// Everything needed to connect, from a connection string, a service file, `PG*` variables and defaults.
#[derive(Clone)]
pub struct ConnectionSpec {
    host: Host,
    hostaddr: Option<IpAddr>,
    port: u16,
    database: String,
    user: String,
    password: Option<SecretString>,
    passfile: Arc<Passfile>,
    passfile_path: Option<PathBuf>,
    password_command: Option<PasswordCommand>,
    tls: TlsSettings,
    options: Option<String>,
    /// `None`: wait without end.
    connect_timeout: Option<Duration>,
    channel_binding: ChannelBinding,
    session_attributes: SessionAttributes,
    keepalive: Keepalive,
    notes: Vec<String>,
}

/// `channel_binding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

/// `target_session_attrs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SessionAttributes {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
}

/// TCP keepalive: `keepalives*` and `tcp_user_timeout`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Keepalive {
    enabled: bool,
    idle: Duration,
    interval: Duration,
    count: u32,
    user_timeout: Option<Duration>,
}

impl ConnectionSpec {
    /// Reads a URL or keyword string (`None`: only what the environment says).
    ///
    /// A setting comes from the string, else from the service it or `PGSERVICE` names, else from the `PG*` variables,
    /// else from a default.
    pub fn parse(conninfo_or_url: Option<&str>, environment: &Environment) -> Result<Self, ConnectionError> {
        let mut parameters = match conninfo_or_url {
            Some(text) => conninfo::parse(text)?,
            None => keyword::Parameters::default(),
        };
        if let Some(service) = parameters.get("service").or_else(|| environment.get("PGSERVICE")) {
            let service = service_file::read(service, environment)?;
            parameters.fill_from(service);
        }
        parameters.fill_from(keyword::Parameters::from_environment(environment)?);
        resolve::resolve(&parameters, environment)
    }

    /// The connection to a server of ours that trusts its socket directory.
    pub(crate) fn for_socket(directory: &Path, port: u16, user: &str, database: &str) -> Self {
        resolve::for_socket(directory, port, user, database)
    }

    /// The database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The database as a connection string of its own: the programs of PostgreSQL take a name with an equals sign in it for
    /// a connection string, and a name may come from a snapshot.
    pub fn database_as_conninfo(&self) -> String {
        format!("dbname='{}'", self.database().replace('\\', "\\\\").replace('\'', "\\'"))
    }

    /// The role that logs in.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Where the server listens.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, also part of the name of a Unix socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the operator should know about how the settings were found, such as a password file that was ignored.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether the server is on this machine, as far as its address tells.
    pub fn is_local(&self) -> bool {
        let loopback = |text: &str| text.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        match (&self.host, self.hostaddr) {
            (Host::Unix(_), _) => true,
            (_, Some(address)) => address.is_loopback(),
            (Host::Tcp(name), None) => name.eq_ignore_ascii_case("localhost") || loopback(name),
        }
    }

    /// The same connection to another database.
    #[must_use]
    pub fn with_database(&self, database: &str) -> Self {
        Self { database: database.to_owned(), ..self.clone() }
    }

    /// The same connection as another role; a password that was given for the first one is not sent for the other.
    #[must_use]
    pub fn with_user(&self, user: &str) -> Self {
        let same = user == self.user;
        Self {
            user: user.to_owned(),
            password: self.password.clone().filter(|_| same),
            password_command: self.password_command.clone().filter(|_| same),
            ..self.clone()
        }
    }

    /// The same connection as a role that logs in with this password.
    #[must_use]
    pub fn with_login(&self, user: &str, password: SecretString) -> Self {
        Self { password: Some(password), password_command: None, ..self.with_user(user) }
    }

    /// The same connection with another port.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        Self { port, ..self.clone() }
    }

    /// The same connection with a server setting for the session (`-c name=value`).
    #[must_use]
    pub fn with_setting(&self, name: &str, value: &str) -> Self {
        let escaped = format!("{name}={value}").replace('\\', "\\\\").replace(' ', "\\ ");
        let options = self.options.as_deref().map_or_else(String::new, |options| format!("{options} "));
        Self { options: Some(format!("{options}-c {escaped}")), ..self.clone() }
    }

    /// The same connection, given up when sent data stays unacknowledged this long (Linux `TCP_USER_TIMEOUT`).
    ///
    /// Not for sessions that stream much data: a server that is only busy and stops reading for that long is cut off.
    #[must_use]
    pub fn with_tcp_user_timeout(&self, timeout: Duration) -> Self {
        let keepalive = Keepalive { user_timeout: Some(timeout), ..self.keepalive.clone() };
        Self { keepalive, ..self.clone() }
    }

    /// The same connection, whose password a shell command prints as its first line, anew for each connection.
    #[must_use]
    pub fn with_password_command(&self, command: &str) -> Self {
        Self { password_command: Some(PasswordCommand::new(command)), ..self.clone() }
    }

    /// `postgres://user@host:port/database`, for messages; never with a password.
    pub fn display(&self) -> String {
        let host = match &self.host {
            Host::Unix(directory) => directory.display().to_string(),
            Host::Tcp(host) if host.contains(':') => format!("[{host}]"),
            Host::Tcp(host) => host.clone(),
        };
        format!("postgres://{}@{host}:{}/{}", self.user, self.port, self.database)
    }
}

/// Only what [`ConnectionSpec::display`] shows.
impl fmt::Debug for ConnectionSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ConnectionSpec({})", self.display())
    }
}

impl fmt::Display for ConnectionSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.display())
    }
}
