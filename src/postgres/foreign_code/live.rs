//! What writing to a table of a live database would run of others, as its catalogs say it.

use std::collections::BTreeSet;

use super::super::{DatabaseError, Session};
use super::{ForeignCode, TrustedOwners};

/// What would run when this session writes rows of a table that is there: also triggers and rules, and the indexes, which
/// only PostgreSQL's own commands evaluate as the owner.
pub async fn of_writes(
    session: &Session,
    table: u32,
    trusted: &TrustedOwners,
) -> Result<Vec<ForeignCode>, DatabaseError> {
    let mut found = BTreeSet::new();
    for row in session.query(WRITES, &[&table]).await? {
        let (owner, function, used_by) = (Some(row.try_get(0)?), row.try_get(1)?, row.try_get(2)?);
        let code = ForeignCode { owner, function, used_by, with_rows_only: false };
        if !code.owner.as_deref().is_some_and(|owner| trusted.has(owner)) {
            found.insert(code);
        }
    }
    Ok(found.into_iter().collect())
}

const WRITES: &str = "WITH RECURSIVE tables AS (
        SELECT $1::pg_catalog.oid AS oid
        UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tables t ON i.inhparent = t.oid
    ), callers AS (
        SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass AS catalog, c.oid, 'constraint ' || c.conname AS what
        FROM pg_catalog.pg_constraint c JOIN tables t ON c.conrelid = t.oid
        UNION ALL
        SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, c.oid, 'domain constraint ' || c.conname
        FROM pg_catalog.pg_constraint c WHERE c.contypid <> 0
        UNION ALL
        SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass, d.oid, 'default of column ' || a.attname
        FROM pg_catalog.pg_attrdef d JOIN tables t ON d.adrelid = t.oid
        JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
        UNION ALL
        SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, i.indexrelid, 'index ' || i.indexrelid::pg_catalog.regclass::text
        FROM pg_catalog.pg_index i JOIN tables t ON i.indrelid = t.oid
        UNION ALL
        SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, t.oid, 'the partition key' FROM tables t
        UNION ALL
        SELECT 'pg_catalog.pg_trigger'::pg_catalog.regclass, g.oid, 'trigger ' || g.tgname
        FROM pg_catalog.pg_trigger g JOIN tables t ON g.tgrelid = t.oid WHERE NOT g.tgisinternal AND g.tgenabled <> 'D'
        UNION ALL
        SELECT 'pg_catalog.pg_rewrite'::pg_catalog.regclass, r.oid, 'rule ' || r.rulename
        FROM pg_catalog.pg_rewrite r JOIN tables t ON r.ev_class = t.oid
    ), called AS (
        SELECT c.what, coalesce(o.oprcode::pg_catalog.oid, d.refobjid) AS function
        FROM callers c JOIN pg_catalog.pg_depend d ON d.classid = c.catalog AND d.objid = c.oid
        LEFT JOIN pg_catalog.pg_operator o
            ON d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass AND o.oid = d.refobjid
        WHERE d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass)
        UNION ALL
        SELECT 'a cast', c.castfunc FROM pg_catalog.pg_cast c WHERE c.castfunc <> 0 AND c.oid >= 16384
    )
    SELECT pg_catalog.pg_get_userbyid(p.proowner)::text, n.nspname::text || '.' || p.proname::text, called.what
    FROM called JOIN pg_catalog.pg_proc p ON p.oid = called.function
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace";
