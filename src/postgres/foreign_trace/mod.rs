//! Sees what a program that is not ours does to a private shadow: the server's log has its statements and their times,
//! event triggers have what they made, rewrote and dropped, and the locks they held.
//!
//! Event triggers run at the end of each data definition command, in its transaction, where its locks are still held
//! (PostgreSQL documentation, "Event Trigger Functions"). What is rolled back leaves no event; the log has it all the same.

mod events;
mod log;

use std::path::{Path, PathBuf};

use super::{DatabaseError, Session, quote_identifier};

pub use events::{Event, EventKind};
pub use log::Logged;

/// A shadow that is being watched.
#[derive(Debug)]
pub struct ForeignTrace {
    log: PathBuf,
    from: u64,
}

impl ForeignTrace {
    /// Begins. `session` is a superuser's on the database of a private server that logs to this file.
    pub async fn start(session: &Session, database: &str, log: &Path) -> Result<Self, DatabaseError> {
        log::configure(session, &quote_identifier(database)).await?;
        events::install(session).await?;
        let from = std::fs::metadata(log).map_or(0, |metadata| metadata.len());
        Ok(Self { log: log.to_owned(), from })
    }

    /// Statements so far of sessions that are not ours.
    pub fn statements(&self) -> std::io::Result<Vec<Logged>> {
        log::read(&self.log, self.from)
    }

    /// Ends, and takes away what it put into the database.
    pub async fn finish(self, session: &Session) -> Result<(Vec<Event>, std::io::Result<Vec<Logged>>), DatabaseError> {
        let events = events::take(session).await?;
        Ok((events, self.statements()))
    }
}

/// How many sessions on this database are not ours.
pub async fn others(session: &Session) -> Result<i64, DatabaseError> {
    let sql = "SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity
                WHERE datname = pg_catalog.current_database() AND application_name !~ '^safe-migrate'
                  AND backend_type = 'client backend'";
    Ok(session.query_one(sql, &[]).await?.get(0))
}
