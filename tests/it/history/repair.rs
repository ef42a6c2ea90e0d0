//! `repair APP NAME`: another text for what was applied, if it builds the same.

use crate::support::{Scene, Version};

fn scene() -> Scene {
    let scene = Scene::empty(Version::V15);
    scene.project.write_migration("menu", "0001_initial", "-- migrate:up\nCREATE TABLE dish (id bigint PRIMARY KEY, at timestamptz DEFAULT now());\nINSERT INTO dish VALUES (1), (2);\n");
    scene.begin_applied();
    scene
}

#[test]
fn a_file_that_builds_the_same_is_taken() {
    let scene = scene();
    let text = "-- The dishes.\n-- migrate:up\nCREATE TABLE dish (\n  id int8,\n  at timestamp with time zone DEFAULT now(),\n  PRIMARY KEY (id)\n);\nINSERT INTO dish (id) VALUES (2), (1);\n";
    scene.project.write_migration("menu", "0001_initial", text);
    scene.project.write_migration("menu", "0002_x", "-- migrate:up\nSELECT 1;\n");
    let refused = scene.run(3, &["apply", "--yes"]);
    assert!(refused.stderr.contains("safe-migrate repair menu 0001_initial"), "{}", refused.stderr);
    let dry = scene.run(0, &["repair", "menu", "1", "--dry-run"]);
    assert!(dry.stdout.contains("both texts build the same"), "{}", dry.stdout);
    scene.run(3, &["apply", "--yes"]);
    let output = scene.run(0, &["repair", "menu", "1", "--yes"]);
    assert!(output.stdout.contains("the ledger has the file's text of menu/0001_initial"), "{}", output.stdout);
    scene.run(0, &["apply", "--yes"]);
    assert_eq!(
        scene.run(0, &["repair", "menu", "1"]).stdout,
        "nothing to repair: the file of menu/0001_initial is what was applied\n"
    );
}

#[test]
fn a_file_that_builds_something_else_is_refused() {
    let scene = scene();
    scene.project.write_migration("menu", "0001_initial", "-- migrate:up\nCREATE TABLE dish (id bigint PRIMARY KEY, at timestamptz DEFAULT now(), name text);\nINSERT INTO dish VALUES (1), (3);\n");
    let output = scene.run(3, &["repair", "menu", "0001_initial", "--yes"]);
    assert!(
        output.stderr.contains("menu/0001_initial builds something else now (- applied, + file):"),
        "{}",
        output.stderr
    );
    assert!(output.stderr.contains("+     name text"), "{}", output.stderr);
    assert!(
        output.stderr.contains("hint: put the text that was applied back, and write the change as a new migration")
    );
    // The same schema, and other rows.
    scene.project.write_migration("menu", "0001_initial", "-- migrate:up\nCREATE TABLE dish (id bigint PRIMARY KEY, at timestamptz DEFAULT now());\nINSERT INTO dish VALUES (1), (3);\n");
    let output = scene.run(3, &["repair", "menu", "1", "--yes"]);
    assert!(output.stderr.contains("public.dish.id: other values"), "{}", output.stderr);
    assert!(!output.stderr.contains("public.dish.at"), "{}", output.stderr);
}

#[test]
fn what_cannot_be_repaired_says_why() {
    let scene = scene();
    scene.project.write_migration("menu", "0002_x", "-- migrate:up\nSELECT 1;\n");
    let pending = scene.run(2, &["repair", "menu", "2"]);
    assert!(
        pending.stderr.contains("menu/0002_x is not applied, so its file may be changed freely"),
        "{}",
        pending.stderr
    );
    std::fs::remove_file(scene.project.migrations().join("menu/0001_initial.sql")).unwrap();
    let missing = scene.run(2, &["repair", "menu", "1"]);
    assert!(missing.stderr.contains("there is no file to take its text from"), "{}", missing.stderr);
    let unknown = scene.run(2, &["repair", "kitchen", "1"]);
    assert!(unknown.stderr.contains("there is no app `kitchen`"), "{}", unknown.stderr);
}
