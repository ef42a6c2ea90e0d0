//! Where the configuration file is looked for.

use std::path::{Path, PathBuf};

/// The name of the configuration file.
pub(crate) const FILE_NAME: &str = "safe-migrate.toml";

/// The nearest `safe-migrate.toml` at or above `start`, up to the repository root or the home directory.
///
/// Outside both only `start` itself is searched: a file that someone else put into `/tmp` or `/` could name a
/// `password_command`, which is run.
pub(super) fn find(start: &Path, home: Option<&Path>) -> Option<PathBuf> {
    let is_boundary = |directory: &Path| directory.join(".git").exists() || home == Some(directory);
    let depth = start.ancestors().position(is_boundary).unwrap_or(0);
    start.ancestors().take(depth + 1).map(|directory| directory.join(FILE_NAME)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_search_stops_at_the_repository_root() {
        let root = tempfile::tempdir().unwrap();
        let outer = root.path().join(FILE_NAME);
        let repository = root.path().join("repository");
        let deep = repository.join("a/b");
        fs::create_dir_all(&deep).unwrap();
        fs::write(&outer, "").unwrap();

        assert_eq!(find(&deep, None), None, "outside a repository the parents are not searched");
        assert_eq!(find(&deep, Some(root.path())), Some(outer), "the home directory is searched as well");

        fs::create_dir(repository.join(".git")).unwrap();
        assert_eq!(find(&deep, Some(root.path())), None, "the repository root hides what lies above it");

        let inner = repository.join(FILE_NAME);
        fs::write(&inner, "").unwrap();
        assert_eq!(find(&deep, None), Some(inner));
    }
}
