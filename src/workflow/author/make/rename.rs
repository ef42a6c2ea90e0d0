//! Renames: asked for, or given with `--rename`; what follows from them by itself is not asked.

use std::collections::{BTreeMap, BTreeSet};

use crate::postgres::definitions::{Column, RELATION, Relation};
use crate::postgres::quote_literal;

use super::super::super::{Error, Operator};
use super::difference::{Mode, Operation, Step};
use super::model::{Key, Model, Object, without_only};
use super::{MakeRequest, not_possible};

/// What the operator said.
pub(super) struct Asked<'a> {
    request: &'a MakeRequest,
    operator: &'a dyn Operator,
    /// Questions that were answered with no.
    refused: std::sync::Mutex<BTreeSet<String>>,
    given: std::sync::Mutex<Option<Vec<Given>>>,
}

/// One `--rename`.
#[derive(Clone, Debug)]
struct Given {
    text: String,
    owner: Option<String>,
    old: String,
    new: String,
}

/// One rename.
pub(super) struct Rename {
    /// The object as it is wished for, which says in whose app the rename stands.
    wished: Key,
    /// The object as it is called before.
    was: Key,
    pub(super) operation: Operation,
}

impl<'a> Asked<'a> {
    pub(super) fn new(request: &'a MakeRequest, operator: &'a dyn Operator) -> Self {
        Self { request, operator, refused: Default::default(), given: Default::default() }
    }

    /// Those of the command line, the first time.
    fn given(&self) -> Result<Vec<Given>, Error> {
        let mut taken = self.given.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if taken.is_some() {
            return Ok(Vec::new());
        }
        let parse = |text: &String| {
            let (left, new) = text.split_once('=')?;
            let (owner, old) = match left.rsplit_once('.') {
                Some((owner, old)) => (Some(owner.to_owned()), old),
                None => (None, left),
            };
            let filled = !old.is_empty() && !new.is_empty();
            filled.then(|| Given { text: text.clone(), owner, old: old.to_owned(), new: new.to_owned() })
        };
        let mut found = Vec::new();
        for text in &self.request.renames {
            found.push(parse(text).ok_or_else(|| {
                not_possible(
                    format!("--rename {text}: TABLE.OLD=NEW is wanted"),
                    "for example: --rename menu_menuitem.name=title; of a table: --rename menu_item=menu_dish",
                )
            })?);
        }
        *taken = Some(found.clone());
        // A column is named by its table's old name or the new one.
        found.sort_by_key(|one| one.owner.is_some());
        Ok(found)
    }

    /// Whether this is a rename. Without a terminal it must have been said.
    fn is_rename(&self, question: &str, flag: &str) -> Result<bool, Error> {
        if self.request.no_renames {
            return Ok(false);
        }
        let mut refused = self.refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if refused.contains(flag) {
            return Ok(false);
        }
        let Some(answer) = self.operator.ask_text(&format!("{question} [y/N] ")) else {
            return Err(not_possible(
                format!("{question} There is no terminal to ask on."),
                format!("if so: --rename {flag}; if what is gone is to be dropped with its rows: --no-renames"),
            ));
        };
        let yes = matches!(answer.to_lowercase().as_str(), "y" | "yes");
        if !yes {
            refused.insert(flag.to_owned());
        }
        Ok(yes)
    }
}

