//! Functions of others that would run as whoever loads a schema or its rows: in checks, generated columns, partition keys,
//! domains, casts.
//!
//! PostgreSQL runs what an index, a materialized view or statistics call as the owner of the table, who can become nobody
//! else meanwhile (`SECURITY_RESTRICTED_OPERATION`, CVE-2022-1552). All else that is evaluated while rows come in runs as the
//! session that loads them, and neither `SET ROLE` nor `SET SESSION AUTHORIZATION` is a wall: a function takes both back.
//!
//! Found in the script of the archive, which says everything with its schema, before any of it is run. What a statement is
//! and whose a function is, is read from the statements: in the comments above them a role's name may say anything.

mod live;
mod script;

use std::collections::BTreeSet;

use super::{DatabaseError, Session};

pub use live::of_writes;
pub use script::of_script;

/// A function of somebody who is not trusted, and what calls it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct ForeignCode {
    /// Whose it is; none: the script does not say.
    pub owner: Option<String>,
    /// Its schema and name.
    pub function: String,
    /// What calls it: `table public.dish`.
    pub used_by: String,
    /// Whether it runs only while rows come into tables of owners who are not trusted either.
    pub with_rows_only: bool,
}

/// What loading a script would run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundCode {
    /// The functions, each with what calls it.
    pub code: Vec<ForeignCode>,
    /// The owners of tables who are not trusted.
    pub table_owners: BTreeSet<String>,
}

impl FoundCode {
    /// Whether nothing of it runs when each table is loaded by a login that can do no more than the table's owner.
    pub fn is_loaded_by_owners(&self) -> bool {
        !self.code.is_empty() && self.code.iter().all(|code| code.with_rows_only)
    }
}

impl std::fmt::Display for ForeignCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let owner = self.owner.as_deref().unwrap_or("nobody knows whom");
        write!(f, "{} of {owner}, called by {}", self.function, self.used_by)
    }
}

/// Roles whose functions may run as the role that loads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedOwners(BTreeSet<String>);

impl TrustedOwners {
    /// The server's superusers, the role of the session itself, and those that the operator named.
    pub async fn read(session: &Session, named: &[String]) -> Result<Self, DatabaseError> {
        let sql = "SELECT rolname FROM pg_catalog.pg_roles WHERE rolsuper OR rolname = session_user";
        let rows = session.query(sql, &[]).await?;
        let mut names: BTreeSet<String> = named.iter().cloned().collect();
        for row in rows {
            names.insert(row.try_get(0)?);
        }
        Ok(Self(names))
    }

    /// These too.
    #[must_use]
    pub fn with(mut self, more: impl IntoIterator<Item = String>) -> Self {
        self.0.extend(more);
        self
    }

    /// Whether this role is one of them.
    pub fn has(&self, owner: &str) -> bool {
        self.0.contains(owner)
    }
}
