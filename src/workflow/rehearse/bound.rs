//! What the receipt of a wrapped command is bound to, besides what binds every receipt.
//!
//! Nothing that the operator typed or passed on stands in it: only hashes by a key that lies outside of the store.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::why_not::WhyNot;

/// Whether the way back of a Django project is tried on the shadow: each app to where it stood, and up again. Each tries
/// what those before it try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackTrial {
    /// Never.
    Skip,
    /// Unless nothing was applied before: what starts from an empty database goes back to one, and that takes long.
    #[default]
    Auto,
    /// In any case.
    Once,
}

/// A command, what it is made from, what it sees and what it starts from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// A constant by the key of the others: those can be compared where it is the same.
    pub key: String,
    /// The command without its passwords, for people.
    pub shown: String,
    /// Its words, the program that asks where it goes, and the directory.
    pub words: String,
    /// The commit that is checked out.
    pub commit: String,
    /// Its tree.
    pub tree: String,
    /// Files that are in no commit: with what they are, and a hash of what is in them.
    pub files: BTreeMap<String, String>,
    /// The variables of its environment: of a value, or of the template of one.
    pub variables: BTreeMap<String, String>,
    /// What judges its findings.
    pub policy: String,
    /// Whether the way back is tried.
    pub way_back: BackTrial,
    /// What it starts from.
    pub start: Start,
    /// What the rehearsal took away without a loss, because it held nothing then.
    pub taken: Vec<Taken>,
}

/// A table that is taken away, or a column of one that stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// The column.
    pub column: Option<String>,
}

impl std::fmt::Display for Taken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}", self.schema, self.table)?;
        self.column.iter().try_for_each(|column| write!(formatter, ".{column}"))
    }
}

/// What a database is before a command, besides its schema.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The last run that the ledger knows.
    pub last_run: Option<String>,
    /// A hash of the rows of each table in which a tool keeps what is applied.
    pub histories: BTreeMap<String, String>,
}

impl Bound {
    /// Why a rehearsal that was bound like that does not stand for one of this.
    pub fn why_not(&self, rehearsed: &Self) -> Option<WhyNot> {
        if rehearsed.key != self.key {
            return Some(WhyNot::NotWrittenHere);
        }
        if rehearsed.words != self.words {
            return Some(WhyNot::OtherCommand(rehearsed.shown.clone()));
        }
        if let Some(why) = self.other_files(rehearsed) {
            return Some(why);
        }
        if let Some(name) = first_difference(&rehearsed.variables, &self.variables) {
            let how = match (rehearsed.variables.contains_key(name), self.variables.contains_key(name)) {
                (true, true) => "has another value",
                (true, false) => "is not passed any more",
                (false, _) => "was not passed",
            };
            return Some(WhyNot::OtherVariable(format!("{name} {how}")));
        }
        if rehearsed.policy != self.policy {
            return Some(WhyNot::OtherPolicy);
        }
        if rehearsed.way_back < self.way_back {
            return Some(WhyNot::LessTried);
        }
        self.start.why_not(&rehearsed.start)
    }

    /// What of its files differs.
    pub fn other_files(&self, rehearsed: &Self) -> Option<WhyNot> {
        if (&rehearsed.commit, &rehearsed.tree) != (&self.commit, &self.tree) {
            let short = |commit: &str| commit.chars().take(12).collect();
            return Some(WhyNot::OtherCommit { found: short(&rehearsed.commit), wanted: short(&self.commit) });
        }
        first_difference(&rehearsed.files, &self.files).map(|file| WhyNot::OtherFile(file.to_owned()))
    }
}

impl Start {
    fn why_not(&self, rehearsed: &Self) -> Option<WhyNot> {
        if rehearsed.last_run != self.last_run {
            return Some(WhyNot::OtherRun(match (&self.last_run, &rehearsed.last_run) {
                (Some(now), then) if then.as_ref() < Some(now) => format!("run {now} came after it"),
                (_, then) => format!("run {}, which came before it, is gone", then.as_deref().unwrap_or_default()),
            }));
        }
        let table = first_difference(&rehearsed.histories, &self.histories)?;
        Some(WhyNot::OtherHistory(table.to_owned()))
    }
}

/// The first name that only one has, or that both have with another value.
fn first_difference<'a>(one: &'a BTreeMap<String, String>, other: &'a BTreeMap<String, String>) -> Option<&'a str> {
    let names = one.keys().chain(other.keys());
    names.filter(|name| one.get(*name) != other.get(*name)).min().map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound() -> Bound {
        Bound {
            key: "k".to_owned(),
            shown: "tool up".to_owned(),
            words: "w".to_owned(),
            commit: "c".to_owned(),
            tree: "t".to_owned(),
            files: BTreeMap::from([("f".to_owned(), "1".to_owned())]),
            variables: BTreeMap::from([("A".to_owned(), "1".to_owned())]),
            policy: "p".to_owned(),
            way_back: BackTrial::Auto,
            start: Start { last_run: Some("2".to_owned()), histories: BTreeMap::new() },
            taken: Vec::new(),
        }
    }

    #[test]
    fn whatever_differs_is_named() {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let why = |change: fn(&mut Bound)| {
            let mut now = bound();
            change(&mut now);
            now.why_not(&bound()).map(|why| why.to_string()).unwrap_or_default()
        };
        assert_eq!(why(|_| {}), "");
        assert_eq!(why(|now| now.words.clear()), "it is of another command: tool up");
        assert_eq!(why(|now| now.tree.clear()), "it is of commit c, and this is c");
        assert_eq!(why(|now| now.files.clear()), "f changed since");
        assert_eq!(why(|now| now.variables.clear()), "variable A is not passed any more");
        assert_eq!(why(|now| now.policy.clear()), "[policy] is another one");
        assert_eq!(why(|now| now.way_back = BackTrial::Skip), "");
        assert_eq!(why(|now| now.way_back = BackTrial::Once), "it did not try the way back as --way-back wants it");
        assert_eq!(why(|now| now.start.last_run = Some("3".to_owned())), "run 3 came after it");
        assert_eq!(why(|now| now.start.last_run = None), "run 2, which came before it, is gone");
        assert!(why(|now| now.key.clear()).starts_with("this user of this machine did not write it"));
        let now = Bound { variables: map(&[("A", "1"), ("B", "")]), ..bound() };
        assert_eq!(now.why_not(&bound()).unwrap().to_string(), "variable B was not passed");
        let now = Bound { variables: map(&[("A", "2")]), ..bound() };
        assert_eq!(now.why_not(&bound()).unwrap().to_string(), "variable A has another value");
    }
}
