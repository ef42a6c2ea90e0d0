//! A directory for the files of the `pg_*` programs, gone when it is dropped or, after a kill, with the next sweep.

use super::{ClusterError, orphan};
use std::path::Path;

/// A temporary directory that says whose it is. Only this user may enter it.
#[derive(Debug)]
pub struct WorkDirectory {
    directory: tempfile::TempDir,
}

impl WorkDirectory {
    /// How the names of these directories begin, unless [`WorkDirectory::named`] gives another.
    pub(super) const PREFIX: &str = "safe-migrate-files-";

    /// Makes one in `parent`.
    pub fn create(parent: &Path) -> std::io::Result<Self> {
        Self::named(parent, Self::PREFIX)
    }

    /// Makes one whose name begins like this.
    pub fn named(parent: &Path, prefix: &str) -> std::io::Result<Self> {
        let prefix = format!("{prefix}{}", orphan::owner_in_name());
        let directory = tempfile::Builder::new().prefix(&prefix).tempdir_in(parent)?;
        orphan::write_owner(directory.path()).map_err(|error| match error {
            ClusterError::Io { source, .. } => source,
            other => std::io::Error::other(other),
        })?;
        Ok(Self { directory })
    }

    /// Removes those in `parent` whose names begin like this and whose owners are gone, as far as that is possible.
    pub fn sweep(parent: &Path, prefix: &str) {
        if let Err(error) = orphan::sweep(parent, &[prefix], None) {
            tracing::debug!(parent = %parent.display(), %error, "not everything was swept");
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_takes_the_dead_ones_only() {
        let parent = tempfile::tempdir().unwrap();
        let alive = WorkDirectory::create(parent.path()).unwrap();
        let dead = WorkDirectory::create(parent.path()).unwrap();
        let owner = std::fs::read_to_string(dead.path().join("owner.json")).unwrap();
        let pid = format!("\"pid\":{}", std::process::id());
        assert!(owner.contains(&pid), "{owner}");
        std::fs::write(dead.path().join("owner.json"), owner.replace(&pid, "\"pid\":4194304")).unwrap();
        std::fs::write(dead.path().join("schema.dump"), "secret").unwrap();
        std::fs::create_dir(parent.path().join("safe-migrate-files-foreign")).unwrap();
        // Killed before or while it wrote its name.
        let name = alive
            .path()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .replace(&format!("-{}-", std::process::id()), "-4194304-");
        let nameless = [parent.path().join(&name), parent.path().join(format!("{name}x"))];
        nameless.iter().for_each(|path| std::fs::create_dir(path).unwrap());
        std::fs::write(nameless[1].join("owner.json"), "{\"pid").unwrap();

        WorkDirectory::sweep(parent.path(), WorkDirectory::PREFIX);
        assert!(alive.path().exists() && !dead.path().exists());
        assert!(parent.path().join("safe-migrate-files-foreign").exists(), "it does not say whose it is");
        assert!(nameless.iter().all(|path| !path.exists()));
    }
}
