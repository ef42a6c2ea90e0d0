//! The queries behind [`Definitions`].

use std::collections::BTreeMap;

use tokio_postgres::Row;

use super::super::{DatabaseError, Session};
use super::{Address, Check, Column, ConstraintIndex, Definitions, Part, Relation};

/// Schemas whose objects a dump has.
const OWN: &str = "n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'safe_migrate')";

/// Reads them; `session` has an empty search path, so that all names are qualified.
pub async fn read(session: &Session) -> Result<Definitions, DatabaseError> {
    let version = session.server_version_num();
    let mut found = Definitions::default();
    let mut by_class = relations(session).await?;
    for row in session.query(&columns_sql(version), &[]).await? {
        let (relation, column) = column(&row);
        if let Some(one) = by_class.get_mut(&relation) {
            one.columns.push(column);
        }
    }
    for row in session.query(CHECKS, &[]).await? {
        let (table, domain): (u32, u32) = (row.get(0), row.get(1));
        let check = Check { quoted: row.get(2), definition: row.get(3), valid: row.get(4) };
        match by_class.get_mut(&table) {
            Some(one) => {
                found.check_names.insert(row.get(5), check.quoted.clone());
                one.checks.push(check);
            }
            None => found.domains.entry(domain).or_default().checks.push(check),
        }
    }
    let row_types = session.query("SELECT oid, reltype FROM pg_catalog.pg_class WHERE relkind = 'c'", &[]).await?;
    let row_types: BTreeMap<u32, u32> = row_types.iter().map(|row| (row.get(0), row.get(1))).collect();
    found.relations = by_class.into_iter().map(|(oid, one)| (*row_types.get(&oid).unwrap_or(&oid), one)).collect();
    for row in session.query(ENUMS, &[]).await? {
        found.enums.insert(row.get(0), row.get(1));
    }
    for row in session.query(&format!("{DOMAINS} AND {OWN}"), &[]).await? {
        let domain = found.domains.entry(row.get(0)).or_default();
        (domain.path, domain.base, domain.not_null, domain.default) = (row.get(1), row.get(2), row.get(3), row.get(4));
    }
    for row in session.query(&format!("{FUNCTIONS} WHERE {OWN}"), &[]).await? {
        found.functions.insert(row.get(0), (row.get(1), row.get(2)));
    }
    read_indexes(session, &mut found).await?;
    read_dependencies(session, &mut found).await?;
    Ok(found)
}

async fn relations(session: &Session) -> Result<BTreeMap<u32, Relation>, DatabaseError> {
    let rows = session.query(&format!("{RELATIONS} AND {OWN}"), &[]).await?;
    let relation = |row: &Row| Relation {
        oid: row.get(0),
        schema: row.get(1),
        name: row.get(2),
        path: row.get(3),
        kind: char_of(row, 4),
        persistence: char_of(row, 5),
        options: row.get(6),
        replica_identity: row.get(7),
        forced_row_security: row.get(8),
        partition_key: row.get(9),
        parents: row.get(10),
        is_partition: row.get(11),
        owner: row.get(12),
        cluster: row.get(13),
        quoted: row.get(14),
        columns: Vec::new(),
        checks: Vec::new(),
    };
    Ok(rows.iter().map(|row| (row.get(0), relation(row))).collect())
}

fn column(row: &Row) -> (u32, Column) {
    let storage = |at| match char_of(row, at) {
        'p' => "PLAIN",
        'e' => "EXTERNAL",
        'm' => "MAIN",
        _ => "EXTENDED",
    };
    let compression = match char_of(row, 10) {
        'p' => Some("pglz"),
        'l' => Some("lz4"),
        _ => None,
    };
    let column = Column {
        number: row.get(1),
        name: row.get(2),
        quoted: row.get(3),
        data_type: row.get(4),
        collation: row.get(5),
        not_null: row.get(6),
        default: row.get(7),
        identity: char_of(row, 8),
        storage: storage(9),
        type_storage: storage(18),
        category: char_of(row, 19),
        compression,
        statistics: row.get::<_, Option<i32>>(11).filter(|target| *target >= 0),
        options: row.get(12),
        generated: char_of(row, 13),
        inherited: row.get(14),
        type_oid: row.get(15),
        is_array: row.get(16),
        not_null_name: row.get(17),
    };
    (row.get(0), column)
}

fn char_of(row: &Row, at: usize) -> char {
    row.get::<_, String>(at).chars().next().unwrap_or(' ')
}