/// The next renames; after them the database is read again.
pub(super) fn next(
    have: &Model,
    want: &Model,
    asked: &Asked<'_>,
    apps: &BTreeMap<Key, String>,
) -> Result<Vec<Rename>, Error> {
    let given = asked.given()?;
    if !given.is_empty() {
        // Tables first: their columns are looked for under the new name then.
        let mut tables = BTreeMap::new();
        let mut found = Vec::new();
        for one in &given {
            found.push(by_name(have, want, one, &mut tables)?);
        }
        return Ok(found);
    }
    let of_one_app = |old: &Key, new: &Key| apps.get(old) == apps.get(new);
    for (old, new) in relations(have, want) {
        if !of_one_app(&key_of(have, old), &key_of(want, new)) {
            continue;
        }
        let question = format!("Was the table {} renamed to {}?", old.name, new.name);
        if asked.is_rename(&question, &format!("{}={}", old.name, new.name))? {
            return Ok(vec![rename_relation((have, old), (want, new))]);
        }
    }
    for (table, old, new) in columns(have, want) {
        let question =
            format!("Was {}.{} renamed to {}.{} (a {})?", table.name, old.name, table.name, new.name, new.data_type);
        if asked.is_rename(&question, &format!("{}.{}={}", table.name, old.name, new.name))? {
            return Ok(vec![Rename::of_part(key_of(have, table), rename_column(table, old, new))]);
        }
    }
    for (object, old, new) in labels(have, want) {
        let question = format!("Was the value {old} of {} renamed to {new}?", object.name());
        if asked.is_rename(&question, &format!("{}.{old}={new}", object.name()))? {
            return Ok(vec![rename_label(object, &old, &new)]);
        }
    }
    for (old, new) in sequences(have, want) {
        let question = format!("Was the sequence {} renamed to {}?", old.name(), new.name());
        let Some(rename) = rename_sequence(old, new).filter(|_| of_one_app(&old.key, &new.key)) else { continue };
        if asked.is_rename(&question, &format!("{}={}", old.name(), new.name()))? {
            return Ok(vec![rename]);
        }
    }
    Ok(of_the_same(have, want))
}

fn by_name(have: &Model, want: &Model, given: &Given, tables: &mut BTreeMap<String, String>) -> Result<Rename, Error> {
    let refuse = |why: String| {
        Err(not_possible(
            format!("--rename {}: {why}", given.text),
            "names are those of the migrations on the left, of schema.sql on the right",
        ))
    };
    let relations = |model: &'_ Model| -> Vec<Relation> {
        model.definitions.relations.values().filter(|one| one.kind != 'c').cloned().collect()
    };
    let named = |all: Vec<Relation>, name: &str| {
        all.into_iter()
            .find(|one| one.name == name || one.path == name || format!("{}.{}", one.schema, one.name) == name)
    };
    let Some(owner) = &given.owner else {
        let sequence =
            sequences(have, want).into_iter().find(|(old, new)| old.name() == given.old && new.name() == given.new);
        if let Some(rename) = sequence.and_then(|(old, new)| rename_sequence(old, new)) {
            return Ok(rename);
        }
        let Some(old) = named(relations(have), &given.old) else {
            return refuse(format!("the migrations make no table {}", given.old));
        };
        let Some(new) = named(relations(want), &given.new) else {
            return refuse(format!("no schema.sql has a table {}", given.new));
        };
        tables.insert(given.new.clone(), given.old.clone());
        return Ok(rename_relation((have, &old), (want, &new)));
    };
    let old_owner = tables.get(owner).unwrap_or(owner);
    if let Some(table) = named(relations(have), old_owner) {
        let Some(column) = table.columns.iter().find(|one| one.name == given.old) else {
            return refuse(format!("{owner} has no column {}", given.old));
        };
        let new_owner =
            tables.iter().find(|(_, old)| *old == old_owner).map_or(table.name.clone(), |(new, _)| new.clone());
        let wanted = named(relations(want), &new_owner);
        let pair = wanted.as_ref().and_then(|one| Some((one, one.columns.iter().find(|one| one.name == given.new)?)));
        let Some((wanted, new)) = pair else {
            return refuse(format!("{new_owner} has no column {} in schema.sql", given.new));
        };
        let mut operation = rename_column(&table, column, new);
        if new_owner != table.name {
            // The table has its new name by then.
            let path = format!("{}{}", quoted_schema(&table), wanted.quoted);
            for one in operation.up.iter_mut().chain(operation.down.iter_mut().flatten()) {
                *one = one.replacen(&table.path, &path, 1);
            }
        }
        return Ok(Rename { wished: key_of(want, wanted), was: key_of(have, &table), operation });
    }
    let is_enum = |one: &&Object| {
        one.kind() == "TYPE" && one.name() == owner && have.definitions.enums.contains_key(&one.address.1)
    };
    let Some(object) = have.objects.iter().find(is_enum) else {
        return refuse(format!("the migrations make no table and no enum {owner}"));
    };
    let labels = &have.definitions.enums[&object.address.1];
    if !labels.contains(&given.old) {
        return refuse(format!("{owner} has no value {}", given.old));
    }
    Ok(rename_label(object, &given.old, &given.new))
}

