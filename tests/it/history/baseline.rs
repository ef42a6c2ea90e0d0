//! `baseline`: a database without history, adopted; built anew from the files it is the same.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::exec::django_project::DjangoProject;
use crate::fidelity::cases;
use crate::fidelity::catalogue::fill;
use crate::fidelity::oracle::{Place, dump_and_restore_schema};
use crate::support::{Output, Project, Scene, TestCluster, Version, output_of};

/// What a baseline leaves out: user mappings (named in a warning), and the access methods of tables, which no fingerprint holds.
const LEFT_OUT: [&str; 4] =
    ["CREATE USER MAPPING", "\"user\" 'u'", "password 'it''s", "SET default_table_access_method"];

/// Adopts the database of a scene, builds another from the files, and holds both against each other by PostgreSQL's own
/// programs: the schema of the first after a dump and restore, that of the second as it is.
#[track_caller]
fn adopted_and_built_anew(scene: &Scene, arguments: &[&str]) -> Output {
    let before = scene.schema();
    let all = [&["baseline", "--yes"], arguments].concat();
    let output = scene.run(0, &all);
    assert_eq!(scene.schema(), before, "nothing but the ledger is written");
    assert_eq!(scene.run(0, &["apply", "--yes"]).stdout, "nothing to do\n");
    scene.run(0, &["status", "--check"]);
    let anew = scene.cluster().database();
    let url = anew.url();
    // It is empty: there is nothing to fall back on, and a rehearsal of hundreds of apps takes its time.
    let without = ["--skip-snapshot", "it is empty", "--skip-rehearsal", "it is empty"];
    let apply = [&["apply", "--yes", "--database", &url, "--source", "anew"][..], &without].concat();
    let built = scene.project.run(&apply);
    assert_eq!(built.status, 0, "{}", built.stderr);
    let plain = format!("{}_plain", scene.database.name());
    dump_and_restore_schema(
        Place { cluster: scene.cluster(), database: scene.database.name() },
        Place { cluster: scene.cluster(), database: &plain },
    );
    let sorted = |database: &str| {
        let text = scene.schema_of(database);
        // The ledger is in the plain copy too.
        let lines =
            text.lines().filter(|line| !line.starts_with("--") && !LEFT_OUT.iter().any(|one| line.contains(one)));
        let mut lines: Vec<String> = lines.map(str::to_owned).collect();
        lines.sort();
        lines.dedup();
        lines
    };
    let (wanted, found) = (sorted(&plain), sorted(anew.name()));
    let differs: Vec<&String> = wanted.iter().filter(|line| !found.contains(line)).collect();
    let more: Vec<&String> = found.iter().filter(|line| !wanted.contains(line)).collect();
    assert!(differs.is_empty() && more.is_empty(), "missing: {differs:#?}\nmore: {more:#?}");
    output
}

