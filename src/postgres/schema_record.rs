//! The schema read from the catalog in one query: to say which of many steps changed what.
//!
//! Cheaper than `pg_dump` and not as complete; that two schemas are equal is for the fingerprint to say. A column is an
//! entry of its own, so that its place in the table is another one.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Statement;

use super::{DatabaseError, Session};

/// Definitions by the names of their objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaRecord(BTreeMap<String, String>);

/// The query of a record, prepared.
#[derive(Clone, Debug)]
pub struct RecordQuery(Statement);

/// What begins the name of an entry that holds the order of a table's columns.
const ORDER: &str = "order of columns of ";

/// Where two records differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordDifference {
    /// Objects that are gone, new, or defined otherwise, with which of these.
    pub objects: BTreeMap<String, &'static str>,
    /// Tables with the same columns in another order.
    pub reordered: BTreeSet<String>,
}

impl SchemaRecord {
    /// Prepares the query for a session with an empty search path; to parse and plan it takes as long as to run it.
    pub async fn prepare(session: &Session) -> Result<RecordQuery, DatabaseError> {
        Ok(RecordQuery(session.prepare(RECORD).await?))
    }

    /// Reads the record, on the session that prepared the query.
    pub async fn read(session: &Session, query: &RecordQuery) -> Result<Self, DatabaseError> {
        let rows = session.query(&query.0, &[]).await?;
        let mut entries = BTreeMap::<String, String>::new();
        for row in &rows {
            let (name, text): (String, Option<String>) = (row.get(0), row.get(1));
            entries.entry(name).or_default().push_str(&text.unwrap_or_default());
        }
        Ok(Self(entries))
    }

    /// What a later state has otherwise.
    pub fn difference(&self, later: &SchemaRecord) -> RecordDifference {
        let mut difference = RecordDifference::default();
        for name in self.0.keys().chain(later.0.keys()).collect::<BTreeSet<_>>() {
            let how = match (self.0.get(name), later.0.get(name)) {
                (Some(old), Some(new)) if old == new => continue,
                (Some(old), Some(new)) => match name.strip_prefix(ORDER) {
                    Some(table) if same_words(old, new) => {
                        difference.reordered.insert(table.to_owned());
                        continue;
                    }
                    // The columns themselves are entries.
                    Some(_) => continue,
                    None => "is defined otherwise",
                },
                _ if name.starts_with(ORDER) => continue,
                (Some(_), None) => "is missing",
                (None, _) => "is left over",
            };
            difference.objects.insert(name.clone(), how);
        }
        difference
    }
}

fn same_words(left: &str, right: &str) -> bool {
    let sorted = |text: &str| {
        let mut words: Vec<String> = text.split('\n').map(str::to_owned).collect();
        words.sort();
        words
    };
    sorted(left) == sorted(right)
}

