//! Shadows on a server that others use too: their names, who owns them, and which role may run migrations there.

use super::database::{self, MarkedDatabase};
use super::{ConnectionSpec, DatabaseError, MarkKind, ReplaceError, Session, quote_identifier};

/// How the names of these databases begin.
const PREFIX: &str = "safe_migrate_shadow_";
const COPY: &str = "_before";

/// The name of one shadow. It is random, so a connection that leads to another server finds no database there; and it
/// is the key of an advisory lock, by which others see that its owner lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShadowName(i64);

impl ShadowName {
    /// A new one, claimed on `session`: its owner lives for as long as that session does.
    pub async fn claim(session: &Session) -> Result<Self, DatabaseError> {
        if session.server_version_num() >= 140_000 {
            session.batch_execute("SET idle_session_timeout = 0").await?;
        }
        loop {
            let name = Self(rand::random());
            let claimed = session.query_one("SELECT pg_catalog.pg_try_advisory_lock($1)", &[&name.0]).await?.get(0);
            if claimed {
                return Ok(name);
            }
        }
    }

    /// The shadow database.
    pub fn database(self) -> String {
        format!("{PREFIX}{:016x}", self.0)
    }

    /// Its copy from before the migrations.
    pub fn copy(self) -> String {
        format!("{}{COPY}", self.database())
    }

    /// An empty database beside it.
    pub fn scratch(self, number: u32) -> String {
        format!("{}_{number}", self.database())
    }

    /// The shadow that a database of this name belongs to.
    fn of(database: &str) -> Option<Self> {
        let digits = database.strip_prefix(PREFIX)?.get(..16)?;
        let rest = &database[PREFIX.len() + 16..];
        let ours = rest.is_empty() || rest == COPY || rest.strip_prefix('_')?.bytes().all(|byte| byte.is_ascii_digit());
        u64::from_str_radix(digits, 16).ok().filter(|_| ours).map(|key| Self(key.cast_signed()))
    }

    /// Whether a session of any database of the server has claimed it.
    async fn is_claimed(self, session: &Session) -> Result<bool, DatabaseError> {
        let sql =
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
                     AND (classid::int8 << 32 | objid::int8) = $1)";
        Ok(session.query_one(sql, &[&self.0]).await?.get(0))
    }
}

/// Drops the shadows whose owner is gone; gives the names of their databases. `session` is a maintenance session,
/// `server` any connection of its server.
pub async fn sweep(session: &Session, server: &ConnectionSpec) -> Result<Vec<String>, ReplaceError> {
    let mut dropped = Vec::new();
    // What a kill between CREATE DATABASE and the mark left: an empty one, or the copy of a shadow that is marked.
    for name in database::never_opened(session).await? {
        let Some(shadow) = ShadowName::of(&name) else { continue };
        if shadow.is_claimed(session).await? {
            continue;
        }
        let original = MarkedDatabase::find(session, &shadow.database(), MarkKind::Shadow).await?;
        if (name == shadow.copy() && original.is_some()) || database::is_empty(session, &name).await? {
            session.batch_execute(&format!("DROP DATABASE {}", quote_identifier(&name))).await?;
            dropped.push(name);
        }
    }
    for (name, mark) in super::Mark::all(session).await? {
        let Some(shadow) = ShadowName::of(&name) else { continue };
        if mark.kind() != MarkKind::Shadow || shadow.is_claimed(session).await? {
            continue;
        }
        if let Some(marked) = MarkedDatabase::find(session, &name, MarkKind::Shadow).await? {
            database::drop_marked(session, server, &marked).await?;
            dropped.push(name);
        }
    }
    Ok(dropped)
}

/// What keeps a role from running migrations on a server that others use too; none: nothing does.
///
/// Statements that a text does not show (put together at run time) are refused by the server only when the role has no
/// right to them.
pub async fn refusal_of_role(session: &Session, role: &str) -> Result<Option<String>, DatabaseError> {
    let row = session
        .query_opt(
            "SELECT r.rolsuper, r.rolcreaterole, r.rolreplication,
                    pg_catalog.pg_has_role(r.oid, 'pg_execute_server_program', 'MEMBER')
                      OR pg_catalog.pg_has_role(r.oid, 'pg_write_server_files', 'MEMBER'),
                    pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER'), current_user::text
               FROM pg_catalog.pg_roles r WHERE r.rolname = $1",
            &[&role],
        )
        .await?;
    let Some(row) = row else { return Ok(Some(format!("has no role \"{role}\""))) };
    let attribute = [
        (0, "is a superuser there, and what a superuser does on a server cannot be confined to one database"),
        (1, "may change the roles of that server (CREATEROLE)"),
        (2, "may read everything of that server (REPLICATION)"),
        (3, "may run programs or write files on that server's machine"),
    ];
    if let Some((_, what)) = attribute.iter().find(|(column, _)| row.get(*column)) {
        return Ok(Some(format!("would run the migrations as role \"{role}\", which {what}")));
    }
    let may_act: bool = row.get(4);
    Ok((!may_act).then(|| format!("does not let role \"{}\" act as \"{role}\"", row.get::<_, String>(5))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_other_names() {
        let name = ShadowName(-2);
        assert_eq!(name.database(), "safe_migrate_shadow_fffffffffffffffe");
        for ours in [name.database(), name.copy(), name.scratch(12)] {
            assert_eq!(ShadowName::of(&ours), Some(name), "{ours}");
        }
        for other in
            ["safe_migrate_shadow_", "safe_migrate_shadow_fffffffffffffff", "safe_migrate_shadow_fffffffffffffffe_x"]
        {
            assert_eq!(ShadowName::of(other), None, "{other}");
        }
    }
}
