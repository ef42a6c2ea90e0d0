//! What a table is, read from the catalogs of the database that a session is in.

use super::super::{DatabaseError, Session, qualified, quote_identifier};

/// A relation of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// OID.
    pub oid: u32,
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// `relkind`: `r` a table, `p` a partitioned one, `v` a view, …
    pub kind: char,
    /// Whether it is a partition of another.
    pub partition: bool,
    /// Whether tables inherit from it without being partitions.
    pub has_children: bool,
}

impl Relation {
    /// Quoted `schema.name`.
    pub fn quoted(&self) -> String {
        qualified(&self.schema, &self.name)
    }

    /// `schema.name` for messages.
    pub fn display(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// How the rows are addressed: of a partitioned table all, of another its own and not its children's.
    pub fn rows(&self) -> String {
        if self.kind == 'p' { self.quoted() } else { format!("ONLY {}", self.quoted()) }
    }
}

/// What a `relkind` is, in words.
pub fn describe_kind(kind: char) -> &'static str {
    match kind {
        'r' => "table",
        'p' => "partitioned table",
        'v' => "view",
        'm' => "materialized view",
        'f' => "foreign table",
        'S' => "sequence",
        'i' | 'I' => "index",
        'c' => "composite type",
        _ => "relation",
    }
}

/// The relation of that name, if there is one.
pub async fn relation(session: &Session, schema: &str, name: &str) -> Result<Option<Relation>, DatabaseError> {
    let row = session
        .query_opt(
            "SELECT c.oid, c.relkind::text, c.relispartition,
                    c.relkind = 'r' AND EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid)
               FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname = $1::text AND c.relname = $2::text",
            &[&schema, &name],
        )
        .await?;
    Ok(row.map(|row| Relation {
        oid: row.get(0),
        schema: schema.to_owned(),
        name: name.to_owned(),
        kind: row.get::<_, String>(1).chars().next().unwrap_or('r'),
        partition: row.get(2),
        has_children: row.get(3),
    }))
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name.
    pub name: String,
    /// Type with its modifiers, as SQL.
    pub type_name: String,
    /// Whether its value follows from the others.
    pub generated: bool,
    /// `a` (always) or `d` (by default) for an identity column.
    pub identity: Option<char>,
    /// Whether it refuses null.
    pub not_null: bool,
    /// Its default as SQL.
    pub default: Option<String>,
}

/// The columns of a table in their order.
pub async fn columns(session: &Session, table: u32) -> Result<Vec<Column>, DatabaseError> {
    let rows = session
        .query(
            "SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attgenerated <> '',
                    a.attidentity::text, a.attnotnull, pg_catalog.pg_get_expr(d.adbin, d.adrelid)
               FROM pg_catalog.pg_attribute a
               LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
              WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            &[&table],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| {
            let generated = row.get(2);
            Column {
                name: row.get(0),
                type_name: row.get(1),
                generated,
                identity: row.get::<_, String>(3).chars().next(),
                not_null: row.get(4),
                default: row.get::<_, Option<String>>(5).filter(|_| !generated),
            }
        })
        .collect())
}

/// One column of a key, with the operator by which its index finds equal values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyColumn {
    /// Name.
    pub name: String,
    /// `OPERATOR(schema.=)`: with an empty search path a bare `=` of citext would be that of text.
    pub operator: String,
}

/// A primary key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its columns in order.
    pub columns: Vec<KeyColumn>,
    /// Whether it is checked at once: a deferrable key cannot decide `ON CONFLICT`.
    pub immediate: bool,
}

impl Key {
    /// Whether the column is one of the key's.
    pub fn holds(&self, column: &str) -> bool {
        self.columns.iter().any(|one| one.name == column)
    }

    /// The condition that the rows `left` (with the key's own names) and `right` (with `k1`, `k2`, …) have equal keys.
    pub(super) fn matches(&self, left: &str, right: &str) -> String {
        let equal = |(index, column): (usize, &KeyColumn)| {
            format!("{left}.{} {} {right}.k{}", quote_identifier(&column.name), column.operator, index + 1)
        };
        self.columns.iter().enumerate().map(equal).collect::<Vec<_>>().join(" AND ")
    }

    /// `k1, k2, …`
    pub(super) fn stage_names(&self) -> Vec<String> {
        (1..=self.columns.len()).map(|number| format!("k{number}")).collect()
    }

    /// The key's own names, quoted.
    pub(super) fn quoted(&self) -> Vec<String> {
        self.columns.iter().map(|column| quote_identifier(&column.name)).collect()
    }
}

