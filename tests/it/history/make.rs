//! `make --empty`, `make --merge`, `make --renumber`: as `makemigrations` has them, and proven.

use crate::support::{Scene, Version};

fn conflict(version: Version, left: &str, right: &str) -> Scene {
    let scene = Scene::empty(version);
    scene.project.write_migration("menu", "0001_initial", "-- migrate:up\nCREATE TABLE dish (id bigint PRIMARY KEY, name text);\nINSERT INTO dish VALUES (1, 'ubugari');\n-- migrate:down\nDROP TABLE dish;\n");
    scene.project.write_migration("menu", "0002_allergens", &format!("-- migrate:up\n{left}\n-- migrate:down\n"));
    scene.project.write_migration("menu", "0002_calories", &format!("-- migrate:up\n{right}\n-- migrate:down\n"));
    scene
}

const LEFT: &str = "ALTER TABLE dish ADD COLUMN allergens text NOT NULL DEFAULT '';";
const RIGHT: &str = "ALTER TABLE dish ADD COLUMN calories int;\nUPDATE dish SET calories = 340;";

#[test]
fn two_leaves_that_commute_are_merged() {
    let scene = conflict(Version::V18, LEFT, RIGHT);
    let refused = scene.run(3, &["apply", "--yes"]);
    assert!(refused.stderr.contains("`safe-migrate make --merge` tries them in both orders"), "{}", refused.stderr);
    let dry = scene.run(0, &["make", "--merge", "--dry-run"]);
    insta::assert_snapshot!(scene.project.render(&["make", "--merge", "--dry-run"], &dry), @"
    $ safe-migrate make --merge --dry-run
    exit 0
    --- stdout
    both orders lead to the same schema and rows; would create migrations/menu/0003_merge_0002_allergens_0002_calories.sql:
    -- Merges two branches; run in both orders they lead to the same schema and rows.
    -- depends: menu/0002_allergens, menu/0002_calories
    -- migrate:up
    -- migrate:down
    --- stderr
    warning: [PROJECT]/safe-migrate.toml holds a password; keep it in a passfile, in PGPASSWORD or behind [database] password_command
    Merging menu
      Branch 0002_allergens
        - ALTER TABLE dish ADD COLUMN allergens text NOT NULL DEFAULT ''
      Branch 0002_calories
        - ALTER TABLE dish ADD COLUMN calories int
        - UPDATE dish SET calories = 340
    ");
    scene.run(3, &["apply", "--yes"]);
    let output = scene.run(0, &["make", "menu", "--merge"]);
    assert_eq!(
        output.stdout,
        "both orders lead to the same schema and rows; created migrations/menu/0003_merge_0002_allergens_0002_calories.sql\n"
    );
    scene.run(0, &["apply", "--yes"]);
    assert_eq!(scene.run(0, &["make", "--merge"]).stdout, "No conflicts detected to merge.\n");
    scene.run(0, &["rollback", "menu", "0001", "--yes", "--skip-rehearsal", "the down sections are empty"]);
}

#[test]
fn leaves_that_clash_are_not_merged() {
    let scene =
        conflict(Version::V15, "UPDATE dish SET name = name || ' n''inyama';", "UPDATE dish SET name = upper(name);");
    let output = scene.run(3, &["make", "--merge"]);
    assert!(output.stderr.contains("the branches of app `menu` clash: (- 0002_allergens before 0002_calories, + 0002_calories before 0002_allergens)\n  public.dish.name: other values"), "{}", output.stderr);
    // One order does not even run.
    scene.project.write_migration("menu", "0002_calories", "-- migrate:up\nALTER TABLE dish RENAME TO meal;\n");
    let output = scene.run(3, &["make", "--merge"]);
    assert!(output.stderr.contains("clash: 0002_calories before 0002_allergens: migrations/menu/0002_allergens.sql:2: ERROR: relation \"dish\" does not exist"), "{}", output.stderr);
    assert_eq!(std::fs::read_dir(scene.project.migrations().join("menu")).unwrap().count(), 3);
}

#[test]
fn three_leaves_are_refused() {
    let scene = conflict(Version::V15, LEFT, RIGHT);
    scene.project.write_migration("menu", "0002_photo", "-- migrate:up\nALTER TABLE dish ADD COLUMN photo text;\n");
    let output = scene.run(2, &["make", "--merge"]);
    insta::assert_snapshot!(scene.project.render(&["make", "--merge"], &output), @"
    $ safe-migrate make --merge
    exit 2
    --- stderr
    warning: [PROJECT]/safe-migrate.toml holds a password; keep it in a passfile, in PGPASSWORD or behind [database] password_command
    error: app `menu` has 3 leaves, and two are merged at a time: menu/0002_allergens, menu/0002_calories, menu/0002_photo
    production: unchanged
    hint: write `-- depends: menu/0002_allergens` into menu/0002_photo, if that is applied nowhere, and merge what is left
    ");
    // What the hint says leads on.
    scene.project.write_migration(
        "menu",
        "0002_photo",
        "-- depends: menu/0002_allergens\n-- migrate:up\nALTER TABLE dish ADD COLUMN photo text;\n",
    );
    let output = scene.run(0, &["make", "--merge"]);
    assert!(output.stderr.contains("Branch 0002_allergens, 0002_photo"), "{}", output.stderr);
    scene.run(0, &["apply", "--yes"]);
}

#[test]
fn one_of_two_equal_numbers_gets_another() {
    let scene = conflict(Version::V15, LEFT, RIGHT);
    let calories = scene.project.migrations().join("menu/0002_calories.sql");
    let aside = scene.project.directory().join("aside");
    std::fs::rename(&calories, &aside).unwrap();
    scene.begin_applied();
    std::fs::rename(&aside, &calories).unwrap();
    scene.project.write_migration(
        "orders",
        "0001_initial",
        "-- depends: menu/0002_calories, menu/0001_initial\n-- migrate:up\nSELECT 1;\n",
    );
    let applied = scene.run(2, &["make", "menu", "--renumber", "0002_a"]);
    assert!(applied.stderr.contains("menu/0002_allergens is applied in \"test_"), "{}", applied.stderr);
    let dry = scene.run(0, &["make", "menu", "--renumber", "0002_calories", "--dry-run"]);
    assert!(
        dry.stdout.starts_with("would rename menu/0002_calories to migrations/menu/0003_calories.sql\n"),
        "{}",
        dry.stdout
    );
    let output = scene.run(0, &["make", "menu", "--renumber", "0002_calories"]);
    insta::assert_snapshot!(output.stdout.replace(scene.database.name(), "DB"), @r#"
    renamed menu/0002_calories to migrations/menu/0003_calories.sql
      and its name in migrations/orders/0001_initial.sql
    it is not applied in "DB"; other databases were not asked
    "#);
    scene.run(0, &["apply", "--yes"]);
    assert_eq!(scene.applied().len(), 4);
    let only = scene.run(2, &["make", "menu", "--renumber", "0003_calories"]);
    assert!(only.stderr.contains("is applied in"), "{}", only.stderr);
}

#[test]
fn an_empty_migration_is_a_template() {
    let scene = conflict(Version::V15, LEFT, RIGHT);
    std::fs::remove_file(scene.project.migrations().join("menu/0002_calories.sql")).unwrap();
    let arguments = ["make", "menu", "--empty", "--name", "Spicy dishes!"];
    assert_eq!(scene.run(0, &arguments).stdout, "created migrations/menu/0003_spicy_dishes.sql\n");
    let text = std::fs::read_to_string(scene.project.migrations().join("menu/0003_spicy_dishes.sql")).unwrap();
    insta::assert_snapshot!(text, @"
    -- What this changes, and why.
    -- depends: menu/0002_allergens
    -- Other lines that may stand here: run-before, breaking, allow, lock-timeout, statement-timeout.
    -- migrate:up


    -- migrate:down
    ");
    scene.run(0, &["apply", "--yes"]);
    assert_eq!(
        scene.run(0, &["make", "kitchen", "--empty", "--name", "initial"]).stdout,
        "created migrations/kitchen/0001_initial.sql\n"
    );
    let dated = scene.run(0, &["make", "kitchen", "--empty", "--dry-run"]);
    assert!(dated.stdout.starts_with("would create migrations/kitchen/0002_auto_20"), "{}", dated.stdout);
    let typo = scene.run(2, &["make", "menus", "--empty"]);
    assert!(typo.stderr.contains("did you mean `menu`?"), "{}", typo.stderr);
    scene.run(2, &["make", "menu"]);
    scene.run(2, &["make", "--empty"]);
    scene.run(2, &["make", "menu", "--empty", "--merge"]);
    scene.run(2, &["make", "menu", "--empty", "--name", "é"]);
}