#[test]
fn the_schema_of_pgbench_is_adopted() {
    let scene = Scene::empty(Version::V18);
    let mut pgbench = scene.cluster().program("pgbench");
    output_of(pgbench.args([
        "-i",
        "-q",
        "--partitions=3",
        "--foreign-keys",
        &scene.cluster().socket_url(scene.database.name()),
    ]));
    let dry = scene.run(0, &["baseline", "--dry-run"]);
    insta::assert_snapshot!(dry.stdout, @"
    the schema can be built from these; would write:
      migrations/main/0001_initial.sql  24 statements
      migrations/main/schema.sql        24 statements
    ");
    assert!(!scene.project.migrations().join("main").exists());
    let output = adopted_and_built_anew(&scene, &["--rest", "pgbench"]);
    assert!(
        output.stdout.contains("1 migration build the schema as it is")
            || output.stdout.contains("recorded as applied")
    );
    let how = scene.database.query("SELECT app || '/' || name || ' ' || how FROM safe_migrate.migration");
    assert_eq!(how, "pgbench/0001_initial import");
    let wished = std::fs::read_to_string(scene.project.migrations().join("pgbench/schema.sql")).unwrap();
    assert!(wished.contains("CREATE TABLE public.pgbench_accounts ("), "{wished}");
}

#[test]
fn the_tables_of_the_catalogue_are_adopted_as_apps() {
    // Each becomes an app, and a rehearsal reads the whole schema between two of them.
    let all = u32::try_from(cases::TABLES.len()).unwrap();
    let some = crate::support::rounds(all / 3, all) as usize;
    let filled = fill(Version::V15, &[], &cases::TABLES[..some]);
    adopted_and_built_anew(&filled.scene, &["--by-schema"]);
}

#[test]
fn the_objects_of_the_catalogue_are_adopted_18() {
    let filled = fill(Version::V18, &[], cases::OBJECTS);
    adopted_and_built_anew(&filled.scene, &["--by-schema"]);
}

#[test]
fn a_django_database_is_adopted_by_prefix() {
    let project = DjangoProject::on(&TestCluster::shared(Version::V15));
    assert_eq!(project.manage(&["migrate", "-v0"]).status, 0);
    let output = adopted_and_built_anew(&project.scene, &["--by-prefix"]);
    for app in [
        "accounts",
        "auth",
        "delivery",
        "django",
        "loyalty",
        "menu",
        "notifications",
        "orders",
        "payments",
        "reviews",
        "subscriptions",
        "support",
    ] {
        assert!(output.stdout.contains(&format!("migrations/{app}/0001_initial.sql")), "{app}: {}", output.stdout);
    }
}

#[test]
fn apps_that_need_each_other_are_divided() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql(
        "CREATE TABLE menu_dish (id bigint PRIMARY KEY, last_order bigint);
         CREATE TABLE orders_order (id bigserial PRIMARY KEY, dish bigint REFERENCES menu_dish);
         ALTER TABLE menu_dish ADD FOREIGN KEY (last_order) REFERENCES orders_order;
         CREATE FUNCTION open_orders() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM orders_order';
         CREATE MATERIALIZED VIEW menu_sold AS SELECT dish, count(*) FROM orders_order GROUP BY 1;
         COMMENT ON COLUMN menu_dish.last_order IS 'the last'",
    );
    let output = adopted_and_built_anew(&scene, &["--app", "kitchen=menu_*", "--app", "orders=order*,open_*"]);
    insta::assert_snapshot!(output.stdout.split_once('\n').unwrap().1, @"
    migrations/kitchen/0001_initial.sql  3 statements
    migrations/orders/0001_initial.sql   7 statements
    migrations/kitchen/0002_more.sql     3 statements
    migrations/kitchen/schema.sql        6 statements
    migrations/orders/schema.sql         7 statements
    ");
    let keys = std::fs::read_to_string(scene.project.migrations().join("kitchen/0002_foreign_keys.sql"));
    let more = std::fs::read_to_string(scene.project.migrations().join("kitchen/0002_more.sql"));
    assert!(keys.or(more).unwrap().contains("-- depends: orders/0001_initial\n"));
}

#[test]
fn a_database_with_a_history_is_refused() {
    let scene = Scene::dusangire(Version::V15);
    let files = scene.run(2, &["baseline", "--yes"]);
    assert!(
        files.stderr.contains("migrations holds migrations already, such as accounts/0001_initial"),
        "{}",
        files.stderr
    );
    scene.run(0, &["apply", "loyalty", "--yes"]);
    let history = scene.run(2, &["baseline", "--yes", "--migrations", "elsewhere"]);
    assert!(history.stderr.contains("has a history: "), "{}", history.stderr);
    for wrong in [&["baseline", "--by-schema", "--by-prefix"][..], &["baseline", "--app", "menu"]] {
        scene.run(2, wrong);
    }
}

/// The role that migrates owns nothing but what it made, and was let into `public` by hand.
#[test]
fn a_role_without_rights_of_its_own_can_adopt_and_fake() {
    let scene = Scene::empty(Version::V15);
    let cluster = scene.cluster().clone();
    let role = cluster.role("deploy", "its own", "");
    let name = scene.database.name();
    scene.database.sql(&format!(
        "GRANT CREATE ON SCHEMA public TO {0}; GRANT CREATE ON DATABASE {name} TO {0}; SET ROLE {0}; CREATE TABLE dish (id bigint PRIMARY KEY)",
        role.name()
    ));
    let url = role.url(&scene.database);
    let database = ["--database", &url];
    scene.run(0, &[&["baseline", "--yes"][..], &database].concat());
    let text = std::fs::read_to_string(scene.project.migrations().join("main/0001_initial.sql")).unwrap();
    assert!(text.contains("CREATE TABLE public.dish (") && !text.contains("OWNER TO"), "{text}");
    scene.project.write_migration("main", "0002_name", "-- migrate:up\nALTER TABLE dish ADD COLUMN name text;\n");
    scene.run(3, &[&["apply", "--fake", "--yes"][..], &database].concat());
    scene.database.sql("ALTER TABLE dish ADD COLUMN name text");
    scene.run(0, &[&["apply", "--fake", "--yes"][..], &database].concat());
}

#[test]
fn killed_between_the_files_and_the_ledger_the_next_command_leads_on() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE dish (id bigint PRIMARY KEY)");
    let killed = Project::output_of(
        &mut scene.project.command_with_faults("adopt.files-written=return", &["baseline", "--yes"]),
    );
    assert_eq!(killed.status, -1, "{}", killed.stderr);
    let again = scene.run(2, &["baseline", "--yes"]);
    assert!(again.stderr.contains("to record those as applied: safe-migrate apply --fake"), "{}", again.stderr);
    scene.run(0, &["apply", "--fake", "--yes"]);
    scene.run(0, &["status", "--check"]);
}

#[test]
fn a_schema_that_changes_meanwhile_is_not_recorded() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE dish (id bigint PRIMARY KEY)");
    let file = scene.project.migrations().join("main/0001_initial.sql");
    let mut command = scene.project.command_with_faults("adopt.files-written=sleep(5000)", &["baseline", "--yes"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !file.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    scene.database.sql("ALTER TABLE dish ADD COLUMN name text");
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("changed while this run was being prepared: its schema (- before, + now):"), "{said}");
    assert!(scene.applied().is_empty());
}
