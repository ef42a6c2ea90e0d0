//! From steps to migration files: what runs together stands in one, with its way back.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::lint::{Level, Policy};
use crate::migration::{Migration, MigrationId, MigrationSet};

use super::super::super::Error;
use super::super::place::{file_of, name_of};
use super::difference::{Mode, Operation, Step};

/// Longest name without its number; more is `_and_more`, as Django has it.
const LONGEST_NAME: usize = 52;

/// Steps that become one migration.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) app: String,
    pub(super) mode: Mode,
    pub(super) operations: Vec<Operation>,
    /// Places of the chunks that it must follow.
    pub(super) after: BTreeSet<usize>,
    /// Apps whose objects it uses.
    pub(super) uses: BTreeSet<String>,
}

/// A migration that would be written.
#[derive(Clone, Debug)]
pub struct MadeMigration {
    /// Its name.
    pub id: MigrationId,
    /// Its file.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// What it does, each with `+`, `-` or `~` before it.
    pub operations: Vec<String>,
    /// Why it has no way back; none: it has one.
    pub irreversible: Option<String>,
}

/// Divides steps, which are in order, into chunks.
pub(super) fn chunks(steps: Vec<Step>) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut place: Vec<usize> = Vec::new();
    for step in steps {
        let fits = chunks.last().is_some_and(|last: &Chunk| {
            let same = last.app == step.app;
            same && (step.operation.up.is_empty() || (last.mode == step.operation.mode && last.mode != Mode::Batches))
        });
        if !fits {
            chunks.push(Chunk {
                app: step.app.clone(),
                mode: step.operation.mode,
                operations: Vec::new(),
                after: BTreeSet::new(),
                uses: BTreeSet::new(),
            });
        }
        let at = chunks.len() - 1;
        place.push(at);
        let chunk = &mut chunks[at];
        chunk.after.extend(step.after.iter().map(|one| place[*one]).filter(|one| *one != at));
        chunk.uses.extend(step.uses);
        chunk.operations.push(step.operation);
    }
    chunks
}

/// Puts the new migrations behind all that these apps have: the first of each other app depends on their last ones.
pub(super) fn follow(chunks: &mut [Chunk], apps: &BTreeSet<String>) {
    let mut seen = BTreeSet::new();
    let written = chunks.iter_mut().filter(|one| one.operations.iter().any(|one| !one.up.is_empty()));
    for chunk in written.filter(|one| seen.insert(one.app.clone())) {
        chunk.uses.extend(apps.iter().cloned());
    }
}

/// How the files are named and what they stand on.
pub(super) struct Naming<'a> {
    pub(super) dir: &'a Path,
    pub(super) set: &'a MigrationSet,
    /// Words that the operator wants.
    pub(super) name: Option<&'a str>,
    /// Apps with a wished schema, and its file.
    pub(super) wished: &'a BTreeMap<String, PathBuf>,
}

