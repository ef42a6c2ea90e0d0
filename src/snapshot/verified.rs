//! The evidence that a snapshot is complete and whole.

use super::{Level, Manifest, SnapshotId};

/// A snapshot that was published or verified without damage by this process. Only this module's parent makes one.
#[derive(Clone, Debug)]
pub struct VerifiedSnapshot {
    manifest: Manifest,
    level: Level,
}

impl VerifiedSnapshot {
    pub(super) fn new(manifest: Manifest, level: Level) -> Self {
        Self { manifest, level }
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The name of the snapshot.
    pub fn id(&self) -> &SnapshotId {
        &self.manifest.id
    }

    /// How far it was verified.
    pub fn level(&self) -> Level {
        self.level
    }
}
