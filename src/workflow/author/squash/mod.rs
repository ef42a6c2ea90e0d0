//! `squash APP FIRST LAST`: one migration in the place of several, proven to build the same from nothing.

mod file;
mod range;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use crate::migration::{
    Direction, Migration, MigrationId, MigrationSet, SquashedStatement, shorten, without_concurrently,
};

use super::super::replay::{Reached, Replay};
use super::super::{Error, Gate, Operator, Project};
use super::place::{file_of, write_new};
use file::Candidate;
use range::Range;

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
}
