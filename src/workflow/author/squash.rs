//! `squash APP FIRST LAST`: one migration in the place of several, proven to build the same from nothing.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use crate::migration::{
    Direction, Migration, MigrationId, MigrationSet, SquashedStatement, Target, shorten, without_concurrently,
};

use super::super::replay::{Reached, Replay};
use super::super::{Error, Gate, Operator, Project};
use super::place::{file_of, name_of, write_new};

/// What the operator asked for.
#[derive(Clone, Debug)]
pub struct SquashRequest {
    /// App.
    pub app: String,
    /// The first migration: number, name or unique prefix.
    pub first: String,
    /// The last one.
    pub last: String,
    /// Words of the new name; none: those of the last.
    pub name: Option<String>,
    /// Whether statements are left as they are.
    pub as_they_are: bool,
    /// Whether to write nothing.
    pub dry_run: bool,
}

/// A squash that was proven.
#[derive(Clone, Debug)]
pub struct Squashed {
    /// The new migration.
    pub id: MigrationId,
    /// Its file.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// What it replaces.
    pub replaces: Vec<MigrationId>,
    /// Statements of the originals, and of the squash.
    pub statements: (usize, usize),
    /// What was shortened.
    pub shortened: Vec<String>,
    /// Whether it has a way down; else why not.
    pub way_down: Result<(), String>,
}

fn not_possible(message: String, hint: &str) -> Error {
    Error::NotPossible { message, hint: hint.to_owned() }
}

/// Writes the squash after the proof.
pub async fn squash(project: &Project, request: &SquashRequest, operator: &dyn Operator) -> Result<Squashed, Error> {
    let set = MigrationSet::load(&project.migrations_dir, &project.default_app)?;
    let range = Range::find(&set, request)?;
    range.refuse_what_cannot_be_squashed()?;
    range.refuse_circle(&set)?;
    let id = range.id(request)?;
    let path = file_of(&project.migrations_dir, &set, &id);
    if path.exists() {
        return Err(Error::OutputExists(path));
    }
    let server = project.connect().await?;
    operator.step(&format!("running {} from nothing", range.names().join(", ")));
    let replay = Replay::start(project, &server).await?;
    let attempt = Attempt { set: &set, range: &range, id: &id, path: &path, replay: &replay };
    let result = attempt.prove(request.as_they_are, operator).await;
    replay.stop().await?;
    let squashed = result?;
    if !request.dry_run {
        write_new(&path, &squashed.text)?;
    }
    Ok(squashed)
}

/// The migrations that become one, in order.
struct Range {
    members: Vec<Arc<Migration>>,
}

