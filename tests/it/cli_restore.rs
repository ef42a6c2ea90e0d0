//! `restore` through the real binary: the database as it was, table by table, compared by psql and pg_dump alone.

use crate::support::{Contents, Scene, Version, clean_command, dump_and_restore};

const RICH: &str = include_str!("support/rich.sql");

fn a_copy_equals_the_database_at_snapshot_time(version: Version) {
    let scene = Scene::dusangire(version);
    scene.begin_applied();
    scene.database.sql(RICH);
    let (cluster, name) = (scene.cluster(), scene.database.name());
    let expected = Contents::of(cluster, name);
    let (plain, copy) = (format!("{name}_plain"), format!("{name}_copy"));
    dump_and_restore(cluster, name, &plain);
    scene.take_snapshot();

    scene.database.sql(
        "DELETE FROM types; DROP TABLE dropped; INSERT INTO duplicates VALUES (9); SELECT nextval('by_hand');
         SELECT lo_unlink(424242); ALTER TABLE guarded ADD COLUMN later int; DROP TABLE by_mood CASCADE",
    );
    let changed = scene.database.dump();
    let output = scene.run(0, &["restore", "latest", "--to", &copy, "--yes"]);
    assert!(output.stdout.contains("proven:"), "{}", output.stdout);
    let found = Contents::of(cluster, &copy);
    assert_eq!(found.relations.len(), expected.relations.len());
    for (found, expected) in found.relations.iter().zip(&expected.relations) {
        if expected.0 != "public.fleeting" {
            assert_eq!(found, expected);
        }
    }
    assert_eq!(scene.schema_of(&copy), scene.schema_of(&plain));
    assert_eq!(scene.database.dump(), changed, "the live database is left alone");
}

#[test]
fn a_restored_copy_equals_the_database_at_snapshot_time() {
    a_copy_equals_the_database_at_snapshot_time(Version::V15);
}

#[test]
fn a_restored_copy_equals_the_database_at_snapshot_time_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    a_copy_equals_the_database_at_snapshot_time(Version::V18);
}

#[test]
fn a_dropped_database_comes_back_with_store_database_and_id_alone() {
    let scene = Scene::dusangire(Version::V15);
    scene.begin_applied();
    scene.database.sql("INSERT INTO menu_category (name, slug) VALUES ('Ibirayi', 'ibirayi')");
    let (id, dump) = (scene.take_snapshot(), scene.database.dump());
    let (cluster, name) = (scene.cluster(), scene.database.name());
    let contents = Contents::of(cluster, name);
    cluster.sql("postgres", &format!("DROP DATABASE {name}"));

    let empty = tempfile::tempdir().unwrap();
    let output = clean_command(env!("CARGO_BIN_EXE_safe-migrate"))
        .args(["restore", &id, "--in-place", "--yes", "--store", &scene.store.url()])
        .args(["--database", &cluster.url("postgres")])
        .current_dir(empty.path())
        .env("HOME", empty.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(Contents::of(cluster, name), contents);
    assert_eq!(scene.databases(), [name], "nothing else is left");
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0, "nothing is written into the working directory");

    // It is production again: the ledger goes on where it was.
    assert_eq!(scene.run(0, &["apply", "--yes"]).stdout, "nothing to do\n");
    assert!(dump.contains("ibirayi") && scene.database.dump().contains("ibirayi"));
}

#[test]
fn a_restore_beside_is_put_in_place_by_the_command_that_it_prints() {
    let scene = Scene::dusangire(Version::V15);
    scene.begin_applied();
    let id = scene.take_snapshot();
    scene.database.sql("DROP TABLE orders_orderitem");
    let output = scene.run(0, &["restore", &id, "--yes"]);
    let beside = format!("{}_restored_{}", scene.database.name(), id.to_lowercase().replace('-', "_"));
    let command = format!("safe-migrate restore --swap {beside}");
    assert!(output.stdout.trim_end().ends_with(&command), "{}", output.stdout);
    assert_eq!(scene.databases().len(), 2);

    scene.run(0, &["restore", "--swap", &beside, "--yes"]);
    assert_eq!(scene.database.query("SELECT count(*) FROM orders_orderitem"), "0");
    let databases = scene.databases();
    assert_eq!(databases.len(), 2, "{databases:?}");
    assert!(databases[1].contains("_before_"), "{databases:?}");
}
