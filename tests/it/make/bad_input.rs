//! What can be wrong with a `schema.sql`.

use crate::support::{Output, Scene, Version};

const DISH: &str = "CREATE TABLE dish (id bigint PRIMARY KEY, name text NOT NULL);\n";

fn scene(version: Version) -> Scene {
    let scene = Scene::empty(version);
    scene.project.write_migration(
        "menu",
        "0001_initial",
        &format!("-- migrate:up\n{DISH}-- migrate:down\nDROP TABLE dish;\n"),
    );
    scene
}

/// `make` with this schema.sql ends with this status and says this.
#[track_caller]
fn says(scene: &Scene, schema: &str, status: i32, words: &[&str]) -> Output {
    scene.project.write("migrations/menu/schema.sql", schema);
    let output = scene.run(status, &["make"]);
    for word in words {
        assert!(output.stderr.contains(word), "{word}:\n{}", output.stderr);
    }
    let files = std::fs::read_dir(scene.project.migrations().join("menu")).expect("the app").count();
    assert_eq!(files, 2, "a file was written");
    output
}

#[test]
fn a_schema_that_does_not_load_is_named_with_its_line() {
    let scene = scene(Version::V18);
    says(
        &scene,
        "-- one\n\nCREATE TABLE dish (\n    id bigint PRIMARY KEY,\n    price money_bag\n);\n",
        2,
        &[
            "migrations/menu/schema.sql:5: type \"money_bag\" does not exist",
            "nothing in any schema.sql makes what it needs",
        ],
    );
    says(&scene, "CREATE TABLE dish (id bigint PRIMARY KEY,);\n", 2, &["migrations/menu/schema.sql:1: syntax error"]);
    says(
        &scene,
        "CREATE TABLE dish (id bigint PRIMARY KEY, a text DEFAULT 'x);\n",
        2,
        &["migrations/menu/schema.sql:1: "],
    );
    says(&scene, &format!("{DISH}\\i other.sql\n"), 2, &["migrations/menu/schema.sql:2: "]);
    says(
        &scene,
        &format!("BEGIN;\n{DISH}COMMIT;\n"),
        2,
        &["migrations/menu/schema.sql:1: `BEGIN` has no place in a schema"],
    );
    says(
        &scene,
        &format!("{DISH}ALTER TABLE dish ADD FOREIGN KEY (id) REFERENCES nowhere;\n"),
        2,
        &["migrations/menu/schema.sql:2: relation \"nowhere\" does not exist"],
    );
}

#[test]
fn names_that_postgresql_would_cut_are_refused() {
    let long = "x".repeat(64);
    let words = format!("migrations/menu/schema.sql:2: the name {long} has 64 bytes; PostgreSQL keeps 63 of them");
    says(&scene(Version::V15), &format!("{DISH}CREATE INDEX {long} ON dish (name);\n"), 2, &[&words]);
}

#[test]
fn an_object_belongs_to_one_app() {
    let scene = scene(Version::V15);
    scene.project.write("migrations/menu/schema.sql", DISH);
    scene.project.write("migrations/orders/schema.sql", "CREATE TABLE cart (id int);\nCREATE TABLE dish (id int);\n");
    let output = scene.run(2, &["make"]);
    assert!(
        output.stderr.contains("migrations/orders/schema.sql:2: relation \"dish\" already exists"),
        "{}",
        output.stderr
    );
    assert!(
        output.stderr.contains("migrations/menu/schema.sql makes it already; an object belongs to one app"),
        "{}",
        output.stderr
    );
    // The same where the other app has no schema.sql.
    std::fs::remove_file(scene.project.migrations().join("menu/schema.sql")).unwrap();
    let output = scene.run(2, &["make"]);
    assert!(output.stderr.contains("relation \"dish\" already exists"), "{}", output.stderr);
}

#[test]
fn a_function_that_two_apps_replace_is_refused() {
    let scene = scene(Version::V18);
    let function = "CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';\n";
    scene.project.write("migrations/menu/schema.sql", &format!("{DISH}{function}"));
    scene.project.write("migrations/orders/schema.sql", &format!("CREATE TABLE cart (id int);\n{function}"));
    let output = scene.run(2, &["make"]);
    assert!(output.stderr.contains("migrations/orders/schema.sql:2:"), "{}", output.stderr);
    assert!(output.stderr.contains("migrations/menu/schema.sql makes it already"), "{}", output.stderr);
}

