//! The checksum of a migration file.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// SHA-256 of a migration's text with its line ends made LF, as 64 lower-case hex digits.
///
/// A checkout that rewrites line ends (git's `autocrlf`) must not look like an edited migration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Checksum(String);

impl Checksum {
    /// The checksum of `text`.
    pub fn of(text: &str) -> Checksum {
        Checksum(hex::encode(Sha256::digest(with_lf_line_ends(text).as_bytes())))
    }

    /// The 64 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `text` with every CR LF and every lone CR made LF.
pub(super) fn with_lf_line_ends(text: &str) -> Cow<'_, str> {
    if text.contains('\r') { Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_do_not_matter_and_everything_else_does() {
        let unix = Checksum::of("a\nb\n\nc\n");
        assert_eq!(unix, Checksum::of("a\r\nb\r\n\r\nc\r\n"));
        assert_eq!(unix, Checksum::of("a\rb\r\rc\r"));
        assert_ne!(unix, Checksum::of("a\nb\nc\n"));
        assert_ne!(unix, Checksum::of("a\nb\n\nc \n"));
    }

    #[test]
    fn is_the_sha_256_that_other_tools_print() {
        assert_eq!(Checksum::of("abc").as_str(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
