//! A stored rehearsal edited by somebody who may write to the store: consistent in itself, hashes and all.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{Scene, TestCluster, Version};

/// A plan that loses what it drops, rehearsed.
fn rehearsed(migration: &str) -> (Scene, String) {
    let scene = Scene::on(&TestCluster::shared(Version::V15));
    scene.database.sql(
        "CREATE TABLE dish (id int PRIMARY KEY, name text, price int);
         INSERT INTO dish SELECT n, 'dish ' || n, n FROM generate_series(1, 2000) n",
    );
    scene.project.write_migration("kitchen", "0001_less", migration);
    let output = scene.rehearse(&["rehearse", "--snapshot", "new", "--json"]);
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    let id = report["id"].as_str().or_else(|| report["rehearsal"]["id"].as_str()).unwrap().to_owned();
    (scene, id)
}

/// Takes the losses out of the report, and makes the receipt one of that report, as anybody can.
pub fn forge(scene: &Scene, id: &str) {
    let directory = scene.store.directory().join("rehearsals").join(id);
    let read = |name: &str| serde_json::from_slice::<Value>(&std::fs::read(directory.join(name)).unwrap()).unwrap();
    let (mut report, mut receipt) = (read("report.json"), read("receipt.json"));
    assert!(!report["losses"].as_array().unwrap().is_empty());
    report["losses"] = Value::Array(Vec::new());
    report["verdict"] = "pass".into();
    report["findings"] = Value::Array(Vec::new());
    let text = serde_json::to_vec_pretty(&report).unwrap();
    receipt.as_object_mut().unwrap().remove("sha256").unwrap();
    receipt["report_sha256"] = hex::encode(Sha256::digest(&text)).into();
    receipt["sha256"] = hex::encode(Sha256::digest(receipt.to_string())).into();
    std::fs::write(directory.join("report.json"), text).unwrap();
    std::fs::write(directory.join("receipt.json"), receipt.to_string()).unwrap();
}

fn the_gate_stands(scene: &Scene, id: &str, why: &str) {
    let output = scene.run(3, &["apply", "--yes"]);
    assert!(output.stderr.contains("loses data"), "{}", output.stderr);
    assert!(output.stderr.contains(&format!("rehearsal {id} does not count")), "{}", output.stderr);
    assert!(output.stderr.contains(why), "{}", output.stderr);
    assert_eq!(scene.database.query("SELECT count(name) FROM dish"), "2000");
}

#[test]
fn security_a_forged_receipt_hides_no_loss() {
    let (scene, id) = rehearsed(
        "-- migrate:up\nALTER TABLE dish DROP COLUMN name;\n-- migrate:down\nALTER TABLE dish ADD COLUMN name text;\n",
    );
    forge(&scene, &id);
    // On the machine that wrote it: it is not what was written.
    the_gate_stands(&scene, &id, "is not the one that this machine wrote");
    // On another one, what the plan drops is counted.
    scene.project.forget_state();
    forge(&scene, &newest(&scene));
    the_gate_stands(&scene, &newest(&scene), "2,000");
}

#[test]
fn security_a_forged_receipt_of_what_cannot_be_counted_is_rehearsed_anew() {
    let (scene, id) = rehearsed("-- migrate:up\nDELETE FROM dish WHERE id > 10;\n-- migrate:down\nSELECT 1;\n");
    scene.project.forget_state();
    forge(&scene, &id);
    the_gate_stands(&scene, &id, "only a rehearsal");
}

fn newest(scene: &Scene) -> String {
    let mut ids: Vec<String> = std::fs::read_dir(scene.store.directory().join("rehearsals"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    ids.sort();
    ids.pop().unwrap()
}
