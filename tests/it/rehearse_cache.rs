//! Restored shadows kept for the next rehearsal: used when they are exactly what would be restored, and never else.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{COPIED, Cached, KEPT, Output, RESTORED, Version, description};

fn change_description(entry: &Path, change: impl Fn(&mut Value)) {
    let mut value = description(entry);
    change(&mut value);
    fs::write(entry.join("entry.json"), value.to_string()).unwrap();
}

/// Every file and directory below, with what `stat` says of it.
fn tree(root: &Path) -> Vec<(PathBuf, u32, i64, i64, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        found.push((path.clone(), metadata.mode(), metadata.mtime(), metadata.mtime_nsec(), metadata.len()));
        if metadata.is_dir() {
            found.extend(tree(&path));
        }
    }
    found.sort();
    found
}

/// The report without what differs from run to run.
fn measured(output: &Output) -> Value {
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    let mut report = document["rehearsal"].clone();
    for field in ["id", "started_at", "finished_at", "restored_at", "phases"] {
        report.as_object_mut().unwrap().remove(field);
    }
    without_times(&mut report);
    report
}

fn without_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !name.contains("milliseconds") && !name.contains("wal"));
            fields.values_mut().for_each(without_times);
        }
        Value::Array(values) => values.iter_mut().for_each(without_times),
        _ => {}
    }
}

fn an_edited_migration_is_rehearsed_without_restoring_again(version: Version) {
    let cached = Cached::new(version);
    let id = cached.scene.take_snapshot();
    cached.rehearse_expecting(&id, false);
    assert_eq!(cached.snapshots_in_cache(), std::slice::from_ref(&id));
    assert!(fs::read_to_string(cached.entry().join("entry.json")).unwrap().contains("\"proven_at\""));

    cached.migrate(
        "ALTER TABLE dish ADD note text; UPDATE dish SET note = name; DELETE FROM dish WHERE id > 4990",
        "ALTER TABLE dish DROP note",
    );
    let from_cache = cached.rehearse(&id, &["--json"]);
    assert!(from_cache.stderr.contains(COPIED) && !from_cache.stderr.contains(RESTORED), "{}", from_cache.stderr);
    let before = tree(&cached.cache());
    let restored = cached.rehearse(&id, &["--json", "--no-cache"]);
    assert!(restored.stderr.contains(RESTORED) && !restored.stderr.contains(KEPT), "{}", restored.stderr);
    assert_eq!(tree(&cached.cache()), before, "--no-cache does not touch it");
    assert_eq!(measured(&from_cache), measured(&restored));
    assert_eq!(measured(&restored)["losses"][0]["amount"], 10);
    // What a rehearsal did to its copy is not in the entry.
    assert_eq!(measured(&cached.rehearse(&id, &["--json"])), measured(&restored));

    // Only `rehearse` uses it: a verification really restores.
    let before = tree(&cached.cache());
    cached.scene.run(0, &["snapshot", "verify", &id, "--level", "restore"]);
    cached.migrate(
        "UPDATE dish SET price = price + 1 WHERE id <= 10",
        "UPDATE dish SET price = price - 1 WHERE id <= 10",
    );
    cached.scene.run(0, &["apply", "--yes"]);
    assert_eq!(tree(&cached.cache()), before);

    cached.scene.project.write_migration("menu", "0001_x", "-- migrate:up\nSELECT 1;\n-- migrate:down\nSELECT 1;\n");
    let second = cached.scene.take_snapshot();
    cached.rehearse_expecting(&second, false);
    let mut both = vec![id, second];
    both.sort();
    assert_eq!(cached.snapshots_in_cache(), both);
    cached.nothing_else_is_left();
}

#[test]
fn rehearse_cache_an_edited_migration_does_not_restore_again() {
    an_edited_migration_is_rehearsed_without_restoring_again(Version::V15);
}

#[test]
fn rehearse_cache_an_edited_migration_does_not_restore_again_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    an_edited_migration_is_rehearsed_without_restoring_again(Version::V18);
}

#[test]
fn rehearse_cache_is_for_this_user_only() {
    let cached = Cached::new(Version::V15);
    let id = cached.scene.take_snapshot();
    cached.rehearse(&id, &["--no-cache"]);
    assert!(!cached.cache().exists());
    cached.rehearse_expecting(&id, false);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&cached.cache()), 0o700);
    for (path, mode, ..) in tree(&cached.cache()) {
        assert_eq!(mode & 0o077, 0, "{}", path.display());
        assert_eq!(fs::metadata(&path).unwrap().uid(), rustix::process::geteuid().as_raw(), "{}", path.display());
    }
    // What others may have written to is neither used nor changed.
    fs::set_permissions(cached.cache(), fs::Permissions::from_mode(0o770)).unwrap();
    let before = tree(&cached.cache());
    let output = cached.rehearse(&id, &[]);
    let words = "is not a directory that only this user may enter";
    assert!(output.stderr.contains(words) && output.stderr.contains(RESTORED), "{}", output.stderr);
    assert_eq!(tree(&cached.cache()), before);
    fs::set_permissions(cached.cache(), fs::Permissions::from_mode(0o700)).unwrap();
    cached.rehearse_expecting(&id, true);

    let elsewhere = tempfile::tempdir().unwrap();
    let moved = elsewhere.path().join("cache");
    assert!(std::process::Command::new("cp").arg("-a").arg(cached.cache()).arg(&moved).status().unwrap().success());
    fs::remove_dir_all(cached.cache()).unwrap();
    std::os::unix::fs::symlink(&moved, cached.cache()).unwrap();
    let output = cached.rehearse(&id, &[]);
    assert!(output.stderr.contains(words) && output.stderr.contains(RESTORED), "{}", output.stderr);
}

