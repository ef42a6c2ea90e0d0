//! Kept shadows under several rehearsals at once, kills and interrupts.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::support::{COPIED, Cached, Version, rounds};

#[test]
fn rehearse_cache_serves_two_at_once() {
    let cached = Cached::new(Version::V15);
    cached.migrate("SELECT pg_sleep(1); UPDATE dish SET price = 0", "SELECT 1");
    let id = cached.scene.take_snapshot();
    for from_cache in [false, true] {
        // The first two write the same entry; the next two use it.
        let both: Vec<_> = (0..2)
            .map(|_| {
                let mut command = cached.scene.project.command(&["rehearse", "--snapshot", &id, "--json"]);
                command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        for child in both {
            let output = child.wait_with_output().unwrap();
            let (stdout, stderr) =
                (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
            assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
            let document: Value = serde_json::from_str(&stdout).unwrap();
            assert_eq!(document["rehearsal"]["value_changes"][0]["changed"], 5000, "{stdout}");
            assert_eq!(stderr.contains(COPIED), from_cache, "{stderr}");
            assert!(!stderr.contains("cached shadow") && !stderr.contains("not kept"), "{stderr}");
        }
        cached.entry();
    }
    cached.nothing_else_is_left();
}

/// Kills at even distances over a rehearsal that writes an entry, and over one that runs from it.
fn a_kill_leaves_a_valid_entry_or_none(version: Version, kills: u32) {
    let cached = Cached::new(version);
    let id = cached.scene.take_snapshot();
    for from_cache in [false, true] {
        let begun = Instant::now();
        cached.rehearse_expecting(&id, from_cache);
        let whole = begun.elapsed();
        for round in 0..kills {
            if !from_cache && cached.cache().exists() {
                fs::remove_dir_all(cached.cache()).unwrap();
            }
            let mut command = cached.scene.project.command(&["rehearse", "--snapshot", &id]);
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(whole.mul_f64((f64::from(round) + 0.5) / f64::from(kills)));
            child.kill().unwrap();
            child.wait().unwrap();
            cached.nothing_else_is_left();
            let entries = cached.entries();
            let finished: Vec<&PathBuf> = entries.iter().filter(|path| path.join("entry.json").exists()).collect();
            assert!(!from_cache || finished.len() == 1, "round {round}: {entries:?}");
            // What is there is used, which compares its files with what was written; what is not finished is removed.
            cached.rehearse_expecting(&id, !finished.is_empty());
            cached.entry();
        }
    }
    cached.nothing_else_is_left();
}

#[test]
fn rehearse_cache_killed_at_any_instant() {
    let kills = rounds(3, 40);
    a_kill_leaves_a_valid_entry_or_none(Version::V15, kills);
}

#[test]
fn rehearse_cache_killed_at_any_instant_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    let kills = rounds(3, 20);
    a_kill_leaves_a_valid_entry_or_none(Version::V18, kills);
}

/// Interrupted while it writes: it removes what it began, and says nothing of a cache.
#[test]
fn rehearse_cache_interrupted_while_it_is_written() {
    let cached = Cached::new(Version::V15);
    cached
        .scene
        .database
        .sql("CREATE TABLE big AS SELECT i, repeat(md5(i::text), 20) AS b FROM generate_series(1, 150000) i");
    let id = cached.scene.take_snapshot();
    let mut command = cached.scene.project.command(&["rehearse", "--snapshot", &id]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = SystemTime::now() + Duration::from_secs(60);
    while cached.entries().is_empty() {
        assert!(child.try_wait().unwrap().is_none() && SystemTime::now() < deadline, "an entry is begun");
        std::thread::sleep(Duration::from_millis(2));
    }
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    cached.nothing_else_is_left();
    let left = cached.entries();
    assert!(left.iter().all(|path| path.join("entry.json").exists()), "{left:?}");
}
