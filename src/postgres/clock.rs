//! The server's clock: what runs and snapshots are dated by, because the clocks of those who run this differ.

use time::{Duration, OffsetDateTime};

use super::{DatabaseError, Session};

/// How far the server's clock is ahead of this machine's; zero until it is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerClock {
    ahead: Duration,
}

impl ServerClock {
    /// Reads it.
    pub async fn read(session: &Session) -> Result<Self, DatabaseError> {
        let before = OffsetDateTime::now_utc();
        let theirs: OffsetDateTime = session.query_one("SELECT pg_catalog.clock_timestamp()", &[]).await?.get(0);
        // The server read its clock somewhere between our two readings.
        let ours = before + (OffsetDateTime::now_utc() - before) / 2;
        Ok(Self { ahead: theirs - ours })
    }

    /// What the server's clock says now, UTC.
    pub fn now(self) -> OffsetDateTime {
        OffsetDateTime::now_utc() + self.ahead
    }
}