impl Naming<'_> {
    /// The migrations of the chunks. `without_down`: chunks whose way back did not lead back, with the reason.
    pub(super) fn migrations(
        &self,
        chunks: &[Chunk],
        without_down: &BTreeMap<usize, String>,
        policy: &Policy,
    ) -> Result<Vec<(MadeMigration, Migration)>, Error> {
        let mut ids: Vec<BTreeSet<MigrationId>> = Vec::new();
        let mut last: BTreeMap<String, MigrationId> = BTreeMap::new();
        let mut taken: BTreeMap<String, u64> = BTreeMap::new();
        let mut drafts: Vec<Draft<'_>> = Vec::new();
        for (at, chunk) in chunks.iter().enumerate() {
            if chunk.operations.iter().all(|one| one.up.is_empty()) {
                // What follows it follows what it follows.
                ids.push(chunk.after.iter().flat_map(|one| &ids[*one]).cloned().collect());
                continue;
            }
            let id = self.id(chunk, &mut taken)?;
            let depends = self.depends(chunk, &id, (&ids, &last));
            let irreversible = irreversible(chunk).or_else(|| without_down.get(&at).cloned());
            let is_wished = self.wished.contains_key(&chunk.app);
            last.insert(id.app.clone(), id.clone());
            ids.push(BTreeSet::from([id.clone()]));
            let path = file_of(self.dir, self.set, &id);
            drafts.push(Draft { id, path, chunk, depends, allows: Vec::new(), irreversible, is_wished });
        }
        self.accept(&mut drafts, policy)?;
        let finished = |draft: Draft<'_>| {
            let migration = draft.parse()?;
            let (operations, text) = (shown(draft.chunk), draft.render());
            let Draft { id, path, irreversible, .. } = draft;
            Ok((MadeMigration { id, path, text, operations, irreversible }, migration))
        };
        drafts.into_iter().map(finished).collect()
    }

    /// What a migration stands on: chunks of other apps, the last migrations of apps it uses, and its own app's.
    fn depends(
        &self,
        chunk: &Chunk,
        id: &MigrationId,
        (ids, last): (&[BTreeSet<MigrationId>], &BTreeMap<String, MigrationId>),
    ) -> BTreeSet<MigrationId> {
        let mut depends: BTreeSet<MigrationId> = BTreeSet::new();
        depends.extend(chunk.after.iter().flat_map(|one| &ids[*one]).filter(|one| one.app != id.app).cloned());
        for app in chunk.uses.iter().filter(|app| **app != id.app) {
            if !depends.iter().any(|one| one.app == *app) {
                depends.extend(self.set.leaves_of(app));
            }
        }
        if !depends.is_empty() {
            match last.get(&id.app) {
                Some(before) => drop(depends.insert(before.clone())),
                None => depends.extend(self.set.leaves_of(&id.app)),
            }
        }
        depends
    }

    fn id(&self, chunk: &Chunk, taken: &mut BTreeMap<String, u64>) -> Result<MigrationId, Error> {
        let words = match self.name.map(name_of).filter(|words| !words.is_empty()) {
            Some(words) => words,
            None => words_of(chunk, self.set.leaves_of(&chunk.app).is_empty() && !taken.contains_key(&chunk.app)),
        };
        let id = super::super::place::next_id(self.set, &chunk.app, &words)?;
        let more = taken.entry(chunk.app.clone()).or_default();
        let number = id.number() + *more;
        *more += 1;
        let width = id.name.find('_').unwrap_or(4);
        let id = MigrationId::new(&chunk.app, &format!("{number:0width$}_{words}"));
        Ok(id.map_err(crate::migration::MigrationError::from)?)
    }

    /// `allow:` lines for what the wished schema itself asks for. What could have been written otherwise is not allowed.
    fn accept(&self, drafts: &mut [Draft<'_>], policy: &Policy) -> Result<(), Error> {
        let mut all: Vec<Migration> = self.set.iter().map(|one| Migration::clone(one)).collect();
        for draft in drafts.iter() {
            all.push(draft.parse()?);
        }
        let new: BTreeSet<MigrationId> = drafts.iter().map(|one| one.id.clone()).collect();
        for finding in crate::lint::lint_files(&MigrationSet::new(all)?, |one| new.contains(&one.id)) {
            if !matches!(policy.level(finding.code), Level::Warn | Level::Deny) {
                continue;
            }
            let Some(draft) = drafts.iter_mut().find(|one| one.id == finding.migration) else { continue };
            let known = draft.allows.iter().any(|(code, _)| code == finding.code);
            if let Some(why) = reason(finding.code, draft.chunk).filter(|_| !known) {
                draft.allows.push((finding.code.to_owned(), why.to_owned()));
            }
        }
        Ok(())
    }
}

