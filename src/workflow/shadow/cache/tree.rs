//! Copies the files of a stopped server, and hashes all of them on the way.
//!
//! The hash is what an entry of the cache is trusted by: a copy into the cache is not flushed to the disk, and a disk
//! errs. Reading costs little beside writing, and nothing is written where the file system clones files.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::fchown;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::postgres::below;

const PIECE: usize = 1 << 20;

/// What a directory holds, names and bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// Number of files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// XXH3 (128 bits, hexadecimal) of all directories' names, and each file's name, length and own hash, in order.
    pub hash: String,
}

/// What is copied, and how.
pub struct Copying<'a> {
    /// The directory.
    pub from: &'a Path,
    /// Where it goes; must not exist.
    pub to: &'a Path,
    /// User and group that the copies belong to; none: this process's.
    pub owner: Option<(u32, u32)>,
    /// Parallel threads.
    pub threads: usize,
    /// Set by another thread to end it.
    pub stop: &'a AtomicBool,
}

impl Copying<'_> {
    /// The directory in which the copy is made, and its name there.
    fn place(&self) -> io::Result<(&Path, &str)> {
        let name = self.to.file_name().and_then(|name| name.to_str());
        self.to.parent().zip(name).ok_or_else(|| strange(&self.to.to_string_lossy()))
    }
}

fn inside(directory: &str, path: &str) -> String {
    if path.is_empty() { directory.to_owned() } else { format!("{directory}/{path}") }
}

/// The names below a directory, sorted, with its files' lengths.
#[derive(Debug, Default)]
pub struct Listing {
    directories: Vec<String>,
    files: Vec<(String, u64)>,
}

impl Listing {
    /// Lists a directory, but not what is left out. Anything that is neither a file nor a directory is an error.
    pub fn read(root: &Path, left_out: impl Fn(&str) -> bool) -> io::Result<Self> {
        let mut listing = Self::default();
        let mut rest = vec![String::new()];
        while let Some(directory) = rest.pop() {
            for entry in fs::read_dir(root.join(&directory))? {
                let entry = entry?;
                let name = entry.file_name().into_string().map_err(|name| strange(&name.to_string_lossy()))?;
                let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
                let metadata = entry.metadata()?;
                if metadata.is_dir() {
                    rest.push(path.clone());
                    listing.directories.push(path);
                } else if !metadata.is_file() {
                    return Err(strange(&path));
                } else if !left_out(&path) {
                    listing.files.push((path, metadata.len()));
                }
            }
        }
        // A directory sorts before what is in it.
        listing.directories.sort();
        listing.files.sort();
        Ok(listing)
    }

    /// Bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Copies it; only this process, or the owner, may read the copy.
    pub fn copy(&self, copying: &Copying<'_>) -> io::Result<Tree> {
        let (base, name) = copying.place()?;
        for directory in std::iter::once("").chain(self.directories.iter().map(String::as_str)) {
            give(&below::create_directory(base, &inside(name, directory))?, copying.owner)?;
        }
        let next = AtomicUsize::new(0);
        let work = || -> io::Result<Vec<(usize, u64, u128)>> {
            let (mut done, mut piece) = (Vec::new(), vec![0; PIECE]);
            while let Some((number, (name, _))) = take(&next, &self.files) {
                let (bytes, hash) = copy_file(copying, name, &mut piece)?;
                done.push((number, bytes, hash));
            }
            Ok(done)
        };
        let mut copied = Vec::with_capacity(self.files.len());
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..copying.threads.max(1)).map(|_| scope.spawn(work)).collect();
            for thread in threads {
                copied.extend(thread.join().map_err(|_| io::Error::other("a thread that copied files panicked"))??);
            }
            Ok::<_, io::Error>(())
        })?;
        copied.sort_unstable();
        Ok(self.tree(&copied))
    }

    fn tree(&self, copied: &[(usize, u64, u128)]) -> Tree {
        let mut hash = Xxh3::new();
        let mut add = |name: &str, facts: &[u8]| {
            hash.update(&(name.len() as u64).to_le_bytes());
            hash.update(name.as_bytes());
            hash.update(facts);
        };
        for directory in &self.directories {
            add(directory, b"directory");
        }
        for ((name, _), (_, bytes, own)) in self.files.iter().zip(copied) {
            add(name, &[bytes.to_le_bytes().as_slice(), own.to_le_bytes().as_slice()].concat());
        }
        let bytes = copied.iter().map(|(_, bytes, _)| bytes).sum();
        Tree { files: self.files.len(), bytes, hash: format!("{:032x}", hash.digest128()) }
    }
}

