//! A rehearsal measures every lock mode that a migration takes, and how long each is held.

use safe_migrate::postgres::LockMode;

use crate::support::{Rehearsed, Scene, TestCluster, Version};

/// Name of the migration (and of its table, with rows 1 to 3000 in `a`), its SQL, and the locks of its last statement.
const MODES: &[(&str, &str, &[&str])] = &[
    ("read", "SELECT count(*) FROM read", &["ACCESS SHARE on read"]),
    ("view", "CREATE VIEW v_view AS SELECT * FROM view", &["ACCESS EXCLUSIVE on v_view", "ACCESS SHARE on view"]),
    ("for_update", "SELECT a FROM for_update WHERE a = 1 FOR UPDATE", &["ROW SHARE on for_update"]),
    ("updated", "UPDATE updated SET a = a WHERE a <= 100", &["ROW EXCLUSIVE on updated"]),
    ("statistics", "CREATE STATISTICS st ON a, b FROM statistics", &["SHARE UPDATE EXCLUSIVE on statistics"]),
    (
        "validate",
        "ALTER TABLE validate ADD CONSTRAINT positive CHECK (a > 0) NOT VALID;\n-- A transaction of its own.\n",
        &["ACCESS EXCLUSIVE on validate"],
    ),
    ("validated", "ALTER TABLE validate VALIDATE CONSTRAINT positive", &["SHARE UPDATE EXCLUSIVE on validate"]),
    ("index", "CREATE INDEX new_index ON index (a)", &["SHARE on index", "ACCESS EXCLUSIVE on new_index"]),
    (
        "trigger",
        "CREATE TRIGGER t BEFORE UPDATE ON trigger FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        &["SHARE ROW EXCLUSIVE on trigger"],
    ),
    ("locked", "LOCK TABLE locked IN EXCLUSIVE MODE", &["EXCLUSIVE on locked"]),
    ("altered", "ALTER TABLE altered ADD COLUMN c int", &["ACCESS EXCLUSIVE on altered"]),
    ("dropped", "DROP TABLE dropped", &["ACCESS EXCLUSIVE on dropped"]),
];

/// What waits, for the migrations with a lock that blocks.
const BLOCKING: &[(&str, &[&str])] = &[
    ("view", &[]),
    ("updated", &[]),
    ("statistics", &[]),
    ("index", &["SHARE on public.index: blocks writes"]),
    ("trigger", &["SHARE ROW EXCLUSIVE on public.trigger: blocks writes"]),
    ("locked", &["EXCLUSIVE on public.locked: blocks writes and SELECT FOR UPDATE"]),
    ("altered", &["ACCESS EXCLUSIVE on public.altered: blocks reads and writes"]),
    ("dropped", &["ACCESS EXCLUSIVE on public.dropped: blocks reads and writes"]),
];

fn every_mode(version: Version) {
    let scene = Scene::empty(version);
    for (number, (name, sql, _)) in (1..).zip(MODES) {
        if *name != "validated" {
            let table = format!("CREATE TABLE {name} AS SELECT a, a % 7 AS b FROM generate_series(1, 3000) a");
            scene.database.sql(&table);
        }
        scene.project.write_migration("locks", &format!("{number:04}_{name}"), &format!("-- migrate:up\n{sql};\n"));
    }
    let report = Rehearsed::of(&scene);
    for (name, _, expected) in MODES {
        let mut expected = expected.to_vec();
        expected.sort_unstable_by_key(|lock| lock.rsplit(' ').next());
        assert_eq!(report.last(name).locks(), expected, "{name}: {:#}", report.step(name));
    }
    for (name, expected) in BLOCKING {
        assert_eq!(report.blocking(name), *expected, "{name}: {:#}", report.step(name));
    }
}

#[test]
fn every_lock_mode_is_measured() {
    every_mode(Version::V15);
}

#[test]
fn every_lock_mode_is_measured_18() {
    every_mode(Version::V18);
}

