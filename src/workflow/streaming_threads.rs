//! Threads for workers that stream rows: each has a runtime of its own.
//!
//! The server sends rows in pieces of 8 KiB (its `PqSendBuffer`). On a runtime with several threads each piece wakes the task
//! that drives the connection, and that one wakes the task that uses the rows, often on another core: a fifth of the processor's
//! time was spent on this (perf, 1 GB, two cores). Here both share a thread, and before the thread goes to sleep it
//! naps, so that the next time it finds many pieces and not one.

use std::cell::Cell;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Error;

/// How long a thread lets bytes gather in the socket's buffer (about 200 KiB; a server fills that in about 1 ms).
const NAP: Duration = Duration::from_micros(500);

thread_local! {
    /// Whether the worker of this thread is in the middle of a long stream.
    static STREAMING: Cell<bool> = const { Cell::new(false) };
}

/// Says that the worker of this thread is in the middle of a long stream, or that it ended.
///
/// Naps pay there only: between the short statements of ten thousand small tables they tripled the time.
pub(super) fn streaming(long: bool) {
    STREAMING.set(long);
}

fn nap() {
    if STREAMING.get() {
        std::thread::sleep(NAP);
    }
}

/// Workers on threads of their own. Dropping this ends them all, where they next wait.
pub(super) struct StreamingThreads<T> {
    workers: JoinSet<Option<T>>,
    /// Closed by the drop.
    _stop: watch::Sender<()>,
}

impl<T: Send + 'static> StreamingThreads<T> {
    /// Starts `count` threads, each of which runs one future of `work`, which is told its number.
    ///
    /// What the future waits for must not need the caller's runtime to be idle, and what it starts ends with it: shared
    /// clients of other services belong to the caller's runtime.
    pub(super) fn start<W, F>(count: usize, work: W) -> Self
    where
        W: Fn(usize) -> F + Clone + Send + 'static,
        F: Future<Output = T>,
    {
        let (stop, stopped) = watch::channel(());
        let mut workers = JoinSet::new();
        for number in 0..count.max(1) {
            let (work, mut stopped) = (work.clone(), stopped.clone());
            workers.spawn_blocking(move || {
                let mut builder = Builder::new_current_thread();
                let runtime = builder.enable_all().on_thread_park(nap).build().ok()?;
                runtime.block_on(async {
                    tokio::select! {
                        result = work(number) => Some(result),
                        _ = stopped.changed() => None,
                    }
                })
            });
        }
        Self { workers, _stop: stop }
    }

    /// The result of the next worker that ends; none when all have ended.
    pub(super) async fn next(&mut self) -> Option<Result<T, Error>> {
        let ended = self.workers.join_next().await?;
        let result = ended.map_err(Error::from);
        Some(result.and_then(|result| result.ok_or(Error::Interrupted)))
    }
}
