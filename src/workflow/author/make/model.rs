//! A schema as `make` compares it: the objects of an archive in normal form, with their parts from the catalogs.

use std::collections::{BTreeMap, BTreeSet};

use crate::migration::split_statements;
use crate::postgres::ArchiveEntry;
use crate::postgres::definitions::{Address, Definitions, RELATION, Relation};

/// Entries of an archive that are no objects of the schema.
const NO_OBJECTS: [&str; 5] = ["ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE", "DATABASE PROPERTIES"];

/// What an object is called: kind, schema, name, and a number where these are the same (overloaded operators).
pub(super) type Key = (String, String, String, usize);

/// One object, or one property that an archive has apart, such as its privileges.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) key: Key,
    /// The statements that make it, without the owner.
    pub(super) statements: Vec<String>,
    /// What pg_dump writes beside an index and is a property of its table: replica identity, clustering.
    pub(super) of_table: Vec<String>,
    /// Its owner as `ALTER … OWNER TO` has it.
    pub(super) owner: Option<String>,
    /// Objects that it needs.
    pub(super) needs: Vec<usize>,
    pub(super) address: Address,
    /// The statement that drops it.
    pub(super) drop: Option<String>,
    /// Objects with any of which it goes without a word.
    pub(super) part_of: BTreeSet<usize>,
}

impl Object {
    pub(super) fn kind(&self) -> &str {
        &self.key.0
    }

    pub(super) fn name(&self) -> &str {
        &self.key.2
    }

    /// Its definition, for people.
    pub(super) fn text(&self) -> String {
        let mut lines: Vec<String> = self.statements.iter().map(|one| format!("{one};")).collect();
        lines.extend(self.owner.iter().map(|owner| format!("-- owner: {owner}")));
        lines.join("\n")
    }
}

/// A schema.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) objects: Vec<Object>,
    pub(super) definitions: Definitions,
    by_key: BTreeMap<Key, usize>,
    by_address: BTreeMap<Address, usize>,
    users: Vec<Vec<usize>>,
}

impl Model {
    /// Puts together what was read of one database. `drops`: the statements by address.
    pub(super) fn new(
        entries: Vec<ArchiveEntry>,
        drops: &BTreeMap<Address, String>,
        definitions: Definitions,
    ) -> Model {
        let entries: Vec<ArchiveEntry> =
            entries.into_iter().filter(|one| !NO_OBJECTS.contains(&one.kind.as_str()) && !one.sql.is_empty()).collect();
        let ids: BTreeMap<u32, usize> = entries.iter().enumerate().map(|(at, one)| (one.id, at)).collect();
        let mut by_key = BTreeMap::new();
        let mut objects = Vec::with_capacity(entries.len());
        for (at, entry) in entries.into_iter().enumerate() {
            let (mut statements, owner) = statements(&entry.sql);
            let is_of_table = |one: &mut String| {
                one.starts_with("ALTER TABLE ")
                    && (one.contains(" REPLICA IDENTITY USING INDEX ") || one.contains(" CLUSTER ON "))
            };
            let of_table = match entry.kind.as_str() {
                "INDEX" | "CONSTRAINT" => statements.extract_if(.., is_of_table).collect(),
                _ => Vec::new(),
            };
            let mut key = (entry.kind, entry.schema.unwrap_or_default(), entry.name, 0);
            while by_key.contains_key(&key) {
                key.3 += 1;
            }
            by_key.insert(key.clone(), at);
            let needs: BTreeSet<usize> =
                entry.needs.iter().filter_map(|id| ids.get(id)).copied().filter(|one| *one != at).collect();
            let drop = drops.get(&entry.address).cloned();
            let needs = needs.into_iter().collect();
            objects.push(Object {
                drop,
                key,
                statements,
                of_table,
                owner,
                needs,
                address: entry.address,
                part_of: BTreeSet::new(),
            });
        }
        let by_address = objects.iter().enumerate().filter(|(_, one)| one.address != (0, 0));
        let by_address: BTreeMap<Address, usize> = by_address.map(|(at, one)| (one.address, at)).collect();
        let mut users = vec![Vec::new(); objects.len()];
        for (at, object) in objects.iter().enumerate() {
            object.needs.iter().for_each(|need| users[*need].push(at));
        }
        let mut model = Model { objects, definitions, by_key, by_address, users };
        for at in 0..model.objects.len() {
            // pg_dump makes a partition's index behind that of the table; only attaching it needs that.
            if let Some(parent) = model.parent_index(at) {
                model.objects[at].needs.retain(|one| *one != parent);
                model.users[parent].retain(|one| *one != at);
            }
        }
        for at in 0..model.objects.len() {
            let part_of = model.part_of(at);
            let drop = model.drop_of(at);
            let object = &mut model.objects[at];
            (object.part_of, object.drop) = (part_of, drop);
        }
        model
    }

