//! What a database holds, read by psql and pg_dump alone: the oracle for what a restore brings back.

use super::cluster::TestCluster;
use super::programs::{output_of, run_with_input};

/// Schema and contents of a database without the ledger, as text to be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// One entry for each table, materialized view, sequence and large object: its name and its rows.
    pub relations: Vec<(String, String)>,
}

const TABLES: &str = "
    SELECT format('%I.%I', n.nspname, c.relname),
           CASE c.relkind WHEN 'S' THEN format('SELECT last_value, is_called FROM %I.%I', n.nspname, c.relname)
                WHEN 'm' THEN CASE WHEN c.relispopulated THEN format('SELECT x::text FROM %I.%I x ORDER BY 1', n.nspname, c.relname)
                                   ELSE 'SELECT ''not populated''' END
                ELSE format('SELECT x::text FROM ONLY %I.%I x ORDER BY 1', n.nspname, c.relname) END
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'S', 'm') AND n.nspname !~ '^(pg_|information_schema$|safe_migrate$)'
       AND (c.relname !~ '^by_mood_\\d') ORDER BY 1";

impl Contents {
    /// Reads them. Leaves of a hash partition are read through their root: in a new database an enum's values have
    /// other hashes. Columns are read by name, since those of a child come back in another order.
    pub fn of(cluster: &TestCluster, database: &str) -> Contents {
        let mut relations = Vec::new();
        for line in cluster.query(database, TABLES).lines() {
            let (name, query) = line.split_once('|').expect("two columns");
            relations.push((name.to_owned(), cluster.query(database, &by_name(cluster, database, name, query))));
        }
        let hash = "SELECT e, id FROM by_mood ORDER BY 1, 2";
        if !cluster.query(database, "SELECT to_regclass('by_mood')").is_empty() {
            relations.push(("by_mood".to_owned(), cluster.query(database, hash)));
        }
        let large =
            "SELECT oid, lo_get(oid), obj_description(oid, 'pg_largeobject') FROM pg_largeobject_metadata ORDER BY 1";
        relations.push(("large objects".to_owned(), cluster.query(database, large)));
        Contents { relations }
    }
}

/// The query with the columns in the order of their names.
fn by_name(cluster: &TestCluster, database: &str, relation: &str, query: &str) -> String {
    let columns = cluster.query(
        database,
        &format!(
            "SELECT string_agg(format('x.%I', attname), ', ' ORDER BY attname COLLATE \"C\") FROM pg_attribute
              WHERE attrelid = '{}'::regclass AND attnum > 0 AND NOT attisdropped",
            relation.replace('\'', "''")
        ),
    );
    if columns.is_empty() { query.to_owned() } else { query.replace("x::text", &format!("ROW({columns})::text")) }
}

/// Makes `copy` from `original` by plain `pg_dump | psql`, what everybody would do without this program.
pub fn dump_and_restore(cluster: &TestCluster, original: &str, copy: &str) {
    let dump = output_of(cluster.program("pg_dump").args(["-d", &cluster.socket_url(original)]));
    cluster.sql("postgres", &format!("CREATE DATABASE {copy} TEMPLATE template0"));
    let url = cluster.socket_url(copy);
    let output = run_with_input(cluster.program("psql").args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &url]), &dump);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