/// Why a finding is what schema.sql asks for; none: the step should have been written otherwise.
fn reason(code: &str, chunk: &Chunk) -> Option<&'static str> {
    Some(match code {
        "drop-table" | "drop-column" | "drop-schema" | "ban-drop-extension" => "schema.sql does not have it any more",
        "rename-column" | "rename-table" | "renaming-object" => "renamed by the one who ran make",
        "changing-column-type" => "schema.sql wants this type",
        "missing-down" => "see the end of the file",
        "empty-down" => "what it changed goes with what the migration before it made",
        "adding-field-with-default" => "schema.sql wants a value that differs from row to row",
        "ban-alter-domain-with-add-constraint" => "schema.sql wants it, and NOT VALID comes first",
        "require-concurrent-index-deletion" => "a partitioned index, or one that goes with its column",
        "require-concurrent-partition-detach" => "schema.sql does not have the partition there any more",
        "foreign-key-without-index" => "schema.sql has no index for it",
        "function-without-search-path" => "as it stands in schema.sql",
        "add-column-check"
        | "add-column-numbered"
        | "domain-set-not-null"
        | "exclude-constraint"
        | "set-expression"
        | "set-table-storage" => "schema.sql wants it, and make knows no way with a shorter lock",
        "index-not-concurrent"
        | "foreign-key-without-not-valid"
        | "disallowed-unique-constraint"
        | "adding-serial-primary-key-field"
        | "check-without-not-valid"
        | "statements-after-access-exclusive"
        | "adding-required-field"
        | "rewrite"
            if inherent(chunk) =>
        {
            "schema.sql wants it, and make knows no way with a shorter lock"
        }
        _ => return None,
    })
}

/// Whether there is no way around it: partitioned tables, exclusion constraints, what is made again because of a type.
fn inherent(chunk: &Chunk) -> bool {
    let all = || chunk.operations.iter().flat_map(|one| &one.up);
    let retyped = all().any(|one| one.contains(" TYPE ") && one.starts_with("ALTER T"));
    let again = all().any(|one| one.contains("DROP CONSTRAINT") || one.starts_with("DROP "));
    let whole =
        all().any(|one| one.contains(" EXCLUDE ") || one.contains("WITHOUT OVERLAPS") || one.contains("ON ONLY"));
    let partitioned = all().any(|one| one.starts_with("ALTER TABLE ONLY") || one.contains("ATTACH PARTITION"));
    let key = all().any(|one| one.contains("FOREIGN KEY") && !one.ends_with("NOT VALID"));
    // A sequence goes on behind the values of its column.
    let counted = all().any(|one| one.starts_with("SELECT pg_catalog.setval("));
    retyped || again || whole || partitioned || key || counted
}

fn irreversible(chunk: &Chunk) -> Option<String> {
    chunk.operations.iter().find_map(|one| one.down.as_ref().err().cloned())
}

fn shown(chunk: &Chunk) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (sign, text, _) in titles(chunk) {
        let line = format!("{sign} {text}");
        if !found.contains(&line) {
            found.push(line);
        }
    }
    found
}

/// What a chunk does. Parts of a new table are not told of themselves, unless nothing else is there to tell.
fn titles(chunk: &Chunk) -> Vec<(char, String, String)> {
    let steps = || chunk.operations.iter().filter(|one| !one.up.is_empty());
    let found: Vec<_> = steps().filter_map(title).collect();
    if !found.is_empty() {
        return found;
    }
    let constraint = |one: &Operation| {
        let (head, rest) = one.up.first()?.split_once("ADD CONSTRAINT ")?;
        let (table, name) = (head.split_whitespace().last()?, rest.split(' ').next()?.trim_matches('"'));
        let table = table.rsplit('.').next()?.trim_matches('"');
        Some(('+', format!("Add constraint {name} to {table}"), format!("add_{name}")))
    };
    steps().filter_map(constraint).collect()
}

