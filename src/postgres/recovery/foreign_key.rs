//! Foreign keys of a table and to it, and the rows that would have no match, counted before one is made.

use super::super::{DatabaseError, Session, qualified, quote_identifier, quote_literal};
use super::count;

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// Name of the constraint.
    pub name: String,
    /// The table that has it: schema, name.
    pub table: (String, String),
    /// The table that it points to: schema, name.
    pub references: (String, String),
    /// Its columns.
    pub columns: Vec<String>,
    /// Types of its columns, as SQL.
    pub types: Vec<String>,
    /// The columns that they point to.
    pub referenced: Vec<String>,
    /// Types of the columns that they point to, as SQL.
    pub referenced_types: Vec<String>,
    /// For each pair the operator, of the referenced column on the left.
    operators: Vec<String>,
    /// The server's own text, `FOREIGN KEY (…) REFERENCES …`.
    definition: String,
    /// Whether it belongs to a partitioned table.
    partitioned: bool,
    comment: Option<String>,
}

const FOREIGN_KEYS: &str = "
    SELECT k.conname::text, tn.nspname::text, t.relname::text, rn.nspname::text, r.relname::text,
           pg_catalog.pg_get_constraintdef(k.oid), t.relkind = 'p',
           pg_catalog.obj_description(k.oid, 'pg_constraint'),
           pg_catalog.array_agg(a.attname::text ORDER BY x.at),
           pg_catalog.array_agg(pg_catalog.format_type(a.atttypid, a.atttypmod) ORDER BY x.at),
           pg_catalog.array_agg(b.attname::text ORDER BY x.at),
           pg_catalog.array_agg(pg_catalog.format_type(b.atttypid, b.atttypmod) ORDER BY x.at),
           pg_catalog.array_agg(pg_catalog.format('OPERATOR(%I.%s)', nn.nspname, o.oprname) ORDER BY x.at)
      FROM pg_catalog.pg_constraint k
      JOIN pg_catalog.pg_class t ON t.oid = k.conrelid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
      JOIN pg_catalog.pg_class r ON r.oid = k.confrelid JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
     CROSS JOIN LATERAL unnest(k.conkey, k.confkey, k.conpfeqop) WITH ORDINALITY x (own, other, operator, at)
      JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x.own
      JOIN pg_catalog.pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = x.other
      JOIN pg_catalog.pg_operator o ON o.oid = x.operator
      JOIN pg_catalog.pg_namespace nn ON nn.oid = o.oprnamespace
     WHERE k.contype = 'f' AND k.conparentid = 0 AND (k.conrelid = $1 OR k.confrelid = $1)
     GROUP BY k.oid, 1, 2, 3, 4, 5, 7 ORDER BY 2, 3, 1";

/// The foreign keys of the table and those that point to it. Those of partitions follow from their parent's.
pub async fn foreign_keys(session: &Session, table: u32) -> Result<Vec<ForeignKey>, DatabaseError> {
    let rows = session.query(FOREIGN_KEYS, &[&table]).await?;
    Ok(rows
        .iter()
        .map(|row| ForeignKey {
            name: row.get(0),
            table: (row.get(1), row.get(2)),
            references: (row.get(3), row.get(4)),
            definition: row.get(5),
            partitioned: row.get(6),
            comment: row.get(7),
            columns: row.get(8),
            types: row.get(9),
            referenced: row.get(10),
            referenced_types: row.get(11),
            operators: row.get(12),
        })
        .collect())
}

impl ForeignKey {
    /// The table that has it, for messages.
    pub fn of(&self) -> String {
        format!("{}.{}", self.table.0, self.table.1)
    }

    /// The table that it points to, for messages.
    pub fn to(&self) -> String {
        format!("{}.{}", self.references.0, self.references.1)
    }

    /// Whether it points from a table to itself.
    pub fn is_own(&self) -> bool {
        self.table == self.references
    }

    /// The statements that make it.
    pub fn sql(&self) -> String {
        let table = qualified(&self.table.0, &self.table.1);
        let (only, name) = (if self.partitioned { "" } else { "ONLY " }, quote_identifier(&self.name));
        let mut sql = format!("ALTER TABLE {only}{table} ADD CONSTRAINT {name} {};\n", self.definition);
        if let Some(comment) = &self.comment {
            sql.push_str(&format!("COMMENT ON CONSTRAINT {name} ON {table} IS {};\n", quote_literal(comment)));
        }
        sql
    }

    /// The quoted name of the table that has it.
    pub fn table_quoted(&self) -> String {
        qualified(&self.table.0, &self.table.1)
    }

    /// The quoted name of the table that it points to.
    pub fn references_quoted(&self) -> String {
        qualified(&self.references.0, &self.references.1)
    }

    /// The condition under which the row `child` has all of the key's columns and no match in `parent`.
    ///
    /// `value` says what stands for a column of the child.
    pub(super) fn has_no_match(&self, parent: &str, value: impl Fn(&str) -> String) -> String {
        let mut given = Vec::new();
        let mut equal = Vec::new();
        for ((own, other), operator) in self.columns.iter().zip(&self.referenced).zip(&self.operators) {
            given.push(format!("{} IS DISTINCT FROM NULL", value(own)));
            equal.push(format!("p.{} {operator} {}", quote_identifier(other), value(own)));
        }
        format!("{} AND NOT EXISTS (SELECT FROM {parent} p WHERE {})", given.join(" AND "), equal.join(" AND "))
    }
}

/// How many rows of `child` have no match in `parent`; both are quoted names of relations with the key's columns.
pub async fn unmatched(session: &Session, key: &ForeignKey, child: &str, parent: &str) -> Result<u64, DatabaseError> {
    let condition = key.has_no_match(parent, |column| format!("c.{}", quote_identifier(column)));
    count(session, &format!("SELECT pg_catalog.count(*) FROM {child} c WHERE {condition}")).await
}

const KEYS_STAGE: &str = "pg_temp.safe_migrate_key";

/// Makes an empty temporary table with the columns of one side of a foreign key; its name and its columns.
pub async fn stage_key(
    live: &Session,
    columns: &[String],
    types: &[String],
) -> Result<(&'static str, Vec<String>), DatabaseError> {
    let quoted: Vec<String> = columns.iter().map(|name| quote_identifier(name)).collect();
    let typed: Vec<String> = quoted.iter().zip(types).map(|(name, kind)| format!("{name} {kind}")).collect();
    let sql =
        format!("DROP TABLE IF EXISTS {KEYS_STAGE}; CREATE TEMPORARY TABLE safe_migrate_key ({})", typed.join(", "));
    live.batch_execute(&sql).await?;
    Ok((KEYS_STAGE, quoted))
}

/// Drops a foreign key that a run made.
pub async fn drop_foreign_key(live: &Session, table: &(String, String), name: &str) -> Result<(), DatabaseError> {
    let table = qualified(&table.0, &table.1);
    Ok(live.batch_execute(&format!("ALTER TABLE {table} DROP CONSTRAINT {}", quote_identifier(name))).await?)
}
