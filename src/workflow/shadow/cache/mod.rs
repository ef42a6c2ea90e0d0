//! Restored states kept for the next rehearsal on the same snapshot (`[shadow] max_cache`).
//!
//! They lie in `safe-migrate-cache-<uid>` in `[shadow] dir`, which only this user may enter: they hold production's rows.
//! An entry appears complete, by a rename, from a server that was shut down cleanly; and its files are hashed again each
//! time they are used, so that a damaged one is found before anything runs on it. Therefore nothing is flushed to the
//! disk: an entry that a crash of the machine damages is removed, and the snapshot restored again.

mod entry;
mod tree;

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use time::OffsetDateTime;

use crate::postgres::{StoppedCluster, WorkDirectory};
use crate::report::format_bytes;

use super::super::doctor::space::free_bytes;
use entry::Description;
use tree::{Copying, Listing};

pub use entry::{Entry, Origin};

/// Raised when the files of an entry, or the settings that every private server has, are others than before.
const FORMAT: u32 = 1;

/// Bytes of all templates: a few versions of PostgreSQL, a few names of superusers.
const TEMPLATES_LIMIT: u64 = 200_000_000;

/// How the directories begin in which entries are made.
const UNFINISHED: &str = "new-";

/// Why a state was not kept, or not taken from the cache. The rehearsal goes on without.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Others could have written to it.
    #[error("{} is not a directory that only this user may enter", .0.display())]
    NotPrivate(PathBuf),
    /// More than is allowed.
    #[error("it takes {}, and [shadow] max_cache and half of the free disk allow {}", format_bytes(*.bytes), format_bytes(*.allowed))]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// What is allowed.
        allowed: u64,
    },
    /// Its files are not those that were put there.
    #[error("its files are not as they were written")]
    Damaged,
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The directory of the entries.
#[derive(Clone, Debug)]
pub struct ShadowCache {
    dir: PathBuf,
    limit: u64,
    threads: usize,
}

impl ShadowCache {
    /// The cache in this directory for shadows, of at most `limit` bytes. Nothing is made yet.
    pub fn new(shadow_dir: &Path, limit: u64, threads: usize) -> Self {
        Self { dir: shadow_dir.join(format!("safe-migrate-cache-{}", user())), limit, threads }
    }

    /// The same for templates of empty servers, which have about 40 MB each and nothing of anybody's database.
    pub fn for_templates(shadow_dir: &Path, threads: usize) -> Self {
        Self { dir: shadow_dir.join(format!("safe-migrate-templates-{}", user())), limit: TEMPLATES_LIMIT, threads }
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Bytes that it may have.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Its entries: paths and bytes, the one first that was not used for the longest time.
    pub fn entries(&self) -> io::Result<Vec<(PathBuf, u64)>> {
        let mut found = Vec::new();
        for path in self.directories()? {
            if let (Some(description), Some(used)) = (Description::read(&path), entry::last_used(&path)) {
                found.push((used, path, description.data.bytes));
            }
        }
        found.sort();
        Ok(found.into_iter().map(|(_, path, bytes)| (path, bytes)).collect())
    }

    /// The entry of this origin, kept from removal while it is used. What killed runs left, what is not as it should be and
    /// what is beyond the limit is removed first.
    pub fn find(&self, origin: &Origin) -> Result<Option<Entry>, CacheError> {
        if !self.dir.exists() {
            return Ok(None);
        }
        self.check_private()?;
        let path = self.dir.join(origin.entry_name());
        let entry = Entry::open(&path, origin);
        if entry.is_none() && path.exists() {
            entry::remove(&path)?;
        }
        self.tidy()?;
        self.shrink(self.allowed()?)?;
        Ok(entry)
    }

    /// Copies an entry's files to where a server will use them, and compares them with what they were.
    pub async fn copy_out(&self, entry: Entry, to: PathBuf, owner: Option<(u32, u32)>) -> Result<Entry, CacheError> {
        let threads = self.threads;
        in_a_thread(move |stop| {
            let from = entry.data();
            let tree =
                Listing::read(&from, |_| false)?.copy(&Copying { from: &from, to: &to, owner, threads, stop })?;
            if tree == entry.description.data { Ok(entry) } else { Err(CacheError::Damaged) }
        })
        .await
    }

    /// Keeps the files of a stopped server as the entry of this origin.
    pub async fn keep(&self, origin: Origin, stopped: StoppedCluster) -> Result<(), CacheError> {
        let cache = self.clone();
        in_a_thread(move |stop| cache.write(origin, &stopped, stop)).await
    }

    /// Fails when there is no room for so many bytes, whatever is removed, or the place is not ours alone.
    pub fn check_room(&self, bytes: u64) -> Result<(), CacheError> {
        if self.dir.symlink_metadata().is_ok() {
            self.check_private()?;
        }
        let allowed = self.allowed()?;
        if bytes > allowed { Err(CacheError::TooLarge { bytes, allowed }) } else { Ok(()) }
    }

    fn write(&self, origin: Origin, stopped: &StoppedCluster, stop: &AtomicBool) -> Result<(), CacheError> {
        let listing = Listing::read(&stopped.data, |path| stopped.is_needless(path))?;
        match std::fs::DirBuilder::new().mode(0o700).create(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => self.check_private()?,
        }
        let bytes = listing.bytes();
        self.check_room(bytes)?;
        self.shrink(self.allowed()?.saturating_sub(bytes))?;
        let unfinished = WorkDirectory::named(&self.dir, UNFINISHED)?;
        let made = unfinished.path().join("entry");
        std::fs::DirBuilder::new().mode(0o700).create(&made)?;
        let (from, to) = (&stopped.data, &entry::data(&made));
        let data = listing.copy(&Copying { from, to, owner: None, threads: self.threads, stop })?;
        let name = origin.entry_name();
        Description { origin, proven_at: OffsetDateTime::now_utc(), data }.write(&made)?;
        match std::fs::rename(&made, self.dir.join(name)) {
            // Another rehearsal on the same snapshot was faster.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            result => Ok(result?),
        }
    }

    /// Removes an entry that cannot be used.
    pub fn discard(&self, entry: &Path) -> Result<(), CacheError> {
        entry::remove(entry)?;
        Ok(())
    }

    /// Removes the entries of a snapshot; their number.
    pub fn forget(&self, snapshot: &str) -> Result<usize, CacheError> {
        if !self.dir.exists() {
            return Ok(0);
        }
        self.check_private()?;
        let mut removed = 0;
        for path in self.directories()? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.strip_prefix(snapshot).is_some_and(|rest| rest.starts_with('-')) {
                removed += usize::from(entry::remove(&path)?);
            }
        }
        Ok(removed)
    }

