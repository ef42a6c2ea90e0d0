//! Databases as a whole: their properties, creation, the swap of names, and dropping.

use super::{
    ConnectionError, ConnectionSpec, DatabaseError, Mark, MarkError, MarkKind, Session, quote_identifier,
    quote_literal, subscription,
};

/// Why a database was not created, swapped or dropped.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// It is not the one that we made.
    #[error(transparent)]
    Mark(#[from] MarkError),
    /// The server refused.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// No connection to the database itself.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
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
        let mark = Mark::read(session, name).await?.filter(|mark| mark.kind() == kind);
        Ok(mark.map(|mark| Self { name: name.to_owned(), mark }))
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
        session.batch_execute(&Mark::reset_sql(&self.name)).await?;
        Ok(())
    }
}

/// Properties that `pg_dump` leaves to `--create`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseProperties {
    /// OID.
    pub oid: u32,
    /// Name.
    pub name: String,
    /// Owner.
    pub owner: String,
    /// Encoding, for instance `UTF8`.
    pub encoding: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// `c` (libc), `i` (ICU) or `b` (built in, 17 and later), as in `pg_database.datlocprovider`.
    pub locale_provider: String,
    /// Locale of the `icu` or `builtin` provider.
    pub provider_locale: Option<String>,
    /// Version of the collation that the server recorded.
    pub collation_version: Option<String>,
    /// `datacl` as text.
    pub acl: Option<String>,
    /// `CONNECTION LIMIT`, -1 for none.
    pub connection_limit: i32,
    /// `COMMENT ON DATABASE`.
    pub comment: Option<String>,
    /// `ALTER DATABASE … SET` (role none) and `ALTER ROLE … IN DATABASE … SET`, as `name=value`.
    pub settings: Vec<(Option<String>, String)>,
    /// Bytes on disk.
    pub bytes: i64,
}

impl DatabaseProperties {
    /// Reads the properties of the database that `session` is connected to.
    pub async fn read(session: &Session) -> Result<Self, DatabaseError> {
        let major = session.server_version_num() / 10_000;
        let (provider, locale) = match major {
            17.. => ("datlocprovider::text", "datlocale"),
            15..=16 => ("datlocprovider::text", "daticulocale"),
            _ => ("'c'", "NULL::text"),
        };
        let version = if major >= 15 { "datcollversion" } else { "NULL::text" };
        let row = session
            .query_one(
                &format!(
                    "SELECT oid, datname::text, pg_catalog.pg_get_userbyid(datdba)::text,
                            pg_catalog.pg_encoding_to_char(encoding)::text, datcollate::text, datctype::text,
                            {provider}, {locale}, {version}, datacl::text, datconnlimit,
                            pg_catalog.shobj_description(oid, 'pg_database'), pg_catalog.pg_database_size(oid)
                       FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()"
                ),
                &[],
            )
            .await?;
        let oid: u32 = row.get(0);
        let settings = session
            .query(
                "SELECT r.rolname::text, unnest(s.setconfig) FROM pg_catalog.pg_db_role_setting s
                   LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole WHERE s.setdatabase = $1 ORDER BY 1 NULLS FIRST, 2",
                &[&oid],
            )
            .await?;
        Ok(Self {
            oid,
            name: row.get(1),
            owner: row.get(2),
            encoding: row.get(3),
            collate: row.get(4),
            ctype: row.get(5),
            locale_provider: row.get(6),
            provider_locale: row.get(7),
            collation_version: row.get(8),
            acl: row.get(9),
            connection_limit: row.get(10),
            comment: row.get(11),
            bytes: row.get(12),
            settings: settings
                .iter()
                .map(|row| (row.get(0), row.get(1)))
                .filter(|(_, setting): &(Option<String>, String)| !setting.starts_with("safe_migrate."))
                .collect(),
        })
    }

    fn create_sql(&self, name: &str, server_major: u32) -> String {
        let mut sql = format!(
            "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}",
            quote_identifier(name),
            quote_literal(&self.encoding),
            quote_literal(&self.collate),
            quote_literal(&self.ctype)
        );
        if server_major >= 15 {
            sql.push_str(&match (self.locale_provider.as_str(), &self.provider_locale) {
                ("i", Some(locale)) => format!(" LOCALE_PROVIDER icu ICU_LOCALE {}", quote_literal(locale)),
                ("b", Some(locale)) => format!(" LOCALE_PROVIDER builtin BUILTIN_LOCALE {}", quote_literal(locale)),
                _ => " LOCALE_PROVIDER libc".to_owned(),
            });
        }
        sql
    }
}

