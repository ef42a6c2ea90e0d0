//! Every object of a small store is damaged in turn, and each damage is named by table and object (P2).
//!
//! The sweep calls the library, which is quick; one damage of each kind goes through the binary. In the long form
//! (`SAFE_MIGRATE_LONG=1`) every byte of every object is flipped.

use std::collections::BTreeSet;
use std::path::PathBuf;

use safe_migrate::snapshot::{self, Level, SnapshotId};
use safe_migrate::store::{Store, StoreSettings};
use serde_json::Value;

use crate::support::{Scene, Version, chunk_key};

/// Two tables that share a chunk, one of several segments whose chunks are small in the store, and a large object.
const TABLES: &str = "
    CREATE TABLE dish (id int PRIMARY KEY, name text);
    INSERT INTO dish SELECT i, md5(i::text) FROM generate_series(1, 30) i;
    CREATE TABLE guest (name text);
    INSERT INTO guest VALUES ('Ada'), ('Grace');
    CREATE TABLE ledger_line (id int, note text);
    INSERT INTO ledger_line SELECT i, repeat('soup ', 20000) FROM generate_series(1, 175) i;
    SELECT lo_from_bytea(1, 'a large object')";

/// A store with two snapshots, of which the second is damaged.
struct Damaged {
    scene: Scene,
    runtime: tokio::runtime::Runtime,
    older: String,
    id: String,
    objects: Vec<(String, Vec<u8>)>,
}

/// What verification says: each damage as (key, parts, the whole sentence), or the error that ended it.
type Found = Result<Vec<(String, Vec<String>, String)>, String>;

impl Damaged {
    fn new() -> Damaged {
        let scene = Scene::empty(Version::V15);
        scene.database.sql(TABLES);
        let older = scene.take_snapshot();
        scene.database.sql("INSERT INTO guest VALUES ('Barbara')");
        let id = scene.take_snapshot();
        let objects = scene.store.objects();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let mut damaged = Damaged { scene, runtime, older, id, objects };
        let (mine, used) = (damaged.manifest_key(), damaged.used_chunks());
        damaged.objects.retain(|(key, _)| *key == mine || key == "safe-migrate.json" || used.contains(key));
        damaged
    }

    fn manifest_key(&self) -> String {
        format!("snapshots/{}/manifest.json", self.id)
    }

    fn path(&self, key: &str) -> PathBuf {
        self.scene.store.directory().join(key)
    }

    fn bytes(&self, key: &str) -> &[u8] {
        &self.objects.iter().find(|(known, _)| known == key).unwrap().1
    }

    /// The manifest, read by the test itself.
    fn manifest(&self) -> Value {
        serde_json::from_slice(self.bytes(&self.manifest_key())).unwrap()
    }

    /// Pairs of a chunk's key and what it is needed for, as the manifest has it.
    fn uses(&self) -> Vec<(String, String)> {
        let manifest = self.manifest();
        let key = |chunk: &Value| chunk_key(&manifest, chunk.as_str().unwrap());
        let list = |value: &Value| value.as_array().unwrap().clone();
        let mut uses = Vec::new();
        for table in list(&manifest["tables"]) {
            let name = format!("table {}.{}", table["schema"].as_str().unwrap(), table["name"].as_str().unwrap());
            uses.extend(list(&table["segments"]).iter().map(|segment| (key(&segment["chunk"]), name.clone())));
        }
        for (field, name) in
            [("schema", "the schema archive"), ("roles", "the roles"), ("large_objects", "the large objects")]
        {
            uses.extend(list(&manifest[field]["chunks"]).iter().map(|chunk| (key(chunk), name.to_owned())));
        }
        uses
    }

    fn used_chunks(&self) -> BTreeSet<String> {
        self.uses().into_iter().map(|(key, _)| key).collect()
    }

    /// What a damage of this object must be called.
    fn parts(&self, key: &str) -> BTreeSet<String> {
        if !key.starts_with("chunks/") {
            return BTreeSet::from(["the whole snapshot".to_owned()]);
        }
        self.uses().into_iter().filter(|(used, _)| used == key).map(|(_, part)| part).collect()
    }

