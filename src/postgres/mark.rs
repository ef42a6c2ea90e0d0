//! The mark of a database that is ours to destroy: a shadow, or one that a restore has not finished.
//!
//! It stands in the shared catalog ([`note`](super::note)), so that it survives a crash and is seen from any database of
//! the server; and it names the database's OID, so that it means nothing when it turns up elsewhere (a copied setting, a
//! restored `pg_dumpall`).

use super::note::{Note, Place};
use super::{DatabaseError, Session};
use crate::fault;
use std::fmt;
use std::str::FromStr;

/// What a marked database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkKind {
    /// The database of a rehearsal.
    Shadow,
    /// A restore fills it, or was killed while it did.
    Unfinished,
    /// A restore loaded all its rows, and something behind them could not be made; it waits to be gone on with.
    Filled,
    /// A restore filled it and proved it; it waits to be swapped in.
    Proven,
}

impl MarkKind {
    fn name(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Unfinished => "unfinished",
            Self::Filled => "filled",
            Self::Proven => "proven",
        }
    }
}

/// The mark of one database: `kind:nonce:oid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    kind: MarkKind,
    nonce: String,
    oid: u32,
}

/// Why a database is not the marked one. Each of these means: do not touch it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MarkError {
    /// The server has no such database.
    #[error("database \"{database}\" does not exist")]
    NoDatabase {
        /// Its name.
        database: String,
    },
    /// It has no mark.
    #[error("database \"{database}\" does not carry safe-migrate's mark, so it is not ours to change")]
    NotMarked {
        /// Its name.
        database: String,
    },
    /// It has the mark of another shadow or restore.
    #[error("database \"{database}\" carries another mark ({found}) than this run set")]
    OtherMark {
        /// Its name.
        database: String,
        /// The mark that is there.
        found: String,
    },
    /// The mark was made for another database and copied here.
    #[error("the mark of database \"{database}\" was made for another database (OID {marked}, here {actual})")]
    Copied {
        /// Its name.
        database: String,
        /// The OID in the mark.
        marked: u32,
        /// The OID of this database.
        actual: u32,
    },
    /// The mark cannot be read.
    #[error("the mark of database \"{database}\" cannot be read: {text}")]
    Malformed {
        /// Its name.
        database: String,
        /// What stands there.
        text: String,
    },
    /// The role may not set the mark (42501).
    #[error("the role may not mark database \"{database}\"")]
    NotPermitted {
        /// Its name.
        database: String,
        /// What the server said.
        source: DatabaseError,
    },
    /// The catalog could not be read or changed.
    #[error("the mark of database \"{database}\" could not be read or set")]
    Database {
        /// Its name.
        database: String,
        /// What the server said.
        source: DatabaseError,
    },
}

impl MarkError {
    /// What to do next, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotPermitted { .. } => Some("only the owner of a database may mark it, or a superuser"),
            Self::NotMarked { .. } | Self::OtherMark { .. } | Self::Copied { .. } => {
                Some("nothing was changed; check which server and database the command names")
            }
            _ => None,
        }
    }
}

impl Mark {
    /// Marks a database, with a new nonce; the session may be in any database of the server.
    pub async fn set(session: &Session, database: &str, kind: MarkKind) -> Result<Self, MarkError> {
        let (oid, _) = Self::read_text(session, database).await?;
        let mark = Self { kind, nonce: format!("{:032x}", rand::random::<u128>()), oid };
        let place = Note::Mark.place(session).await.map_err(|error| explain(database, error))?;
        let sql = Note::Mark.set_sql(place, database, &mark.to_string());
        session.batch_execute(&sql).await.map_err(|error| explain(database, error.into()))?;
        mark.check(session, database).await?;
        Ok(mark)
    }

    /// Reads a database's mark; `None` when it has none. A mark that was made for another database is an error.
    pub async fn read(session: &Session, database: &str) -> Result<Option<Self>, MarkError> {
        let (actual, text) = Self::read_text(session, database).await?;
        let Some((text, _)) = text else { return Ok(None) };
        let Ok(mark) = text.parse::<Self>() else {
            return Err(MarkError::Malformed { database: database.to_owned(), text });
        };
        if mark.oid != actual {
            return Err(MarkError::Copied { database: database.to_owned(), marked: mark.oid, actual });
        }
        Ok(Some(mark))
    }

