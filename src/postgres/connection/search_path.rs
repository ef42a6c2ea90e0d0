//! The search path: ours for our own statements, the server's for those that others wrote.
//!
//! Who may create in a schema of the path chooses what `=` and `lower` mean there: an operator that fits the types better
//! than the one in `pg_catalog` is taken, and runs with the rights of the caller (CVE-2018-1058).

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use super::super::quote_literal;
use super::{DatabaseError, Session};

/// Nothing that anybody else made. Not empty: `pg_temp` would come first then, for tables.
pub(super) const OURS: &str = "pg_catalog,pg_temp";

/// Ours, from now on.
pub const SET_OURS: &str = "SET search_path = pg_catalog,pg_temp";

/// Ours, until the running transaction ends.
pub const SET_OURS_LOCALLY: &str = "SET LOCAL search_path = pg_catalog,pg_temp";

/// A session for statements that others wrote. Between them the search path is ours.
pub struct MigratingSession {
    session: Session,
    /// Theirs, as the last statement left it; none: as the server gave it.
    theirs: Mutex<Option<String>>,
}

impl MigratingSession {
    pub(super) fn new(session: Session) -> Self {
        Self { session, theirs: Mutex::default() }
    }

    /// Theirs for what comes, as the server gives it: of a session whose other settings were just reset.
    pub fn reset_theirs(&self) {
        *self.lock() = None;
    }

    /// Sets theirs, for a statement of others.
    pub async fn set_theirs(&self) -> Result<(), DatabaseError> {
        let set = self.sql_for_theirs("SET");
        Ok(self.session.batch_execute(&set).await?)
    }

    /// The same, until the running transaction ends.
    pub async fn set_theirs_locally(&self) -> Result<(), DatabaseError> {
        let set = self.sql_for_theirs("SET LOCAL");
        Ok(self.session.batch_execute(&set).await?)
    }

    /// Sets ours again and remembers theirs, which a statement may have changed.
    pub async fn set_ours(&self) -> Result<(), DatabaseError> {
        self.remember_and(SET_OURS).await
    }

    /// The same, until the running transaction ends.
    pub async fn set_ours_locally(&self) -> Result<(), DatabaseError> {
        self.remember_and(SET_OURS_LOCALLY).await
    }

    /// What a name means in their search path: the OID of a relation.
    pub async fn relation(&self, name: &str) -> Result<Option<u32>, DatabaseError> {
        self.set_theirs().await?;
        let found = self.session.query_one("SELECT pg_catalog.to_regclass($1)::pg_catalog.oid", &[&name]).await;
        self.session.batch_execute(SET_OURS).await?;
        Ok(found?.get(0))
    }

    /// As [`Session::close`].
    pub async fn close(self) {
        self.session.close().await;
    }

    async fn remember_and(&self, set: &str) -> Result<(), DatabaseError> {
        let asked = format!("SELECT pg_catalog.current_setting('search_path'); {set}");
        for message in self.session.simple_query(&asked).await? {
            if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                *self.lock() = row.get(0).map(str::to_owned);
            }
        }
        Ok(())
    }

    fn sql_for_theirs(&self, set: &str) -> String {
        match self.lock().as_deref() {
            None => format!("{set} search_path TO DEFAULT"),
            Some(path) => {
                let is_local = set == "SET LOCAL";
                format!("SELECT pg_catalog.set_config('search_path', {}, {is_local})", quote_literal(path))
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.theirs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for MigratingSession {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl DerefMut for MigratingSession {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.session
    }
}

impl fmt::Debug for MigratingSession {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.session.fmt(formatter)
    }
}