async fn read_indexes(session: &Session, found: &mut Definitions) -> Result<(), DatabaseError> {
    let period = if session.server_version_num() >= 180_000 { "k.conperiod" } else { "false" };
    let sql = format!(
        "SELECT k.oid, k.contype::text, k.conrelid, pg_catalog.pg_get_indexdef(k.conindid), k.condeferrable, k.condeferred, {period},
                k.conindid
           FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_namespace n ON n.oid = k.connamespace
          WHERE k.contype IN ('p', 'u', 'x') AND {OWN}"
    );
    for row in session.query(&sql, &[]).await? {
        let deferrable = match (row.get(4), row.get(5)) {
            (true, true) => " DEFERRABLE INITIALLY DEFERRED",
            (true, false) => " DEFERRABLE",
            _ => "",
        };
        let (kind, definition) = (char_of(&row, 1), row.get(3));
        let (table, period, index) = (row.get(2), row.get(6), row.get(7));
        let one = ConstraintIndex { kind, table, index, definition, deferrable, period };
        found.constraint_indexes.insert(row.get(0), one);
    }
    let sql =
        "SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
                WHERE c.relkind IN ('i', 'I')";
    for row in session.query(sql, &[]).await? {
        found.attached_indexes.insert(row.get(0), row.get(1));
    }
    Ok(())
}

async fn read_dependencies(session: &Session, found: &mut Definitions) -> Result<(), DatabaseError> {
    for row in session.query(COLUMN_USERS, &[]).await? {
        let (table, column): (u32, i32) = (row.get(0), row.get(1));
        let column = i16::try_from(column).unwrap_or_default();
        found.users.entry((table, column)).or_default().insert((row.get(2), row.get(3)));
    }
    for row in session.query(GENERATED_FROM, &[]).await? {
        let column = i16::try_from(row.get::<_, i32>(1)).unwrap_or_default();
        found.generated_from.entry((row.get(0), column)).or_default().insert(row.get(2));
    }
    for row in session.query(PART_USES, &[]).await? {
        let name: String = row.get(2);
        let part = if row.get(1) { Part::Check(name) } else { Part::Default(name) };
        found.used_by_parts.entry((row.get(0), part)).or_default().insert((row.get(3), row.get(4)));
    }
    Ok(())
}

const RELATIONS: &str = "
SELECT c.oid, n.nspname::text, c.relname::text, pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind::text,
       c.relpersistence::text,
       coalesce(c.reloptions, '{}') || coalesce((SELECT pg_catalog.array_agg('toast.' || o) FROM pg_catalog.pg_class t,
           pg_catalog.unnest(t.reloptions) o WHERE t.oid = c.reltoastrelid), '{}'),
       CASE c.relreplident WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING' WHEN 'i' THEN 'USING INDEX ' ||
            (SELECT pg_catalog.quote_ident(i.relname) FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
              WHERE x.indrelid = c.oid AND x.indisreplident) ELSE 'DEFAULT' END,
       c.relforcerowsecurity, CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END,
       coalesce((SELECT pg_catalog.array_agg(i.inhparent::pg_catalog.regclass::text ORDER BY i.inhseqno)
                   FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid), '{}'),
       c.relispartition, c.relowner::pg_catalog.regrole::text,
       (SELECT pg_catalog.quote_ident(i.relname) FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
         WHERE x.indrelid = c.oid AND x.indisclustered), pg_catalog.quote_ident(c.relname)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'c')";

fn columns_sql(version: u32) -> String {
    let compression = if version >= 140_000 { "a.attcompression::text" } else { "''" };
    let name = match version >= 180_000 {
        // As pg_dump does: a name that ALTER TABLE would choose by itself is not written.
        true => {
            "(SELECT pg_catalog.quote_ident(k.conname) FROM pg_catalog.pg_constraint k
                   WHERE k.conrelid = c.oid AND k.contype = 'n' AND k.conkey = ARRAY[a.attnum]
                     AND k.conname <> c.relname || '_' || a.attname || '_not_null')"
        }
        false => "NULL",
    };
    format!(
        "SELECT c.oid, a.attnum, a.attname::text, pg_catalog.quote_ident(a.attname),
                pg_catalog.format_type(a.atttypid, a.atttypmod),
                CASE WHEN a.attcollation <> t.typcollation AND a.attcollation <> 0 THEN
                  (SELECT pg_catalog.format('%I.%I', cn.nspname, co.collname) FROM pg_catalog.pg_collation co
                     JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace WHERE co.oid = a.attcollation) END,
                a.attnotnull, pg_catalog.pg_get_expr(d.adbin, d.adrelid), a.attidentity::text,
                a.attstorage::text, {compression},
                a.attstattarget::int4, coalesce(a.attoptions, '{{}}'), a.attgenerated::text, NOT a.attislocal,
                CASE WHEN t.typelem <> 0 AND t.typcategory = 'A' THEN t.typelem ELSE t.oid END,
                t.typelem <> 0 AND t.typcategory = 'A', {name}, t.typstorage::text, t.typcategory::text
           FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
           JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
           LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
          WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'c') AND {OWN} ORDER BY c.oid, a.attnum"
    )
}

const CHECKS: &str = "
SELECT k.conrelid, k.contypid, pg_catalog.quote_ident(k.conname), pg_catalog.pg_get_constraintdef(k.oid), k.convalidated, k.oid
  FROM pg_catalog.pg_constraint k WHERE k.contype = 'c' AND k.conislocal ORDER BY k.conname";