/// What a step says of itself, or what its statement says.
fn title(operation: &Operation) -> Option<(char, String, String)> {
    if let Some(title) = &operation.title {
        return Some((title.sign, title.text.clone(), title.words.clone()));
    }
    let first = operation.up.first()?;
    let last = |text: &str| text.rsplit([' ', '.']).next().unwrap_or_default().trim_matches('"').to_owned();
    match operation.mode {
        Mode::Validate => {
            Some(('~', format!("Validate constraint {}", last(first)), format!("validate_{}", last(first))))
        }
        Mode::Concurrently => {
            let (_, rest) = first.split_once(" CONCURRENTLY ")?;
            let name = rest.split(' ').next()?.trim_matches('"');
            Some(('+', format!("Build index {name}"), format!("build_{name}")))
        }
        _ => None,
    }
}

fn words_of(chunk: &Chunk, is_first: bool) -> String {
    if is_first {
        return "initial".to_owned();
    }
    let mut words: Vec<String> = Vec::new();
    for (_, _, one) in titles(chunk) {
        let one = name_of(&one);
        if !one.is_empty() && !words.contains(&one) {
            words.push(one);
        }
    }
    let Some(first) = words.first() else { return "auto".to_owned() };
    let all = words.join("_");
    if all.len() <= LONGEST_NAME {
        return all;
    }
    let mut first = first.clone();
    first.truncate(LONGEST_NAME);
    let first = first.trim_end_matches('_');
    if words.len() == 1 { first.to_owned() } else { format!("{first}_and_more") }
}

/// A migration that is being written.
struct Draft<'a> {
    id: MigrationId,
    path: PathBuf,
    chunk: &'a Chunk,
    depends: BTreeSet<MigrationId>,
    /// Codes and reasons.
    allows: Vec<(String, String)>,
    irreversible: Option<String>,
    /// Whether its app has a wished schema.
    is_wished: bool,
}

impl Draft<'_> {
    fn parse(&self) -> Result<Migration, Error> {
        Ok(Migration::parse(self.id.clone(), self.path.clone(), self.render().as_bytes())?)
    }

    fn render(&self) -> String {
        let chunk = self.chunk;
        let mut text = String::new();
        for line in shown(chunk) {
            let _ = writeln!(text, "-- {}", line[2..].replace(['\n', ':'], " "));
        }
        if self.is_wished {
            let _ = writeln!(text, "-- Written by `safe-migrate make` from schema.sql, and run before it was written.");
        }
        if !self.depends.is_empty() {
            let names: Vec<String> = self.depends.iter().map(ToString::to_string).collect();
            let _ = writeln!(text, "-- depends: {}", names.join(", "));
        }
        for (code, why) in &self.allows {
            let _ = writeln!(text, "-- allow: {code} {why}");
        }
        let option = match chunk.mode {
            Mode::Concurrently => " transaction:false".to_owned(),
            Mode::Batches => {
                let key = chunk.operations.iter().find_map(|one| one.batch_key.clone()).unwrap_or_default();
                format!(" transaction:false batch:10000 key:{key}")
            }
            _ => String::new(),
        };
        let _ = writeln!(text, "-- migrate:up{option}");
        section(&mut text, chunk.operations.iter().flat_map(|one| &one.up));
        match &self.irreversible {
            Some(why) => {
                let _ = writeln!(text, "\n-- No way back: {}.", why.replace('\n', " ").trim_end_matches('.'));
            }
            None => {
                let option = if chunk.mode == Mode::Concurrently { " transaction:false" } else { "" };
                let _ = writeln!(text, "\n-- migrate:down{option}");
                let downs = chunk.operations.iter().rev().filter_map(|one| one.down.as_ref().ok()).flatten();
                section(&mut text, downs);
            }
        }
        text
    }
}

fn section<'a>(text: &mut String, statements: impl Iterator<Item = &'a String>) {
    for (at, statement) in statements.enumerate() {
        let gap = if at > 0 && statement.contains('\n') { "\n" } else { "" };
        let _ = writeln!(text, "{gap}{};", statement.trim_end().trim_end_matches(';'));
    }
}
