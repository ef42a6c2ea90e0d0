//! Making the connection, and saying by meaning why it could not be made.

use super::search_path::{self, MigratingSession, OURS};
use super::session::{Opened, Session};
use super::tls::{self, TlsConnector};
use super::{ChannelBinding, ConnectionError, ConnectionSpec, Host, SessionAttributes, describe};
use secrecy::ExposeSecret;
use std::error::Error as _;
use std::io;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::config;

/// How long a server may take for a question that costs it nothing.
const ANSWER: Duration = Duration::from_secs(30);

impl ConnectionSpec {
    /// Connects for statements of our own, with `pg_catalog, pg_temp` as the search path; the server shows `application_name` in
    /// `pg_stat_activity`.
    ///
    /// `connect_timeout` holds for each address of the host, and twice that for the whole, login included.
    pub async fn connect(&self, application_name: &str) -> Result<Session, ConnectionError> {
        // An option of the start outlives `RESET ALL`, and a pooler does not hand it to the next client.
        let opened = match self.with_setting("search_path", OURS).open(application_name).await {
            Err(error) if error.is_refused_option() && self.options.is_none() => self.open(application_name).await?,
            opened => opened?,
        };
        if opened.search_path != OURS {
            // A pooler refused the option or lost it, and a SET would stay with the server that it lends to others next:
            // only a transaction keeps what is set for itself.
            let begin = format!("BEGIN READ ONLY; SET LOCAL search_path = {OURS}");
            opened.session.batch_execute(&begin).await.map_err(|error| self.explain(&error))?;
        }
        Ok(opened.session)
    }

    /// Connects for statements that others wrote, which need the search path that the server gives this role. Not through
    /// a pooler: what is set stays with the session.
    pub async fn connect_to_migrate(&self, application_name: &str) -> Result<MigratingSession, ConnectionError> {
        let session = self.open(application_name).await?.session;
        session.batch_execute(search_path::SET_OURS).await.map_err(|error| self.explain(&error))?;
        Ok(MigratingSession::new(session))
    }

    async fn open(&self, application_name: &str) -> Result<Opened, ConnectionError> {
        let deadline = self.limit().map(|limit| Instant::now() + limit);
        let session = self.log_in_until(application_name, deadline).await?;
        let opened = match deadline {
            Some(deadline) => {
                tokio::time::timeout_at(deadline, session.opened()).await.map_err(|_| self.silent(self.limit()))?
            }
            None => session.opened().await,
        };
        let opened = opened.map_err(|error| self.explain(&error))?;
        self.check_attributes(&opened)?;
        Ok(opened)
    }

    /// Logs in and asks nothing: the session knows what the server reported, and no more.
    pub(in crate::postgres) async fn log_in(&self, application_name: &str) -> Result<Session, ConnectionError> {
        self.log_in_until(application_name, self.limit().map(|limit| Instant::now() + limit)).await
    }

    /// Waits for an answer no longer than for a connection; without a `connect_timeout`, [`ANSWER`].
    pub(in crate::postgres) async fn within_limit<T>(
        &self,
        answer: impl Future<Output = T>,
    ) -> Result<T, ConnectionError> {
        let limit = self.limit().unwrap_or(ANSWER);
        tokio::time::timeout(limit, answer).await.map_err(|_| self.silent(Some(limit)))
    }

    /// How long a connection may take, login included.
    fn limit(&self) -> Option<Duration> {
        self.connect_timeout.map(|limit| limit * 2)
    }

