//! What can go wrong with a snapshot.

use crate::signing::Doubt;
use crate::store::{ObjectKey, StoreError};

use super::{ChunkId, Sample, SnapshotId};

/// A failed operation on a snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The text is no snapshot id.
    #[error("`{text}` is not a snapshot id; one looks like 20261122T135823Z-7f3a9c")]
    InvalidId {
        /// The text.
        text: String,
    },
    /// The store has no such snapshot.
    #[error("{location} has no snapshot {id}")]
    NoSuchSnapshot {
        /// The root of the store.
        location: String,
        /// The snapshot that was asked for.
        id: SnapshotId,
    },
    /// The snapshot was written by a newer version.
    #[error("snapshot {id} needs a newer safe-migrate: it {needs}, this version {supports}")]
    NewerFormat {
        /// The snapshot.
        id: SnapshotId,
        /// What it asks for, such as `has format 2`.
        needs: String,
        /// What this version can do.
        supports: String,
    },
    /// The manifest is not what was written.
    #[error("snapshot {id} is damaged: {key}: {reason}")]
    DamagedManifest {
        /// The snapshot.
        id: SnapshotId,
        /// The key of the manifest.
        key: ObjectKey,
        /// What is wrong with it.
        reason: String,
    },
    /// What a snapshot without a manifest says of itself cannot be read, so nobody knows what it needs.
    #[error("snapshot {id} was never finished, and what it needs cannot be told: {key}: {reason}")]
    DamagedPending {
        /// The snapshot.
        id: SnapshotId,
        /// The key of the object.
        key: ObjectKey,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody whom the configuration trusts signed the manifest.
    #[error("snapshot {id} is not believed: {doubt}")]
    Untrusted {
        /// The snapshot.
        id: SnapshotId,
        /// Why.
        doubt: Doubt,
    },
    /// A chunk is not what its name says, also when read again.
    #[error("chunk {key} is damaged: {reason}{}", needed_by(.parts))]
    DamagedChunk {
        /// The key of the chunk.
        key: ObjectKey,
        /// The tables and blobs of the snapshot that need it, where they are known.
        parts: Vec<String>,
        /// What is wrong with it.
        reason: String,
    },
    /// A manifest and the chunks it names do not fit together.
    #[error("{part} does not fit its manifest: {reason}")]
    Mismatch {
        /// The table, or the blob.
        part: String,
        /// What differs.
        reason: String,
    },
    /// The compressed bytes did not decompress to what they were made of, so they were not sent.
    #[error(
        "compressing chunk {chunk} went wrong ({reason}) and nothing was sent; \
         this points to faulty memory or a faulty build"
    )]
    Codec {
        /// The chunk.
        chunk: ChunkId,
        /// What differed.
        reason: String,
    },
    /// A manifest cannot be published as it is.
    #[error("snapshot {id} was not published: {reason}")]
    NotPublished {
        /// The snapshot.
        id: SnapshotId,
        /// What is missing or wrong.
        reason: String,
    },
    /// A verification found damage.
    #[error("snapshot {id} is damaged ({count} found): {first}")]
    Damaged {
        /// The snapshot.
        id: SnapshotId,
        /// How many damages were found.
        count: usize,
        /// The first of them.
        first: String,
    },
    /// Only a part was verified, and without damage: no evidence for the whole.
    #[error("of snapshot {id} only part {sample} was verified")]
    PartlyVerified {
        /// The snapshot.
        id: SnapshotId,
        /// The part.
        sample: Sample,
    },
    /// A task of this program was cancelled or failed.
    #[error("a task that worked on a chunk ended early")]
    Task(#[source] tokio::task::JoinError),
}

/// How many of the tables that share a chunk a sentence names.
const NAMED: usize = 3;

/// ` (needed by table public.orders)`, or nothing; of many parts the first ones and the number of the others.
pub(super) fn needed_by(parts: &[String]) -> String {
    match parts.len().checked_sub(NAMED) {
        _ if parts.is_empty() => String::new(),
        None | Some(0) => format!(" (needed by {})", parts.join(", ")),
        Some(more) => format!(" (needed by {} and {more} more)", parts[..NAMED].join(", ")),
    }
}

impl SnapshotError {
    /// What to do next, in one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Store(error) => error.hint(),
            Self::InvalidId { .. } | Self::NoSuchSnapshot { .. } => "`safe-migrate snapshot list` shows what there is",
            Self::NewerFormat { .. } => "upgrade safe-migrate",
            Self::DamagedManifest { .. } | Self::DamagedChunk { .. } | Self::Mismatch { .. } | Self::Damaged { .. } => {
                "use another snapshot (`safe-migrate snapshot list`), or a copy of the store"
            }
            Self::Untrusted { doubt: Doubt::Unsigned | Doubt::UnknownKey(_), .. } => {
                "when you know that it is yours: `safe-migrate store keys adopt ID`, or --accept-unsigned WHY for this once"
            }
            Self::Untrusted { .. } => "somebody may have exchanged it; use another one (`safe-migrate snapshot list`)",
            Self::DamagedPending { .. } => {
                "`safe-migrate snapshot delete ID` gives it up, also while it is being taken"
            }
            Self::Codec { .. } => "check the machine before you trust a backup that was made on it",
            Self::PartlyVerified { .. } => "verify the whole of it",
            Self::NotPublished { .. } | Self::Task(_) => "run the command again",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::needed_by;

    #[test]
    fn a_sentence_names_three_of_many() {
        let parts: Vec<String> = (1..=37).map(|number| format!("table public.t{number}")).collect();
        assert_eq!(needed_by(&[]), "");
        assert_eq!(needed_by(&parts[..1]), " (needed by table public.t1)");
        assert_eq!(needed_by(&parts[..3]), " (needed by table public.t1, table public.t2, table public.t3)");
        let more = " (needed by table public.t1, table public.t2, table public.t3 and 1 more)";
        assert_eq!(needed_by(&parts[..4]), more);
        assert_eq!(needed_by(&parts), more.replace(" 1 ", " 34 "));
    }
}