/// The quoted schema with its dot, as it stands before a table's name.
fn quoted_schema(table: &Relation) -> &str {
    table.path.strip_suffix(&table.quoted).unwrap_or_default()
}

fn key_of(model: &Model, relation: &Relation) -> Key {
    model.at((RELATION, relation.oid)).map(|at| model.objects[at].key.clone()).unwrap_or_default()
}

impl Rename {
    /// Of something that is a part of this object, or of the object under the name that it keeps.
    fn of_part(key: Key, operation: Operation) -> Rename {
        Rename { wished: key.clone(), was: key, operation }
    }
}

fn rename_relation((have, old): (&Model, &Relation), (want, new): (&Model, &Relation)) -> Rename {
    let word = match old.kind {
        'v' => "VIEW",
        'm' => "MATERIALIZED VIEW",
        _ => "TABLE",
    };
    let schema = quoted_schema(old);
    let up = format!("ALTER {word} {} RENAME TO {}", old.path, new.quoted);
    let down = format!("ALTER {word} {schema}{} RENAME TO {}", new.quoted, old.quoted);
    let operation = Operation::new(Mode::Together, vec![up], vec![down]).titled(
        '~',
        format!("Rename {} {} to {}", word.to_lowercase(), old.name, new.name),
        format!("rename_{}_{}", old.name, new.name),
    );
    Rename { wished: key_of(want, new), was: key_of(have, old), operation }
}

fn rename_column(table: &Relation, old: &Column, new: &Column) -> Operation {
    let rename = |from: &str, to: &str| format!("ALTER TABLE {} RENAME COLUMN {from} TO {to}", table.path);
    Operation::new(Mode::Together, vec![rename(&old.quoted, &new.quoted)], vec![rename(&new.quoted, &old.quoted)])
        .titled(
            '~',
            format!("Rename column {} on {} to {}", old.name, table.name, new.name),
            format!("rename_{}_{}_{}", old.name, table.name, new.name),
        )
}

fn rename_label(object: &Object, old: &str, new: &str) -> Rename {
    let drop = object.drop.clone().unwrap_or_default();
    let name = drop.splitn(3, ' ').nth(2).unwrap_or_default().to_owned();
    let rename = |from: &str, to: &str| {
        format!(
            "ALTER TYPE {name} RENAME VALUE {} TO {}",
            quote_literal(from).trim_start(),
            quote_literal(to).trim_start()
        )
    };
    let operation = Operation::new(Mode::Together, vec![rename(old, new)], vec![rename(new, old)]).titled(
        '~',
        format!("Rename value {old} of {} to {new}", object.name()),
        format!("rename_{}_{old}_{new}", object.name()),
    );
    Rename::of_part(object.key.clone(), operation)
}

/// Tables that are gone and new ones of the same columns.
fn relations<'a>(have: &'a Model, want: &'a Model) -> Vec<(&'a Relation, &'a Relation)> {
    let tables = |model: &'a Model, other: &'a Model| -> Vec<&'a Relation> {
        let gone = |one: &&Relation| !other.definitions.relations.values().any(|there| there.path == one.path);
        model.definitions.relations.values().filter(|one| one.is_table() && !one.is_partition).filter(gone).collect()
    };
    let shape = |one: &Relation| {
        let mut columns: Vec<_> = one.columns.iter().map(|one| (one.name.clone(), one.data_type.clone())).collect();
        columns.sort();
        (one.schema.clone(), columns)
    };
    let new = tables(want, have);
    let pairs = tables(have, want).into_iter().flat_map(|old| new.iter().map(move |new| (old, *new)));
    pairs.filter(|(old, new)| !old.columns.is_empty() && shape(old) == shape(new)).collect()
}

