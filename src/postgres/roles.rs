//! Roles of a server: which there are, and the script of `pg_dumpall` brought to those that a target lacks.

use super::{DatabaseError, Session, quote_identifier};

/// Names of the roles on the server, system roles left out.
pub async fn names(session: &Session) -> Result<Vec<String>, DatabaseError> {
    let rows =
        session.query("SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolname !~ '^pg_' ORDER BY 1", &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Those of these roles that can log in.
pub async fn that_log_in(session: &Session, names: &[String]) -> Result<Vec<String>, DatabaseError> {
    let sql = "SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolname = ANY ($1) AND rolcanlogin ORDER BY 1";
    Ok(session.query(sql, &[&names]).await?.iter().map(|row| row.get(0)).collect())
}

/// The script without `GRANTED BY`: before 16 every superuser could grant, since then a grantor needs the admin option.
pub fn without_grantors(script: &str) -> String {
    let plain = |line: &str| match (line.starts_with("GRANT "), line.rsplit_once(" GRANTED BY ")) {
        (true, Some((grant, _))) => format!("{grant};\n"),
        _ => format!("{line}\n"),
    };
    script.lines().map(plain).collect()
}

/// Whether a role may make objects in the schema `public`; not, where there is no such schema.
pub async fn may_create_in_public(session: &Session, role: &str) -> Result<bool, DatabaseError> {
    let sql = "SELECT coalesce(pg_catalog.has_schema_privilege($1, \
               (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'public'), 'CREATE'), false)";
    Ok(session.query_one(sql, &[&role]).await?.get(0))
}

/// The statements that give the schema `public` of another database the owner and the privileges that it has here.
pub async fn public_schema(session: &Session) -> Result<Vec<String>, DatabaseError> {
    let rows = session
        .query(
            "SELECT n.nspowner::regrole::text,
                    CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END, a.privilege_type, a.is_grantable
               FROM pg_catalog.pg_namespace n, LATERAL pg_catalog.aclexplode(n.nspacl) a
              WHERE n.nspname = 'public' ORDER BY 2, 3",
            &[],
        )
        .await?;
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    // regrole prints names as SQL wants them.
    let owner: String = first.get(0);
    let mut sql = vec![
        format!("ALTER SCHEMA public OWNER TO {owner}"),
        format!("REVOKE ALL ON SCHEMA public FROM PUBLIC, {owner}"),
    ];
    sql.extend(rows.iter().map(|row| {
        let (grantee, privilege, grantable): (String, String, bool) = (row.get(1), row.get(2), row.get(3));
        let option = if grantable { " WITH GRANT OPTION" } else { "" };
        format!("GRANT {privilege} ON SCHEMA public TO {grantee}{option}")
    }));
    Ok(sql)
}

/// Whether the role of this session may create databases.
pub async fn may_create_databases(session: &Session) -> Result<bool, DatabaseError> {
    let sql = "SELECT rolcreatedb OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user";
    Ok(session.query_one(sql, &[]).await?.get(0))
}

/// Names that a `pg_dumpall --roles-only` script creates.
pub fn created_by(script: &str) -> Vec<String> {
    script.lines().filter_map(|line| line.strip_prefix("CREATE ROLE ")?.strip_suffix(';')).map(unquote).collect()
}

/// The script without what concerns roles in `existing`: they are never made again and never altered. Memberships are
/// kept; granting one twice changes nothing.
pub fn script_for_missing(script: &str, existing: &[String]) -> String {
    let kept: Vec<&str> = script
        .lines()
        .filter(|line| !line.starts_with('\\'))
        .filter(|line| {
            !existing.iter().any(|name| {
                // pg_dumpall quotes a name only when it must.
                [name.clone(), quote_identifier(name), format!("\"{}\"", name.replace('"', "\"\""))].iter().any(
                    |name| *line == format!("CREATE ROLE {name};") || line.starts_with(&format!("ALTER ROLE {name} ")),
                )
            })
        })
        .collect();
    kept.join("\n") + "\n"
}

fn unquote(name: &str) -> String {
    match name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "SET client_encoding = 'UTF8';\n\\restrict abc\nCREATE ROLE app;\nALTER ROLE app WITH LOGIN;\n\
                          CREATE ROLE \"The Boss\";\nALTER ROLE \"The Boss\" WITH SUPERUSER;\nGRANT app TO \"The Boss\" GRANTED BY postgres;\n";

    #[test]
    fn names_are_read_with_their_quotes() {
        assert_eq!(created_by(SCRIPT), ["app", "The Boss"]);
    }

    #[test]
    fn grantors_are_left_out() {
        assert!(without_grantors(SCRIPT).ends_with("WITH SUPERUSER;\nGRANT app TO \"The Boss\";\n"));
    }

    #[test]
    fn existing_roles_are_neither_made_nor_altered() {
        let script = script_for_missing(SCRIPT, &["The Boss".to_owned()]);
        assert_eq!(
            script,
            "SET client_encoding = 'UTF8';\nCREATE ROLE app;\nALTER ROLE app WITH LOGIN;\nGRANT app TO \"The Boss\" GRANTED BY postgres;\n"
        );
    }
}
