//! Other names for a table and all that lies beside it under a name of its own.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::super::{DatabaseError, Session, qualified, quote_identifier};
use super::facts::{Relation, tree};
use super::stage::fit;

/// One object and its two names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renamed {
    /// `TABLE`, `INDEX`, `SEQUENCE`, `STATISTICS` or `CONSTRAINT`.
    pub kind: String,
    /// Schema.
    pub schema: String,
    /// The table of a constraint, by its name before.
    pub table: Option<String>,
    /// Name before.
    pub from: String,
    /// Name after.
    pub to: String,
}

/// The way back, last step first: a constraint is renamed while its table has its first name.
pub fn way_back(names: &[Renamed]) -> Vec<Renamed> {
    let back = |one: &Renamed| Renamed { from: one.to.clone(), to: one.from.clone(), ..one.clone() };
    names.iter().rev().map(back).collect()
}

// The index of a constraint and the constraint are renamed together; the type of the rows follows its table. A NOT NULL
// has a name since 18, which the server makes up to be free in the whole schema: `item_id_not_null1` beside a renamed
// table that keeps `item_id_not_null`.
const OBJECTS: &str = "
    SELECT 'CONSTRAINT', n.nspname::text, k.conname::text, c.relname::text FROM pg_catalog.pg_constraint k
      JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE k.conrelid = $1 AND k.contype = 'n' AND k.coninhcount = 0
    UNION ALL
    SELECT 'TABLE', n.nspname::text, c.relname::text, NULL FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1
    UNION ALL
    SELECT 'INDEX', n.nspname::text, c.relname::text, NULL FROM pg_catalog.pg_index i
      JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE i.indrelid = $1
    UNION ALL
    SELECT 'SEQUENCE', n.nspname::text, c.relname::text, NULL FROM pg_catalog.pg_depend d
      JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind = 'S'
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
       AND d.refobjid = $1 AND d.deptype IN ('a', 'i')
    UNION ALL
    SELECT 'STATISTICS', n.nspname::text, s.stxname::text, NULL FROM pg_catalog.pg_statistic_ext s
      JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace WHERE s.stxrelid = $1";

/// Names with this tail for a table, its partitions, and their indexes, sequences, statistics and NOT NULLs. `taken_in` is a
/// session on the database in which the new names must be free.
pub async fn rename_for(
    session: &Session,
    table: &Relation,
    tail: &str,
    taken_in: &Session,
) -> Result<Vec<Renamed>, DatabaseError> {
    let mut found: Vec<Renamed> = Vec::new();
    let mut used = BTreeSet::new();
    for (schema, name) in tree(session, table.oid).await? {
        let Some(part) = super::relation(session, &schema, &name).await? else { continue };
        let mut rows = session.query(OBJECTS, &[&part.oid]).await?;
        rows.sort_by_key(|row| row.get::<_, Option<String>>(3).is_none());
        for row in rows {
            let (kind, schema, from): (String, String, String) = (row.get(0), row.get(1), row.get(2));
            let mut to = fit(&from, tail);
            let mut number = 1;
            while !used.insert((schema.clone(), to.clone())) || is_taken(taken_in, &schema, &to).await? {
                number += 1;
                to = fit(&from, &format!("_{number}{tail}"));
            }
            found.push(Renamed { kind, schema, table: row.get(3), from, to });
        }
    }
    Ok(found)
}

async fn is_taken(session: &Session, schema: &str, name: &str) -> Result<bool, DatabaseError> {
    let sql = "SELECT pg_catalog.to_regclass($1) IS NOT NULL OR EXISTS (
                   SELECT FROM pg_catalog.pg_statistic_ext s JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace
                    WHERE n.nspname = $2::text AND s.stxname = $3::text)";
    Ok(session.query_one(sql, &[&qualified(schema, name), &schema, &name]).await?.get(0))
}

/// Renames.
pub async fn rename_all(session: &Session, names: &[Renamed]) -> Result<(), DatabaseError> {
    for one in names {
        let to = quote_identifier(&one.to);
        let sql = match &one.table {
            Some(table) => {
                let (table, from) = (qualified(&one.schema, table), quote_identifier(&one.from));
                format!("ALTER TABLE {table} RENAME CONSTRAINT {from} TO {to}")
            }
            None => format!("ALTER {} {} RENAME TO {to}", one.kind, qualified(&one.schema, &one.from)),
        };
        session.batch_execute(&sql).await?;
    }
    Ok(())
}
