//! Directories of ours whose owner is gone: for those of private clusters the second net, under the watchdog.

use super::{ClusterError, data_directory, process};
use crate::postgres::system_user;
use serde::{Deserialize, Serialize};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
        if is_named_so && is_orphan(&dir, run_as) {
            end_postmaster(&dir);
            match std::fs::remove_dir_all(&dir) {
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
fn is_orphan(dir: &Path, run_as: Option<&str>) -> bool {
    let ours = |uid| {
        uid == system_user::effective_uid()
            || system_user::named(run_as.unwrap_or("postgres")).is_some_and(|user| user.uid == uid)
    };
    let Ok(metadata) = std::fs::symlink_metadata(dir) else { return false };
    if !metadata.is_dir() || !ours(metadata.uid()) {
        return false;
    }
    let text = match std::fs::read_to_string(dir.join(OWNER_FILE)) {
        Ok(text) => text,
        // Killed before it wrote its name. Only an empty directory goes, and only when nobody can be about to write.
        Err(_) => return is_old(&metadata) && std::fs::read_dir(dir).is_ok_and(|mut files| files.next().is_none()),
    };
    let Ok(owner) = serde_json::from_str::<Owner>(&text) else { return false };
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

fn is_old(metadata: &std::fs::Metadata) -> bool {
    metadata.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > Duration::from_secs(600)))
}

fn end_postmaster(dir: &Path) {
    let data = data_directory(dir);
    let text = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    if let Some(pid) = text.lines().next().and_then(|line| line.trim().parse().ok()) {
        process::end_server(pid, &data, PATIENCE);
    }
}
