//! `snapshot export`: archives that PostgreSQL's own programs take.

use std::path::Path;

use crate::support::{Contents, Scene, Version, dump_and_restore, output_of};

/// Makes an empty database and fills it from an export, as the output of the command says.
fn take_in(scene: &Scene, path: &Path, database: &str) {
    scene.cluster().sql("postgres", &format!("CREATE DATABASE {database} TEMPLATE template0"));
    let url = scene.cluster().socket_url(database);
    let mut program = if path.extension().is_some_and(|extension| extension == "sql") {
        let mut psql = scene.cluster().program("psql");
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &url, "-f"]);
        psql
    } else {
        let mut pg_restore = scene.cluster().program("pg_restore");
        pg_restore.args(["--exit-on-error", "-d", &url]);
        pg_restore
    };
    output_of(program.arg(path));
}

fn exported(scene: &Scene, version: Version) {
    scene.database.sql(include_str!("support/rich.sql"));
    scene.database.sql("TRUNCATE fleeting");
    let name = scene.database.name();
    scene.database.sql(&format!("ALTER DATABASE {name} SET work_mem = '7MB'"));
    scene.take_snapshot();
    let oracle = format!("{name}_oracle");
    dump_and_restore(scene.cluster(), name, &oracle);
    let expected = Contents::of(scene.cluster(), name);
    scene.database.sql("DROP TABLE types");
    for (format, file) in [("custom", "rich.dump"), ("directory", "rich"), ("plain", "rich.sql")] {
        let output = scene.run(0, &["snapshot", "export", "latest", "--format", format, "--output", file]);
        assert!(output.stdout.starts_with(&format!("{file}: snapshot ")), "{}", output.stdout);
        assert!(!output.stderr.contains("left out"), "{}", output.stderr);
        let copy = format!("{name}_{format}");
        take_in(scene, &scene.project.directory().join(file), &copy);
        assert_eq!(Contents::of(scene.cluster(), &copy), expected, "{version:?}, {format}");
        assert_eq!(scene.schema_of(&copy), scene.schema_of(&oracle), "{version:?}, {format}");
    }
    // With --create the archive brings the settings of the database too, and no mark of a shadow.
    let archive = scene.project.directory().join("rich.dump");
    let created =
        output_of(scene.cluster().program("pg_restore").args(["--create", "--schema-only", "-f", "-"]).arg(archive));
    assert!(created.contains("SET work_mem TO '7MB'"), "the settings of the database");
    assert!(!created.contains("safe_migrate.mark"), "the mark of the shadow");
}

#[test]
fn an_export_is_the_snapshot_for_pg_restore_and_psql() {
    exported(&Scene::empty(Version::V15), Version::V15);
}

#[test]
fn an_export_of_18_is_the_snapshot_too() {
    exported(&Scene::empty(Version::V18), Version::V18);
}

#[test]
fn an_export_names_what_it_leaves_out() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql(
        "CREATE EXTENSION postgres_fdw;
         CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1');
         CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (password 'hunter2hunter2');
         CREATE SUBSCRIPTION feed CONNECTION 'host=127.0.0.1 password=hunter2hunter2' PUBLICATION p WITH (connect = false)",
    );
    scene.take_snapshot();
    let output = scene.run(0, &["snapshot", "export", "latest", "--format", "plain", "--output", "out.sql"]);
    for left_out in ["SUBSCRIPTION - feed", "USER MAPPING - USER MAPPING public SERVER far"] {
        assert!(output.stderr.contains(left_out), "{}", output.stderr);
    }
    let text = std::fs::read_to_string(scene.project.directory().join("out.sql")).unwrap();
    assert!(text.contains("CREATE SERVER far") && !text.contains("hunter2hunter2"));
    scene.database.sql("ALTER SUBSCRIPTION feed SET (slot_name = NONE); DROP SUBSCRIPTION feed");
}

#[test]
fn an_export_overwrites_nothing_and_leaves_nothing_behind() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 1000) i");
    scene.take_snapshot();
    let names = || {
        let entries = std::fs::read_dir(scene.project.directory()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    scene.project.write("mine.dump", "mine");
    let before = names();
    let refused = scene.run(2, &["snapshot", "export", "latest", "--output", "mine.dump"]);
    assert!(refused.stderr.contains("mine.dump exists already"), "{}", refused.stderr);
    assert_eq!(std::fs::read_to_string(scene.project.directory().join("mine.dump")).unwrap(), "mine");
    let refused = scene.run(1, &["snapshot", "export", "latest", "--output", "no/such/place.dump"]);
    assert!(refused.stderr.contains("no/such"), "{}", refused.stderr);

    let (key, mut bytes) = scene.store.objects().into_iter().find(|(key, _)| key.starts_with("chunks/")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(scene.store.directory().join(&key), bytes).unwrap();
    let refused = scene.run(6, &["snapshot", "export", "latest", "--output", "new.dump"]);
    assert!(refused.stderr.contains(&key), "{}", refused.stderr);
    assert_eq!(names(), before);
}
