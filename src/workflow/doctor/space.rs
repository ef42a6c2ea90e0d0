//! Free space on the disks of this machine.

use std::io;
use std::path::Path;

use crate::report::format_bytes;

use super::check::Check;

/// Compares the free space where `dir` is, or will be, with what may be `needed` there, where that is known.
pub(super) fn check(name: &'static str, dir: &Path, needed: Option<u64>, remedy: &str) -> Check {
    match free_bytes(dir) {
        Ok(free) => compare(name, dir, free, needed.unwrap_or_default(), remedy),
        Err(error) => Check::warn(name, format!("the free space of {} is not known: {error}", dir.display()), remedy),
    }
}

fn compare(name: &'static str, dir: &Path, free: u64, needed: u64, remedy: &str) -> Check {
    let (free_text, dir) = (format_bytes(free), dir.display());
    if free < needed {
        return Check::warn(
            name,
            format!("{free_text} free in {dir}, and it may take {}", format_bytes(needed)),
            remedy,
        );
    }
    Check::ok(name, format!("{free_text} free in {dir}"))
}

/// Bytes that a user without privileges may still write.
pub(in crate::workflow) fn free_bytes(dir: &Path) -> io::Result<u64> {
    let there = nearest_existing(dir);
    let facts = rustix::fs::statvfs(there)?;
    Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
}

/// The directory itself, or the one below which it will be made.
pub(super) fn nearest_existing(dir: &Path) -> &Path {
    dir.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::doctor::CheckState;

    #[test]
    fn too_little_space_is_a_warning_that_says_how_much() {
        let check = compare("space", Path::new("/x"), 999, 1_000, "free some");
        assert_eq!(check.state, CheckState::Warn);
        assert_eq!(check.finding, "999 B free in /x, and it may take 1.0 kB");
        assert_eq!(compare("space", Path::new("/x"), 1_000, 1_000, "").state, CheckState::Ok);
    }

    #[test]
    fn the_space_of_a_directory_that_is_not_there_yet_is_that_of_its_parent() {
        let parent = tempfile::tempdir().unwrap();
        assert_eq!(nearest_existing(&parent.path().join("a/b")), parent.path());
        assert!(free_bytes(&parent.path().join("a/b")).unwrap() > 0);
    }
}
