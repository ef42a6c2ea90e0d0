//! Stores that earlier versions wrote, kept as files forever, are read, verified and restored by this one.

use std::path::{Path, PathBuf};

use crate::support::{Scene, Version};

/// The snapshot in `store-format-1`, and its only chunk of rows.
const ID: &str = "20261122T170854Z-35e6b4";
const ROWS: &str = "chunks/ba/bad4be209150c35d019a218b1a3e04174116d7197b8dba51828a37942b22db64";

/// A scene whose store is a copy of the kept one.
fn scene() -> Scene {
    let scene = Scene::empty(Version::V15);
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/store-format-1");
    copy(&kept, scene.store.directory());
    scene
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

fn file(scene: &Scene, key: &str) -> PathBuf {
    scene.store.directory().join(key)
}

#[test]
fn a_store_of_format_1_is_read_verified_and_restored() {
    let scene = scene();
    let listed = scene.run(0, &["snapshot", "list", "--all-sources"]).stdout;
    assert!(listed.contains(ID) && !listed.contains("DAMAGED"), "{listed}");
    let shown = scene.run(0, &["snapshot", "show", ID]).stdout;
    assert!(shown.contains("3 rows in 1 table") && !shown.contains("vacuum"), "{shown}");
    scene.run(0, &["snapshot", "verify", ID, "--level", "hash"]);

    let copy = format!("{}_copy", scene.database.name());
    scene.run(0, &["restore", ID, "--to", &copy, "--yes"]);
    let rows = scene.cluster().query(&copy, "SELECT id, name, price, served FROM dish ORDER BY id");
    assert_eq!(rows, "1|Ugali|4.50|t\n2|Isombe with \"peas\"|6.00|f\n3|||");
    let next = scene.cluster().query(&copy, "INSERT INTO dish (name) VALUES ('Brochette') RETURNING id");
    assert_eq!(next, "4", "the sequence goes on");
}

#[test]
fn a_store_of_format_1_goes_on_in_place_and_is_pruned() {
    let scene = scene();
    scene.database.sql("CREATE TABLE dish (id int); INSERT INTO dish VALUES (1)");
    let root = |scene: &Scene| std::fs::read_to_string(file(scene, "safe-migrate.json")).unwrap();
    let prune = |scene: &Scene| scene.run(0, &["store", "prune", "--yes"]).stdout;
    assert!(prune(&scene).starts_with("nothing to remove") && root(&scene).contains("\"format\": 1"));
    let first = scene.take_snapshot();
    assert!(root(&scene).contains("\"format\": 2") && root(&scene).contains("raised_at"), "{}", root(&scene));
    scene.run(0, &["snapshot", "verify", ID, "--level", "hash"]);
    scene.run(0, &["snapshot", "delete", ID, "--yes"]);
    assert!(prune(&scene).contains("of format 1 unused: they stay until a week after"));
    assert!(file(&scene, ROWS).exists());

    let text = root(&scene).replace("\"raised_at\": \"20", "\"raised_at\": \"19");
    std::fs::write(file(&scene, "safe-migrate.json"), text).unwrap();
    assert!(prune(&scene).starts_with("removed "));
    assert!(!file(&scene, ROWS).exists());
    scene.run(0, &["snapshot", "verify", &first, "--level", "hash"]);
}

#[test]
fn broken_stores_of_format_1_are_named() {
    type Damage = fn(&mut Vec<u8>);
    let manifest = format!("snapshots/{ID}/manifest.json");
    let cases: [(&str, Damage, &str); 4] = [
        (ROWS, |bytes| bytes[9] ^= 1, "table public.dish"),
        (ROWS, |bytes| bytes.truncate(9), "table public.dish"),
        (&manifest, |bytes| bytes.truncate(700), "the whole snapshot"),
        ("safe-migrate.json", |bytes| bytes.truncate(20), ""),
    ];
    for (key, damage, part) in cases {
        let scene = scene();
        let mut bytes = std::fs::read(file(&scene, key)).unwrap();
        damage(&mut bytes);
        std::fs::write(file(&scene, key), bytes).unwrap();
        let output = scene.run(6, &["snapshot", "verify", ID, "--level", "hash"]);
        let text = format!("{}{}", output.stdout, output.stderr);
        assert!(text.contains(key) && text.contains(part), "{key}: {text}");
    }
}
