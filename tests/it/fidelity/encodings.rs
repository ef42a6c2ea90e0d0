//! Databases that are not UTF-8: rows are copied byte for byte, names and definitions come back.

use crate::support::{Scene, Version};

use super::oracle::{self, Place};

/// Every byte but zero in a value, and bytes that are no UTF-8 in names' neighbours: defaults, comments, function bodies.
const LATIN1: &str = "
    SET client_encoding = 'UTF8';
    CREATE TABLE \"Café\" (\"Größe\" int DEFAULT 1, t text DEFAULT 'ÿ', v varchar(3));
    INSERT INTO \"Café\" (t, v) VALUES ('é', 'äöü'), ('plain', NULL);
    INSERT INTO \"Café\" (t) SELECT chr(i) FROM generate_series(1, 255) i;
    CREATE TYPE mood AS ENUM ('fröhlich', 'müde'); CREATE TABLE h (m mood) PARTITION BY HASH (m);
    CREATE TABLE h0 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE h1 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    INSERT INTO h VALUES ('fröhlich'), ('müde'), ('müde');
    CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT ''é''::text'; CREATE VIEW \"Übersicht\" AS SELECT * FROM \"Café\" WHERE t <> 'è';
    CREATE SEQUENCE \"Zähler\"; SELECT nextval('\"Zähler\"'); COMMENT ON TABLE \"Café\" IS 'Müßiggang'; COMMENT ON DATABASE {database} IS 'für alle';
    ALTER DATABASE {database} SET \"our.word\" = 'é'; SELECT lo_from_bytea(1, '\\xe9'); COMMENT ON LARGE OBJECT 1 IS 'é'";

const SQL_ASCII: &str = "
    CREATE TABLE t (id int, t text, b bytea);
    INSERT INTO t SELECT i, convert_from(set_byte('\\x00'::bytea, 0, i), 'SQL_ASCII') FROM generate_series(1, 255) i;
    INSERT INTO t VALUES (1000, convert_from('\\xc3a9e9ff5c', 'SQL_ASCII'), '\\x00ff');
    CREATE TABLE plain (a int); INSERT INTO plain VALUES (1);";

/// Bytes that are no UTF-8 in definitions: a default, a comment, a function.
const SQL_ASCII_DEFINITIONS: &[u8] = b"
    CREATE TABLE d (a text DEFAULT 'caf\xe9', CHECK (a <> '\xff'));
    INSERT INTO d DEFAULT VALUES;
    COMMENT ON TABLE d IS '\xe9\xe8';
    CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT ''\xe9''::text';";

fn round_trip(version: Version, encoding: &str, setup: impl Fn(&Scene, &str)) {
    let scene = Scene::empty(version);
    let cluster = &**scene.cluster();
    let name = format!("{}_encoded", scene.database.name());
    cluster.sql(
        "postgres",
        &format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"),
    );
    setup(&scene, &name);
    let source = Place { cluster, database: &name };
    let before = oracle::contents(source);
    let url = cluster.url(&name);
    let id = scene.run(0, &["snapshot", "create", "--database", &url]).stdout.trim().to_owned();
    let copy = format!("{name}_copy");
    scene.run(0, &["restore", &id, "--to", &copy, "--yes", "--database", &url]);
    let plain = format!("{name}_plain");
    oracle::dump_and_restore_schema(source, Place { cluster, database: &plain });
    let (copy, plain) = (Place { cluster, database: &copy }, Place { cluster, database: &plain });
    let differences = oracle::differences(&before, copy, plain);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(oracle::next_values(copy), oracle::next_values(source));
}

fn latin1(version: Version) {
    round_trip(version, "LATIN1", |scene, name| {
        scene.cluster().sql(name, &LATIN1.replace("{database}", name));
    });
}

fn sql_ascii(version: Version) {
    round_trip(version, "SQL_ASCII", |scene, name| {
        scene.cluster().sql(name, SQL_ASCII);
        oracle::run(Place { cluster: scene.cluster(), database: name }, SQL_ASCII_DEFINITIONS);
    });
}

#[test]
fn a_latin1_database_round_trips() {
    latin1(Version::V15);
}

#[test]
fn a_latin1_database_round_trips_18() {
    latin1(Version::V18);
}

#[test]
fn an_sql_ascii_database_round_trips() {
    sql_ascii(Version::V15);
}

#[test]
fn an_sql_ascii_database_round_trips_18() {
    sql_ascii(Version::V18);
}

/// Names whose bytes are no UTF-8 cannot be named by us: they are listed, and renamed by what is printed.
#[test]
fn names_that_are_no_utf8_are_listed_with_the_statement_that_renames_them() {
    let scene = Scene::empty(Version::V15);
    let cluster = &**scene.cluster();
    let name = format!("{}_encoded", scene.database.name());
    cluster.sql(
        "postgres",
        &format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"),
    );
    let place = Place { cluster, database: &name };
    oracle::run(
        place,
        b"CREATE SCHEMA \"s\xe9\"; CREATE TABLE \"s\xe9\".\"caf\xe9\" (id int PRIMARY KEY, \"it's $$\xe8\" text DEFAULT '\xe9');
          INSERT INTO \"s\xe9\".\"caf\xe9\" VALUES (1), (2); CREATE INDEX \"i\xe9\" ON \"s\xe9\".\"caf\xe9\" (id);",
    );
    let url = cluster.url(&name);
    let refused = scene.run(6, &["snapshot", "create", "--database", &url]).stderr;
    let renames: Vec<&str> = refused.lines().map(str::trim).filter(|line| line.starts_with("DO $$")).collect();
    assert!(refused.contains(r"column s\xe9.caf\xe9.it\'s $$\xe8, table s\xe9.caf\xe9, schema s\xe9"), "{refused}");
    assert_eq!(renames.len(), 3, "{refused}");
    cluster.sql(&name, &renames.join("\n"));
    let id = scene.run(0, &["snapshot", "create", "--database", &url]).stdout.trim().to_owned();
    scene.run(0, &["restore", &id, "--to", &format!("{name}_copy"), "--yes", "--database", &url]);
    let rows = cluster
        .query(&format!("{name}_copy"), "SELECT count(*) FROM s_e9.caf_e9 WHERE \"it_27s _24_24_e8\" IS NOT NULL");
    assert_eq!(rows, "2");
}