impl Range {
    fn find(set: &MigrationSet, request: &SquashRequest) -> Result<Self, Error> {
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

    fn names(&self) -> Vec<String> {
        self.members.iter().map(|one| one.id.to_string()).collect()
    }

    fn has(&self, id: &MigrationId) -> bool {
        self.members.iter().any(|one| one.id == *id)
    }

    fn id(&self, request: &SquashRequest) -> Result<MigrationId, Error> {
        let (first, last) = (&self.members[0].id, &self.members[self.members.len() - 1].id);
        let digits = first.name.split('_').next().unwrap_or_default();
        let words = request.name.as_deref().map_or_else(|| format!("squashed_{}", last.name), name_of);
        Ok(MigrationId::new(&first.app, &format!("{digits}_{words}"))
            .map_err(crate::migration::MigrationError::from)?)
    }

    /// Batches have keys of their own.
    fn refuse_what_cannot_be_squashed(&self) -> Result<(), Error> {
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
    fn refuse_circle(&self, set: &MigrationSet) -> Result<(), Error> {
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

struct Attempt<'a> {
    set: &'a MigrationSet,
    range: &'a Range,
    id: &'a MigrationId,
    path: &'a PathBuf,
    replay: &'a Replay<'a>,
}

/// What the originals build, and what was there before them.
struct Originals {
    history: Vec<Arc<Migration>>,
    base: Vec<Arc<Migration>>,
    before: Reached,
    reached: Reached,
}

impl Attempt<'_> {
    async fn prove(&self, as_they_are: bool, operator: &dyn Operator) -> Result<Squashed, Error> {
        let originals = self.originals().await?;
        let ups = self.statements(|one| Some(&one.up.statements)).unwrap_or_default();
        let up = without_concurrently(&ups, &ups);
        // Downs in reverse; one that is missing leaves none.
        let downs = self.statements(|one| one.down.as_ref().map(|down| &down.statements));
        let down = downs.map(|downs| without_concurrently(&downs, &ups));
        let plain = Candidate { up, down, shortened: Vec::new(), outside: false };
        operator.step("running the squash from nothing");
        let shortest = if as_they_are { plain.clone() } else { plain.shortest() };
        let chosen = match self.equal(&originals, &shortest).await? {
            Ok(candidate) => candidate,
            Err(_) => match self.equal(&originals, &plain).await? {
                Ok(proven) if as_they_are => proven,
                Ok(proven) => self.one_by_one(&originals, proven).await?,
                Err(differences) => {
                    return Err(Gate::Unproven {
                        message: format!(
                            "one after the other in one migration they build something else (- originals, + squash):\n{}",
                            differences.join("\n")
                        ),
                        hint: "squash a shorter range".to_owned(),
                    }
                    .into());
                }
            },
        };
        let way_down = self.way_down(&originals, &chosen).await?;
        let (text, _) = self.file(&chosen)?;
        Ok(Squashed {
            id: self.id.clone(),
            path: self.path.clone(),
            text,
            replaces: self.range.members.iter().map(|one| one.id.clone()).collect(),
            statements: (ups.len(), chosen.up.len()),
            shortened: chosen.shortened,
            way_down,
        })
    }

    async fn originals(&self) -> Result<Originals, Error> {
        let wanted: BTreeSet<MigrationId> =
            self.range.members.iter().flat_map(|one| self.set.ancestors(&one.id)).collect();
        let is_base = |one: &&Arc<Migration>| wanted.contains(&one.id) && !self.range.has(&one.id);
        let base: Vec<Arc<Migration>> = self.set.iter().filter(is_base).cloned().collect();
        let history: Vec<Arc<Migration>> = base.iter().chain(&self.range.members).cloned().collect();
        let built = self.replay.empty().await?;
        self.replay.run(&built, &base, Direction::Apply).await?;
        let before = self.replay.reached(&built).await?;
        self.replay.run(&built, &self.range.members, Direction::Apply).await?;
        let reached = self.replay.reached(&built).await?;
        self.replay.drop(built).await?;
        Ok(Originals { history, base, before, reached })
    }

    fn statements(
        &self,
        section: impl Fn(&Migration) -> Option<&Vec<crate::migration::Statement>>,
    ) -> Option<Vec<SquashedStatement>> {
        let mut all = Vec::new();
        for one in &self.range.members {
            let own = section(one)?.iter();
            all.push(
                own.map(|it| SquashedStatement { text: it.text.clone(), from: one.id.clone() }).collect::<Vec<_>>(),
            );
        }
        Some(all.concat())
    }

    /// The candidate in one transaction, or else outside one (a new value of an enumeration must be committed before it is
    /// used). The error: how it differs.
    async fn equal(
        &self,
        originals: &Originals,
        candidate: &Candidate,
    ) -> Result<Result<Candidate, Vec<String>>, Error> {
        let mut differences = Vec::new();
        for outside in [false, true] {
            let candidate = Candidate { outside, ..candidate.clone() };
            differences = self.differences(originals, &candidate).await?;
            if differences.is_empty() {
                return Ok(Ok(candidate));
            }
        }
        Ok(Err(differences))
    }

    /// Those proposals that hold, each tried alone.
    async fn one_by_one(&self, originals: &Originals, mut proven: Candidate) -> Result<Candidate, Error> {
        let mut rejected = BTreeSet::new();
        while let Some((what, shorter)) = shorten(&proven.up, &rejected) {
            let mut next = Candidate { up: shorter, ..proven.clone() };
            next.shortened.push(what.clone());
            match self.differences(originals, &next).await?.is_empty() {
                true => proven = next,
                false => {
                    rejected.insert(what);
                }
            }
        }
        Ok(proven)
    }

    /// Where a candidate leads elsewhere than the originals; a statement that fails is a difference too.
    async fn differences(&self, originals: &Originals, candidate: &Candidate) -> Result<Vec<String>, Error> {
        let (_, migration) = self.file(candidate)?;
        let history: Vec<Arc<Migration>> = originals.base.iter().cloned().chain([migration]).collect();
        match self.replay.build(&history).await {
            Ok(reached) => self.replay.differences((&originals.history, &originals.reached), &reached).await,
            Err(Error::Execute(error)) => Ok(vec![error.to_string()]),
            Err(error) => Err(error),
        }
    }

    /// Whether its down section leads back to where the originals began.
    async fn way_down(&self, originals: &Originals, candidate: &Candidate) -> Result<Result<(), String>, Error> {
        if candidate.down.is_none() {
            let without = self.range.members.iter().find(|one| one.down.is_none());
            let id = without.map(|one| one.id.to_string()).unwrap_or_default();
            return Ok(Err(format!("{id} has no down section")));
        }
        let (_, migration) = self.file(candidate)?;
        let built = self.replay.empty().await?;
        self.replay.run(&built, &originals.base, Direction::Apply).await?;
        self.replay.run(&built, [&migration], Direction::Apply).await?;
        let found = match self.replay.run(&built, [&migration], Direction::Rollback).await {
            Ok(_) => originals.before.schema.difference(&self.replay.reached(&built).await?.schema),
            Err(Error::Execute(error)) => return Ok(Err(format!("its down section fails: {error}"))),
            Err(error) => return Err(error),
        };
        self.replay.drop(built).await?;
        Ok(if found.is_empty() { Ok(()) } else { Err(format!("its down section does not bring all back:\n{found}")) })
    }

    /// The file of a candidate, and the migration that it holds.
    fn file(&self, candidate: &Candidate) -> Result<(String, Arc<Migration>), Error> {
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

#[derive(Clone)]
struct Candidate {
    up: Vec<SquashedStatement>,
    /// In the order of the members.
    down: Option<Vec<SquashedStatement>>,
    shortened: Vec<String>,
    /// Whether it runs statement by statement.
    outside: bool,
}

impl Candidate {
    /// With everything done that can be proposed.
    fn shortest(&self) -> Self {
        let (mut shortest, none) = (self.clone(), BTreeSet::new());
        while let Some((what, shorter)) = shorten(&shortest.up, &none) {
            shortest.up = shorter;
            shortest.shortened.push(what);
        }
        shortest
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
