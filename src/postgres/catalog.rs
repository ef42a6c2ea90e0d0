//! What a database holds, read from the catalogs: tables, columns, sequences, extensions, invalid indexes.

use std::collections::HashMap;

use super::{DatabaseError, Session, qualified, quote_identifier};

/// A table whose rows a snapshot copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// OID in the database that was read.
    pub oid: u32,
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// Columns in the order in which they are copied; generated ones are left out.
    pub columns: Vec<String>,
    /// Bytes of the main fork.
    pub heap_bytes: i64,
    /// Bytes with TOAST, without indexes.
    pub total_bytes: i64,
    /// Whether rows can be read by `ctid` ranges (access method heap, server 14 or newer).
    pub by_range: bool,
    /// Whether the table is unlogged.
    pub unlogged: bool,
    /// The topmost ancestor that is partitioned by hash; its rows are loaded through it: the hash of an enum's value
    /// differs in another database, so a row may belong to another leaf there. What is above it stays as it is.
    pub hash_partition_root: Option<(String, String)>,
    /// Condition on the rows of an extension's configuration table (`pg_extension_config_dump`), without `WHERE`.
    pub filter: Option<String>,
}

impl Table {
    /// Quoted `schema.name`.
    pub fn qualified_name(&self) -> String {
        qualified(&self.schema, &self.name)
    }
}

// pg_relation_size() waits for whoever holds the table: its recorded pages must do then.
// Tables of extensions belong to CREATE EXTENSION, but for the configuration tables that it registers.
const TABLES: &str = "
    SELECT c.oid, n.nspname::text, c.relname::text, c.relpersistence = 'u',
           CASE WHEN locked THEN c.relpages::bigint * 8192 ELSE pg_catalog.pg_relation_size(c.oid) END,
           CASE WHEN locked THEN c.relpages::bigint * 8192 ELSE pg_catalog.pg_table_size(c.oid) END, coalesce(am.amname = 'heap', false),
           root.nspname::text, root.relname::text,
           regexp_replace(config.condition, '^\\s*WHERE\\s+', '', 'i'),
           (SELECT coalesce(array_agg(a.attname::text ORDER BY coalesce(ra.attnum, a.attnum)), '{}')
              FROM pg_catalog.pg_attribute a
              LEFT JOIN pg_catalog.pg_attribute ra ON ra.attrelid = root.oid AND ra.attname = a.attname
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '')
      FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
     CROSS JOIN LATERAL (SELECT c.oid IN (SELECT l.relation FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_database d ON d.oid = l.database
                          WHERE d.datname = pg_catalog.current_database() AND l.mode = 'AccessExclusiveLock') AS locked) lock
      LEFT JOIN LATERAL (
           SELECT r.oid, rn.nspname, r.relname
             FROM pg_catalog.pg_partition_ancestors(c.oid) WITH ORDINALITY x (relid, height)
             JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = x.relid AND p.partstrat = 'h'
             JOIN pg_catalog.pg_class r ON r.oid = x.relid JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
            WHERE c.relispartition ORDER BY x.height DESC LIMIT 1) root ON true
      LEFT JOIN LATERAL (
           SELECT coalesce(e.extcondition[array_position(e.extconfig, c.oid)], '') AS condition
             FROM pg_catalog.pg_extension e WHERE c.oid = ANY (e.extconfig)) config ON true
     WHERE c.relkind = 'r' AND c.relpersistence <> 't'
       AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
       AND (config.condition IS NOT NULL
            OR NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                            WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))
     ORDER BY 2, 3";

/// Lists the tables with rows to copy, by schema and name.
pub async fn tables(session: &Session) -> Result<Vec<Table>, DatabaseError> {
    let ranges = session.server_version_num() >= 140_000;
    let rows = session.query(TABLES, &[]).await?;
    Ok(rows
        .iter()
        .map(|row| Table {
            oid: row.get(0),
            schema: row.get(1),
            name: row.get(2),
            unlogged: row.get(3),
            heap_bytes: row.get::<_, Option<i64>>(4).unwrap_or_default(),
            total_bytes: row.get::<_, Option<i64>>(5).unwrap_or_default(),
            by_range: ranges && row.get::<_, bool>(6),
            hash_partition_root: row.get::<_, Option<String>>(7).zip(row.get::<_, Option<String>>(8)),
            filter: row.get::<_, Option<String>>(9).filter(|condition| !condition.is_empty()),
            columns: row.get(10),
        })
        .collect())
}

/// Quoted names of all relations that a snapshot locks: tables and partitioned tables, in a stable order.
pub async fn lockable_relations(session: &Session) -> Result<Vec<(u32, String)>, DatabaseError> {
    let rows = session
        .query(
            "SELECT c.oid, n.nspname::text, c.relname::text
               FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
                AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
              ORDER BY c.oid",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), qualified(&row.get::<_, String>(1), &row.get::<_, String>(2)))).collect())
}

/// A sequence's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// `last_value` of the sequence relation.
    pub last_value: i64,
    /// Whether `last_value` has been handed out.
    pub is_called: bool,
}

