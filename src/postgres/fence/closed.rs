//! The closed fence: the database takes no connections, and all sessions but ours are ended.
//!
//! That state outlives us, so the shared catalog says whose it is, beside the mark. Who finds the run dead lifts it.

use std::time::{Duration, Instant};

use super::super::note::{Note, Place};
use super::super::{DatabaseError, Session, quote_identifier, swap};
use super::Holder;

const BETWEEN_ENDINGS: Duration = Duration::from_millis(50);

/// What the shared catalog says of a closed database: which run closed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceRecord {
    /// Id of the run.
    pub run: String,
    /// The connection limit that the database has when it is open; none: it takes no connections at all.
    limit: Option<i32>,
    oid: u32,
    place: Place,
}

/// A database that is closed, or is about to be.
#[derive(Clone, Debug)]
pub struct ClosedFence {
    database: String,
    record: FenceRecord,
}

impl FenceRecord {
    /// The record of a database; none when it has none, or one that was copied from another database.
    pub async fn read(session: &Session, database: &str) -> Result<Option<Self>, DatabaseError> {
        let found = Note::Fence.find(session, Some(database)).await?.into_iter().next();
        let Some((oid, (text, place))) = found.and_then(|found| Some((found.oid, found.text?))) else {
            return Ok(None);
        };
        let record = text.rsplit_once(':').filter(|(_, of)| of.parse() == Ok(oid));
        Ok(record.map(|(run, _)| match run.rsplit_once(":limit=").map(|(run, limit)| (run, limit.parse::<i32>())) {
            // Whoever wrote it: -1 is no limit, and less is none that the server takes.
            Some((run, Ok(limit))) => Self { run: run.to_owned(), limit: Some(limit.max(-1)), oid, place },
            _ => Self { run: run.to_owned(), limit: None, oid, place },
        }))
    }

    /// What opens the database.
    fn open(&self) -> String {
        self.limit.map_or_else(|| "ALLOW_CONNECTIONS true".to_owned(), |limit| format!("CONNECTION LIMIT {limit}"))
    }

    fn text(&self) -> String {
        match self.limit {
            Some(limit) => format!("{}:limit={limit}:{}", self.run, self.oid),
            None => format!("{}:{}", self.run, self.oid),
        }
    }
}

impl ClosedFence {
    /// The fence with which run `run` is to close `database`; nothing is changed yet. With a `limit`, the one that the
    /// database is to have later, it keeps out all but superusers, and otherwise everybody.
    pub async fn of(session: &Session, database: &str, run: &str, limit: Option<i32>) -> Result<Self, DatabaseError> {
        let oid = swap::oid(session, database).await?.unwrap_or_default();
        let place = Note::Fence.place(session).await?;
        Ok(Self { database: database.to_owned(), record: FenceRecord { run: run.to_owned(), limit, oid, place } })
    }

    /// Closes the database, with the record, in one transaction. `session` is on another database.
    pub async fn close(&self, session: &Session) -> Result<(), DatabaseError> {
        let name = quote_identifier(&self.database);
        let sql = format!(
            "BEGIN;SET LOCAL synchronous_commit = on;{};ALTER DATABASE {name} WITH {};COMMIT",
            Note::Fence.set_sql(self.record.place, &self.database, &self.record.text()),
            if self.record.limit.is_some() { "CONNECTION LIMIT 0" } else { "ALLOW_CONNECTIONS false" }
        );
        in_transaction(session, &sql).await
    }

    /// What a dead run left of its fence.
    pub fn left_by(database: &str, record: FenceRecord) -> Self {
        Self { database: database.to_owned(), record }
    }

    /// Opens the database again and takes the record off, after checking that it still is this fence; false when it is
    /// not: then nothing is done.
    pub async fn lift(&self, session: &Session) -> Result<bool, DatabaseError> {
        // A restore may have given it another name.
        let Some(database) = super::super::database::name_of(session, self.record.oid).await? else { return Ok(false) };
        if FenceRecord::read(session, &database).await?.as_ref() != Some(&self.record) {
            return Ok(false);
        }
        let name = quote_identifier(&database);
        let sql = format!(
            "BEGIN;SET LOCAL synchronous_commit = on;ALTER DATABASE {name} WITH {};{};COMMIT",
            self.record.open(),
            Note::Fence.reset_sql(self.record.place, &database)
        );
        in_transaction(session, &sql).await?;
        Ok(true)
    }