    async fn log_in_until(
        &self,
        application_name: &str,
        deadline: Option<Instant>,
    ) -> Result<Session, ConnectionError> {
        let tls = self.tls.connector(matches!(self.host, Host::Unix(_)))?;
        let config = self.client_config(application_name, &tls).await?;
        let opening = Session::log_in(&config, tls);
        let session = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, opening)
                .await
                .map_err(|_| self.timed_out(self.limit().unwrap_or_default()))?,
            None => opening.await,
        };
        session.map_err(|error| self.explain(&error))
    }

    async fn client_config(
        &self,
        application_name: &str,
        tls: &TlsConnector,
    ) -> Result<tokio_postgres::Config, ConnectionError> {
        let mut config = tokio_postgres::Config::new();
        config.user(&self.user).dbname(&self.database).port(self.port).application_name(application_name);
        match &self.host {
            Host::Tcp(host) => config.host(host),
            Host::Unix(directory) => config.host_path(directory),
        };
        if let (Some(address), Host::Tcp(_)) = (self.hostaddr, &self.host) {
            config.hostaddr(address);
        }
        if let Some(options) = &self.options {
            config.options(options);
        }
        if let Some(limit) = self.connect_timeout {
            config.connect_timeout(limit);
        }
        if let Some(timeout) = self.keepalive.user_timeout {
            config.tcp_user_timeout(timeout);
        }
        config
            .keepalives(self.keepalive.enabled)
            .keepalives_idle(self.keepalive.idle)
            .keepalives_interval(self.keepalive.interval)
            .keepalives_retries(self.keepalive.count)
            .ssl_mode(tls.client_mode())
            .ssl_negotiation(self.tls.negotiation())
            .channel_binding(match self.channel_binding {
                ChannelBinding::Disable => config::ChannelBinding::Disable,
                ChannelBinding::Prefer => config::ChannelBinding::Prefer,
                ChannelBinding::Require => config::ChannelBinding::Require,
            });
        if let Some(password) = self.password().await? {
            config.password(password.expose_secret());
        }
        Ok(config)
    }

    fn check_attributes(&self, opened: &Opened) -> Result<(), ConnectionError> {
        let reason = match self.session_attributes {
            SessionAttributes::ReadWrite if opened.read_only => "its sessions are read-only",
            SessionAttributes::ReadOnly if !opened.read_only => "its sessions can write",
            SessionAttributes::Primary if opened.in_recovery => "it is a standby",
            SessionAttributes::Standby if !opened.in_recovery => "it is a primary",
            _ => return Ok(()),
        };
        Err(ConnectionError::WrongKindOfServer { target: self.display(), reason: reason.to_owned() })
    }

    fn timed_out(&self, limit: Duration) -> ConnectionError {
        ConnectionError::Timeout { target: self.display(), seconds: limit.as_secs() }
    }

    fn silent(&self, limit: Option<Duration>) -> ConnectionError {
        ConnectionError::Silent { target: self.display(), seconds: limit.unwrap_or_default().as_secs() }
    }

    fn explain(&self, error: &tokio_postgres::Error) -> ConnectionError {
        if error.as_db_error().is_some() { self.explain_server(error) } else { self.explain_local(error) }
    }

    fn explain_server(&self, error: &tokio_postgres::Error) -> ConnectionError {
        let target = self.display();
        let said = describe(error);
        let message = said.message.clone();
        match said.sqlstate.as_deref().unwrap_or_default() {
            sqlstate @ ("28P01" | "28000") => {
                ConnectionError::LoginRefused { target, sqlstate: sqlstate.to_owned(), message }
            }
            "3D000" => ConnectionError::DatabaseMissing { target, database: self.database.clone() },
            "42501" | "55000" => ConnectionError::NotAllowed { target, message },
            "53300" => ConnectionError::TooManyConnections { target, message },
            "57P01" | "57P02" | "57P03" => ConnectionError::NotReady { target, message },
            _ => ConnectionError::Other { target, source: said },
        }
    }

    /// Of a server on this machine the file is named that was looked for: its directory and its port are in it.
    fn with_socket(&self, error: &io::Error) -> io::Error {
        let text = match &self.host {
            Host::Unix(directory) => {
                format!("{}: {error}", directory.join(format!(".s.PGSQL.{}", self.port)).display())
            }
            Host::Tcp(_) => error.to_string(),
        };
        io::Error::new(error.kind(), text)
    }

    /// The client library keeps the kinds of its own errors private; their fixed texts tell them apart.
    fn explain_local(&self, error: &tokio_postgres::Error) -> ConnectionError {
        let target = self.display();
        let kind = error.to_string();
        let cause = error.source();
        let reason = cause.map(ToString::to_string).unwrap_or_default();
        let io = cause.and_then(|cause| cause.downcast_ref::<io::Error>());
        if kind.contains("TLS") {
            return tls::explain(target, io, reason);
        }
        if kind.contains("invalid configuration") && reason.contains("password missing") {
            return ConnectionError::PasswordMissing { target };
        }
        if kind.contains("authentication") {
            return ConnectionError::Authentication { target, reason };
        }
        match io {
            Some(io) if kind.contains("connecting") && io.kind() == io::ErrorKind::TimedOut => {
                self.timed_out(self.connect_timeout.unwrap_or_default())
            }
            Some(io) if kind.contains("connecting") || kind.contains("communicating") => {
                ConnectionError::Unreachable { target, source: self.with_socket(io) }
            }
            _ => ConnectionError::Other { target, source: describe(error) },
        }
    }
}