/// The primary key of a table, when it has one that is a B-tree.
pub async fn primary_key(session: &Session, table: u32) -> Result<Option<Key>, DatabaseError> {
    let rows = session
        .query(
            "SELECT a.attname::text, pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname), i.indimmediate
               FROM pg_catalog.pg_index i
              CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indclass::oid[]) WITH ORDINALITY k (attnum, opclass, at)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
               JOIN pg_catalog.pg_opclass c ON c.oid = k.opclass
               JOIN pg_catalog.pg_am m ON m.oid = c.opcmethod AND m.amname = 'btree'
               JOIN pg_catalog.pg_amop p ON p.amopfamily = c.opcfamily AND p.amopstrategy = 3
                    AND p.amoplefttype = c.opcintype AND p.amoprighttype = c.opcintype
               JOIN pg_catalog.pg_operator o ON o.oid = p.amopopr
               JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
              WHERE i.indrelid = $1 AND i.indisprimary AND k.at <= i.indnkeyatts ORDER BY k.at",
            &[&table],
        )
        .await?;
    let columns = rows.iter().map(|row| KeyColumn { name: row.get(0), operator: row.get(1) }).collect();
    Ok(rows.first().map(|row| Key { columns, immediate: row.get(2) }))
}

/// A table with its partitions, parents first.
pub async fn tree(session: &Session, table: u32) -> Result<Vec<(String, String)>, DatabaseError> {
    let rows = session
        .query(
            "WITH RECURSIVE tree (oid, level) AS (
                 SELECT $1::oid, 0
                 UNION ALL
                 SELECT i.inhrelid, t.level + 1 FROM tree t
                   JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid
                   JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition)
             SELECT n.nspname::text, c.relname::text FROM tree t
               JOIN pg_catalog.pg_class c ON c.oid = t.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              ORDER BY t.level, 1, 2",
            &[&table],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Triggers of users that fire on a write to the table, by name.
pub async fn user_triggers(session: &Session, table: u32) -> Result<Vec<String>, DatabaseError> {
    let rows = session
        .query(
            "SELECT t.tgname::text FROM pg_catalog.pg_trigger t
              WHERE t.tgrelid = $1 AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') ORDER BY 1",
            &[&table],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Sequences that belong to columns of the table (serial and identity): schema, name.
pub async fn owned_sequences(session: &Session, table: u32) -> Result<Vec<(String, String)>, DatabaseError> {
    let rows = session
        .query(
            "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_depend d
               JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind = 'S'
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
                AND d.refobjid = $1 AND d.deptype IN ('a', 'i') ORDER BY 1, 2",
            &[&table],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

// Views depend through their rewrite rules, SQL functions with a parsed body and policies of other tables directly.
const DEPENDENTS: &str = "
    SELECT DISTINCT CASE WHEN r.oid IS NOT NULL THEN
               CASE v.relkind WHEN 'm' THEN 'materialized view ' ELSE 'view ' END || vn.nspname || '.' || v.relname
           ELSE pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) END AS name,
           vn.nspname::text, v.relname::text
      FROM pg_catalog.pg_depend d
      LEFT JOIN pg_catalog.pg_rewrite r ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND r.oid = d.objid
      LEFT JOIN pg_catalog.pg_class v ON v.oid = r.ev_class
      LEFT JOIN pg_catalog.pg_namespace vn ON vn.oid = v.relnamespace
     WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = $1 AND d.deptype = 'n'
       AND (r.ev_class <> d.refobjid OR d.classid = 'pg_catalog.pg_proc'::regclass
            OR d.classid = 'pg_catalog.pg_policy'::regclass
               AND d.objid NOT IN (SELECT oid FROM pg_catalog.pg_policy WHERE polrelid = d.refobjid))
       AND ($2::int2 = 0 OR d.refobjsubid = $2) ORDER BY 1";

/// Views, functions and the like that read the table (or one column of it, by number; 0 for all), by name.
pub async fn dependents(session: &Session, table: u32, column: i16) -> Result<Vec<String>, DatabaseError> {
    let rows = session.query(DEPENDENTS, &[&table, &column]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Views that read the table in the scratch database and are not in the live one, by name.
pub async fn views_missing(scratch: &Session, table: u32, live: &Session) -> Result<Vec<String>, DatabaseError> {
    let mut missing = Vec::new();
    for row in scratch.query(DEPENDENTS, &[&table, &0_i16]).await? {
        let (Some(schema), Some(name)) = (row.get::<_, Option<String>>(1), row.get::<_, Option<String>>(2)) else {
            continue;
        };
        if relation(live, &schema, &name).await?.is_none() {
            missing.push(row.get(0));
        }
    }
    Ok(missing)
}