/// Whether a database of that name exists.
pub async fn exists(session: &Session, name: &str) -> Result<bool, DatabaseError> {
    let row =
        session.query_one("SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = $1)", &[&name]).await?;
    Ok(row.get(0))
}

/// Creates an empty database with the locale of `like` and the given mark. `session` is on another database.
pub async fn create(
    session: &Session,
    name: &str,
    like: &DatabaseProperties,
    kind: MarkKind,
) -> Result<MarkedDatabase, ReplaceError> {
    let major = session.server_version_num() / 10_000;
    session.batch_execute(&like.create_sql(name, major)).await?;
    match Mark::set(session, name, kind).await {
        Ok(mark) => Ok(MarkedDatabase { name: name.to_owned(), mark }),
        Err(error) => {
            // Made a moment ago by this session, and still empty.
            session.batch_execute(&format!("DROP DATABASE {}", quote_identifier(name))).await?;
            Err(error.into())
        }
    }
}

/// Gives a filled database the owner, ACL, comment and settings of `like`. `session` is connected to that very
/// database: the catalogs that all share keep its comment and its settings in its own encoding.
///
/// Database settings and ACLs do not follow a rename, so they are set again. The connection limit is part of the swap.
pub async fn copy_properties(session: &Session, name: &str, like: &DatabaseProperties) -> Result<(), DatabaseError> {
    let database = quote_identifier(name);
    let mut sql = vec![format!("ALTER DATABASE {database} OWNER TO {}", quote_identifier(&like.owner))];
    if let Some(comment) = &like.comment {
        sql.push(format!("COMMENT ON DATABASE {database} IS {}", quote_literal(comment)));
    }
    if let Some(acl) = &like.acl {
        // Without an ACL, PUBLIC and the owner have rights by default.
        sql.push(format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC, {}", quote_identifier(&like.owner)));
        sql.extend(grants(session, &database, acl).await?);
    }
    for (role, setting) in &like.settings {
        let Some((parameter, value)) = setting.split_once('=') else { continue };
        let value = setting_value(parameter, value);
        sql.push(match role {
            None => format!("ALTER DATABASE {database} SET {} TO {value}", quote_identifier(parameter)),
            Some(role) => format!(
                "ALTER ROLE {} IN DATABASE {database} SET {} TO {value}",
                quote_identifier(role),
                quote_identifier(parameter)
            ),
        });
    }
    for statement in sql {
        session.batch_execute(&statement).await?;
    }
    Ok(())
}

/// Parameters whose value is a list: `SET x TO 'a, b'` would be one element (pg_dump knows the same five:
/// `variable_is_guc_list_quote`).
fn setting_value(parameter: &str, value: &str) -> String {
    const LISTS: &[&str] = &[
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    ];
    if LISTS.contains(&parameter.to_ascii_lowercase().as_str()) && !value.is_empty() {
        let elements: Vec<String> = list_elements(value).iter().map(|element| quote_literal(element)).collect();
        elements.join(", ")
    } else {
        quote_literal(value)
    }
}

/// The elements of a list as the catalog holds it: each quoted where it must be, so that it may hold a comma.
fn list_elements(value: &str) -> Vec<String> {
    let mut elements = vec![String::new()];
    let mut quoted = false;
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => elements[0].extend(characters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => elements.insert(0, String::new()),
            ' ' if !quoted => {}
            _ => elements[0].push(character),
        }
    }
    elements.reverse();
    elements
}

