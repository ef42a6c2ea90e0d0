//! `make APP --renumber NAME`: another number for a migration that is applied nowhere, such as one of two equal ones.

use std::path::PathBuf;

use crate::migration::{MigrationId, Target};

use super::super::state::State;
use super::super::{Error, Project};
use super::place::{file_of, next_id};

/// What the operator asked for.
#[derive(Clone, Debug)]
pub struct RenumberRequest {
    /// App.
    pub app: String,
    /// Name, or a unique prefix of it.
    pub name: String,
    /// Whether to change nothing.
    pub dry_run: bool,
}

/// What became of the files.
#[derive(Clone, Debug)]
pub struct Renumbered {
    /// The old name.
    pub from: MigrationId,
    /// The new one.
    pub to: MigrationId,
    /// Its file.
    pub path: PathBuf,
    /// Other files in which the name was replaced.
    pub named_in: Vec<PathBuf>,
    /// The database that was asked whether it is applied.
    pub database: String,
}

/// Gives it the next free number.
pub async fn renumber(project: &Project, request: &RenumberRequest) -> Result<Renumbered, Error> {
    let session = project.target.connect("safe-migrate make").await?;
    let state = State::read(project, &session).await?;
    let set = &state.migrations;
    let known = set.iter().map(|one| one.id.clone()).collect();
    let refuse = |message: String, hint: &str| Error::NotPossible { message, hint: hint.to_owned() };
    let Target::Migration(from) = Target::resolve(&known, Some(&request.app), Some(&request.name))? else {
        return Err(refuse("`zero` names no migration".to_owned(), "name the migration that is to get another number"));
    };
    let Some(migration) = set.get(&from) else {
        return Err(refuse(format!("there is no file of {from}"), "put it back"));
    };
    let database = project.target.database().to_owned();
    let is_applied = |id: &MigrationId| state.ledger.applied.iter().any(|one| one.id == *id);
    if is_applied(&from) {
        let message = format!("{from} is applied in \"{database}\", under that name");
        return Err(refuse(message, "renumber the other one, or merge them: safe-migrate make --merge"));
    }
    let words = from.name.split_once('_').map(|(_, words)| words.to_owned()).unwrap_or_default();
    let to = next_id(set, &from.app, &words)?;
    if set.iter().filter(|one| one.id.app == from.app).all(|one| one.id == from || one.id.number() < from.number()) {
        return Err(refuse(format!("{from} has the last number of its app, and no other has it"), "leave it as it is"));
    }
    let naming: Vec<_> = set
        .iter()
        .filter(|one| [&one.depends, &one.run_before, &one.replaces].iter().any(|list| list.contains(&from)))
        .collect();
    if let Some(applied) = naming.iter().find(|one| is_applied(&one.id)) {
        return Err(refuse(format!("{} names it and is applied in \"{database}\"", applied.id), "leave it as it is"));
    }
    let path = file_of(&project.migrations_dir, set, &to);
    let named_in: Vec<PathBuf> = naming.iter().map(|one| one.path.clone()).collect();
    if !request.dry_run {
        let failed = |what: String| move |source| Error::File { what, source };
        if path.exists() {
            return Err(Error::OutputExists(path));
        }
        std::fs::rename(&migration.path, &path)
            .map_err(failed(format!("cannot rename {}", migration.path.display())))?;
        for other in naming {
            let text = renamed_in_header(&other.text, &from, &to);
            std::fs::write(&other.path, text).map_err(failed(format!("cannot write {}", other.path.display())))?;
        }
    }
    Ok(Renumbered { from, to, path, named_in, database })
}

/// The text with the name replaced in its header lines.
fn renamed_in_header(text: &str, from: &MigrationId, to: &MigrationId) -> String {
    let (old, new) = (from.to_string(), to.to_string());
    let is_header = |line: &str| {
        ["depends:", "run-before:", "replaces:"]
            .iter()
            .any(|key| line.trim_start_matches('-').trim_start().starts_with(key))
    };
    let replaced = |line: &str| {
        let names = line.split_inclusive([',', ':', ' ', '\n']);
        let one = |part: &str| {
            let bare = part.trim_end_matches([',', ':', ' ', '\n']);
            if bare == old { part.replacen(&old, &new, 1) } else { part.to_owned() }
        };
        names.map(one).collect::<String>()
    };
    let lines = text.split_inclusive('\n');
    lines.map(|line| if line.starts_with("--") && is_header(line) { replaced(line) } else { line.to_owned() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_name_in_a_header_is_replaced() {
        let text = "-- depends: a/0003_b, a/0003_bb\n-- a/0003_b is good\n-- run-before:a/0003_b\n-- migrate:up\nSELECT 'a/0003_b';\n";
        let (from, to) = ("a/0003_b".parse().unwrap(), "a/0004_b".parse().unwrap());
        let expected = "-- depends: a/0004_b, a/0003_bb\n-- a/0003_b is good\n-- run-before:a/0004_b\n-- migrate:up\nSELECT 'a/0003_b';\n";
        assert_eq!(renamed_in_header(text, &from, &to), expected);
    }
}
