//! `[policy]`: levels by code, and budgets.

use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::quantity::{parse_duration, parse_size};
use crate::lint::{Level, Policy, rules};

const MAX_BLOCKING_LOCK: &str = "max_blocking_lock";
const MAX_REWRITE: &str = "max_rewrite";
/// What the section calls the code `data-loss`, beside the other budgets.
const DATA_LOSS: &str = "data_loss";

/// The section, read.
#[derive(Debug, Default)]
pub(super) struct PolicySection(pub(super) Policy);

/// A key that is known.
struct Key(&'static str);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        let name = String::deserialize(deserializer)?;
        let codes = rules().map(|rule| rule.code);
        let mut known = codes.chain([MAX_BLOCKING_LOCK, MAX_REWRITE, DATA_LOSS]);
        known.find(|known| *known == name).map(Key).ok_or_else(|| de::Error::custom(unknown(&name)))
    }
}

/// In the words of serde, so that the reader of the file adds line and nearest name.
fn unknown(name: &str) -> String {
    let codes = rules().map(|rule| rule.code).chain([MAX_BLOCKING_LOCK, MAX_REWRITE, DATA_LOSS]);
    let codes: Vec<String> = codes.map(|code| format!("`{code}`")).collect();
    format!("unknown field `{name}`, expected one of {}", codes.join(", "))
}

struct LevelName(Level);

impl<'de> Deserialize<'de> for LevelName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<LevelName, D::Error> {
        let name = String::deserialize(deserializer)?;
        let wrong = || de::Error::custom(format!("`{name}` is no level; write off, note, warn or deny"));
        Level::parse(&name).map(LevelName).ok_or_else(wrong)
    }
}

/// A text that a function reads.
struct Parsed<T>(T);

trait Quantity: Sized {
    fn parse(text: &str) -> Result<Self, String>;
}

impl Quantity for std::time::Duration {
    fn parse(text: &str) -> Result<Self, String> {
        parse_duration(text)
    }
}

impl Quantity for u64 {
    fn parse(text: &str) -> Result<Self, String> {
        parse_size(text)
    }
}

impl<'de, T: Quantity> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::parse(&String::deserialize(deserializer)?).map(Parsed).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for PolicySection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Section;
        impl<'de> Visitor<'de> for Section {
            type Value = PolicySection;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("codes with their levels, and budgets")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PolicySection, A::Error> {
                let mut policy = Policy::default();
                while let Some(Key(name)) = map.next_key()? {
                    match name {
                        MAX_BLOCKING_LOCK => policy.max_blocking_lock = Some(map.next_value::<Parsed<_>>()?.0),
                        MAX_REWRITE => policy.max_rewrite = Some(map.next_value::<Parsed<_>>()?.0),
                        code => {
                            let code = if code == DATA_LOSS { "data-loss" } else { code };
                            policy.levels.insert(code, map.next_value::<LevelName>()?.0);
                        }
                    }
                }
                Ok(PolicySection(policy))
            }
        }
        deserializer.deserialize_map(Section)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::super::file::ConfigFile;
    use super::*;

    fn read(text: &str) -> Result<Policy, (String, Vec<String>)> {
        let file = ConfigFile::parse(text, Path::new("safe-migrate.toml"));
        file.map(|file| file.policy.0).map_err(|error| (error.message, error.hints))
    }

    #[test]
    fn levels_and_budgets_are_read() {
        let text = "[policy]\ndrop-column = \"warn\"\nprefer-text-field = \"note\"\nmax_blocking_lock = \"2s\"\n\
                    max_rewrite = \"1GB\"\ndata_loss = \"warn\"\nirreversible = \"deny\"\n";
        let policy = read(text).unwrap();
        assert_eq!(policy.level("drop-column"), Level::Warn);
        assert_eq!(policy.level("prefer-text-field"), Level::Note);
        assert_eq!((policy.level("data-loss"), policy.level("irreversible")), (Level::Warn, Level::Deny));
        assert_eq!(policy.max_blocking_lock, Some(Duration::from_secs(2)));
        assert_eq!(policy.max_rewrite, Some(1_000_000_000));
        assert_eq!(read("").unwrap(), Policy::default());
    }

    #[test]
    fn an_unknown_code_has_its_line_and_the_nearest() {
        let (message, hints) = read("[policy]\ntruncate = \"warn\"\ndrop-colum = \"warn\"\n").unwrap_err();
        assert_eq!(message, "safe-migrate.toml:3: unknown key `drop-colum`");
        assert_eq!(hints, ["did you mean `drop-column`?"]);
    }

    #[test]
    fn a_wrong_level_or_quantity_has_its_line() {
        let message = |text| read(text).unwrap_err().0;
        assert_eq!(
            message("[policy]\ntruncate = \"fatal\""),
            "safe-migrate.toml:2: `fatal` is no level; write off, note, warn or deny"
        );
        assert!(message("[policy]\n\nmax_rewrite = \"much\"").starts_with("safe-migrate.toml:3: `much` is not a size"));
    }
}