    /// Fails unless the database carries exactly this mark and is the one it was made for.
    ///
    /// To be called before each destructive step; the session may be in any database of the server.
    pub async fn check(&self, session: &Session, database: &str) -> Result<(), MarkError> {
        match Self::read(session, database).await? {
            _ if fault::is_off("off.shadow-mark") => Ok(()),
            Some(found) if found == *self => Ok(()),
            Some(found) => Err(MarkError::OtherMark { database: database.to_owned(), found: found.to_string() }),
            None => Err(MarkError::NotMarked { database: database.to_owned() }),
        }
    }

    /// Every database of the server with a good mark, by name: what a killed run may have left.
    pub async fn all(session: &Session) -> Result<Vec<(String, Self)>, DatabaseError> {
        let marked = texts(session).await?.into_iter();
        let good = |(database, oid, text): (String, u32, String)| {
            text.parse::<Self>().ok().filter(|mark| mark.oid == oid).map(|mark| (database, mark))
        };
        Ok(marked.filter_map(good).collect())
    }

    /// The statement that takes the mark off, for the transaction that renames the database; empty when it has none.
    pub async fn reset_sql(session: &Session, database: &str) -> Result<String, MarkError> {
        let (_, text) = Self::read_text(session, database).await?;
        Ok(text.map(|(_, place)| Note::Mark.reset_sql(place, database)).unwrap_or_default())
    }

    /// OID of the database that it was made for.
    pub fn oid(&self) -> u32 {
        self.oid
    }

    /// What the marked database is.
    pub fn kind(&self) -> MarkKind {
        self.kind
    }

    async fn read_text(session: &Session, database: &str) -> Result<(u32, Option<(String, Place)>), MarkError> {
        let found = Note::Mark.find(session, Some(database)).await.map_err(|error| explain(database, error))?;
        let Some(found) = found.into_iter().next() else {
            return Err(MarkError::NoDatabase { database: database.to_owned() });
        };
        Ok((found.oid, found.text))
    }
}

/// Every database of the server with something in the mark's place: name, OID, text.
pub(super) async fn texts(session: &Session) -> Result<Vec<(String, u32, String)>, DatabaseError> {
    let found = Note::Mark.find(session, None).await?;
    Ok(found.into_iter().filter_map(|found| Some((found.database, found.oid, found.text?.0))).collect())
}

fn explain(database: &str, source: DatabaseError) -> MarkError {
    let database = database.to_owned();
    if source.has_sqlstate("42501") {
        MarkError::NotPermitted { database, source }
    } else {
        MarkError::Database { database, source }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}", self.kind.name(), self.nonce, self.oid)
    }
}

/// The text is not a mark.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a mark of the form kind:nonce:oid")]
pub struct NotAMark;

impl FromStr for Mark {
    type Err = NotAMark;