const ENUMS: &str =
    "SELECT enumtypid, pg_catalog.array_agg(enumlabel::text ORDER BY enumsortorder) FROM pg_catalog.pg_enum GROUP BY 1";

const DOMAINS: &str = "
SELECT t.oid, pg_catalog.format('%I.%I', n.nspname, t.typname),
       pg_catalog.format_type(t.typbasetype, t.typtypmod) || ' ' || t.typcollation::pg_catalog.regcollation::text, t.typnotnull,
       coalesce(pg_catalog.pg_get_expr(t.typdefaultbin, 0), t.typdefault)
  FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE t.typtype = 'd'";

const FUNCTIONS: &str = "
SELECT f.oid, pg_catalog.pg_get_function_arguments(f.oid), coalesce(pg_catalog.pg_get_function_result(f.oid), '')
  FROM pg_catalog.pg_proc f JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace";

// A view depends by its rule; a default and a generated column by the row of their expression.
const COLUMN_USERS: &str = "
SELECT d.refobjid, d.refobjsubid, CASE WHEN d.classid = 2618 AND r.rulename = '_RETURN' THEN 1259::oid ELSE d.classid END,
       CASE WHEN d.classid = 2618 AND r.rulename = '_RETURN' THEN r.ev_class ELSE d.objid END
  FROM pg_catalog.pg_depend d LEFT JOIN pg_catalog.pg_rewrite r ON d.classid = 2618 AND r.oid = d.objid
 WHERE d.refclassid = 1259 AND d.refobjsubid > 0 AND d.refobjid >= 16384 AND d.deptype IN ('n', 'a', 'P', 'S')";

const GENERATED_FROM: &str = "
SELECT d.refobjid, d.refobjsubid, pg_catalog.quote_ident(c.attname)
  FROM pg_catalog.pg_attrdef a JOIN pg_catalog.pg_attribute c ON c.attrelid = a.adrelid AND c.attnum = a.adnum AND c.attgenerated <> ''
  JOIN pg_catalog.pg_depend d ON d.classid = 2604 AND d.objid = a.oid
 WHERE d.refclassid = 1259 AND d.refobjid = a.adrelid AND d.refobjsubid > 0 AND d.refobjsubid <> a.adnum";

const PART_USES: &str = "
SELECT a.adrelid, false, pg_catalog.quote_ident(c.attname), d.refclassid, d.refobjid
  FROM pg_catalog.pg_attrdef a JOIN pg_catalog.pg_attribute c ON c.attrelid = a.adrelid AND c.attnum = a.adnum
  JOIN pg_catalog.pg_depend d ON d.classid = 2604 AND d.objid = a.oid WHERE d.refobjid >= 16384
   AND (d.refclassid IN (1247, 1255)
     OR (d.refclassid = 1259 AND d.refobjsubid = 0 AND d.refobjid IN (SELECT oid FROM pg_catalog.pg_class WHERE relkind = 'S')))
UNION
SELECT k.conrelid, true, pg_catalog.quote_ident(k.conname), d.refclassid, d.refobjid
  FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_depend d ON d.classid = 2606 AND d.objid = k.oid
 WHERE k.contype = 'c' AND k.conrelid <> 0 AND d.refclassid IN (1247, 1255) AND d.refobjid >= 16384";

/// The statements that drop objects, each by its address: the words of `pg_identify_object()`, which are those of `DROP`.
pub async fn drops(
    session: &Session,
    addresses: &[(Address, &str)],
) -> Result<BTreeMap<Address, String>, DatabaseError> {
    let (classes, oids): (Vec<u32>, Vec<u32>) = addresses.iter().map(|(address, _)| *address).unzip();
    let kinds: Vec<&str> = addresses.iter().map(|(_, kind)| *kind).collect();
    let rows = session.query(DROPS, &[&classes, &oids, &kinds]).await?;
    Ok(rows.iter().filter_map(|row| Some(((row.get(0), row.get(1)), row.get::<_, Option<String>>(2)?))).collect())
}

const DROPS: &str = "
SELECT x.class, x.oid, CASE
         WHEN x.class = 2606 THEN (SELECT pg_catalog.format('ALTER %s DROP CONSTRAINT %I',
              CASE WHEN k.conrelid <> 0 THEN 'TABLE ' || k.conrelid::pg_catalog.regclass ELSE 'DOMAIN ' || k.contypid::pg_catalog.regtype END,
              k.conname) FROM pg_catalog.pg_constraint k WHERE k.oid = x.oid)
         ELSE 'DROP ' || CASE x.kind WHEN 'PROCEDURAL LANGUAGE' THEN 'LANGUAGE' WHEN 'SHELL TYPE' THEN 'TYPE' ELSE x.kind END
              || ' ' || i.identity END
  FROM ROWS FROM (pg_catalog.unnest($1::oid[]), pg_catalog.unnest($2::oid[]), pg_catalog.unnest($3::text[])) x (class, oid, kind),
       LATERAL pg_catalog.pg_identify_object(x.class, x.oid, 0) i
 WHERE x.class <> 0";
