//! Databases as a whole: their properties, creation, the swap of names, and dropping.

use super::{
    ConnectionError, ConnectionSpec, DatabaseError, KeptDatabase, Mark, MarkError, MarkKind, Session, quote_identifier,
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
            "CREATE DATABASE {} TEMPLATE template0 {CLOSED} ENCODING {} LC_COLLATE {} LC_CTYPE {}",
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

/// How a database begins that [`create`] has not marked yet.
const CLOSED: &str = "ALLOW_CONNECTIONS false CONNECTION LIMIT 0";

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
/// databases by that, and by holding nothing ([`drop_unmarked`]).
pub async fn create(
    session: &Session,
    name: &str,
    like: &DatabaseProperties,
    kind: MarkKind,
) -> Result<MarkedDatabase, ReplaceError> {
    let major = session.server_version_num() / 10_000;
    session.batch_execute(&like.create_sql(name, major)).await?;
    match mark_and_open(session, name, kind).await {
        Ok(mark) => Ok(MarkedDatabase { name: name.to_owned(), mark }),
        Err(error) => {
            // Made a moment ago by this session, and still empty.
            session.batch_execute(&format!("ROLLBACK;DROP DATABASE {}", quote_identifier(name))).await?;
            Err(error)
        }
    }
}

async fn mark_and_open(session: &Session, name: &str, kind: MarkKind) -> Result<Mark, ReplaceError> {
    session.batch_execute("BEGIN").await?;
    let mark = Mark::set(session, name, kind).await?;
    let open =
        format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true CONNECTION LIMIT -1;COMMIT", quote_identifier(name));
    session.batch_execute(&open).await?;
    Ok(mark)
}

/// Gives a filled database the owner, ACL, comment and settings of `like`. `session` is connected to that very
/// database: the catalogs that all share keep its comment and its settings in its own encoding.
///
/// Database settings and ACLs do not follow a rename, so they are set again. The connection limit is the last of them
/// ([`limit_connections`]): our own sessions count too.
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

/// Gives a restored database the connection limit of `like`.
pub async fn limit_connections(session: &Session, name: &str, like: &DatabaseProperties) -> Result<(), DatabaseError> {
    let sql =
        format!("ALTER DATABASE {} WITH CONNECTION LIMIT {}", quote_identifier(name), like.connection_limit.max(-1));
    Ok(session.batch_execute(&sql).await?)
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
    let mut dropped = drop_unmarked(session, live).await?;
    for (name, mark) in Mark::all(session).await? {
        if mark.kind() == MarkKind::Unfinished && belongs_to(&name, live) {
            drop_marked(session, server, &MarkedDatabase { name: name.clone(), mark }).await?;
            dropped.push(name);
        }
    }
    Ok(dropped)
}

/// Drops what a kill between `CREATE DATABASE` and the mark left: named like ours, never opened (it is closed and has
/// limit 0), without settings, and as large as `template0`, so that there is no row in it that is not there too.
async fn drop_unmarked(session: &Session, live: &str) -> Result<Vec<String>, ReplaceError> {
    let rows = session
        .query(
            "SELECT d.datname::text FROM pg_catalog.pg_database d
              WHERE NOT d.datallowconn AND d.datconnlimit = 0 AND NOT d.datistemplate
                AND pg_catalog.pg_has_role(d.datdba, 'USAGE')
                AND NOT EXISTS (SELECT FROM pg_catalog.pg_db_role_setting s WHERE s.setdatabase = d.oid)",
            &[],
        )
        .await?;
    let mut dropped = Vec::new();
    for name in rows.iter().map(|row| row.get::<_, String>(0)).filter(|name| belongs_to(name, live)) {
        let same_size = "SELECT pg_catalog.pg_database_size($1::name) = pg_catalog.pg_database_size('template0')";
        if session.query_one(same_size, &[&name]).await?.get(0) {
            session.batch_execute(&format!("DROP DATABASE {}", quote_identifier(&name))).await?;
            dropped.push(name);
        }
    }
    Ok(dropped)
}

/// Whether a restore of `live` fills databases of this name.
fn belongs_to(name: &str, live: &str) -> bool {
    name == live || name.rsplit_once(RESTORED).is_some_and(|(of, _)| of == live)
}

const RESTORED: &str = "_restored_";

/// The live name that a restored database of this name belongs to.
pub fn live_name_of(restored: &str) -> Option<&str> {
    restored.rsplit_once(RESTORED).map(|(live, _)| live)
}

/// How the names of databases begin that a restore of `live` fills.
pub fn restored_prefix(live: &str) -> String {
    format!("{live}{RESTORED}")
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
