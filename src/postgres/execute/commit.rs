//! The COMMIT of a migration, a statement or a batch, and what became of it when nobody heard the answer.

use std::time::{Duration, Instant};

use super::super::{ConnectionSpec, DatabaseError, Session};
use super::watcher::{Watcher, rest};
use super::{ExecuteError, RunContext, backoff};
use crate::migration::Migration;

/// How long a transaction that stays in progress for no visible reason is asked after.
const PATIENCE: Duration = Duration::from_secs(90);

/// After this long a COMMIT whose answer is awaited is looked at.
const LOOK_AFTER: Duration = Duration::from_secs(3);

/// COMMIT, and when the connection is lost there: what the server says of the transaction. `line` is that of the last
/// statement in it.
pub(super) async fn commit(
    session: &Session,
    context: RunContext<'_>,
    (migration, line): (&Migration, u32),
    xact: &str,
) -> Result<(), ExecuteError> {
    crate::fault::point("migration.before-commit");
    let committing = session.batch_execute("COMMIT");
    let inquiry = Inquiry {
        spec: context.spec,
        maintenance: context.maintenance,
        backend: session.backend_pid(),
        standby_wait: context.options.commit_wait,
        watcher: context.watcher,
    };
    let answer = tokio::select! {
        answer = committing => answer,
        never = inquiry.tell_of_a_wait() => match never {},
    };
    let Err(error) = answer else { return Ok(()) };
    let error = DatabaseError::from(error);
    if !error.is_connection_lost() && !session.is_closed() {
        // A deferred constraint, for instance: the server has rolled the transaction back.
        let file = migration.path.display().to_string();
        return Err(ExecuteError::AtCommit { file, line, source: Box::new(error) });
    }
    match inquiry.outcome(xact).await {
        Outcome::Committed => Ok(()),
        Outcome::Aborted => Err(ExecuteError::Database(error)),
        Outcome::Unknown { waits } => {
            Err(ExecuteError::UnknownCommit { migration: migration.id.to_string(), waits, source: Box::new(error) })
        }
    }
}

/// Whether a transaction committed, asked over a new connection until it is no longer in progress. Read at once the
/// ledger was empty and the row appeared later, so the transaction's status comes first.
pub(in super::super) async fn outcome_of(spec: &ConnectionSpec, xact: &str) -> Option<bool> {
    let inquiry = Inquiry { spec, maintenance: "postgres", backend: 0, standby_wait: PATIENCE, watcher: None };
    match inquiry.outcome(xact).await {
        Outcome::Committed => Some(true),
        Outcome::Aborted => Some(false),
        Outcome::Unknown { .. } => None,
    }
}

enum Outcome {
    Committed,
    Aborted,
    Unknown {
        /// Words for what it waited for, or empty.
        waits: String,
    },
}

/// What the server process that commits is doing.
enum Backend {
    WaitsForStandby,
    Other,
}

/// Asks the server about a transaction and its server process.
struct Inquiry<'a> {
    spec: &'a ConnectionSpec,
    maintenance: &'a str,
    backend: i32,
    standby_wait: Duration,
    watcher: Option<&'a dyn Watcher>,
}

impl Inquiry<'_> {
    /// The status of a transaction is the same in every database, and the target may be closed to new sessions.
    async fn connect(&self) -> Option<Session> {
        for spec in [self.spec.clone(), self.spec.with_database(self.maintenance), self.spec.with_database("template1")]
        {
            if let Ok(session) = spec.connect("safe-migrate commit check").await {
                return Some(session);
            }
        }
        None
    }

    async fn backend(&self, session: &Session) -> Backend {
        let sql = "SELECT wait_event = 'SyncRep' FROM pg_catalog.pg_stat_activity WHERE pid = $1";
        match session.query_opt(sql, &[&self.backend]).await {
            Ok(Some(row)) if row.get::<_, Option<bool>>(0) == Some(true) => Backend::WaitsForStandby,
            _ => Backend::Other,
        }
    }

    /// Polls. A server process that waits for a synchronous standby does not notice that its client is gone: the
    /// transaction is in the log and stays in progress until the standby has it or somebody ends that process (tried
    /// on 15 and 18); so that wait has a limit of its own.
    async fn outcome(&self, xact: &str) -> Outcome {
        let begun = Instant::now();
        let (mut attempt, mut waits) = (0, false);
        loop {
            rest(self.watcher, backoff(attempt)).await;
            attempt = (attempt + 1).min(4);
            if let Some(session) = self.connect().await {
                match status(&session, xact).await.as_deref() {
                    Some("committed") => return Outcome::Committed,
                    Some("aborted") => return Outcome::Aborted,
                    Some(_) => {
                        let waits_now = matches!(self.backend(&session).await, Backend::WaitsForStandby);
                        if waits_now && !waits {
                            self.warn(
                                "the connection was lost at COMMIT, which waits for a synchronous standby; waiting for it",
                            );
                        }
                        waits = waits_now;
                    }
                    None => {}
                }
            }
            let limit = if waits { self.standby_wait } else { PATIENCE };
            if begun.elapsed() >= limit || self.watcher.is_some_and(Watcher::is_stopped) {
                let words = format!(
                    "; the COMMIT waits for a synchronous standby (backend {}) and takes effect when one is back, or when that backend is ended",
                    self.backend
                );
                return Outcome::Unknown { waits: if waits { words } else { String::new() } };
            }
        }
    }

    /// Says once why an answer does not come; never ends.
    async fn tell_of_a_wait(&self) -> std::convert::Infallible {
        tokio::time::sleep(LOOK_AFTER).await;
        while self.watcher.is_some() {
            if let Some(session) = self.connect().await
                && matches!(self.backend(&session).await, Backend::WaitsForStandby)
            {
                self.warn("COMMIT waits for a synchronous standby");
                break;
            }
            tokio::time::sleep(LOOK_AFTER).await;
        }
        std::future::pending().await
    }

    fn warn(&self, words: &str) {
        if let Some(watcher) = self.watcher {
            watcher.warn(words);
        }
    }
}

async fn status(session: &Session, xact: &str) -> Option<String> {
    let row = session.query_one("SELECT pg_catalog.pg_xact_status($1::text::xid8)", &[&xact]).await.ok()?;
    row.get(0)
}

/// The id of the transaction that runs, asked before its COMMIT.
pub(super) async fn running_transaction(session: &Session) -> Result<String, DatabaseError> {
    Ok(session.query_one("SELECT pg_catalog.pg_current_xact_id()::text", &[]).await?.get(0))
}