const PAIR: &str = "-- migrate:up
ALTER TABLE child ADD FOREIGN KEY (a) REFERENCES parent;
";
const REFRESH: &str = "-- migrate:up
REFRESH MATERIALIZED VIEW CONCURRENTLY seen;
";
const REINDEX: &str = "-- migrate:up
REINDEX INDEX by_b;
";
const LONG: &str = "-- migrate:up
ALTER TABLE first ADD COLUMN c int;
SELECT pg_sleep(0.3);
ALTER TABLE first ADD COLUMN d int;
CREATE INDEX ON second (a);
";
const PARALLEL: &str = "-- migrate:up
CREATE INDEX by_a ON large (a);
SELECT count(*) FROM large WHERE c <> '';
";
const CONCURRENT: &str = "-- migrate:up transaction:false
CREATE INDEX CONCURRENTLY by_b_now ON large (b);
VACUUM FULL large;
";
const ISOLATED: &str = "-- migrate:up
SET LOCAL search_path = pg_temp;
LOCK TABLE public.locked IN SHARE MODE;
SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;
UPDATE public.locked SET a = 2;
";

fn more_than_one(version: Version) {
    let scene = Scene::empty(version);
    scene.database.sql(
        "CREATE TABLE parent AS SELECT a FROM generate_series(1, 3000) a; ALTER TABLE parent ADD PRIMARY KEY (a);
         CREATE TABLE child AS SELECT a FROM parent;
         CREATE MATERIALIZED VIEW seen AS SELECT a FROM parent; CREATE UNIQUE INDEX ON seen (a);
         CREATE TABLE first AS SELECT a FROM parent; CREATE TABLE second AS SELECT a FROM parent;
         CREATE TABLE locked (a int); INSERT INTO locked VALUES (1);
         CREATE TABLE large AS SELECT a, a % 1000 AS b, repeat('x', 50) AS c FROM generate_series(1, 150000) a;
         CREATE INDEX by_b ON large (b);",
    );
    let migrations = [PAIR, REFRESH, REINDEX, LONG, PARALLEL, CONCURRENT, ISOLATED];
    let names = ["pair", "refresh", "reindex", "long", "parallel", "concurrent", "isolated"];
    for (number, (name, text)) in (1..).zip(names.into_iter().zip(migrations)) {
        scene.project.write_migration("locks", &format!("{number:04}_{name}"), text);
    }
    let report = Rehearsed::of(&scene);

    let both =
        ["SHARE ROW EXCLUSIVE on public.child: blocks writes", "SHARE ROW EXCLUSIVE on public.parent: blocks writes"];
    assert_eq!(report.blocking("pair"), both);
    let refresh = "EXCLUSIVE on public.seen: blocks writes and SELECT FOR UPDATE";
    assert_eq!(report.blocking("refresh"), [refresh], "{:#}", report.step("refresh"));
    let mut reindex = report.blocking("reindex");
    reindex.sort();
    assert_eq!(
        reindex,
        ["ACCESS EXCLUSIVE on public.by_b: blocks reads and writes", "SHARE on public.large: blocks writes"]
    );
    assert_eq!(report.last("reindex").names("rewritten"), ["by_b"]);

    held_until_the_commit(&report);
    for index in 0..2 {
        let scanned = report.statement("parallel", index).scanned();
        assert!(scanned[0].ends_with(", 150000"), "workers read a part of it: {scanned:?}");
    }
    outside_a_transaction(&report);
    assert_eq!(report.last("isolated").rows(), ["locked: +0 ~1 -0"]);
    let isolated = report.last("isolated").locks();
    assert_eq!(isolated, ["ROW EXCLUSIVE on locked", "SHARE on locked"], "no query may precede the isolation level");
}

