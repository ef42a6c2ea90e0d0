//! What a database holds, read by psql and pg_dump alone: the oracle for what a restore brings back.

use super::cluster::TestCluster;
use super::programs::{output_of, run_with_input};

/// Schema and contents of a database without the ledger, as text to be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// One entry for each table, materialized view, sequence and large object: its name and its rows.
    pub relations: Vec<(String, String)>,
}

/// Name and query of each relation. Columns are read by name, since those of a child come back in another order.
const TABLES: &str = "
    SELECT format('%I.%I', n.nspname, c.relname),
           CASE c.relkind WHEN 'S' THEN format('SELECT last_value, is_called FROM %I.%I', n.nspname, c.relname)
                WHEN 'm' THEN CASE WHEN c.relispopulated
                                   THEN format('SELECT %s FROM %I.%I x ORDER BY 1', a.row, n.nspname, c.relname)
                                   ELSE 'SELECT ''not populated''' END
                ELSE format('SELECT %s FROM ONLY %I.%I x ORDER BY 1', a.row, n.nspname, c.relname) END
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL (
           SELECT coalesce('ROW(' || string_agg(format('x.%I', attname), ', ' ORDER BY attname COLLATE \"C\") || ')::text',
                           'x::text') AS row
             FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) a
     WHERE c.relkind IN ('r', 'S', 'm') AND n.nspname !~ '^(pg_|information_schema$|safe_migrate$)'
       AND (c.relname !~ '^by_mood_\\d')
    UNION ALL SELECT 'by_mood', 'SELECT e, id FROM by_mood ORDER BY 1, 2' WHERE to_regclass('by_mood') IS NOT NULL
    UNION ALL SELECT 'large objects', 'SELECT oid, lo_get(oid), obj_description(oid, ''pg_largeobject'')'
                     || ' FROM pg_largeobject_metadata ORDER BY 1'
     ORDER BY 1";
const END_OF_ROWS: &str = "-- end of the rows of this relation --";

impl Contents {
    /// Reads them, in two sessions. Leaves of a hash partition are read through their root: in a new database an enum's
    /// values have other hashes.
    pub fn of(cluster: &TestCluster, database: &str) -> Contents {
        let list = cluster.query(database, TABLES);
        let (names, queries): (Vec<&str>, Vec<&str>) =
            list.lines().map(|line| line.split_once('|').expect("two columns")).unzip();
        let script: String = queries.iter().map(|query| format!("{query};\n\\qecho {END_OF_ROWS}\n")).collect();
        let output = run_with_input(cluster.psql(database).args(["-q", "-At"]), &script);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("psql prints UTF-8");
        let end = format!("{END_OF_ROWS}\n");
        let rows: Vec<&str> = text.split_terminator(end.as_str()).collect();
        assert_eq!(rows.len(), names.len(), "psql printed something else: {text}");
        let relations = names.iter().zip(rows).map(|(name, rows)| ((*name).to_owned(), rows.to_owned())).collect();
        Contents { relations }
    }
}

/// Makes `copy` from `original` by plain `pg_dump | psql`, what everybody would do without this program.
pub fn dump_and_restore(cluster: &TestCluster, original: &str, copy: &str) {
    let dump = output_of(cluster.program("pg_dump").args(["-d", &cluster.socket_url(original)]));
    cluster.sql("postgres", &format!("CREATE DATABASE {copy} TEMPLATE template0"));
    let url = cluster.socket_url(copy);
    let output = run_with_input(cluster.program("psql").args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &url]), &dump);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
