//! Locks of a statement outside a transaction, seen from another session while it runs.
//!
//! Such a statement commits by itself, several times if it is `CONCURRENTLY`; afterwards its locks are gone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::postgres::lock_mode::LockMode;
use crate::postgres::{DatabaseError, Session};

/// Time between two samples.
pub(super) const INTERVAL: Duration = Duration::from_millis(5);

/// When each lock was first and last seen.
#[derive(Debug, Default)]
pub(super) struct Samples {
    seen: BTreeMap<(u32, LockMode), (Instant, Instant)>,
}

impl Samples {
    /// Each lock with the time between its first and its last sample and one interval.
    pub(super) fn held(&self) -> impl Iterator<Item = (u32, LockMode, Duration)> {
        self.seen.iter().map(|(&(oid, mode), &(first, last))| (oid, mode, last - first + INTERVAL))
    }
}

/// Waits for `statement` and samples the locks of the backend that runs it.
pub(super) async fn sample_while<T>(
    observer: &Session,
    backend_pid: i32,
    statement: impl Future<Output = T>,
) -> (T, Result<Samples, DatabaseError>) {
    let mut samples = Samples::default();
    let mut result = std::pin::pin!(statement);
    let outcome = {
        let mut sampling = std::pin::pin!(sample(observer, backend_pid, &mut samples));
        tokio::select! {
            biased;
            done = &mut result => Ok(done),
            error = &mut sampling => Err(error),
        }
    };
    match outcome {
        Ok(done) => (done, Ok(samples)),
        // The statement runs to its end, whatever becomes of its observer.
        Err(failed) => (result.await, Err(failed)),
    }
}

/// Samples until it fails.
async fn sample(observer: &Session, backend_pid: i32, samples: &mut Samples) -> DatabaseError {
    let sql = "SELECT relation, mode FROM pg_catalog.pg_locks
                WHERE locktype = 'relation' AND granted AND pid = $1 AND relation >= 16384";
    let query = match observer.prepare(sql).await {
        Ok(query) => query,
        Err(error) => return error.into(),
    };
    loop {
        match observer.query(&query, &[&backend_pid]).await {
            Ok(rows) => {
                let now = Instant::now();
                for row in rows {
                    let (oid, mode): (u32, &str) = (row.get(0), row.get(1));
                    if let Some(mode) = LockMode::from_catalog(mode) {
                        samples.seen.entry((oid, mode)).or_insert((now, now)).1 = now;
                    }
                }
            }
            Err(error) => return error.into(),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