/// Columns that are gone and new ones of the same type in the same table.
fn columns<'a>(have: &'a Model, want: &'a Model) -> Vec<(&'a Relation, &'a Column, &'a Column)> {
    let mut found = Vec::new();
    for table in have.definitions.relations.values().filter(|one| one.is_table() && !one.is_partition) {
        let Some(wanted) = want.definitions.relations.values().find(|one| one.path == table.path && one.is_table())
        else {
            continue;
        };
        let gone = table.columns.iter().filter(|one| wanted.column(&one.quoted).is_none() && !one.inherited);
        for old in gone {
            let new = wanted.columns.iter().filter(|one| table.column(&one.quoted).is_none() && !one.inherited);
            let same = |one: &&Column| {
                one.data_type == old.data_type && one.generated == old.generated && one.identity == old.identity
            };
            found.extend(new.filter(same).map(|new| (table, old, new)));
        }
    }
    found
}

/// Enums of which one value is another one in the same place.
fn labels<'a>(have: &'a Model, want: &'a Model) -> Vec<(&'a Object, String, String)> {
    let mut found = Vec::new();
    for object in have.objects.iter().filter(|one| one.kind() == "TYPE") {
        let pair = want.find(&object.key).map(|at| want.objects[at].address.1);
        let labels =
            have.definitions.enums.get(&object.address.1).zip(pair.and_then(|oid| want.definitions.enums.get(&oid)));
        let Some((old, new)) = labels.filter(|(old, new)| old.len() == new.len()) else { continue };
        let differing: Vec<usize> = (0..old.len()).filter(|at| old[*at] != new[*at]).collect();
        if let [at] = differing.as_slice() {
            found.push((object, old[*at].clone(), new[*at].clone()));
        }
    }
    found
}

/// Places of the objects of these kinds that only one schema has.
fn only_in(model: &Model, other: &Model, kinds: &[&str]) -> Vec<usize> {
    let wanted =
        |at: &usize| kinds.contains(&model.objects[*at].kind()) && other.find(&model.objects[*at].key).is_none();
    (0..model.objects.len()).filter(wanted).collect()
}

/// Whether two objects of one schema are made by the same statements but for their names.
fn are_the_same(one: &Object, other: &Object) -> bool {
    let Some((name, new_name)) = own_name(one).zip(own_name(other)) else { return false };
    let mut statements = one.statements.iter().zip(&other.statements);
    other.kind() == one.kind()
        && other.key.1 == one.key.1
        && one.statements.len() == other.statements.len()
        && statements.all(|(old, new)| renamed(old, name, new_name) == *new)
}

/// What a sequence belongs to: a column as `OWNED BY` has it, or the column of which it is the identity.
fn column_of(model: &Model, at: usize) -> Option<&str> {
    let first = |at: usize| model.objects[at].statements.first();
    let owned = model.users(at).iter().find(|one| model.objects[**one].kind() == "SEQUENCE OWNED BY");
    match owned {
        Some(owned) => Some(first(*owned)?.split_once(" OWNED BY ")?.1),
        None => Some(first(at)?.strip_prefix("ALTER TABLE ")?.split_once(" ADD GENERATED ")?.0),
    }
}

/// Sequences by themselves that are gone, and new ones that count the same way.
fn sequences<'a>(have: &'a Model, want: &'a Model) -> Vec<(&'a Object, &'a Object)> {
    let alone = |model: &'a Model, other: &Model| -> Vec<&'a Object> {
        let all = only_in(model, other, &["SEQUENCE"]);
        all.into_iter().filter(|at| column_of(model, *at).is_none()).map(|at| &model.objects[at]).collect()
    };
    let new = alone(want, have);
    let pairs = alone(have, want).into_iter().flat_map(|old| new.iter().map(move |new| (old, *new)));
    pairs.filter(|(old, new)| are_the_same(old, new)).collect()
}

/// Indexes and constraints of one table and sequences of one column that are the same under another name.
fn of_the_same(have: &Model, want: &Model) -> Vec<Rename> {
    let kinds = ["INDEX", "CONSTRAINT", "FK CONSTRAINT", "SEQUENCE"];
    let mut new = only_in(want, have, &kinds);
    let mut found = Vec::new();
    for old in only_in(have, want, &kinds) {
        let gone = &have.objects[old];
        let of_index = have.definitions.attached_indexes.keys().any(|one| gone.address == (RELATION, *one));
        let Some(name) = own_name(gone).filter(|_| !of_index) else { continue };
        let fits = |at: &usize| {
            let in_place = || column_of(have, old).is_some_and(|one| column_of(want, *at) == Some(one));
            are_the_same(gone, &want.objects[*at]) && (gone.kind() != "SEQUENCE" || in_place())
        };
        let Some(at) = new.iter().position(fits) else { continue };
        let other = &want.objects[new.remove(at)];
        let Some(new_name) = own_name(other) else { continue };
        found.extend(rename_same((gone, name), (other, new_name)));
    }
    found
}

