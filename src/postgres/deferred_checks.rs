//! CHECK constraints that call functions of the database, while its rows come in.
//!
//! Such a function may read another table, whose rows come later; it may call others by a name without its schema, and
//! nothing is found under the empty path that rows are loaded with; or it was made stricter since, and rows that are there do
//! not pass it any more. `pg_restore` then loads nothing of the table. So these constraints are taken off the empty tables and
//! put back behind the rows, `NOT VALID`, and are validated when everything is there.

use super::database_properties::{DatabaseProperties, setting_value};
use super::{ArchiveEntry, DatabaseError, Session, quote_literal};

/// A constraint that was taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeferredCheck {
    /// `TABLE` or `DOMAIN`.
    kind: String,
    /// The table or the domain, quoted, with its schema.
    of: String,
    /// The constraint's name, quoted.
    name: String,
    definition: String,
    comment: Option<String>,
}

/// One that rows do not pass, or that cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct NotValid {
    /// `constraint "a_check" of table public.a`.
    pub constraint: String,
    /// What the server said.
    pub why: String,
    #[serde(skip)]
    check: DeferredCheck,
}

/// With a function or an operator of the database's own, evaluated for each row that comes in. Not those of a domain within
/// an array or a row of some column: PostgreSQL cannot validate them later. (The domains of `information_schema` are in all
/// of its views, and following them took longer than a dump; no dump has their checks.) Parents first, so that taking
/// off and putting back counts for their children as it did.
const CALLING: &str = "
    WITH RECURSIVE below AS (
        SELECT c.oid, 0 AS depth FROM pg_catalog.pg_class c
         WHERE c.relkind IN ('r', 'p', 'f') AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid)
        UNION ALL
        SELECT i.inhrelid, below.depth + 1 FROM below JOIN pg_catalog.pg_inherits i ON i.inhparent = below.oid
    ), depths AS (SELECT oid, pg_catalog.max(depth) AS depth FROM below GROUP BY oid),
    uses (domain, type, held) AS (
        SELECT t.oid, t.oid, false FROM pg_catalog.pg_type t WHERE t.typtype = 'd' AND t.oid >= 16384
        UNION SELECT uses.domain, next.type, uses.held OR next.held FROM uses CROSS JOIN LATERAL (
            SELECT t.oid, t.typtype <> 'd' FROM pg_catalog.pg_type t WHERE uses.type IN (t.typbasetype, t.typelem)
            UNION ALL SELECT r.reltype, true FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class r ON r.oid = a.attrelid
                       WHERE a.atttypid = uses.type AND r.reltype <> 0 AND NOT a.attisdropped
            UNION ALL SELECT r.rngtypid, true FROM pg_catalog.pg_range r WHERE r.rngsubtype = uses.type
        ) AS next (type, held)
    ), held AS (
        SELECT DISTINCT uses.domain FROM uses JOIN pg_catalog.pg_attribute a ON a.atttypid = uses.type AND NOT a.attisdropped
          JOIN pg_catalog.pg_class r ON r.oid = a.attrelid AND r.relkind IN ('r', 'p', 'm', 'f')
         WHERE uses.held
    )
    SELECT CASE WHEN c.contypid = 0 THEN 'TABLE' ELSE 'DOMAIN' END,
           pg_catalog.format('%I.%I', n.nspname, coalesce(r.relname, t.typname)), pg_catalog.quote_ident(c.conname),
           pg_catalog.pg_get_constraintdef(c.oid), pg_catalog.obj_description(c.oid, 'pg_constraint'),
           pg_catalog.pg_get_userbyid(coalesce(r.relowner, t.typowner))::text
      FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace
      LEFT JOIN pg_catalog.pg_class r ON r.oid = c.conrelid
      LEFT JOIN pg_catalog.pg_type t ON t.oid = c.contypid
      LEFT JOIN depths d ON d.oid = c.conrelid
     WHERE c.contype = 'c' AND c.convalidated AND (c.conislocal OR c.contypid <> 0)
       AND c.contypid NOT IN (SELECT domain FROM held)
       AND coalesce(pg_catalog.to_jsonb(c) ->> 'conenforced', 'true') = 'true'
       AND EXISTS (SELECT FROM pg_catalog.pg_depend p
                    WHERE p.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND p.objid = c.oid AND p.refobjid >= 16384
                      AND p.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass))
     ORDER BY coalesce(d.depth, 0), 2, 3";

