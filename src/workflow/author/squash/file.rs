//! The file of a squash: its header, and the statements with the names of where they come from.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use crate::migration::{Migration, MigrationId, SquashedStatement, shorten};

use super::super::super::Error;
use super::Attempt;

#[derive(Clone)]
pub(super) struct Candidate {
    pub(super) up: Vec<SquashedStatement>,
    /// In the order of the members.
    pub(super) down: Option<Vec<SquashedStatement>>,
    pub(super) shortened: Vec<String>,
    /// Whether it runs statement by statement.
    pub(super) outside: bool,
}

impl Candidate {
    /// With everything done that can be proposed.
    pub(super) fn shortest(&self) -> Self {
        let (mut shortest, none) = (self.clone(), BTreeSet::new());
        while let Some((what, shorter)) = shorten(&shortest.up, &none) {
            shortest.up = shorter;
            shortest.shortened.push(what);
        }
        shortest
    }
}

impl Attempt<'_> {
    /// The file of a candidate, and the migration that it holds.
    pub(super) fn file(&self, candidate: &Candidate) -> Result<(String, Arc<Migration>), Error> {
        let parse = |transaction: bool| {
            let text = self.text(candidate, transaction);
            let parsed = Migration::parse(self.id.clone(), self.path.clone(), text.as_bytes())?;
            Ok::<_, Error>((text, Arc::new(parsed)))
        };
        // A single statement that the server refuses in a transaction decides for all.
        let concurrently = |one: &SquashedStatement| one.text.to_lowercase().contains("concurrently");
        let mut all = candidate.up.iter().chain(candidate.down.iter().flatten());
        parse(!candidate.outside && !all.any(concurrently))
    }

    fn text(&self, candidate: &Candidate, transaction: bool) -> String {
        let members = &self.range.members;
        let list = |ids: Vec<&MigrationId>| {
            let mut names: Vec<String> = Vec::new();
            for id in ids.into_iter().filter(|id| !self.range.has(id)).map(ToString::to_string) {
                if !names.contains(&id) {
                    names.push(id);
                }
            }
            names.join(", ")
        };
        let dependencies: Vec<BTreeSet<MigrationId>> =
            members.iter().map(|one| self.set.dependencies(&one.id)).collect();
        let depends = list(dependencies.iter().flatten().collect());
        let run_before = list(members.iter().flat_map(|one| &one.run_before).collect());
        let mut text =
            format!("-- {} to {} in one, proven to build the same.\n", members[0].id, members[members.len() - 1].id);
        let names = self.range.names().join(", ");
        for (key, value) in [("depends", &depends), ("run-before", &run_before), ("replaces", &names)] {
            if !value.is_empty() {
                let _ = writeln!(text, "-- {key}: {value}");
            }
        }
        let mut allowed = BTreeSet::new();
        for allow in members.iter().flat_map(|one| &one.allows) {
            if allowed.insert(&allow.code) {
                let _ = writeln!(text, "-- allow: {} {}", allow.code, allow.why);
            }
        }
        let option = if transaction { "" } else { " transaction:false" };
        let _ = writeln!(text, "-- migrate:up{option}");
        section(&mut text, &candidate.up);
        if let Some(down) = &candidate.down {
            let _ = writeln!(text, "\n-- migrate:down{option}");
            let mut reversed: Vec<SquashedStatement> = Vec::new();
            for member in members.iter().rev() {
                reversed.extend(down.iter().filter(|one| one.from == member.id).cloned());
            }
            section(&mut text, &reversed);
        }
        text
    }
}

/// The statements, with the name of the migration above those that come from it.
fn section(text: &mut String, statements: &[SquashedStatement]) {
    let mut from = None;
    for statement in statements {
        if from != Some(&statement.from) {
            let _ = write!(text, "\n-- {}\n", statement.from);
            from = Some(&statement.from);
        }
        let _ = writeln!(text, "{};", statement.text);
    }
}
