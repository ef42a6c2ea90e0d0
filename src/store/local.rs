//! Objects as files of a directory.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;

use super::{ObjectInfo, ObjectKey, ObjectStore, StoreError};

/// Temporary files begin with this; no key does (a key's parts never begin with a dot).
const TEMPORARY_PREFIX: &str = ".tmp-";

/// How often a directory is made again that somebody removed meanwhile.
const TRIES: u32 = 5;

/// A directory that only its owner may read.
///
/// An object is written to a temporary file beside its place, synced, renamed, and its directory synced, so that
/// neither a kill nor a power cut leaves a part of an object under its name.
#[derive(Clone, Debug)]
pub(super) struct LocalStore {
    root: PathBuf,
}

impl LocalStore {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Makes the directory (mode 0700) with a `.gitignore` that keeps a backup out of the repository around it.
    pub(super) async fn create_root(&self) -> Result<(), StoreError> {
        let store = self.clone();
        blocking(&self.root, "create", move || {
            create_directories(&store.root)?;
            let ignore = store.root.join(".gitignore");
            if ignore.exists() {
                Ok(())
            } else {
                write_file(&ignore, b"*\n").map_err(|error| at(&ignore, "write", error))
            }
        })
        .await
    }

    /// Whether the root is there; a root that is a file is [`StoreError::NotAStore`].
    pub(super) async fn root_exists(&self) -> Result<bool, StoreError> {
        let store = self.clone();
        blocking(&self.root, "read", move || match fs::metadata(&store.root) {
            Ok(metadata) if metadata.is_dir() => Ok(true),
            Ok(_) => {
                let reason = "it is not a directory".to_owned();
                let advice = "name a directory";
                Err(StoreError::NotAStore { location: store.location(), reason, advice })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(at(&store.root, "read", error)),
        })
        .await
    }

    fn path(&self, key: &ObjectKey) -> PathBuf {
        self.root.join(key.as_str())
    }

    fn directory(&self, prefix: &str) -> PathBuf {
        self.root.join(prefix.trim_matches('/'))
    }
}

#[async_trait]
impl ObjectStore for LocalStore {
    async fn put(&self, key: &ObjectKey, body: Bytes) -> Result<(), StoreError> {
        let path = self.path(key);
        blocking(&self.root, "write", move || {
            let mut tries = 0;
            loop {
                tries += 1;
                let written = path
                    .parent()
                    .map_or(Ok(()), create_directories)
                    .and_then(|()| write_file(&path, &body).map_err(|error| at(&path, "write", error)));
                match written {
                    // Its directory went with the last file in it, while this was being written.
                    Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound && tries < TRIES => {
                    }
                    result => return result,
                }
            }
        })
        .await
    }

    async fn get_at_most(&self, key: &ObjectKey, largest: u64) -> Result<Bytes, StoreError> {
        let (path, location, key) = (self.path(key), self.location(), key.clone());
        blocking(&self.root, "read", move || match read_plain(&path, largest) {
            Ok(Some(body)) => Ok(Bytes::from(body)),
            Ok(None) => Err(StoreError::too_large(location, &key, largest)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::NotFound { location, key: key.to_string() })
            }
            Err(error) => Err(at(&path, "read", error)),
        })
        .await
    }

    async fn size(&self, key: &ObjectKey) -> Result<Option<u64>, StoreError> {
        let path = self.path(key);
        blocking(&self.root, "read", move || match fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(&path, "read", error)),
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        let (root, start) = (self.root.clone(), self.directory(prefix));
        blocking(&self.root, "list", move || {
            let mut found = Vec::new();
            walk(&root, &start, &mut found)?;
            found.sort_by(|left, right| left.key.cmp(&right.key));
            Ok(found)
        })
        .await
    }

    async fn list_directories(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let start = self.directory(prefix);
        blocking(&self.root, "list", move || {
            let mut names: Vec<String> = Vec::new();
            for (name, path) in entries(&start)? {
                if ObjectKey::new(name.clone()).is_ok() && path.is_dir() {
                    names.push(name);
                }
            }
            names.sort();
            Ok(names)
        })
        .await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let path = self.path(key);
        blocking(&self.root, "delete", move || match fs::remove_file(&path) {
            Ok(()) => forget_in_directory(&path).map_err(|error| at(&path, "delete", error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(at(&path, "delete", error)),
        })
        .await
    }

    async fn any_entry(&self) -> Result<Option<String>, StoreError> {
        let root = self.root.clone();
        blocking(&self.root, "list", move || {
            let ours = |name: &str| name == ".gitignore" || name.starts_with(TEMPORARY_PREFIX);
            Ok(entries(&root)?.into_iter().map(|(name, _)| name).find(|name| !ours(name)))
        })
        .await
    }

    fn location(&self) -> String {
        format!("file://{}", self.root.display())
    }
}

/// Runs file operations where they may block.
async fn blocking<T: Send + 'static>(
    root: &Path,
    action: &'static str,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::Io { path: root.display().to_string(), action, source: io::Error::other(error) }),
    }
}

