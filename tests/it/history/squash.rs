//! `squash`, and databases that have all, some or none of what it replaces.

use crate::support::{Scene, Version};

fn menu(version: Version) -> Scene {
    let scene = Scene::empty(version).let_data_go();
    let write = |name: &str, text: &str| scene.project.write_migration("menu", name, text);
    write(
        "0001_initial",
        "-- migrate:up\nCREATE TABLE dish (\n    id bigint PRIMARY KEY\n);\nCREATE TABLE fax (number text);\nINSERT INTO dish VALUES (1), (2);\n-- migrate:down\nDROP TABLE fax;\nDROP TABLE dish;\n",
    );
    write(
        "0002_name",
        "-- migrate:up\nALTER TABLE dish ADD COLUMN name text;\nUPDATE dish SET name = 'dish ' || id WHERE name IS NULL;\n-- migrate:down\nALTER TABLE dish DROP COLUMN name;\n",
    );
    write(
        "0003_name_index",
        "-- migrate:up transaction:false\nCREATE INDEX CONCURRENTLY dish_name ON dish (name);\n-- migrate:down transaction:false\nDROP INDEX CONCURRENTLY dish_name;\n",
    );
    write(
        "0004_no_fax",
        "-- allow: drop-table nobody has one\n-- migrate:up\nDROP TABLE fax;\n-- migrate:down\nCREATE TABLE fax (number text);\n",
    );
    write(
        "0005_price",
        "-- migrate:up\nALTER TABLE dish ADD COLUMN price numeric(8,2);\n-- migrate:down\nALTER TABLE dish DROP COLUMN price;\n",
    );
    scene.project.write_migration("orders", "0001_initial", "-- depends: menu/0002_name\n-- migrate:up\nCREATE TABLE orders_order (dish bigint REFERENCES dish);\n-- migrate:down\nDROP TABLE orders_order;\n");
    scene
}

/// What is rehearsed is another test's matter.
const APPLY: [&str; 6] = ["apply", "--yes", "--skip-snapshot", "a test", "--skip-rehearsal", "a test"];
const FIRST: [&str; 8] = ["apply", "menu", "0002", "--yes", "--skip-snapshot", "a test", "--skip-rehearsal", "a test"];
const SQUASH: [&str; 4] = ["squash", "menu", "0001", "0004"];