/// Takes them off the tables and domains of a database that has no rows yet; those of an owner that `is_apart` stay.
pub async fn take_off(session: &Session, is_apart: impl Fn(&str) -> bool) -> Result<Vec<DeferredCheck>, DatabaseError> {
    let mut taken = Vec::new();
    for row in session.query(CALLING, &[]).await? {
        let owner: String = row.try_get(5)?;
        if is_apart(&owner) {
            continue;
        }
        taken.push(DeferredCheck {
            kind: row.try_get(0)?,
            of: row.try_get(1)?,
            name: row.try_get(2)?,
            definition: row.try_get(3)?,
            comment: row.try_get(4)?,
        });
    }
    for check in &taken {
        let DeferredCheck { kind, of, name, .. } = check;
        // A child's goes with its parent's unless it has one of its own.
        session.batch_execute(&format!("ALTER {kind} {of} DROP CONSTRAINT IF EXISTS {name}")).await?;
    }
    Ok(taken)
}

/// The checks of tables and domains that are not valid now and come with the table: those of a restore that stopped. One
/// that was so in the snapshot is an entry of its own, behind the rows.
pub async fn not_valid(session: &Session) -> Result<Vec<DeferredCheck>, DatabaseError> {
    let sql = "SELECT CASE WHEN c.contypid = 0 THEN 'TABLE' ELSE 'DOMAIN' END,
               pg_catalog.format('%I.%I', n.nspname, coalesce(r.relname, t.typname)), pg_catalog.quote_ident(c.conname),
               pg_catalog.pg_get_constraintdef(c.oid), pg_catalog.obj_description(c.oid, 'pg_constraint')
          FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace
          LEFT JOIN pg_catalog.pg_class r ON r.oid = c.conrelid
          LEFT JOIN pg_catalog.pg_type t ON t.oid = c.contypid
         WHERE c.contype = 'c' AND NOT c.convalidated AND (c.conislocal OR c.contypid <> 0)
         ORDER BY 2, 3";
    let mut found = Vec::new();
    for row in session.query(sql, &[]).await? {
        let definition: String = row.try_get(3)?;
        found.push(DeferredCheck {
            kind: row.try_get(0)?,
            of: row.try_get(1)?,
            name: row.try_get(2)?,
            definition: definition.trim_end_matches(" NOT VALID").to_owned(),
            comment: row.try_get(4)?,
        });
    }
    Ok(found)
}

/// Puts them back, for rows that come from now on.
pub async fn put_back(session: &Session, checks: &[DeferredCheck]) -> Result<(), DatabaseError> {
    for check in checks {
        session.batch_execute(&check.again()).await?;
    }
    Ok(())
}

/// Validates them: under the path of our sessions, and where that fails under the database's `own_path`, which is a list of
/// quoted names. None: functions of others would be found by it.
pub async fn validate(
    session: &Session,
    checks: Vec<DeferredCheck>,
    own_path: Option<&str>,
) -> Result<Vec<NotValid>, DatabaseError> {
    let mut left = Vec::new();
    for check in checks {
        let DeferredCheck { kind, of, name, .. } = &check;
        let statement = format!("ALTER {kind} {of} VALIDATE CONSTRAINT {name}");
        let Err(first) = session.batch_execute(&statement).await else { continue };
        // Only what the server says of the rows is an answer; a lost connection is none.
        if session.is_closed() {
            return Err(first.into());
        }
        let why = match own_path {
            Some(path) => {
                let within = format!("BEGIN; SET LOCAL search_path = {path}; {statement}; COMMIT");
                match session.batch_execute(&within).await {
                    Ok(()) => continue,
                    Err(error) if session.is_closed() => return Err(error.into()),
                    Err(error) => {
                        session.batch_execute("ROLLBACK").await?;
                        error
                    }
                }
            }
            None => first,
        };
        let constraint = format!("constraint {name} of {} {of}", kind.to_lowercase());
        left.push(NotValid { constraint, why: DatabaseError::from(why).to_string(), check });
    }
    Ok(left)
}

