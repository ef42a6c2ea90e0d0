//! Whether the ledger is ours: nobody else may have put anything into it that runs when we write.

use super::super::{DatabaseError, Session};
use super::LedgerError;

/// Trusted are this session's role, superusers and whom the operator named; the owner of the database too, unless a superuser
/// asks, who has more to lose than that. Of everybody else nothing may be owned or allowed there, and nothing at all may run when a row is written.
const STRANGE: &str = "
    WITH trusted AS (SELECT r.oid FROM pg_catalog.pg_roles r
                      WHERE r.rolsuper OR r.rolname = current_user OR r.rolname::text = ANY ($1)
                         OR r.oid = (SELECT d.datdba FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
                            AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles s WHERE s.rolname = current_user AND s.rolsuper)),
         place AS (SELECT n.oid, n.nspowner, n.nspacl FROM pg_catalog.pg_namespace n WHERE n.nspname = 'safe_migrate'),
         relation AS (SELECT c.oid, c.relname::text AS name, c.relowner, c.relacl FROM pg_catalog.pg_class c JOIN place p ON p.oid = c.relnamespace)
    SELECT 'the schema belongs to ' || pg_catalog.pg_get_userbyid(p.nspowner)::text
      FROM place p WHERE NOT EXISTS (SELECT FROM trusted t WHERE t.oid = p.nspowner)
    UNION ALL
    SELECT r.name || ' belongs to ' || pg_catalog.pg_get_userbyid(r.relowner)::text
      FROM relation r WHERE NOT EXISTS (SELECT FROM trusted t WHERE t.oid = r.relowner)
    UNION ALL
    SELECT coalesce(CASE WHEN a.grantee <> 0::pg_catalog.oid THEN pg_catalog.pg_get_userbyid(a.grantee)::text END, 'everybody') || ' may create in it'
      FROM place p, LATERAL pg_catalog.aclexplode(p.nspacl) a
     WHERE a.privilege_type = 'CREATE'::text AND NOT EXISTS (SELECT FROM trusted t WHERE t.oid = a.grantee)
    UNION ALL
    SELECT coalesce(CASE WHEN a.grantee <> 0::pg_catalog.oid THEN pg_catalog.pg_get_userbyid(a.grantee)::text END, 'everybody') || ' may make triggers on ' || r.name
      FROM relation r, LATERAL pg_catalog.aclexplode(r.relacl) a
     WHERE a.privilege_type = 'TRIGGER'::text AND NOT EXISTS (SELECT FROM trusted t WHERE t.oid = a.grantee)
    UNION ALL
    SELECT 'trigger ' || t.tgname::text || ' on ' || r.name FROM relation r JOIN pg_catalog.pg_trigger t ON t.tgrelid = r.oid WHERE NOT t.tgisinternal
    UNION ALL
    SELECT 'rule ' || w.rulename::text || ' on ' || r.name FROM relation r JOIN pg_catalog.pg_rewrite w ON w.ev_class = r.oid
    UNION ALL
    SELECT 'policy ' || w.polname::text || ' on ' || r.name FROM relation r JOIN pg_catalog.pg_policy w ON w.polrelid = r.oid
    UNION ALL
    SELECT 'function ' || f.proname::text FROM pg_catalog.pg_proc f JOIN place p ON p.oid = f.pronamespace";

/// Fails when the ledger is somebody else's than `owners` names or has what runs at a write. To be asked before each first write of a run; a
/// database without a ledger has none that is strange.
pub async fn check(session: &Session, owners: &[String]) -> Result<(), LedgerError> {
    let rows = session.query(STRANGE, &[&owners]).await?;
    let found: Result<Vec<String>, _> = rows.iter().map(|row| row.try_get(0)).collect();
    match found.map_err(DatabaseError::from)? {
        found if found.is_empty() => Ok(()),
        found => Err(LedgerError::NotOurs { found }),
    }
}
