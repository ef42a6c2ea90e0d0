//! Which app an object of the database goes to.

use std::collections::{BTreeMap, BTreeSet};

use crate::postgres::ArchiveEntry;

/// How the objects are divided into apps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// All of it is one app.
    One(String),
    /// Each schema is an app; what lies in `public` or in none goes to the app given.
    BySchema(String),
    /// The part of a table's name before its first underscore; what has no such name goes to the app given.
    ByPrefix(String),
    /// Patterns of names (`*` stands for any characters) per app; what matches none goes to the app given.
    ByPattern(Vec<(String, Vec<String>)>, String),
}

/// Kinds of entries that are objects by themselves; the others belong to one.
const OBJECTS: [&str; 24] = [
    "SCHEMA",
    "EXTENSION",
    "TABLE",
    "FOREIGN TABLE",
    "VIEW",
    "MATERIALIZED VIEW",
    "SEQUENCE",
    "TYPE",
    "SHELL TYPE",
    "DOMAIN",
    "FUNCTION",
    "PROCEDURE",
    "AGGREGATE",
    "OPERATOR",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "COLLATION",
    "CONVERSION",
    "CAST",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
    "STATISTICS",
];
/// Kinds that others are divided by.
const RELATIONS: [&str; 4] = ["TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW"];
/// Kinds whose names begin with that of their table.
const OF_TABLE: [&str; 10] = [
    "CONSTRAINT",
    "FK CONSTRAINT",
    "CHECK CONSTRAINT",
    "TRIGGER",
    "RULE",
    "POLICY",
    "ROW SECURITY",
    "DEFAULT",
    "TABLE ATTACH",
    "INDEX ATTACH",
];
/// What holds for objects that are made later too, or for all of the database: of one app, behind all others.
const LAST: [&str; 5] =
    ["PUBLICATION TABLES IN SCHEMA", "DEFAULT ACL", "EVENT TRIGGER", "PUBLICATION", "PUBLICATION TABLE"];

/// Which entries come behind all others: those kinds, and what needs one of them.
pub(super) fn last_entries(entries: &[ArchiveEntry]) -> Vec<bool> {
    let mut ids: BTreeSet<u32> = BTreeSet::new();
    let is_last = |entry: &ArchiveEntry, ids: &BTreeSet<u32>| {
        LAST.contains(&entry.kind.as_str()) || entry.needs.iter().any(|id| ids.contains(id))
    };
    // A dump is in an order in which each entry stands behind what it needs.
    entries
        .iter()
        .map(|entry| {
            let last = is_last(entry, &ids);
            if last {
                ids.insert(entry.id);
            }
            last
        })
        .collect()
}

impl Grouping {
    fn rest(&self) -> &str {
        match self {
            Grouping::One(app) | Grouping::BySchema(app) | Grouping::ByPrefix(app) | Grouping::ByPattern(_, app) => app,
        }
    }

    /// The app of each entry, in the order of the entries.
    pub(super) fn apps(&self, entries: &[ArchiveEntry]) -> Vec<String> {
        let by_id: BTreeMap<u32, usize> = entries.iter().enumerate().map(|(at, entry)| (entry.id, at)).collect();
        let prefixes: BTreeSet<String> =
            entries.iter().filter(|entry| entry.kind == "TABLE").map(|entry| prefix(&entry.name)).collect();
        // A sequence goes where the table goes that owns it.
        let owners: BTreeMap<u32, usize> = entries
            .iter()
            .filter(|entry| entry.kind == "SEQUENCE OWNED BY")
            .filter_map(|entry| {
                let needed = |kind: &str| {
                    entry.needs.iter().find(|id| by_id.get(id).is_some_and(|at| entries[*at].kind == kind))
                };
                Some((*needed("SEQUENCE")?, by_id[needed("TABLE")?]))
            })
            .collect();
        let of_object = |entry: &ArchiveEntry| self.of_object(entry, &prefixes);
        let find = |entry: &ArchiveEntry| -> String {
            if LAST.contains(&entry.kind.as_str()) {
                return as_app_name(self.rest());
            }
            if let Some(table) = owners.get(&entry.id) {
                return of_object(&entries[*table]);
            }
            if OBJECTS.contains(&entry.kind.as_str()) {
                return of_object(entry);
            }
            match anchor(entry, entries, &by_id) {
                Some(anchor) => owners.get(&anchor.id).map_or_else(|| of_object(anchor), |at| of_object(&entries[*at])),
                None => self.rest().to_owned(),
            }
        };
        let last = last_entries(entries);
        let app = |(entry, last): (&ArchiveEntry, &bool)| if *last { as_app_name(self.rest()) } else { find(entry) };
        entries.iter().zip(&last).map(app).collect()
    }

