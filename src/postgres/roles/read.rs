//! Roles read from the catalogs.

use super::super::{DatabaseError, Session, database_properties};
use super::facts::{Membership, ParameterGrant, Role, RoleFacts};

// The text of a time depends on the session that prints it.
const ROLES: &str = r#"
    SELECT rolname::text, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls,
           rolconnlimit,
           CASE WHEN pg_catalog.isfinite(rolvaliduntil)
                THEN pg_catalog.to_char(rolvaliduntil AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US"+00"')
                ELSE rolvaliduntil::text END,
           pg_catalog.shobj_description(oid, 'pg_authid'), rolconfig,
           (SELECT pg_catalog.array_agg(l.provider ORDER BY l.provider) FROM pg_catalog.pg_shseclabel l
             WHERE l.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND l.objoid = r.oid),
           (SELECT pg_catalog.array_agg(l.label ORDER BY l.provider) FROM pg_catalog.pg_shseclabel l
             WHERE l.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND l.objoid = r.oid)
      FROM pg_catalog.pg_roles r WHERE rolname !~ '^pg_' ORDER BY rolname"#;

const PARAMETERS: &str = "
    SELECT p.parname, CASE WHEN a.grantee <> 0 THEN pg_catalog.pg_get_userbyid(a.grantee)::text END,
           a.privilege_type = 'ALTER SYSTEM', a.is_grantable
      FROM pg_catalog.pg_parameter_acl p, LATERAL pg_catalog.aclexplode(p.paracl) a ORDER BY 1, 2, 3";

impl RoleFacts {
    /// Reads the roles of the server that `session` is connected to.
    pub async fn read(session: &Session) -> Result<Self, DatabaseError> {
        let rows = session.query(ROLES, &[]).await?;
        let mut roles = Vec::with_capacity(rows.len());
        for row in &rows {
            let settings: Option<Vec<String>> = row.try_get(11)?;
            let (providers, labels): (Option<Vec<String>>, Option<Vec<String>>) = (row.try_get(12)?, row.try_get(13)?);
            roles.push(Role {
                name: row.try_get(0)?,
                superuser: row.try_get(1)?,
                inherit: row.try_get(2)?,
                createrole: row.try_get(3)?,
                createdb: row.try_get(4)?,
                login: row.try_get(5)?,
                replication: row.try_get(6)?,
                bypassrls: row.try_get(7)?,
                connection_limit: row.try_get(8)?,
                valid_until: row.try_get(9)?,
                comment: row.try_get(10)?,
                labels: providers.unwrap_or_default().into_iter().zip(labels.unwrap_or_default()).collect(),
                settings: settings.unwrap_or_default().iter().filter_map(|one| setting(one)).collect(),
            });
        }
        let memberships = grantors_first(memberships(session).await?, &roles);
        let parameters = if session.server_version_num() >= 150_000 { parameters(session).await? } else { Vec::new() };
        Ok(Self { roles, memberships, parameters })
    }
}

/// `name=value` of a role's configuration.
fn setting(config: &str) -> Option<(String, Vec<String>)> {
    let (name, value) = config.split_once('=')?;
    Some((name.to_owned(), database_properties::setting_values(name, value)))
}

async fn memberships(session: &Session) -> Result<Vec<Membership>, DatabaseError> {
    let options = if session.server_version_num() >= 160_000 {
        "m.inherit_option, m.set_option"
    } else {
        "NULL::boolean, NULL::boolean"
    };
    // Who is a member of whom among the predefined roles is the server's own.
    let sql = format!(
        "SELECT r.rolname::text, m1.rolname::text, g.rolname::text, m.admin_option, {options}
           FROM pg_catalog.pg_auth_members m
           JOIN pg_catalog.pg_roles r ON r.oid = m.roleid
           JOIN pg_catalog.pg_roles m1 ON m1.oid = m.member
           LEFT JOIN pg_catalog.pg_roles g ON g.oid = m.grantor
          WHERE NOT (r.rolname ~ '^pg_' AND m1.rolname ~ '^pg_') ORDER BY 1, 2, 3"
    );
    let rows = session.query(&sql, &[]).await?;
    let of = |row: &tokio_postgres::Row| {
        Ok(Membership {
            role: row.try_get(0)?,
            member: row.try_get(1)?,
            grantor: row.try_get(2)?,
            admin: row.try_get(3)?,
            inherit: row.try_get(4)?,
            set: row.try_get(5)?,
        })
    };
    rows.iter().map(of).collect()
}

/// Since 16 a grantor that is no superuser must have the admin option when it grants, so what gives it comes first.
fn grantors_first(mut rest: Vec<Membership>, roles: &[Role]) -> Vec<Membership> {
    let superuser = |name: &str| roles.iter().any(|role| role.superuser && role.name == name);
    let mut ordered: Vec<Membership> = Vec::with_capacity(rest.len());
    while !rest.is_empty() {
        let may = |one: &Membership| {
            one.grantor.as_deref().is_none_or(|grantor| {
                superuser(grantor)
                    || ordered.iter().any(|had| had.admin && had.role == one.role && had.member == grantor)
            })
        };
        let (ready, waiting): (Vec<_>, Vec<_>) = rest.into_iter().partition(may);
        rest = waiting;
        if ready.is_empty() {
            // Before 16 a grantor may have lost its right since.
            ordered.append(&mut rest);
        }
        ordered.extend(ready);
    }
    ordered
}

async fn parameters(session: &Session) -> Result<Vec<ParameterGrant>, DatabaseError> {
    let rows = session.query(PARAMETERS, &[]).await?;
    let of = |row: &tokio_postgres::Row| {
        Ok(ParameterGrant {
            parameter: row.try_get(0)?,
            grantee: row.try_get(1)?,
            alter_system: row.try_get(2)?,
            grantable: row.try_get(3)?,
        })
    };
    rows.iter().map(of).collect()
}
