//! A hash of rows as a set: order does not matter, duplicates do.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

/// How many rows, and the sum (modulo 2^128) of XXH3-128 of each row's `COPY` text line with its newline.
///
/// A sum and not an XOR: two equal rows must not cancel each other out. It finds damage and mistakes; it is no
/// defence against someone who makes collisions on purpose (the SHA-256 of the chunks is).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowSetHash {
    /// The number of rows.
    pub rows: u64,
    #[serde(with = "hex_digits")]
    sum: u128,
}

impl RowSetHash {
    /// The hash of the rows in `lines`, each ended by a newline (in `COPY` text a newline inside a value is `\n`).
    pub fn of_lines(lines: &[u8]) -> Self {
        let mut hash = Self::default();
        lines.split_inclusive(|byte| *byte == b'\n').for_each(|row| hash.add_row(row));
        hash
    }

    /// Adds one row: its `COPY` text line with the newline at its end.
    pub fn add_row(&mut self, row: &[u8]) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(xxh3_128(row));
    }

    /// Adds the rows that `other` stands for.
    pub fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// The sum as 32 hexadecimal digits.
    pub fn sum_hex(&self) -> String {
        format!("{:032x}", self.sum)
    }
}

impl<'a> FromIterator<&'a RowSetHash> for RowSetHash {
    fn from_iter<I: IntoIterator<Item = &'a RowSetHash>>(hashes: I) -> Self {
        let mut total = Self::default();
        hashes.into_iter().for_each(|hash| total.merge(hash));
        total
    }
}

mod hex_digits {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(sum: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{sum:032x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let sum = if digits { u128::from_str_radix(&text, 16).ok() } else { None };
        sum.ok_or_else(|| D::Error::custom(format!("`{text}` is not 32 hexadecimal digits")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter_and_duplicates_do() {
        let hash = RowSetHash::of_lines;
        assert_eq!(hash(b"1\ta\n2\tb\n"), hash(b"2\tb\n1\ta\n"));
        assert_ne!(hash(b"1\ta\n1\ta\n"), hash(b"2\tb\n2\tb\n"));
        assert_ne!(hash(b"1\ta\n"), hash(b"1\ta\n1\ta\n1\ta\n"));
        assert_ne!(hash(b"1\ta\n"), hash(b"1\tb\n"));
        assert_eq!(hash(b""), RowSetHash::default());
    }

    #[test]
    fn parts_add_up() {
        let (left, right) = (RowSetHash::of_lines(b"1\n2\n"), RowSetHash::of_lines(b"3\n"));
        assert_eq!([left, right].iter().collect::<RowSetHash>(), RowSetHash::of_lines(b"3\n2\n1\n"));
    }

    #[test]
    fn the_sum_wraps() {
        let mut hash = RowSetHash { rows: 1, sum: u128::MAX };
        hash.merge(&RowSetHash { rows: 1, sum: 2 });
        assert_eq!(hash, RowSetHash { rows: 2, sum: 1 });
    }

    #[test]
    fn the_text_is_fixed() {
        let hash = RowSetHash { rows: 3, sum: 0xab };
        let text = r#"{"rows":3,"sum":"000000000000000000000000000000ab"}"#;
        assert_eq!(serde_json::to_string(&hash).unwrap(), text);
        assert_eq!(serde_json::from_str::<RowSetHash>(text).unwrap(), hash);
        assert!(serde_json::from_str::<RowSetHash>(r#"{"rows":3,"sum":"ab"}"#).is_err());
        // XXH3-128 of one fixed row: a change of the hash would make every snapshot look damaged.
        assert_eq!(RowSetHash::of_lines(b"1\tsoup\n").sum_hex(), "d2331fa54cb00345b7454a725702dd56");
    }
}
