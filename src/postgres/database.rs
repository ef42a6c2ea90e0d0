//! Databases as a whole: looked up, made with a mark, and dropped.

use sha2::{Digest, Sha256};

use super::database_properties::CLOSED;
use super::{
    ConnectionError, ConnectionSpec, DatabaseError, KeptDatabase, Mark, MarkError, MarkKind, Session, quote_identifier,
    subscription,
};

pub use super::believed_properties::{BelievedProperties, OperatorsOwn};
pub use super::database_properties::{DatabaseProperties, HostedOn, copy_properties, limit_connections};

/// Why a database was not created, swapped or dropped.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// It is not the one that we made.
    #[error(transparent)]
    Mark(#[from] MarkError),
    /// The server refused.
    #[error("{0}")]
    Database(#[from] DatabaseError),
    /// No connection to the database itself.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// Somebody renamed or dropped it meanwhile.
    #[error("database \"{database}\" is not the one that it was a moment ago; nothing was changed")]
    Changed {
        /// Its name.
        database: String,
    },
}

impl From<tokio_postgres::Error> for ReplaceError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

/// A database that we made, with the mark that proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkedDatabase {
    /// Name.
    pub name: String,
    mark: Mark,
}

impl MarkedDatabase {
    /// The database of that name, when it carries a mark of that kind.
    pub async fn find(session: &Session, name: &str, kind: MarkKind) -> Result<Option<Self>, ReplaceError> {
        if !exists(session, name).await? {
            return Ok(None);
        }
        // What a swap put aside carries the evidence of that in the mark's place, and is none of ours to fill or drop.
        if KeptDatabase::all(session).await?.iter().any(|kept| kept.name == name) {
            return Ok(None);
        }
        let mark = Mark::read(session, name).await?.filter(|mark| mark.kind() == kind);
        Ok(mark.map(|mark| Self { name: name.to_owned(), mark }))
    }

    /// Its OID.
    pub fn oid(&self) -> u32 {
        self.mark.oid()
    }

    /// Fails unless the database still is the one that we made.
    pub async fn check(&self, session: &Session) -> Result<(), MarkError> {
        self.mark.check(session, &self.name).await
    }

    /// Gives the database a new mark.
    pub async fn change_kind(self, session: &Session, kind: MarkKind) -> Result<Self, ReplaceError> {
        self.check(session).await?;
        let mark = Mark::set(session, &self.name, kind).await?;
        Ok(Self { mark, ..self })
    }

    /// Takes the mark off: from here on it is the operator's database.
    pub async fn release(self, session: &Session) -> Result<(), ReplaceError> {
        self.check(session).await?;
        session.batch_execute(&Mark::reset_sql(session, &self.name).await?).await?;
        Ok(())
    }
}

/// Whether a database of that name exists.
pub async fn exists(session: &Session, name: &str) -> Result<bool, DatabaseError> {
    let row =
        session.query_one("SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = $1)", &[&name]).await?;
    Ok(row.get(0))
}

/// The database that a session is connected to.
pub async fn current(session: &Session) -> Result<String, DatabaseError> {
    Ok(session.query_one("SELECT pg_catalog.current_database()::text", &[]).await?.get(0))
}

