//! Two equal witnesses of the catalogs stand for a dump that is not made again: no change may leave them equal.

use std::sync::Arc;

use safe_migrate::postgres::{CatalogWitness, ConnectionSpec, Environment, Session};
use tokio::runtime::Runtime;

use crate::support::{Scene, TestCluster, TestDatabase, Version, is_long};

const BEFORE: &str = "
    CREATE ROLE cook; CREATE ROLE waiter; CREATE ROLE guest;
    CREATE TABLE dish (id int PRIMARY KEY, name text, price numeric, photo bytea DEFAULT '\\x00ff');
    CREATE TABLE menu (id int, day date) PARTITION BY RANGE (day);
    CREATE TABLE menu_old (id int, day date);
    CREATE INDEX dish_name ON dish (name);
    CREATE INDEX dish_price ON dish (price);
    CREATE SEQUENCE counter;
    CREATE TYPE size AS ENUM ('small', 'large');
    CREATE TYPE pair AS (a int, b int);
    CREATE DOMAIN amount AS int;
    CREATE VIEW cheap AS SELECT id FROM dish WHERE price < 10;
    CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT n * 2';
    CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
    CREATE TRIGGER touched BEFORE UPDATE ON dish FOR EACH ROW EXECUTE FUNCTION touched();
    CREATE TABLE orders (id int, dish int);
    CREATE TABLE old_orders () INHERITS (orders);
    ALTER TABLE orders OWNER TO cook;
    CREATE EXTENSION hstore VERSION '1.7';
    CREATE FOREIGN DATA WRAPPER wrapper;
    CREATE SERVER kitchen FOREIGN DATA WRAPPER wrapper;
    INSERT INTO dish VALUES (1, 'soup', 3), (2, 'soup', 4);";

/// Changes, one after another; each of them begins where the ones before it led to.
const CHANGES: &[&str] = &[
    "ALTER TABLE dish ADD COLUMN hot boolean",
    "ALTER TABLE dish DROP COLUMN hot",
    "ALTER TABLE dish RENAME COLUMN name TO title",
    "ALTER TABLE dish ALTER COLUMN price SET DEFAULT 1",
    "ALTER TABLE dish ALTER COLUMN price SET NOT NULL",
    "ALTER TABLE dish ALTER COLUMN title SET STATISTICS 500",
    "ALTER TABLE dish ALTER COLUMN title SET STORAGE EXTERNAL",
    "ALTER TABLE dish ALTER COLUMN title SET (n_distinct = 5)",
    "ALTER TABLE dish SET (fillfactor = 70)",
    "ALTER TABLE dish REPLICA IDENTITY FULL",
    "ALTER TABLE dish CLUSTER ON dish_price",
    "ALTER TABLE dish SET UNLOGGED",
    "ALTER TABLE dish SET LOGGED",
    "ALTER TABLE dish ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own ON dish USING (id > 0)",
    "ALTER POLICY own ON dish USING (id > 1)",
    "ALTER TABLE dish ADD CONSTRAINT positive CHECK (price > 0) NOT VALID",
    "ALTER TABLE dish VALIDATE CONSTRAINT positive",
    "ALTER TABLE dish DISABLE TRIGGER touched",
    "ALTER TABLE orders ADD FOREIGN KEY (dish) REFERENCES dish",
    "ALTER TABLE old_orders NO INHERIT orders",
    "ALTER TABLE old_orders INHERIT orders",
    "ALTER TABLE menu ATTACH PARTITION menu_old FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')",
    "ALTER TABLE menu DETACH PARTITION menu_old",
    "DROP INDEX dish_name",
    "CREATE UNIQUE INDEX CONCURRENTLY dish_title ON dish (title)",
    "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'public.dish_price'::regclass",
    "REINDEX INDEX CONCURRENTLY dish_price",
    "ALTER INDEX dish_price RENAME TO price_dish",
    "COMMENT ON TABLE dish IS 'what there is'",
    "COMMENT ON COLUMN dish.price IS 'in euros'",
    "GRANT SELECT ON dish TO waiter",
    "GRANT SELECT (id) ON orders TO waiter",
    "GRANT SELECT ON pg_proc TO waiter",
    "REVOKE SELECT ON dish FROM waiter",
    "ALTER ROLE cook RENAME TO chef",
    "ALTER ROLE guest SUPERUSER",
    "GRANT guest TO waiter",
    "DROP ROLE guest",
    "ALTER TABLE dish OWNER TO chef",
    "ALTER SEQUENCE counter OWNER TO chef",
    "ALTER SEQUENCE counter OWNED BY dish.id",
    "ALTER SEQUENCE counter INCREMENT 5",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO waiter",
    "CREATE OR REPLACE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT n + n'",
    "ALTER FUNCTION twice(int) SET search_path = public",
    "ALTER TYPE size ADD VALUE 'huge'",
    "ALTER TYPE size RENAME VALUE 'huge' TO 'vast'",
    "ALTER TYPE pair ADD ATTRIBUTE c int",
    "ALTER DOMAIN amount ADD CHECK (VALUE > 0)",
    "CREATE TYPE span AS RANGE (subtype = int)",
    "CREATE OR REPLACE VIEW cheap AS SELECT id FROM dish WHERE price < 11",
    "CREATE RULE never AS ON DELETE TO orders DO INSTEAD NOTHING",
    "CREATE STATISTICS dishes ON title, price FROM dish",
    "ALTER STATISTICS dishes SET STATISTICS 50",
    "ALTER EXTENSION hstore UPDATE TO '1.8'",
    "INSERT INTO pg_seclabel VALUES ('dish'::regclass, 'pg_class'::regclass, 0, 'guard', 'secret')",
    "CREATE PUBLICATION news FOR TABLE dish",
    "ALTER PUBLICATION news ADD TABLE orders",
    "CREATE SUBSCRIPTION letters CONNECTION 'host=nowhere' PUBLICATION news WITH (connect = false, slot_name = NONE)",
    "DROP SUBSCRIPTION letters",
    "CREATE USER MAPPING FOR waiter SERVER kitchen OPTIONS (user 'a', password 'b')",
    "ALTER SERVER kitchen OPTIONS (ADD host 'there')",
    "CREATE EVENT TRIGGER quiet ON ddl_command_end WHEN TAG IN ('CREATE CAST') EXECUTE FUNCTION noted()",
    "ALTER EVENT TRIGGER quiet DISABLE",
    "CREATE CAST (pair AS text) WITH INOUT",
    "CREATE COLLATION plain (locale = 'C')",
    "CREATE OPERATOR <+> (leftarg = int, rightarg = int, function = int4pl)",
    "CREATE OPERATOR FAMILY kin USING btree",
    "CREATE AGGREGATE total (int) (sfunc = int4pl, stype = int)",
    "CREATE ACCESS METHOD pile TYPE TABLE HANDLER heap_tableam_handler",
    "CREATE TEXT SEARCH CONFIGURATION words (COPY = simple)",
    "ALTER TEXT SEARCH CONFIGURATION words ALTER MAPPING FOR asciiword WITH english_stem",
    "CREATE SCHEMA cellar",
    "ALTER SCHEMA cellar RENAME TO attic",
    "DROP SCHEMA attic",
    "TRUNCATE dish CASCADE",
    "ALTER DATABASE {database} SET bytea_output = 'escape'",
    "ALTER ROLE waiter SET bytea_output = 'escape'",
];

