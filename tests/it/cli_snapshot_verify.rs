//! `snapshot verify`: what it names, and what a part of it leaves to the others.

use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Scene, Version, chunk_key};

/// The file of a chunk of rows of this table.
fn chunk_of(scene: &Scene, id: &str, table: &str) -> PathBuf {
    let manifest = scene.store.directory().join(format!("snapshots/{id}/manifest.json"));
    let manifest: Value = serde_json::from_slice(&std::fs::read(manifest).unwrap()).unwrap();
    let named = |one: &&Value| one["name"] == table;
    let table = manifest["tables"].as_array().unwrap().iter().find(named).expect("it has rows");
    let chunk = table["segments"][0]["chunk"].as_str().unwrap();
    scene.store.directory().join(chunk_key(&manifest, chunk))
}

#[test]
fn damage_that_many_tables_share_names_three_of_them_and_json_all() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql(
        "DO $$ BEGIN FOR i IN 10 .. 46 LOOP EXECUTE format('CREATE TABLE small_%s AS SELECT %s AS id', i, i); END LOOP; END $$",
    );
    let id = scene.take_snapshot();
    std::fs::remove_file(chunk_of(&scene, &id, "small_10")).unwrap();

    let names = "needed by table public.small_10, table public.small_11, table public.small_12 and 34 more";
    let found = scene.run(6, &["snapshot", "verify", &id]).stdout;
    assert!(found.contains(names) && !found.contains("small_13"), "{found}");
    let restored = scene.run(6, &["restore", &id, "--to", &format!("{}_copy", scene.database.name()), "--yes"]);
    assert!(restored.stderr.contains(names), "{}", restored.stderr);
    let document = scene.run(6, &["snapshot", "verify", &id, "--json"]).stdout;
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["damages"][0]["parts"].as_array().unwrap().len(), 37, "{document}");
}

#[test]
fn the_parts_together_find_a_damaged_chunk_once() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE dish AS SELECT i AS id FROM generate_series(1, 1000) i");
    let id = scene.take_snapshot();
    std::fs::write(chunk_of(&scene, &id, "dish"), "").unwrap();
    for level in ["exists", "hash"] {
        let (mut damaged, mut chunks) = (0, 0);
        for part in ["1/3", "2/3", "3/3"] {
            let arguments = ["snapshot", "verify", &id, "--level", level, "--sample", part];
            let output = scene.project.run(&arguments);
            let document = scene.project.run(&[&arguments[..], &["--json"]].concat());
            let document: Value = serde_json::from_str(&document.stdout).unwrap();
            assert_eq!((&document["sample"], &document["all_chunks"]), (&part.into(), &3.into()), "{document}");
            let looked_at = document["chunks"].as_u64().unwrap();
            chunks += looked_at;
            match output.status {
                0 => {
                    let begin = format!("part {part} of snapshot {id} is whole: {looked_at} of 3 chunks ");
                    assert!(output.stdout.starts_with(&begin), "{}", output.stdout);
                }
                _ => {
                    scene.check(6, &arguments, &output);
                    damaged += 1;
                    assert!(output.stdout.contains("it is empty") || level == "hash", "{}", output.stdout);
                    assert!(output.stdout.contains("needed by table public.dish"), "{}", output.stdout);
                    assert!(output.stderr.contains(&format!("only part {part} was looked at")), "{}", output.stderr);
                }
            }
        }
        assert_eq!((damaged, chunks), (1, 3), "--level {level}");
    }
}

#[test]
fn a_part_of_a_restore_and_a_part_that_is_none_are_usage_errors() {
    let scene = Scene::empty(Version::V15);
    let id = scene.take_snapshot();
    let refused = |arguments: &[&str]| scene.run(2, &[&["snapshot", "verify", &id], arguments].concat()).stderr;
    let stderr = refused(&["--level", "restore", "--sample", "1/2"]);
    assert!(stderr.contains("--sample goes with --level exists and hash"), "{stderr}");
    for part in ["0/2", "3/2", "2", "1/0"] {
        let stderr = refused(&["--sample", part]);
        assert!(stderr.contains("`1/7` to `7/7`"), "{stderr}");
    }
}
