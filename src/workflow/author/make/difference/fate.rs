//! What becomes of each object.

use std::collections::{BTreeMap, BTreeSet};

use crate::postgres::definitions::{Part, Relation};

use super::super::model::{Model, Object};
use super::Inexpressible;
use super::alter::{Change, change};
use super::operation::{Mode, Operation};
use crate::migration::{Statement, split_statements};

/// What becomes of an object that is there.
#[derive(Clone, Debug)]
pub(super) enum Fate {
    /// Nothing; of a table: its columns are compared.
    Keep,
    /// These steps.
    Alter(Vec<Operation>),
    /// A new type takes the place of an enum; its columns go over to it.
    NewLabels,
    /// It is dropped and made again.
    Replace,
    /// It is dropped.
    Drop,
}

/// The fates of all objects that are there, and what they mean for the tables.
#[derive(Debug)]
pub(super) struct Fates {
    /// By the object's place in `have`.
    pub(super) of: Vec<Fate>,
    /// Its place in `want`.
    pub(super) pair: Vec<Option<usize>>,
    /// Its place in `have`.
    pub(super) was: Vec<Option<usize>>,
    /// Parts of tables (place in `have`) that are taken away first and put back.
    pub(super) reset: BTreeMap<usize, BTreeSet<Part>>,
}

/// Whether a table is compared column by column.
fn is_table(kind: &str) -> bool {
    matches!(kind, "TABLE" | "FOREIGN TABLE")
}

impl Fates {
    pub(super) fn decide(have: &Model, want: &Model) -> Result<Self, Vec<Inexpressible>> {
        let pair: Vec<Option<usize>> = have.objects.iter().map(|one| want.find(&one.key)).collect();
        let was = want.objects.iter().map(|one| have.find(&one.key)).collect();
        let mut fates = Self { of: Vec::new(), pair, was, reset: BTreeMap::new() };
        let mut impossible = Vec::new();
        for (at, object) in have.objects.iter().enumerate() {
            let fate = match fates.pair[at].map(|at| &want.objects[at]) {
                None => Fate::Drop,
                Some(other) => first_fate((have, object), (want, other)).unwrap_or_else(|why| {
                    impossible.push(inexpressible(object, other, why));
                    Fate::Keep
                }),
            };
            fates.of.push(fate);
        }
        if !impossible.is_empty() {
            return Err(impossible);
        }
        fates.spread(have, want)?;
        Ok(fates)
    }

    /// What is done by comparing the tables' columns.
    pub(super) fn is_done_by_table(&self, model: &Model, at: usize, in_both: impl Fn(usize) -> bool) -> bool {
        let object = &model.objects[at];
        let part = matches!(object.kind(), "DEFAULT" | "CHECK CONSTRAINT");
        part && model.relation_of(at).is_some_and(|table| is_table(model.objects[table].kind()) && in_both(table))
    }

    /// Spreads from what is dropped, made again or retyped to what uses it.
    fn spread(&mut self, have: &Model, want: &Model) -> Result<(), Vec<Inexpressible>> {
        let gone = |fate: &Fate| matches!(fate, Fate::Drop | Fate::Replace | Fate::NewLabels);
        self.part_indexes(have);
        let mut queue: Vec<usize> = (0..have.objects.len()).filter(|at| gone(&self.of[*at])).collect();
        let mut attached: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for at in 0..have.objects.len() {
            have.parent_index(at).into_iter().for_each(|parent| attached.entry(parent).or_default().push(at));
        }
        let mut columns: Vec<(usize, i16, bool)> = Vec::new();
        for at in 0..have.objects.len() {
            columns.extend(self.retyped(have, want, at));
        }
        loop {
            while let Some(at) = queue.pop() {
                for index in attached.get(&at).into_iter().flatten() {
                    if !self.is_detached(have, *index) && self.replace(have, *index) {
                        queue.push(*index);
                    }
                }
                let is_replaced = !matches!(self.of[at], Fate::Drop);
                for user in have.users(at) {
                    if is_table(have.objects[*user].kind()) {
                        if is_replaced && self.pair[*user].is_some() {
                            columns.extend(self.reset_parts(have, *user, at));
                        }
                    } else if is_replaced && have.objects[*user].kind() == "DEFAULT" {
                        let table = have.relation_of(*user).filter(|one| self.pair[*one].is_some());
                        columns.extend(table.map(|one| self.reset_parts(have, one, at)).unwrap_or_default());
                    } else if self.replace(have, *user) {
                        queue.push(*user);
                    }
                }
            }
            let Some((table, number, whole)) = columns.pop() else { return Ok(()) };
            let Some(relation) = have.relation(table) else { continue };
            for address in have.definitions.users.get(&(relation.oid, number)).into_iter().flatten() {
                let Some(user) = have.at(*address) else { continue };
                let kind = have.objects[user].kind();
                let rebuilt = matches!(kind, "INDEX" | "CONSTRAINT" | "FK CONSTRAINT" | "STATISTICS");
                let part = matches!(kind, "TABLE" | "FOREIGN TABLE" | "DEFAULT" | "SEQUENCE" | "SEQUENCE OWNED BY");
                if !part && (whole || !rebuilt) && self.replace(have, user) {
                    queue.push(user);
                }
            }
            let generated: Vec<String> =
                have.definitions.generated_from.get(&(relation.oid, number)).into_iter().flatten().cloned().collect();
            for quoted in generated {
                let Some(column) = relation.column(&quoted) else { continue };
                if self.reset.entry(table).or_default().insert(Part::Default(quoted)) {
                    columns.push((table, column.number, true));
                }
            }
        }
    }