    pub(super) fn find(&self, key: &Key) -> Option<usize> {
        self.by_key.get(key).copied()
    }

    pub(super) fn at(&self, address: Address) -> Option<usize> {
        self.by_address.get(&address).copied()
    }

    /// Objects that need this one.
    pub(super) fn users(&self, at: usize) -> &[usize] {
        &self.users[at]
    }

    /// The columns of a table, view or composite type.
    pub(super) fn relation(&self, at: usize) -> Option<&Relation> {
        self.definitions.relations.get(&self.objects[at].address.1)
    }

    /// The table or view whose part an object is.
    pub(super) fn relation_of(&self, at: usize) -> Option<usize> {
        let is_relation = |one: &usize| is_relation(self.objects[*one].kind());
        self.objects[at].part_of.iter().copied().find(is_relation)
    }

    fn part_of(&self, at: usize) -> BTreeSet<usize> {
        let object = &self.objects[at];
        let relations = || object.needs.iter().copied().filter(|need| is_relation(self.objects[*need].kind()));
        match object.kind() {
            "ACL" | "COMMENT" | "SECURITY LABEL" => self.described(at).into_iter().collect(),
            "CONSTRAINT" | "FK CONSTRAINT" | "CHECK CONSTRAINT" | "DEFAULT" | "TRIGGER" | "RULE" | "POLICY" => {
                let named = |one: &usize| {
                    let rest = object.name().strip_prefix(self.objects[*one].name());
                    self.objects[*one].key.1 == object.key.1 && rest.is_some_and(|rest| rest.starts_with(' '))
                };
                let mut found: BTreeSet<usize> = relations().filter(named).collect();
                if found.is_empty() {
                    // A check of a domain.
                    let types = object.needs.iter().copied().filter(|need| self.objects[*need].kind() == "DOMAIN");
                    found.extend(types);
                }
                found.extend(self.parent_index(at));
                found
            }
            "INDEX" => relations().chain(self.parent_index(at)).collect(),
            "STATISTICS" | "ROW SECURITY" | "TABLE ATTACH" => relations().collect(),
            "SEQUENCE OWNED BY" => {
                let sequences = object.needs.iter().filter(|one| self.objects[**one].kind() == "SEQUENCE");
                let tables = sequences.flat_map(|one| self.objects[*one].needs.iter().copied());
                relations().chain(tables.filter(|one| is_relation(self.objects[*one].kind()))).collect()
            }
            "INDEX ATTACH" => object.needs.iter().copied().collect(),
            "SEQUENCE" => relations().collect(),
            kind if kind.starts_with("PUBLICATION ") => {
                let publications =
                    object.needs.iter().copied().filter(|one| self.objects[*one].kind() == "PUBLICATION");
                publications.chain(relations()).collect()
            }
            _ => BTreeSet::new(),
        }
    }

    /// The object that a comment or privileges are of: the one it needs that its name names last.
    fn described(&self, at: usize) -> Option<usize> {
        let object = &self.objects[at];
        let mut named: Vec<usize> = object.needs.clone();
        named.sort_by_key(|one| {
            let other = self.objects[*one].name();
            (object.name().ends_with(other), object.name().contains(other), other.len())
        });
        named.pop()
    }

