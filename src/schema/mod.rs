//! The schema of a database as entries of a dump, its fingerprint, and the readable difference (pure).
//!
//! A [`Schema`] is made from the text of `pg_dump --schema-only` ([`Schema::from_dump`]). Whether that text is *raw*
//! or *normal* (DESIGN.md, section 13) is the caller's business: only two of the same kind may be compared.

mod columns;
mod difference;
mod dump;
mod entry;
mod fingerprint;
mod pattern;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use difference::{ChangedEntry, Difference, SchemaChanges};
pub use entry::{EntryKey, SchemaEntry};
pub use fingerprint::{Fingerprint, FingerprintRecord};

use pattern::Pattern;

/// The schema of the ledger: no part of any fingerprint.
pub const LEDGER_SCHEMA: &str = "safe_migrate";

/// An installed extension.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// Its version; a dump does not tell it.
    pub version: String,
}

/// The schema of one database.
///
/// Not part of it: the ledger's schema, comments of the dump, session settings, and the table space and the table
/// access method of a table or index, which pg_dump writes as settings that hold for the entries behind them (a shadow
/// has neither the table spaces nor always the access methods of production).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    entries: Vec<SchemaEntry>,
    extensions: Vec<Extension>,
    invalid_indexes: Vec<String>,
}

impl Schema {
    /// Reads the text of a plain `pg_dump --schema-only`.
    ///
    /// `extensions` and `invalid_indexes` (as `schema.name`, unquoted) come from the catalog: a dump has neither the
    /// versions nor the validity.
    pub fn from_dump(dump: &str, extensions: Vec<Extension>, invalid_indexes: Vec<String>) -> Schema {
        let mut entries = dump::entries(dump);
        entries.retain(|entry| !entry.belongs_to_schema(LEDGER_SCHEMA));
        let ledger = format!("{LEDGER_SCHEMA}.");
        let mut schema = Schema { entries, extensions, invalid_indexes };
        schema.invalid_indexes.retain(|index| !index.starts_with(&ledger));
        schema.sorted()
    }

    fn sorted(mut self) -> Schema {
        self.entries.sort();
        self.extensions.sort();
        self.invalid_indexes.sort();
        self
    }

    /// The entries of the dump, sorted by kind, schema, name and text.
    pub fn entries(&self) -> &[SchemaEntry] {
        &self.entries
    }

    /// The extensions, sorted by name.
    pub fn extensions(&self) -> &[Extension] {
        &self.extensions
    }

    /// The invalid indexes, sorted.
    pub fn invalid_indexes(&self) -> &[String] {
        &self.invalid_indexes
    }

    /// This schema without the entries of some kinds, such as `ACL` or `SUBSCRIPTION`.
    pub fn without_kinds(&self, kinds: &[&str]) -> Schema {
        let mut schema = self.clone();
        schema.entries.retain(|entry| !kinds.contains(&entry.kind.as_str()));
        schema
    }

    /// This schema with a remark in the place of the texts of some kinds: what may hold a password is neither kept in the
    /// ledger nor shown.
    pub fn withholding(&self, kinds: &[&str]) -> Schema {
        let mut schema = self.clone();
        for entry in schema.entries.iter_mut().filter(|entry| kinds.contains(&entry.kind.as_str())) {
            entry.text = "(its text is not shown: it may hold a password)".to_owned();
        }
        schema.sorted()
    }

    /// Whether it has an entry of one of these kinds.
    pub fn has_kinds(&self, kinds: &[&str]) -> bool {
        self.entries.iter().any(|entry| kinds.contains(&entry.kind.as_str()))
    }

    /// This schema with the columns of each table in the order of their texts: for databases that came to the same columns
    /// on different ways.
    pub fn with_columns_sorted(&self) -> Schema {
        let entries = self.entries.iter().cloned().map(SchemaEntry::with_columns_sorted).collect();
        Schema { entries, ..self.clone() }.sorted()
    }

    /// This schema without what `[fingerprint] ignore` names.
    ///
    /// A pattern is `schema.object`, both with `*` for any characters: `partman.*` hides a schema and all in it,
    /// `public.audit_*` some objects with their indexes, constraints, comments and privileges. A pattern without a dot
    /// is meant for the schema `public`.
    pub fn ignoring(&self, patterns: &[String]) -> Schema {
        let patterns: Vec<Pattern> = patterns.iter().map(|pattern| Pattern::new(pattern)).collect();
        let mut schema = self.clone();
        schema.entries.retain(|entry| !patterns.iter().any(|pattern| pattern.matches_entry(entry)));
        schema.invalid_indexes.retain(|index| !patterns.iter().any(|pattern| pattern.matches_name(index)));
        schema
    }

    /// All that is compared: the entries, and the extensions' versions and the invalid indexes in the form of entries.
    fn all_entries(&self) -> BTreeSet<(SchemaEntry, usize)> {
        let extension = |extension: &Extension| SchemaEntry {
            kind: "EXTENSION VERSION".to_owned(),
            schema: String::new(),
            name: extension.name.clone(),
            text: format!("version {}", extension.version),
        };
        let index = |index: &String| SchemaEntry {
            kind: "INVALID INDEX".to_owned(),
            schema: String::new(),
            name: index.clone(),
            text: "invalid".to_owned(),
        };
        let entries = self.entries.iter().cloned();
        let all = entries.chain(self.extensions.iter().map(extension)).chain(self.invalid_indexes.iter().map(index));
        // A number tells equal entries apart: two operators may have the same name and, cut short, the same text.
        let mut counted = BTreeSet::new();
        for entry in all {
            let copies = counted.range((entry.clone(), 0)..=(entry.clone(), usize::MAX)).count();
            counted.insert((entry, copies));
        }
        counted
    }

    /// The hash of all of it; equal schemas have equal ones, whatever the order of the dump.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.all_entries().iter().map(|(entry, _)| entry))
    }

    /// What `self` (the left side) has and `other` (the right side) has not, and the reverse.
    pub fn difference(&self, other: &Schema) -> Difference {
        Difference::between(&self.all_entries(), &other.all_entries())
    }

    /// Where this schema is not as these changes would have left it: what was written and is not there with that text (the
    /// left side; beside it what is there instead), and what was removed and is there (the right side).
    pub fn without_effect_of(&self, changes: &SchemaChanges) -> Difference {
        let mut difference = Difference::default();
        let named =
            |key: &EntryKey| self.entries.iter().filter(|entry| entry.key() == *key).cloned().collect::<Vec<_>>();
        for wanted in &changes.written {
            // Versions of extensions and invalid indexes are in the form of entries, but are none.
            let is_entry = !matches!(wanted.kind.as_str(), "EXTENSION VERSION" | "INVALID INDEX");
            if !is_entry || self.entries.contains(wanted) {
                continue;
            }
            match named(&wanted.key()).into_iter().find(|entry| !changes.written.contains(entry)) {
                Some(found) => difference.changed.push(ChangedEntry { left: wanted.clone(), right: found }),
                None => difference.only_left.push(wanted.clone()),
            }
        }
        for key in &changes.removed {
            let still = named(key).into_iter().filter(|entry| !changes.written.contains(entry));
            difference.only_right.extend(still);
        }
        difference
    }

    /// What happened to the schema between `before` and `self`.
    ///
    /// Two databases that began with equal normal forms and show equal changes have equal schemas (DESIGN.md, section
    /// 13, the fast path after apply).
    pub fn changes_since(&self, before: &Schema) -> SchemaChanges {
        SchemaChanges::from(before.difference(self))
    }
}

#[cfg(test)]
mod tests;
