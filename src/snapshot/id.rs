//! The names of snapshots and chunks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};

use crate::store::ObjectKey;

use super::SnapshotError;

const START: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");

/// The name of a snapshot: its start in UTC and a random tail, such as `20261122T135823Z-7f3a9c`.
///
/// Sorts by time. The random tail makes it unique without conditional writes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SnapshotId(String);

impl SnapshotId {
    /// The id of a snapshot that starts at `now`, with `tail` as its random part.
    pub fn new(now: OffsetDateTime, tail: [u8; 3]) -> Self {
        let utc = now.to_offset(UtcOffset::UTC);
        let (date, time) = (utc.date(), utc.time());
        Self(format!(
            "{:04}{:02}{:02}T{:02}{:02}{:02}Z-{}",
            date.year(),
            u8::from(date.month()),
            date.day(),
            time.hour(),
            time.minute(),
            time.second(),
            hex::encode(tail)
        ))
    }

    /// The id of a snapshot that starts at `now`, with a tail drawn at random.
    pub fn generate(now: OffsetDateTime) -> Self {
        Self::new(now, rand::random())
    }

    /// Reads an id as it was displayed.
    pub fn parse(text: &str) -> Result<Self, SnapshotError> {
        let valid = text.split_once('-').is_some_and(|(start, tail)| {
            let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            start.len() == 16
                && PrimitiveDateTime::parse(start, START).is_ok()
                && tail.len() == 6
                && tail.bytes().all(hex)
        });
        if valid { Ok(Self(text.to_owned())) } else { Err(SnapshotError::InvalidId { text: text.to_owned() }) }
    }

    /// The second in which the snapshot was begun, by the clock of who took it.
    pub fn begun_at(&self) -> OffsetDateTime {
        let start = self.0.split('-').next().unwrap_or_default();
        // Every id was read or made in this form.
        PrimitiveDateTime::parse(start, START).map_or(OffsetDateTime::UNIX_EPOCH, PrimitiveDateTime::assume_utc)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the manifest lies in the store.
    pub fn manifest_key(&self) -> ObjectKey {
        ObjectKey::trusted(format!("snapshots/{}/manifest.json", self.0))
    }

    /// Where it lies that the snapshot is being taken.
    pub(super) fn pending_key(&self) -> ObjectKey {
        ObjectKey::trusted(format!("snapshots/{}/pending.json", self.0))
    }

    /// Where it lies what the snapshot will rest on.
    pub(super) fn keys_key(&self) -> ObjectKey {
        ObjectKey::trusted(format!("snapshots/{}/keys.json", self.0))
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for SnapshotId {
    type Err = SnapshotError;

    fn from_str(text: &str) -> Result<Self, SnapshotError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for SnapshotId {
    type Error = SnapshotError;

    fn try_from(text: String) -> Result<Self, SnapshotError> {
        Self::parse(&text)
    }
}

impl From<SnapshotId> for String {
    fn from(id: SnapshotId) -> Self {
        id.0
    }
}

/// The name of a chunk: the SHA-256 of its raw bytes. 64 hexadecimal digits in text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChunkId([u8; 32]);

impl ChunkId {
    /// The id of the chunk with these raw bytes.
    pub fn of(raw: &[u8]) -> Self {
        Self(Sha256::digest(raw).into())
    }

    /// The first 64 bits of the name as a number, by which chunks are divided into parts.
    pub(super) fn number(&self) -> u64 {
        self.0.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ChunkId({self})")
    }
}

impl TryFrom<String> for ChunkId {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, hex::FromHexError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl From<ChunkId> for String {
    fn from(id: ChunkId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn ids_are_in_utc_and_sort_by_time() {
        let id = SnapshotId::new(datetime!(2026-11-22 15:58:23 +2), [0x7f, 0x3a, 0x9c]);
        assert_eq!(id.to_string(), "20261122T135823Z-7f3a9c");
        assert!(id < SnapshotId::new(datetime!(2026-11-22 15:58:24 +2), [0, 0, 0]));
        assert_eq!(SnapshotId::parse(id.as_str()).unwrap(), id);
        assert_eq!(id.manifest_key().as_str(), "snapshots/20261122T135823Z-7f3a9c/manifest.json");
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in [
            "",
            "latest",
            "20261122T135823Z",
            "20261122T135823Z-7f3a9",
            "20261122T135823Z-7F3A9C",
            "20261322T135823Z-7f3a9c",
            "20261122T135823Z-7f3a9c/",
            "../20261122T135823Z-7f3a9c",
        ] {
            assert!(SnapshotId::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_chunk_is_named_by_its_bytes() {
        // FIPS 180-2, the digest of "abc".
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let id = ChunkId::of(b"abc");
        assert_eq!(id.to_string(), expected);
        assert_eq!(serde_json::from_str::<ChunkId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
        assert!(serde_json::from_str::<ChunkId>("\"ba78\"").is_err());
    }
}