/// Makes a foreign key that not all rows pass, for rows that come from now on.
pub async fn add_foreign_key_not_valid(
    session: &Session,
    entry: &ArchiveEntry,
    why: &DatabaseError,
) -> Result<NotValid, DatabaseError> {
    const KEYS: &str = "SELECT pg_catalog.format('%I.%I', n.nspname, r.relname), pg_catalog.quote_ident(c.conname),
               pg_catalog.pg_get_constraintdef(c.oid)
          FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_class r ON r.oid = c.conrelid
          JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
         WHERE c.contype = 'f' AND c.conparentid = 0 AND n.nspname = $1 AND r.relname || ' ' || c.conname = $2";
    let sql = entry.sql.trim_end().trim_end_matches(';');
    session.batch_execute(&format!("{sql} NOT VALID")).await?;
    let row = session.query_one(KEYS, &[&entry.schema.clone().unwrap_or_default(), &entry.name]).await?;
    let (of, name, definition): (String, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let definition = definition.trim_end_matches(" NOT VALID").to_owned();
    let check = DeferredCheck { kind: "TABLE".to_owned(), of, name, definition, comment: None };
    let constraint = format!("foreign key {} of table {}", check.name, check.of);
    Ok(NotValid { constraint, why: why.to_string(), check })
}

/// Makes another database without rows have them as they were left.
pub async fn leave_not_valid(session: &Session, left: &[NotValid]) -> Result<(), DatabaseError> {
    for NotValid { check, .. } in left {
        let DeferredCheck { kind, of, name, .. } = check;
        let mut check = check.clone();
        if kind == "TABLE" {
            let comment = format!(
                "SELECT pg_catalog.obj_description(oid, 'pg_constraint') FROM pg_catalog.pg_constraint
                  WHERE conrelid = {}::pg_catalog.regclass AND pg_catalog.quote_ident(conname) = {}",
                quote_literal(of),
                quote_literal(name)
            );
            check.comment = session.query_one(&comment, &[]).await?.try_get(0)?;
        }
        session.batch_execute(&format!("ALTER {kind} {of} DROP CONSTRAINT {name}; {}", check.again())).await?;
    }
    Ok(())
}

/// In a private server, whose catalogs are ours: says of them what production says, that they are valid.
pub async fn call_valid(session: &Session, left: &[NotValid]) -> Result<(), DatabaseError> {
    for NotValid { check, .. } in left {
        let of = quote_literal(&check.of);
        let (column, of) = match check.kind.as_str() {
            "DOMAIN" => ("contypid", format!("{of}::pg_catalog.regtype")),
            _ => (
                "conrelid",
                format!(
                    "ANY (SELECT relid FROM pg_catalog.pg_partition_tree({of}) UNION SELECT {of}::pg_catalog.regclass)"
                ),
            ),
        };
        let name = quote_literal(&check.name);
        let sql = format!(
            "UPDATE pg_catalog.pg_constraint SET convalidated = true
              WHERE {column} = {of} AND pg_catalog.quote_ident(conname) = {name} AND contype IN ('c', 'f')"
        );
        session.batch_execute(&sql).await?;
    }
    Ok(())
}

/// The path that sessions of a database have, as `SET search_path` takes it.
pub fn own_path(of: &DatabaseProperties) -> String {
    let value = of.settings.iter().find_map(|(role, setting)| {
        let (name, value) = setting.split_once('=')?;
        (role.is_none() && name == "search_path").then_some(value)
    });
    setting_value("search_path", value.unwrap_or("\"$user\", public"))
}

/// Whether some function of the database is of another owner than these.
pub async fn has_functions_of_others(session: &Session, trusted: impl Fn(&str) -> bool) -> Result<bool, DatabaseError> {
    let sql =
        "SELECT DISTINCT pg_catalog.pg_get_userbyid(p.proowner)::text FROM pg_catalog.pg_proc p WHERE p.oid >= 16384";
    for row in session.query(sql, &[]).await? {
        let owner: String = row.try_get(0)?;
        if !trusted(&owner) {
            return Ok(true);
        }
    }
    Ok(false)
}

impl DeferredCheck {
    fn again(&self) -> String {
        let Self { kind, of, name, definition, comment } = self;
        let domain = if kind == "DOMAIN" { "DOMAIN " } else { "" };
        let comment = comment
            .as_ref()
            .map(|text| format!("; COMMENT ON CONSTRAINT {name} ON {domain}{of} IS {}", quote_literal(text)));
        format!("ALTER {kind} {of} ADD CONSTRAINT {name} {definition} NOT VALID{}", comment.unwrap_or_default())
    }
}