#[test]
fn a_squash_is_shorter_and_proven() {
    let scene = menu(Version::V18);
    let output = scene.run(0, &SQUASH);
    insta::assert_snapshot!(scene.project.render(&SQUASH, &output), @"
    $ safe-migrate squash menu 0001 0004
    exit 0
    --- stdout
    optimized from 7 statements to 5
    created migrations/menu/0001_squashed_0004_no_fax.sql: it builds the same schema and rows
    leave the 4 originals where they are: databases that have some of them need them;
    `safe-migrate status` says on each database when it does not any more
    --- stderr
    warning: [PROJECT]/safe-migrate.toml holds a password; keep it in a passfile, in PGPASSWORD or behind [database] password_command
    running menu/0001_initial, menu/0002_name, menu/0003_name_index, menu/0004_no_fax from nothing
    running the squash from nothing
      table fax is made and dropped
    ");
    let text = std::fs::read_to_string(scene.project.migrations().join("menu/0001_squashed_0004_no_fax.sql")).unwrap();
    insta::assert_snapshot!(text, @"
    -- menu/0001_initial to menu/0004_no_fax in one, proven to build the same.
    -- replaces: menu/0001_initial, menu/0002_name, menu/0003_name_index, menu/0004_no_fax
    -- allow: drop-table nobody has one
    -- migrate:up

    -- menu/0001_initial
    CREATE TABLE dish (
        id bigint PRIMARY KEY
    );
    INSERT INTO dish VALUES (1), (2);

    -- menu/0002_name
    ALTER TABLE dish ADD COLUMN name text;
    UPDATE dish SET name = 'dish ' || id WHERE name IS NULL;

    -- menu/0003_name_index
    CREATE INDEX dish_name ON dish (name);

    -- migrate:down

    -- menu/0004_no_fax
    CREATE TABLE fax (number text);

    -- menu/0003_name_index
    DROP INDEX dish_name;

    -- menu/0002_name
    ALTER TABLE dish DROP COLUMN name;

    -- menu/0001_initial
    DROP TABLE fax;
    DROP TABLE dish;
    ");
    let again = scene.run(2, &SQUASH);
    assert!(
        again.stderr.contains("nothing to squash") || again.stderr.contains("has no migration"),
        "{}",
        again.stderr
    );
}

#[test]
fn databases_that_have_none_all_or_some_end_right() {
    let scenes = [menu(Version::V15), menu(Version::V15), menu(Version::V15)];
    let [none, all, some] = &scenes;
    all.run(0, &FIRST);
    all.run(0, &APPLY);
    some.run(0, &FIRST);
    for scene in &scenes {
        scene.run(0, &SQUASH);
    }
    let file = "menu/0001_squashed_0004_no_fax";
    let waits = some.run(0, &["status"]);
    assert!(
        waits.stdout.contains(&format!("{file} waits: this database has some of what it replaces")),
        "{}",
        waits.stdout
    );
    for scene in &scenes {
        scene.run(0, &APPLY);
    }
    assert_eq!(none.applied(), [file, "menu/0005_price", "orders/0001_initial"]);
    assert_eq!(some.applied().len(), 6, "{:?}", some.applied());
    // The next writing command records it where all is there.
    all.run(0, &APPLY);
    let recorded = some.run(0, &APPLY);
    assert!(
        recorded.stderr.contains(&format!("{file} counts as applied: this database has all that it replaces")),
        "{}",
        recorded.stderr
    );
    let sorted = |scene: &Scene| {
        let mut lines: Vec<String> = scene.schema().lines().map(|line| line.trim_end_matches(',').to_owned()).collect();
        lines.sort();
        lines
    };
    for scene in [all, some] {
        assert_eq!(sorted(scene), sorted(none));
        let status = scene.run(0, &["status", "--check"]);
        assert!(status.stdout.contains("[X] 0001_squashed_0004_no_fax"), "{}", status.stdout);
        assert!(
            status
                .stdout
                .contains(&format!("{file} replaces 4 migrations whose files this database does not need any more"))
        );
    }
    // So they can go, on each of them.
    for scene in &scenes {
        for name in ["0001_initial", "0002_name", "0003_name_index", "0004_no_fax"] {
            std::fs::remove_file(scene.project.migrations().join(format!("menu/{name}.sql"))).unwrap();
        }
        scene.run(0, &["status", "--check"]);
        assert_eq!(scene.run(0, &APPLY).stdout, "nothing to do\n");
    }
    // And back to nothing, and forth.
    for scene in &scenes {
        scene.run(0, &["rollback", "menu", "zero", "--yes"]);
        assert!(scene.applied().is_empty(), "{:?}", scene.applied());
        assert!(!scene.schema().contains("CREATE TABLE"), "{}", scene.schema());
        scene.run(0, &APPLY);
        assert_eq!(sorted(scene), sorted(none));
    }
}

#[test]
fn files_that_a_database_needs_are_asked_for() {
    let scene = menu(Version::V15);
    scene.run(0, &["apply", "menu", "0002", "--yes"]);
    scene.run(0, &SQUASH);
    std::fs::remove_file(scene.project.migrations().join("menu/0004_no_fax.sql")).unwrap();
    let output = scene.run(2, &["apply", "--yes"]);
    assert!(output.stderr.contains("the database has menu/0001_initial, menu/0002_name, which menu/0001_squashed_0004_no_fax replaces, but not menu/0004_no_fax, and there is no file of that any more"), "{}", output.stderr);
    assert!(output.stderr.contains("hint: bring this database up with a release that still has the replaced files"));
}

#[test]
fn what_cannot_be_squashed_says_why() {
    let scene = menu(Version::V15);
    for (arguments, part) in [
        (["squash", "menu", "0002", "0002"], "nothing to squash: menu/0002_name is both the first and the last"),
        (["squash", "menu", "0004", "0001"], "hint: safe-migrate squash menu 0001_initial 0004_no_fax"),
        (["squash", "menus", "0001", "0002"], "did you mean `menu`?"),
        (["squash", "menu", "0001", "0009"], "app `menu` has no migration `0009`"),
    ] {
        let output = scene.run(2, &arguments);
        assert!(output.stderr.contains(part), "{arguments:?}: {}", output.stderr);
    }
    // A migration of another app in between.
    scene.project.write_migration(
        "menu",
        "0006_ordered",
        "-- depends: orders/0001_initial\n-- migrate:up\nSELECT 1;\n",
    );
    let between = scene.run(2, &["squash", "menu", "0001", "0006"]);
    assert!(
        between
            .stderr
            .contains("menu/0006_ordered stands on orders/0001_initial, and that on an earlier one of the range"),
        "{}",
        between.stderr
    );
    // A branch within the range.
    let branch = scene.project.write_migration(
        "menu",
        "0004_other",
        "-- depends: menu/0003_name_index\n-- migrate:up\nSELECT 1;\n",
    );
    scene.project.write_migration("menu", "0005_price", "-- depends: menu/0004_no_fax\n-- migrate:up\nSELECT 1;\n");
    let gap = scene.run(2, &["squash", "menu", "0001", "0005"]);
    assert!(
        gap.stderr.contains("menu/0004_other lies between menu/0001_initial and menu/0005_price, on another branch"),
        "{}",
        gap.stderr
    );
    std::fs::remove_file(branch).unwrap();
    // Batches.
    scene.project.write_migration("menu", "0006_ordered", "-- migrate:up transaction:false batch:10 key:dish.id\nUPDATE dish SET price = 1 WHERE id > :from AND id <= :to;\n");
    let batches = scene.run(2, &["squash", "menu", "0001", "0006"]);
    assert!(batches.stderr.contains("menu/0006_ordered runs in batches"), "{}", batches.stderr);
}

#[test]
fn the_restaurant_squashed_app_by_app_is_the_same() {
    let scene = Scene::dusangire(Version::V15);
    scene.run(0, &["squash", "accounts", "0001", "0006"]);
    scene.run(0, &["squash", "menu", "0001", "0008"]);
    scene.run(0, &["squash", "support", "0001", "0005"]);
    scene.run(0, &APPLY);
    let plain = Scene::dusangire(Version::V15);
    plain.run(0, &APPLY);
    // With the originals applied the squashes count as applied, and both have the same schema but for the order of columns.
    let sorted = |scene: &Scene| {
        let mut lines: Vec<String> = scene.schema().lines().map(|line| line.trim_end_matches(',').to_owned()).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&scene), sorted(&plain));
}
