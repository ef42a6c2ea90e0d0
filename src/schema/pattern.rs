//! Patterns of `[fingerprint] ignore`.

use super::entry::SchemaEntry;

/// One pattern: `schema.object`, both with `*` for any characters.
pub(super) struct Pattern {
    schema: String,
    object: String,
}

impl Pattern {
    pub fn new(text: &str) -> Pattern {
        let (schema, object) = text.split_once('.').unwrap_or(("public", text));
        Pattern { schema: schema.to_owned(), object: object.to_owned() }
    }

    /// Whether it names the entry, the table that the entry is about, or the schema as a whole.
    pub fn matches_entry(&self, entry: &SchemaEntry) -> bool {
        if entry.schema.is_empty() {
            let name = match entry.kind.as_str() {
                "SCHEMA" => Some(entry.name.as_str()),
                _ if entry.is_property() => entry.name.strip_prefix("SCHEMA "),
                _ => None,
            };
            return self.object == "*" && name.is_some_and(|name| matches(&self.schema, name));
        }
        matches(&self.schema, &entry.schema) && self.names(entry).iter().any(|name| matches(&self.object, name))
    }

    /// Whether it names `schema.object`.
    pub fn matches_name(&self, name: &str) -> bool {
        name.split_once('.')
            .is_some_and(|(schema, object)| matches(&self.schema, schema) && matches(&self.object, object))
    }

    /// The names by which an entry may be meant: its own, and that of the object it belongs to.
    fn names<'a>(&self, entry: &'a SchemaEntry) -> Vec<&'a str> {
        let mut names = vec![entry.name.as_str()];
        if entry.is_property() {
            // `TABLE t`, `COLUMN t.c`, `MATERIALIZED VIEW v`, `CONSTRAINT c ON t`: after each leading word.
            let words = entry.name.match_indices(' ').map(|(space, _)| &entry.name[space + 1..]);
            names.extend(words);
            names.extend(entry.name.strip_prefix("COLUMN ").and_then(|column| column.split('.').next()));
        } else if let Some((table, own)) = entry.name.split_once(' ') {
            // `t t_pkey`: constraints, triggers, policies, defaults, rules.
            names.extend([table, own]);
        }
        names
    }
}

/// Whether `text` is what `pattern` says, with `*` for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    loop {
        if matches(rest, text) {
            return true;
        }
        let mut characters = text.chars();
        if characters.next().is_none() {
            return false;
        }
        text = characters.as_str();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "abc", true),
            ("audit_*", "audit_log", true),
            ("audit_*", "my_audit_log", false),
            ("*_log", "audit_log", true),
            ("a*b*c", "a--b--c", true),
            ("a*b*c", "a--c--b", false),
            ("abc", "abcd", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
