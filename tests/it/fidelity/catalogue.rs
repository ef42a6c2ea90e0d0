//! The catalogue of cases, snapshotted, restored and compared.

use std::time::Instant;

use crate::support::{Project, Scene, TestCluster, TestRole, Version};

use super::cases::{self, Case};
use super::oracle::{self, Place};

/// A database with the cases in it, and the roles that they speak of.
pub struct Filled {
    pub scene: Scene,
    _roles: Vec<TestRole>,
}

/// Makes the objects of every case that this server can have.
pub fn fill(version: Version, also_on: &[&TestCluster], cases: &[Case]) -> Filled {
    let scene = Scene::empty(version);
    let cluster = scene.cluster().clone();
    let roles = vec![cluster.role("owner", "x", ""), cluster.role("reader", "x", "")];
    let replaced = |sql: &str| {
        let sql = sql.replace("{owner}", roles[0].name()).replace("{reader}", roles[1].name());
        sql.replace("{database}", scene.database.name())
    };
    let (mut made, mut refused) = (0, Vec::new());
    for case in cases {
        let servers =
            std::iter::once((&*cluster, scene.database.name())).chain(also_on.iter().map(|one| (*one, "postgres")));
        if let Some(needs) = case.needs
            && servers.clone().any(|(cluster, database)| cluster.query(database, &format!("SELECT {needs}")) != "t")
        {
            continue;
        }
        let sql = format!("CREATE SCHEMA {0}; SET search_path TO {0}, public;\n{1}", case.name, replaced(case.sql));
        if let Err(words) = cluster.try_sql(scene.database.name(), &sql) {
            refused.push(format!("{}: {words}", case.name));
        }
        made += 1;
    }
    assert!(refused.is_empty(), "cases that cannot be made:\n{}", refused.join("\n"));
    assert!(made * 10 >= cases.len() * 8, "only {made} of {} cases can be made on this server", cases.len());
    Filled { scene, _roles: roles }
}

/// Snapshot, change, restore, compare.
fn round_trip(version: Version, cases: &[Case]) {
    let began = Instant::now();
    let filled = fill(version, &[], cases);
    let scene = &filled.scene;
    let (cluster, name) = (&**scene.cluster(), scene.database.name());
    let source = Place { cluster, database: name };
    let before = oracle::contents(source);
    let id = scene.take_snapshot();
    let copy = format!("{name}_copy");
    scene.run(0, &["restore", &id, "--to", &copy, "--yes"]);
    let plain = format!("{name}_plain");
    compare(source, &before, Place { cluster, database: &copy }, Place { cluster, database: &plain });
    eprintln!("{} cases on {version:?}: {:?}", cases.len(), began.elapsed());
}

fn compare(source: Place<'_>, before: &oracle::Contents, copy: Place<'_>, plain: Place<'_>) {
    assert_eq!(&oracle::contents(source), before, "the snapshot changed nothing");
    oracle::dump_and_restore_schema(source, plain);
    let differences = oracle::differences(before, copy, plain);
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    assert_eq!(oracle::next_values(copy), oracle::next_values(source), "the next value of each sequence");
}

fn from_15_into_18(cases: &[Case]) {
    let newer = std::sync::Arc::new(TestCluster::start(Version::V18, &[]));
    let filled = fill(Version::V15, &[&newer], cases);
    let scene = &filled.scene;
    let source = Place { cluster: scene.cluster(), database: scene.database.name() };
    let before = oracle::contents(source);
    let id = scene.take_snapshot();
    let there = newer.database();
    let project = Project::new(&there, &scene.store);
    let copy = format!("{}_copy", there.name());
    let output = project.run(&["restore", &id, "--to", &copy, "--roles", "--yes"]);
    assert_eq!(output.status, 0, "{}{}", output.stdout, output.stderr);
    let plain = format!("{}_plain", there.name());
    compare(source, &before, Place { cluster: &newer, database: &copy }, Place { cluster: &newer, database: &plain });
}

#[test]
fn types_round_trip() {
    round_trip(Version::V15, cases::TYPES);
}

