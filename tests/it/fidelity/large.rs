//! Large things: rows, values, TOAST, and many tables.

use crate::support::{Scene, TestCluster, Version, rounds};

/// Text that does not compress away: `megabytes` of hashes of `seed`.
const NOISE: &str = "
    CREATE FUNCTION noise(seed int, kilobytes int) RETURNS text LANGUAGE sql AS
        'SELECT string_agg(md5(seed || ''-'' || i), '''') FROM generate_series(1, kilobytes * 32) i';";

/// Count and sum of the hashes of all rows, computed by the server.
const SUMS: &str = "SELECT count(*), sum(hashtextextended(t::text, 0)), sum(octet_length(t::text))";

fn come_back(scene: &Scene, tables: &[&str]) {
    let (cluster, name) = (scene.cluster(), scene.database.name());
    let sums = |database: &str| -> Vec<String> {
        tables.iter().map(|table| cluster.query(database, &format!("{SUMS} FROM {table} t"))).collect()
    };
    let id = scene.take_snapshot();
    let copy = format!("{name}_copy");
    scene.run(0, &["restore", &id, "--to", &copy, "--yes"]);
    assert_eq!(sums(&copy), sums(name));
    for sum in sums(name) {
        assert!(!sum.starts_with("0|"), "an empty table proves nothing: {sum}");
    }
}

/// One value of so many megabytes, and a fifth of it as bytes.
fn large_rows_and_one_value(version: Version, megabytes: u32) {
    let scene = Scene::empty(version);
    scene.database.sql(NOISE);
    scene.database.sql(&format!(
        "CREATE TABLE wide_rows (id int, t text, b bytea);
         INSERT INTO wide_rows SELECT i, repeat(noise(i, 10), 10), NULL FROM generate_series(1, 1000) i;
         CREATE TABLE one_value (t text); INSERT INTO one_value SELECT repeat(noise(1, 1000), {megabytes});
         CREATE TABLE one_blob (b bytea); INSERT INTO one_blob SELECT decode(repeat(noise(2, 1000), {megabytes} / 5), 'hex')",
    ));
    assert_eq!(scene.database.query(&format!("SELECT length(t) > {megabytes} * 1000000 FROM one_value")), "t");
    come_back(&scene, &["wide_rows", "one_value", "one_blob"]);
}

#[test]
fn large_rows_and_one_large_value_round_trip() {
    large_rows_and_one_value(Version::V15, rounds(20, 200));
}

#[test]
fn large_rows_and_one_large_value_round_trip_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    large_rows_and_one_value(Version::V18, rounds(20, 200));
}

/// The long form: no server prints such a value, and the snapshot says which one it is, compressed or not.
#[test]
fn a_value_that_cannot_be_printed_is_named() {
    if !crate::support::is_long() {
        return;
    }
    let scene = Scene::empty(Version::V15);
    scene.database.sql(
        "CREATE TABLE scan (id int PRIMARY KEY, page int, data bytea);
         INSERT INTO scan SELECT 5, 1, d || d FROM (SELECT repeat('x', 289000000)::bytea AS d) AS half",
    );
    let refused = scene.run(6, &["snapshot", "create"]).stderr;
    assert!(refused.contains("table public.scan: column data of the row id = 5 has 578 MB"), "{refused}");
    scene.database.sql("ALTER TABLE scan ALTER data SET STORAGE EXTERNAL; UPDATE scan SET data = data || 'y'::bytea");
    let refused = scene.run(6, &["snapshot", "create"]).stderr;
    assert!(refused.contains("row id = 5 has 578 MB") && !refused.contains("copying rows"), "{refused}");
}

/// The long form: a heap of 1 MiB that points at 2 GB of text. What is cut by heap pages must not be held in memory.
#[test]
fn a_small_heap_with_2_gb_of_toast_round_trips() {
    if !crate::support::is_long() {
        return;
    }
    let scene = Scene::empty(Version::V15);
    scene.database.sql(NOISE);
    scene.database.sql(
        "CREATE TABLE t (id int, t text, x text DEFAULT repeat('x', 400)); ALTER TABLE t ALTER t SET STORAGE EXTERNAL;
         INSERT INTO t SELECT i, repeat(noise(i, 16), 60) FROM generate_series(1, 2100) i",
    );
    assert_eq!(scene.database.query("SELECT pg_table_size('t') > 2000000000 AND pg_relation_size('t') < 2000000"), "t");
    come_back(&scene, &["t"]);
}

/// The long form: a lock for each of 20,000 tables, on a server that `pg_dump` alone could just dump. Whoever copies
/// rows holds one lock at a time.
#[test]
fn twenty_thousand_tables_do_not_run_out_of_lock_memory() {
    if !crate::support::is_long() {
        return;
    }
    let cluster = std::sync::Arc::new(TestCluster::start(Version::V15, &["max_locks_per_transaction=200"]));
    let scene = Scene::on(&cluster);
    for thousand in 0..20 {
        scene.database.sql(&format!(
            "DO $$ BEGIN FOR i IN {0} .. {0} + 999 LOOP EXECUTE format('CREATE TABLE t_%s (a int)', i);
                                                        EXECUTE format('INSERT INTO t_%s VALUES (%s)', i, i); END LOOP; END $$",
            thousand * 1000
        ));
    }
    let id = scene.take_snapshot();
    let copy = format!("{}_copy", scene.database.name());
    scene.run(0, &["restore", &id, "--to", &copy, "--yes"]);
    let count = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname LIKE 't\\_%'";
    assert_eq!(cluster.query(&copy, count), "20000");
    assert_eq!(cluster.query(&copy, "SELECT a FROM t_0 UNION SELECT a FROM t_19999 ORDER BY 1"), "0\n19999");
}
