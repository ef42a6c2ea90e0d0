//! A snapshot edited by somebody who may write to the store: consistent in itself, seal and chunks and all.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::Scene;

/// Edits a manifest and seals it again, as anybody can.
pub fn manifest(scene: &Scene, id: &str, edit: impl FnOnce(&mut Value)) {
    let path = scene.store.directory().join(format!("snapshots/{id}/manifest.json"));
    let mut value: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    value.as_object_mut().unwrap().remove("checksum").unwrap();
    edit(&mut value);
    let body = serde_json::to_string_pretty(&value).unwrap() + "\n";
    let seal = format!("{{\n  \"checksum\": \"{}\",\n", hex::encode(Sha256::digest(&body)));
    std::fs::write(path, body.replacen("{\n", &seal, 1)).unwrap();
}

/// Replaces the script of the roles.
pub fn roles(scene: &Scene, id: &str, script: &str) {
    let chunk = hex::encode(Sha256::digest(script));
    let path = scene.store.directory().join(format!("chunks/{}/{chunk}", &chunk[..2]));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, zstd::encode_all(script.as_bytes(), 1).unwrap()).unwrap();
    manifest(scene, id, |value| {
        value["roles"] = json!({ "length": script.len(), "chunks": [chunk] });
        let key = format!("chunks/{}/{chunk}", &chunk[..2]);
        let stored = value["stored"].as_array_mut().unwrap();
        stored.retain(|one| one["chunk"] != chunk);
        stored.push(json!({ "chunk": chunk, "key": key, "raw": script.len(), "stored": 1, "sha256": null }));
        stored.sort_by_key(|one| one["chunk"].as_str().unwrap().to_owned());
    });
}