#[test]
fn types_round_trip_18() {
    round_trip(Version::V18, cases::TYPES);
}

#[test]
fn types_of_15_arrive_in_18() {
    from_15_into_18(cases::TYPES);
}

#[test]
fn tables_round_trip() {
    round_trip(Version::V15, cases::TABLES);
}

#[test]
fn tables_round_trip_18() {
    round_trip(Version::V18, cases::TABLES);
}

#[test]
fn tables_of_15_arrive_in_18() {
    from_15_into_18(cases::TABLES);
}

#[test]
fn objects_round_trip() {
    round_trip(Version::V15, cases::OBJECTS);
}

#[test]
fn objects_round_trip_18() {
    round_trip(Version::V18, cases::OBJECTS);
}

#[test]
fn objects_of_15_arrive_in_18() {
    from_15_into_18(cases::OBJECTS);
}

#[test]
fn the_names_of_the_cases_are_unique() {
    let all = [cases::TYPES, cases::TABLES, cases::OBJECTS].concat();
    let mut names: Vec<&str> = all.iter().map(|case| case.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all.len());
}

/// The negative control: the oracle sees each of these, or the tests above prove nothing.
#[test]
fn the_oracle_sees_every_kind_of_difference() {
    let changes = [
        ("INSERT INTO t VALUES (3, 'c')", "public.t:"),
        ("DELETE FROM t", "public.t: only"),
        ("UPDATE t SET b = 'A' WHERE a = 1", "public.t:"),
        ("INSERT INTO t SELECT * FROM t WHERE a = 1", "public.t:"),
        ("INSERT INTO h VALUES (10)", "public.h:"),
        ("SELECT nextval('s')", "public.s:"),
        ("REFRESH MATERIALIZED VIEW v WITH NO DATA", "public.v:"),
        ("ALTER TABLE t ALTER b SET DEFAULT 'x'", "schema:"),
        ("DROP INDEX i", "schema:"),
        ("COMMENT ON TABLE t IS 'x'", "schema:"),
        ("GRANT SELECT ON t TO PUBLIC", "schema:"),
        ("SELECT lo_put(4711, 0, '\\x00')", "(large objects):"),
        ("GRANT SELECT ON LARGE OBJECT 4711 TO PUBLIC", "(large objects):"),
        ("COMMENT ON DATABASE \"{}\" IS 'x'", "(properties):"),
        ("ALTER DATABASE \"{}\" SET work_mem = '5MB'", "(properties):"),
        ("REVOKE CONNECT ON DATABASE \"{}\" FROM PUBLIC", "(properties):"),
    ];
    let cluster = TestCluster::shared(Version::V15);
    let (database, copy) = (cluster.database(), cluster.database());
    let setup = "CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'a'), (2, 'b'); CREATE INDEX i ON t (a);
                 CREATE TABLE h (a int) PARTITION BY HASH (a); CREATE TABLE h0 PARTITION OF h FOR VALUES WITH (MODULUS 1, REMAINDER 0);
                 CREATE SEQUENCE s; CREATE MATERIALIZED VIEW v AS SELECT 1; SELECT lo_from_bytea(4711, '\\x01');";
    for (number, (change, expected)) in changes.iter().enumerate() {
        let (name, plain) = (format!("{}_{number}", copy.name()), format!("{}_plain_{number}", copy.name()));
        cluster.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"));
        if number == 0 {
            database.sql(setup);
        }
        cluster.sql(&name, setup);
        let contents = oracle::contents(on(&cluster, database.name()));
        oracle::dump_and_restore_schema(on(&cluster, database.name()), on(&cluster, &plain));
        assert_eq!(oracle::differences(&contents, on(&cluster, &name), on(&cluster, &plain)), Vec::<String>::new());
        cluster.sql(&name, &change.replace("{}", &name));
        let found = oracle::differences(&contents, on(&cluster, &name), on(&cluster, &plain));
        assert!(found.len() == 1 && found[0].starts_with(expected), "{change}: {found:?}");
    }
}

fn on<'a>(cluster: &'a TestCluster, database: &'a str) -> Place<'a> {
    Place { cluster, database }
}
