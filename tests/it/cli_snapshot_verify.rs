//! `snapshot verify`: what it names, and what a part of it leaves to the others.

use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Scene, Version};

/// The file of a chunk of rows of this table.
fn chunk_of(scene: &Scene, id: &str, table: &str) -> PathBuf {
    let manifest = scene.store.directory().join(format!("snapshots/{id}/manifest.json"));
    let manifest: Value = serde_json::from_slice(&std::fs::read(manifest).unwrap()).unwrap();
    let named = |one: &&Value| one["name"] == table;
    let table = manifest["tables"].as_array().unwrap().iter().find(named).expect("it has rows");
    let chunk = table["segments"][0]["chunk"].as_str().unwrap();
    scene.store.directory().join(format!("chunks/{}/{chunk}", &chunk[..2]))
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
