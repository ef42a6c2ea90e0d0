//! What the role of a session may do on its server, and how the two are connected.

use time::OffsetDateTime;

use super::{DatabaseError, Session};

/// Encryption of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// For instance `TLSv1.3`.
    pub version: String,
    /// For instance `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
}

/// Rights of the session's role, with what it inherits, and facts about its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The role.
    pub role: String,
    /// `SUPERUSER`.
    pub superuser: bool,
    /// May create databases: `CREATEDB`, or superuser.
    pub create_databases: bool,
    /// May end the sessions of other roles: `pg_signal_backend`, or superuser.
    pub end_sessions: bool,
    /// Owns the target database, itself or by a role that it is in; `None` when there is no such database.
    pub owns_target: Option<bool>,
    /// Encryption between the server and whoever connected to it; `None` for plain text and Unix sockets.
    pub tls: Option<Tls>,
    /// The server's clock when it answered.
    pub clock: OffsetDateTime,
}

impl Capabilities {
    /// Reads them in one statement; `target` names the database that a restore would replace.
    pub async fn read(session: &Session, target: &str) -> Result<Self, DatabaseError> {
        let row = session
            .query_one(
                "SELECT r.rolname::text, r.rolsuper, r.rolsuper OR r.rolcreatedb,
                            pg_catalog.pg_has_role('pg_signal_backend', 'USAGE'),
                            (SELECT pg_catalog.pg_has_role(d.datdba, 'USAGE')
                               FROM pg_catalog.pg_database d WHERE d.datname = $1),
                            s.version, s.cipher, pg_catalog.clock_timestamp()
                       FROM pg_catalog.pg_roles r
                       LEFT JOIN pg_catalog.pg_stat_ssl s ON s.pid = pg_catalog.pg_backend_pid() AND s.ssl
                      WHERE r.rolname = current_user",
                &[&target],
            )
            .await?;
        let version: Option<String> = row.get(5);
        let cipher: Option<String> = row.get(6);
        Ok(Self {
            role: row.get(0),
            superuser: row.get(1),
            create_databases: row.get(2),
            end_sessions: row.get(3),
            owns_target: row.get(4),
            tls: version.zip(cipher).map(|(version, cipher)| Tls { version, cipher }),
            clock: row.get(7),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::private_cluster::tests::start_cluster;

    #[tokio::test]
    async fn rights_are_those_of_the_role_and_what_it_inherits() {
        let cluster = start_cluster().await;
        let superuser = cluster.spec("postgres").connect("test").await.unwrap();
        superuser.batch_execute("CREATE ROLE plain LOGIN; CREATE ROLE team").await.unwrap();
        superuser.batch_execute("CREATE DATABASE theirs OWNER team").await.unwrap();
        let all = Capabilities::read(&superuser, "theirs").await.unwrap();
        assert!(all.superuser && all.create_databases && all.end_sessions);
        assert_eq!((all.owns_target, all.tls), (Some(true), None));

        let plain = cluster.spec("postgres").with_user("plain").connect("test").await.unwrap();
        let none = Capabilities::read(&plain, "theirs").await.unwrap();
        assert_eq!(none.role, "plain");
        assert!(!(none.superuser || none.create_databases || none.end_sessions));
        assert_eq!(none.owns_target, Some(false));

        superuser.batch_execute("ALTER ROLE plain CREATEDB; GRANT pg_signal_backend, team TO plain").await.unwrap();
        let granted = Capabilities::read(&plain, "theirs").await.unwrap();
        assert!(!granted.superuser && granted.create_databases && granted.end_sessions);
        assert_eq!(granted.owns_target, Some(true));
        assert_eq!(Capabilities::read(&plain, "nowhere").await.unwrap().owns_target, None);
        plain.close().await;
        superuser.close().await;
        cluster.stop().await.unwrap();
    }
}
