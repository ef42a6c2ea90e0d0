//! A stored rehearsal stands for a new one as long as all that its receipt binds still matches, and for no longer.

use serde_json::Value;

use crate::rehearse_data::kitchen;
use crate::support::{Output, Scene, ShadowDirectory, Version};

const UP: &str =
    "-- migrate:up\nALTER TABLE dish ADD COLUMN size int;\n-- migrate:down\nALTER TABLE dish DROP COLUMN size;\n";
const TABLE: &str = "CREATE TABLE dish (id int PRIMARY KEY, name text); INSERT INTO dish VALUES (1, 'isombe')";
const NOTHING_RESTORED: &str = "still matches; nothing is restored";

/// A kitchen whose plan was rehearsed, and the id of the rehearsal.
fn rehearsed(version: Version) -> (Scene, String) {
    let scene = kitchen(version, TABLE, &[UP]);
    let output = scene.rehearse(&["rehearse", "--json"]);
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    (scene, document["rehearsal"]["id"].as_str().unwrap().to_owned())
}

fn file(scene: &Scene, id: &str, name: &str) -> std::path::PathBuf {
    scene.store.directory().join("rehearsals").join(id).join(name)
}

/// `--rehearsal ID` is refused for this reason, and nothing is changed.
#[track_caller]
fn is_refused_by_id(scene: &Scene, id: &str, why: &str) -> Output {
    let refused = scene.run(3, &["apply", "--yes", "--rehearsal", id]);
    assert!(refused.stderr.contains(why), "{why}: {}", refused.stderr);
    assert!(refused.stderr.contains("production: unchanged") && scene.applied().is_empty(), "{}", refused.stderr);
    refused
}

/// The same, and `auto` says it and rehearses anew.
#[track_caller]
fn is_refused(scene: &Scene, id: &str, why: &str) -> Output {
    let refused = is_refused_by_id(scene, id, why);
    let anew = scene.run(0, &["apply", "--yes"]);
    assert!(
        anew.stderr.contains(why) && anew.stderr.contains("restoring the snapshot into a shadow"),
        "{}",
        anew.stderr
    );
    assert!(!anew.stderr.contains(NOTHING_RESTORED));
    refused
}

fn trusts_what_still_matches(version: Version) {
    let (scene, id) = rehearsed(version);
    let before = scene.snapshots().len();
    let output = scene.run(0, &["apply", "--yes"]);
    assert!(output.stderr.contains(&format!("rehearsal {id} (")) && output.stderr.contains(NOTHING_RESTORED));
    assert!(!output.stderr.contains("loading rows") && !output.stderr.contains("rehearsing"), "{}", output.stderr);
    assert!(output.stdout.contains("schema equal to the rehearsed one (same entries changed)"), "{}", output.stdout);
    assert_eq!((scene.snapshots().len(), scene.applied().len()), (before + 1, 1), "one snapshot, and no other");
    let run = scene.database.query("SELECT rehearsal_id FROM safe_migrate.run WHERE command = 'apply'");
    assert_eq!(run, id, "the ledger names it");
}

#[test]
fn receipt_is_trusted_while_all_of_it_matches() {
    trusts_what_still_matches(Version::V15);
}

#[test]
fn receipt_is_trusted_while_all_of_it_matches_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    trusts_what_still_matches(Version::V18);
}

#[test]
fn receipt_by_id_and_none_when_a_new_one_is_wanted() {
    let (scene, id) = rehearsed(Version::V15);
    let anew = scene.run(0, &["apply", "--yes", "--rehearsal", "new"]);
    assert!(anew.stderr.contains("restoring the snapshot into a shadow"));
    scene.run(0, &["rollback", "kitchen", "zero", "--yes"]);
    let output = scene.run(0, &["apply", "--yes", "--rehearsal", &id]);
    assert!(output.stderr.contains(NOTHING_RESTORED), "{}", output.stderr);
    scene.run(2, &["apply", "--yes", "--rehearsal", "yesterday"]);
}

#[test]
fn receipt_of_another_plan_is_refused() {
    let (scene, id) = rehearsed(Version::V15);
    scene.project.write_migration("kitchen", "0001_step", &UP.replace("int", "bigint"));
    is_refused(&scene, &id, "it is of another plan: kitchen/0001_step changed since");
}

