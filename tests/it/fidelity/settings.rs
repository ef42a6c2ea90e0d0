//! Hostile settings: whatever a database or a role has set, the snapshot is the same.

use crate::support::{Scene, Version};

use super::oracle::{self, Place};

/// Each of them changes what a careless session prints, sees or may do; the functions shadow the built-in ones.
const HOSTILE: &str = "
    CREATE SCHEMA evil;
    CREATE FUNCTION evil.format(text, VARIADIC \"any\") RETURNS text LANGUAGE internal AS 'text_format';
    CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE sql AS 'SELECT ''evil''::text';
    CREATE FUNCTION evil.regexp_replace(text, text, text, text) RETURNS text LANGUAGE sql AS 'SELECT ''false''::text';
    CREATE FUNCTION evil.unnest(text[]) RETURNS SETOF text LANGUAGE sql AS 'SELECT ''evil''::text';
    CREATE FUNCTION evil.current_database() RETURNS name LANGUAGE sql AS 'SELECT ''evil''::name';
    CREATE TABLE evil.pg_class (oid oid, relname name);
    ALTER DATABASE {database} SET TimeZone = 'Asia/Kathmandu';
    ALTER DATABASE {database} SET DateStyle = 'German, DMY';
    ALTER DATABASE {database} SET IntervalStyle = 'sql_standard';
    ALTER DATABASE {database} SET bytea_output = 'escape';
    ALTER DATABASE {database} SET extra_float_digits = -15;
    ALTER DATABASE {database} SET xmlbinary = 'hex';
    ALTER DATABASE {database} SET statement_timeout = '20ms';
    ALTER DATABASE {database} SET lock_timeout = '1ms';
    ALTER DATABASE {database} SET idle_in_transaction_session_timeout = '20ms';
    ALTER DATABASE {database} SET idle_session_timeout = '300ms';
    ALTER DATABASE {database} SET default_transaction_isolation = 'serializable';
    ALTER DATABASE {database} SET default_transaction_read_only = on;
    ALTER DATABASE {database} SET default_transaction_deferrable = on;
    ALTER DATABASE {database} SET quote_all_identifiers = on;
    ALTER DATABASE {database} SET standard_conforming_strings = off;
    ALTER DATABASE {database} SET backslash_quote = on;
    ALTER DATABASE {database} SET array_nulls = off;
    ALTER DATABASE {database} SET transform_null_equals = on;
    ALTER DATABASE {database} SET row_security = off;
    ALTER DATABASE {database} SET client_encoding = 'LATIN1';
    ALTER DATABASE {database} SET enable_tidscan = off;
    ALTER DATABASE {database} SET synchronize_seqscans = on;
    ALTER DATABASE {database} SET check_function_bodies = on;
    ALTER DATABASE {database} SET session_replication_role = 'replica';
    ALTER DATABASE {database} SET search_path = evil, public, pg_catalog;";

const DATA: &str = "
    CREATE TABLE t (id serial PRIMARY KEY, ts timestamptz, d date, iv interval, b bytea, f float8, n int[], name text);
    INSERT INTO t (ts, d, iv, b, f, n, name) VALUES ('2026-03-29 01:30:00.123456+00', '2026-02-01', '1 year 2 days -03:04:05', '\\x00ff5c27',
        0.1::float8 + 0.2, '{NULL,1}', '€ and ž'), ('infinity', '4713-01-01 BC', '-1 mon', '', 1e-300, '{}', E'\\\\ \\n');
    CREATE TABLE \"ž€\" (a int); INSERT INTO \"ž€\" VALUES (1);
    INSERT INTO t (name) SELECT repeat('x', 1000) || i FROM generate_series(1, 30000) i;";

fn hostile_settings_change_nothing(version: Version) {
    let scene = Scene::empty(version);
    let (cluster, name) = (&**scene.cluster(), scene.database.name());
    scene.database.sql(DATA);
    scene.database.sql(&HOSTILE.replace("{database}", name));
    let source = Place { cluster, database: name };
    let before = oracle::contents(source);
    let id = scene.take_snapshot();
    let copy = format!("{name}_copy");
    scene.run(0, &["restore", &id, "--to", &copy, "--yes"]);
    let plain = format!("{name}_plain");
    oracle::dump_and_restore_schema(source, Place { cluster, database: &plain });
    let differences =
        oracle::differences(&before, Place { cluster, database: &copy }, Place { cluster, database: &plain });
    assert!(differences.is_empty(), "{}", differences.join("\n"));

    // The same rows under gentle settings have the same hashes: nothing of the text depends on a setting.
    cluster.sql("postgres", &format!("ALTER DATABASE {name} RESET ALL"));
    let gentle = scene.take_snapshot();
    let (hostile, gentle) = (tables_of(&scene, &id), tables_of(&scene, &gentle));
    assert!(hostile.len() == 3, "{hostile:?}");
    assert_eq!(hostile, gentle);
}

/// Name, columns and row hash of each table in a manifest.
fn tables_of(scene: &Scene, id: &str) -> Vec<String> {
    let key = format!("snapshots/{id}/manifest.json");
    let objects = scene.store.objects();
    let (_, bytes) = objects.iter().find(|(name, _)| *name == key).expect("the manifest");
    let manifest: serde_json::Value = serde_json::from_slice(bytes).expect("a manifest is JSON");
    let tables = manifest["tables"].as_array().expect("the manifest lists its tables");
    tables.iter().map(|one| format!("{} {} {}", one["name"], one["columns"], one["rows"])).collect()
}

#[test]
fn hostile_settings_change_nothing_15() {
    hostile_settings_change_nothing(Version::V15);
}

#[test]
fn hostile_settings_change_nothing_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    hostile_settings_change_nothing(Version::V18);
}
