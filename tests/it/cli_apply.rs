//! `apply` through the real binary: what is pending is applied, once, and what fails leaves no trace.

use crate::support::{Scene, Version};

fn applies_everything_once(version: Version) {
    let scene = Scene::dusangire(version);
    assert_eq!(scene.applied(), Vec::<String>::new());
    scene.run(0, &["apply", "--yes"]);
    let applied = scene.applied();
    for migration in ["accounts/0001_initial", "menu/0003_available_items", "orders/0003_created_at_index"] {
        assert!(applied.iter().any(|one| one == migration), "{migration} is not in {applied:?}");
    }
    let status = scene.run(0, &["status", "--check"]);
    for migration in &applied {
        let (app, name) = migration.split_once('/').unwrap();
        assert!(status.stdout.contains(app) && status.stdout.contains(name), "{migration}: {}", status.stdout);
    }
    assert_eq!(scene.database.query("SELECT count(*) FROM menu_available_items"), "0");
    assert_eq!(scene.snapshots().len(), 1, "one snapshot before the first run");

    let objects = scene.store.objects();
    let runs = scene.database.query("SELECT count(*) FROM safe_migrate.run");
    let again = scene.run(0, &["apply", "--yes"]);
    assert_eq!(again.stdout, "nothing to do\n");
    assert_eq!(scene.store.objects(), objects, "nothing to do writes nothing");
    assert_eq!(scene.database.query("SELECT count(*) FROM safe_migrate.run"), runs);
    assert_eq!(scene.applied(), applied);
}

#[test]
fn apply_on_an_empty_database_applies_all_apps_and_then_has_nothing_to_do() {
    applies_everything_once(Version::V15);
}

#[test]
fn apply_on_an_empty_database_applies_all_apps_and_then_has_nothing_to_do_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    applies_everything_once(Version::V18);
}

/// One applied migration with three rows; `0002_half` is what the test gives.
fn with_three_rows(half: &str) -> Scene {
    let scene = Scene::empty(Version::V15);
    let table =
        "-- migrate:up\nCREATE TABLE dish (id int PRIMARY KEY, name text);\n-- migrate:down\nDROP TABLE dish;\n";
    scene.project.write_migration("kitchen", "0001_dish", table);
    scene.run(0, &["apply", "--yes"]);
    scene.database.sql("INSERT INTO dish VALUES (1, 'isombe'), (2, 'ubugari'), (3, 'isombe')");
    scene.project.write_migration("kitchen", "0002_half", half);
    scene
}

/// Its first two statements go through; the third, in line 5, does not.
const HALF: &str = "-- migrate:up
ALTER TABLE dish ADD COLUMN price int;
UPDATE dish SET price = 1000 WHERE id > 0;

ALTER TABLE dish ADD CONSTRAINT dish_name_key UNIQUE (name);
-- migrate:down
ALTER TABLE dish DROP CONSTRAINT dish_name_key;
ALTER TABLE dish DROP COLUMN price;
";

#[test]
fn a_migration_that_fails_half_way_is_caught_by_the_rehearsal() {
    let scene = with_three_rows(HALF);
    let before = scene.database.dump();
    let output = scene.run(3, &["apply", "--yes"]);
    assert!(output.stderr.contains("0002_half.sql:5"), "{}", output.stderr);
    assert!(output.stderr.contains("dish_name_key"), "{}", output.stderr);
    assert_eq!(scene.database.dump(), before, "production, its ledger included, is untouched");
    assert_eq!(scene.snapshots().len(), 2);
}

#[test]
fn a_migration_that_fails_half_way_in_production_leaves_schema_rows_and_ledger_as_before() {
    let scene = with_three_rows(HALF);
    let (schema, rows, applied) = (scene.schema(), scene.database.query("SELECT * FROM dish"), scene.applied());
    let output = scene.run(1, &["apply", "--yes", "--skip-rehearsal", "test"]);
    assert!(output.stderr.contains("0002_half.sql:5"), "{}", output.stderr);
    assert!(output.stderr.contains("unchanged"), "{}", output.stderr);
    assert_eq!(scene.schema(), schema);
    assert_eq!(scene.database.query("SELECT * FROM dish"), rows);
    assert_eq!(scene.applied(), applied);
    let last = "SELECT outcome, bypass FROM safe_migrate.run ORDER BY started_at DESC LIMIT 1";
    assert_eq!(scene.database.query(last), "failed|no rehearsal: test");

    scene.database.sql("UPDATE dish SET name = 'isombe 2' WHERE id = 3");
    scene.run(0, &["apply", "--yes"]);
    assert_eq!(scene.applied(), ["kitchen/0001_dish", "kitchen/0002_half"]);
}

const CONCURRENTLY: &str = "-- migrate:up transaction:false
CREATE UNIQUE INDEX CONCURRENTLY dish_name ON dish (name);
-- migrate:down transaction:false
DROP INDEX CONCURRENTLY dish_name;
";

#[test]
fn an_index_that_cannot_be_built_concurrently_leaves_no_invalid_index() {
    let scene = with_three_rows(CONCURRENTLY);
    let schema = scene.schema();
    let output = scene.run(1, &["apply", "--yes", "--skip-rehearsal", "test"]);
    assert!(output.stderr.contains("0002_half.sql:2"), "{}", output.stderr);
    assert_eq!(scene.database.query("SELECT count(*) FROM pg_index WHERE NOT indisvalid"), "0");
    assert_eq!(scene.schema(), schema);
    assert_eq!(scene.applied(), ["kitchen/0001_dish"]);

    scene.run(3, &["apply", "--yes"]);
    scene.database.sql("DELETE FROM dish WHERE id = 3");
    scene.run(0, &["apply", "--yes"]);
    assert_eq!(scene.applied(), ["kitchen/0001_dish", "kitchen/0002_half"]);
    let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'dish_name'::regclass";
    assert_eq!(scene.database.query(valid), "t");
}

#[test]
fn an_index_without_a_name_that_cannot_be_built_leaves_no_invalid_index() {
    let scene = with_three_rows("-- migrate:up transaction:false\nCREATE UNIQUE INDEX CONCURRENTLY ON dish (name);\n");
    scene.run(1, &["apply", "--yes", "--skip-rehearsal", "test"]);
    assert_eq!(scene.database.query("SELECT count(*) FROM pg_index WHERE NOT indisvalid"), "0");
    scene.database.sql("DELETE FROM dish WHERE id = 3");
    scene.run(0, &["apply", "--yes"]);
    assert_eq!(scene.database.query("SELECT count(*) FROM pg_index WHERE indrelid = 'dish'::regclass"), "2");
}

#[test]
fn rows_written_while_the_run_is_prepared_are_named_before_production_is_touched() {
    let scene = with_three_rows("-- migrate:up\nCREATE TABLE menu (id int);\n-- migrate:down\nDROP TABLE menu;\n");
    let done = std::sync::atomic::AtomicBool::new(false);
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                scene.database.sql("INSERT INTO dish SELECT max(id) + 1, 'ubugari' FROM dish");
            }
        });
        let output = scene.run(0, &["apply", "--yes"]);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        output
    });
    let gap = output.stderr.find("written since the snapshot began").expect("the gap is named");
    assert!(gap < output.stderr.find("applied kitchen/0002_half").unwrap(), "{}", output.stderr);
}
