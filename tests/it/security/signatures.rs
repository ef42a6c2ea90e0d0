//! A store that others can write to: what nobody signed who is trusted is not believed, and what is taken away leaves a gap.

use std::path::{Path, PathBuf};

use safe_migrate::signing::{SigningKey, Statement};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{forged, receipts};
use crate::support::{Scene, Version};

/// A database whose snapshots are signed by the key of this user, the only one that is trusted.
fn signed(version: Version) -> (Scene, String) {
    let scene = Scene::empty(version);
    scene.database.sql("CREATE TABLE dish (id int, name text)");
    let key = new_key(&scene);
    trust(&scene, &[&entry("prod", &key, "")]);
    (scene, key)
}

fn new_key(scene: &Scene) -> String {
    let made: Value = serde_json::from_str(&scene.run(0, &["store", "keys", "new", "--json"]).stdout).unwrap();
    made["key"].as_str().unwrap().to_owned()
}

fn entry(name: &str, key: &str, more: &str) -> String {
    format!("{{ name = \"{name}\", key = \"{key}\"{more} }}")
}

/// Replaces what `[trust]` says.
fn trust(scene: &Scene, entries: &[&str]) {
    let file = scene.project.directory().join("safe-migrate.toml");
    let text = std::fs::read_to_string(file).unwrap();
    let before = text.split("\n[trust]\n").next().unwrap();
    scene.project.configure(&format!("{before}\n[trust]\nkeys = [{}]\n", entries.join(", ")));
}

fn taken(scene: &Scene, number: u32) -> String {
    scene.database.sql(&format!("INSERT INTO dish SELECT {number}, md5(n::text) FROM generate_series(1, 50) n"));
    scene.take_snapshot()
}

fn object(scene: &Scene, id: &str, name: &str) -> PathBuf {
    scene.store.directory().join(format!("snapshots/{id}/{name}"))
}

/// Puts a copy of what lies at one place to another, in the place of what is there.
fn copy(from: &Path, to: &Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).unwrap();
    }
    let output = std::process::Command::new("cp").arg("-a").arg(from).arg(to).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn refused(scene: &Scene, id: &str, why: &str) {
    for command in
        [vec!["restore", id, "--dry-run"], vec!["snapshot", "verify", id], vec!["rehearse", "--snapshot", id]]
    {
        let output = scene.run(6, &command);
        assert!(
            output.stderr.contains("is not believed") && output.stderr.contains(why),
            "{command:?}: {}",
            output.stderr
        );
    }
}

#[test]
fn security_a_snapshot_that_nobody_trusted_signed_is_not_believed() {
    let (scene, key) = signed(Version::V15);
    let (old, newest) = (taken(&scene, 1), taken(&scene, 2));
    scene.run(0, &["snapshot", "verify", &newest]);
    let listed: Value = serde_json::from_str(&scene.run(0, &["snapshot", "list", "--json"]).stdout).unwrap();
    assert_eq!(listed["snapshots"][0]["signed_by"]["sequence"], 2);

    // Exchanged: consistent in itself, and not what was signed.
    let manifest = std::fs::read(object(&scene, &newest, "manifest.json")).unwrap();
    forged::manifest(&scene, &newest, |value| value["database"]["owner"] = "somebody".into());
    refused(&scene, &newest, "other bytes: it was exchanged");
    let latest = scene.run(6, &["restore", "latest", "--dry-run"]);
    assert!(latest.stderr.contains("cannot be told") && latest.stderr.contains(&newest), "{}", latest.stderr);
    std::fs::write(object(&scene, &newest, "manifest.json"), manifest).unwrap();

    // The signature of another snapshot, and that of another kind of object.
    let signature = std::fs::read(object(&scene, &newest, "manifest.sig")).unwrap();
    std::fs::copy(object(&scene, &old, "manifest.sig"), object(&scene, &newest, "manifest.sig")).unwrap();
    refused(&scene, &newest, "its signature is of another object");
    scene.run(0, &["snapshot", "verify", &old, "--level", "restore"]);
    let proof = scene.store.directory().join(format!("proofs/{old}.sig"));
    std::fs::copy(proof, object(&scene, &newest, "manifest.sig")).unwrap();
    refused(&scene, &newest, "its signature is of another kind of object");

    // Not signed, and not there: the machine that signed it knows that there was another one.
    std::fs::remove_file(object(&scene, &newest, "manifest.sig")).unwrap();
    refused(&scene, &newest, "it is not signed");
    let latest = scene.run(6, &["restore", "latest", "--dry-run"]);
    assert!(latest.stderr.contains("WITHHELD?") && latest.stderr.contains("has seen 2"), "{}", latest.stderr);
    let listed = scene.run(0, &["snapshot", "list"]).stdout;
    assert!(listed.contains("NOT BELIEVED: it is not signed"), "{listed}");
    // On purpose, once, and for good.
    scene.run(0, &["snapshot", "verify", &newest, "--accept-unsigned", "a test"]);
    scene.run(0, &["store", "keys", "adopt", &newest, "--yes"]);
    scene.run(0, &["snapshot", "verify", &newest]);
    std::fs::write(object(&scene, &newest, "manifest.sig"), signature).unwrap();
    scene.run(0, &["store", "check"]);

    // A key that is not named, and one that may not.
    let other = format!("{}{}", &key[..key.len() - 1], if key.ends_with('0') { '1' } else { '0' });
    trust(&scene, &[&entry("other", &other, "")]);
    refused(&scene, &newest, "which [trust] does not name");
    scene.run(0, &["snapshot", "verify", &newest, "--trust-key", &key]);
    trust(&scene, &[&entry("ci", &key, ", may = [\"receipt\"]")]);
    refused(&scene, &newest, "may not sign snapshots");
    // Retired: up to its last number. Stolen: what is listed.
    trust(&scene, &[&entry("old", &key, ", last = 1")]);
    refused(&scene, &newest, "ended with its number 1");
    scene.run(0, &["snapshot", "verify", &old]);
    trust(&scene, &[&entry("stolen", &key, ", only = []")]);
    refused(&scene, &old, "it was stolen");
}