    fn of_object(&self, entry: &ArchiveEntry, prefixes: &BTreeSet<String>) -> String {
        let name = entry.name.split('(').next().unwrap_or(&entry.name);
        let app = match self {
            Grouping::One(app) => app.clone(),
            Grouping::BySchema(rest) => {
                let schema = if entry.kind == "SCHEMA" { Some(entry.name.as_str()) } else { entry.schema.as_deref() };
                schema.filter(|schema| *schema != "public").unwrap_or(rest).to_owned()
            }
            Grouping::ByPrefix(rest) => {
                let is_relation = RELATIONS.contains(&entry.kind.as_str()) || entry.kind == "SEQUENCE";
                let prefix = prefix(name);
                let known = prefixes.contains(&prefix) && (is_relation || name.contains('_'));
                if known { prefix } else { rest.clone() }
            }
            Grouping::ByPattern(apps, rest) => {
                let matching = apps.iter().find(|(_, patterns)| patterns.iter().any(|pattern| matches(pattern, name)));
                matching.map_or(rest, |(app, _)| app).clone()
            }
        };
        as_app_name(&app)
    }
}

/// The object that an entry belongs to.
fn anchor<'a>(
    entry: &ArchiveEntry,
    entries: &'a [ArchiveEntry],
    by_id: &BTreeMap<u32, usize>,
) -> Option<&'a ArchiveEntry> {
    let needed = || entry.needs.iter().filter_map(|id| by_id.get(id)).map(|at| &entries[*at]);
    if OF_TABLE.contains(&entry.kind.as_str()) {
        let is_its_table = |one: &&ArchiveEntry| {
            RELATIONS.contains(&one.kind.as_str())
                && one.schema == entry.schema
                && (entry.name == one.name
                    || entry.name.strip_prefix(&one.name).is_some_and(|rest| rest.starts_with(' ')))
        };
        // A name may hold blanks: the longest is meant.
        let table = entries.iter().filter(is_its_table).max_by_key(|one| one.name.len());
        if table.is_some() {
            return table;
        }
    }
    let direct = needed().find(|one| OBJECTS.contains(&one.kind.as_str()) && one.kind != "SCHEMA");
    // The comment of an index, or of a constraint, needs that one, which needs a table.
    direct
        .or_else(|| needed().find_map(|one| if one.kind == "SCHEMA" { Some(one) } else { anchor(one, entries, by_id) }))
}

fn prefix(name: &str) -> String {
    name.split('_').find(|part| !part.is_empty()).unwrap_or(name).to_owned()
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, rest)) => name.strip_prefix(head).is_some_and(|behind| {
            (0..=behind.len()).filter(|at| behind.is_char_boundary(*at)).any(|at| matches(rest, &behind[at..]))
        }),
    }
}

/// Letters, digits, underscore and dash; anything else becomes an underscore.
fn as_app_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u32, kind: &str, name: &str, needs: &[u32]) -> ArchiveEntry {
        let schema = (!["SCHEMA", "EXTENSION"].contains(&kind)).then(|| "public".to_owned());
        ArchiveEntry {
            id,
            kind: kind.to_owned(),
            schema,
            name: name.to_owned(),
            needs: needs.to_vec(),
            ..Default::default()
        }
    }

    #[test]
    fn what_belongs_to_a_table_goes_with_it() {
        let entries = [
            entry(1, "EXTENSION", "hstore", &[]),
            entry(2, "TABLE", "menu_dish", &[]),
            entry(3, "SEQUENCE", "dish_id_seq", &[]),
            entry(4, "SEQUENCE OWNED BY", "dish_id_seq", &[3, 2]),
            entry(5, "TABLE", "orders_order", &[]),
            entry(6, "INDEX", "by_name", &[2]),
            entry(7, "FK CONSTRAINT", "orders_order dish_fk", &[2, 5]),
            entry(8, "FUNCTION", "touch()", &[]),
            entry(9, "FUNCTION", "menu_price(bigint)", &[]),
            entry(10, "COMMENT", "INDEX by_name", &[6]),
            entry(11, "VIEW", "menu_available", &[2]),
            entry(12, "ACL", "TABLE menu_dish", &[2]),
        ];
        let apps = Grouping::ByPrefix("main".to_owned()).apps(&entries);
        assert_eq!(
            apps,
            ["main", "menu", "menu", "menu", "orders", "menu", "orders", "main", "menu", "menu", "menu", "menu"]
        );
        let patterns = vec![("kitchen".to_owned(), vec!["menu_*".to_owned(), "*_price*".to_owned()])];
        let apps = Grouping::ByPattern(patterns, "rest".to_owned()).apps(&entries);
        assert_eq!((apps[1].as_str(), apps[4].as_str(), apps[8].as_str()), ("kitchen", "rest", "kitchen"));
    }

    #[test]
    fn patterns_are_whole_names() {
        assert!(matches("menu_*", "menu_dish") && matches("*", "x") && matches("a*c*", "abcd") && matches("a", "a"));
        assert!(!matches("menu_*", "my_menu_dish") && !matches("a*c", "abcd") && !matches("", "a"));
    }
}