    /// An index cannot be detached from the index of a partitioned table: what stays attached no more goes with that one, and
    /// that one is made again.
    fn part_indexes(&mut self, have: &Model) {
        for at in 0..have.objects.len() {
            let leaves = matches!(self.of[at], Fate::Drop | Fate::Replace);
            if have.objects[at].kind() != "INDEX ATTACH" || !leaves {
                continue;
            }
            for index in have.objects[at].needs.clone() {
                if let Some(parent) = have.parent_index(index).filter(|one| have.objects[at].needs.contains(one))
                    && !self.is_detached(have, index)
                {
                    self.replace(have, parent);
                }
            }
        }
    }

    /// Whether an index's table stops being a partition, so that the index stands by itself.
    fn is_detached(&self, have: &Model, index: usize) -> bool {
        let Some(table) = have.relation_of(index) else { return true };
        let leaves = |user: &usize| {
            let attach = &have.objects[*user];
            attach.kind() == "TABLE ATTACH"
                && attach.name() == have.objects[table].name()
                && matches!(self.of[*user], Fate::Drop | Fate::Replace)
        };
        matches!(self.of[table], Fate::Drop) || have.users(table).iter().any(leaves)
    }

    /// Marks an object that must be made again; true when that is new.
    fn replace(&mut self, have: &Model, at: usize) -> bool {
        let in_both = |table: usize| self.pair[table].is_some();
        if self.is_done_by_table(have, at, in_both) || !matches!(self.of[at], Fate::Keep | Fate::Alter(_)) {
            return false;
        }
        if matches!(have.objects[at].kind(), "SEQUENCE" | "SEQUENCE OWNED BY" | "TABLE ATTACH") {
            // Of a table that stays.
            return false;
        }
        self.of[at] = Fate::Replace;
        true
    }

    /// The columns of a table in both whose type, collation or generation changes; true: as nothing was.
    fn retyped(&mut self, have: &Model, want: &Model, at: usize) -> Vec<(usize, i16, bool)> {
        let kind = have.objects[at].kind();
        let pair = self.pair[at].filter(|_| is_table(kind));
        let (Some(had), Some(wanted)) = (have.relation(at), pair.and_then(|pair| want.relation(pair))) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for column in &had.columns {
            let Some(other) = wanted.column(&column.quoted) else {
                // It goes first, and what uses it before it.
                found.extend((column.generated != ' ').then_some((at, column.number, true)));
                continue;
            };
            let generated =
                column.generated != other.generated || (column.generated != ' ' && column.default != other.default);
            let retyped = column.data_type != other.data_type || column.collation != other.collation;
            if generated || retyped {
                let whole = generated || column.category != other.category || column.is_array != other.is_array;
                found.push((at, column.number, whole));
                if whole {
                    self.reset_checks_of(have, at, had, column.number);
                }
            }
        }
        found
    }

    /// Checks that read a column of another kind of type cannot be kept.
    fn reset_checks_of(&mut self, have: &Model, at: usize, table: &Relation, number: i16) {
        let users = have.definitions.users.get(&(table.oid, number));
        let names = users.into_iter().flatten().filter_map(|address| have.definitions.check_names.get(&address.1));
        let parts = names.map(|name| Part::Check(name.clone()));
        self.reset.entry(at).or_default().extend(parts);
    }