#[test]
fn security_snapshots_that_are_taken_away_leave_a_gap() {
    let (scene, _) = signed(Version::V15);
    let ids: Vec<String> = (1..=3).map(|number| taken(&scene, number)).collect();
    let store = scene.store.directory().to_path_buf();
    let copied = store.with_extension("copy");
    copy(&store, &copied);

    // One in the middle, without a word.
    std::fs::remove_dir_all(store.join(format!("snapshots/{}", ids[1]))).unwrap();
    let checked = scene.run(6, &["store", "check"]);
    assert!(checked.stdout.contains("signed as number 2 is gone"), "{}{}", checked.stdout, checked.stderr);
    let latest = scene.run(0, &["restore", "latest", "--dry-run"]);
    assert!(latest.stderr.contains("signed as number 2 is gone"), "{}", latest.stderr);
    assert!(latest.stdout.contains(&ids[2]), "{}", latest.stdout);

    // Its number is not signed away with a piece of garbage that bears a copy of its signature.
    copy(&copied, &store);
    let garbage = "20261122T000000Z-bad000";
    std::fs::create_dir(store.join(format!("snapshots/{garbage}"))).unwrap();
    std::fs::write(object(&scene, garbage, "manifest.json"), "{").unwrap();
    std::fs::copy(object(&scene, &ids[1], "manifest.sig"), object(&scene, garbage, "manifest.sig")).unwrap();
    let latest = scene.run(0, &["restore", "latest", "--dry-run"]);
    assert!(latest.stdout.contains(&ids[2]), "{}", latest.stdout);
    scene.run(0, &["snapshot", "delete", garbage, "--yes"]);
    std::fs::remove_dir_all(store.join(format!("snapshots/{}", ids[1]))).unwrap();
    let checked = scene.run(6, &["store", "check"]);
    assert!(checked.stdout.contains("signed as number 2 is gone"), "{}{}", checked.stdout, checked.stderr);

    // Known to be lost: nobody asks any more.
    scene.run(0, &["store", "keys", "lost", "2", "--why", "the disk died"]);
    scene.run(0, &["store", "check"]);

    // Forgotten on purpose: signed, so that no machine asks; and not the newest when somebody puts it back.
    copy(&copied, &store);
    scene.run(0, &["snapshot", "delete", &ids[2], "--yes"]);
    copy(&copied.join(format!("snapshots/{}", ids[2])), &store.join(format!("snapshots/{}", ids[2])));
    let latest = scene.run(0, &["restore", "latest", "--dry-run"]);
    assert!(latest.stderr.contains("was forgotten, and somebody put it back"), "{}", latest.stderr);
    assert!(latest.stdout.contains(&ids[1]), "{}", latest.stdout);
    copy(&copied, &store);
    scene.run(0, &["snapshot", "delete", &ids[1], "--yes"]);
    scene.run(0, &["snapshot", "forget", "--keep-last", "1", "--yes"]);
    assert_eq!(scene.snapshots(), [ids[2].clone()]);
    scene.run(0, &["store", "check"]);
    // A tombstone that nobody signed excuses nothing.
    let tombstone = store.join(format!("tombstones/{}.sig", ids[1]));
    std::fs::remove_file(tombstone).unwrap();
    let checked = scene.run(6, &["store", "check"]);
    assert!(checked.stdout.contains("signed as number 2 is gone"), "{}{}", checked.stdout, checked.stderr);

    // Another store in its place, whole and signed by the same key.
    let root = store.join("safe-migrate.json");
    let text = std::fs::read_to_string(&root).unwrap();
    let mut other: Value = serde_json::from_str(&text).unwrap();
    other["store_id"] = "0f".repeat(16).into();
    std::fs::write(&root, other.to_string()).unwrap();
    let refused = scene.run(6, &["restore", "latest", "--dry-run"]).stderr;
    assert!(refused.contains("is another store than before"), "{refused}");
    std::fs::write(&root, text).unwrap();

    // Frozen, or rolled back to an older state: whoever saw the newer one says so.
    copy(&copied, &store);
    let newest = taken(&scene, 4);
    copy(&copied, &store);
    let latest = scene.run(6, &["restore", "latest", "--dry-run"]);
    assert!(latest.stderr.contains("this machine has seen 4"), "{}", latest.stderr);
    scene.run(0, &["restore", &ids[2], "--dry-run"]);
    // The number is never given twice.
    let next = taken(&scene, 5);
    let text = std::fs::read_to_string(object(&scene, &next, "manifest.sig")).unwrap();
    assert!(text.contains("\nsequence: 5\n"), "{text}");
    assert_ne!(next, newest);

    // On a machine that was made anew the store says where to go on, tombstones too.
    scene.run(0, &["snapshot", "delete", &next, "--yes"]);
    scene.project.forget_state();
    let next = taken(&scene, 6);
    let text = std::fs::read_to_string(object(&scene, &next, "manifest.sig")).unwrap();
    assert!(text.contains("\nsequence: 6\n"), "{text}");
}

