//! What makes a database besides its contents: owner, locale, privileges, comment, limit and settings.

use super::note::{self, Note, Place};
use super::{DatabaseError, Session, quote_identifier, quote_literal};

/// Whose server a database is made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostedOn {
    /// One of ours alone, thrown away afterwards.
    Private,
    /// One that others use.
    Shared,
}

impl HostedOn {
    /// How `CREATE DATABASE` copies its template. `FILE_COPY` takes a third of the time and begins and ends with a
    /// checkpoint, which keeps nobody waiting on a private server.
    pub fn strategy(self, server_major: u32) -> &'static str {
        if self == Self::Private && server_major >= 15 { " STRATEGY file_copy" } else { "" }
    }
}

/// How a database begins that [`create`](super::database::create) has not marked yet.
pub(super) const CLOSED: &str = "ALLOW_CONNECTIONS false CONNECTION LIMIT 0";

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
            comment: row.get::<_, Option<String>>(11).and_then(|comment| note::without_notes(&comment)),
            bytes: row.get(12),
            settings: settings
                .iter()
                .map(|row| (row.get(0), row.get(1)))
                .filter(|(_, setting): &(Option<String>, String)| !setting.starts_with("safe_migrate."))
                .collect(),
        })
    }

    /// The statement that makes a database of this locale, which accepts no connections yet.
    pub(super) fn create_sql(&self, name: &str, server_major: u32, on: HostedOn) -> String {
        let mut sql = format!(
            "CREATE DATABASE {} TEMPLATE template0 {CLOSED}{} ENCODING {} LC_COLLATE {} LC_CTYPE {}",
            quote_identifier(name),
            on.strategy(server_major),
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

/// Gives a filled database the owner, ACL, comment and settings of `like`. `session` is connected to that very
/// database: the catalogs that all share keep its comment and its settings in its own encoding.
///
/// Database settings and ACLs do not follow a rename, so they are set again. The connection limit is the last of them
/// ([`limit_connections`]): our own sessions count too.
pub async fn copy_properties(session: &Session, name: &str, like: &DatabaseProperties) -> Result<(), DatabaseError> {
    let database = quote_identifier(name);
    let mut sql = vec![format!("ALTER DATABASE {database} OWNER TO {}", quote_identifier(&like.owner))];
    if let Some(comment) = &like.comment {
        let said = Note::Mark.find(session, Some(name)).await?;
        sql.push(match said.iter().any(|found| matches!(found.text, Some((_, Place::Comment)))) {
            true => note::comment_below_sql(name, comment),
            false => format!("COMMENT ON DATABASE {database} IS {}", quote_literal(comment)),
        });
    }
    if let Some(acl) = &like.acl {
        // Without an ACL, PUBLIC and the owner have rights by default.
        sql.push(format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC, {}", quote_identifier(&like.owner)));
        sql.extend(grants(session, &database, acl).await?);
    }
    sql.extend(like.settings.iter().filter_map(|setting| setting_sql(&database, setting)));
    for statement in sql {
        session.batch_execute(&statement).await?;
    }
    Ok(())
}

pub(super) fn setting_sql(database: &str, (role, setting): &(Option<String>, String)) -> Option<String> {
    let (parameter, value) = setting.split_once('=')?;
    let (value, parameter) = (setting_value(parameter, value), quote_identifier(parameter));
    Some(match role {
        None => format!("ALTER DATABASE {database} SET {parameter} TO {value}"),
        Some(role) => {
            format!("ALTER ROLE {} IN DATABASE {database} SET {parameter} TO {value}", quote_identifier(role))
        }
    })
}

/// Gives a restored database the connection limit of `like`.
pub async fn limit_connections(session: &Session, name: &str, like: &DatabaseProperties) -> Result<(), DatabaseError> {
    let sql =
        format!("ALTER DATABASE {} WITH CONNECTION LIMIT {}", quote_identifier(name), like.connection_limit.max(-1));
    Ok(session.batch_execute(&sql).await?)
}

/// Parameters whose value is a list: `SET x TO 'a, b'` would be one element (pg_dump knows the same five:
/// `variable_is_guc_list_quote`).
pub(super) fn setting_value(parameter: &str, value: &str) -> String {
    let values: Vec<String> = setting_values(parameter, value).iter().map(|one| quote_literal(one)).collect();
    values.join(", ")
}

/// The value of a parameter as the catalog holds it; of one that is a list, its elements.
pub(super) fn setting_values(parameter: &str, value: &str) -> Vec<String> {
    const LISTS: &[&str] = &[
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    ];
    if LISTS.contains(&parameter.to_ascii_lowercase().as_str()) && !value.is_empty() {
        list_elements(value)
    } else {
        vec![value.to_owned()]
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

/// The statements that make these privileges again; `database` is its quoted name.
pub(super) async fn grants(session: &Session, database: &str, acl: &str) -> Result<Vec<String>, DatabaseError> {
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
