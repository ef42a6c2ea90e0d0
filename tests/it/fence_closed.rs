//! `--fence=closed`: while the migrations run the database takes no connections; whoever finds the run dead opens it.

use crate::support::{Client, Running, SEES, Scene, Version, seen_and_kept, writers, written};

fn migration(scene: &Scene, name: &str, up: &str) {
    let text = format!("-- migrate:up\n{up}\n-- migrate:down\nSELECT 1;\n");
    scene.project.write_migration("app", name, &text);
}

const CLOSED: [&str; 5] = ["apply", "--yes", "--fence=closed", "--skip-rehearsal", "test"];

fn is_open(scene: &Scene) -> bool {
    let sql = format!("SELECT datallowconn FROM pg_database WHERE datname = '{}'", scene.database.name());
    let settings = format!(
        "SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
          WHERE d.datname = '{}' AND s.setconfig::text ~ 'safe_migrate.fence'",
        scene.database.name()
    );
    let open = scene.cluster().query("postgres", &sql) == "t";
    let recorded = scene.cluster().query("postgres", &settings) == "1";
    assert_ne!(open, recorded, "the record goes with the fence");
    open
}

fn slow(scene: &Scene) -> Running {
    scene.database.sql("CREATE TABLE t (i int)");
    migration(scene, "0001_a", "CREATE TABLE a (i int);");
    migration(scene, "0002_slow", "INSERT INTO t VALUES (1);\nSELECT pg_sleep(300);");
    let mut run = Running::start(&scene.project, &CLOSED);
    run.wait_for("applied app/0001_a");
    assert!(!is_open(scene));
    run
}

fn no_gap(version: Version) {
    let scene = Scene::empty(version);
    let role = scene.cluster().role("writer", "secret", "");
    let writers = writers(&scene, &role);
    scene.project.write_migration("app", "0001_sees", SEES);
    let mut run = Running::start(&scene.project, &["apply", "--yes", "--fence=closed"]);
    run.wait_for("locked against writers");
    let before = written(&scene);
    assert_eq!(written(&scene), before, "readers go on, writers wait");
    run.wait_for("is closed, and all other sessions are ended");
    let refused = scene.cluster().try_sql(scene.database.name(), "SELECT 1").unwrap_err();
    assert!(refused.contains("not currently accepting connections"), "{refused}");
    let output = run.end();
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert!(is_open(&scene));
    drop(writers);
    let (seen, kept) = seen_and_kept(&scene);
    assert_eq!(seen, kept, "a restore would lose what the migration saw and the snapshot did not");
}

#[test]
fn fence_closed_has_no_gap() {
    no_gap(Version::V15);
}

#[test]
fn fence_closed_has_no_gap_on_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    no_gap(Version::V18);
}

#[test]
fn fence_closed_runs_steps_outside_transactions_and_is_lifted_on_failure() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE t (i int)");
    let outside =
        "-- migrate:up transaction:false\nCREATE INDEX CONCURRENTLY t_i ON t (i);\n-- migrate:down\nDROP INDEX t_i;\n";
    scene.project.write_migration("app", "0001_index", outside);
    migration(&scene, "0002_fails", "CREATE TABLE a (i int);\nSELECT 1 / 0;");
    let output = scene.run(4, &CLOSED);
    assert!(output.stderr.contains("0002_fails.sql:3") && output.stderr.contains("is open again"), "{}", output.stderr);
    assert!(is_open(&scene));
    assert_eq!(scene.applied(), ["app/0001_index"]);
    migration(&scene, "0002_fails", "CREATE TABLE a (i int);");
    scene.run(0, &["apply", "--yes", "--fence=closed"]);
    assert_eq!(scene.applied(), ["app/0001_index", "app/0002_fails"]);
    assert!(is_open(&scene));
}

#[test]
fn fence_closed_ends_open_sessions() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE t (i int)");
    let mut reader = Client::connect(scene.cluster(), &scene.database.socket_url());
    assert!(reader.send("BEGIN; SELECT * FROM t;"));
    migration(&scene, "0001_a", "ALTER TABLE t ADD COLUMN c int;");
    scene.run(0, &CLOSED);
    assert!(!reader.is_connected());
}

