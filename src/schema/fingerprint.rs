//! The hash of a schema.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::entry::SchemaEntry;

/// SHA-256 of a schema, as 64 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The version of the rules by which a schema becomes a hash. Raised when they change.
    pub const ALGORITHM: u32 = 2;

    /// Hashes sorted entries. Each field goes in with its length, so that no two lists run together to the same bytes.
    pub(super) fn of<'a>(entries: impl Iterator<Item = &'a SchemaEntry>) -> Fingerprint {
        let mut hasher = Sha256::new();
        hasher.update(format!("safe-migrate schema {}\n", Fingerprint::ALGORITHM));
        for entry in entries {
            for field in [&entry.kind, &entry.schema, &entry.name, &entry.text] {
                hasher.update((field.len() as u64).to_le_bytes());
                hasher.update(field.as_bytes());
            }
        }
        Fingerprint(hex::encode(hasher.finalize()))
    }

    /// All 64 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A fingerprint as it is kept, with what it depends on besides the schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FingerprintRecord {
    /// [`Fingerprint::ALGORITHM`] of the program that made it.
    pub algorithm: u32,
    /// The version of the pg_dump that wrote the text, such as `15.18`.
    pub pg_dump: String,
    /// The fingerprint.
    pub hash: Fingerprint,
}

impl FingerprintRecord {
    /// Keeps a fingerprint made now.
    pub fn new(pg_dump: impl Into<String>, hash: Fingerprint) -> FingerprintRecord {
        FingerprintRecord { algorithm: Fingerprint::ALGORITHM, pg_dump: pg_dump.into(), hash }
    }

    /// Whether the hashes may be compared at all. When not, one of them is to be made anew; that is no drift.
    pub fn is_comparable_with(&self, other: &FingerprintRecord) -> bool {
        self.algorithm == other.algorithm && self.pg_dump == other.pg_dump
    }
}
