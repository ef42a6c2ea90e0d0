//! One restored state on disk: `data` (the files of the stopped server), `entry.json` (what it is) and `lock`.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::postgres::Programs;

use super::tree::Tree;

const DESCRIPTION: &str = "entry.json";
const LOCK: &str = "lock";

/// Everything that makes a restored state what it is. Two that are equal would be restored equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Version of the cache's own form, and of the settings that every private server has.
    pub format: u32,
    /// Version of this program.
    pub safe_migrate: String,
    /// The snapshot; or the name of what else was kept.
    pub snapshot: String,
    /// SHA-256 of its manifest; or of what else it was made of.
    pub manifest: String,
    /// Version of the server that restored it.
    pub postgresql: String,
    /// Its programs.
    pub programs: PathBuf,
    /// The operating system: another one may sort texts otherwise than the indexes were built.
    pub system: String,
    /// The bootstrap superuser.
    pub superuser: String,
    /// The server's settings over the defaults.
    pub settings: Vec<(String, String)>,
}

impl Origin {
    /// What these programs make of something that is called `name` and whose content has this hash.
    pub fn new(
        name: &str,
        content: &str,
        programs: &Programs,
        superuser: &str,
        settings: Vec<(String, String)>,
    ) -> Self {
        Self {
            format: super::FORMAT,
            safe_migrate: env!("CARGO_PKG_VERSION").to_owned(),
            snapshot: name.to_owned(),
            manifest: content.to_owned(),
            postgresql: programs.version().to_string(),
            programs: programs.dir().canonicalize().unwrap_or_else(|_| programs.dir().to_owned()),
            system: system(),
            superuser: superuser.to_owned(),
            settings,
        }
    }

    /// The name of its entry: the snapshot's id, and 16 digits of a hash of all the rest.
    pub fn entry_name(&self) -> String {
        let text = serde_json::to_vec(self).unwrap_or_default();
        format!("{}-{}", self.snapshot, hex::encode(&Sha256::digest(text)[..8]))
    }
}

/// Architecture and release of the operating system, as far as it says.
fn system() -> String {
    let release = fs::read("/etc/os-release").unwrap_or_default();
    let name = rustix::system::uname();
    let name = [name.sysname(), name.machine()].map(|part| part.to_string_lossy().into_owned()).join(" ");
    format!("{name} {}", &hex::encode(Sha256::digest(release))[..16])
}

/// What an entry says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// What was restored, by what.
    pub origin: Origin,
    /// When it was restored and proven.
    #[serde(with = "time::serde::rfc3339")]
    pub proven_at: OffsetDateTime,
    /// The files.
    pub data: Tree,
}

impl Description {
    /// Reads that of an entry; none when it has none that can be read.
    pub fn read(entry: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(entry.join(DESCRIPTION)).ok()?).ok()
    }

    /// Writes it, and the lock, into an entry that is being made.
    pub fn write(&self, entry: &Path) -> io::Result<()> {
        let private = |name| OpenOptions::new().write(true).create_new(true).mode(0o600).open(entry.join(name));
        private(LOCK)?;
        serde_json::to_writer_pretty(private(DESCRIPTION)?, self).map_err(io::Error::from)
    }
}

/// An entry that is in use: nobody removes it while this lives.
#[derive(Debug)]
pub struct Entry {
    /// Where it is.
    pub path: PathBuf,
    /// What it says of itself.
    pub description: Description,
    _lock: File,
}

impl Entry {
    /// Takes an entry into use; none when it is being removed, is damaged, or is not this origin's.
    pub fn open(path: &Path, origin: &Origin) -> Option<Self> {
        let lock = OpenOptions::new().write(true).open(path.join(LOCK)).ok()?;
        lock.try_lock_shared().ok()?;
        // Read under the lock: before a removal the description goes first.
        let description = Description::read(path).filter(|description| description.origin == *origin)?;
        // When it was last used decides what goes first; a disk that is full or read-only does not forbid the use.
        let _unwritten = lock.set_modified(SystemTime::now());
        Some(Self { path: path.to_owned(), description, _lock: lock })
    }

    /// The files of its server.
    pub fn data(&self) -> PathBuf {
        data(&self.path)
    }
}

/// Where an entry's files lie.
pub fn data(entry: &Path) -> PathBuf {
    entry.join("data")
}

/// When an entry was last used or, never used, made.
pub fn last_used(entry: &Path) -> Option<SystemTime> {
    fs::metadata(entry.join(LOCK)).ok()?.modified().ok()
}

/// Removes an entry; false when it is in use.
pub fn remove(entry: &Path) -> io::Result<bool> {
    let lock = match OpenOptions::new().write(true).open(entry.join(LOCK)) {
        Ok(lock) => Some(lock),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    match lock.as_ref().map(File::try_lock) {
        None | Some(Ok(())) => {}
        Some(Err(TryLockError::WouldBlock)) => return Ok(false),
        Some(Err(TryLockError::Error(error))) => return Err(error),
    }
    // Killed from here on, what is left is no entry.
    for removed in [fs::remove_file(entry.join(DESCRIPTION)), fs::remove_dir_all(entry)] {
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(true)
}
