//! How far the standbys are behind.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::super::{DatabaseError, Session};
use super::watcher::{Watcher, rest};

/// How often a standby that is behind is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Keeps batches from running ahead of the standbys.
///
/// The server's own `replay_lag` says nothing of a standby that has stopped replaying before it heard of the last bytes, so
/// the log's position is noted between the batches: a standby is behind by a time when it has not replayed what was
/// written that long ago.
#[derive(Debug)]
pub(super) struct Lag {
    limit: Duration,
    /// Positions of the log, oldest first, and when they were read.
    written: VecDeque<(Instant, u64)>,
    is_hidden: bool,
}

impl Lag {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, written: VecDeque::new(), is_hidden: false }
    }

    /// Returns when every standby has replayed what is older than the limit, or the run is to stop.
    pub(super) async fn wait(&mut self, session: &Session, watcher: &dyn Watcher) -> Result<(), DatabaseError> {
        let mut told = false;
        while let Some(who) = self.behind(session, watcher).await? {
            if watcher.is_stopped() {
                return Ok(());
            }
            if !std::mem::replace(&mut told, true) {
                watcher.warn(&format!("standby {who} is behind by more than max-lag; waiting for it"));
            }
            rest(Some(watcher), LOOK_EVERY).await;
        }
        if told {
            watcher.say("the standbys have caught up; going on");
        }
        Ok(())
    }

    /// The name of a standby that is behind.
    async fn behind(&mut self, session: &Session, watcher: &dyn Watcher) -> Result<Option<String>, DatabaseError> {
        if self.is_hidden {
            return Ok(None);
        }
        let rows = session
            .query(
                "SELECT coalesce(nullif(application_name, ''), pid::text), replay_lsn IS NULL,
                        pg_catalog.pg_wal_lsn_diff(replay_lsn, '0/0')::bigint,
                        coalesce(extract(epoch FROM replay_lag), 0)::float8,
                        pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), '0/0')::bigint,
                        pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')
                   FROM pg_catalog.pg_stat_replication WHERE state IS DISTINCT FROM 'backup'",
                &[],
            )
            .await?;
        let now = Instant::now();
        if let Some(row) = rows.first() {
            if row.get::<_, bool>(1) && !row.get::<_, bool>(5) {
                self.is_hidden = true;
                watcher
                    .say("this role may not see how far the standbys are (GRANT pg_monitor); max-lag is not looked at");
                return Ok(None);
            }
            let position = u64::try_from(row.get::<_, i64>(4)).unwrap_or_default();
            if self.written.back().is_none_or(|(_, last)| position > *last) {
                self.written.push_back((now, position));
            }
        }
        let mut behind = None;
        let mut replayed_by_all = u64::MAX;
        for row in &rows {
            let replayed = u64::try_from(row.get::<_, Option<i64>>(2).unwrap_or_default()).unwrap_or_default();
            replayed_by_all = replayed_by_all.min(replayed);
            let since = self.written.iter().find(|(_, position)| *position > replayed).map(|(at, _)| now - *at);
            let server_says = Duration::try_from_secs_f64(row.get::<_, f64>(3).max(0.0)).unwrap_or_default();
            // The server goes on saying the lag of what was replayed last, also when nothing is left to replay.
            if since.is_some_and(|since| since > self.limit || server_says > self.limit) {
                behind = Some(row.get(0));
            }
        }
        while self.written.front().is_some_and(|(_, position)| *position <= replayed_by_all) {
            self.written.pop_front();
        }
        Ok(behind)
    }
}