/// The name in the statement that makes an index, a constraint or a sequence, as it stands there.
fn own_name(object: &Object) -> Option<&str> {
    let first = object.statements.first()?;
    let rest = match object.kind() {
        "INDEX" => first.split_once(" INDEX ")?.1,
        "CONSTRAINT" | "FK CONSTRAINT" => first.split_once("ADD CONSTRAINT ")?.1,
        _ if first.starts_with("CREATE SEQUENCE ") => first.strip_prefix("CREATE SEQUENCE ")?.split_once('.')?.1,
        _ => first.split_once("SEQUENCE NAME ")?.1.split_once('.')?.1,
    };
    let end = match rest.strip_prefix('"') {
        Some(quoted) => quoted.find('"')? + 2,
        None => rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len()),
    };
    rest.get(..end)
}

fn renamed(statement: &str, old: &str, new: &str) -> String {
    let mut text = String::new();
    let mut offset = 0;
    for token in squawk_lexer::tokenize(statement) {
        let word = &statement[offset..offset + token.len as usize];
        text.push_str(if word == old { new } else { word });
        offset += token.len as usize;
    }
    text
}

fn rename_same((object, old): (&Object, &str), (wished, new): (&Object, &str)) -> Option<Rename> {
    let drop = object.drop.clone()?;
    let both = |head: &str| (format!("{head} {old} TO {new}"), format!("{head} {new} TO {old}"));
    let first = object.statements.first()?;
    let (up, down) = match object.kind() {
        "CONSTRAINT" | "FK CONSTRAINT" => {
            both(&format!("{} RENAME CONSTRAINT", without_only(drop.split_once(" DROP CONSTRAINT ")?.0)))
        }
        kind => {
            let word = if kind == "INDEX" { "INDEX" } else { "SEQUENCE" };
            let schema = match kind {
                "INDEX" => drop.strip_prefix("DROP INDEX ")?.strip_suffix(old)?.to_owned(),
                _ if first.starts_with("CREATE") => drop.strip_prefix("DROP SEQUENCE ")?.strip_suffix(old)?.to_owned(),
                _ => {
                    let path = first.split_once("SEQUENCE NAME ")?.1;
                    path.get(..path.find(&format!(".{old}"))? + 1)?.to_owned()
                }
            };
            (
                format!("ALTER {word} {schema}{old} RENAME TO {new}"),
                format!("ALTER {word} {schema}{new} RENAME TO {old}"),
            )
        }
    };
    let what = object.kind().to_lowercase();
    let operation = Operation::new(Mode::Together, vec![up], vec![down]).titled(
        '~',
        format!("Rename {what} {} to {}", old.trim_matches('"'), new.trim_matches('"')),
        format!("rename_{}", new.trim_matches('"')),
    );
    Some(Rename { wished: wished.key.clone(), was: object.key.clone(), operation })
}

fn rename_sequence(old: &Object, new: &Object) -> Option<Rename> {
    rename_same((old, own_name(old)?), (new, own_name(new)?))
}

/// The renames before all other steps, which find the new names.
pub(super) fn with_renames(
    steps: Vec<Step>,
    renames: Vec<Rename>,
    apps: &BTreeMap<Key, String>,
    default_app: &str,
) -> Vec<Step> {
    let mut all: Vec<Step> = Vec::new();
    for Rename { wished, was, operation } in renames {
        let app = apps.get(&wished).cloned().unwrap_or_else(|| default_app.to_owned());
        let uses = apps.get(&was).cloned().into_iter().collect();
        all.push(Step { app, operation, after: BTreeSet::new(), uses, rank: (0, 0) });
    }
    // Stable: in one app they keep their order.
    all.sort_by(|one, other| one.app.cmp(&other.app));
    let before = all.len();
    all.extend(steps.into_iter().map(|mut step| {
        step.after = step.after.into_iter().map(|one| one + before).chain(0..before).collect();
        step
    }));
    all
}