    /// The parts of a table that use an object which is made again. Generated columns among them are made again too.
    fn reset_parts(&mut self, have: &Model, table: usize, used: usize) -> Vec<(usize, i16, bool)> {
        let Some(relation) = have.relation(table) else { return Vec::new() };
        let address = have.objects[used].address;
        let mut found = Vec::new();
        for ((oid, part), uses) in &have.definitions.used_by_parts {
            if *oid != relation.oid || !uses.contains(&address) {
                continue;
            }
            if self.reset.entry(table).or_default().insert(part.clone())
                && let Part::Default(quoted) = part
                && let Some(column) = relation.column(quoted).filter(|one| one.generated != ' ')
            {
                found.push((table, column.number, true));
            }
        }
        found
    }
}

/// Server, and options with their values, of `CREATE FOREIGN TABLE`.
fn foreign_side(object: &Object) -> (String, BTreeMap<String, String>) {
    let tail = object.statements.first().and_then(|one| one.rsplit_once("\n)\nSERVER ")).map_or("", |(_, tail)| tail);
    let statements = split_statements(tail, 1).unwrap_or_default();
    let tokens = statements.first().map(Statement::tokens).unwrap_or_default();
    let server = tokens.first().copied().unwrap_or_default().to_owned();
    let options = tokens.iter().skip(3).filter(|token| !matches!(**token, "," | ")")).collect::<Vec<_>>();
    let pairs = options.chunks_exact(2).map(|pair| (pair[0].to_string(), pair[1].to_string()));
    (server, pairs.collect())
}

/// Other options of a foreign table; none: they are the same.
fn foreign_options(have: &Object, want: &Object) -> Result<Option<Operation>, &'static str> {
    let (had, wanted) = (foreign_side(have), foreign_side(want));
    if had.0 != wanted.0 {
        return Err("PostgreSQL cannot change the server of a foreign table");
    }
    if had.1 == wanted.1 {
        return Ok(None);
    }
    let path = want.drop.as_deref().and_then(|drop| drop.strip_prefix("DROP FOREIGN TABLE ")).unwrap_or_default();
    let change = |from: &BTreeMap<String, String>, to: &BTreeMap<String, String>| {
        let mut parts: Vec<String> =
            from.keys().filter(|name| !to.contains_key(*name)).map(|name| format!("DROP {name}")).collect();
        parts.extend(to.iter().filter(|(name, value)| from.get(*name) != Some(value)).map(|(name, value)| {
            let word = if from.contains_key(name) { "SET" } else { "ADD" };
            format!("{word} {name} {value}")
        }));
        vec![format!("ALTER FOREIGN TABLE {path} OPTIONS ({})", parts.join(", "))]
    };
    Ok(Some(Operation::new(Mode::Together, change(&had.1, &wanted.1), change(&wanted.1, &had.1))))
}

fn inexpressible(have: &Object, want: &Object, why: &str) -> Inexpressible {
    Inexpressible { key: want.key.clone(), have: Some(have.text()), want: Some(want.text()), why: why.to_owned() }
}

fn first_fate(
    (have_model, have): (&Model, &Object),
    (want_model, want): (&Model, &Object),
) -> Result<Fate, &'static str> {
    if is_table(want.kind()) {
        let (had, wanted) = (
            have_model.definitions.relations.get(&have.address.1),
            want_model.definitions.relations.get(&want.address.1),
        );
        let (Some(had), Some(wanted)) = (had, wanted) else { return Ok(Fate::Keep) };
        if had.kind != wanted.kind || had.partition_key != wanted.partition_key {
            return Err("PostgreSQL cannot change how a table is partitioned");
        }
        if want.kind() == "FOREIGN TABLE"
            && let Some(options) = foreign_options(have, want)?
        {
            return Ok(Fate::Alter(vec![options]));
        }
        return Ok(Fate::Keep);
    }
    let same_owner = have.owner == want.owner;
    if have.statements == want.statements && same_owner {
        return Ok(Fate::Keep);
    }
    match change((have_model, have), (want_model, want)) {
        Change::InPlace(steps) => Ok(Fate::Alter(steps)),
        Change::NewLabels => Ok(Fate::NewLabels),
        Change::Replace => Ok(Fate::Replace),
        Change::Impossible(why) => Err(why),
    }
}