// Privileges that were granted and taken back are those that there are by default.
const RECORD: &str = "
WITH own AS (SELECT oid, nspname::text AS name, nspowner, nspacl FROM pg_catalog.pg_namespace
              WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'safe_migrate')),
     relation AS (SELECT c.*, pg_catalog.format('%s.%s', n.name, c.relname) AS path
                    FROM pg_catalog.pg_class c JOIN own n ON n.oid = c.relnamespace
                   WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c', 'S'))
SELECT 'schema ' || name, pg_catalog.concat_ws(' ', nspowner::pg_catalog.regrole, (SELECT pg_catalog.string_agg(x::text, ',' ORDER BY x::text) FROM pg_catalog.unnest(coalesce(nspacl, pg_catalog.acldefault('n', nspowner))) x)) FROM own
UNION ALL
SELECT CASE relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view ' WHEN 'S' THEN 'sequence ' WHEN 'c' THEN 'type '
            WHEN 'f' THEN 'foreign table ' ELSE 'table ' END || path,
       pg_catalog.concat_ws(' ', relkind, relowner::pg_catalog.regrole, 
           (SELECT pg_catalog.string_agg(x::text, ',' ORDER BY x::text) FROM pg_catalog.unnest(coalesce(relacl, pg_catalog.acldefault(CAST(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END AS pg_catalog.\"char\"), relowner))) x), reloptions, relpersistence,
           relrowsecurity, relforcerowsecurity, relreplident, relispartition,
           pg_catalog.pg_get_expr(relpartbound, oid),
           CASE WHEN relkind = 'p' THEN pg_catalog.pg_get_partkeydef(oid) END,
           CASE WHEN relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(oid) END,
           (SELECT pg_catalog.string_agg(i.inhparent::pg_catalog.regclass::text, ',' ORDER BY i.inhseqno)
              FROM pg_catalog.pg_inherits i WHERE i.inhrelid = relation.oid),
           (SELECT pg_catalog.concat_ws(' ', s.seqtypid, s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle)
              FROM pg_catalog.pg_sequence s WHERE s.seqrelid = relation.oid))
  FROM relation
UNION ALL
SELECT 'column ' || r.path || '.' || a.attname,
       pg_catalog.concat_ws(' ', pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
           NULLIF(a.attcollation, t.typcollation)::pg_catalog.regcollation, a.attstorage, a.attoptions, NULLIF(a.attacl::text, '{}'), a.attislocal,
           pg_catalog.pg_get_expr(d.adbin, d.adrelid))
  FROM relation r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE r.relkind <> 'S'
UNION ALL
SELECT 'order of columns of ' || r.path, pg_catalog.string_agg(a.attname, E'\\n' ORDER BY a.attnum)
  FROM relation r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE r.relkind IN ('r', 'p', 'f') GROUP BY r.path
UNION ALL
SELECT 'constraint ' || k.conname || ' of ' || coalesce(r.path, k.contypid::pg_catalog.regtype::text),
       pg_catalog.pg_get_constraintdef(k.oid) || k.convalidated
  FROM pg_catalog.pg_constraint k JOIN own ON own.oid = k.connamespace LEFT JOIN relation r ON r.oid = k.conrelid
UNION ALL
SELECT 'index ' || r.path || ' ' || i.relname,
       pg_catalog.concat_ws(' ', pg_catalog.pg_get_indexdef(i.oid), x.indisvalid, x.indisclustered, x.indisreplident)
  FROM relation r JOIN pg_catalog.pg_index x ON x.indrelid = r.oid JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
UNION ALL
SELECT 'trigger ' || t.tgname || ' of ' || r.path, pg_catalog.pg_get_triggerdef(t.oid) || t.tgenabled::text
  FROM relation r JOIN pg_catalog.pg_trigger t ON t.tgrelid = r.oid AND NOT t.tgisinternal
UNION ALL
SELECT 'rule ' || u.rulename || ' of ' || r.path, pg_catalog.pg_get_ruledef(u.oid) || u.ev_enabled::text
  FROM relation r JOIN pg_catalog.pg_rewrite u ON u.ev_class = r.oid AND u.rulename <> '_RETURN'
UNION ALL
SELECT 'policy ' || p.polname || ' of ' || r.path,
       pg_catalog.concat_ws(' ', p.polcmd, p.polpermissive, p.polroles::pg_catalog.regrole[],
           pg_catalog.pg_get_expr(p.polqual, p.polrelid), pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid))
  FROM relation r JOIN pg_catalog.pg_policy p ON p.polrelid = r.oid
UNION ALL
SELECT CASE f.prokind WHEN 'p' THEN 'procedure ' WHEN 'a' THEN 'aggregate ' ELSE 'function ' END
         || pg_catalog.format('%s.%s(%s)', own.name, f.proname, pg_catalog.pg_get_function_identity_arguments(f.oid)),
       pg_catalog.concat_ws(' ', f.proowner::pg_catalog.regrole, 
           (SELECT pg_catalog.string_agg(x::text, ',' ORDER BY x::text) FROM pg_catalog.unnest(coalesce(f.proacl, pg_catalog.acldefault('f', f.proowner))) x),
           CASE WHEN f.prokind <> 'a' THEN pg_catalog.pg_get_functiondef(f.oid) END)
  FROM pg_catalog.pg_proc f JOIN own ON own.oid = f.pronamespace
UNION ALL
SELECT 'type ' || own.name || '.' || t.typname,
       pg_catalog.concat_ws(' ', t.typtype, t.typowner::pg_catalog.regrole, 
           (SELECT pg_catalog.string_agg(x::text, ',' ORDER BY x::text) FROM pg_catalog.unnest(coalesce(t.typacl, pg_catalog.acldefault('T', t.typowner))) x), t.typnotnull, t.typdefault,
           CASE WHEN t.typtype = 'd' THEN pg_catalog.format_type(t.typbasetype, t.typtypmod) END,
           (SELECT pg_catalog.string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid))
  FROM pg_catalog.pg_type t JOIN own ON own.oid = t.typnamespace
 WHERE t.typtype IN ('d', 'e', 'r')
UNION ALL
SELECT 'extension ' || extname, extversion FROM pg_catalog.pg_extension
UNION ALL
SELECT 'comment on ' || pg_catalog.pg_describe_object(d.classoid, d.objoid, d.objsubid), d.description
  FROM pg_catalog.pg_description d
 WHERE d.objoid IN (SELECT oid FROM relation UNION ALL SELECT oid FROM own)
ORDER BY 1, 2";

#[cfg(test)]
mod tests {
    use super::*;

    fn record(entries: &[(&str, &str)]) -> SchemaRecord {
        SchemaRecord(entries.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
    }

    #[test]
    fn a_difference_names_objects_and_tells_order_apart() {
        let before = record(&[("column t.a", "int"), ("column t.b", "int"), ("order of columns of t", "a\nb")]);
        let moved = record(&[("column t.a", "int"), ("column t.b", "int"), ("order of columns of t", "b\na")]);
        let difference = before.difference(&moved);
        assert!(difference.objects.is_empty());
        assert_eq!(difference.reordered.into_iter().collect::<Vec<_>>(), ["t"]);
        let other = record(&[("column t.a", "text"), ("view v", "…"), ("order of columns of t", "a")]);
        let objects = before.difference(&other).objects;
        assert_eq!(
            objects.into_iter().map(|(name, how)| format!("{name} {how}")).collect::<Vec<_>>(),
            ["column t.a is defined otherwise", "column t.b is missing", "view v is left over"]
        );
    }
}
