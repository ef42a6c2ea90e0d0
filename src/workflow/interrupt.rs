//! The operator's wish to stop, seen by every long step.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;

use super::Error;

/// Set once, by the command line, on SIGINT, SIGTERM or SIGHUP.
#[derive(Clone, Debug)]
pub struct Interrupt {
    sender: Arc<watch::Sender<bool>>,
}

impl Default for Interrupt {
    fn default() -> Self {
        Self { sender: Arc::new(watch::Sender::new(false)) }
    }
}

impl Interrupt {
    /// Asks every step to stop; returns whether that had been asked already.
    pub fn set(&self) -> bool {
        self.sender.send_replace(true)
    }

    /// Whether the operator asked to stop.
    pub fn is_set(&self) -> bool {
        *self.sender.borrow()
    }

    /// An error when the operator asked to stop; for the places between two steps.
    pub fn check(&self) -> Result<(), Error> {
        if self.is_set() { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Ends when the operator asks to stop.
    pub async fn wait(&self) {
        let mut receiver = self.sender.subscribe();
        // The sender lives as long as self, so this ends only with the wish.
        let _ = receiver.wait_for(|stop| *stop).await;
    }

    /// Runs a step that may be dropped in the middle (its sessions end, its programs are killed).
    ///
    /// On the heap: a future that waits for another one holds it twice, and each level above again.
    pub async fn or<T>(&self, step: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::select! {
            result = Box::pin(step) => result,
            () = self.wait() => Err(Error::Interrupted),
        }
    }
}
