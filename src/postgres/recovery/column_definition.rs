//! A column that the live table does not have any more: its definition, and what stood on it.

use super::super::ArchiveEntry;
use super::super::{DatabaseError, Session, qualified, quote_identifier, quote_literal};
use super::facts::Relation;

/// The definition of a column, read from the scratch database.
///
/// An archive has no entry for a column: these are the texts from which `pg_dump` writes the table's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnDefinition {
    /// Name.
    pub name: String,
    /// Type with its modifiers, as SQL.
    pub type_name: String,
    collation: Option<String>,
    /// Default, as SQL.
    pub default: Option<String>,
    /// Whether it refuses null.
    pub not_null: bool,
    not_null_name: Option<String>,
    identity: Option<String>,
    comment: Option<String>,
    storage: Option<String>,
    /// Sequence that belongs to it: schema, name.
    pub sequence: Option<(String, String)>,
}

/// An index or a constraint on a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependent {
    /// `index` or `constraint`.
    pub kind: &'static str,
    /// Name.
    pub name: String,
    /// The columns of the table that it mentions.
    pub columns: Vec<String>,
    /// Whether it is a foreign key.
    pub foreign_key: bool,
    /// The statement that makes it.
    pub sql: String,
}

impl ColumnDefinition {
    /// Reads it.
    pub async fn read(scratch: &Session, table: &Relation, column: &str) -> Result<Self, DatabaseError> {
        // Since 18 a NOT NULL has a name.
        let named = if scratch.server_version_num() >= 180_000 {
            "(SELECT k.conname::text FROM pg_catalog.pg_constraint k
               WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND k.conkey = ARRAY[a.attnum])"
        } else {
            "NULL::text"
        };
        let sql = format!(
            "SELECT pg_catalog.format_type(a.atttypid, a.atttypmod),
                    CASE WHEN a.attcollation <> t.typcollation THEN pg_catalog.format('%I.%I', cn.nspname, c.collname) END,
                    pg_catalog.pg_get_expr(d.adbin, d.adrelid), a.attnotnull, {named},
                    CASE a.attidentity WHEN 'a' THEN 'ALWAYS' WHEN 'd' THEN 'BY DEFAULT' END,
                    pg_catalog.col_description(a.attrelid, a.attnum),
                    CASE WHEN a.attstorage <> t.typstorage THEN CASE a.attstorage
                         WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END END,
                    sn.nspname::text, s.relname::text
               FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
               LEFT JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation
               LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = c.collnamespace
               LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
               LEFT JOIN pg_catalog.pg_depend o ON o.refclassid = 'pg_catalog.pg_class'::regclass
                    AND o.refobjid = a.attrelid AND o.refobjsubid = a.attnum AND o.deptype IN ('a', 'i')
                    AND o.classid = 'pg_catalog.pg_class'::regclass
                    AND EXISTS (SELECT FROM pg_catalog.pg_class q WHERE q.oid = o.objid AND q.relkind = 'S')
               LEFT JOIN pg_catalog.pg_class s ON s.oid = o.objid
               LEFT JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
              WHERE a.attrelid = $1 AND a.attname = $2::text AND a.attnum > 0 AND NOT a.attisdropped"
        );
        let row = scratch.query_one(&sql, &[&table.oid, &column]).await?;
        Ok(Self {
            name: column.to_owned(),
            type_name: row.get(0),
            collation: row.get(1),
            default: row.get(2),
            not_null: row.get(3),
            not_null_name: row.get(4),
            identity: row.get(5),
            comment: row.get(6),
            storage: row.get(7),
            sequence: row.get::<_, Option<String>>(8).zip(row.get::<_, Option<String>>(9)),
        })
    }

    /// The statements that give the column to a table: rows that are there get its default.
    pub fn add(&self, table: &Relation) -> String {
        let (quoted, name) = (table.quoted(), quote_identifier(&self.name));
        let mut sql = format!("ALTER TABLE {quoted} ADD COLUMN {name} {}", self.type_name);
        if let Some(collation) = &self.collation {
            sql.push_str(&format!(" COLLATE {collation}"));
        }
        if let Some(default) = &self.default {
            sql.push_str(&format!(" DEFAULT {default}"));
        }
        sql.push_str(";\n");
        if let Some(storage) = &self.storage {
            sql.push_str(&format!("ALTER TABLE {quoted} ALTER COLUMN {name} SET STORAGE {storage};\n"));
        }
        if let Some(comment) = &self.comment {
            sql.push_str(&format!("COMMENT ON COLUMN {quoted}.{name} IS {};\n", quote_literal(comment)));
        }
        if let (None, Some((schema, sequence))) = (&self.identity, &self.sequence) {
            let sequence = qualified(schema, sequence);
            sql.push_str(&format!("ALTER SEQUENCE {sequence} OWNED BY {quoted}.{name};\n"));
        }
        sql
    }

    /// The statement that makes it refuse null again, when it did.
    pub fn refuse_null(&self, table: &Relation) -> Option<String> {
        let (quoted, name) = (table.quoted(), quote_identifier(&self.name));
        self.not_null.then(|| match &self.not_null_name {
            Some(named) => format!("ALTER TABLE {quoted} ADD CONSTRAINT {} NOT NULL {name}", quote_identifier(named)),
            None => format!("ALTER TABLE {quoted} ALTER COLUMN {name} SET NOT NULL"),
        })
    }

    /// The statements that make it an identity column again, when it was one, going on after its largest value.
    pub fn identity(&self, table: &Relation) -> Option<String> {
        let (quoted, name) = (table.quoted(), quote_identifier(&self.name));
        self.identity.as_ref().map(|always| {
            format!(
                "ALTER TABLE {quoted} ALTER COLUMN {name} ADD GENERATED {always} AS IDENTITY;
                 SELECT pg_catalog.setval(pg_catalog.pg_get_serial_sequence({}, {}), max) FROM
                     (SELECT pg_catalog.max({name}) FROM {quoted}) m WHERE max > 0",
                quote_literal(&quoted),
                quote_literal(&self.name)
            )
        })
    }
}