/// Reads every sequence but those of extensions, which keep them, unless they are registered as configuration.
pub async fn sequences(session: &Session) -> Result<Vec<Sequence>, DatabaseError> {
    let names = session
        .query(
            "SELECT n.nspname::text, c.relname::text
               FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
                AND (EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE c.oid = ANY (e.extconfig))
                     OR NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                                     WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))
              ORDER BY 1, 2",
            &[],
        )
        .await?;
    let mut sequences = Vec::with_capacity(names.len());
    for batch in names.chunks(500) {
        // pg_sequence_last_value() hides is_called; only the relation itself has both.
        let query: Vec<String> = batch
            .iter()
            .map(|row| {
                let (schema, name): (String, String) = (row.get(0), row.get(1));
                format!(
                    "SELECT {}::text, {}::text, last_value, is_called FROM {}",
                    super::quote_literal(&schema),
                    super::quote_literal(&name),
                    qualified(&schema, &name)
                )
            })
            .collect();
        if query.is_empty() {
            continue;
        }
        for row in session.query(&query.join(" UNION ALL "), &[]).await? {
            sequences.push(Sequence {
                schema: row.get(0),
                name: row.get(1),
                last_value: row.get(2),
                is_called: row.get(3),
            });
        }
    }
    Ok(sequences)
}

/// Sets the sequences of a restored database to the recorded values.
pub async fn set_sequences(session: &Session, sequences: &[Sequence]) -> Result<(), DatabaseError> {
    for sequence in sequences {
        session
            .execute(
                "SELECT pg_catalog.setval($1::text::regclass, $2, $3)",
                &[&qualified(&sequence.schema, &sequence.name), &sequence.last_value, &sequence.is_called],
            )
            .await?;
    }
    Ok(())
}

/// An installed extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Schema.
    pub schema: String,
}