#[test]
fn receipt_of_another_starting_schema_is_refused() {
    let (scene, id) = rehearsed(Version::V15);
    scene.database.sql("ALTER TABLE dish ADD COLUMN spice int");
    let refused = is_refused(&scene, &id, "production's schema is not the one it started from");
    assert!(refused.stderr.contains("spice"), "the difference is shown: {}", refused.stderr);
}

#[test]
fn receipt_whose_report_was_edited_is_refused() {
    let (scene, id) = rehearsed(Version::V15);
    let path = file(&scene, &id, "report.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"add_column\"", "\"x\"") + " ").unwrap();
    is_refused(&scene, &id, "its report.json changed since it was written");
}

#[test]
fn receipt_that_was_edited_is_refused() {
    let (scene, id) = rehearsed(Version::V15);
    let path = file(&scene, &id, "receipt.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let why = "its receipt is damaged or was edited";
    for (from, to) in [("\"server_major\":15", "\"server_major\":16"), ("\"sha256\":\"", "\"sha256\":\"0")] {
        assert!(text.contains(from), "{text}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
        is_refused_by_id(&scene, &id, why);
    }
    is_refused(&scene, &id, why);
}

/// What a hash over itself cannot find is found by what it binds: the document is sealed anew after each change.
#[test]
fn receipt_of_another_server_source_or_time_is_refused() {
    use sha2::{Digest, Sha256};
    let (scene, id) = rehearsed(Version::V15);
    let path = file(&scene, &id, "receipt.json");
    let good: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    // What this machine wrote and finds changed would be refused before it is read.
    scene.project.forget_state();
    for (field, value, why) in [
        ("server_major", Value::from(14), "it ran on PostgreSQL 14, and the server is PostgreSQL 15"),
        ("created_at", Value::from("2026-01-01T00:00:00Z"), "and [apply] max_age is"),
        ("created_at", Value::from("2099-01-01T00:00:00Z"), "one of the clocks is wrong"),
        ("role", Value::from("somebody"), "its migrations ran as role \"somebody\""),
    ] {
        let mut receipt = good.clone();
        let fields = receipt.as_object_mut().unwrap();
        fields.remove("sha256");
        fields.insert(field.to_owned(), value);
        let own = hex::encode(Sha256::digest(receipt.to_string()));
        receipt["sha256"] = Value::from(own);
        std::fs::write(&path, receipt.to_string()).unwrap();
        is_refused_by_id(&scene, &id, why);
    }
    std::fs::write(&path, good.to_string()).unwrap();
    let refused = scene.run(3, &["apply", "--yes", "--source", "other", "--rehearsal", &id]);
    assert!(refused.stderr.contains("it is of source \"test\", not of \"other\""), "{}", refused.stderr);
}

#[test]
fn receipt_is_not_made_of_a_rehearsal_that_failed() {
    let scene = kitchen(Version::V15, TABLE, &["-- migrate:up\nSELECT 1/0;\n"]);
    let output = scene.run(3, &["rehearse", "--json"]);
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    let id = document["rehearsal"]["id"].as_str().unwrap();
    assert!(!file(&scene, id, "receipt.json").exists());
    let refused = scene.run(3, &["apply", "--yes", "--rehearsal", id]);
    assert!(refused.stderr.contains("it failed: "), "{}", refused.stderr);
}

/// The data that the rehearsal saw lost is asked for as if it had been rehearsed now.
#[test]
fn receipt_carries_the_losses() {
    let scene = kitchen(Version::V15, TABLE, &["-- migrate:up\nALTER TABLE dish DROP COLUMN name;\n"]);
    scene.rehearse(&["rehearse"]);
    let refused = scene.run(3, &["apply", "--yes"]);
    assert!(refused.stderr.contains(NOTHING_RESTORED) && refused.stderr.contains("--accept-data-loss"));
    let hash = refused.stderr.split("--accept-data-loss ").nth(1).unwrap().split_whitespace().next().unwrap();
    let output = scene.run(0, &["apply", "--yes", "--accept-data-loss", hash]);
    assert!(output.stderr.contains(NOTHING_RESTORED), "{}", output.stderr);
}

/// Production did something else than the shadow: an event trigger that was there, and that looks at the clock.
#[test]
fn receipt_does_not_hide_that_production_came_out_otherwise() {
    let scene = kitchen(
        Version::V15,
        "CREATE TABLE dish (id int PRIMARY KEY, name text); CREATE TABLE switch (is_on bool);
         CREATE FUNCTION extra() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
             IF EXISTS (SELECT FROM public.switch) AND to_regclass('public.extra') IS NULL THEN CREATE TABLE public.extra (a int); END IF;
         END $$;
         CREATE EVENT TRIGGER extra ON ddl_command_end WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION extra()",
        &[UP],
    );
    scene.rehearse(&["rehearse"]);
    scene.database.sql("INSERT INTO switch VALUES (true)");
    let output = scene.run(4, &["apply", "--yes"]);
    assert!(output.stderr.contains(NOTHING_RESTORED), "{}", output.stderr);
    assert!(output.stderr.contains("the schema is not the rehearsed one") && output.stderr.contains("extra"));
}

/// With a snapshot and a rehearsal that both still count, no server is started and nothing is restored: the raw schema is
/// the one that the snapshot recorded.
fn starts_no_server(version: Version) {
    let (scene, id) = rehearsed(version);
    let shadow = ShadowDirectory::of(&scene.project);
    // No server of ours can lie in a directory that is none.
    let text = std::fs::read_to_string(scene.project.directory().join("safe-migrate.toml")).unwrap();
    let path = shadow.path().display().to_string();
    scene.project.configure(&text.replace(&path, "/dev/null/none"));
    let arguments = ["apply", "--yes", "--json", "--snapshot", "max-age=1h", "--rehearsal", &id];
    let output = scene.run(0, &arguments);
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(document["verification"], "schema equal to the rehearsed one (same entries changed)");
    let phases = document["phases"].as_array().unwrap().iter();
    let names: Vec<&str> = phases.map(|phase| phase["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["plan", "snapshot", "rehearsal", "gates", "migrations", "verification"]);
    assert_eq!((scene.snapshots().len(), scene.applied().len()), (1, 1));
}

#[test]
fn receipt_whose_start_did_not_change_needs_no_server() {
    starts_no_server(Version::V15);
}

#[test]
fn receipt_whose_start_did_not_change_needs_no_server_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    starts_no_server(Version::V18);
}

/// The raw schema may differ where the normal form does not: it is made, on a server that is started for it.
#[test]
fn receipt_whose_start_was_only_written_otherwise_is_trusted() {
    use sha2::{Digest, Sha256};
    for raw in [None, Some("00")] {
        let (scene, id) = rehearsed(Version::V15);
        let path = file(&scene, &id, "receipt.json");
        let mut receipt: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let fields = receipt.as_object_mut().unwrap();
        fields.remove("sha256");
        match raw {
            // As a version wrote it that did not record the raw schema.
            None => assert!(fields.remove("starting_raw").is_some()),
            Some(hash) => fields["starting_raw"]["raw"]["hash"] = Value::from(hash),
        }
        let own = hex::encode(Sha256::digest(receipt.to_string()));
        receipt["sha256"] = Value::from(own);
        std::fs::write(&path, receipt.to_string()).unwrap();
        scene.project.forget_state();
        let output = scene.run(0, &["apply", "--yes", "--snapshot", "max-age=1h", "--rehearsal", &id]);
        assert!(output.stderr.contains(NOTHING_RESTORED), "{}", output.stderr);
        assert_eq!(scene.applied().len(), 1);
    }
}

#[test]
fn receipt_with_an_older_snapshot_of_another_schema_is_refused() {
    let (scene, id) = rehearsed(Version::V15);
    scene.database.sql("ALTER TABLE dish ADD COLUMN spice int");
    let arguments = ["apply", "--yes", "--snapshot", "max-age=1h", "--rehearsal", &id];
    let refused = scene.run(3, &arguments);
    assert!(refused.stderr.contains("production's schema is not the one it started from"), "{}", refused.stderr);
    assert!(refused.stderr.contains("spice") && scene.applied().is_empty(), "{}", refused.stderr);
}