    fn verify(&self) -> Found {
        self.runtime.block_on(async {
            let settings = StoreSettings::from_url(self.scene.store.url());
            let store = Store::open(&settings).await.map_err(|error| error.to_string())?;
            let id = SnapshotId::parse(&self.id).unwrap();
            let report = snapshot::verify(&store, &id, Level::Hash, |_, _| ()).await;
            let damages = report.map_err(|error| error.to_string())?.damages;
            Ok(damages.iter().map(|one| (one.key.to_string(), one.parts.clone(), one.to_string())).collect())
        })
    }

    /// Damages one object, looks, and puts it back.
    fn with(&self, key: &str, bytes: Option<&[u8]>, check: impl FnOnce()) {
        let path = self.path(key);
        match bytes {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        check();
        std::fs::write(&path, self.bytes(key)).unwrap();
    }

    /// Whether the damage is found, and then named by object and part.
    fn is_named(&self, key: &str, how: &str) -> bool {
        match self.verify() {
            Ok(damages) if damages.is_empty() => return false,
            Ok(damages) => {
                let parts: BTreeSet<String> = damages.iter().flat_map(|(_, parts, _)| parts.clone()).collect();
                assert_eq!(parts, self.parts(key), "{key}, {how}: {damages:?}");
                for (named, _, sentence) in &damages {
                    assert!(named == key && sentence.contains(key), "{key}, {how}: {sentence}");
                }
            }
            Err(error) => assert!(!key.starts_with("chunks/") && error.contains(key), "{key}, {how}: {error}"),
        }
        true
    }
}

/// Whether a changed chunk still decompresses to the same bytes: a bit that zstd does not use.
fn same_content(one: &[u8], other: &[u8]) -> bool {
    zstd::decode_all(one).is_ok_and(|content| content == zstd::decode_all(other).unwrap())
}

/// The bytes to flip: all, or the frame's header, the last ones with its checksum, and some between.
fn positions(length: usize) -> BTreeSet<usize> {
    if crate::support::is_long() {
        return (0..length).collect();
    }
    let between = (1..=4).map(|part| length * part / 5);
    [0, 3, 4, 5, 6, 7, length - 4, length - 1].into_iter().chain(between).filter(|at| *at < length).collect()
}

#[test]
fn damage_of_any_byte_is_named_by_object_and_table() {
    let store = Damaged::new();
    assert_eq!(store.verify(), Ok(Vec::new()));
    let (tables, chunks) = (store.uses(), store.used_chunks());
    assert!(chunks.iter().any(|key| store.parts(key).len() >= 2), "a shared chunk: {tables:?}");
    let several = tables.iter().filter(|(_, part)| part == "table public.ledger_line").count();
    assert!(several >= 2, "several segments: {tables:?}");
    assert_eq!(store.objects.len(), chunks.len() + 2, "and manifest and root");

    for (key, bytes) in &store.objects {
        for at in positions(bytes.len()) {
            let how = format!("byte {at} of {} flipped", bytes.len());
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            store.with(key, Some(&flipped), || {
                // What changes nothing that is read from a chunk is no damage.
                let harmless = key.starts_with("chunks/") && same_content(&flipped, bytes);
                assert_ne!(store.is_named(key, &how), harmless, "{key}, {how}");
            });
        }
        for length in [bytes.len() - 1, bytes.len() / 2, 0] {
            let how = format!("cut to {length} of {} bytes", bytes.len());
            // The last byte of safe-migrate.json is a newline, which JSON does not need.
            let harmless = key == "safe-migrate.json" && length + 1 == bytes.len();
            store.with(key, Some(&bytes[..length]), || assert_ne!(store.is_named(key, &how), harmless, "{key}, {how}"));
        }
        assert_eq!(store.verify(), Ok(Vec::new()), "{key} is put back");
    }
}

#[test]
fn damage_by_removing_exchanging_and_replacing_is_named() {
    let store = Damaged::new();
    for key in store.used_chunks() {
        store.with(&key, None, || assert!(store.is_named(&key, "removed")));
    }
    store.with("safe-migrate.json", None, || assert!(store.verify().unwrap_err().contains("safe-migrate.json")));
    store.with(&store.manifest_key(), None, || assert!(store.verify().unwrap_err().contains(&store.id)));

    let chunks: Vec<String> = store.used_chunks().into_iter().collect();
    for (left, right) in chunks.iter().zip(&chunks[1..]) {
        std::fs::write(store.path(left), store.bytes(right)).unwrap();
        std::fs::write(store.path(right), store.bytes(left)).unwrap();
        let found = store.verify().unwrap();
        for key in [left, right] {
            let (_, parts, _) = found.iter().find(|(named, ..)| named == key).unwrap();
            assert_eq!(parts.iter().cloned().collect::<BTreeSet<_>>(), store.parts(key));
            std::fs::write(store.path(key), store.bytes(key)).unwrap();
        }
        assert_eq!(found.len(), 2, "{found:?}");
    }

    let older = std::fs::read(store.path(&format!("snapshots/{}/manifest.json", store.older))).unwrap();
    store.with(&store.manifest_key(), Some(&older), || {
        let found = store.verify().unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].2.contains(&format!("it is the manifest of {}", store.older)), "{found:?}");
    });
    assert_eq!(store.verify(), Ok(Vec::new()));
}

