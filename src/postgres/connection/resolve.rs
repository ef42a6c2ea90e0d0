//! From keywords to a connection: defaults, and what each value may be.

use super::keyword::{Parameters, check_gss};
use super::passfile::Passfile;
use super::password::SOCKET_DIRECTORIES;
use super::tls::TlsSettings;
use super::{ChannelBinding, ConnectionError, ConnectionSpec, Environment, Host, Keepalive, SessionAttributes};
use secrecy::SecretString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const DEFAULT_PORT: u16 = 5432;
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn invalid<T>(keyword: &'static str, reason: impl Into<String>) -> Result<T, ConnectionError> {
    Err(ConnectionError::InvalidParameter { keyword, reason: reason.into() })
}

/// Makes a connection of what was said about it.
pub(super) fn resolve(parameters: &Parameters, environment: &Environment) -> Result<ConnectionSpec, ConnectionError> {
    check_gss(parameters)?;
    let port = port(parameters)?;
    let hostaddr = hostaddr(parameters)?;
    let host = host(parameters, hostaddr, port)?;
    let user = user(parameters, environment)?;
    let database = parameters.get("dbname").unwrap_or(&user).to_owned();
    let passfile_path =
        parameters.get("passfile").map(PathBuf::from).or_else(|| environment.home().map(|home| home.join(".pgpass")));
    let (passfile, note) = passfile_path.as_deref().map_or_else(Default::default, Passfile::read);
    Ok(ConnectionSpec {
        tls: TlsSettings::resolve(parameters, environment)?,
        host,
        hostaddr,
        port,
        database,
        user,
        password: parameters.get("password").map(SecretString::from),
        passfile: Arc::new(passfile),
        passfile_path,
        password_command: None,
        options: parameters.get("options").map(str::to_owned),
        connect_timeout: connect_timeout(parameters)?,
        channel_binding: channel_binding(parameters)?,
        session_attributes: session_attributes(parameters)?,
        keepalive: keepalive(parameters)?,
        notes: note.into_iter().collect(),
    })
}

/// A connection that depends on no environment.
pub(super) fn for_socket(directory: &Path, port: u16, user: &str, database: &str) -> ConnectionSpec {
    ConnectionSpec {
        host: Host::Unix(directory.to_owned()),
        hostaddr: None,
        port,
        database: database.to_owned(),
        user: user.to_owned(),
        password: None,
        passfile: Arc::default(),
        passfile_path: None,
        password_command: None,
        tls: TlsSettings::disabled(),
        options: None,
        connect_timeout: Some(DEFAULT_CONNECT_TIMEOUT),
        channel_binding: ChannelBinding::Prefer,
        session_attributes: SessionAttributes::Any,
        keepalive: Keepalive::default(),
        notes: Vec::new(),
    }
}

impl Default for Keepalive {
    /// A dead peer is found within two minutes; the system's own default is two hours.
    fn default() -> Self {
        Self {
            enabled: true,
            idle: Duration::from_secs(60),
            interval: Duration::from_secs(10),
            count: 6,
            user_timeout: None,
        }
    }
}

fn port(parameters: &Parameters) -> Result<u16, ConnectionError> {
    match parameters.get("port").map(|text| (text, text.trim().parse::<u16>())) {
        None => Ok(DEFAULT_PORT),
        Some((_, Ok(port))) if port > 0 => Ok(port),
        Some((text, _)) if text.contains(',') => Err(ConnectionError::MultipleHosts),
        Some(_) => invalid(
            "port",
            "expected a number from 1 to 65535 (a ':', '/' or '@' in a password must be written as %XX)",
        ),
    }
}

fn hostaddr(parameters: &Parameters) -> Result<Option<IpAddr>, ConnectionError> {
    match parameters.get("hostaddr").map(|text| (text, text.parse())) {
        None => Ok(None),
        Some((_, Ok(address))) => Ok(Some(address)),
        Some((text, _)) if text.contains(',') => Err(ConnectionError::MultipleHosts),
        Some(_) => invalid("hostaddr", "expected an IP address"),
    }
}