const ON_COLUMN: &str = "
    SELECT 'index', c.relname::text, false, pg_catalog.pg_get_indexdef(i.indexrelid),
           ARRAY(SELECT DISTINCT a.attname::text FROM pg_catalog.pg_depend d
                   JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                  WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.indexrelid AND d.refobjid = $1)
      FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
     WHERE i.indrelid = $1
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
    UNION ALL
    SELECT 'constraint', k.conname::text, k.contype = 'f', pg_catalog.pg_get_constraintdef(k.oid),
           ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = $1 AND a.attnum = ANY (k.conkey))
      FROM pg_catalog.pg_constraint k
     WHERE k.conrelid = $1 AND k.conparentid = 0 AND k.contype IN ('p', 'u', 'x', 'c', 'f')
     ORDER BY 1 DESC, 2";

impl Dependent {
    /// Indexes and constraints that mention the column, constraints first.
    pub async fn on(session: &Session, table: &Relation, column: &str) -> Result<Vec<Self>, DatabaseError> {
        let quoted = table.quoted();
        let mut found = Vec::new();
        for row in session.query(ON_COLUMN, &[&table.oid]).await? {
            let (kind, name, definition): (String, String, String) = (row.get(0), row.get(1), row.get(3));
            let columns: Vec<String> = row.get(4);
            if !columns.iter().any(|one| one == column) {
                continue;
            }
            found.push(if kind == "index" {
                // An index of a partitioned table reads back as one of the parent alone.
                let sql = definition.replacen(" ON ONLY ", " ON ", 1);
                Self { kind: "index", name, columns, foreign_key: false, sql }
            } else {
                let sql = format!("ALTER TABLE {quoted} ADD CONSTRAINT {} {definition}", quote_identifier(&name));
                Self { kind: "constraint", name, columns, foreign_key: row.get(2), sql }
            });
        }
        Ok(found)
    }
}

/// The archive's entries of what a column needs: its type, and functions and sequences of its default.
pub async fn missing_objects_of_column(
    scratch: &Session,
    table: &Relation,
    column: &str,
    entries: &[ArchiveEntry],
) -> Result<Vec<u32>, DatabaseError> {
    let rows = scratch
        .query(
            "WITH RECURSIVE col AS (
                 SELECT a.attrelid, a.attnum, a.atttypid FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = $1 AND a.attname = $2::text),
             types (oid) AS (
                 SELECT atttypid FROM col
                 UNION SELECT coalesce(nullif(t.typelem, 0), nullif(t.typbasetype, 0)) FROM types y
                   JOIN pg_catalog.pg_type t ON t.oid = y.oid WHERE t.typelem <> 0 OR t.typbasetype <> 0),
             defaults AS (
                 SELECT d.refclassid, d.refobjid FROM col JOIN pg_catalog.pg_attrdef f ON f.adrelid = col.attrelid AND f.adnum = col.attnum
                   JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.objid = f.oid)
             SELECT 'TYPE', n.nspname::text, t.typname::text FROM types JOIN pg_catalog.pg_type t USING (oid)
               JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
             UNION ALL
             SELECT 'FUNCTION', n.nspname::text, p.proname || '(' FROM defaults f
               JOIN pg_catalog.pg_proc p ON p.oid = f.refobjid AND f.refclassid = 'pg_catalog.pg_proc'::regclass
               JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
             UNION ALL
             SELECT 'SEQUENCE', n.nspname::text, s.relname::text FROM defaults f
               JOIN pg_catalog.pg_class s ON s.oid = f.refobjid AND f.refclassid = 'pg_catalog.pg_class'::regclass AND s.relkind = 'S'
               JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace",
            &[&table.oid, &column],
        )
        .await?;
    let wanted: Vec<(String, String, String)> = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let is_wanted = |entry: &&ArchiveEntry| {
        wanted.iter().any(|(kind, schema, name)| {
            let same_kind = match kind.as_str() {
                "TYPE" => ["TYPE", "DOMAIN"].contains(&entry.kind.as_str()),
                kind => entry.kind == kind,
            };
            let same_name = if kind == "FUNCTION" { entry.name.starts_with(name) } else { entry.name == *name };
            same_kind && same_name && entry.schema.as_deref() == Some(schema)
        })
    };
    Ok(entries.iter().filter(is_wanted).map(|entry| entry.id).collect())
}