#[test]
fn fence_closed_is_lifted_by_an_interrupt() {
    let scene = Scene::empty(Version::V15);
    let run = slow(&scene);
    run.interrupt();
    let output = run.end();
    assert_eq!(output.status, 4, "the first migration stays: {}", output.stderr);
    assert!(is_open(&scene), "{}", output.stderr);
    assert_eq!(scene.applied(), ["app/0001_a"]);
}

#[test]
fn fence_closed_of_a_living_run_is_never_lifted() {
    let scene = Scene::empty(Version::V15);
    let run = slow(&scene);
    for command in [&["status"][..], &["plan"], &["doctor"], &["apply", "--yes"], &["snapshot", "create"]] {
        let output = scene.run(5, command);
        assert!(output.stderr.contains("another run holds the lock"), "{command:?}: {}", output.stderr);
        assert!(!is_open(&scene), "{command:?}");
    }
    assert!(scene.run(0, &["history"]).stderr.contains("another run holds the lock"));
    assert!(!is_open(&scene));
    run.interrupt();
    run.end();
}

#[test]
fn fence_closed_of_a_killed_run_is_lifted_by_the_next_command() {
    for (index, command) in
        [&["status"][..], &["history"], &["doctor"], &["snapshot", "create"], &["apply", "--yes", "--dry-run"]]
            .into_iter()
            .enumerate()
    {
        let scene = Scene::empty(Version::V15);
        let mut run = slow(&scene);
        run.kill();
        assert!(!is_open(&scene));
        let output = scene.project.run(command);
        assert!(index == 2 || output.status == 0, "{command:?}: {}", output.stderr);
        assert!(output.stderr.contains("died while") && output.stderr.contains("open again"), "{}", output.stderr);
        assert!(is_open(&scene), "{command:?}");
        assert_eq!(scene.applied(), ["app/0001_a"]);
        let again = scene.run(0, &["status"]);
        assert!(!again.stderr.contains("open again"), "said once: {}", again.stderr);
        migration(&scene, "0002_slow", "INSERT INTO t VALUES (1);");
        scene.run(0, &["apply", "--yes", "--fence=closed"]);
        assert_eq!(scene.applied(), ["app/0001_a", "app/0002_slow"]);
    }
}

#[test]
fn fence_closed_needs_rights_and_says_so_before_the_snapshot() {
    let scene = Scene::empty(Version::V15);
    let role = scene.cluster().role("plain", "secret", "CREATEDB");
    scene.database.sql(&format!(
        "GRANT CREATE ON DATABASE {} TO {role}; GRANT CREATE ON SCHEMA public TO {role};
         GRANT EXECUTE ON FUNCTION pg_control_system() TO {role}",
        scene.database.name(),
        role = role.name()
    ));
    migration(&scene, "0001_a", "CREATE TABLE a (i int);");
    let url = role.url(&scene.database);
    let output = scene.run(3, &[&CLOSED[..], &["--database", &url]].concat());
    assert!(output.stderr.contains("may not close") && output.stderr.contains("as the owner"), "{}", output.stderr);
    assert_eq!(scene.snapshots(), Vec::<String>::new());
    assert!(is_open(&scene));

    // The owner may; a superuser's session is in the way of it.
    let owner = format!("ALTER DATABASE {} OWNER TO {role}", scene.database.name(), role = role.name());
    scene.database.sql(&owner);
    let mut of_admin = Client::connect(scene.cluster(), &scene.database.socket_url());
    assert!(of_admin.is_connected());
    let output = scene.run(3, &[&CLOSED[..], &["--database", &url]].concat());
    assert!(output.stderr.contains("cannot be ended: backend") && output.stderr.contains("admin"), "{}", output.stderr);
    drop(of_admin);
    scene.run(0, &[&CLOSED[..], &["--database", &url]].concat());
    assert!(is_open(&scene));
}

#[test]
fn fence_closed_cannot_be_raised_from_the_database_itself() {
    let scene = Scene::empty(Version::V15);
    migration(&scene, "0001_a", "CREATE TABLE a (i int);");
    let file = scene.project.directory().join("safe-migrate.toml");
    let text = std::fs::read_to_string(file).unwrap();
    let named = format!("source = \"test\"\nmaintenance = \"{}\"", scene.database.name());
    scene.project.configure(&text.replace("source = \"test\"", &named));
    let output = scene.run(3, &CLOSED);
    assert!(output.stderr.contains("[database] maintenance"), "{}", output.stderr);
    assert_eq!(scene.snapshots(), Vec::<String>::new());
}
