//! Attacks: what somebody with few rights in production, or with a key to the bucket, tries. Each fails here, beside a
//! control that shows that it works where nothing is done against it. docs/threat-model.md names the tests.

mod foreign_code;
mod forged;
mod ledger;
mod planted;
mod receipts;
mod role_names;
mod search_path;
mod setups;
mod shown;
mod signatures;
mod snapshots;
mod walls;

use std::path::{Path, PathBuf};

/// A place that an attack writes to when it succeeds; everybody may.
struct Trap {
    directory: tempfile::TempDir,
}

impl Trap {
    fn new() -> Trap {
        let directory = tempfile::Builder::new().prefix("test-trap-").tempdir().unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(directory.path(), open).unwrap();
        Trap { directory }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("owned")
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Nothing was written.
    #[track_caller]
    fn is_empty(&self) {
        let found: Vec<_> = std::fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(found.is_empty(), "the attack succeeded: {found:?}");
    }

    /// For a control: the attack works, and the trap is set again.
    #[track_caller]
    fn was_sprung(&self) {
        let found: Vec<_> = std::fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!found.is_empty(), "the control does not work, so the test proves nothing");
        found.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    }
}
