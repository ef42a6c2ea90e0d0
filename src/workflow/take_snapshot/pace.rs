//! The limit on the bytes per second that all workers together read from production.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Time that was not used is made up for no longer than this, so that a pause is not followed by a flood.
const CREDIT: Duration = Duration::from_millis(250);

/// A token bucket that the workers share: who has read bytes waits until the limit would have let them through.
///
/// It begins empty, so at each moment `bytes read / time since the beginning` is at most the limit, but for what each
/// worker has read and not yet reported.
#[derive(Debug)]
pub(super) struct Pace {
    limit: Option<Limit>,
}

#[derive(Debug)]
struct Limit {
    bytes_per_second: u64,
    /// The moment at which all bytes read so far are paid for.
    paid: Mutex<Instant>,
}

impl Pace {
    /// A bucket that begins to fill now; without a limit (or with one of 0) it never makes anybody wait.
    pub(super) fn new(bytes_per_second: Option<u64>) -> Self {
        let limit = bytes_per_second.filter(|rate| *rate > 0);
        Self { limit: limit.map(|bytes_per_second| Limit { bytes_per_second, paid: Mutex::new(Instant::now()) }) }
    }

    /// Waits until these bytes, which were read already, are within the limit.
    pub(super) async fn take(&self, bytes: u64) {
        if let Some(limit) = &self.limit {
            tokio::time::sleep_until(limit.pay(bytes, Instant::now())).await;
        }
    }
}

impl Limit {
    /// When these bytes are paid for, after all that were read before them.
    fn pay(&self, bytes: u64, now: Instant) -> Instant {
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        let cost = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let from = (*paid).max(now.checked_sub(CREDIT).unwrap_or(now));
        // Beyond what a clock can say nobody waits to the end.
        *paid = from.checked_add(cost).unwrap_or(from);
        *paid
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// The times are given and not waited for.
    struct Clock {
        limit: Limit,
        start: Instant,
    }

    impl Clock {
        fn new(bytes_per_second: u64) -> Clock {
            let pace = Pace::new(Some(bytes_per_second));
            let limit = pace.limit.expect("a limit");
            let start = *limit.paid.lock().unwrap();
            Clock { limit, start }
        }

        /// Milliseconds since the start at which bytes that were read at `now` are paid for.
        fn pay(&self, bytes: u64, now: u64) -> u128 {
            (self.limit.pay(bytes, self.start + Duration::from_millis(now)) - self.start).as_millis()
        }
    }

    #[test]
    fn it_begins_empty_and_everybody_waits_for_those_before() {
        let clock = Clock::new(1_000);
        assert_eq!(clock.pay(500, 0), 500);
        // Another worker, at the same moment.
        assert_eq!(clock.pay(500, 0), 1_000);
        assert_eq!(clock.pay(0, 0), 1_000);
        assert_eq!(clock.pay(1, 700), 1_001);
    }

    #[test]
    fn the_time_that_reading_took_counts_and_a_late_waking_is_made_up_for() {
        let clock = Clock::new(1_000);
        assert_eq!(clock.pay(100, 60), 100);
        assert_eq!(clock.pay(100, 130), 200);
        assert_eq!(clock.pay(100, 290), 300);
    }

    #[test]
    fn a_pause_is_not_followed_by_a_flood() {
        let clock = Clock::new(1_000);
        assert_eq!(clock.pay(100, 0), 100);
        let after = 60_000;
        let credit = CREDIT.as_millis() as u64;
        assert_eq!(clock.pay(credit, after), u128::from(after));
        assert_eq!(clock.pay(1_000, after), u128::from(after) + 1_000);
    }

    #[test]
    fn over_any_mix_of_reads_the_limit_holds_from_the_beginning() {
        let clock = Clock::new(7_000_000);
        let (mut now, mut read) = (0, 0);
        for step in 0..1_000_u64 {
            let bytes = (step * 7_919) % (3 << 20);
            read += bytes;
            now = (clock.pay(bytes, now) as u64).max(now) + step % 5;
            assert!(u128::from(read) * 1_000 <= 7_000_000 * u128::from(now + 1), "{read} bytes in {now} ms");
        }
        assert!(read * 1_000 / now > 6_900_000, "and is made use of");
    }

    #[test]
    fn a_very_small_limit_does_not_overflow() {
        let clock = Clock::new(1);
        let first = clock.pay(u64::MAX, 0);
        assert!(first > 1_000 * 3_600 * 24 * 365, "{first} ms is no long time");
        assert!(clock.pay(u64::MAX, 0) >= first);
    }

    #[tokio::test]
    async fn workers_wait_together_and_without_a_limit_not_at_all() {
        let (begun, pace) = (Instant::now(), Arc::new(Pace::new(Some(1_000_000))));
        let workers = (0..4).map(|_| {
            let pace = Arc::clone(&pace);
            tokio::spawn(async move { pace.take(50_000).await })
        });
        futures_util::future::try_join_all(workers.collect::<Vec<_>>()).await.unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());

        for unlimited in [None, Some(0)] {
            let read = Pace::new(unlimited);
            // A test that waited here would not end.
            read.take(u64::MAX).await;
        }
    }
}
