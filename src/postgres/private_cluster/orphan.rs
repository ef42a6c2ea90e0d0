//! Directories of ours whose owner is gone: for those of private clusters the second net, under the watchdog.

use super::{ClusterError, account, below, data_directory, process};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const OWNER_FILE: &str = "owner.json";

/// How long an orphaned server may take to end when told to, before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// The process that a cluster belongs to.
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    pid: u32,
    started: Option<String>,
    place: String,
}

/// Writes down that the directory belongs to this process.
pub(super) fn write_owner(dir: &Path) -> Result<(), ClusterError> {
    let pid = std::process::id();
    let owner = Owner { pid, started: process::start_time(pid), place: process::place() };
    let path = dir.join(OWNER_FILE);
    let text = serde_json::to_string(&owner).map_err(std::io::Error::from);
    text.and_then(|text| std::fs::write(&path, text)).map_err(|source| ClusterError::Io { what: "write", path, source })
}

/// What the name of a directory of this process holds, so that one without an owner's file can be told too:
/// `1a2b-4711-`, a hash of the place and the process number, short because a socket's path must be.
pub(super) fn owner_in_name() -> String {
    format!("{}-{}-", place_hash(), std::process::id())
}

fn place_hash() -> String {
    hex::encode(&Sha256::digest(process::place())[..2])
}

/// Whether the name says that a process of this place made it, and there is no such process any more.
fn is_named_by_a_dead_process(dir: &Path, prefixes: &[&str]) -> bool {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let tail = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or_default();
    let mut words = tail.split('-');
    let place = words.next().is_some_and(|place| place == place_hash());
    let pid = words.next().and_then(|pid| pid.parse().ok());
    place && pid.is_some_and(|pid| process::start_time(pid).is_none())
}

/// Removes what killed runs left in `parent` under names that begin like this; gives the directories removed.
pub(super) fn sweep(parent: &Path, prefixes: &[&str], run_as: Option<&str>) -> Result<Vec<PathBuf>, ClusterError> {
    let io = |what, path: &Path| {
        let path = path.to_owned();
        move |source| ClusterError::Io { what, path, source }
    };
    let mut removed = Vec::new();
    for entry in std::fs::read_dir(parent).map_err(io("read", parent))? {
        let entry = entry.map_err(io("read", parent))?;
        let dir = entry.path();
        let name = entry.file_name();
        let is_named_so = prefixes.iter().any(|prefix| name.to_string_lossy().starts_with(prefix));
        if is_named_so && is_orphan(&dir, prefixes, run_as) {
            end_postmaster(&dir);
            match remove(&dir) {
                // Its watchdog, or another run that sweeps, was faster.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                result => {
                    result.map_err(io("remove", &dir))?;
                    removed.push(dir);
                }
            }
        }
    }
    Ok(removed)
}

/// Whether the directory is one of ours, made on this machine by a process that is gone. Anything unclear is left.
fn is_orphan(dir: &Path, prefixes: &[&str], run_as: Option<&str>) -> bool {
    let Ok(metadata) = std::fs::symlink_metadata(dir) else { return false };
    if !metadata.is_dir() || !account::may_be_ours(metadata.uid(), run_as) {
        return false;
    }
    let text = below::read(dir, OWNER_FILE).unwrap_or_default();
    let Ok(owner) = serde_json::from_str::<Owner>(&text) else {
        // Killed before it had written its name. Only an empty directory goes, when nobody can be about to write.
        let is_owner = |entry: std::io::Result<std::fs::DirEntry>| entry.is_ok_and(|one| one.file_name() == OWNER_FILE);
        let is_empty = std::fs::read_dir(dir).is_ok_and(|mut files| files.all(is_owner));
        return is_empty && (is_named_by_a_dead_process(dir, prefixes) || is_old(&metadata));
    };
    // The same number in another container or on another machine says nothing about the owner.
    if owner.place != process::place() {
        return false;
    }
    match (process::start_time(owner.pid), owner.started) {
        (None, _) => true,
        (Some(now), Some(then)) => now != then,
        (Some(_), None) => false,
    }
}

/// What the killed process had started, or its watchdog, may still be busy in there.
fn remove(dir: &Path) -> std::io::Result<()> {
    let begun = Instant::now();
    loop {
        match std::fs::remove_dir_all(dir) {
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty && begun.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(50));
            }
            result => return result,
        }
    }
}

fn is_old(metadata: &std::fs::Metadata) -> bool {
    metadata.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > Duration::from_secs(600)))
}

fn end_postmaster(dir: &Path) {
    let data = data_directory(dir);
    let text = below::read(dir, "data/postmaster.pid").unwrap_or_default();
    if let Some(pid) = text.lines().next().and_then(|line| line.trim().parse().ok()) {
        process::end_server(pid, &data, PATIENCE);
    }
}
