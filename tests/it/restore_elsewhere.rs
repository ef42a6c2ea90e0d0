//! Restores to another server, and by roles that are no superusers (DESIGN section 9).

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Contents, Scene, TestCluster, Version, clean_command};

const RICH: &str = include_str!("support/rich.sql");

/// The binary where nothing but a store and an empty server is left: no configuration, no project.
fn from_nothing(scene: &Scene, bin_dir: &std::path::Path, arguments: &[&str]) -> std::process::Output {
    let empty = tempfile::tempdir().unwrap();
    std::fs::write(empty.path().join("safe-migrate.toml"), format!("[shadow]\nbin_dir = \"{}\"\n", bin_dir.display()))
        .unwrap();
    let mut command: Command = clean_command(env!("CARGO_BIN_EXE_safe-migrate"));
    command.args(arguments).args(["--store", &scene.store.url()]).current_dir(empty.path());
    command.env("HOME", empty.path()).env("TMPDIR", std::env::temp_dir()).output().unwrap()
}

fn a_bare_server_is_enough(from: Version, to: Version) {
    let scene = Scene::empty(from);
    let cook = scene.cluster().role("cook", "a secret of the cook", "");
    let team = scene.cluster().role("team", "unused", "");
    scene.cluster().sql("postgres", &format!("ALTER ROLE {} NOLOGIN", team.name()));
    scene.database.sql(RICH);
    // The newer server may be built without libxml.
    scene.database.sql("DELETE FROM types WHERE x IS NOT NULL; TRUNCATE fleeting");
    scene.cluster().sql("postgres", &format!("GRANT {} TO {}", team.name(), cook.name()));
    scene.database.sql(&format!(
        "ALTER TABLE dropped OWNER TO {}; GRANT SELECT ON types TO {}",
        cook.name(),
        team.name()
    ));
    let id = scene.take_snapshot();
    let expected = Contents::of(scene.cluster(), scene.database.name());

    let bare = TestCluster::start(to, &[]);
    let url = bare.url("shop");
    let databases = || bare.query("postgres", "SELECT count(*) FROM pg_database");
    // The roles are those of the whole server, so of the tests beside this one too, and a list ends after five.
    let refused = from_nothing(&scene, bare.bin_dir(), &["restore", &id, "--to", &url, "--yes", "-v"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains(cook.name()) && said.contains(team.name()) && said.contains("--roles"), "{said}");
    assert_eq!(databases(), "3", "named before anything is made");

    let output = from_nothing(&scene, bare.bin_dir(), &["restore", &id, "--to", &url, "--roles", "--yes"]);
    let (said, stdout) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{said}");
    assert_eq!(Contents::of(&bare, "shop"), expected);
    let named = stdout.lines().find(|line| line.contains("without a password")).expect(&stdout);
    assert!(named.contains(cook.name()) && !named.contains(team.name()), "{stdout}");
    for text in [&said, &stdout] {
        assert!(!text.contains(bare.password()) && !text.contains("a secret of the cook"), "a secret is printed");
    }
    let owner = bare.query("shop", "SELECT tableowner FROM pg_tables WHERE tablename = 'dropped'");
    assert_eq!(owner, cook.name());
    let member = format!("SELECT pg_has_role('{}', '{}', 'MEMBER')", cook.name(), team.name());
    assert_eq!(bare.query("shop", &member), "t");
    assert_eq!(databases(), "4");
    scene.database.sql("DROP TABLE dropped; REVOKE ALL ON types FROM PUBLIC");
    scene.database.sql(&format!("DROP OWNED BY {}", team.name()));
}

#[test]
fn restore_to_a_bare_server_needs_a_store_alone() {
    a_bare_server_is_enough(Version::V15, Version::V15);
}

#[test]
fn restore_to_a_bare_server_of_a_newer_version() {
    a_bare_server_is_enough(Version::V15, Version::V18);
}

#[test]
fn restore_names_a_missing_extension_before_anything_is_made() {
    let scene = Scene::empty(Version::V15);
    // The wheel of 18 is built without OpenSSL, which this one needs.
    scene.database.sql("CREATE EXTENSION pgcrypto; CREATE TABLE t AS SELECT gen_random_uuid()");
    let id = scene.take_snapshot();
    let bare = TestCluster::start(Version::V18, &[]);
    let output = from_nothing(&scene, bare.bin_dir(), &["restore", &id, "--to", &bare.url("shop"), "--yes"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("lacks the files of these extensions: pgcrypto"), "{said}");
    assert_eq!(bare.query("postgres", "SELECT count(*) FROM pg_database"), "3");
}

fn a_role_that_owns_its_database_restores_it(version: Version) {
    let scene = Scene::empty(version);
    let (cluster, name) = (scene.cluster(), scene.database.name());
    let owner = cluster.role("owner", "unused", "CREATEDB");
    cluster.sql("postgres", &format!("ALTER DATABASE {name} OWNER TO {0}", owner.name()));
    let url = owner.url(&scene.database);
    let run = |status: i32, arguments: &[&str]| {
        let output = scene.project.run_with(arguments, &[("DATABASE_URL", &url)]);
        scene.check(status, arguments, &output);
        output
    };
    let toml = std::fs::read_to_string(scene.project.directory().join("safe-migrate.toml")).unwrap();
    scene.project.configure(&toml.replacen(&format!("url = \"{}\"\n", scene.database.url()), "", 1));
    let psql = |sql: &str| {
        let mut psql = cluster.program("psql");
        let output = psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-d", &url, "-c", sql]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    psql(
        "CREATE TABLE t (id serial PRIMARY KEY, a text CHECK (a <> '')); INSERT INTO t (a) VALUES ('x'), ('y'); CREATE VIEW v AS SELECT a FROM t",
    );
    let id = run(0, &["snapshot", "create"]).stdout.trim().to_owned();
    psql("DELETE FROM t");

    run(0, &["restore", &id, "--yes"]);
    let beside = scene.databases().pop().unwrap();

    // A superuser's session is one that it cannot end: named, and nothing is changed.
    let mut psql_admin = cluster.program("psql");
    psql_admin.args(["-X", "-d", &scene.database.socket_url(), "-c", "SELECT pg_sleep(120)"]);
    let mut session = psql_admin.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let there =
        format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND query ~ '^SELECT pg_sleep'");
    while cluster.query("postgres", &there) == "0" {
        std::thread::sleep(Duration::from_millis(20));
    }
    let refused = run(3, &["restore", "--swap", &beside, "--yes"]);
    assert!(refused.stderr.contains("of role admin") && refused.stderr.contains("may not end"), "{}", refused.stderr);
    session.kill().unwrap();
    session.wait().unwrap();
    cluster.query(
        "postgres",
        &format!("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'"),
    );

    run(0, &["restore", "--swap", &beside, "--yes"]);
    assert_eq!(scene.database.query("SELECT a FROM t ORDER BY 1"), "x\ny");
    let run_id = crate::restore_swap::recorded_run(&scene, "restore --swap")["id"].as_str().unwrap().to_owned();
    run(0, &["restore", "--undo", &run_id, "--yes"]);
    assert_eq!(scene.database.query("SELECT count(*) FROM t"), "0");

    // A superuser's snapshot holds what this role may not make.
    scene.database.sql(
        "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
         CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION watch(); CREATE PUBLICATION everything FOR ALL TABLES",
    );
    let id = scene.run(0, &["snapshot", "create", "--database", &scene.database.url()]).stdout.trim().to_owned();
    let before = scene.databases();
    let refused = run(1, &["restore", &id, "--in-place", "--yes"]);
    for what in ["event trigger", "publication FOR ALL TABLES", "give objects to role \"admin\""] {
        assert!(refused.stderr.contains(what), "{what}: {}", refused.stderr);
    }
    assert_eq!(scene.databases(), before);

    // By name it is given up, and the rest comes back; what needs it must be named too.
    scene.database.sql(&format!("ALTER FUNCTION watch() OWNER TO {0}", owner.name()));
    let id = scene.run(0, &["snapshot", "create", "--database", &scene.database.url()]).stdout.trim().to_owned();
    let refused = run(1, &["restore", &id, "--yes", "--without", "FUNCTION public.watch()"]);
    assert!(refused.stderr.contains("--without 'EVENT TRIGGER watching'"), "{}", refused.stderr);
    let one = ["restore", &id, "--to", "without_both", "--yes", "--without", "event trigger watching"];
    let refused = run(1, &one);
    assert!(refused.stderr.contains("FOR ALL TABLES") && !refused.stderr.contains("create event trigger"));
    let said = run(0, &[&one[..], &["--without", "PUBLICATION everything"]].concat()).stdout;
    assert!(said.contains("left out, as asked for: EVENT TRIGGER watching, PUBLICATION everything"), "{said}");
    let left =
        "SELECT (SELECT count(*) FROM pg_event_trigger), (SELECT count(*) FROM pg_publication), to_regproc('watch')";
    assert_eq!(cluster.query("without_both", left), "0|0|watch");

    scene.database.sql("DROP EVENT TRIGGER watching");
    for database in scene.databases() {
        cluster.sql("postgres", &format!("ALTER DATABASE {database} OWNER TO admin"));
        cluster.sql(&database, &format!("DROP OWNED BY {}", owner.name()));
    }
}

#[test]
fn restore_by_a_role_that_owns_its_database() {
    a_role_that_owns_its_database_restores_it(Version::V15);
}

#[test]
fn restore_by_a_role_that_owns_its_database_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    a_role_that_owns_its_database_restores_it(Version::V18);
}
