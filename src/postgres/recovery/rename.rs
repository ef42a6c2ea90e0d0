//! Other names for a table and all that lies beside it under a name of its own.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::super::{DatabaseError, Session, qualified, quote_identifier};
use super::facts::{Relation, tree};
use super::stage::fit;

/// One object and its two names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renamed {
    /// `TABLE`, `INDEX`, `SEQUENCE` or `STATISTICS`.
    pub kind: String,
    /// Schema.
    pub schema: String,
    /// Name before.
    pub from: String,
    /// Name after.
    pub to: String,
}

impl Renamed {
    /// The way back.
    pub fn reversed(&self) -> Self {
        Self { from: self.to.clone(), to: self.from.clone(), ..self.clone() }
    }
}

// The index of a constraint and the constraint are renamed together; the type of the rows follows its table.
const OBJECTS: &str = "
    SELECT 'TABLE', n.nspname::text, c.relname::text FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1
    UNION ALL
    SELECT 'INDEX', n.nspname::text, c.relname::text FROM pg_catalog.pg_index i
      JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE i.indrelid = $1
    UNION ALL
    SELECT 'SEQUENCE', n.nspname::text, c.relname::text FROM pg_catalog.pg_depend d
      JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind = 'S'
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
       AND d.refobjid = $1 AND d.deptype IN ('a', 'i')
    UNION ALL
    SELECT 'STATISTICS', n.nspname::text, s.stxname::text FROM pg_catalog.pg_statistic_ext s
      JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace WHERE s.stxrelid = $1";

/// Names with this tail for a table, its partitions, and their indexes, sequences and statistics. `taken_in` is a
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
        for row in session.query(OBJECTS, &[&part.oid]).await? {
            let (kind, schema, from): (String, String, String) = (row.get(0), row.get(1), row.get(2));
            let mut to = fit(&from, tail);
            let mut number = 1;
            while !used.insert((schema.clone(), to.clone())) || is_taken(taken_in, &schema, &to).await? {
                number += 1;
                to = fit(&from, &format!("_{number}{tail}"));
            }
            found.push(Renamed { kind, schema, from, to });
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

/// The names of those objects that exist already, for messages.
pub async fn present_names(session: &Session, names: &[Renamed]) -> Result<Vec<String>, DatabaseError> {
    let mut present = Vec::new();
    for one in names {
        if is_taken(session, &one.schema, &one.to).await? {
            present.push(format!("{}.{}", one.schema, one.to));
        }
    }
    Ok(present)
}

/// Renames.
pub async fn rename_all(session: &Session, names: &[Renamed]) -> Result<(), DatabaseError> {
    for one in names {
        let (object, to) = (qualified(&one.schema, &one.from), quote_identifier(&one.to));
        session.batch_execute(&format!("ALTER {} {object} RENAME TO {to}", one.kind)).await?;
    }
    Ok(())
}
