//! Roles of a server: which there are, as facts, and made again where a target lacks them.
//!
//! | file | what it holds |
//! |---|---|
//! | `facts.rs` | [`RoleFacts`], and the statements that make them |
//! | `read.rs` | the facts of a server |
//! | `parse.rs` | the facts of a script, from a snapshot |

mod facts;
mod parse;
mod read;

use super::{DatabaseError, Session};

pub use facts::{Membership, ParameterGrant, Role, RoleFacts};
pub(super) use parse::without_restrict;
pub use parse::{ParsedRoles, parse};

/// Makes roles on the server of `session`.
pub async fn make(session: &Session, facts: &RoleFacts) -> Result<(), DatabaseError> {
    for statement in facts.statements(session.server_version_num() / 10_000) {
        session.batch_execute(&statement).await?;
    }
    Ok(())
}

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