#[test]
fn rehearse_cache_removes_what_was_not_used_for_the_longest_time() {
    let cached = Cached::new(Version::V15);
    let first = cached.scene.take_snapshot();
    cached.rehearse_expecting(&first, false);
    let bytes = description(&cached.entry())["data"]["bytes"].as_u64().unwrap();
    cached.scene.database.sql("INSERT INTO dish VALUES (6000, 'new', 1)");
    let second = cached.scene.take_snapshot();
    cached.rehearse_expecting(&second, false);
    assert_eq!(cached.entries().len(), 2);

    // The first was used last, so the second goes.
    cached.rehearse_expecting(&first, true);
    cached.limit(&(bytes * 5 / 2).to_string());
    cached.scene.database.sql("INSERT INTO dish VALUES (6001, 'new', 1)");
    let third = cached.scene.take_snapshot();
    cached.rehearse_expecting(&third, false);
    assert_eq!(cached.snapshots_in_cache(), [first.clone(), third.clone()]);
    cached.rehearse_expecting(&first, true);

    // A smaller limit counts from the next rehearsal on; the entry that it uses is not taken from under it.
    cached.limit(&(bytes * 3 / 2).to_string());
    cached.rehearse_expecting(&first, true);
    assert_eq!(cached.snapshots_in_cache(), std::slice::from_ref(&first));

    cached.limit("1MB");
    let output = cached.rehearse(&second, &[]);
    assert!(output.stderr.contains("is not kept for the next rehearsal: it takes "), "{}", output.stderr);
    assert_eq!(cached.entries(), Vec::<PathBuf>::new());
    cached.limit("0");
    let output = cached.rehearse(&second, &[]);
    assert!(!output.stderr.contains("kept") && output.stderr.contains(RESTORED), "{}", output.stderr);

    // What is deleted from the store is not kept here either.
    cached.limit("1GB");
    cached.rehearse_expecting(&first, false);
    cached.rehearse_expecting(&second, false);
    cached.scene.run(0, &["snapshot", "delete", &second, "--yes"]);
    assert_eq!(cached.snapshots_in_cache(), [first]);
    cached.nothing_else_is_left();
}

type Change<'a> = &'a dyn Fn(&Path);

/// The largest file of the table in an entry.
fn a_table_file(entry: &Path) -> PathBuf {
    let files = tree(&entry.join("data/base")).into_iter().filter(|(path, ..)| path.is_file());
    files.max_by_key(|(.., length)| *length).unwrap().0
}

#[test]
fn rehearse_cache_trusts_only_an_entry_that_is_exactly_what_was_kept() {
    let cached = Cached::new(Version::V15);
    let id = cached.scene.take_snapshot();
    cached.rehearse_expecting(&id, false);
    let name = cached.entry();
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    let damage: [(&str, Change<'_>); 9] = [
        ("a bit of a row", &|entry| flip(&a_table_file(entry))),
        ("a bit of the commit log", &|entry| flip(&entry.join("data/pg_xact/0000"))),
        ("a file is shorter", &|entry| {
            let file = fs::OpenOptions::new().write(true).open(a_table_file(entry)).unwrap();
            file.set_len(8192).unwrap();
        }),
        ("a file is gone", &|entry| fs::remove_file(a_table_file(entry)).unwrap()),
        ("a file more", &|entry| fs::write(entry.join("data/postgresql.auto.conf.new"), "x").unwrap()),
        ("a setting", &|entry| {
            let file = entry.join("data/postgresql.conf");
            let text = fs::read_to_string(&file).unwrap();
            fs::write(file, format!("{text}\nwork_mem = '1GB'\n")).unwrap();
        }),
        ("of another manifest", &|entry| change_description(entry, |value| value["origin"]["manifest"] = "0".into())),
        ("of another server", &|entry| {
            change_description(entry, |value| value["origin"]["postgresql"] = "15.1".into())
        }),
        ("no description", &|entry| fs::write(entry.join("entry.json"), "{\"origin\":").unwrap()),
    ];
    for (what, change) in damage {
        change(&name);
        let output = cached.rehearse(&id, &[]);
        let is_damaged = what.starts_with("a ");
        assert!(output.stderr.contains(RESTORED) && output.stderr.contains(KEPT), "{what}: {}", output.stderr);
        assert!(!output.stdout.contains("from the cache"), "{what}: {}", output.stdout);
        assert_eq!(
            output.stderr.contains("the cached shadow cannot be used (the entry cannot be copied"),
            is_damaged,
            "{what}: {}",
            output.stderr
        );
        assert_eq!(cached.entry(), name, "{what}: it was removed, and the new one kept");
    }
    cached.rehearse_expecting(&id, true);

    // What is none of ours by its name and words, and what a dead run began to write.
    let foreign = cached.cache().join("20200101T000000Z-000000-0000000000000000");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("file"), "x").unwrap();
    let unfinished = cached.cache().join("new-abcdef");
    fs::create_dir_all(unfinished.join("entry/data")).unwrap();
    let owner = serde_json::json!({ "pid": 4_194_304, "started": "1", "place": place() });
    fs::write(unfinished.join("owner.json"), owner.to_string()).unwrap();
    // Another entry's files under this one's name: the description is of another snapshot.
    let other = cached.cache().join("20200101T000000Z-000001-0000000000000000");
    assert!(std::process::Command::new("cp").arg("-a").arg(&name).arg(&other).status().unwrap().success());
    cached.rehearse_expecting(&id, true);
    assert_eq!(cached.entry(), name);
    cached.nothing_else_is_left();
}

/// As a run writes it, with which a dead process is told from one in another container.
fn place() -> String {
    let host = rustix::system::uname();
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap();
    format!("{} {}", host.nodename().to_string_lossy(), namespace.display())
}
