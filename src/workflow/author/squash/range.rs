//! Which migrations become one, and which cannot.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::migration::{Migration, MigrationId, MigrationSet, Target};

use super::super::super::Error;
use super::super::place::name_of;
use super::{SquashRequest, not_possible};

/// The migrations that become one, in order.
pub(super) struct Range {
    pub(super) members: Vec<Arc<Migration>>,
}

impl Range {
    pub(super) fn find(set: &MigrationSet, request: &SquashRequest) -> Result<Self, Error> {
        let known: BTreeSet<MigrationId> = set.iter().map(|one| one.id.clone()).collect();
        let named = |name: &str| match Target::resolve(&known, Some(&request.app), Some(name))? {
            Target::Migration(id) => Ok::<_, Error>(id),
            _ => Err(not_possible("`zero` names no migration".to_owned(), "name the first one, such as 0001")),
        };
        let (first, last) = (named(&request.first)?, named(&request.last)?);
        if first == last {
            return Err(not_possible(format!("nothing to squash: {first} is both the first and the last"), "name two"));
        }
        if set.ancestors(&first).contains(&last) {
            let hint = format!("safe-migrate squash {} {} {}", request.app, last.name, first.name);
            return Err(not_possible(format!("{last} comes before {first}"), &hint));
        }
        let before = set.ancestors(&last);
        if !before.contains(&first) {
            return Err(not_possible(format!("{last} does not stand on {first}"), "name two of the same branch"));
        }
        let behind = set.dependents(&first);
        let is_member = |id: &MigrationId| {
            id.app == request.app && (*id == first || behind.contains(id)) && (*id == last || before.contains(id))
        };
        let within = |id: &MigrationId| {
            id.app == request.app && (first.number()..=last.number()).contains(&id.number()) && !is_member(id)
        };
        if let Some(gap) = known.iter().find(|id| within(id)) {
            return Err(not_possible(
                format!("there is a gap in the range: {gap} lies between {first} and {last}, on another branch"),
                "merge the branches first, and squash behind the merge",
            ));
        }
        Ok(Self { members: set.iter().filter(|one| is_member(&one.id)).cloned().collect() })
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.members.iter().map(|one| one.id.to_string()).collect()
    }

    pub(super) fn has(&self, id: &MigrationId) -> bool {
        self.members.iter().any(|one| one.id == *id)
    }

    pub(super) fn id(&self, request: &SquashRequest) -> Result<MigrationId, Error> {
        let (first, last) = (&self.members[0].id, &self.members[self.members.len() - 1].id);
        let digits = first.name.split('_').next().unwrap_or_default();
        let words = request.name.as_deref().map_or_else(|| format!("squashed_{}", last.name), name_of);
        Ok(MigrationId::new(&first.app, &format!("{digits}_{words}"))
            .map_err(crate::migration::MigrationError::from)?)
    }

    /// Batches have keys of their own.
    pub(super) fn refuse_what_cannot_be_squashed(&self) -> Result<(), Error> {
        let sections =
            |one: &Arc<Migration>| one.up.batch.is_some() || one.down.as_ref().is_some_and(|down| down.batch.is_some());
        if let Some(one) = self.members.iter().find(|one| one.runs_a_program()) {
            return Err(not_possible(
                format!("{} runs a program, which only a file of its own can", one.id),
                "squash up to the one before it, or from the one behind it",
            ));
        }
        match self.members.iter().find(|one| sections(one)) {
            None => Ok(()),
            Some(one) => Err(not_possible(
                format!("{} runs in batches, which only a file of their own can have", one.id),
                "squash up to the one before it, or from the one behind it",
            )),
        }
    }

    /// Something that stands on one of them, and on which a later one stands.
    pub(super) fn refuse_circle(&self, set: &MigrationSet) -> Result<(), Error> {
        for member in &self.members {
            let between = set
                .ancestors(&member.id)
                .into_iter()
                .find(|id| !self.has(id) && set.ancestors(id).iter().any(|other| self.has(other)));
            if let Some(between) = between {
                return Err(not_possible(
                    format!(
                        "{} stands on {between}, and that on an earlier one of the range: one migration cannot be before \
                         and behind it",
                        member.id
                    ),
                    "squash in two parts, one before and one behind it",
                ));
            }
        }
        Ok(())
    }
}