fn host(parameters: &Parameters, hostaddr: Option<IpAddr>, port: u16) -> Result<Host, ConnectionError> {
    match (parameters.get("host"), hostaddr) {
        (Some(host), _) if host.contains(',') => Err(ConnectionError::MultipleHosts),
        (Some(host), _) if host.starts_with('/') => Ok(Host::Unix(PathBuf::from(host))),
        (Some(host), _) if host.starts_with('@') => invalid("host", "abstract Unix sockets are not supported"),
        (Some(host), _) => Ok(Host::Tcp(host.to_owned())),
        (None, Some(address)) => Ok(Host::Tcp(address.to_string())),
        (None, None) => Ok(default_host(&SOCKET_DIRECTORIES, port)),
    }
}

/// The first directory that holds a server's socket for the port, else this machine over TCP.
pub(super) fn default_host(directories: &[&str], port: u16) -> Host {
    directories
        .iter()
        .map(PathBuf::from)
        .find(|directory| directory.join(format!(".s.PGSQL.{port}")).exists())
        .map_or_else(|| Host::Tcp("localhost".to_owned()), Host::Unix)
}

fn user(parameters: &Parameters, environment: &Environment) -> Result<String, ConnectionError> {
    let named = parameters.get("user").or_else(|| environment.get("USER")).or_else(|| environment.get("LOGNAME"));
    match named {
        Some(user) => Ok(user.to_owned()),
        None => crate::postgres::system_user::current_name()
            .map_or_else(|| invalid("user", "no user is named, and the system knows no name for this process"), Ok),
    }
}

fn whole_number(parameters: &Parameters, keyword: &'static str) -> Result<Option<u32>, ConnectionError> {
    match parameters.get(keyword).map(|text| text.trim().parse::<i64>()) {
        None => Ok(None),
        Some(Ok(number)) => Ok(Some(u32::try_from(number.max(0)).unwrap_or(u32::MAX))),
        Some(Err(_)) => invalid(keyword, "expected a whole number"),
    }
}

fn connect_timeout(parameters: &Parameters) -> Result<Option<Duration>, ConnectionError> {
    Ok(match whole_number(parameters, "connect_timeout")? {
        None => Some(DEFAULT_CONNECT_TIMEOUT),
        Some(0) => None,
        Some(seconds) => Some(Duration::from_secs(seconds.into())),
    })
}

fn channel_binding(parameters: &Parameters) -> Result<ChannelBinding, ConnectionError> {
    match parameters.get("channel_binding") {
        None | Some("prefer") => Ok(ChannelBinding::Prefer),
        Some("disable") => Ok(ChannelBinding::Disable),
        Some("require") => Ok(ChannelBinding::Require),
        Some(_) => invalid("channel_binding", "expected disable, prefer or require"),
    }
}

fn session_attributes(parameters: &Parameters) -> Result<SessionAttributes, ConnectionError> {
    match parameters.get("target_session_attrs") {
        // With one host there is none to prefer.
        None | Some("any" | "prefer-standby") => Ok(SessionAttributes::Any),
        Some("read-write") => Ok(SessionAttributes::ReadWrite),
        Some("read-only") => Ok(SessionAttributes::ReadOnly),
        Some("primary") => Ok(SessionAttributes::Primary),
        Some("standby") => Ok(SessionAttributes::Standby),
        Some(_) => {
            invalid("target_session_attrs", "expected any, read-write, read-only, primary, standby or prefer-standby")
        }
    }
}

fn keepalive(parameters: &Parameters) -> Result<Keepalive, ConnectionError> {
    let default = Keepalive::default();
    // As in libpq, zero asks for the default.
    let positive = |keyword| Ok(whole_number(parameters, keyword)?.filter(|number| *number > 0));
    let seconds = |number: u32| Duration::from_secs(number.into());
    Ok(Keepalive {
        enabled: whole_number(parameters, "keepalives")? != Some(0),
        idle: positive("keepalives_idle")?.map_or(default.idle, seconds),
        interval: positive("keepalives_interval")?.map_or(default.interval, seconds),
        count: positive("keepalives_count")?.unwrap_or(default.count),
        user_timeout: positive("tcp_user_timeout")?.map(|number| Duration::from_millis(number.into())),
    })
}