/// The name that a database has now; none when there is no such database.
pub async fn name_of(session: &Session, oid: u32) -> Result<Option<String>, DatabaseError> {
    let row = session.query_opt("SELECT datname::text FROM pg_catalog.pg_database WHERE oid = $1", &[&oid]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// Whether the database that a session works on is the one that has this name now. A session stays on its database when
/// that one is renamed and another gets the name. `session` is on any database of the same server, `working` on the one.
pub async fn is_still_named(session: &Session, working: &Session, name: &str) -> Result<bool, DatabaseError> {
    let named = super::swap::oid(session, name).await?;
    let own = "SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()";
    let works_on: Option<u32> = working.query_opt(own, &[]).await?.map(|row| row.get(0));
    Ok(named.is_some() && named == works_on)
}

/// Bytes on disk; none when there is no such database, or the role may not know.
pub async fn size(session: &Session, name: &str) -> Result<Option<u64>, DatabaseError> {
    let row = session
        .query_opt(
            "SELECT CASE WHEN pg_catalog.has_database_privilege(oid, 'CONNECT') THEN pg_catalog.pg_database_size(oid) END
               FROM pg_catalog.pg_database WHERE datname = $1",
            &[&name],
        )
        .await?;
    Ok(row.and_then(|row| row.get::<_, Option<i64>>(0)).and_then(|bytes| u64::try_from(bytes).ok()))
}

/// Where the server keeps its data, on its own machine; none when the role may not know.
pub async fn data_directory(session: &Session) -> Result<Option<String>, DatabaseError> {
    let sql = "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'data_directory'";
    Ok(session.query_opt(sql, &[]).await?.and_then(|row| row.get(0)))
}

/// Creates an empty database with the locale of `like` and the given mark. `session` is on another database.
///
/// It accepts no connections until it has its mark: what a kill in between leaves is told from everybody else's
/// databases by that, and by holding nothing (`drop_unmarked`).
pub async fn create(
    session: &Session,
    name: &str,
    like: &DatabaseProperties,
    kind: MarkKind,
    on: HostedOn,
) -> Result<MarkedDatabase, ReplaceError> {
    session.batch_execute(&like.create_sql(name, major(session), on)).await?;
    match mark_and_open(session, name, kind).await {
        Ok(mark) => Ok(MarkedDatabase { name: name.to_owned(), mark }),
        Err(error) => {
            drop_just_made(session, name).await;
            Err(error)
        }
    }
}

/// Copies a database of ours, which nobody may be connected to, and marks the copy. OIDs of its objects are kept.
///
/// Like [`create`], it accepts no connections until it has its mark.
pub async fn create_copy(
    session: &Session,
    name: &str,
    of: &MarkedDatabase,
    on: HostedOn,
) -> Result<MarkedDatabase, ReplaceError> {
    of.check(session).await?;
    let (quoted, of) = (quote_identifier(name), quote_identifier(&of.name));
    let strategy = on.strategy(major(session));
    session.batch_execute(&format!("CREATE DATABASE {quoted} TEMPLATE {of} {CLOSED}{strategy}")).await?;
    match mark_and_open(session, name, MarkKind::Shadow).await {
        Ok(mark) => Ok(MarkedDatabase { name: name.to_owned(), mark }),
        Err(error) => {
            drop_just_made(session, name).await;
            Err(error)
        }
    }
}

/// Drops a database that this session made a moment ago and nobody could connect to. When that fails too, the first error
/// is the one that says why; the next restore drops what is left.
async fn drop_just_made(session: &Session, name: &str) {
    let drop = format!("DROP DATABASE {}", quote_identifier(name));
    // Two requests: together they would be one transaction, in which no database can be dropped.
    for statement in ["ROLLBACK", drop.as_str()] {
        let _ = session.batch_execute(statement).await;
    }
}

fn major(session: &Session) -> u32 {
    session.server_version_num() / 10_000
}

async fn mark_and_open(session: &Session, name: &str, kind: MarkKind) -> Result<Mark, ReplaceError> {
    session.batch_execute("BEGIN").await?;
    let mark = Mark::set(session, name, kind).await?;
    let open =
        format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true CONNECTION LIMIT -1;COMMIT", quote_identifier(name));
    session.batch_execute(&open).await?;
    Ok(mark)
}

/// Drops the old database that a swap put aside, after checking on this very session that it still is that one.
pub async fn drop_kept(session: &Session, kept: &KeptDatabase) -> Result<(), ReplaceError> {
    if kept.name == kept.live || !kept.is_unchanged(session).await? {
        return Err(ReplaceError::Changed { database: kept.name.clone() });
    }
    Ok(session.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", quote_identifier(&kept.name))).await?)
}

/// Drops a database of ours, after checking that it still is that one. `session` is a maintenance session, `server` any
/// connection of its server.
pub async fn drop_marked(
    session: &Session,
    server: &ConnectionSpec,
    database: &MarkedDatabase,
) -> Result<(), ReplaceError> {
    database.check(session).await?;
    subscription::drop_all(session, server, &database.name).await?;
    database.check(session).await?;
    let sql = format!("DROP DATABASE {} WITH (FORCE)", quote_identifier(&database.name));
    session.batch_execute(&sql).await?;
    Ok(())
}

/// Drops what earlier restores of `live` left unfinished; the caller holds the lock of `live`, so nobody fills them.
/// Returns their names.
pub async fn drop_unfinished(
    session: &Session,
    server: &ConnectionSpec,
    live: &str,
) -> Result<Vec<String>, ReplaceError> {
    drop_of_kinds(session, server, live, &[MarkKind::Unfinished]).await
}

/// The same, of these kinds.
pub async fn drop_of_kinds(
    session: &Session,
    server: &ConnectionSpec,
    live: &str,
    kinds: &[MarkKind],
) -> Result<Vec<String>, ReplaceError> {
    let mut dropped = drop_unmarked(session, live).await?;
    for (name, mark) in Mark::all(session).await? {
        if kinds.contains(&mark.kind()) && belongs_to(&name, live) {
            drop_marked(session, server, &MarkedDatabase { name: name.clone(), mark }).await?;
            dropped.push(name);
        }
    }
    Ok(dropped)
}

/// What restores of `live` made and did not end, by name: half filled, or filled and waiting for `--resume` or `--swap`.
pub async fn not_ended(session: &Session, live: &str) -> Result<Vec<(String, MarkKind)>, DatabaseError> {
    let marked = Mark::all(session).await?.into_iter().map(|(name, mark)| (name, mark.kind()));
    Ok(marked.filter(|(name, kind)| *kind != MarkKind::Shadow && belongs_to(name, live)).collect())
}

/// Names of the databases that were never opened: closed, with limit 0 and without settings.
pub(super) async fn never_opened(session: &Session) -> Result<Vec<String>, DatabaseError> {
    let rows = session
        .query(
            "SELECT d.datname::text FROM pg_catalog.pg_database d
              WHERE NOT d.datallowconn AND d.datconnlimit = 0 AND NOT d.datistemplate
                AND pg_catalog.pg_has_role(d.datdba, 'USAGE')
                AND NOT EXISTS (SELECT FROM pg_catalog.pg_db_role_setting s WHERE s.setdatabase = d.oid)",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Whether a database is as large as `template0`, so that there is no row in it that is not there too.
pub(super) async fn is_empty(session: &Session, name: &str) -> Result<bool, DatabaseError> {
    let same_size = "SELECT pg_catalog.pg_database_size($1::name) = pg_catalog.pg_database_size('template0')";
    Ok(session.query_one(same_size, &[&name]).await?.get(0))
}

/// Drops what a kill between `CREATE DATABASE` and the mark left: named like ours, never opened, and empty.
async fn drop_unmarked(session: &Session, live: &str) -> Result<Vec<String>, ReplaceError> {
    let rows = never_opened(session).await?;
    let mut dropped = Vec::new();
    for name in rows.into_iter().filter(|name| belongs_to(name, live)) {
        if is_empty(session, &name).await? {
            session.batch_execute(&format!("DROP DATABASE {}", quote_identifier(&name))).await?;
            dropped.push(name);
        }
    }
    Ok(dropped)
}

/// Whether a restore of `live` fills databases of this name.
fn belongs_to(name: &str, live: &str) -> bool {
    name == live || name.rsplit_once(RESTORED).is_some_and(|(of, _)| of == short(live))
}

const RESTORED: &str = "_restored_";
/// Bytes of a snapshot's id in a name: `20261122t135823z_7f3a9c`.
const ID: usize = 23;
/// Bytes of a PostgreSQL name.
const LONGEST_NAME: usize = 63;
const LONGEST_LIVE: usize = LONGEST_NAME - RESTORED.len() - ID;
/// Hexadecimal digits that tell long names from each other.
const DIGITS: usize = 8;

/// A live name as it stands at the beginning of others: a long one is cut, and ends in a hash of the whole.
fn short(live: &str) -> String {
    if live.len() <= LONGEST_LIVE {
        return live.to_owned();
    }
    let hash = hex::encode(Sha256::digest(live));
    let cut = live.floor_char_boundary(LONGEST_LIVE - 1 - DIGITS);
    format!("{}_{}", &live[..cut], &hash[..DIGITS])
}

/// The live name that a restored database of this name belongs to: `connected`, one that is there, or the one that its name
/// says.
pub async fn live_name_of(session: &Session, restored: &str, connected: &str) -> Result<Option<String>, DatabaseError> {
    let Some((of, _)) = restored.rsplit_once(RESTORED) else { return Ok(None) };
    let rows = session.query("SELECT datname::text FROM pg_catalog.pg_database ORDER BY 1", &[]).await?;
    let mut names: Vec<String> = Vec::new();
    for row in rows {
        names.push(row.try_get(0)?);
    }
    if short(connected) == of {
        return Ok(Some(connected.to_owned()));
    }
    // A long one before one that is called as its short form is.
    let longest = names.into_iter().filter(|name| short(name) == of).max_by_key(String::len);
    Ok(Some(longest.unwrap_or_else(|| of.to_owned())))
}

/// How the names of databases begin that a restore of `live` fills.
pub fn restored_prefix(live: &str) -> String {
    format!("{}{RESTORED}", short(live))
}