#[test]
fn security_a_host_without_a_key_takes_no_snapshot_that_nobody_would_believe() {
    let (scene, key) = signed(Version::V15);
    let file = scene.project.directory().join("home/.config/safe-migrate/signing-key.pem");
    let kept = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let lost = scene.run(3, &["snapshot", "create"]);
    assert!(
        lost.stderr.contains("this machine has no key") && lost.stderr.contains("store keys new"),
        "{}",
        lost.stderr
    );
    let other = new_key(&scene);
    let not_named = scene.run(3, &["snapshot", "create"]);
    assert!(not_named.stderr.contains(&format!("key = \"{other}\"")), "{}", not_named.stderr);
    scene.run(0, &["snapshot", "create", "--accept-unsigned", "the key is in the safe"]);
    let id = scene.snapshots().pop().unwrap();
    refused(&scene, &id, "which [trust] does not name");

    std::fs::write(&file, kept).unwrap();
    let id = taken(&scene, 1);
    // A host that has nothing but what was kept on paper.
    let sheet = scene.run(0, &["store", "keys"]).stdout;
    assert!(sheet.contains(&format!("--trust-key {key}")), "{sheet}");
    std::fs::remove_file(&file).unwrap();
    trust(&scene, &[]);
    scene.run(0, &["snapshot", "verify", &id, "--trust-key", &key]);
    scene.run(6, &["snapshot", "verify", &id, "--trust-key", &other]);
}

#[test]
fn security_a_kill_between_signature_and_manifest_costs_no_number() {
    let (scene, _) = signed(Version::V15);
    taken(&scene, 1);
    for point in ["snapshot.signed", "snapshot.before-manifest", "snapshot.manifest-written"] {
        let output = scene.project.command_with_faults(&format!("{point}=return"), &["snapshot", "create"]).output();
        assert!(!output.unwrap().status.success(), "{point}");
    }
    let next = taken(&scene, 2);
    // The third one had its manifest, and counts.
    let text = std::fs::read_to_string(object(&scene, &next, "manifest.sig")).unwrap();
    assert!(text.contains("\nsequence: 3\n"), "{text}");
    scene.run(0, &["store", "check"]);
}