/// Gives an error of the operating system its meaning.
fn at(path: &Path, action: &'static str, source: io::Error) -> StoreError {
    let target = path.display().to_string();
    match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            let advice = "check the owner and mode of the directory, and how it is mounted";
            StoreError::PermissionDenied { target, action, detail: source.to_string(), advice }
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::NoSpace { target },
        _ => StoreError::Io { path: target, action, source },
    }
}

/// Makes `directory` and what is missing above it (mode 0700), and syncs each parent that got a new entry.
fn create_directories(directory: &Path) -> Result<(), StoreError> {
    let mut missing: Vec<&Path> = directory.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
    missing.reverse();
    for path in missing {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(path, "create", error)),
            _ => path.parent().map_or(Ok(()), sync_directory).map_err(|error| at(path, "create", error))?,
        }
    }
    Ok(())
}

fn write_file(path: &Path, body: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(directory)?;
    file.write_all(body)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_directory(directory)
}

/// Makes sure that a file stays away that was removed. The directory of a snapshot, which nothing else is written to, goes
/// with its last file.
fn forget_in_directory(path: &Path) -> io::Result<()> {
    let Some(directory) = path.parent() else { return Ok(()) };
    match directory.parent() {
        Some(above) if above.ends_with("snapshots") && fs::remove_dir(directory).is_ok() => sync_directory(above),
        _ => sync_directory(directory),
    }
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Names and paths in `directory`; none when it is not there. Names that are not UTF-8 are shown replaced.
fn entries(directory: &Path) -> Result<Vec<(String, PathBuf)>, StoreError> {
    let listing = match fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at(directory, "list", error)),
    };
    listing
        .map(|entry| entry.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())))
        .collect::<io::Result<_>>()
        .map_err(|error| at(directory, "list", error))
}

fn walk(root: &Path, directory: &Path, found: &mut Vec<ObjectInfo>) -> Result<(), StoreError> {
    for (_, path) in entries(directory)? {
        let relative = path.strip_prefix(root).ok().and_then(Path::to_str);
        let Some(key) = relative.and_then(|name| ObjectKey::new(name).ok()) else { continue };
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => walk(root, &path, found)?,
            Ok(metadata) => found.push(ObjectInfo { key, size: metadata.len() }),
            // Deleted since the directory was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at(&path, "list", error)),
        }
    }
    Ok(())
}

/// Reads a plain file; none: it has more bytes than it may. A FIFO in its place is an error and not waited for.
fn read_plain(path: &Path, largest: u64) -> io::Result<Option<Vec<u8>>> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a plain file"));
    }
    let mut body = Vec::with_capacity(usize::try_from(metadata.len().min(largest)).unwrap_or_default());
    let read = file.take(largest.saturating_add(1)).read_to_end(&mut body)?;
    Ok((read as u64 <= largest).then_some(body))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn directories_are_private_and_ignored_by_git() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("a/store");
        let store = LocalStore::new(root.clone());
        store.create_root().await.unwrap();
        store.put(&ObjectKey::new("chunks/ab/ab12").unwrap(), Bytes::from_static(b"x")).await.unwrap();

        for directory in [root.clone(), root.join("chunks"), root.join("chunks/ab")] {
            assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700, "{directory:?}");
        }
        assert_eq!(fs::metadata(root.join("chunks/ab/ab12")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(root.join(".gitignore")).unwrap(), "*\n");
    }

    #[tokio::test]
    async fn leftovers_of_a_killed_write_are_no_objects() {
        let root = tempfile::tempdir().unwrap();
        let store = LocalStore::new(root.path().to_owned());
        store.create_root().await.unwrap();
        fs::create_dir(root.path().join("chunks")).unwrap();
        fs::write(root.path().join("chunks/.tmp-k1ll3d"), "half").unwrap();
        fs::write(root.path().join(".tmp-k1ll3d"), "half").unwrap();

        assert_eq!(store.list("").await.unwrap(), []);
        fs::remove_dir_all(root.path().join("chunks")).unwrap();
        assert_eq!(store.any_entry().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_directory_is_no_object() {
        let root = tempfile::tempdir().unwrap();
        let store = LocalStore::new(root.path().to_owned());
        store.put(&ObjectKey::new("chunks/ab/ab12").unwrap(), Bytes::new()).await.unwrap();
        let directory = ObjectKey::new("chunks/ab").unwrap();

        assert_eq!(store.size(&directory).await.unwrap(), None);
        assert!(store.get(&directory).await.is_err());
    }

    #[test]
    fn errors_of_the_operating_system_get_their_meaning() {
        let of = |kind: io::ErrorKind| at(Path::new("/backups/shop"), "write", kind.into());
        let denied = of(io::ErrorKind::ReadOnlyFilesystem);
        assert!(matches!(denied, StoreError::PermissionDenied { .. }) && denied.to_string().contains("/backups/shop"));
        assert!(matches!(of(io::ErrorKind::PermissionDenied), StoreError::PermissionDenied { .. }));
        assert!(matches!(of(io::ErrorKind::StorageFull), StoreError::NoSpace { .. }));
        assert!(matches!(of(io::ErrorKind::IsADirectory), StoreError::Io { .. }));
    }
}
