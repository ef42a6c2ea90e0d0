//! What cannot be carried, and what is carried but is a secret, is said when the snapshot is taken.

use std::sync::Arc;

use crate::support::{Project, Scene, TestCluster, Version};

use super::oracle::{self, Place};

#[test]
fn tablespaces_and_logins_are_said_and_a_server_without_the_tablespace_takes_the_rest() {
    let scene = Scene::empty(Version::V15);
    let cluster = &**scene.cluster();
    let name = scene.database.name();
    let login = scene.cluster().role("somebody", "x", "");
    let directory = cluster.directory().join(format!("{name} fast"));
    std::fs::create_dir(&directory).unwrap();
    give_to_server(cluster, &directory);
    let tablespace = format!("{name} fast");
    cluster.sql("postgres", &format!("CREATE TABLESPACE \"{tablespace}\" LOCATION '{}'", directory.display()));
    scene.database.sql(&format!(
        "CREATE TABLE far (a int PRIMARY KEY USING INDEX TABLESPACE \"{tablespace}\") TABLESPACE \"{tablespace}\";
         INSERT INTO far VALUES (1), (2); CREATE TABLE near (a int); CREATE INDEX i ON near (a) TABLESPACE \"{tablespace}\";
         ALTER TABLE near OWNER TO {}",
        login.name()
    ));
    let source = Place { cluster, database: name };
    let before = oracle::contents(source);
    let output = scene.run(0, &["snapshot", "create"]);
    let said = format!(
        "tablespaces are not in the snapshot; a server that lacks one keeps these in its default: \"{tablespace}\""
    );
    assert!(output.stderr.contains(&said) && output.stderr.contains("and 2 more"), "{}", output.stderr);
    assert!(output.stderr.contains("the password of 1 login that has something here is not"), "{}", output.stderr);
    let id = output.stdout.trim();

    // Here it is, and is used.
    let (copy, plain) = (format!("{name}_copy"), format!("{name}_plain"));
    let restored = scene.run(0, &["restore", id, "--to", &copy, "--yes"]);
    assert!(!restored.stderr.contains("lacks tablespace"), "{}", restored.stderr);
    oracle::dump_and_restore_schema(source, Place { cluster, database: &plain });
    let differences =
        oracle::differences(&before, Place { cluster, database: &copy }, Place { cluster, database: &plain });
    assert!(differences.is_empty(), "{}", differences.join("\n"));

    // There it is not.
    let other = Arc::new(TestCluster::start(Version::V15, &[]));
    let there = other.database();
    let copy_there = format!("{}_copy", there.name());
    let project = Project::new(&there, &scene.store);
    let output = project.run(&["restore", id, "--to", &copy_there, "--roles", "--yes"]);
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert!(output.stderr.contains(&format!("the server lacks tablespace {tablespace}")), "{}", output.stderr);
    assert_eq!(other.query(&copy_there, "SELECT count(*) FROM far"), "2");

    for database in [&copy, &plain] {
        cluster.sql("postgres", &format!("DROP DATABASE {database} WITH (FORCE)"));
    }
    scene.database.sql("DROP TABLE far, near");
    cluster.sql("postgres", &format!("DROP TABLESPACE \"{tablespace}\""));
}

fn give_to_server(cluster: &TestCluster, directory: &std::path::Path) {
    use std::os::unix::fs::{MetadataExt, chown};
    let data = cluster.directory().join("data").metadata().unwrap();
    chown(directory, Some(data.uid()), Some(data.gid())).unwrap();
}

#[test]
fn a_subscription_is_said_to_hold_a_secret_and_comes_back_disabled() {
    for version in [Version::V15, Version::V18] {
        let scene = Scene::empty(version);
        let (cluster, name) = (scene.cluster(), scene.database.name());
        scene.database.sql(
            "CREATE SUBSCRIPTION sub CONNECTION 'host=nowhere.invalid password=hunter2' PUBLICATION p
                WITH (connect = false, slot_name = 'theirs')",
        );
        let output = scene.run(0, &["snapshot", "create"]);
        let said = "subscriptions hold a connection string, which is now in the snapshot; restored disabled: sub";
        assert!(output.stderr.contains(said) && !output.stderr.contains("hunter2"), "{}", output.stderr);
        let copy = format!("{name}_copy");
        scene.run(0, &["restore", output.stdout.trim(), "--to", &copy, "--yes"]);
        let query = format!(
            "SELECT subenabled, subslotname IS NULL, subconninfo FROM pg_subscription s JOIN pg_database d ON d.oid = subdbid
              WHERE datname = '{copy}'"
        );
        assert_eq!(cluster.query(&copy, &query), "f|t|host=nowhere.invalid password=hunter2");
        cluster.sql(&copy, "DROP SUBSCRIPTION sub");
        scene.database.sql("ALTER SUBSCRIPTION sub SET (slot_name = NONE); DROP SUBSCRIPTION sub");
    }
}

#[test]
fn invalid_indexes_unlogged_tables_and_prepared_transactions_are_said() {
    let scene = Scene::empty(Version::V15);
    let name = scene.database.name();
    scene.database.sql("CREATE TABLE t (a int); INSERT INTO t VALUES (1), (1); CREATE UNLOGGED TABLE fleeting (a int)");
    let failed = scene.cluster().try_sql(name, "CREATE UNIQUE INDEX CONCURRENTLY broken ON t (a)");
    assert!(failed.is_err(), "the rows are not unique");
    scene.database.sql(&format!("BEGIN; INSERT INTO t VALUES (7); PREPARE TRANSACTION '{name}_open'"));
    let output = scene.run(0, &["snapshot", "create"]);
    scene.database.sql(&format!("ROLLBACK PREPARED '{name}_open'"));
    for said in [
        "invalid indexes are recorded and will not come back: \"public\".\"broken\"".to_owned(),
        "unlogged tables are copied, but a crash of the server empties them: public.fleeting".to_owned(),
        format!("prepared transactions are not in the snapshot: {name}_open"),
    ] {
        assert!(output.stderr.contains(&said), "{said}:\n{}", output.stderr);
    }
    let shown = scene.run(0, &["snapshot", "show", output.stdout.trim()]).stdout;
    assert!(shown.contains("broken"), "it is recorded: {shown}");
    let copy = format!("{name}_copy");
    scene.run(0, &["restore", output.stdout.trim(), "--to", &copy, "--yes"]);
    assert_eq!(scene.cluster().query(&copy, "SELECT count(*), to_regclass('broken') IS NULL FROM t"), "2|t");
}
