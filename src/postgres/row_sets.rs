//! What the tables of a database hold, in a form that two databases built in different orders can be compared by: rows
//! counted, and of each column the set of its values; of sequences where they stand. The order of rows and of columns does
//! not count.

use std::collections::BTreeMap;

use super::{DatabaseError, Session, qualified, quote_identifier, quote_literal};

/// The rows of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowSet {
    /// How many.
    pub rows: i64,
    /// Of each column, the sum of the hashes of its values (`hashtextextended`): an order-free set with duplicates.
    pub columns: BTreeMap<String, String>,
}

/// All tables by `schema.table`, without the ledger and what extensions own.
pub async fn read(session: &Session) -> Result<BTreeMap<String, RowSet>, DatabaseError> {
    let tables = session
        .query(
            "SELECT n.nspname::text, c.relname::text,
                    coalesce((SELECT array_agg(a.attname::text ORDER BY a.attname) FROM pg_catalog.pg_attribute a
                               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '{}')
               FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'safe_migrate')
                AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass
                                   AND d.objid = c.oid AND d.deptype = 'e')
              ORDER BY 1, 2",
            &[],
        )
        .await?;
    let mut sets = BTreeMap::new();
    for row in &tables {
        let (schema, table, columns): (String, String, Vec<String>) = (row.get(0), row.get(1), row.get(2));
        sets.insert(format!("{schema}.{table}"), read_table(session, (&schema, &table), columns).await?);
    }
    let sequences = "SELECT schemaname::text, sequencename::text, coalesce(last_value::text, 'unused')
                       FROM pg_catalog.pg_sequences WHERE schemaname <> 'safe_migrate'";
    for row in &session.query(sequences, &[]).await? {
        let (schema, name, last): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let columns = BTreeMap::from([("last_value".to_owned(), last)]);
        sets.insert(format!("{schema}.{name}"), RowSet { rows: 0, columns });
    }
    Ok(sets)
}

async fn read_table(
    session: &Session,
    (schema, table): (&str, &str),
    columns: Vec<String>,
) -> Result<RowSet, DatabaseError> {
    let sums: String = columns
        .iter()
        .map(|column| {
            let value = format!("coalesce(t.{}::text, {})", quote_identifier(column), quote_literal("\u{1}null"));
            format!(", coalesce(sum(pg_catalog.hashtextextended({value}, 0)::numeric), 0)::text")
        })
        .collect();
    // A row security policy would hide rows without a word.
    let sql = format!("SELECT count(*){sums} FROM ONLY {} t", qualified(schema, table));
    let row = session.query_one(&sql, &[]).await?;
    let columns = columns.into_iter().enumerate().map(|(at, column)| (column, row.get(at + 1))).collect();
    Ok(RowSet { rows: row.get(0), columns })
}

/// Where two databases differ, a line for each table or column: `a` and `b` are the names of the two sides.
pub fn differences(left: &BTreeMap<String, RowSet>, right: &BTreeMap<String, RowSet>) -> Vec<String> {
    let mut found = Vec::new();
    for (table, left) in left {
        let Some(right) = right.get(table) else { continue };
        if left.rows != right.rows {
            found.push(format!("{table}: {} rows, and {} rows", left.rows, right.rows));
            continue;
        }
        let other =
            left.columns.iter().filter(|(column, sum)| right.columns.get(*column).is_some_and(|one| one != *sum));
        found.extend(other.map(|(column, _)| format!("{table}.{column}: other values")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(rows: i64, column: &str, sum: &str) -> RowSet {
        RowSet { rows, columns: BTreeMap::from([(column.to_owned(), sum.to_owned())]) }
    }

    #[test]
    fn a_table_differs_by_count_or_by_values() {
        let left =
            BTreeMap::from([("public.a".to_owned(), set(1, "x", "5")), ("public.b".to_owned(), set(2, "y", "7"))]);
        let right =
            BTreeMap::from([("public.a".to_owned(), set(2, "x", "9")), ("public.b".to_owned(), set(2, "y", "8"))]);
        assert_eq!(differences(&left, &right), ["public.a: 1 rows, and 2 rows", "public.b.y: other values"]);
        assert!(differences(&left, &left).is_empty());
    }
}