    /// What others can write to is not trusted, and is not the place for production's rows either.
    fn check_private(&self) -> Result<(), CacheError> {
        let metadata = std::fs::symlink_metadata(&self.dir)?;
        let ours = metadata.uid() == rustix::process::geteuid().as_raw();
        if metadata.is_dir() && ours && metadata.mode() & 0o077 == 0 {
            return Ok(());
        }
        Err(CacheError::NotPrivate(self.dir.clone()))
    }

    fn directories(&self) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for file in std::fs::read_dir(&self.dir)? {
            let file = file?;
            if file.file_type()?.is_dir() && !file.file_name().to_string_lossy().starts_with(UNFINISHED) {
                found.push(file.path());
            }
        }
        Ok(found)
    }

    /// Removes what killed runs left, and what says nothing of itself that is understood here.
    fn tidy(&self) -> Result<(), CacheError> {
        WorkDirectory::sweep(&self.dir, UNFINISHED);
        for path in self.directories()? {
            let described = Description::read(&path).filter(|one| path.ends_with(one.origin.entry_name()));
            if described.is_none() || entry::last_used(&path).is_none() {
                entry::remove(&path)?;
            }
        }
        Ok(())
    }

    /// Bytes that all entries may have: the limit, and never more than half of what would be free without them.
    fn allowed(&self) -> Result<u64, CacheError> {
        let entries = if self.dir.exists() { self.entries()? } else { Vec::new() };
        let kept: u64 = entries.iter().map(|(_, bytes)| bytes).sum();
        Ok(self.limit.min(free_bytes(&self.dir)?.saturating_add(kept) / 2))
    }

    /// Removes entries that are not in use, the oldest use first, until the rest has at most `allowed` bytes.
    fn shrink(&self, allowed: u64) -> Result<(), CacheError> {
        let entries = self.entries()?;
        let mut kept: u64 = entries.iter().map(|(_, bytes)| bytes).sum();
        for (path, bytes) in entries {
            if kept <= allowed {
                break;
            }
            if entry::remove(&path)? {
                kept -= bytes;
            }
        }
        Ok(())
    }
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Runs work that blocks on a thread of its own. When this is dropped, the work is stopped and waited for, so that
/// nothing is written to a directory that the caller then removes.
async fn in_a_thread<T: Send + 'static>(
    work: impl FnOnce(&AtomicBool) -> Result<T, CacheError> + Send + 'static,
) -> Result<T, CacheError> {
    struct Running {
        stop: Arc<AtomicBool>,
        thread: Option<std::thread::JoinHandle<()>>,
    }
    impl Drop for Running {
        fn drop(&mut self) {
            self.stop.store(true, Ordering::Relaxed);
            // A panic in it shows as a missing result.
            let _ended = self.thread.take().map(std::thread::JoinHandle::join);
        }
    }
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        // Nobody may be waiting any more.
        let _unheard = sender.send(work(&seen));
    });
    let _running = Running { stop, thread: Some(thread) };
    receiver.await.unwrap_or_else(|_| Err(io::Error::other("the thread that copied files panicked").into()))
}
