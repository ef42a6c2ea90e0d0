//! The bytes of a chunk: one zstd frame of the raw bytes (pure).

use std::io::{self, Read};

use zstd::stream::read::Decoder;

use super::ChunkId;

/// The most raw bytes in a chunk, 16 MiB, unless one row alone is longer.
pub const CHUNK_SIZE: usize = 16 << 20;

/// No chunk is larger when decompressed: a row of `COPY` text is at most 1 GiB. A guard against damaged frames.
pub(super) const LARGEST_RAW: u64 = 2 << 30;

/// Compresses with the content's checksum in the frame, and proves that it decompresses to `raw`.
///
/// The proof comes before anything is sent; restic met a codec that corrupted.
pub(super) fn encode(raw: &[u8], level: i32) -> Result<Vec<u8>, String> {
    let stored = compress(raw, level).map_err(|error| error.to_string())?;
    if decompresses_to(&stored, raw).map_err(|error| error.to_string())? {
        Ok(stored)
    } else {
        Err("the decompressed bytes differ".to_owned())
    }
}

/// Bytes that a chunk of so many raw ones takes at most in the store.
pub(super) fn largest_stored(raw: u64) -> u64 {
    let raw = usize::try_from(raw.min(LARGEST_RAW)).unwrap_or(usize::MAX);
    zstd::zstd_safe::compress_bound(raw) as u64
}

/// Decompresses to at most so many bytes and checks against the name. The error says what is wrong, for a message.
pub(super) fn decode(stored: &[u8], id: &ChunkId, largest: u64) -> Result<Vec<u8>, String> {
    let raw = decompress(stored, largest).map_err(|error| format!("it does not decompress ({error})"))?;
    if ChunkId::of(&raw) == *id {
        Ok(raw)
    } else {
        Err("its content is not the one that its name stands for".to_owned())
    }
}

fn compress(raw: &[u8], level: i32) -> io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(level)?;
    compressor.include_checksum(true)?;
    compressor.include_contentsize(true)?;
    compressor.compress(raw)
}

fn decompress(stored: &[u8], largest: u64) -> io::Result<Vec<u8>> {
    let largest = largest.min(LARGEST_RAW);
    let mut raw = Vec::new();
    let read = Decoder::with_buffer(stored)?.take(largest + 1).read_to_end(&mut raw)?;
    if read as u64 > largest { Err(io::Error::other("it is larger than the snapshot says")) } else { Ok(raw) }
}

/// Compares without a second copy of the raw bytes.
fn decompresses_to(stored: &[u8], raw: &[u8]) -> io::Result<bool> {
    let mut decoder = Decoder::with_buffer(stored)?;
    let mut rest = raw;
    let mut buffer = vec![0; 64 << 10];
    loop {
        match decoder.read(&mut buffer)? {
            0 => return Ok(rest.is_empty()),
            read => match rest.strip_prefix(&buffer[..read]) {
                Some(after) => rest = after,
                None => return Ok(false),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_proof_finds_a_difference() {
        let stored = compress(b"soup of the day", 1).unwrap();
        assert!(decompresses_to(&stored, b"soup of the day").unwrap());
        assert!(!decompresses_to(&stored, b"soup of the dax").unwrap());
        assert!(!decompresses_to(&stored, b"soup of the day!").unwrap());
        assert!(!decompresses_to(&stored, b"soup").unwrap());
    }

    #[test]
    fn another_chunk_under_the_name_is_damage() {
        let stored = encode(b"soup", 1).unwrap();
        assert_eq!(decode(&stored, &ChunkId::of(b"soup"), 4).unwrap(), b"soup");
        assert!(decode(&stored, &ChunkId::of(b"fish"), 4).unwrap_err().contains("name"));
    }

    #[test]
    fn a_bomb_is_not_decompressed() {
        let raw = vec![0; 64 << 20];
        let stored = compress(&raw, 19).unwrap();
        assert!(stored.len() < 10_000, "{}", stored.len());
        assert!(decode(&stored, &ChunkId::of(&raw), 1000).unwrap_err().contains("larger than the snapshot says"));
        assert!(largest_stored(1000) < 2000 && largest_stored(u64::MAX) >= LARGEST_RAW);
    }

    proptest! {
        #[test]
        fn round_trips_and_any_flipped_or_missing_byte_is_found(
            raw in proptest::collection::vec(any::<u8>(), 1..4000), level in 1..4, at in any::<prop::sample::Index>()
        ) {
            let id = ChunkId::of(&raw);
            let stored = encode(&raw, level).unwrap();
            prop_assert_eq!(&decode(&stored, &id, LARGEST_RAW).unwrap(), &raw);

            let cut = at.index(stored.len());
            prop_assert!(decode(&stored[..cut], &id, LARGEST_RAW).is_err());
            let mut flipped = stored.clone();
            flipped[cut] ^= 0x40;
            // A flip in a bit that the frame does not use may change nothing; it must never change the content.
            prop_assert!(decode(&flipped, &id, LARGEST_RAW).is_ok_and(|content| content == raw) || decode(&flipped, &id, LARGEST_RAW).is_err());
        }
    }
}