/// The schemas that have a table of this name, with this column when one is given.
pub async fn schemas_of(session: &Session, table: &str, column: Option<&str>) -> Result<Vec<String>, DatabaseError> {
    let sql =
        "SELECT n.nspname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relkind IN ('r', 'p') AND c.relname::text = $1 AND n.nspname <> 'pg_catalog'
                  AND ($2::text IS NULL OR EXISTS (SELECT FROM pg_catalog.pg_attribute a
                        WHERE a.attrelid = c.oid AND a.attname::text = $2 AND a.attnum > 0 AND NOT a.attisdropped))";
    let rows = session.query(sql, &[&table, &column]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// The owners of all tables, by schema and name.
pub async fn table_owners(session: &Session) -> Result<HashMap<(String, String), String>, DatabaseError> {
    let sql = "SELECT n.nspname::text, c.relname::text, pg_catalog.pg_get_userbyid(c.relowner)::text
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relkind IN ('r', 'p')";
    let mut owners = HashMap::new();
    for row in session.query(sql, &[]).await? {
        owners.insert((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?);
    }
    Ok(owners)
}

/// Lists the installed extensions by name.
pub async fn extensions(session: &Session) -> Result<Vec<Extension>, DatabaseError> {
    let rows = session
        .query(
            "SELECT e.extname::text, e.extversion, n.nspname::text
               FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace ORDER BY 1",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| Extension { name: row.get(0), version: row.get(1), schema: row.get(2) }).collect())
}

/// Names of the extensions, of those given, whose files the server does not have.
pub async fn missing_extensions(session: &Session, names: &[String]) -> Result<Vec<String>, DatabaseError> {
    let rows = session
        .query(
            "SELECT name FROM unnest($1::text[]) name
              WHERE name NOT IN (SELECT a.name FROM pg_catalog.pg_available_extensions a) ORDER BY 1",
            &[&names],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The version in which `CREATE EXTENSION` would install each of these extensions here.
pub async fn default_extension_versions(
    session: &Session,
    names: &[String],
) -> Result<std::collections::BTreeMap<String, String>, DatabaseError> {
    let sql = "SELECT name::text, default_version FROM pg_catalog.pg_available_extensions
                WHERE name = ANY ($1) AND default_version IS NOT NULL";
    Ok(session.query(sql, &[&names]).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// The materialized views that hold rows, as schema and name.
pub async fn populated_views(session: &Session) -> Result<std::collections::BTreeSet<(String, String)>, DatabaseError> {
    let sql = "SELECT schemaname::text, matviewname::text FROM pg_catalog.pg_matviews WHERE ispopulated";
    Ok(session.query(sql, &[]).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Quoted names of invalid indexes. They vanish in a dump and a restore, so they are recorded apart.
pub async fn invalid_indexes(session: &Session) -> Result<Vec<String>, DatabaseError> {
    let rows = session
        .query(
            "SELECT n.nspname::text, c.relname::text
               FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              WHERE NOT i.indisvalid AND c.relkind = 'i' AND n.nspname !~ '^pg_'
              ORDER BY 1, 2",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| qualified(&row.get::<_, String>(0), &row.get::<_, String>(1))).collect())
}

/// Things that a snapshot cannot carry whole, or that the operator should know of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peculiarities {
    /// Tables that the role may not read, or whose row-level security it does not bypass.
    pub unreadable: Vec<String>,
    /// Subscriptions of the database.
    pub subscriptions: Vec<String>,
    /// User mappings with a password, as far as this role may see it: `role on server`.
    pub mapped_passwords: Vec<String>,
    /// Prepared transactions of the database.
    pub prepared_transactions: Vec<String>,
    /// Whether there are large objects.
    pub large_objects: bool,
    /// `lc_monetary`, on which the text of a `money` value depends.
    pub lc_monetary: String,
}

/// Reads what the pre-flight of a snapshot looks at.
pub async fn peculiarities(session: &Session, tables: &[Table]) -> Result<Peculiarities, DatabaseError> {
    let oids: Vec<u32> = tables.iter().map(|table| table.oid).collect();
    let unreadable = session
        .query(
            "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              WHERE c.oid = ANY ($1)
                AND (NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE')
                     OR NOT pg_catalog.has_table_privilege(c.oid, 'SELECT') OR pg_catalog.row_security_active(c.oid))
              ORDER BY 1, 2",
            &[&oids],
        )
        .await?;
    // pg_subscription is readable by everyone but for its connection string.
    let subscriptions = session
        .query(
            "SELECT subname::text FROM pg_catalog.pg_subscription
              WHERE subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) ORDER BY 1",
            &[],
        )
        .await?;
    let mapped = session
        .query(
            "SELECT m.usename::text || ' on ' || m.srvname::text FROM pg_catalog.pg_user_mappings m
              WHERE EXISTS (SELECT FROM pg_catalog.unnest(m.umoptions) o (option) WHERE o.option ~* '^(ssl)?password=') ORDER BY 1",
            &[],
        )
        .await?;
    let prepared = session
        .query("SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = current_database() ORDER BY 1", &[])
        .await?;
    let other = session
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata), current_setting('lc_monetary')",
            &[],
        )
        .await?;
    Ok(Peculiarities {
        unreadable: unreadable
            .iter()
            .map(|row| qualified(&row.get::<_, String>(0), &row.get::<_, String>(1)))
            .collect(),
        subscriptions: subscriptions.iter().map(|row| row.get(0)).collect(),
        mapped_passwords: mapped.iter().map(|row| row.get(0)).collect(),
        prepared_transactions: prepared.iter().map(|row| row.get(0)).collect(),
        large_objects: other.get(0),
        lc_monetary: other.get(1),
    })
}

/// Column list for `COPY`, quoted; empty for a table without columns to copy.
pub fn column_list(columns: &[String]) -> String {
    columns.iter().map(|column| quote_identifier(column)).collect::<Vec<_>>().join(", ")
}

/// The role that the rights of this session are those of, in words: a setting of the database or of the role may make it
/// another than the one that logged in.
pub async fn acting_role(session: &Session) -> Result<String, DatabaseError> {
    let row = session.query_one("SELECT current_user::text, session_user::text", &[]).await?;
    let (acting, login): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    Ok(match acting == login {
        true => format!("role \"{acting}\""),
        false => format!("role \"{acting}\" (as which \"{login}\" acts by ALTER DATABASE or ALTER ROLE … SET role)"),
    })
}

/// Bytes of a `bytea` of which two digits each are more than a value may have when it is printed.
pub const UNPRINTABLE: i64 = 536_870_910;

/// Values of a table that `COPY` cannot print, in words: table, column, row, size. Reads the heap, and no value.
pub async fn unprintable(session: &Session, table: &Table) -> Result<Vec<String>, DatabaseError> {
    let columns = session
        .query(
            "SELECT pg_catalog.quote_ident(a.attname), a.attname::text,
                    coalesce((SELECT pg_catalog.string_agg(pg_catalog.format('%L || %I', k.attname || ' = ', k.attname), $$ || ', ' || $$
                                                           ORDER BY pg_catalog.array_position(i.indkey::int2[], k.attnum))
                                FROM pg_catalog.pg_index i
                                JOIN pg_catalog.pg_attribute k ON k.attrelid = i.indrelid AND k.attnum = ANY (i.indkey)
                               WHERE i.indrelid = a.attrelid AND i.indisprimary), $$'ctid ' || ctid$$)
               FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid = 'pg_catalog.bytea'::pg_catalog.regtype
              ORDER BY a.attnum",
            &[&table.oid],
        )
        .await?;
    let mut found = Vec::new();
    for column in columns {
        let (quoted, name, key): (String, String, String) =
            (column.try_get(0)?, column.try_get(1)?, column.try_get(2)?);
        let sql = format!(
            "SELECT {key}, pg_catalog.octet_length({quoted})::bigint FROM ONLY {} WHERE pg_catalog.octet_length({quoted}) > {UNPRINTABLE}
              LIMIT 3",
            table.qualified_name()
        );
        for row in session.query(&sql, &[]).await? {
            let (key, bytes): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
            let megabytes = bytes / 1_000_000;
            found.push(format!(
                "table {}.{}: column {name} of the row {key} has {megabytes} MB",
                table.schema, table.name
            ));
        }
    }
    Ok(found)
}
