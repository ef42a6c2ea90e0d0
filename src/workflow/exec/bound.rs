//! What a wrapped command is bound to now: its words, its files, its variables, and what it starts from.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::postgres::{ConnectionSpec, Ledger, tool_histories};

use super::super::machine_key::MachineKey;
use super::super::origin::{self, Committed};
use super::super::rehearse::{Bound, Start};
use super::super::{Error, Project};
use super::ExecRequest;
use super::probe::Probe;
use super::program::WrappedCommand;

/// Files that git ignores, beside what is committed, that are looked into.
const FILES: usize = 1_000;
/// Of a larger one, size and time count.
const LARGE: u64 = 16 << 20;
/// What a command writes and does not read.
const WRITTEN: [&str; 2] = [".log", ".pyc"];

/// Reads it, with production as the start; else why there is nothing to be bound to.
pub(super) async fn read(project: &Project, request: &ExecRequest) -> Result<Bound, String> {
    let key = project.machine_key()?;
    let command = &request.command;
    let committed = origin::committed(&command.dir).await?;
    let files = files(&key, command, &committed)?;
    let start = start(&project.target).await.map_err(|error| format!("what is applied cannot be read: {error}"))?;
    let policy = format!("{:?}", project.policy);
    Ok(Bound {
        key: key.hash("key", []),
        shown: command.display(),
        words: words(&key, request),
        commit: committed.commit,
        tree: committed.tree,
        files,
        variables: variables(&key, command),
        policy: key.hash("policy", [policy.as_bytes()]),
        way_back: request.way_back,
        start,
        taken: Vec::new(),
    })
}

/// What a database is before the command, besides its schema.
pub(super) async fn start(spec: &ConnectionSpec) -> Result<Start, Error> {
    let session = spec.connect("safe-migrate").await?;
    let ledger = Ledger::read(&session).await?;
    let histories = tool_histories(&session).await?;
    session.close().await;
    Ok(Start { last_run: ledger.runs.last().map(|run| run.id.clone()), histories })
}

fn words(key: &MachineKey, request: &ExecRequest) -> String {
    let dir = absolute(&request.command.dir);
    let words = request.command.words.iter().map(String::as_bytes);
    let length = (words.len() as u64).to_be_bytes();
    let probe: &[String] = match &request.probe {
        Probe::Program(words) => words,
        Probe::Django(_) => &[],
    };
    let parts = [dir.as_os_str().as_bytes(), &length].into_iter().chain(words);
    key.hash("words", parts.chain(probe.iter().map(String::as_bytes)))
}

/// Of the address of the database only where it goes, which is the same on the copy.
fn variables(key: &MachineKey, command: &WrappedCommand) -> BTreeMap<String, String> {
    let hashed = |kind: &str, (name, value): &(String, String)| {
        (name.clone(), key.hash(kind, [name.as_bytes(), value.as_bytes()]))
    };
    // As the command gets them: a template goes before what is passed.
    let passed = command.passed.iter().map(|pair| hashed("value", pair));
    passed.chain(command.templates.iter().map(|pair| hashed("template", pair))).collect()
}

/// Files that no commit has: those that git ignores, and those elsewhere that a word of the command names.
fn files(
    key: &MachineKey,
    command: &WrappedCommand,
    committed: &Committed,
) -> Result<BTreeMap<String, String>, String> {
    let ignored: Vec<&String> =
        committed.ignored.iter().filter(|path| !WRITTEN.iter().any(|end| path.ends_with(end))).collect();
    if ignored.len() > FILES {
        return Err(format!("git ignores more than {FILES} files beside what is committed"));
    }
    let ignored = ignored.into_iter().map(|path| (format!("{path}, which git ignores,"), committed.root.join(path)));
    let named = command.words.iter().filter_map(|word| elsewhere(command, word, &committed.root));
    let mut hashes = BTreeMap::new();
    for (name, path) in ignored.chain(named) {
        let hash = hash(key, &path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        hashes.insert(name, hash);
    }
    Ok(hashes)
}

/// A file outside of the repository, as a word or what stands behind its equals sign.
fn elsewhere(command: &WrappedCommand, word: &str, root: &Path) -> Option<(String, PathBuf)> {
    let value = word.split_once('=').map_or("", |(_, value)| value);
    let found = [word, value].map(|name| command.dir.join(name));
    let path = found.into_iter().find(|path| path.is_file())?.canonicalize().ok()?;
    let is_inside = root.canonicalize().is_ok_and(|root| path.starts_with(root));
    (!is_inside).then(|| (path.display().to_string(), path))
}

fn hash(key: &MachineKey, path: &Path) -> std::io::Result<String> {
    if !path.is_file() {
        let target = std::fs::read_link(path)?;
        return Ok(key.hash("link", [target.as_os_str().as_bytes()]));
    }
    let about = path.metadata()?;
    if about.len() <= LARGE {
        return Ok(key.hash("file", [std::fs::read(path)?.as_slice()]));
    }
    let changed = about.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    Ok(key.hash("large file", [&about.len().to_be_bytes()[..], &changed.to_be_bytes()]))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
