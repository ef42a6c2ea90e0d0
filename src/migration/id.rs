//! The name of a migration: `app/NNNN_name`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Digits a migration's number may have; 14 is the timestamp that dbmate and Rails write.
const NUMBER_DIGITS: std::ops::RangeInclusive<usize> = 4..=14;

/// Names one migration, as in `menu/0001_initial`.
///
/// Ordered by app, then number, then name: the order in which equally early migrations run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MigrationId {
    /// The app: letters, digits, underscore and dash.
    pub app: String,
    /// The file's name without `.sql`: 4 to 14 digits, an underscore, then lower-case letters, digits and underscores.
    pub name: String,
}

/// Why a text is no migration's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMigrationId {
    /// There is no slash in it.
    #[error("`{0}` does not say which app it belongs to; write it as app/NNNN_name")]
    NoApp(String),
    /// The part before the slash cannot be an app.
    #[error("`{0}` is no app name: use letters, digits, underscore and dash")]
    App(String),
    /// The part after the slash cannot be a migration.
    #[error(
        "`{0}` is no migration name: 4 to 14 digits, an underscore, then lower-case letters, digits and underscores"
    )]
    Name(String),
}

impl MigrationId {
    /// Joins an app and a name after checking both.
    pub fn new(app: &str, name: &str) -> Result<MigrationId, InvalidMigrationId> {
        if !is_app_name(app) {
            return Err(InvalidMigrationId::App(app.to_owned()));
        }
        if !is_migration_name(name) {
            return Err(InvalidMigrationId::Name(name.to_owned()));
        }
        Ok(MigrationId { app: app.to_owned(), name: name.to_owned() })
    }

    /// The number before the first underscore; leading zeros do not count.
    pub fn number(&self) -> u64 {
        let digits = self.name.split('_').next().unwrap_or_default();
        digits.parse().unwrap_or_default()
    }
}

/// Whether `text` may name an app.
pub(super) fn is_app_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// Whether `text` may name a migration within its app.
pub(super) fn is_migration_name(text: &str) -> bool {
    let Some((digits, words)) = text.split_once('_') else { return false };
    NUMBER_DIGITS.contains(&digits.len())
        && digits.chars().all(|c| c.is_ascii_digit())
        && !words.is_empty()
        && words.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

impl fmt::Display for MigrationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app, self.name)
    }
}

impl FromStr for MigrationId {
    type Err = InvalidMigrationId;

    fn from_str(text: &str) -> Result<MigrationId, InvalidMigrationId> {
        let (app, name) = text.split_once('/').ok_or_else(|| InvalidMigrationId::NoApp(text.to_owned()))?;
        MigrationId::new(app, name)
    }
}

impl TryFrom<String> for MigrationId {
    type Error = InvalidMigrationId;

    fn try_from(text: String) -> Result<MigrationId, InvalidMigrationId> {
        text.parse()
    }
}

impl From<MigrationId> for String {
    fn from(id: MigrationId) -> String {
        id.to_string()
    }
}

impl Ord for MigrationId {
    fn cmp(&self, other: &MigrationId) -> Ordering {
        (&self.app, self.number(), &self.name).cmp(&(&other.app, other.number(), &other.name))
    }
}

impl PartialOrd for MigrationId {
    fn partial_cmp(&self, other: &MigrationId) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> MigrationId {
        text.parse().unwrap()
    }

    #[test]
    fn reads_back_what_it_prints() {
        for text in ["menu/0001_initial", "my-app/20240101120000_add_users", "A_1/0000_x"] {
            assert_eq!(id(text).to_string(), text);
            let json = serde_json::to_string(&id(text)).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<MigrationId>(&json).unwrap(), id(text));
        }
    }

    #[test]
    fn refuses_what_is_no_name_and_says_which_part() {
        assert!(matches!("0001_initial".parse::<MigrationId>(), Err(InvalidMigrationId::NoApp(_))));
        for text in ["a b/0001_initial", "/0001_initial", "é/0001_initial"] {
            assert!(matches!(text.parse::<MigrationId>(), Err(InvalidMigrationId::App(_))), "{text}");
        }
        for name in ["001_x", "000000000000001_x", "0001", "0001_", "0001_Initial", "0001_a-b", "x001_a", "0001_a/b"] {
            let text = format!("menu/{name}");
            assert!(matches!(text.parse::<MigrationId>(), Err(InvalidMigrationId::Name(_))), "{text}");
        }
    }

    #[test]
    fn orders_by_app_then_number_then_name() {
        let mut ids = [id("b/0001_a"), id("a/0010_a"), id("a/00002_z"), id("a/0002_b"), id("a/0002_a")];
        ids.sort();
        let names: Vec<String> = ids.iter().map(MigrationId::to_string).collect();
        assert_eq!(names, ["a/00002_z", "a/0002_a", "a/0002_b", "a/0010_a", "b/0001_a"]);
        assert_eq!(id("a/00010_x").number(), 10);
    }
}
