//! Where two schemas differ, for programs and for people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

use super::entry::{EntryKey, SchemaEntry};

/// How many lines `Display` writes at most.
const DISPLAYED_LINES: usize = 200;

/// An entry that both sides have, with different texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedEntry {
    /// The left side's.
    pub left: SchemaEntry,
    /// The right side's.
    pub right: SchemaEntry,
}

/// Where two schemas differ. Extensions' versions (`EXTENSION VERSION`) and invalid indexes (`INVALID INDEX`) appear
/// in the form of entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Only the left side has them.
    pub only_left: Vec<SchemaEntry>,
    /// Only the right side has them.
    pub only_right: Vec<SchemaEntry>,
    /// Both have them, with different texts.
    pub changed: Vec<ChangedEntry>,
}

/// What happened to a schema. Equal changes carry equal texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaChanges {
    /// Entries that are gone.
    pub removed: Vec<EntryKey>,
    /// Entries that are new or have another text now.
    pub written: Vec<SchemaEntry>,
}

impl SchemaChanges {
    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.written.is_empty()
    }
}

impl From<Difference> for SchemaChanges {
    fn from(difference: Difference) -> SchemaChanges {
        let mut written = difference.only_right;
        written.extend(difference.changed.into_iter().map(|changed| changed.right));
        written.sort();
        let mut removed: Vec<EntryKey> = difference.only_left.iter().map(SchemaEntry::key).collect();
        removed.sort();
        SchemaChanges { removed, written }
    }
}

type Entries = BTreeSet<(SchemaEntry, usize)>;

impl Difference {
    pub(super) fn between(left: &Entries, right: &Entries) -> Difference {
        let mut sides: BTreeMap<EntryKey, (Vec<SchemaEntry>, Vec<SchemaEntry>)> = BTreeMap::new();
        for (entry, _) in left.difference(right) {
            sides.entry(entry.key()).or_default().0.push(entry.clone());
        }
        for (entry, _) in right.difference(left) {
            sides.entry(entry.key()).or_default().1.push(entry.clone());
        }
        let mut difference = Difference::default();
        for (mut lefts, mut rights) in sides.into_values() {
            let pairs = lefts.len().min(rights.len());
            difference.only_left.extend(lefts.split_off(pairs));
            difference.only_right.extend(rights.split_off(pairs));
            let changed = lefts.into_iter().zip(rights).map(|(left, right)| ChangedEntry { left, right });
            difference.changed.extend(changed);
        }
        difference
    }

    /// Whether the schemas are equal.
    pub fn is_empty(&self) -> bool {
        self.only_left.is_empty() && self.only_right.is_empty() && self.changed.is_empty()
    }

    /// How many entries differ.
    pub fn len(&self) -> usize {
        self.only_left.len() + self.only_right.len() + self.changed.len()
    }

    /// The difference as text: each entry's name, then its lines, `-` for the left side and `+` for the right one.
    /// Lines that a changed entry begins and ends with on both sides are left out. At most `limit` lines, the last of
    /// which says how many more there are.
    pub fn render(&self, limit: usize) -> String {
        let mut lines = Vec::new();
        for changed in &self.changed {
            lines.push(format!("~ {}", changed.left.key()));
            push_changed_lines(&mut lines, &changed.left.text, &changed.right.text);
        }
        for (sign, entries) in [('-', &self.only_left), ('+', &self.only_right)] {
            for entry in entries {
                lines.push(format!("{sign} {}", entry.key()));
                lines.extend(filled(&entry.text).map(|line| format!("    {sign} {line}")));
            }
        }
        if lines.len() > limit {
            let kept = limit.saturating_sub(1);
            let more = lines.len() - kept;
            lines.truncate(kept);
            lines.push(format!("… and {more} more lines ({} entries differ)", self.len()));
        }
        lines.iter().fold(String::new(), |mut text, line| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{line}");
            text
        })
    }
}

/// The lines of a text that say something.
fn filled(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim().is_empty())
}

/// Pushes the lines between what two texts begin and end with alike.
fn push_changed_lines(lines: &mut Vec<String>, left: &str, right: &str) {
    let (left, right): (Vec<&str>, Vec<&str>) = (filled(left).collect(), filled(right).collect());
    let before = left.iter().zip(&right).take_while(|(l, r)| l == r).count();
    let (left, right) = (&left[before..], &right[before..]);
    let after = left.iter().rev().zip(right.iter().rev()).take_while(|(l, r)| l == r).count();
    lines.extend(left[..left.len() - after].iter().map(|line| format!("    - {line}")));
    lines.extend(right[..right.len() - after].iter().map(|line| format!("    + {line}")));
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(DISPLAYED_LINES).trim_end())
    }
}
