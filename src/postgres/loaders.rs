//! Logins for the time of a restore, each of which can do what the owner of some tables can, and no more.
//!
//! `SET ROLE` and `SET SESSION AUTHORIZATION` can be taken back by a function that a row calls; the role that a session logged in
//! as cannot.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use super::{ConnectionSpec, DatabaseError, Session, quote_identifier, quote_literal};

/// How their names begin.
const PREFIX: &str = "safe_migrate_load_";
/// How their comments begin; behind it stands the database that they load.
const COMMENT: &str = "safe-migrate: loads database ";

/// The logins, by the owner whose tables they load.
#[derive(Clone, Debug, Default)]
pub struct Loaders(BTreeMap<String, Login>);

#[derive(Clone, Debug)]
struct Login {
    role: String,
    password: SecretString,
}

impl Loaders {
    /// Makes a login for each of these owners. The caller drops them, also after an error.
    pub async fn make(
        &mut self,
        session: &Session,
        database: &str,
        owners: impl IntoIterator<Item = String>,
    ) -> Result<(), DatabaseError> {
        for owner in owners {
            let role = format!("{PREFIX}{}", hex::encode(rand::random::<[u8; 8]>()));
            let password = SecretString::from(hex::encode(rand::random::<[u8; 24]>()));
            let verifier = postgres_protocol::password::scram_sha_256(password.expose_secret().as_bytes());
            let (quoted, of) = (quote_identifier(&role), quote_identifier(&owner));
            let comment = quote_literal(&format!("{COMMENT}{database}"));
            // The verifier may stand in the server's log; nobody logs in with it.
            let sql = format!(
                "BEGIN;
                 CREATE ROLE {quoted} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION INHERIT PASSWORD {};
                 COMMENT ON ROLE {quoted} IS {comment};
                 GRANT {of} TO {quoted};
                 COMMIT",
                quote_literal(&verifier)
            );
            if let Err(error) = session.batch_execute(&sql).await {
                session.batch_execute("ROLLBACK").await?;
                return Err(error.into());
            }
            self.0.insert(owner, Login { role, password });
        }
        Ok(())
    }

    /// The way to the database as the login for this owner's tables.
    pub fn connection(&self, spec: &ConnectionSpec, owner: &str) -> Option<ConnectionSpec> {
        self.0.get(owner).map(|login| spec.with_login(&login.role, login.password.clone()))
    }

    /// One of the owners.
    pub fn an_owner(&self) -> Option<&str> {
        self.0.keys().next().map(String::as_str)
    }

    /// Drops the logins. Their sessions have ended, and nothing of theirs is left, or the database was not proven.
    pub async fn drop(&self, session: &Session) -> Result<(), DatabaseError> {
        for login in self.0.values() {
            session.batch_execute(&format!("DROP ROLE IF EXISTS {}", quote_identifier(&login.role))).await?;
        }
        Ok(())
    }
}

/// Drops the logins that killed restores left: those whose database is gone. Their names, and why one is still there.
pub async fn sweep(session: &Session) -> Result<Vec<(String, Result<(), DatabaseError>)>, DatabaseError> {
    let sql = "SELECT r.rolname::text FROM pg_catalog.pg_roles r
                WHERE pg_catalog.starts_with(r.rolname::text, $1)
                  AND pg_catalog.starts_with(pg_catalog.shobj_description(r.oid, 'pg_authid'), $2)
                  AND NOT EXISTS (SELECT FROM pg_catalog.pg_database d
                                   WHERE $2 || d.datname::text = pg_catalog.shobj_description(r.oid, 'pg_authid'))
                  AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.usesysid = r.oid)";
    let mut swept = Vec::new();
    for row in session.query(sql, &[&PREFIX, &COMMENT]).await? {
        let role: String = row.try_get(0)?;
        let dropped = session.batch_execute(&format!("DROP ROLE IF EXISTS {}", quote_identifier(&role))).await;
        swept.push((role, dropped.map_err(DatabaseError::from)));
    }
    Ok(swept)
}
