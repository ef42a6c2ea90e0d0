//! Indexes, and the constraints on them, that are replaced: the new one is built first and takes the old one's place, so that no
//! query is without it. And unique indexes that become constraints as they are.

use super::*;
use crate::postgres::quote_identifier;

impl<'a> Builder<'a> {
    /// Finds them. The tables are compared already: where a column changes as well, the old one is in its way.
    pub(super) fn find_renewed(&mut self) {
        if !self.terms.online {
            return;
        }
        let have = self.have;
        let unique = |at: &usize| {
            let object = &have.objects[*at];
            let is_gone = matches!(self.fates.of[*at], Fate::Drop) && object.kind() == "INDEX";
            is_gone && object.of_table.is_empty() && have.users(*at).is_empty() && self.is_online(have, *at)
        };
        let mut gone: BTreeMap<String, usize> = BTreeMap::new();
        for at in (0..have.objects.len()).filter(unique) {
            gone.extend(have.objects[at].statements.first().and_then(|one| Some((unnamed(one)?, at))));
        }
        for at in 0..self.want.objects.len() {
            let is_new = self.want.objects[at].kind() == "CONSTRAINT" && self.fates.was[at].is_none();
            let index = self.want.definitions.constraint_indexes.get(&self.want.objects[at].address.1);
            if let Some(index) = index.filter(|_| is_new && self.is_online(self.want, at))
                && self.by_index(self.want, at).is_some()
                && let Some(taken) = unnamed(&index.definition).and_then(|rest| gone.remove(&rest))
            {
                self.promoted.insert(taken, at);
            }
        }
        self.renewed = (0..have.objects.len()).filter(|at| self.can_renew(*at)).collect();
    }

    fn can_renew(&self, at: usize) -> bool {
        let (object, pair) = (&self.have.objects[at], self.fates.pair[at]);
        let Some(pair) = pair.filter(|_| matches!(self.fates.of[at], Fate::Replace)) else { return false };
        let other = &self.want.objects[pair];
        let is_kind = match object.kind() {
            "INDEX" => true,
            "CONSTRAINT" => self.by_index(self.have, at).is_some() && self.by_index(self.want, pair).is_some(),
            _ => false,
        };
        let untouched = |table: usize| self.tables.get(&table).is_none_or(Vec::is_empty);
        let alone = |model: &Model, at: usize| {
            model.objects[at].of_table.is_empty()
                && model.parent_index(at).is_none()
                && model.users(at).iter().all(|user| model.objects[*user].kind() == "COMMENT")
        };
        let needs_stay = object.needs.iter().all(|one| matches!(self.fates.of[*one], Fate::Keep | Fate::Alter(_)))
            && other.needs.iter().all(|one| self.stays(*one));
        is_kind
            && object.statements != other.statements
            && object.statements.len() == 1
            && other.statements.len() == 1
            && alone(self.have, at)
            && alone(self.want, pair)
            && needs_stay
            && self.is_online(self.have, at)
            && self.is_online(self.want, pair)
            && self.have.relation_of(at).is_some_and(untouched)
    }

    /// The steps that make a wished index or constraint by way of one that is there; none: it is made by itself.
    pub(super) fn renewing(&self, at: usize) -> Option<Operation> {
        let want = &self.want.objects[at];
        if let Some((taken, _)) = self.promoted.iter().find(|(_, made)| **made == at) {
            let (_, constraint) = self.by_index(self.want, at)?;
            let (head, behind) = constraint.split_once(" USING INDEX ")?;
            let rest = behind.strip_prefix(&own_name(want)?)?;
            let index = own_name(&self.have.objects[*taken])?;
            let up = format!("{head} USING INDEX {index}{rest}");
            return Some(Operation::new(Mode::Concurrently, vec![up], want.drop.iter().cloned().collect()));
        }
        let was = self.fates.was[at].filter(|was| self.renewed.contains(was))?;
        let (up, down) = (self.replacing(self.want, at)?, self.replacing(self.have, was)?);
        Some(Operation::new(Mode::Concurrently, up, down))
    }

    /// Builds the one of this model beside the other, and puts it in its place.
    fn replacing(&self, model: &Model, at: usize) -> Option<Vec<String>> {
        let object = &model.objects[at];
        let name = own_name(object)?;
        let plain = name.trim_matches('"').replace("\"\"", "\"");
        let beside = super::super::table::shortened(&plain, "_new");
        let beside = if name.starts_with('"') { quote_identifier(&beside) } else { beside };
        let schema =
            object.drop.as_deref()?.strip_prefix("DROP INDEX ").and_then(parts).map_or("", |(schema, _)| schema);
        let create = |text: &str| Some(text.replacen(&format!(" {name} ON "), &format!(" {beside} ON "), 1));
        if object.kind() == "INDEX" {
            let build = concurrently(&[create(object.statements.first()?)?]).pop()?;
            return Some(vec![
                build,
                format!("DROP INDEX CONCURRENTLY {schema}.{name}"),
                format!("ALTER INDEX {schema}.{beside} RENAME TO {name}"),
            ]);
        }
        let (build, constraint) = self.by_index(model, at)?;
        let (head, added) = constraint.split_once("ADD CONSTRAINT ")?;
        let added = added.replacen(&format!(" USING INDEX {name}"), &format!(" USING INDEX {beside}"), 1);
        Some(vec![create(&build)?, format!("{head}DROP CONSTRAINT {name}, ADD CONSTRAINT {added}")])
    }
}

/// The quoted name of an index or a constraint.
fn own_name(object: &Object) -> Option<String> {
    let drop = object.drop.as_deref()?;
    match object.kind() {
        "INDEX" => drop.strip_prefix("DROP INDEX ").and_then(parts).map(|(_, name)| name.to_owned()),
        _ => drop.split_once(" DROP CONSTRAINT ").map(|(_, name)| name.to_owned()),
    }
}

/// Schema and name of `schema.name`, each as it is written.
fn parts(path: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let dot = path.char_indices().find(|(_, one)| {
        quoted ^= *one == '"';
        *one == '.' && !quoted
    });
    dot.map(|(at, _)| (&path[..at], &path[at + 1..]))
}

/// The definition of a unique index without its name.
fn unnamed(definition: &str) -> Option<String> {
    let rest = definition.strip_prefix("CREATE UNIQUE INDEX ")?;
    rest.split_once(" ON ").map(|(_, rest)| rest.to_owned())
}
