//! The one place for retries.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;

use super::{ObjectInfo, ObjectKey, ObjectStore, StoreError};

/// How often and how long an operation is tried again.
#[derive(Clone, Copy, Debug)]
pub(super) struct RetryPolicy {
    /// The wait before the first retry; it doubles each time, and a random part of itself is added.
    first_wait: Duration,
    /// No wait is longer, before its random part.
    longest_wait: Duration,
    /// Retries of an operation that a store in reach refused for the moment.
    retries: usize,
    /// Retries when there is no answer at all: a wrong address should be told in seconds.
    retries_without_answer: usize,
}

impl Default for RetryPolicy {
    /// At most about 15 seconds of waiting; at most about 3 when nobody answers.
    fn default() -> Self {
        Self {
            first_wait: Duration::from_millis(200),
            longest_wait: Duration::from_secs(3),
            retries: 6,
            retries_without_answer: 3,
        }
    }
}

impl RetryPolicy {
    #[cfg(test)]
    pub(super) fn without_waiting() -> Self {
        Self { first_wait: Duration::from_micros(1), longest_wait: Duration::from_micros(2), ..Self::default() }
    }

    fn backoff(&self) -> ExponentialBuilder {
        ExponentialBuilder::default()
            .with_min_delay(self.first_wait)
            .with_max_delay(self.longest_wait)
            .with_factor(2.0)
            .with_max_times(self.retries)
            .with_jitter()
    }
}

/// Tries again what may work a moment later ([`StoreError::is_permanent`]), with growing, random waits.
#[derive(Clone, Debug)]
pub(super) struct Retrying {
    inner: Arc<dyn ObjectStore>,
    policy: RetryPolicy,
}

impl Retrying {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, policy: RetryPolicy) -> Self {
        Self { inner, policy }
    }

    async fn retry<T, F>(&self, what: &'static str, operation: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut unanswered = 0;
        let worth_it = |error: &StoreError| {
            unanswered += usize::from(matches!(error, StoreError::Unreachable { .. }));
            !error.is_permanent() && unanswered <= self.policy.retries_without_answer
        };
        operation
            .retry(self.policy.backoff())
            .when(worth_it)
            .notify(|error, wait| tracing::debug!(%error, ?wait, "store: {what} is tried again"))
            .await
    }
}

#[async_trait]
impl ObjectStore for Retrying {
    async fn put(&self, key: &ObjectKey, body: Bytes) -> Result<(), StoreError> {
        self.retry("put", || self.inner.put(key, body.clone())).await
    }

    async fn get_at_most(&self, key: &ObjectKey, largest: u64) -> Result<Bytes, StoreError> {
        self.retry("get", || self.inner.get_at_most(key, largest)).await
    }

    async fn holds(&self, key: &ObjectKey, body: &Bytes) -> Result<Option<bool>, StoreError> {
        self.retry("holds", || self.inner.holds(key, body)).await
    }

    async fn size(&self, key: &ObjectKey) -> Result<Option<u64>, StoreError> {
        self.retry("size", || self.inner.size(key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        self.retry("list", || self.inner.list(prefix)).await
    }

    async fn list_directories(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.retry("list", || self.inner.list_directories(prefix)).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.retry("delete", || self.inner.delete(key)).await
    }

    async fn any_entry(&self) -> Result<Option<String>, StoreError> {
        self.retry("list", || self.inner.any_entry()).await
    }

    fn location(&self) -> String {
        self.inner.location()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn unreachable() -> StoreError {
        StoreError::Unreachable { location: "s3://b".to_owned(), source: "connection refused".into() }
    }

    fn slow_down() -> StoreError {
        let (code, message) = ("SlowDown".to_owned(), String::new());
        StoreError::Service { target: "s3://b/k".to_owned(), action: "read", code, message, transient: true }
    }

    fn denied() -> StoreError {
        StoreError::PermissionDenied {
            target: "s3://b/k".to_owned(),
            action: "read",
            detail: String::new(),
            advice: "",
        }
    }

    /// How many attempts are made on an operation that fails `failures` times.
    async fn attempts(failures: usize, error: fn() -> StoreError) -> (usize, bool) {
        let retrying = Retrying::new(
            Arc::new(crate::store::local::LocalStore::new("/nowhere".into())),
            RetryPolicy::without_waiting(),
        );
        let made = AtomicUsize::new(0);
        let result = retrying
            .retry("test", || async {
                if made.fetch_add(1, Ordering::SeqCst) < failures { Err(error()) } else { Ok(()) }
            })
            .await;
        (made.into_inner(), result.is_ok())
    }

    #[tokio::test]
    async fn what_passes_by_itself_is_tried_again() {
        assert_eq!(attempts(2, unreachable).await, (3, true));
        assert_eq!(attempts(5, slow_down).await, (6, true));
    }

    #[tokio::test]
    async fn patience_ends() {
        assert_eq!(attempts(usize::MAX, slow_down).await, (7, false));
        assert_eq!(attempts(usize::MAX, unreachable).await, (4, false));
    }

    #[tokio::test]
    async fn what_is_permanent_is_told_at_once() {
        assert_eq!(attempts(usize::MAX, denied).await, (1, false));
    }
}
