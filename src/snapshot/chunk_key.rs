//! Where chunks lie in the store: under their name and the tag of the one snapshot that may write there.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fault;
use crate::store::ObjectKey;

use super::ChunkId;

/// What a writer draws: it ends the keys of all chunks that the writer puts. 16 hexadecimal digits in text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(u64);

impl Tag {
    /// Draws one.
    pub(super) fn draw() -> Self {
        if fault::is_off("off.tags") { Self(0) } else { Self(rand::random()) }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl TryFrom<String> for Tag {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let number = match text.len() == 16 && text.bytes().all(is_digit) {
            true => u64::from_str_radix(&text, 16).ok(),
            false => None,
        };
        number.map(Self).ok_or_else(|| format!("`{text}` is no tag of a writer"))
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> Self {
        tag.to_string()
    }
}

/// The key of a chunk: `chunks/ab/ab12….<tag>`, or without a tag where format 1 wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChunkKey {
    /// The name of the chunk.
    pub chunk: ChunkId,
    /// Whose it is.
    pub tag: Option<Tag>,
}

impl ChunkKey {
    /// As a name in the store.
    pub fn object(&self) -> ObjectKey {
        ObjectKey::trusted(self.to_string())
    }

    /// Reads a name in the store; none when no writer makes such a one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (directory, name) = text.strip_prefix("chunks/")?.split_once('/')?;
        let (chunk, tag) = name.split_once('.').map_or((name, None), |(chunk, tag)| (chunk, Some(tag)));
        let tag = tag.map(|tag| Tag::try_from(tag.to_owned())).transpose().ok()?;
        let key = Self { chunk: ChunkId::try_from(chunk.to_owned()).ok()?, tag };
        // Upper-case digits, another directory.
        (key.chunk.to_string() == chunk && chunk.get(..2) == Some(directory)).then_some(key)
    }
}

impl fmt::Display for ChunkKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.chunk.to_string();
        write!(formatter, "chunks/{}/{name}", &name[..2])?;
        self.tag.map_or(Ok(()), |tag| write!(formatter, ".{tag}"))
    }
}

impl TryFrom<String> for ChunkKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is no key of a chunk"))
    }
}

impl From<ChunkKey> for String {
    fn from(key: ChunkKey) -> Self {
        key.to_string()
    }
}

/// A chunk as a snapshot rests on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredChunk {
    /// Its name.
    pub chunk: ChunkId,
    /// Where it lies.
    pub key: ChunkKey,
    /// Bytes before compression.
    pub raw: u64,
    /// Bytes in the store.
    pub stored: u64,
    /// SHA-256 of the bytes in the store, where they were seen.
    pub sha256: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_shown_and_no_other() {
        let chunk = ChunkId::of(b"abc");
        let name = chunk.to_string();
        for tag in [None, Some(Tag(0x0f))] {
            let key = ChunkKey { chunk, tag };
            assert_eq!(ChunkKey::parse(&key.to_string()), Some(key));
            assert_eq!(key.object().as_str(), key.to_string());
        }
        assert_eq!(ChunkKey { chunk, tag: Some(Tag(15)) }.to_string(), format!("chunks/ba/{name}.000000000000000f"));
        let upper = name.to_uppercase();
        for text in [
            format!("chunks/ba/{name}."),
            format!("chunks/ba/{name}.f"),
            format!("chunks/ba/{name}.000000000000000F"),
            format!("chunks/ba/{name}.000000000000000f.1"),
            format!("chunks/ab/{name}"),
            format!("chunks/BA/{upper}"),
            format!("snapshots/ba/{name}"),
            name,
        ] {
            assert_eq!(ChunkKey::parse(&text), None, "{text}");
        }
    }
}