async fn grants(session: &Session, database: &str, acl: &str) -> Result<Vec<String>, DatabaseError> {
    let rows = session
        .query(
            "SELECT coalesce(r.rolname::text, ''), a.privilege_type, a.is_grantable
               FROM pg_catalog.aclexplode($1::text::aclitem[]) a LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee",
            &[&acl],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| {
            let grantee: String = row.get(0);
            let grantee = if grantee.is_empty() { "PUBLIC".to_owned() } else { quote_identifier(&grantee) };
            let option = if row.get(2) { " WITH GRANT OPTION" } else { "" };
            format!("GRANT {} ON DATABASE {database} TO {grantee}{option}", row.get::<_, String>(1))
        })
        .collect())
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
    let prefix = restored_prefix(live);
    let mut dropped = Vec::new();
    for (name, mark) in Mark::all(session).await? {
        if mark.kind() == MarkKind::Unfinished && (name.starts_with(&prefix) || name == live) {
            drop_marked(session, server, &MarkedDatabase { name: name.clone(), mark }).await?;
            dropped.push(name);
        }
    }
    Ok(dropped)
}

/// How the names of databases begin that a restore of `live` fills.
pub fn restored_prefix(live: &str) -> String {
    format!("{live}_restored_")
}

/// What stands in the way of a swap, in the words of the operator; empty when nothing does.
pub async fn swap_obstacles(session: &Session, live: &str) -> Result<Vec<String>, DatabaseError> {
    let rows = session
        .query(
            "SELECT 'prepared transaction ' || quote_literal(gid) || ' of ' || database
               FROM pg_catalog.pg_prepared_xacts WHERE database = $1
             UNION ALL
             SELECT 'replication slot ' || slot_name || ' of ' || database
               FROM pg_catalog.pg_replication_slots WHERE database = $1
             UNION ALL
             SELECT 'subscription ' || s.subname FROM pg_catalog.pg_subscription s
               JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE d.datname = $1",
            &[&live],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Puts `restored` in the place of `live`, which is kept as `kept` when it exists.
///
/// New connections are refused and old ones ended first; both renames and the end of the mark are one transaction, so
/// the name points either at the old database or at the proven one. `session` is a maintenance session.
pub async fn swap(session: &Session, live: &str, restored: &MarkedDatabase, kept: &str) -> Result<(), ReplaceError> {
    restored.check(session).await?;
    let live_exists = exists(session, live).await?;
    if live_exists {
        close(session, live).await?;
    }
    let renamed = rename_both(session, live, live_exists, restored, kept).await;
    if live_exists {
        // Whatever happened, the old database accepts connections again, under the name that it has now.
        let name = if renamed.is_ok() { kept } else { live };
        let reopen = format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", quote_identifier(name));
        session.batch_execute(&reopen).await?;
    }
    renamed
}

async fn close(session: &Session, name: &str) -> Result<(), DatabaseError> {
    session.batch_execute(&format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false", quote_identifier(name))).await?;
    end_sessions(session, name).await
}

async fn end_sessions(session: &Session, name: &str) -> Result<(), DatabaseError> {
    session
        .query(
            "SELECT pg_catalog.pg_terminate_backend(pid, 5000) FROM pg_catalog.pg_stat_activity
              WHERE datname = $1 AND pid <> pg_catalog.pg_backend_pid()",
            &[&name],
        )
        .await?;
    Ok(())
}

async fn rename_both(
    session: &Session,
    live: &str,
    live_exists: bool,
    restored: &MarkedDatabase,
    kept: &str,
) -> Result<(), ReplaceError> {
    end_sessions(session, &restored.name).await?;
    let (live, new, kept) = (quote_identifier(live), quote_identifier(&restored.name), quote_identifier(kept));
    let mut sql = String::from("BEGIN;");
    if live_exists {
        sql.push_str(&format!("ALTER DATABASE {live} RENAME TO {kept};"));
    }
    // The mark goes with the rename: one that outlived it would make the live database look like a stray.
    sql.push_str(&format!("{};ALTER DATABASE {new} RENAME TO {live};COMMIT", Mark::reset_sql(&restored.name)));
    let result = session.batch_execute(&sql).await;
    if result.is_err() {
        session.batch_execute("ROLLBACK").await?;
    }
    Ok(result?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_setting_keeps_its_elements() {
        assert_eq!(setting_value("search_path", "\"$user\", public"), "'$user', 'public'");
        assert_eq!(setting_value("search_path", r#"a, "b, "" c",d"#), r#"'a', 'b, " c', 'd'"#);
        assert_eq!(setting_value("search_path", ""), "''");
        assert_eq!(setting_value("TimeZone", "Europe/Brussels"), "'Europe/Brussels'");
    }
}