    /// The statement that does the same by hand.
    pub fn lift_by_hand(&self) -> String {
        let name = quote_identifier(&self.database);
        let open = format!("ALTER DATABASE {name} {}", self.record.open());
        match self.record.place {
            Place::Setting => format!("{open}; {}", Note::Fence.reset_sql(Place::Setting, &self.database)),
            // A line of a comment does no harm, and the next command of ours removes it.
            Place::Comment => open,
        }
    }
}

/// Does what closing and lifting do, and takes it back: fails as they would.
pub async fn probe_rights(session: &Session, database: &str) -> Result<(), DatabaseError> {
    let name = quote_identifier(database);
    let say = Note::Fence.set_sql(Note::Fence.place(session).await?, database, "probe");
    let sql = format!("BEGIN;{say};ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false;ROLLBACK");
    in_transaction(session, &sql).await
}

async fn in_transaction(session: &Session, sql: &str) -> Result<(), DatabaseError> {
    let Err(error) = session.batch_execute(sql).await else { return Ok(()) };
    if !session.is_closed() {
        session.batch_execute("ROLLBACK").await?;
    }
    Err(error.into())
}

/// The other sessions of a database. Autovacuum, which has no user, writes no rows and is let in by the server in any
/// case. Of others' sessions an ordinary role sees neither `backend_type` nor what they do: they count all the same.
const OTHERS: &str = "a.datname = $1 AND a.pid <> ALL ($2) AND a.pid <> pg_catalog.pg_backend_pid()
     AND a.usesysid IS NOT NULL AND a.backend_type IS DISTINCT FROM 'parallel worker'";

/// The sessions of a database without ours, in words, with whether this role may end them.
pub async fn other_sessions(session: &Session, database: &str, ours: &[i32]) -> Result<Vec<Holder>, DatabaseError> {
    let sql = format!(
        "SELECT a.pid, 'backend ' || a.pid || ' (' || coalesce(nullif(a.application_name, ''), a.backend_type, 'hidden')
                || coalesce(', role ' || a.usename, '') || ')', coalesce({}, false)
           FROM pg_catalog.pg_stat_activity a WHERE {OTHERS} ORDER BY 1",
        swap::MAY_END
    );
    let rows = session.query(&sql, &[&database, &ours]).await?;
    let holder =
        |row: &tokio_postgres::Row| Holder { pid: row.get(0), gid: None, words: row.get(1), may_end: row.get(2) };
    Ok(rows.iter().map(holder).collect())
}

/// Ends the sessions of a closed database without ours, and waits until they are gone. Returns those that are still
/// there after `patience`.
///
/// A connection that is being made passed the door before it shows in the list of sessions; it holds a lock on the
/// database for so long, and is waited for (`InitPostgres` in `postinit.c`).
pub async fn end_sessions(
    session: &Session,
    database: &str,
    ours: &[i32],
    patience: Duration,
) -> Result<Vec<Holder>, DatabaseError> {
    let end = format!(
        "SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a WHERE {OTHERS} AND {}",
        swap::MAY_END
    );
    let coming = "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_database d
                    ON l.classid = 'pg_catalog.pg_database'::regclass AND l.objid = d.oid
                   WHERE l.locktype = 'object' AND d.datname = $1 AND l.mode = 'RowExclusiveLock' AND l.pid <> ALL ($2))";
    let begun = Instant::now();
    loop {
        session.query(&end, &[&database, &ours]).await?;
        // In this order: who is no longer on the way in is in the list.
        let coming: bool = session.query_one(coming, &[&database, &ours]).await?.get(0);
        let left = other_sessions(session, database, ours).await?;
        if (left.is_empty() && !coming) || begun.elapsed() >= patience {
            return Ok(left);
        }
        tokio::time::sleep(BETWEEN_ENDINGS).await;
    }
}
