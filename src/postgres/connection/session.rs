//! One open connection and the task that drives it.

use super::DatabaseError;
use super::tls::TlsConnector;
use futures_util::StreamExt;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls, SimpleQueryMessage};

/// Notices kept until someone takes them; a chatty migration must not fill the memory.
const NOTICES_KEPT: usize = 200;

/// How long a connection whose session is gone may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// What the server reports about itself at the start of a session.
const REPORTED: [&str; 12] = [
    "server_version",
    "server_encoding",
    "client_encoding",
    "is_superuser",
    "session_authorization",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "integer_datetimes",
    "standard_conforming_strings",
    "in_hot_standby",
    "default_transaction_read_only",
];

const FACTS: &str = "SELECT pg_catalog.pg_backend_pid(), pg_catalog.current_setting('server_version_num'), \
     pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only'), \
     pg_catalog.current_setting('search_path')";

/// A notice or warning that the server sent beside the results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// `NOTICE`, `WARNING`, `INFO`, …
    pub severity: String,
    /// The five-character code.
    pub sqlstate: String,
    /// The message.
    pub message: String,
}

/// An open connection; derefs to the client. Dropping it ends the connection.
pub struct Session {
    // Dropped before `_open`: the driver then sees that nothing more will be asked.
    client: Client,
    _open: oneshot::Sender<()>,
    driver: JoinHandle<()>,
    tls: TlsConnector,
    backend_pid: i32,
    server_version_num: u32,
    parameters: BTreeMap<&'static str, String>,
    notices: Notices,
}

type Notices = Arc<Mutex<VecDeque<Notice>>>;

/// A session and what it said of itself when it was opened.
pub(super) struct Opened {
    pub(super) session: Session,
    pub(super) in_recovery: bool,
    pub(super) read_only: bool,
    pub(super) search_path: String,
}

impl Session {
    /// Logs in, and asks nothing yet.
    pub(super) async fn log_in(config: &Config, tls: TlsConnector) -> Result<Self, tokio_postgres::Error> {
        match tls.clone() {
            TlsConnector::Plain => {
                let (client, connection) = config.connect(NoTls).await?;
                Ok(Self::start(client, connection, tls))
            }
            TlsConnector::Rustls { connector, .. } => {
                let (client, connection) = config.connect(connector).await?;
                Ok(Self::start(client, connection, tls))
            }
        }
    }

    fn start<S, T>(client: Client, connection: Connection<S, T>, tls: TlsConnector) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let parameters =
            REPORTED.iter().filter_map(|name| Some((*name, connection.parameter(name)?.to_owned()))).collect();
        let notices = Notices::default();
        let (open, closed) = oneshot::channel();
        let driver = tokio::spawn(drive(connection, Arc::clone(&notices), closed));
        Self { client, _open: open, driver, tls, backend_pid: 0, server_version_num: 0, parameters, notices }
    }

    /// Asks who serves this session.
    pub(super) async fn opened(self) -> Result<Opened, tokio_postgres::Error> {
        let mut session = self;
        let facts = session.client.simple_query(FACTS).await?;
        let fact = |column| facts.iter().find_map(|message| text(message, column)).unwrap_or_default();
        session.backend_pid = fact(0).parse().unwrap_or_default();
        session.server_version_num = fact(1).parse().unwrap_or_default();
        let (in_recovery, read_only, search_path) = (fact(2) == "t", fact(3) == "on", fact(4).to_owned());
        Ok(Opened { session, in_recovery, read_only, search_path })
    }

    /// The process id of the server process behind this session.
    pub fn backend_pid(&self) -> i32 {
        self.backend_pid
    }

    /// The server's version as one number: 150020 is 15.20.
    pub fn server_version_num(&self) -> u32 {
        self.server_version_num
    }

    /// A setting that the server reported when the session began, such as `server_encoding`.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// Whether the connection is encrypted by settings that allow no other; `prefer` may have ended in plain text.
    pub fn is_tls_enforced(&self) -> bool {
        self.tls.client_mode() == tokio_postgres::config::SslMode::Require
    }

    /// Asks the server to cancel the running statement, over a second connection.
    pub async fn cancel(&self) -> Result<(), DatabaseError> {
        self.canceller().cancel().await
    }

    /// Something that can cancel this session's statement while the session is borrowed elsewhere.
    pub fn canceller(&self) -> Canceller {
        Canceller { token: self.client.cancel_token(), tls: self.tls.clone() }
    }

    /// Takes the notices received since the last call, oldest first; at most 200 are kept.
    pub fn take_notices(&self) -> Vec<Notice> {
        lock(&self.notices).drain(..).collect()
    }

    /// Ends the connection and waits until that is done, so that the server counts the session no more.
    pub async fn close(self) {
        let Self { client, _open, driver, .. } = self;
        drop(client);
        drop(_open);
        // The driver gives up by itself, so this ends soon; how it ended is of no interest any more.
        driver.await.ok();
    }
}

impl std::ops::Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl std::ops::DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Session").field("backend_pid", &self.backend_pid).finish_non_exhaustive()
    }
}

/// Cancels the statement that a session runs.
#[derive(Clone)]
pub struct Canceller {
    token: tokio_postgres::CancelToken,
    tls: TlsConnector,
}

impl Canceller {
    /// Asks the server to cancel the statement; whether it came in time shows in the statement's own result.
    pub async fn cancel(&self) -> Result<(), DatabaseError> {
        match self.tls.clone() {
            TlsConnector::Plain => self.token.cancel_query(NoTls).await?,
            TlsConnector::Rustls { connector, .. } => self.token.cancel_query(connector).await?,
        }
        Ok(())
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Canceller")
    }
}

/// Moves bytes until the connection ends; once the session is gone, says goodbye and gives up soon.
///
/// Without the limit, a statement that still runs would keep the socket open until it is done.
async fn drive<S, T>(connection: Connection<S, T>, notices: Notices, closed: oneshot::Receiver<()>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut running = std::pin::pin!(receive(connection, notices));
    tokio::select! {
        () = &mut running => {}
        _ = closed => { tokio::time::timeout(GOODBYE, running).await.ok(); }
    }
}

async fn receive<S, T>(mut connection: Connection<S, T>, notices: Notices)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut messages = futures_util::stream::poll_fn(move |context| connection.poll_message(context));
    while let Some(message) = messages.next().await {
        match message {
            Ok(AsyncMessage::Notice(notice)) => {
                tracing::debug!(severity = notice.severity(), text = notice.message(), "notice");
                keep(&notices, &notice);
            }
            Ok(_) => {}
            // The statement in flight gets its own error; this is for the log.
            Err(error) => {
                tracing::debug!(%error, "the connection ended");
                return;
            }
        }
    }
}

fn keep(notices: &Notices, notice: &tokio_postgres::error::DbError) {
    let mut kept = lock(notices);
    if kept.len() == NOTICES_KEPT {
        kept.pop_front();
    }
    kept.push_back(Notice {
        severity: notice.severity().to_owned(),
        sqlstate: notice.code().code().to_owned(),
        message: notice.message().to_owned(),
    });
}

fn lock(notices: &Notices) -> std::sync::MutexGuard<'_, VecDeque<Notice>> {
    notices.lock().unwrap_or_else(PoisonError::into_inner)
}

fn text(message: &SimpleQueryMessage, column: usize) -> Option<&str> {
    match message {
        SimpleQueryMessage::Row(row) => row.get(column),
        _ => None,
    }
}
