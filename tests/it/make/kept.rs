//! What the migrations build is kept in a private server for the next `make` (`[shadow] max_cache`).

use std::sync::Arc;

use crate::support::{Scene, TestCluster, Version};

const DISH: &str = "CREATE TABLE dish (id bigint PRIMARY KEY, name text NOT NULL);\n";

/// On a server of its own: what is kept depends on the server's roles, and other tests make and drop roles on the shared one.
fn scene(version: Version) -> (Scene, tempfile::TempDir) {
    let scene = Scene::on(&Arc::new(TestCluster::start(version, &[])));
    let directory = tempfile::Builder::new().prefix("test-kept-").tempdir().expect("a directory");
    let text = std::fs::read_to_string(scene.project.directory().join("safe-migrate.toml")).expect("it has one");
    let dir = format!("max_cache = \"1GB\"\ndir = \"{}\"", directory.path().display());
    scene.project.configure(&text.replace("max_cache = \"0\"", &dir));
    scene.project.write_migration("menu", "0001_initial", &format!("-- migrate:up\n{DISH}"));
    scene.project.write("migrations/menu/schema.sql", DISH);
    (scene, directory)
}

fn ran_migrations(stderr: &str) -> bool {
    stderr.contains("from nothing")
}

/// The entries of the cache.
fn entries(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let caches = std::fs::read_dir(directory).expect("a directory").map(|one| one.expect("an entry").path());
    let names = caches.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains("cache")));
    names
        .flat_map(|path| std::fs::read_dir(path).expect("a directory"))
        .map(|one| one.expect("an entry").path())
        .collect()
}

#[test]
fn the_migrations_are_run_once() {
    for version in [Version::V15, Version::V18] {
        let (scene, directory) = scene(version);
        let first = scene.run(0, &["make"]);
        assert!(ran_migrations(&first.stderr), "{}", first.stderr);
        assert_eq!(first.stdout, "No changes detected\n");
        let second = scene.run(0, &["make"]);
        assert!(!ran_migrations(&second.stderr), "{}", second.stderr);
        assert_eq!(second.stdout, "No changes detected\n");
        // The difference is found and proven on the kept one as well; and what is written changes the history.
        scene.project.write("migrations/menu/schema.sql", &format!("{DISH}CREATE INDEX dish_name ON dish (name);\n"));
        let third = scene.run(0, &["make"]);
        assert!(
            !ran_migrations(&third.stderr) && third.stdout.contains("+ Create index dish_name"),
            "{}",
            third.stdout
        );
        let fourth = scene.run(0, &["make"]);
        assert!(ran_migrations(&fourth.stderr), "{}", fourth.stderr);
        assert_eq!(fourth.stdout, "No changes detected\n");
        // An older history is not kept beside it.
        assert_eq!(entries(directory.path()).len(), 1);
    }
}

#[test]
fn another_role_or_a_damaged_file_makes_it_anew() {
    let (scene, directory) = scene(Version::V18);
    scene.run(0, &["make"]);
    let role = scene.cluster().role("make_kept", "x", "CREATEDB");
    let after = scene.run(0, &["make"]);
    assert!(ran_migrations(&after.stderr), "the roles are others: {}", after.stderr);
    drop(role);
    scene.run(0, &["make"]);
    let [entry] = entries(directory.path()).try_into().expect("one entry");
    let file = entry.join("data/global/pg_control");
    let mut bytes = std::fs::read(&file).expect("it is there");
    bytes[100] ^= 1;
    std::fs::write(&file, bytes).expect("it can be written");
    let after = scene.run(0, &["make"]);
    assert!(ran_migrations(&after.stderr), "{}", after.stderr);
    assert_eq!(after.stdout, "No changes detected\n");
}

#[test]
fn nothing_is_left_beside_it() {
    let (scene, directory) = scene(Version::V15);
    scene.project.write("migrations/menu/schema.sql", "CREATE TABLE dish (id bigint PRIMARY KEY);\n");
    scene.run(0, &["make"]);
    scene.run(0, &["make"]);
    let left: Vec<_> = std::fs::read_dir(directory.path())
        .expect("a directory")
        .map(|one| one.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| !name.contains("cache") && !name.contains("templates"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
