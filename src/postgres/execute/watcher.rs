//! Who is told how a long step goes, and may ask it to stop.

use std::fmt::Debug;
use std::time::Duration;

/// How often a rest looks whether it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The operator, as a step in production sees them.
pub trait Watcher: Debug + Sync {
    /// A task begins; `total` counts rows, as far as they can be estimated.
    fn begin(&self, task: &str, total: Option<u64>);
    /// So many rows more are done.
    fn advance(&self, rows: u64);
    /// The task that was begun ended.
    fn finish(&self, summary: &str);
    /// The run goes on, where an earlier one stopped or after a wait.
    fn say(&self, message: &str);
    /// Something is waited for, or cannot be looked at.
    fn warn(&self, message: &str);
    /// Whether the run is to stop at the next safe place.
    fn is_stopped(&self) -> bool;
}

/// Sleeps, but not past the wish to stop.
pub(super) async fn rest(watcher: Option<&dyn Watcher>, time: Duration) {
    let end = tokio::time::Instant::now() + time;
    while tokio::time::Instant::now() < end && !watcher.is_some_and(Watcher::is_stopped) {
        let left = end.saturating_duration_since(tokio::time::Instant::now());
        tokio::time::sleep(left.min(LOOK_EVERY)).await;
    }
}
