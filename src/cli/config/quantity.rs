//! Durations and sizes as people write them: `500ms`, `15m`, `1h30m`, `10GB`, `64MiB`.

use std::time::Duration;

pub(crate) use crate::migration::parse_duration;
use serde::{Deserialize, Deserializer, de};

/// Reads a size in bytes: `10GB` counts in powers of ten, `10GiB` in powers of two; a bare number is bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size; write for example `500MB`, `10GB` or `64MiB`");
    let (number, unit) = split_where(text.trim(), |c| !c.is_ascii_digit());
    let factor: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(wrong()),
    };
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(wrong)
}

/// For `serde(deserialize_with)`: an optional duration.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map(Some).map_err(de::Error::custom)
}

/// Reads a number of bytes per second: a size, with or without `/s` at its end.
pub(crate) fn parse_rate(text: &str) -> Result<u64, String> {
    let size = text.trim().strip_suffix("/s").unwrap_or(text);
    parse_size(size).map_err(|_| format!("`{text}` is not a rate; write for example `50MB/s`, `20MiB` or `500000`"))
}

/// For `serde(deserialize_with)`: an optional size.
pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_size(&text).map(Some).map_err(de::Error::custom)
}

/// For `serde(deserialize_with)`: an optional number of bytes per second.
pub(super) fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_rate(&text).map(Some).map_err(de::Error::custom)
}

fn split_where(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        let cases = [
            ("500ms", 500),
            ("2s", 2_000),
            ("15m", 900_000),
            ("24h", 86_400_000),
            ("7 d", 604_800_000),
            ("1h30m", 5_400_000),
            ("1h 30min", 5_400_000),
            ("0", 0),
        ];
        for (text, millis) in cases {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "m", "1.5h", "-1s", "10 parsecs", "99999999999999999999s", "999999999999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read() {
        let cases = [
            ("0", 0),
            ("512", 512),
            ("512B", 512),
            ("10GB", 10_000_000_000),
            ("10 gb", 10_000_000_000),
            ("64MiB", 67_108_864),
            ("2TiB", 2_199_023_255_552),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "GB", "1.5GB", "-1", "10G!", "99999999999TB", "10MB/s"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_are_read() {
        let cases = [
            ("50MB/s", 50_000_000),
            ("50 MB", 50_000_000),
            ("50 MB /s", 50_000_000),
            ("20MiB", 20 << 20),
            ("20 mib/s", 20 << 20),
            ("1500", 1_500),
            ("0", 0),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_rate(text), Ok(bytes), "{text}");
        }
        for text in ["", "/s", "50MB/h", "50MB/s/s", "50Mbit", "-1", "fast"] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
        assert!(parse_rate("fast").unwrap_err().contains("`50MB/s`"));
    }
}