/// What changes rows and no schema.
const NO_CHANGES: &[&str] = &[
    "INSERT INTO dish SELECT n, n, n FROM generate_series(10, 500) n",
    "UPDATE dish SET price = price + 1",
    "DELETE FROM dish WHERE id > 400",
    "ANALYZE",
    "VACUUM",
    "VACUUM FREEZE pg_class",
    "SELECT nextval('counter')",
    "CREATE DATABASE {database}_other",
    "ALTER DATABASE {database}_other SET work_mem = '1MB'",
    "ALTER SYSTEM SET work_mem = '5MB'",
];

/// A server, somebody who changes it, and somebody who asks.
struct Place {
    database: TestDatabase,
    runtime: Runtime,
    writer: Session,
    reader: Session,
}

/// Who asks.
#[derive(Clone, Copy)]
enum Reader {
    Superuser,
    /// It may read what everybody may.
    Waiter,
}

impl Place {
    fn new(version: Version, reader: Reader) -> Place {
        // Roles and the configuration of a server that others use too change at any time.
        let database = Arc::new(TestCluster::start(version, &["autovacuum=off"])).database();
        database.sql(BEFORE);
        database.sql("CREATE FUNCTION noted() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'");
        let spec = ConnectionSpec::parse(Some(&database.socket_url()), &Environment::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (writer, session) =
            runtime.block_on(async { (spec.connect("test").await.unwrap(), spec.connect("test").await.unwrap()) });
        let place = Place { database, runtime, writer, reader: session };
        place.does("SET search_path = public, pg_catalog").unwrap();
        place.does("SET allow_system_table_mods = on").unwrap();
        if let Reader::Waiter = reader {
            place.runtime.block_on(place.reader.batch_execute("SET ROLE waiter")).unwrap();
        }
        place
    }

    fn does(&self, text: &str) -> Result<(), tokio_postgres::Error> {
        self.runtime.block_on(self.writer.batch_execute(&text.replace("{database}", self.database.name())))
    }

    fn asked(&self, earlier: Option<&CatalogWitness>) -> Option<CatalogWitness> {
        self.runtime.block_on(CatalogWitness::read(&self.reader, earlier)).unwrap()
    }

    fn witness(&self, earlier: Option<&CatalogWitness>) -> CatalogWitness {
        self.asked(earlier).expect("every catalog can be read")
    }
}

fn no_change_leaves_the_witness_equal(version: Version, reader: Reader) {
    let place = Place::new(version, reader);
    let mut last = place.witness(None);
    for change in CHANGES {
        // One is to fail half-way, and leaves an invalid index.
        if let Err(error) = place.does(change) {
            assert!(change.contains("CREATE UNIQUE INDEX CONCURRENTLY"), "{change}: {error:?}");
        }
        let now = place.witness(Some(&last));
        assert!(now != last, "{change} is not seen");
        last = now;
    }
    assert!(place.witness(Some(&last)) == last);
    // The first one notices that `menu` has no partition any more.
    place.does("ANALYZE").unwrap();
    last = place.witness(None);
    for change in NO_CHANGES {
        place.does(change).unwrap();
        assert!(place.witness(Some(&last)) == last, "{change} costs a dump");
    }
    // These cost a dump, and no more than that.
    for change in ["VACUUM FULL pg_attrdef", "CREATE TEMP TABLE scratch (id int)"] {
        place.does(change).unwrap();
        place.witness(Some(&last));
    }
    what_cannot_be_vouched_for(&place, reader);
}

/// Where a dump would wait, or there is something that cannot be read, there is no witness; and none is like that of a
/// server with another configuration.
fn what_cannot_be_vouched_for(place: &Place, reader: Reader) {
    let last = place.witness(None);
    place.does("BEGIN; LOCK TABLE orders").unwrap();
    assert!(place.asked(Some(&last)).is_none(), "a dump would wait for this lock");
    place.does("COMMIT; BEGIN; LOCK TABLE orders IN EXCLUSIVE MODE").unwrap();
    assert!(place.witness(Some(&last)) == last, "a dump would not wait for this lock");
    place.does("COMMIT").unwrap();

    // An exported snapshot sees what was there when it was taken.
    let reads = |text: &str| place.runtime.block_on(place.reader.batch_execute(text)).unwrap();
    reads("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SELECT");
    place.does("CREATE TABLE later (id int)").unwrap();
    assert!(place.witness(Some(&last)) == last, "the snapshot is from before");
    reads("COMMIT");
    assert!(place.witness(Some(&last)) != last, "a transaction that committed meanwhile is not seen");

    let last = place.witness(None);
    place.does("ALTER SYSTEM SET bytea_output = 'escape'").unwrap();
    place.does("SELECT pg_reload_conf()").unwrap();
    let loaded = "SELECT reset_val FROM pg_settings WHERE name = 'work_mem'";
    while place.runtime.block_on(place.reader.query_one(loaded, &[])).unwrap().get::<_, &str>(0) != "5120" {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(place.witness(Some(&last)) != last, "another configuration may print constants otherwise");

    place.does("CREATE TABLE pg_catalog.pg_novelty (id int); REVOKE ALL ON pg_novelty FROM waiter").unwrap();
    let unread = place.asked(None).is_none();
    assert_eq!(unread, matches!(reader, Reader::Waiter), "a catalog of a newer version that the role may not read");
    place.does("GRANT SELECT (id) ON pg_novelty TO waiter").unwrap();
    let before = place.witness(None);
    place.does("INSERT INTO pg_novelty VALUES (1)").unwrap();
    assert!(place.witness(Some(&before)) != before, "a row of a catalog that nobody here knows");
}

#[test]
fn catalog_witness_sees_every_change() {
    no_change_leaves_the_witness_equal(Version::V15, Reader::Superuser);
    if is_long() {
        no_change_leaves_the_witness_equal(Version::V15, Reader::Waiter);
    }
}

#[test]
fn catalog_witness_sees_every_change_18() {
    no_change_leaves_the_witness_equal(Version::V18, Reader::Waiter);
    if is_long() {
        no_change_leaves_the_witness_equal(Version::V18, Reader::Superuser);
    }
}

/// Three dumps of production in a run that nobody disturbs: at its beginning, for the snapshot, and at its end.
#[test]
fn catalog_witness_spares_dumps_of_a_run() {
    let scene = Scene::on(&Arc::new(TestCluster::start(Version::V15, &["autovacuum=off"])));
    scene.project.write_migration("shop", "0001_dish", "-- migrate:up\nCREATE TABLE dish (id int);\n");
    let output = scene.run(0, &["apply", "--yes", "-v", "--skip-rehearsal", "test"]);
    assert_eq!(output.stderr.matches("the schema is not dumped again").count(), 2, "{}", output.stderr);
}
