//! P6: restore destroys nothing: the old database is kept, and a restore that fails leaves everything alone.

use crate::support::{Scene, Version};

#[test]
fn promise_06_the_old_database_is_kept_with_its_rows() {
    let scene = Scene::dusangire(Version::V15);
    scene.run(0, &["apply", "--yes"]);
    scene.take_snapshot();
    scene.database.sql("INSERT INTO menu_category (name, slug) VALUES ('after', 'the snapshot')");
    let old = scene.database.dump();
    let output = scene.run(0, &["restore", "latest", "--in-place", "--yes"]);
    assert_eq!(scene.database.query("SELECT count(*) FROM menu_category"), "0");

    let databases = scene.databases();
    assert_eq!(databases.len(), 2, "{databases:?}");
    let kept = &databases[1];
    assert!(output.stdout.contains(kept.as_str()), "{}", output.stdout);
    // A careful restore may keep it closed; it is there.
    scene.cluster().sql("postgres", &format!("ALTER DATABASE {kept} ALLOW_CONNECTIONS true"));
    assert_eq!(scene.cluster().query(kept, "SELECT slug FROM menu_category"), "the snapshot");
    assert!(old.contains("the snapshot"));
}

#[test]
fn promise_06_a_name_that_is_taken_is_not_overwritten() {
    let scene = Scene::dusangire(Version::V15);
    scene.run(0, &["apply", "--yes"]);
    let taken = format!("{}_taken", scene.database.name());
    scene.cluster().sql("postgres", &format!("CREATE DATABASE {taken}"));
    scene.cluster().sql(&taken, "CREATE TABLE precious (a int)");
    scene.run(1, &["restore", "latest", "--to", &taken, "--yes"]);
    assert_eq!(scene.cluster().query(&taken, "SELECT count(*) FROM precious"), "0");
    scene.run(1, &["restore", "latest", "--to", scene.database.name(), "--yes"]);
    assert_eq!(scene.database.query("SELECT count(*) FROM menu_category"), "0");
    scene.run(1, &["restore", "--swap", &taken, "--yes"]);
    assert_eq!(scene.databases(), [scene.database.name(), &taken]);
}

#[test]
fn promise_06_without_a_yes_nothing_is_restored() {
    let scene = Scene::dusangire(Version::V15);
    scene.run(0, &["apply", "--yes"]);
    scene.run(3, &["restore", "latest", "--in-place"]);
    scene.run(0, &["restore", "latest", "--in-place", "--dry-run"]);
    assert_eq!(scene.databases(), [scene.database.name()]);
}
