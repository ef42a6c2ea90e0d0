//! Files below a directory that another user of the system may write to: that of the server, when we are root.
//!
//! Such a user can put a symbolic link, a FIFO or a link to a file of ours in the place of any of them. So each part of the
//! path is opened by itself, without following links and without waiting; and what is opened must be a plain file with one
//! name.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Nothing that is read there is longer.
const LONGEST: u64 = 64 << 20;

/// Opens `base/below` for reading.
pub fn open(base: &Path, below: &str) -> io::Result<File> {
    open_with(base, below, OFlags::RDONLY)
}

/// Makes the file `base/below`, which must not be there, for this user alone.
pub fn create_new(base: &Path, below: &str) -> io::Result<File> {
    open_with(base, below, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)
}

/// Makes the directory `base/below`, which must not be there, for this user alone, and opens it.
pub fn create_directory(base: &Path, below: &str) -> io::Result<File> {
    let (parent, name) = parent_of(base, below)?;
    rustix::fs::mkdirat(&parent, name, Mode::RWXU)?;
    Ok(File::from(rustix::fs::openat(&parent, name, directory_flags(), Mode::empty())?))
}

/// Opens `base/below` for writing at its end, and makes it when it is not there, for this user alone.
pub(super) fn append(base: &Path, below: &str) -> io::Result<File> {
    open_with(base, below, OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE)
}

/// What `base/below` holds.
pub(super) fn read(base: &Path, below: &str) -> io::Result<String> {
    let mut text = Vec::new();
    open(base, below)?.take(LONGEST).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Neither through a link, nor waiting for the other end of a FIFO.
fn safely() -> OFlags {
    OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC
}

fn directory_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | safely()
}

/// The directory that holds `base/below`, and the name in it.
fn parent_of<'a>(base: &Path, below: &'a str) -> io::Result<(OwnedFd, &'a str)> {
    let mut directory = rustix::fs::open(base, directory_flags(), Mode::empty())?;
    let (above, name) = below.rsplit_once('/').unwrap_or(("", below));
    for part in above.split('/').filter(|part| !part.is_empty()) {
        directory = rustix::fs::openat(&directory, part, directory_flags(), Mode::empty())?;
    }
    Ok((directory, name))
}

fn open_with(base: &Path, below: &str, flags: OFlags) -> io::Result<File> {
    let (directory, name) = parent_of(base, below)?;
    let file = File::from(rustix::fs::openat(&directory, name, flags | safely(), Mode::RUSR | Mode::WUSR)?);
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.nlink() != 1 {
        return Err(io::Error::other(format!("{} is not a plain file of its own", base.join(below).display())));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn links_and_fifos_are_refused_and_nothing_waits() {
        let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (base, target) = (root.path().join("base"), other.path().join("precious"));
        std::fs::create_dir_all(base.join("data")).unwrap();
        std::fs::write(&target, "before").unwrap();
        append(&base, "data/log").unwrap().write_all(b"one").unwrap();
        append(&base, "data/log").unwrap().write_all(b" two").unwrap();
        assert_eq!(read(&base, "data/log").unwrap(), "one two");

        std::os::unix::fs::symlink(&target, base.join("link")).unwrap();
        std::fs::hard_link(&target, base.join("hard")).unwrap();
        std::os::unix::fs::symlink(other.path(), base.join("away")).unwrap();
        std::os::unix::fs::symlink(&base, root.path().join("base link")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, base.join("fifo"), rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .unwrap();
        for (base, below) in [
            (base.clone(), "link"),
            (base.clone(), "hard"),
            (base.clone(), "away/precious"),
            (base.clone(), "fifo"),
            (root.path().join("base link"), "data/log"),
        ] {
            assert!(read(&base, below).is_err(), "{below} is read");
            assert!(append(&base, below).is_err(), "{below} is written");
        }
        assert_eq!(std::fs::read_to_string(target).unwrap(), "before");
    }
}
