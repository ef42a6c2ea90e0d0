//! CHECK constraints whose functions cannot be asked while rows come in: a snapshot with them restores, as plain `pg_restore`
//! cannot (`pg_dump` documents it: a check must not look at other rows).

use crate::support::{Scene, Version, output_of};

/// They read another table, which is loaded later; they call by a name without a schema; they stand in domains, in parents, in
/// partitions.
const CHECKS: &str = r#"
    CREATE TABLE zz (i int PRIMARY KEY); CREATE TABLE a (i int NOT NULL);
    CREATE FUNCTION in_zz(int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN EXISTS (SELECT FROM zz WHERE i = $1); END';
    CREATE FUNCTION some_zz() RETURNS boolean LANGUAGE sql AS 'SELECT EXISTS (SELECT FROM public.zz)';
    INSERT INTO zz SELECT generate_series(0, 9); INSERT INTO a VALUES (0), (1);
    ALTER TABLE a ADD CONSTRAINT a_check CHECK (in_zz(i)), ADD CONSTRAINT a_some CHECK (some_zz());
    COMMENT ON CONSTRAINT a_check ON a IS 'it''s asked';
    CREATE DOMAIN known AS int CONSTRAINT known_check CHECK (in_zz(VALUE)) CONSTRAINT positive CHECK (VALUE >= 0);
    COMMENT ON CONSTRAINT known_check ON DOMAIN known IS 'of a domain';
    CREATE DOMAIN plus AS int CONSTRAINT plus_check CHECK (VALUE > 0); CREATE DOMAIN over AS known;
    CREATE TABLE b (k known, o over, ks plus[]); INSERT INTO b VALUES (1, 5, '{2,3}');
    CREATE TABLE parent (i int, CONSTRAINT p_check CHECK (in_zz(i)), CONSTRAINT p_alone CHECK (in_zz(i)) NO INHERIT);
    CREATE TABLE child (CONSTRAINT p_check CHECK (in_zz(i))) INHERITS (parent);
    CREATE TABLE grandchild () INHERITS (child); ALTER TABLE grandchild ADD CONSTRAINT own CHECK (in_zz(i));
    INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2); INSERT INTO grandchild VALUES (3);
    CREATE TABLE whole (i int, CONSTRAINT w_check CHECK (in_zz(i))) PARTITION BY LIST (i);
    CREATE TABLE part PARTITION OF whole FOR VALUES IN (1, 2); ALTER TABLE part ADD CONSTRAINT part_check CHECK (in_zz(i));
    CREATE TABLE rest (i int, CONSTRAINT w_check CHECK (in_zz(i))); ALTER TABLE whole ATTACH PARTITION rest DEFAULT;
    INSERT INTO whole VALUES (1), (3);
    CREATE TABLE later (i int); ALTER TABLE later ADD CONSTRAINT l_check CHECK (in_zz(i)) NOT VALID;
    CREATE TABLE "odd ""name" ("a b" int, CONSTRAINT "odd check" CHECK (in_zz("a b"))); INSERT INTO "odd ""name" VALUES (4)"#;

const MIGRATION: &str =
    "-- migrate:up\nALTER TABLE zz ADD COLUMN n int;\n-- migrate:down\nALTER TABLE zz DROP COLUMN n;\n";

/// Inheritance as the catalogs count it, which no dump shows.
const COUNTS: &str =
    "SELECT string_agg(format('%s %s %s %s', conrelid::regclass, conname, conislocal, coninhcount), ', '
                             ORDER BY conrelid::regclass::text, conname)
                        FROM pg_constraint WHERE contype = 'c' AND conrelid <> 0
                         AND connamespace = 'public'::regnamespace";