#[test]
fn a_folder_that_names_no_app_is_refused() {
    let scene = scene(Version::V15);
    scene.project.write("migrations/my app/schema.sql", DISH);
    let output = scene.run(2, &["make"]);
    assert!(output.stderr.contains("my app"), "{}", output.stderr);
    let output = scene.run(2, &["make", "meny"]);
    assert!(output.stderr.contains("my app") || output.stderr.contains("did you mean `menu`?"), "{}", output.stderr);
}

#[test]
fn apps_whose_tables_refer_to_each_other_get_a_later_migration_for_the_foreign_key() {
    let scene = Scene::empty(Version::V18);
    scene
        .project
        .write("migrations/menu/schema.sql", "CREATE TABLE dish (id int PRIMARY KEY, cook int REFERENCES cook);\n");
    scene
        .project
        .write("migrations/staff/schema.sql", "CREATE TABLE cook (id int PRIMARY KEY, best int REFERENCES dish);\n");
    // Statements that need each other cannot be loaded in any order.
    let output = scene.run(2, &["make"]);
    assert!(
        output.stderr.contains("migrations/menu/schema.sql:1: relation \"cook\" does not exist"),
        "{}",
        output.stderr
    );
    scene.project.write(
        "migrations/menu/schema.sql",
        "CREATE TABLE dish (id int PRIMARY KEY, cook int);\nALTER TABLE dish ADD CONSTRAINT dish_cook FOREIGN KEY (cook) REFERENCES cook;\n",
    );
    let output = scene.run(0, &["make"]);
    insta::assert_snapshot!(output.stdout, @"
    Migrations for 'staff':
      migrations/staff/0001_initial.sql
        + Create table cook
    Migrations for 'menu':
      migrations/menu/0001_initial.sql
        + Create table dish
    Migrations for 'staff':
      migrations/staff/0002_add_cook_best_fkey.sql
        + Add constraint cook_best_fkey to cook
    run in a private database: they lead to schema.sql, and back where they have a way back
    ");
    scene.run(0, &["apply", "--yes", "--skip-rehearsal", "make has run them"]);
    assert_eq!(scene.run(0, &["make"]).stdout, "No changes detected\n");
}

#[test]
fn a_generated_file_that_was_edited_counts_as_it_is() {
    let scene = scene(Version::V15);
    let wished = DISH.replace("name text", "price int,\n    name text");
    scene.project.write("migrations/menu/schema.sql", &wished);
    scene.run(0, &["make", "--name", "prices"]);
    let path = scene.project.migrations().join("menu/0002_prices.sql");
    let text = std::fs::read_to_string(&path).unwrap();
    // Another type by hand: make sees what the file builds, and brings it to what is wished for.
    std::fs::write(&path, text.replace("price integer", "price bigint")).unwrap();
    let output = scene.run(0, &["make", "--dry-run"]);
    assert!(output.stdout.contains("~ Alter column price of dish"), "{}", output.stdout);
    // One that does not run any more is named.
    std::fs::write(&path, text.replace("price integer", "price integr")).unwrap();
    let output = scene.run(1, &["make"]);
    assert!(
        output.stderr.contains("migrations/menu/0002_prices.sql:")
            && output.stderr.contains("type \"integr\" does not exist"),
        "{}",
        output.stderr
    );
    // One that is applied may not change.
    std::fs::write(&path, &text).unwrap();
    scene.run(0, &["apply", "--yes", "--skip-rehearsal", "made"]);
    std::fs::write(&path, text.replace("price integer", "price bigint")).unwrap();
    let output = scene.run(3, &["apply", "--yes"]);
    assert!(output.stderr.contains("applied migrations changed on disk"), "{}", output.stderr);
}

#[test]
fn renames_and_values_of_what_is_not_there_are_refused() {
    let scene = scene(Version::V15);
    scene.project.write("migrations/menu/schema.sql", &DISH.replace("name text", "title text"));
    for (option, value, words) in [
        ("--rename", "dish.nam=title", "dish has no column nam"),
        ("--rename", "dish.name=titel", "dish has no column titel in schema.sql"),
        ("--rename", "plate.name=title", "the migrations make no table and no enum plate"),
        ("--rename", "dish", "TABLE.OLD=NEW is wanted"),
        ("--rename", "dish=plate", "no schema.sql has a table plate"),
        ("--default", "dish.nothing=1", "no schema.sql has a column dish.nothing"),
        ("--default", "plate.name=1", "no schema.sql has a table plate"),
        ("--default", "dish.title", "TABLE.COLUMN=VALUE is wanted"),
    ] {
        let output = scene.run(2, &["make", "--no-renames", option, value]);
        assert!(output.stderr.contains(words), "{option} {value}: {}", output.stderr);
    }
}