/// A plan without loss, rehearsed by a CI whose key may sign receipts; and one that drops a column.
fn rehearsed_by_ci(up: &str) -> (Scene, String) {
    let (scene, key) = signed(Version::V15);
    taken(&scene, 1);
    scene.project.write_migration("app", "0001_change", &format!("-- migrate:up\n{up}\n-- migrate:down\nSELECT 1;\n"));
    let file = scene.project.directory().join("home/.config/safe-migrate/signing-key.pem");
    let kept = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let ci = new_key(&scene);
    trust(&scene, &[&entry("prod", &key, ""), &entry("ci", &ci, ", may = [\"receipt\"]")]);
    let report = scene.rehearse(&["rehearse", "--snapshot", "latest", "--json"]);
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    std::fs::copy(&file, scene.project.directory().join("home/ci.pem")).unwrap();
    std::fs::write(file, kept).unwrap();
    scene.project.forget_state();
    (scene, report["rehearsal"]["id"].as_str().or_else(|| report["id"].as_str()).unwrap().to_owned())
}

#[test]
fn security_a_receipt_of_a_ci_stands_for_a_plan_that_loses_nothing() {
    let (scene, id) = rehearsed_by_ci("ALTER TABLE dish ADD price int;");
    let receipt = scene.store.directory().join(format!("rehearsals/{id}/receipt.sig"));
    let signature = std::fs::read(&receipt).unwrap();
    std::fs::remove_file(&receipt).unwrap();
    let refused = scene.run(3, &["apply", "--yes", "--rehearsal", &id]);
    assert!(refused.stderr.contains("it is not signed"), "{}", refused.stderr);
    std::fs::write(&receipt, signature).unwrap();
    scene.run(0, &["apply", "--yes", "--rehearsal", &id]);
    assert_eq!(scene.database.query("SELECT count(price) FROM dish"), "0");

    // The record of the run says which snapshot is the one before it.
    let before = ["restore", "--before", "last-apply", "--dry-run"];
    scene.run(0, &before);
    let runs = scene.store.directory().join("runs");
    let record = std::fs::read_dir(&runs).unwrap().map(|entry| entry.unwrap().path());
    let record = record.filter(|path| path.extension().is_some_and(|end| end == "json")).max().unwrap();
    let text = std::fs::read_to_string(&record).unwrap();
    let other = scene.snapshots().into_iter().find(|id| !text.contains(id.as_str())).unwrap();
    let mut value: Value = serde_json::from_str(&text).unwrap();
    value["snapshot_id"] = other.as_str().into();
    std::fs::write(&record, value.to_string()).unwrap();
    let refused = scene.run(6, &before);
    assert!(refused.stderr.contains("is not signed by a key that counts"), "{}", refused.stderr);
}

#[test]
fn security_a_receipt_of_a_ci_stands_for_no_loss() {
    let refused = |scene: &Scene, id: &str| {
        let output = scene.run(3, &["apply", "--yes", "--rehearsal", id]);
        assert!(output.stderr.contains("may sign receipts only"), "{}", output.stderr);
    };
    let (scene, id) = rehearsed_by_ci("DELETE FROM dish;");
    refused(&scene, &id);
    // Whoever has its key says in the report what they like: the plan's own text touches rows.
    receipts::forge(&scene, &id);
    let key = std::fs::read_to_string(scene.project.directory().join("home/ci.pem")).unwrap();
    let key = SigningKey::from_pem(&key).unwrap();
    let receipt = scene.store.directory().join(format!("rehearsals/{id}/receipt.json"));
    let signature = receipt.with_extension("sig");
    let mut statement = Statement::read(&std::fs::read(&signature).unwrap()).unwrap();
    statement.sha256 = hex::encode(Sha256::digest(std::fs::read(&receipt).unwrap()));
    std::fs::write(&signature, statement.sign(&key)).unwrap();
    refused(&scene, &id);
    assert_eq!(scene.database.query("SELECT count(*) FROM dish"), "50");
}
