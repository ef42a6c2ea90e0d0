//! Parts of a snapshot's chunks, so that a long verification can be done in turns.

use std::fmt;
use std::str::FromStr;

use super::ChunkId;

/// The chunks of one of several equal parts: `2/7` is the second of seven.
///
/// The name of a chunk decides, so that a chunk is in the same part on every machine and in every snapshot, and the
/// parts together hold each chunk once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    part: u32,
    of: u32,
}

impl Sample {
    /// The only part of one: every chunk.
    pub const WHOLE: Self = Self { part: 1, of: 1 };

    /// Whether this is every chunk.
    pub fn is_whole(self) -> bool {
        self.of == 1
    }

    /// Whether the chunk is in this part.
    pub fn contains(self, chunk: &ChunkId) -> bool {
        chunk.number() % u64::from(self.of) == u64::from(self.part - 1)
    }
}

impl FromStr for Sample {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((part, of)) if 1 <= part && part <= of => Ok(Self { part, of }),
            _ => Err("a part and the number of parts are wanted, such as `1/7` to `7/7`".to_owned()),
        }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.part, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_is_in_one_part_and_the_parts_are_about_equal() {
        let chunks: Vec<ChunkId> = (0..7_000_u32).map(|number| ChunkId::of(&number.to_be_bytes())).collect();
        for of in [1, 2, 7, 52] {
            let parts = (1..=of).map(|part| Sample { part, of });
            let counts: Vec<usize> =
                parts.map(|part| chunks.iter().filter(|chunk| part.contains(chunk)).count()).collect();
            assert_eq!(counts.iter().sum::<usize>(), chunks.len(), "{counts:?}");
            let fair = chunks.len() / of as usize;
            assert!(counts.iter().all(|count| count.abs_diff(fair) < fair / 2), "{counts:?}");
        }
    }

    #[test]
    fn a_chunk_is_in_the_same_part_for_ever() {
        let soup = ChunkId::of(b"soup");
        assert!(soup.to_string().starts_with("9014fac8184d7ba9"));
        // Its first 16 digits, as a number, are 5 modulo 7.
        assert_eq!((1..=7).filter(|part| Sample { part: *part, of: 7 }.contains(&soup)).collect::<Vec<_>>(), [6]);
    }

    #[test]
    fn a_part_is_read_as_it_is_shown() {
        for text in ["1/1", "1/7", "7/7"] {
            assert_eq!(text.parse::<Sample>().unwrap().to_string(), text);
        }
        for text in ["", "1", "/", "0/7", "8/7", "1/0", "-1/7", "1/7/2", "a/b", "1.5/7", "1/99999999999"] {
            assert!(text.parse::<Sample>().is_err(), "{text}");
        }
        assert_eq!("1/1".parse(), Ok(Sample::WHOLE));
    }
}
