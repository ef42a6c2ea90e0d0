//! Watches a session that migrates in production from another one: who is in its way, and who queues behind it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::super::{DatabaseError, Session, blockers};

/// How often it looks. Before PostgreSQL 17 `pg_blocking_pids` takes all partitions of the lock table.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The second session, and the process that it watches.
#[derive(Debug)]
pub struct LockWatch<'a> {
    session: &'a Session,
    /// How many sessions may wait behind a statement; 0: any number.
    max_queue: u32,
    seen: Mutex<Seen>,
}

/// What was seen of one statement.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The last ones that were in its way, in words.
    pub(super) blockers: Option<String>,
    /// How many waited behind it when it was cancelled for that.
    pub(super) crowd: Option<u32>,
}

impl<'a> LockWatch<'a> {
    /// Watches over `session`, which is connected to the same database.
    pub fn new(session: &'a Session, max_queue: u32) -> Self {
        Self { session, max_queue, seen: Mutex::default() }
    }

    /// Runs a statement of `migrating` and looks meanwhile; cancels it when too many wait behind it.
    ///
    /// Nothing is asked of the server for a statement that ends within [`LOOK_EVERY`].
    pub(super) async fn over<T>(&self, migrating: &Session, statement: impl Future<Output = T>) -> (T, Seen) {
        *self.lock() = Seen::default();
        let mut statement = std::pin::pin!(statement);
        loop {
            let look = async {
                tokio::time::sleep(LOOK_EVERY).await;
                self.look(migrating).await
            };
            let crowd = tokio::select! {
                biased;
                result = &mut statement => return (result, self.lock().clone()),
                crowd = look => crowd,
            };
            match crowd {
                Ok(None) => {}
                Ok(Some(crowd)) => {
                    // Awaited before anything else is sent, so that it cannot hit the next statement.
                    let cancelled = migrating.cancel().await;
                    tracing::debug!(crowd, ?cancelled, "cancelled for those who wait");
                    self.lock().crowd = Some(crowd);
                    return (statement.await, self.lock().clone());
                }
                Err(error) => {
                    // The watch is lost, not the statement.
                    tracing::debug!(%error, "the locks cannot be watched");
                    return (statement.await, self.lock().clone());
                }
            }
        }
    }

    /// Notes who is in the way; how many wait behind, when that is too many.
    async fn look(&self, migrating: &Session) -> Result<Option<u32>, DatabaseError> {
        let pid = migrating.backend_pid();
        if let Some(words) = blockers::of_backend(self.session, pid).await? {
            self.lock().blockers = Some(words);
        }
        if self.max_queue == 0 {
            return Ok(None);
        }
        let waiting = blockers::queue_behind(self.session, pid).await?;
        Ok((waiting > self.max_queue).then_some(waiting))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