    /// The index of the partitioned table that this index is a partition of.
    pub(super) fn parent_index(&self, at: usize) -> Option<usize> {
        let (_, oid) = self.objects[at].address;
        let indexes = &self.definitions.constraint_indexes;
        let own = indexes.get(&oid).map_or(oid, |one| one.index);
        let parent = *self.definitions.attached_indexes.get(&own)?;
        let constraint = indexes.iter().find(|(_, one)| one.index == parent);
        constraint
            .and_then(|(oid, _)| self.at((crate::postgres::definitions::CONSTRAINT, *oid)))
            .or_else(|| self.at((RELATION, parent)))
    }

    fn drop_of(&self, at: usize) -> Option<String> {
        let object = &self.objects[at];
        let first = object.statements.first().map(String::as_str).unwrap_or_default();
        match object.kind() {
            "ROW SECURITY" => Some(first.replacen("ENABLE ROW", "DISABLE ROW", 1)),
            "DEFAULT" => {
                first.split_once(" SET DEFAULT ").map(|(head, _)| format!("{} DROP DEFAULT", without_only(head)))
            }
            "TABLE ATTACH" => {
                let (parent, rest) = first.split_once(" ATTACH PARTITION ")?;
                let end = rest.find(" FOR VALUES").or_else(|| rest.find(" DEFAULT")).unwrap_or(rest.len());
                Some(format!("{} DETACH PARTITION {}", without_only(parent), &rest[..end]))
            }
            "SEQUENCE OWNED BY" => first.split_once(" OWNED BY ").map(|(head, _)| format!("{head} OWNED BY NONE")),
            "SEQUENCE" if first.starts_with("ALTER TABLE") => {
                first.split_once(" ADD GENERATED ").map(|(head, _)| format!("{} DROP IDENTITY", without_only(head)))
            }
            "COMMENT" => {
                first.find(" IS '").or_else(|| first.find(" IS E'")).map(|at| format!("{} IS NULL", &first[..at]))
            }
            "PUBLICATION TABLE" => {
                let (publication, table) = first.split_once(" ADD TABLE ONLY ")?;
                Some(format!("{publication} DROP TABLE {}", first_name(table)))
            }
            "PUBLICATION TABLES IN SCHEMA" => Some(first.replacen(" ADD TABLES ", " DROP TABLES ", 1)),
            "ACL" | "DEFAULT ACL" | "INDEX ATTACH" | "SECURITY LABEL" => None,
            _ => object.drop.clone(),
        }
    }
}

pub(super) fn is_relation(kind: &str) -> bool {
    matches!(kind, "TABLE" | "FOREIGN TABLE" | "VIEW" | "MATERIALIZED VIEW")
}

/// `ALTER TABLE ONLY x` as `ALTER TABLE x`: what is said of a table holds for its partitions.
pub(super) fn without_only(statement: &str) -> String {
    statement.replacen("ALTER TABLE ONLY ", "ALTER TABLE ", 1)
}

/// The name, with its schema, at the beginning of a text.
fn first_name(text: &str) -> String {
    let statements = split_statements(text, 1).unwrap_or_default();
    let tokens = statements.first().map(crate::migration::Statement::tokens).unwrap_or_default();
    let mut name = String::new();
    for (at, token) in tokens.iter().enumerate() {
        match (at % 2, *token) {
            (1, ".") | (0, _) => name.push_str(token),
            _ => break,
        }
    }
    name
}

/// The statements of an entry, and its owner.
fn statements(sql: &str) -> (Vec<String>, Option<String>) {
    let all = split_statements(sql, 1).unwrap_or_default();
    let (mut kept, mut owner) = (Vec::new(), None);
    for statement in all {
        match statement.text.rsplit_once(" OWNER TO ") {
            Some((head, name)) if head.starts_with("ALTER ") && !name.contains(char::is_whitespace) => {
                owner = Some(name.to_owned());
            }
            _ => kept.push(statement.text),
        }
    }
    (kept, owner)
}
