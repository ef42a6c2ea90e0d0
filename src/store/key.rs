//! The names of objects.

use std::fmt;

use super::StoreError;

/// The name of an object below the root of the store, such as `chunks/ab/ab12…`.
///
/// Parts are separated by `/`; each has letters, digits, `.`, `_` and `-` only and does not begin with a dot, so that
/// a key is the same file name and the same S3 key everywhere, and never a temporary file or a way out of the root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Checks `key` and takes it as a name, or answers [`StoreError::InvalidKey`].
    pub fn new(key: impl Into<String>) -> Result<Self, StoreError> {
        let key = key.into();
        if is_valid(&key) { Ok(Self(key)) } else { Err(StoreError::InvalidKey { key }) }
    }

    /// Takes a name that this crate made itself from checked parts.
    pub(crate) fn trusted(key: String) -> Self {
        debug_assert!(is_valid(&key), "{key}");
        Self(key)
    }

    /// Bytes that no whole object of this kind exceeds: chunks hold at most one row of 1 GiB beyond their size, a manifest
    /// a line for each 16 MiB of rows, everything else is text for people.
    pub fn largest(&self) -> u64 {
        const MIB: u64 = 1 << 20;
        match self.0.split('/').next() {
            Some("chunks") => 2100 * MIB,
            Some("snapshots") => 512 * MIB,
            _ => 64 * MIB,
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_valid(key: &str) -> bool {
    key.len() <= 512
        && key.split('/').all(|part| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        })
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_keys_of_the_layout() {
        for key in ["safe-migrate.json", "chunks/ab/ab12", "snapshots/20261122T135823Z-7f3a9c/manifest.json"] {
            assert_eq!(ObjectKey::new(key).unwrap().as_str(), key);
        }
    }

    #[test]
    fn refuses_ways_out_of_the_root_and_names_that_differ_between_backends() {
        for key in ["", "/a", "a/", "a//b", "../a", "a/../b", ".tmp-1", "a b", "a\\b", "a/é", "a\0"] {
            assert!(matches!(ObjectKey::new(key), Err(StoreError::InvalidKey { .. })), "{key:?}");
        }
    }
}