    fn from_str(text: &str) -> Result<Self, NotAMark> {
        let mut parts = text.split(':');
        let (Some(kind), Some(nonce), Some(oid), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NotAMark);
        };
        let kind = match kind {
            "shadow" => MarkKind::Shadow,
            "unfinished" => MarkKind::Unfinished,
            "filled" => MarkKind::Filled,
            "proven" => MarkKind::Proven,
            _ => return Err(NotAMark),
        };
        if nonce.len() != 32 || !nonce.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NotAMark);
        }
        Ok(Self { kind, nonce: nonce.to_owned(), oid: oid.parse().map_err(|_| NotAMark)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::private_cluster::tests::start_cluster;

    #[test]
    fn text_and_back() {
        let mark = Mark { kind: MarkKind::Unfinished, nonce: "0123456789abcdef".repeat(2), oid: 16_400 };
        assert_eq!(mark.to_string().parse(), Ok(mark));
        for text in ["", "shadow", "shadow::1", "live:0123456789abcdef0123456789abcdef:1", "shadow:0123:1:2"] {
            assert_eq!(text.parse::<Mark>(), Err(NotAMark), "{text}");
        }
    }

    #[tokio::test]
    async fn holds_for_one_database_and_one_nonce_only() {
        let cluster = start_cluster().await;
        let session = cluster.spec("postgres").connect("test").await.unwrap();
        session.batch_execute("CREATE DATABASE \"a shadow\"; ").await.unwrap();
        session.batch_execute("CREATE DATABASE live").await.unwrap();

        assert_eq!(Mark::read(&session, "a shadow").await.unwrap(), None);
        assert!(matches!(Mark::read(&session, "nowhere").await, Err(MarkError::NoDatabase { .. })));
        let mark = Mark::set(&session, "a shadow", MarkKind::Shadow).await.unwrap();
        assert_eq!(mark.kind(), MarkKind::Shadow);
        mark.check(&session, "a shadow").await.unwrap();
        let inside = cluster.spec("a shadow").connect("test").await.unwrap();
        mark.check(&inside, "a shadow").await.unwrap();
        assert!(matches!(mark.check(&session, "live").await, Err(MarkError::NotMarked { .. })));
        inside.close().await;

        // The same text on another database is refused: the OID is another.
        let copied = Note::Mark.set_sql(Place::Setting, "live", &mark.to_string());
        session.batch_execute(&copied).await.unwrap();
        assert!(matches!(mark.check(&session, "live").await, Err(MarkError::Copied { .. })));
        assert_eq!(Mark::all(&session).await.unwrap(), vec![("a shadow".to_owned(), mark.clone())]);

        // A later mark of the same database is not this one.
        let later = Mark::set(&session, "a shadow", MarkKind::Shadow).await.unwrap();
        assert!(matches!(mark.check(&session, "a shadow").await, Err(MarkError::OtherMark { .. })));

        // The mark follows a rename, and goes in the same transaction.
        session.batch_execute("ALTER DATABASE \"a shadow\" RENAME TO renamed").await.unwrap();
        later.check(&session, "renamed").await.unwrap();
        session.batch_execute(&Mark::reset_sql(&session, "renamed").await.unwrap()).await.unwrap();
        assert!(matches!(later.check(&session, "renamed").await, Err(MarkError::NotMarked { .. })));
        session.close().await;
        cluster.stop().await.unwrap();
    }

    #[tokio::test]
    async fn an_owner_marks_with_or_without_the_right_to_set_it() {
        let cluster = start_cluster().await;
        let session = cluster.spec("postgres").connect("test").await.unwrap();
        session.batch_execute("CREATE ROLE plain LOGIN CREATEDB").await.unwrap();
        session.batch_execute("CREATE DATABASE theirs OWNER plain").await.unwrap();
        session.batch_execute("COMMENT ON DATABASE theirs IS 'of the shop'").await.unwrap();
        let plain = cluster.spec("theirs").with_user("plain").connect("test").await.unwrap();
        let by_comment = Mark::set(&plain, "theirs", MarkKind::Unfinished).await.unwrap();
        by_comment.check(&plain, "theirs").await.unwrap();
        assert_eq!(Mark::read(&session, "theirs").await.unwrap(), None, "not the word of an owner for a superuser");
        plain.batch_execute(&Mark::reset_sql(&plain, "theirs").await.unwrap()).await.unwrap();
        assert_eq!(Mark::read(&plain, "theirs").await.unwrap(), None);
        let others = Mark::set(&plain, "postgres", MarkKind::Shadow).await.unwrap_err();
        assert!(matches!(others, MarkError::NotPermitted { .. }), "{others}");
        assert!(others.hint().unwrap().contains("owner"));
        session.batch_execute("GRANT SET ON PARAMETER \"safe_migrate.mark\" TO plain").await.unwrap();
        let by_setting = Mark::set(&plain, "theirs", MarkKind::Shadow).await.unwrap();
        by_setting.check(&session, "theirs").await.unwrap();
        plain.close().await;
        session.close().await;
        cluster.stop().await.unwrap();
    }
}