#[test]
fn damage_of_each_kind_ends_the_binary_with_6() {
    let store = Damaged::new();
    let scene = &store.scene;
    let verify = ["snapshot", "verify", store.id.as_str(), "--level", "hash"];
    let copy = format!("{}_copy", scene.database.name());
    let restore = ["restore", store.id.as_str(), "--to", copy.as_str(), "--yes"];
    let (databases, manifest) = (scene.databases(), store.manifest_key());
    let chunk = store.uses().into_iter().find(|(_, part)| part == "table public.ledger_line").unwrap().0;
    let other = store.uses().into_iter().find(|(_, part)| part == "the schema archive").unwrap().0;
    let flipped = |key: &str| {
        let mut bytes = store.bytes(key).to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    };
    let half = store.bytes(&chunk)[..store.bytes(&chunk).len() / 2].to_vec();
    let older = std::fs::read(store.path(&format!("snapshots/{}/manifest.json", store.older))).unwrap();
    for (key, bytes, part) in [
        (chunk.as_str(), Some(flipped(&chunk)), "table public.ledger_line"),
        (&chunk, Some(half), "table public.ledger_line"),
        (&chunk, None, "table public.ledger_line"),
        (&chunk, Some(store.bytes(&other).to_vec()), "table public.ledger_line"),
        (&other, Some(flipped(&other)), "the schema archive"),
        (&manifest, Some(flipped(&manifest)), ""),
        (&manifest, Some(older), ""),
        ("safe-migrate.json", Some(b"{\"format\": 1,".to_vec()), ""),
    ] {
        store.with(key, bytes.as_deref(), || {
            for arguments in [&verify[..], &restore[..]] {
                let output = scene.run(6, arguments);
                let text = format!("{}{}", output.stdout, output.stderr);
                assert!(text.contains(key) && text.contains(part), "{key}, {part}: {text}");
            }
            assert_eq!(scene.databases(), databases, "{key}: no database is left behind");
            if key == manifest {
                let listed = scene.run(0, &["snapshot", "list"]).stdout;
                let line = listed.lines().find(|line| line.starts_with(&store.id)).unwrap();
                assert!(line.contains("DAMAGED"), "{listed}");
                assert!(listed.lines().any(|line| line.starts_with(&store.older) && !line.contains("DAMAGED")));
            }
        });
        scene.run(0, &verify);
    }
    store.with(&manifest, None, || {
        assert!(scene.run(6, &verify).stderr.contains(&store.id));
        assert!(!scene.run(0, &["snapshot", "list"]).stdout.contains(&store.id), "it is no snapshot any more");
    });
    scene.run(0, &restore);
}

#[test]
fn damage_is_found_by_a_restore_and_a_good_snapshot_is_proven_by_one() {
    let store = Damaged::new();
    let scene = &store.scene;
    let verify = ["snapshot", "verify", store.id.as_str(), "--level", "restore"];
    let proven = scene.run(0, &verify).stdout;
    let expected = format!(
        "snapshot {} restores: 208 rows in 3 tables and 0 sequences equal the manifest; the schema equals a plain pg_restore\n",
        store.id
    );
    assert_eq!(proven, expected);

    for part in ["table public.ledger_line", "table public.guest", "the schema archive", "the large objects"] {
        let key = store.uses().into_iter().find(|(_, named)| named == part).unwrap().0;
        let mut bytes = store.bytes(&key).to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 0x80;
        store.with(&key, Some(&bytes), || {
            let output = scene.run(6, &verify);
            assert!(output.stdout.contains(&key) && output.stdout.contains(part), "{}", output.stdout);
            assert!(output.stderr.contains("1 found"), "{}", output.stderr);
        });
    }
}
