//! What a dump of one database leaves behind on its server.

use super::{DatabaseError, Session, qualified, quote_identifier};

/// What a snapshot cannot carry to another server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotCarried {
    /// Each tablespace that relations lie in, with their number and the first of them.
    pub tablespaces: Vec<String>,
    /// The tablespace of the database itself, when it is not the server's default.
    pub database_tablespace: Option<String>,
    /// Roles that can log in and own something or have rights here; the bootstrap superuser is not counted.
    pub logins: i64,
}

impl NotCarried {
    /// Reads it from the catalogs of the session's database.
    pub async fn read(session: &Session) -> Result<Self, DatabaseError> {
        let tablespaces = session
            .query(
                "SELECT s.spcname::text, count(*), (min(ARRAY[n.nspname::text, c.relname::text]))
                   FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                   JOIN pg_catalog.pg_tablespace s ON s.oid = c.reltablespace
                  WHERE c.relkind IN ('r', 'p', 'i', 'I', 'm') AND n.nspname !~ '^pg_' GROUP BY 1 ORDER BY 1",
                &[],
            )
            .await?;
        let other = session
            .query_one(
                "SELECT nullif(s.spcname, 'pg_default')::text,
                        (SELECT count(DISTINCT r.oid) FROM pg_catalog.pg_shdepend x JOIN pg_catalog.pg_roles r ON r.oid = x.refobjid
                          WHERE x.refclassid = 'pg_catalog.pg_authid'::regclass AND r.rolcanlogin
                            AND (x.dbid = d.oid OR (x.classid = 'pg_catalog.pg_database'::regclass AND x.objid = d.oid)))
                   FROM pg_catalog.pg_database d JOIN pg_catalog.pg_tablespace s ON s.oid = d.dattablespace
                  WHERE d.datname = pg_catalog.current_database()",
                &[],
            )
            .await?;
        let described = tablespaces.iter().map(|row| {
            let (name, count, first): (String, i64, Vec<String>) = (row.get(0), row.get(1), row.get(2));
            let first = qualified(&first[0], &first[1]);
            let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
            format!("{} ({first}{more})", quote_identifier(&name))
        });
        Ok(Self { tablespaces: described.collect(), database_tablespace: other.get(0), logins: other.get(1) })
    }
}

/// Those of these tablespaces that the server lacks.
pub async fn missing_tablespaces(session: &Session, names: &[String]) -> Result<Vec<String>, DatabaseError> {
    let sql = "SELECT name FROM unnest($1::text[]) name
                WHERE name NOT IN (SELECT spcname::text FROM pg_catalog.pg_tablespace) ORDER BY 1";
    Ok(session.query(sql, &[&names]).await?.iter().map(|row| row.get(0)).collect())
}
