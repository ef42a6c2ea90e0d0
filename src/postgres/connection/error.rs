//! Why a connection could not be made, by meaning; no variant holds a secret.

use super::DatabaseError;
use std::path::PathBuf;

/// Why there is no connection. `target` is `postgres://user@host:port/database`, never with a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The connection string cannot be read; it is not repeated because it may hold a password.
    #[error("the connection string cannot be read: {reason}")]
    MalformedString {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// libpq knows no such keyword.
    #[error("unknown connection keyword `{keyword}`")]
    UnknownKeyword {
        /// The keyword.
        keyword: String,
    },
    /// A keyword's value cannot be used; the value is not repeated.
    #[error("connection keyword `{keyword}`: {reason}")]
    InvalidParameter {
        /// The keyword.
        keyword: &'static str,
        /// What is expected instead.
        reason: String,
    },
    /// More than one host is named.
    #[error("the connection names several hosts; a migration needs to know the one it changes")]
    MultipleHosts,
    /// No service file has that service.
    #[error("connection service `{service}` is in none of: {}", list(looked_in))]
    ServiceNotFound {
        /// The name of the service.
        service: String,
        /// The files that were looked at, in order.
        looked_in: Vec<PathBuf>,
    },
    /// A line of a service file cannot be used.
    #[error("{}, line {line}: {reason}", path.display())]
    ServiceFile {
        /// The file.
        path: PathBuf,
        /// 1-based.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A file that the connection needs cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A certificate or key file does not hold what it should.
    #[error("{}: {reason}", path.display())]
    CertificateFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// `password_command` gave no password; its output is never shown.
    #[error("password_command failed: {reason}")]
    PasswordCommand {
        /// What happened.
        reason: String,
    },
    /// Nothing answers there.
    #[error("cannot reach {target}")]
    Unreachable {
        /// Where.
        target: String,
        /// Why.
        source: std::io::Error,
    },
    /// The server took longer than `connect_timeout`.
    #[error("{target} did not answer within {seconds} s")]
    Timeout {
        /// Where.
        target: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The login went well, and then nothing came for twice the `connect_timeout`.
    #[error("{target} took the login, and did not answer the first query within {seconds} s")]
    Silent {
        /// Where.
        target: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The server wants a password and none is known.
    #[error("{target} asks for a password, and none is given")]
    PasswordMissing {
        /// Where.
        target: String,
    },
    /// Wrong password, no such role, or no line in `pg_hba.conf` (28P01, 28000).
    #[error("{target} refused the login: {message}")]
    LoginRefused {
        /// Where.
        target: String,
        /// 28P01 or 28000.
        sqlstate: String,
        /// The server's message.
        message: String,
    },
    /// The server has no such database (3D000).
    #[error("{target}: database \"{database}\" does not exist")]
    DatabaseMissing {
        /// Where.
        target: String,
        /// Its name.
        database: String,
    },
    /// The database takes no connections, or not from this role (55000, 42501).
    #[error("{target} does not take this connection: {message}")]
    NotAllowed {
        /// Where.
        target: String,
        /// The server's message.
        message: String,
    },
    /// The server, database or role has no connection left (53300).
    #[error("{target} has too many connections: {message}")]
    TooManyConnections {
        /// Where.
        target: String,
        /// The server's message.
        message: String,
    },
    /// The server is starting, stopping or recovering (57P01 to 57P03).
    #[error("{target} is not ready: {message}")]
    NotReady {
        /// Where.
        target: String,
        /// The server's message.
        message: String,
    },
    /// `sslmode` demands TLS and the server offers none.
    #[error("{target} offers no TLS, and sslmode demands it")]
    TlsUnavailable {
        /// Where.
        target: String,
    },
    /// The server's certificate is not one that is trusted, or not for this host.
    #[error("the certificate of {target} is not trusted: {reason}")]
    CertificateNotTrusted {
        /// Where.
        target: String,
        /// What the check found.
        reason: String,
        /// Whether the chain is good and only the name is another.
        only_name: bool,
    },
    /// The TLS handshake failed for another reason.
    #[error("TLS with {target} failed: {reason}")]
    Tls {
        /// Where.
        target: String,
        /// What happened.
        reason: String,
    },
    /// `target_session_attrs` asks for another kind of server.
    #[error("{target} is not what target_session_attrs asks for: {reason}")]
    WrongKindOfServer {
        /// Where.
        target: String,
        /// What the server is.
        reason: String,
    },
    /// Authentication failed on our side: the method is not supported, or channel binding is missing.
    #[error("cannot log in to {target}: {reason}")]
    Authentication {
        /// Where.
        target: String,
        /// What happened.
        reason: String,
    },
    /// Anything else, with what the server said.
    #[error("{target}: the connection failed")]
    Other {
        /// Where.
        target: String,
        /// What the server or the client library said.
        source: DatabaseError,
    },
}

impl ConnectionError {
    /// Whether the configuration is at fault: nothing was sent to any server.
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::MalformedString { .. }
                | Self::UnknownKeyword { .. }
                | Self::InvalidParameter { .. }
                | Self::MultipleHosts
                | Self::ServiceNotFound { .. }
                | Self::ServiceFile { .. }
                | Self::File { .. }
                | Self::CertificateFile { .. }
                | Self::PasswordCommand { .. }
        )
    }

    /// What to do next, in one sentence.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::MalformedString { .. } => {
                "write postgres://user@host:port/database, with special characters as %XX, or keyword=value pairs"
            }
            Self::UnknownKeyword { .. } => {
                "connections take the keywords of libpq; a parameter of another library must be left out"
            }
            Self::InvalidParameter { .. } | Self::ServiceFile { .. } => {
                "the keywords are described in PostgreSQL's manual under \"Database Connection Control Functions\""
            }
            Self::MultipleHosts => "name the primary server alone",
            Self::ServiceNotFound { .. } => "check the name, PGSERVICE and PGSERVICEFILE",
            Self::File { .. } | Self::CertificateFile { .. } => "check the path and the permissions of the file",
            Self::PasswordCommand { .. } => {
                "run the command by hand: it must print the password as its first line and exit with 0"
            }
            Self::Unreachable { .. } => {
                "check host and port, that the server runs and that it listens on this address (listen_addresses, firewall)"
            }
            Self::Timeout { .. } => "check host, port and firewall; connect_timeout=SECONDS allows more time",
            Self::Silent { .. } => {
                "a connection pooler whose servers are all in use does that: give the address of the server itself, or allow more time with connect_timeout=SECONDS"
            }
            Self::PasswordMissing { .. } => "give it in PGPASSWORD, ~/.pgpass (mode 0600) or password_command",
            Self::LoginRefused { sqlstate, .. } if sqlstate == "28P01" => {
                "check the user and the password (PGPASSWORD, ~/.pgpass or password_command)"
            }
            Self::LoginRefused { .. } => {
                "check the role's name and the lines for this host, user and database in the server's pg_hba.conf"
            }
            Self::DatabaseMissing { .. } => "check the name; `psql -l` lists the databases of the server",
            Self::NotAllowed { .. } => "check ALLOW_CONNECTIONS of the database and the role's CONNECT privilege",
            Self::TooManyConnections { .. } => {
                "try again when sessions have ended, use fewer --jobs, or raise the limit that the message names"
            }
            Self::NotReady { .. } => "try again in a moment",
            Self::TlsUnavailable { .. } => {
                "turn on ssl on the server, or use sslmode=prefer where the network is trusted"
            }
            Self::CertificateNotTrusted { only_name: true, .. } => {
                "connect by a name that the certificate lists as a subjectAltName, or use sslmode=verify-ca"
            }
            Self::CertificateNotTrusted { .. } => "name the authority's certificate in sslrootcert",
            Self::Tls { .. } => "the server must speak TLS 1.2 or later with an X.509 version 3 certificate",
            Self::WrongKindOfServer { .. } => "name the primary server",
            Self::Authentication { .. } => {
                "use scram-sha-256, md5, password, peer, trust or certificate authentication for this role"
            }
            Self::Other { .. } if self.is_refused_option() => {
                "a connection pooler refuses the options of the connection: give the address of the server itself"
            }
            Self::Other { .. } => return None,
        })
    }

    /// Whether a pooler said that it does not pass a start-up option on (PgBouncer: `unsupported startup parameter`; RDS Proxy:
    /// `RDS Proxy currently doesn't support command-line options`).
    pub fn is_refused_option(&self) -> bool {
        let says_so = |text: &str| text.contains("startup parameter") || text.contains("command-line options");
        match self {
            Self::Other { source, .. } => says_so(&source.message),
            Self::NotAllowed { message, .. } => says_so(message),
            _ => false,
        }
    }

    /// Whether trying again later may help without any change.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Silent { .. }
            | Self::TooManyConnections { .. }
            | Self::NotReady { .. } => true,
            Self::Other { source, .. } => source.is_connection_lost(),
            _ => false,
        }
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
