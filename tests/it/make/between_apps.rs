//! What goes from one app to another: the new migrations must lead there from what is, and from nothing.

use super::assert_built;
use crate::support::{Scene, Version};

/// Two apps, `ants` and `zebras`: the files of the first stand before those of the second unless `depends:` says otherwise.
fn scene(zebras: &str, wished: [&str; 2]) -> Scene {
    let scene = Scene::empty(Version::V18).let_data_go();
    scene.project.write_migration(
        "ants",
        "0001_initial",
        "-- migrate:up\nCREATE TABLE ants (id bigint PRIMARY KEY);\n-- migrate:down\nDROP TABLE ants;\n",
    );
    scene.project.write_migration("zebras", "0001_initial", &format!("-- migrate:up\n{zebras}\n"));
    scene.project.write("migrations/ants/schema.sql", wished[0]);
    scene.project.write("migrations/zebras/schema.sql", wished[1]);
    scene
}

const ANTS: &str = "CREATE TABLE ants (id bigint PRIMARY KEY);\n";

fn assert_made(scene: &Scene, wished: [&str; 2]) {
    assert_eq!(scene.run(0, &["make", "--check"]).stdout, "No changes detected\n");
    scene.run(0, &["apply", "--yes", "--skip-rehearsal", "make has run them"]);
    assert_built(scene, &wished.concat());
}

#[test]
fn the_sequence_of_a_column_is_not_that_of_another_one() {
    let wished =
        ["CREATE TABLE ants (id bigint PRIMARY KEY, no serial);\n", "CREATE TABLE zebras (id bigint PRIMARY KEY);\n"];
    let scene = scene("CREATE TABLE zebras (id bigint PRIMARY KEY, no serial);", wished);
    let output = scene.run(0, &["make", "--no-renames"]);
    assert!(!output.stdout.to_lowercase().contains("rename"), "{}", output.stdout);
    assert_made(&scene, wished);
}

#[test]
fn a_table_that_another_app_has_under_another_name() {
    let table = |name: &str| format!("CREATE TABLE {name} (id bigint PRIMARY KEY, name text);\n");
    let ants = format!("{ANTS}{}", table("ants_hill"));
    let wished = [ants.as_str(), ""];
    let scene = scene(&table("zebras_hill"), wished);
    // Not asked: tables of two apps.
    let dropped = scene.run(0, &["make", "--dry-run"]);
    assert!(dropped.stdout.contains("- Drop table zebras_hill"), "{}", dropped.stdout);
    let output = scene.run(0, &["make", "--rename", "zebras_hill=ants_hill"]);
    insta::assert_snapshot!(output.stdout, @"
    Migrations for 'ants':
      migrations/ants/0002_rename_zebras_hill_ants_hill_and_more.sql
        ~ Rename table zebras_hill to ants_hill
        ~ Rename constraint zebras_hill_pkey to ants_hill_pkey
        ~ Alter column id of ants_hill
    run in a private database: they lead to schema.sql, and back where they have a way back
    ");
    let file = scene.project.migrations().join("ants/0002_rename_zebras_hill_ants_hill_and_more.sql");
    let text = std::fs::read_to_string(file).expect("a migration");
    assert!(text.contains("-- depends: ants/0001_initial, zebras/0001_initial\n"), "{text}");
    assert_made(&scene, wished);
}

#[test]
fn a_sequence_by_itself_is_asked_for() {
    let (had, wished) = ("CREATE SEQUENCE tickets;", "CREATE SEQUENCE invoices;\n");
    let scene = scene(had, [ANTS, wished]);
    let output = scene.run(2, &["make"]);
    let asked = "Was the sequence tickets renamed to invoices? There is no terminal to ask on.";
    assert!(output.stderr.contains(asked), "{}", output.stderr);
    assert!(output.stderr.contains("--rename tickets=invoices"), "{}", output.stderr);
    let output = scene.run(0, &["make", "--dry-run", "--no-renames"]);
    assert!(output.stdout.contains("DROP SEQUENCE public.tickets;"), "{}", output.stdout);
    scene.run(0, &["make", "--rename", "tickets=invoices"]);
    assert_made(&scene, [ANTS, wished]);
}

#[test]
fn what_an_older_file_of_another_app_used_is_changed_behind_it() {
    let wished =
        ["CREATE TABLE ants_hill (id bigint PRIMARY KEY);\n", "CREATE VIEW zebras_seen AS SELECT id FROM ants_hill;\n"];
    let scene = scene("CREATE VIEW zebras_seen AS SELECT id FROM ants;", wished);
    let output = scene.run(0, &["make", "--rename", "ants=ants_hill"]);
    // The file that made the view reads the table under its first name.
    let file = scene.project.migrations().join("ants/0002_rename_ants_ants_hill_and_more.sql");
    let text = std::fs::read_to_string(file).unwrap_or_else(|_| panic!("{}", output.stdout));
    assert!(text.contains("-- depends: ants/0001_initial, zebras/0001_initial\n"), "{text}");
    assert_made(&scene, wished);
}

#[test]
fn what_goes_over_to_another_app_is_dropped_behind_the_file_that_made_it() {
    let ants = format!("{ANTS}CREATE VIEW seen AS SELECT id + 1 AS more FROM ants;\n");
    let wished = [ants.as_str(), ""];
    let scene = scene("CREATE VIEW seen AS SELECT id FROM ants;", wished);
    scene.run(0, &["make"]);
    assert_made(&scene, wished);
}
