//! What of an archive a role without superuser rights may not create, told from the archive's own SQL.

use std::collections::BTreeSet;

use super::{ArchiveEntry, Capabilities, DatabaseError, Session};

/// Statements that PostgreSQL keeps for superusers (documentation of each `CREATE` command, 15 to 18).
const SUPERUSER_ONLY: &[(&str, &str)] = &[
    ("CREATE EVENT TRIGGER ", "event trigger"),
    ("CREATE FOREIGN DATA WRAPPER ", "foreign-data wrapper"),
    ("CREATE SUBSCRIPTION ", "subscription"),
    ("CREATE OPERATOR CLASS ", "operator class"),
    ("CREATE OPERATOR FAMILY ", "operator family"),
    ("CREATE ACCESS METHOD ", "access method"),
    ("CREATE TEXT SEARCH PARSER ", "text search parser"),
    ("CREATE TEXT SEARCH TEMPLATE ", "text search template"),
];

/// Roles that stand in for the superuser on managed services, with rights that no catalog tells.
const MANAGED: &[&str] = &["rds_superuser", "cloudsqlsuperuser", "azure_pg_admin", "alloydbsuperuser"];

/// What the session's role may not do on this server, and whether that is certain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// One line each; empty for a superuser.
    pub lines: Vec<String>,
    /// False on a managed service, where the role may have rights that cannot be asked for.
    pub certain: bool,
}

/// Compares the SQL of an archive's entries with the rights of the session's role.
///
/// An entry's own line names it as `pg_restore --list` does, which is also how `restore --without` names it.
/// `creates_roles`: roles that the archive names are made first, which needs `CREATEROLE`.
pub async fn refusals(
    session: &Session,
    capabilities: &Capabilities,
    entries: &[&ArchiveEntry],
    creates_roles: bool,
) -> Result<Refusals, DatabaseError> {
    if capabilities.superuser {
        return Ok(Refusals { lines: Vec::new(), certain: true });
    }
    let script: String = entries.iter().flat_map(|entry| [entry.sql.as_str(), "\n"]).collect();
    let extensions: Vec<String> =
        entries.iter().filter(|entry| entry.kind == "EXTENSION").map(|entry| entry.name.clone()).collect();
    let mut lines: Vec<String> = superuser_only(&script).into_iter().collect();
    for extension in for_superusers(session, &extensions).await? {
        lines.push(format!("create extension \"{extension}\""));
    }
    for owner in foreign_owners(session, &script).await? {
        lines.push(format!("give objects to role \"{owner}\", which it is not a member of"));
    }
    if creates_roles && !may_create_roles(session).await? {
        lines.push("create roles (CREATEROLE)".to_owned());
    }
    Ok(Refusals { lines, certain: !is_managed(session).await? })
}

fn superuser_only(script: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in script.lines() {
        for (statement, what) in SUPERUSER_ONLY {
            if let Some(rest) = line.strip_prefix(statement) {
                found.insert(format!("create {what} {}", rest.split_whitespace().next().unwrap_or_default()));
            }
        }
        if line.starts_with("CREATE PUBLICATION ") && line.contains(" FOR ALL TABLES") {
            found.insert("create a publication FOR ALL TABLES".to_owned());
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let language = words.windows(2).find(|pair| pair[0] == "LANGUAGE").map(|pair| pair[1].trim_matches('"'));
        if line.starts_with("    LANGUAGE ") && matches!(language, Some("c" | "internal")) {
            found.insert("create functions in language c or internal".to_owned());
        }
        // A base type begins as a shell: `CREATE TYPE name;`.
        if line.starts_with("CREATE TYPE ") && line.ends_with(';') && words.len() == 3 {
            found.insert(format!("create base type {}", words[2].trim_end_matches(';')));
        }
    }
    found
}

async fn for_superusers(session: &Session, extensions: &[String]) -> Result<Vec<String>, DatabaseError> {
    let rows = session
        .query(
            "SELECT DISTINCT v.name::text FROM pg_catalog.pg_available_extension_versions v
               JOIN pg_catalog.pg_available_extensions a ON a.name = v.name AND a.default_version = v.version
              WHERE v.name = ANY ($1) AND v.superuser AND NOT v.trusted AND v.name <> 'plpgsql' ORDER BY 1",
            &[&extensions],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Owners in the script that the role cannot give objects to. A role that is not there yet is another matter.
async fn foreign_owners(session: &Session, script: &str) -> Result<Vec<String>, DatabaseError> {
    let owners: Vec<String> = owners(script).into_iter().collect();
    // From 16 on membership alone does not do: ALTER … OWNER TO wants the right to SET ROLE.
    let right = if session.server_version_num() >= 160_000 { "SET" } else { "MEMBER" };
    let sql = format!(
        "SELECT r.rolname::text FROM pg_catalog.pg_roles r
          WHERE r.rolname = ANY ($1) AND NOT pg_catalog.pg_has_role(r.oid, '{right}')
            AND r.rolname <> 'pg_database_owner' ORDER BY 1"
    );
    Ok(session.query(&sql, &[&owners]).await?.iter().map(|row| row.get(0)).collect())
}

/// Roles of `… OWNER TO role;` lines.
fn owners(script: &str) -> BTreeSet<String> {
    let owner = |line: &str| {
        let name = line.rsplit_once(" OWNER TO ")?.1.strip_suffix(';')?;
        Some(match name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(inner) => inner.replace("\"\"", "\""),
            None => name.to_owned(),
        })
    };
    script.lines().filter(|line| line.starts_with("ALTER ")).filter_map(owner).collect()
}

async fn may_create_roles(session: &Session) -> Result<bool, DatabaseError> {
    let sql = "SELECT rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user";
    Ok(session.query_one(sql, &[]).await?.get(0))
}

async fn is_managed(session: &Session) -> Result<bool, DatabaseError> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_roles r
                WHERE r.rolname = ANY ($1) AND pg_catalog.pg_has_role(r.oid, 'MEMBER'))";
    let names: Vec<String> = MANAGED.iter().map(|name| (*name).to_owned()).collect();
    Ok(session.query_one(sql, &[&names]).await?.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_superuser_creates_is_found_in_the_text() {
        let script = "CREATE EVENT TRIGGER \"watch\" ON ddl_command_end\nCREATE PUBLICATION \"p\" FOR ALL TABLES WITH (publish = 'insert');\n\
                      CREATE PUBLICATION \"q\" WITH (publish = 'insert');\nCREATE TYPE \"public\".\"base\";\n\
                      CREATE TYPE \"public\".\"mood\" AS ENUM (\nCREATE FUNCTION f()\n    LANGUAGE \"c\" IMMUTABLE\n    LANGUAGE \"sql\"\n";
        let found: Vec<String> = superuser_only(script).into_iter().collect();
        assert_eq!(
            found,
            [
                "create a publication FOR ALL TABLES",
                "create base type \"public\".\"base\"",
                "create event trigger \"watch\"",
                "create functions in language c or internal",
            ]
        );
    }

    #[test]
    fn owners_are_read_with_their_quotes() {
        let script =
            "ALTER TABLE \"a\" OWNER TO \"The \"\"Boss\";\nALTER TABLE b OWNER TO app;\nSELECT ' OWNER TO x';\n";
        assert_eq!(owners(script).into_iter().collect::<Vec<_>>(), ["The \"Boss", "app"]);
    }
}