fn take<'a, T>(next: &AtomicUsize, all: &'a [T]) -> Option<(usize, &'a T)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    Some((number, all.get(number)?))
}

fn copy_file(copying: &Copying<'_>, name: &str, piece: &mut [u8]) -> io::Result<(u64, u128)> {
    let (base, root) = copying.place()?;
    // The server's user may write to the one or to the other.
    let mut from = below::open(copying.from, name)?;
    let mut to = below::create_new(base, &inside(root, name))?;
    give(&to, copying.owner)?;
    let cloned = clone_file(&from, &to);
    let (mut hash, mut bytes) = (Xxh3::new(), 0);
    loop {
        if copying.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("copying was stopped"));
        }
        let read = from.read(piece)?;
        let Some(read) = piece.get(..read).filter(|read| !read.is_empty()) else { break };
        hash.update(read);
        bytes += read.len() as u64;
        if !cloned {
            to.write_all(read)?;
        }
    }
    Ok((bytes, hash.digest128()))
}

/// Makes an empty file share the blocks of another, where the file system can.
#[cfg(target_os = "linux")]
fn clone_file(from: &File, to: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn clone_file(_from: &File, _to: &File) -> bool {
    false
}

fn give(file: &File, owner: Option<(u32, u32)>) -> io::Result<()> {
    owner.map_or(Ok(()), |(user, group)| fchown(file, Some(user), Some(group)))
}

fn strange(path: &str) -> io::Error {
    io::Error::other(format!("{path} is neither a plain file nor a directory"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(from: &Path, to: &Path) -> io::Result<Tree> {
        let copying = Copying { from, to, owner: None, threads: 2, stop: &AtomicBool::new(false) };
        Listing::read(from, |path| path == "a/left out")?.copy(&copying)
    }

    #[test]
    fn a_copy_is_equal_and_every_change_changes_the_hash() {
        let root = tempfile::tempdir().unwrap();
        let from = root.path().join("from");
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/one"), vec![7; PIECE + 5]).unwrap();
        fs::write(from.join("two"), "2").unwrap();
        fs::write(from.join("a/left out"), "x").unwrap();
        let first = copied(&from, &root.path().join("first")).unwrap();
        assert_eq!((first.files, first.bytes), (2, PIECE as u64 + 6));
        assert!(root.path().join("first/a/b").is_dir() && !root.path().join("first/a/left out").exists());
        assert_eq!(copied(&root.path().join("first"), &root.path().join("again")).unwrap(), first);

        let changes: [&dyn Fn(); 5] = [
            &|| fs::write(from.join("two"), "3").unwrap(),
            &|| fs::write(from.join("two"), "").unwrap(),
            &|| fs::rename(from.join("two"), from.join("three")).unwrap(),
            &|| fs::create_dir(from.join("empty")).unwrap(),
            &|| fs::write(from.join("a/b/new"), "").unwrap(),
        ];
        let mut hashes = vec![first.hash];
        for (number, change) in changes.iter().enumerate() {
            change();
            let tree = copied(&from, &root.path().join(format!("changed {number}"))).unwrap();
            assert!(!hashes.contains(&tree.hash), "change {number}");
            hashes.push(tree.hash);
        }
    }

    #[test]
    fn links_are_refused_and_a_stop_ends_it() {
        let root = tempfile::tempdir().unwrap();
        let from = root.path().join("from");
        fs::create_dir(&from).unwrap();
        fs::write(from.join("file"), "x").unwrap();
        let (to, stop) = (root.path().join("to"), AtomicBool::new(true));
        let copying = Copying { from: &from, to: &to, owner: None, threads: 1, stop: &stop };
        assert!(Listing::read(&from, |_| false).unwrap().copy(&copying).is_err());
        std::os::unix::fs::symlink("/etc/passwd", from.join("link")).unwrap();
        assert!(Listing::read(&from, |_| false).unwrap_err().to_string().contains("link"));
    }
}