/// Functions that call others by a name without a schema: in an index, a generated column, a materialized view, a domain within
/// an array.
const UNQUALIFIED: &str = r#"
    CREATE TABLE zz (i int); CREATE SCHEMA kitchen;
    CREATE FUNCTION norm1(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)';
    CREATE FUNCTION norm2(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN norm1($1); END';
    CREATE FUNCTION norm3(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN cooked($1); END';
    CREATE FUNCTION kitchen.cooked(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper($1)';
    CREATE TABLE cities (id int PRIMARY KEY, name text); INSERT INTO cities SELECT g, 'City ' || g FROM generate_series(1, 200) g;
    CREATE TABLE gen (id int, name text, g text GENERATED ALWAYS AS (norm2(name)) STORED, k text GENERATED ALWAYS AS (norm3(name)) STORED);
    INSERT INTO gen (id, name) SELECT g, 'N' || g FROM generate_series(1, 50) g;
    CREATE DOMAIN told AS text CHECK (norm2(VALUE) <> 'x'); CREATE TABLE lists (v told[]); INSERT INTO lists VALUES ('{a,B}')"#;
/// What 15 makes and 17 refuses to.
const BEFORE_17: &str = r#"
    CREATE INDEX cities_norm ON cities (norm2(name)); COMMENT ON INDEX cities_norm IS 'by name';
    CREATE MATERIALIZED VIEW mv AS SELECT id, norm2(name) AS n FROM cities; CREATE UNIQUE INDEX mv_id ON mv (id);
    CREATE FUNCTION counted() RETURNS bigint LANGUAGE plpgsql STABLE AS 'BEGIN RETURN (SELECT count(*) FROM mv); END';
    CREATE MATERIALIZED VIEW before_mv AS SELECT counted() AS c;
    CREATE MATERIALIZED VIEW of_mv AS SELECT count(*) AS c, max(norm2(n)) AS m FROM mv;
    COMMENT ON INDEX mv_id IS 'of a view'"#;

fn scene(version: Version, sql: &str) -> Scene {
    let scene = Scene::empty(version);
    scene.database.sql(sql);
    scene.project.write_migration("kitchen", "0001_n", MIGRATION);
    scene
}

/// The schema and the rows of a database, as `pg_dump` tells them.
fn dump(scene: &Scene, name: &str) -> String {
    let mut dump = scene.cluster().program("pg_dump");
    let text = output_of(dump.arg("-d").arg(scene.cluster().socket_url(name)).arg("--exclude-schema=safe_migrate"));
    let is_same = |line: &&str| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict");
    text.lines().filter(is_same).map(|line| format!("{line}\n")).collect()
}

fn come_back(version: Version) {
    let scene = scene(version, CHECKS);
    let name = scene.database.name();
    let before = dump(&scene, name);
    let id = scene.take_snapshot();
    scene.run(0, &["snapshot", "verify", &id, "--level", "restore"]);
    let (copy, plain) = (format!("{name}_copy"), format!("{name}_plain"));
    let restored = scene.run(0, &["restore", &id, "--to", &copy, "--yes"]);
    assert!(!restored.stderr.contains("NOT VALID"), "{}", restored.stderr);
    assert_eq!(dump(&scene, &copy), before);
    assert_eq!(scene.cluster().query(&copy, COUNTS), scene.cluster().query(name, COUNTS));
    // The control: PostgreSQL's own programs load nothing of these tables.
    scene.cluster().sql("postgres", &format!("CREATE DATABASE {plain} TEMPLATE template0"));
    assert!(scene.cluster().try_sql(&plain, &before).is_err());
    scene.cluster().sql("postgres", &format!("DROP DATABASE {plain}; DROP DATABASE {copy}"));

    scene.run(0, &["restore", &id, "--in-place", "--yes"]);
    assert_eq!(dump(&scene, name), before);
    assert!(scene.cluster().try_sql(name, "INSERT INTO a VALUES (77)").unwrap_err().contains("a_check"));
    scene.run(0, &["apply", "--yes"]);
}

#[test]
fn restore_checks_that_ask_other_tables_come_back() {
    come_back(Version::V15);
}

#[test]
fn restore_checks_that_ask_other_tables_come_back_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    come_back(Version::V18);
}

fn find_what_they_call(version: Version) {
    // A server of its own: there is a role that other databases' snapshots would name.
    let scene = Scene::on(&std::sync::Arc::new(crate::support::TestCluster::start(version, &[])));
    let name = scene.database.name();
    scene.database.sql(&format!("ALTER DATABASE {name} SET search_path = public, kitchen"));
    scene.database.sql(UNQUALIFIED);
    if version == Version::V15 {
        scene.database.sql(BEFORE_17);
    }
    scene.project.write_migration("kitchen", "0001_n", MIGRATION);
    let before = dump(&scene, name);
    let id = scene.take_snapshot();
    scene.run(0, &["snapshot", "verify", &id, "--level", "restore"]);
    let copy = format!("{name}_copy");
    scene.run(0, &["restore", &id, "--to", &copy, "--yes"]);
    assert_eq!(dump(&scene, &copy), before);
    let views = match version {
        Version::V15 => ", (SELECT string_agg(n, ',' ORDER BY id) FROM mv), (SELECT m FROM of_mv)",
        Version::V18 => "",
    };
    let values = &format!("SELECT (SELECT string_agg(g || k, ',' ORDER BY id) FROM gen){views}");
    assert_eq!(scene.cluster().query(&copy, values), scene.cluster().query(name, values));
    scene.cluster().sql("postgres", &format!("DROP DATABASE {copy}"));
    scene.run(0, &["restore", &id, "--in-place", "--yes"]);
    assert_eq!(dump(&scene, name), before);
    scene.run(0, &["apply", "--yes"]);

    // Where functions of others could be found instead, nothing is looked for.
    let mallory = format!("mallory_{name}");
    scene.cluster().sql("postgres", &format!("CREATE ROLE {mallory}"));
    scene.database.sql(&format!(
        "CREATE FUNCTION norm1(varchar) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'evil' $$;
         ALTER FUNCTION norm1(varchar) OWNER TO {mallory}"
    ));
    let id = scene.take_snapshot();
    let output = scene.project.run(&["restore", &id, "--to", &copy, "--yes"]);
    assert!(output.status != 0 && output.stderr.contains("norm1"), "{}: {}", output.status, output.stderr);
    scene.database.sql("DROP FUNCTION norm1(varchar)");
    scene.cluster().sql("postgres", &format!("DROP ROLE {mallory}"));
}

#[test]
fn restore_checks_and_functions_find_what_they_call() {
    find_what_they_call(Version::V15);
}

#[test]
fn restore_checks_and_functions_find_what_they_call_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    find_what_they_call(Version::V18);
}

/// Made stricter since the rows came: production has them, so a copy may not be refused for them.
fn stricter(version: Version) {
    let scene = scene(
        version,
        "CREATE FUNCTION ok(int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true';
         CREATE TABLE zz (a int, CONSTRAINT t_check CHECK (ok(a))); INSERT INTO zz VALUES (1), (-1);
         CREATE DOMAIN d AS int CONSTRAINT d_check CHECK (ok(VALUE)); CREATE TABLE u (d d); INSERT INTO u VALUES (-1);
         CREATE OR REPLACE FUNCTION ok(int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 > 0'",
    );
    let id = scene.take_snapshot();
    scene.run(0, &["snapshot", "verify", &id, "--level", "restore"]);
    // Rehearsed on what is like production, so there is no drift afterwards.
    scene.run(0, &["apply", "--yes"]);
    let name = scene.database.name();
    let output = scene.run(0, &["restore", &id, "--in-place", "--yes"]);
    for words in [
        "constraint t_check of table public.zz is left NOT VALID: ",
        "constraint d_check of domain public.d is left NOT VALID: ",
        "is violated by some row",
    ] {
        assert!(output.stderr.contains(words), "{words}: {}", output.stderr);
    }
    assert_eq!(scene.cluster().query(name, "SELECT string_agg(a::text, ',') FROM zz"), "1,-1");
    let valid = "SELECT string_agg(convalidated::text, ',') FROM pg_constraint WHERE conname IN ('t_check', 'd_check')";
    assert_eq!(scene.cluster().query(name, valid), "false,false");
    assert!(scene.cluster().try_sql(name, "INSERT INTO zz VALUES (-2)").unwrap_err().contains("t_check"));
}

#[test]
fn restore_checks_that_became_stricter_are_named() {
    stricter(Version::V15);
}

#[test]
fn restore_checks_that_became_stricter_are_named_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    stricter(Version::V18);
}

/// One table of them alone, back after it was dropped, beside, and its missing rows.
fn one_table_comes_back(version: Version) {
    let scene = Scene::empty(version);
    scene.database.sql(
        "CREATE FUNCTION double(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * $1';
         CREATE FUNCTION quadruple(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN double(double($1)); END';
         CREATE TABLE dish (id int PRIMARY KEY, four int GENERATED ALWAYS AS (quadruple(id)) STORED, CHECK (quadruple(id) < 4000));
         INSERT INTO dish SELECT generate_series(1, 100)",
    );
    let id = scene.take_snapshot();
    let rows = || scene.database.query("SELECT count(*), sum(four) FROM dish");
    let before = rows();
    scene.database.sql("DROP TABLE dish");
    scene.run(0, &["restore", &id, "--table", "dish", "--yes"]);
    assert_eq!(rows(), before);
    scene.database.sql("DELETE FROM dish WHERE id % 2 = 0");
    scene.run(0, &["restore", &id, "--table", "dish", "--mode", "missing", "--yes"]);
    assert_eq!(rows(), before);
    scene.run(0, &["restore", &id, "--table", "dish", "--mode", "beside", "--yes"]);
}

#[test]
fn one_table_with_such_checks_comes_back() {
    one_table_comes_back(Version::V15);
}

#[test]
fn one_table_with_such_checks_comes_back_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    one_table_comes_back(Version::V18);
}
