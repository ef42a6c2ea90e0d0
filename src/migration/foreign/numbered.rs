//! dbmate, sqlx and golang-migrate: files that begin with their version.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha384};

use super::name_pattern::{FileName, NamePattern, OURS, golang_name};
use super::sql::{needs_no_transaction, without_own_transaction};
use super::templates::{Filled, placeholders};
use super::{ForeignError, ForeignMigration, ForeignTool, file_name, files, numbered_name, text_of};

/// The file of one version.
#[derive(Default)]
struct Version {
    up: Option<PathBuf>,
    down: Option<PathBuf>,
    digits: String,
    words: String,
}

pub(super) fn read(
    tool: ForeignTool,
    dir: &Path,
    names: Option<&NamePattern>,
) -> Result<Vec<ForeignMigration>, ForeignError> {
    let dir = if tool == ForeignTool::GolangMigrate { dialect_directory(dir)? } else { dir.to_owned() };
    let mut versions: BTreeMap<u128, Version> = BTreeMap::new();
    let mut other = None;
    for path in files(&dir)? {
        let Some(name) = named(tool, names, &path)? else { continue };
        if let Some(database) = name.other {
            other.get_or_insert((path, database));
            continue;
        }
        let Ok(number) = name.digits.parse::<u128>() else { return Err(tool.bad_name(&path)) };
        let version = versions.entry(number).or_default();
        let slot = if name.is_down { &mut version.down } else { &mut version.up };
        if let Some(first) = slot.replace(path.clone()) {
            return Err(ForeignError::Twice(first, path));
        }
        version.words = name.words;
        version.digits = name.digits;
    }
    if let Some((path, database)) = other.filter(|_| versions.is_empty()) {
        let what = format!("a migration of {database}, and there is none of PostgreSQL");
        return Err(ForeignError::Unknown { path, what });
    }
    versions.into_values().map(|version| read_version(tool, version)).collect()
}

/// The directory itself, or of directories for several databases ours.
fn dialect_directory(dir: &Path) -> Result<PathBuf, ForeignError> {
    let all = files(dir)?;
    let ours = all.iter().find(|path| path.is_dir() && OURS.contains(&file_name(path).as_str()));
    let has_files = all.iter().any(|path| path.is_file() && golang_name(&file_name(path)).is_some());
    Ok(ours.filter(|_| !has_files).map_or_else(|| dir.to_owned(), Clone::clone))
}

/// What the name of a file says; none: it is no migration.
fn named(tool: ForeignTool, names: Option<&NamePattern>, path: &Path) -> Result<Option<FileName>, ForeignError> {
    let name = file_name(path);
    if name.starts_with('.') || path.is_dir() {
        return Ok(None);
    }
    let found = match (tool, names) {
        (ForeignTool::GolangMigrate, Some(pattern)) => pattern.read(&name),
        (ForeignTool::GolangMigrate, None) => golang_name(&name),
        _ => plain_name(&name),
    };
    match found {
        Some(found) => Ok(Some(found)),
        None if !name.ends_with(".sql") => Ok(None),
        None if names.is_some() => {
            Err(ForeignError::Unknown { path: path.to_owned(), what: "no name as the pattern says".to_owned() })
        }
        None => Err(tool.bad_name(path)),
    }
}

/// `1_name.sql`, `1_name.up.sql` or `1_name.down.sql`.
fn plain_name(name: &str) -> Option<FileName> {
    let stem = name.strip_suffix(".sql")?;
    let (stem, is_down) = match (stem.strip_suffix(".up"), stem.strip_suffix(".down")) {
        (Some(stem), _) => (stem, false),
        (None, Some(stem)) => (stem, true),
        (None, None) => (stem, false),
    };
    let (digits, words) = numbered_name(stem);
    (!digits.is_empty()).then_some(FileName { digits, words, is_down, other: None })
}

fn read_version(tool: ForeignTool, version: Version) -> Result<ForeignMigration, ForeignError> {
    let Version { up, down, digits, words } = version;
    let Some(path) = up else { return Err(ForeignError::OnlyDown(down.unwrap_or_default())) };
    let text = text_of(&path)?;
    let down_text = down.as_deref().map(text_of).transpose()?;
    let key = match tool {
        // dbmate keeps the digits as they are; the others keep a number.
        ForeignTool::Dbmate => digits.clone(),
        _ => digits.parse::<u128>().map(|number| number.to_string()).unwrap_or_default(),
    };
    let mut migration = ForeignMigration {
        key,
        words,
        digits: Some(digits),
        source: format!("Imported from {}: {}", tool.name(), file_name(&path)),
        not_carried: placeholders(&path, &file_name(&path), &text, &Filled::Nowhere)?,
        ..ForeignMigration::default()
    };
    if let (Some(path), Some(text)) = (&down, &down_text) {
        migration.not_carried.extend(placeholders(path, &file_name(path), text, &Filled::Nowhere)?);
    }
    match tool {
        ForeignTool::Dbmate => sections(&path, &text, &mut migration)?,
        _ => {
            let outside = |text: &str| needs_no_transaction(text) || says_no_transaction(text);
            migration.transaction = (!outside(&text), !down_text.as_deref().is_some_and(outside));
            if tool == ForeignTool::Sqlx {
                migration.digests.push(hex::encode(Sha384::digest(text.as_bytes())));
            }
            migration.up = without_own_transaction(&text);
            migration.down = down_text.as_deref().map(without_own_transaction);
        }
    }
    Ok(migration)
}

/// sqlx: `-- no-transaction` in the first line.
fn says_no_transaction(text: &str) -> bool {
    text.trim_start().starts_with("-- no-transaction")
}

/// dbmate's own markers, which are ours too.
fn sections(path: &Path, text: &str, migration: &mut ForeignMigration) -> Result<(), ForeignError> {
    let marker = |line: &str, name: &str| {
        line.trim_start().strip_prefix("--").map(str::trim_start).is_some_and(|rest| {
            rest.strip_prefix("migrate:").is_some_and(|rest| rest.split_whitespace().next() == Some(name))
        })
    };
    let lines: Vec<&str> = text.lines().collect();
    let Some(up) = lines.iter().position(|line| marker(line, "up")) else {
        return Err(ForeignError::Unknown {
            path: path.to_owned(),
            what: "there is no `-- migrate:up` line".to_owned(),
        });
    };
    let down = lines.iter().position(|line| marker(line, "down"));
    let outside = |line: usize| lines[line].contains("transaction:false");
    migration.transaction = (!outside(up), !down.is_some_and(outside));
    migration.up = lines[up + 1..down.unwrap_or(lines.len())].join("\n");
    migration.down = down.map(|down| lines[down + 1..].join("\n"));
    Ok(())
}
