//! A scene whose restored shadows are kept for the next rehearsal.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cluster::Version;
use super::leftovers::ShadowDirectory;
use super::project::Output;
use super::scene::Scene;

/// What `rehearse` says when it restores.
pub const RESTORED: &str = "restoring the snapshot into a shadow";
/// What it says when it keeps what it restored.
pub const KEPT: &str = "keeping the restored shadow for the next rehearsal";
/// What it says when it does not restore.
pub const COPIED: &str = "copying the shadow from the cache (restored and proven ";

/// A database with some rows, a shadow directory of its own, and a cache in it.
pub struct Cached {
    /// Database, store and project.
    pub scene: Scene,
    shadow: ShadowDirectory,
}

impl Cached {
    /// The scene; [`Cached::migrate`] wrote one migration that is pending.
    pub fn new(version: Version) -> Cached {
        let scene = Scene::empty(version);
        let shadow = ShadowDirectory::of(&scene.project);
        scene.database.sql(
            "CREATE TABLE dish (id int PRIMARY KEY, name text, price numeric);
             INSERT INTO dish SELECT i, 'dish ' || i, i FROM generate_series(1, 5000) i;
             CREATE INDEX ON dish (name); CREATE SEQUENCE bill START 7; SELECT nextval('bill')",
        );
        let cached = Cached { scene, shadow };
        cached.limit("1GB");
        cached.migrate(
            "UPDATE dish SET price = price + 1 WHERE id <= 10",
            "UPDATE dish SET price = price - 1 WHERE id <= 10",
        );
        cached
    }

    /// Sets `[shadow] max_cache`.
    pub fn limit(&self, size: &str) {
        let text = fs::read_to_string(self.scene.project.directory().join("safe-migrate.toml")).unwrap();
        let set = |line: &str| match line.starts_with("max_cache") {
            true => format!("max_cache = \"{size}\"\n"),
            false => format!("{line}\n"),
        };
        self.scene.project.configure(&text.lines().map(set).collect::<String>());
    }

    /// Writes the one migration.
    pub fn migrate(&self, up: &str, down: &str) {
        let text = format!("-- migrate:up\n{up};\n-- migrate:down\n{down};\n");
        self.scene.project.write_migration("kitchen", "0001_x", &text);
    }

    /// Rehearses; it must go through.
    #[track_caller]
    pub fn rehearse(&self, id: &str, more: &[&str]) -> Output {
        self.scene.rehearse(&[&["rehearse", "--snapshot", id], more].concat())
    }

    /// Rehearses on a snapshot whose restored shadow must be restored, and kept; or must be there already.
    #[track_caller]
    pub fn rehearse_expecting(&self, id: &str, from_cache: bool) -> Output {
        let output = self.rehearse(id, &[]);
        let words = [(RESTORED, !from_cache), (KEPT, !from_cache), (COPIED, from_cache)];
        for (word, expected) in words {
            assert_eq!(output.stderr.contains(word), expected, "{word}: {}", output.stderr);
        }
        let said = output.stdout.contains("  from the cache: restored and proven 20");
        assert_eq!(said, from_cache, "{}", output.stdout);
        assert!(output.stdout.contains("reversible") && !output.stdout.contains("not reversible"), "{}", output.stdout);
        output
    }

    /// Where the cache is, or would be.
    pub fn cache(&self) -> PathBuf {
        self.shadow.path().join(format!("safe-migrate-cache-{}", rustix::process::geteuid().as_raw()))
    }

    /// What lies in the cache, sorted.
    pub fn entries(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.cache()).into_iter().flatten().map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> = files.collect();
        files.sort();
        files
    }

    /// The only thing in the cache.
    #[track_caller]
    pub fn entry(&self) -> PathBuf {
        let entries = self.entries();
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries[0].clone()
    }

    /// The snapshots that are kept, oldest first.
    #[track_caller]
    pub fn snapshots_in_cache(&self) -> Vec<String> {
        let entries = self.entries();
        entries.iter().map(|entry| description(entry)["origin"]["snapshot"].as_str().unwrap().to_owned()).collect()
    }

    /// Nothing but the cache is left.
    #[track_caller]
    pub fn nothing_else_is_left(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let files: Vec<PathBuf> = self.shadow.files().into_iter().filter(|path| *path != self.cache()).collect();
            let processes = self.shadow.processes();
            if files.is_empty() && processes.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "left: {files:?} {processes:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// What an entry says of itself.
pub fn description(entry: &Path) -> Value {
    serde_json::from_slice(&fs::read(entry.join("entry.json")).unwrap()).unwrap()
}