fn held_until_the_commit(report: &Rehearsed) {
    let (first, again, second) = (report.statement("long", 0), report.statement("long", 2), report.last("long"));
    assert_eq!(first.locks(), ["ACCESS EXCLUSIVE on first"]);
    assert_eq!(again.locks(), Vec::<String>::new(), "the transaction holds it already");
    let (long, short) = (first.held("first"), second.held("second"));
    let total = report.step("long")["milliseconds"].as_f64().unwrap();
    assert!(long >= 300.0 && long >= total - 1.0, "held {long} ms of {total} ms");
    assert!(short < 290.0 && short >= second.0["milliseconds"].as_f64().unwrap() - 1.0, "held {short} ms");
    let lines = ["ACCESS EXCLUSIVE on public.first: blocks reads and writes", "SHARE on public.second: blocks writes"];
    assert_eq!(report.blocking("long"), lines, "the longest first");
}

fn outside_a_transaction(report: &Rehearsed) {
    let (index, vacuum) = (report.statement("concurrent", 0), report.statement("concurrent", 1));
    assert!(index.locks().contains(&"SHARE UPDATE EXCLUSIVE on large".to_owned()), "{:#}", index.0);
    assert!(vacuum.locks().contains(&"ACCESS EXCLUSIVE on large".to_owned()), "{:#}", vacuum.0);
    assert_eq!(vacuum.names("rewritten"), ["large"]);
    assert_eq!(index.names("rewritten"), Vec::<String>::new());
    // Each parallel worker counts as a scan; the rows are exact.
    assert!(
        index.scanned()[0].ends_with(", 300000"),
        "a concurrent build reads the table twice: {:?}",
        index.scanned()
    );
    for statement in [&index, &vacuum] {
        assert_eq!(statement.0["locks_sampled"], true);
        let (held, whole) = (statement.held("large"), statement.0["milliseconds"].as_f64().unwrap());
        assert!(held > whole / 2.0 && held < whole + 20.0, "held {held} of {whole} ms");
        assert!(statement.number("wal_bytes") > 1_000_000 || statement.0["text"] != "VACUUM FULL large");
    }
    assert_eq!(report.blocking("concurrent"), ["ACCESS EXCLUSIVE on public.large: blocks reads and writes"]);
}

#[test]
fn locks_are_held_until_the_commit_and_sampled_outside_a_transaction() {
    more_than_one(Version::V15);
}

#[test]
fn locks_are_held_until_the_commit_and_sampled_outside_a_transaction_18() {
    more_than_one(Version::V18);
}

/// PostgreSQL is asked for all 64 pairs: a prepared transaction holds the one, `NOWAIT` wants the other.
fn conflicts(version: Version) {
    let cluster = TestCluster::shared(version);
    let database = cluster.database();
    database.sql("CREATE TABLE t (a int); CREATE TABLE refused (mode text)");
    for held in LockMode::ALL {
        let id = format!("{}_{}", database.name(), held as u8);
        database.sql(&format!("BEGIN; LOCK TABLE t IN {held} MODE; PREPARE TRANSACTION '{id}'"));
        let tries: String = LockMode::ALL.map(|wanted| {
            format!("BEGIN LOCK TABLE t IN {wanted} MODE NOWAIT; EXCEPTION WHEN lock_not_available THEN INSERT INTO refused VALUES ('{wanted}'); END;\n")
        }).concat();
        database.sql(&format!("TRUNCATE refused; DO $$ BEGIN {tries} END $$"));
        database.sql(&format!("ROLLBACK PREPARED '{id}'"));
        let refused = database.query("SELECT mode FROM refused");
        let expected = LockMode::ALL.into_iter().filter(|wanted| held.conflicts_with(*wanted));
        let expected: Vec<&str> = expected.map(LockMode::name).collect();
        assert_eq!(refused.lines().collect::<Vec<_>>(), expected, "while {held} is held");
    }
}

#[test]
fn the_lock_table_is_that_of_postgresql() {
    conflicts(Version::V15);
    conflicts(Version::V18);
}
