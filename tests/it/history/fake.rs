//! `apply --fake`, `--fake-initial`, `rollback --fake`: recorded only when it is true.

use crate::support::{Scene, Version};

const TABLE: &str = "-- migrate:up\nCREATE TABLE dish (id bigint PRIMARY KEY, name text NOT NULL);\nCREATE INDEX dish_name ON dish (name);\n\
                     -- migrate:down\nDROP TABLE dish;\n";
const PRICE: &str = "-- migrate:up\nALTER TABLE dish ADD COLUMN price numeric(8,2) NOT NULL DEFAULT 0;\n\
                     CREATE TABLE old_price (dish bigint REFERENCES dish, price numeric(8,2));\n-- migrate:down\nDROP TABLE old_price;\nALTER TABLE dish DROP COLUMN price;\n";

fn menu(version: Version) -> Scene {
    let scene = Scene::empty(version);
    scene.project.write_migration("menu", "0001_initial", TABLE);
    scene.project.write_migration("menu", "0002_price", PRICE);
    scene
}

#[test]
fn what_is_there_is_recorded_and_nothing_is_run() {
    let scene = menu(Version::V15);
    scene.run(0, &["apply", "menu", "0001", "--yes"]);
    // By hand, in another order than the migration's.
    scene.database.sql("CREATE TABLE old_price (dish bigint REFERENCES dish, price numeric(8,2)); INSERT INTO dish VALUES (1, 'ubugari'); ALTER TABLE dish ADD COLUMN price numeric(8,2) NOT NULL DEFAULT 0");
    let before = scene.schema();
    let planned = scene.run(0, &["apply", "menu", "0002", "--fake", "--dry-run"]);
    assert!(planned.stdout.starts_with("would record as applied:\n  menu/0002_price  ("), "{}", planned.stdout);
    assert_eq!(scene.applied(), ["menu/0001_initial"]);
    let output = scene.run(0, &["apply", "menu", "0002", "--fake", "--yes"]);
    assert!(output.stdout.contains("1 migration recorded as applied, none was run"), "{}", output.stdout);
    assert!(output.stderr.contains("record menu/0002_price as applied, without running it"), "{}", output.stderr);
    assert_eq!(scene.applied(), ["menu/0001_initial", "menu/0002_price"]);
    assert_eq!(scene.schema(), before);
    assert_eq!(scene.database.query("SELECT how FROM safe_migrate.migration WHERE name = '0002_price'"), "fake");
    assert!(scene.run(0, &["status"]).stdout.contains("(fake)"));
    // It is no drift: the schema was recorded.
    scene.run(0, &["apply", "--yes"]);
}

#[test]
fn what_is_not_there_is_refused_object_by_object() {
    let scene = menu(Version::V18);
    scene.run(0, &["apply", "menu", "0001", "--yes"]);
    scene.database.sql("ALTER TABLE dish ADD COLUMN price numeric(6,2) NOT NULL DEFAULT 0");
    let output = scene.run(3, &["apply", "--fake", "--yes"]);
    assert!(output.stderr.contains("does not have all of menu/0002_price (- wanted, + found):"), "{}", output.stderr);
    assert!(output.stderr.contains("-     price numeric(8,2) DEFAULT 0 NOT NULL"), "{}", output.stderr);
    assert!(output.stderr.contains("+     price numeric(6,2) DEFAULT 0 NOT NULL"), "{}", output.stderr);
    assert!(output.stderr.contains("- TABLE public.old_price"), "{}", output.stderr);
    assert!(
        output
            .stderr
            .contains("production: unchanged\nhint: apply it; if it is right all the same: --force-fake REASON")
    );
    assert_eq!(scene.applied(), ["menu/0001_initial"]);
    scene.run(2, &["apply", "--force-fake", "the DBA says so", "--yes"]);
    scene.run(2, &["apply", "--fake", "--force-fake", " ", "--yes"]);
    let forced = scene.run(0, &["apply", "--fake", "--force-fake", "the DBA says so", "--yes"]);
    assert!(forced.stdout.contains("menu/0002_price  (not checked)"), "{}", forced.stdout);
    let bypass = scene.database.query("SELECT bypass FROM safe_migrate.run WHERE bypass IS NOT NULL");
    assert_eq!(bypass, "faked without a check: the DBA says so");
}

#[test]
fn the_first_migrations_are_faked_where_their_tables_are() {
    let scene = menu(Version::V15);
    scene.project.write_migration("orders", "0001_initial", "-- depends: menu/0001_initial\n-- migrate:up\nCREATE TABLE orders_order (id bigint PRIMARY KEY, dish bigint REFERENCES dish);\n");
    scene
        .database
        .sql("CREATE TABLE dish (id bigint PRIMARY KEY, name text NOT NULL); CREATE INDEX dish_name ON dish (name)");
    let output = scene.run(0, &["apply", "--fake-initial", "--yes"]);
    assert!(
        output.stderr.contains("1 migration recorded as applied, none was run\n  menu/0001_initial"),
        "{}",
        output.stderr
    );
    assert!(output.stdout.contains(": 2 migrations in"), "{}", output.stdout);
    let how = scene.database.query("SELECT name || ' ' || how FROM safe_migrate.migration ORDER BY app, name");
    assert_eq!(how, "0001_initial fake\n0002_price apply\n0001_initial apply");
}

#[test]
fn a_first_migration_that_is_half_there_is_refused() {
    let scene = menu(Version::V15);
    scene.database.sql("CREATE TABLE dish (id bigint PRIMARY KEY, name text NOT NULL)");
    let output = scene.run(3, &["apply", "--fake-initial", "--yes"]);
    assert!(output.stderr.contains("- INDEX public.dish_name"), "{}", output.stderr);
    assert!(scene.applied().is_empty());
}

#[test]
fn what_was_undone_by_hand_is_forgotten() {
    let scene = menu(Version::V15);
    scene.begin_applied();
    let refused = scene.run(3, &["rollback", "menu", "0001", "--fake", "--yes"]);
    assert!(refused.stderr.contains("still has something of menu/0002_price"), "{}", refused.stderr);
    scene.database.sql("DROP TABLE old_price; ALTER TABLE dish DROP COLUMN price");
    let output = scene.run(0, &["rollback", "menu", "0001", "--fake", "--yes"]);
    assert!(output.stdout.contains("1 migration recorded as not applied, none was run"), "{}", output.stdout);
    assert_eq!(scene.applied(), ["menu/0001_initial"]);
    scene.run(0, &["apply", "--yes"]);
}

#[test]
fn a_fake_of_nothing_and_of_an_unknown_app() {
    let scene = menu(Version::V15);
    scene.begin_applied();
    assert_eq!(scene.run(0, &["apply", "--fake", "--yes"]).stdout, "nothing to record\n");
    let unknown = scene.run(2, &["apply", "menus", "--fake", "--yes"]);
    assert!(unknown.stderr.contains("did you mean `menu`?"), "{}", unknown.stderr);
    // There is nobody to ask.
    scene.project.write_migration("menu", "0003_x", "-- migrate:up\nSELECT 1;\n");
    let unasked = scene.run(3, &["apply", "--fake"]);
    assert!(unasked.stderr.contains("needs a confirmation"), "{}", unasked.stderr);
}
