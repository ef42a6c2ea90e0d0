//! Sequences that are behind the column they number: the next insert would meet a value that is there already.

use super::{DatabaseError, Session, qualified, quote_identifier};

// Columns that own a sequence (serial, identity, OWNED BY) and columns whose default draws from one. A partition's
// column is its root's.
const NUMBERED: &str = "
    SELECT DISTINCT sn.nspname::text, s.relname::text, q.seqincrement, tn.nspname::text, t.relname::text, a.attname::text
      FROM (SELECT d.objid AS sequence, d.refobjid AS relation, d.refobjsubid AS number
              FROM pg_catalog.pg_depend d
             WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
               AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
            UNION
            SELECT d.refobjid, f.adrelid, f.adnum
              FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_attrdef f ON f.oid = d.objid
             WHERE d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass) n
      JOIN pg_catalog.pg_sequence q ON q.seqrelid = n.sequence AND NOT q.seqcycle
      JOIN pg_catalog.pg_class s ON s.oid = n.sequence JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
      JOIN pg_catalog.pg_class t ON t.oid = n.relation AND t.relkind IN ('r', 'p') AND NOT t.relispartition
      JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
      JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = n.number AND NOT a.attisdropped
     WHERE s.relpersistence <> 't' AND sn.nspname !~ '^pg_'
       AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype)
     ORDER BY 1, 2, 4, 5, 6";

/// Names each sequence whose next value its column has reached or passed already, in words.
pub async fn behind(session: &Session) -> Result<Vec<String>, DatabaseError> {
    let mut found = Vec::new();
    for row in session.query(NUMBERED, &[]).await? {
        let text = |at| row.get::<_, String>(at);
        let (sequence, table) = ((text(0), text(1)), (text(3), text(4)));
        let column = text(5);
        let (edge, reached) = if row.get::<_, i64>(2) > 0 { ("max", ">=") } else { ("min", "<=") };
        let sql = format!(
            "SELECT e.edge::text, n.next::text
               FROM (SELECT {edge}({})::numeric AS edge FROM {}) e,
                    (SELECT last_value::numeric + CASE WHEN is_called THEN {} ELSE 0 END AS next FROM {}) n
              WHERE e.edge {reached} n.next",
            quote_identifier(&column),
            qualified(&table.0, &table.1),
            row.get::<_, i64>(2),
            qualified(&sequence.0, &sequence.1)
        );
        if let Some(row) = session.query_opt(&sql, &[]).await? {
            found.push(format!(
                "sequence {}.{} is behind: its next value is {}, and {}.{}.{column} has reached {}",
                sequence.0,
                sequence.1,
                row.get::<_, String>(1),
                table.0,
                table.1,
                row.get::<_, String>(0)
            ));
        }
    }
    Ok(found)
}
