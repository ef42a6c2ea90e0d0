//! Flyway: versioned (`V1.2__name.sql`), undo (`U1.2__name.sql`) and repeatable (`R__name.sql`) migrations.
//!
//! A repeatable one runs whenever its text changes; here it is one migration behind all others, and a change of it is a new
//! one. Java migrations and placeholders have no SQL: they are named.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::sql::{needs_no_transaction, without_own_transaction};
use super::templates::{Filled, placeholders};
use super::{ForeignError, ForeignMigration, ForeignTool, file_name, files, text_of};

const TOOL: ForeignTool = ForeignTool::Flyway;

pub(super) fn read(dir: &Path) -> Result<Vec<ForeignMigration>, ForeignError> {
    let mut versioned: BTreeMap<Vec<u64>, (PathBuf, String, String)> = BTreeMap::new();
    let mut undo: BTreeMap<Vec<u64>, PathBuf> = BTreeMap::new();
    let mut repeatable: Vec<ForeignMigration> = Vec::new();
    let mut java: BTreeMap<Vec<u64>, (PathBuf, String, String)> = BTreeMap::new();
    for path in files(dir)? {
        let name = file_name(&path);
        let (stem, is_java) = match (name.strip_suffix(".sql"), name.strip_suffix(".java")) {
            (Some(stem), _) => (stem, false),
            (None, Some(stem)) => (stem, true),
            (None, None) => continue,
        };
        if name == "afterMigrate.sql" || (!stem.contains("__") && is_callback(stem)) {
            let what = "a callback, which runs with every migration; it has no place here".to_owned();
            return Err(ForeignError::Unknown { path, what });
        }
        let Some((version, words)) = stem.split_once("__").filter(|(version, _)| version.is_ascii()) else {
            return Err(TOOL.bad_name(&path));
        };
        match version.split_at_checked(1) {
            Some(("R", "")) => repeatable.push(of_text(&path, words, words)?),
            Some(("V", number)) => {
                let key = number.replace('_', ".");
                let into = if is_java { &mut java } else { &mut versioned };
                if let Some((first, ..)) = into.insert(order(number, &path)?, (path.clone(), key, words.to_owned())) {
                    return Err(ForeignError::Twice(first, path));
                }
            }
            Some(("U", number)) => {
                undo.insert(order(number, &path)?, path);
            }
            _ => return Err(TOOL.bad_name(&path)),
        }
    }
    let mut all: BTreeMap<Vec<u64>, ForeignMigration> = BTreeMap::new();
    for (version, (path, key, words)) in versioned {
        let mut migration = of_text(&path, &key, &words)?;
        if let Some(path) = undo.remove(&version) {
            let text = text_of(&path)?;
            migration.not_carried.extend(placeholders(&path, &file_name(&path), &text, &Filled::Everywhere)?);
            migration.transaction.1 = !needs_no_transaction(&text);
            migration.down = Some(without_own_transaction(&text));
        }
        all.insert(version, migration);
    }
    for (version, (path, key, words)) in java {
        let what = format!("{}: a Java migration", file_name(&path));
        let migration = ForeignMigration {
            key,
            words,
            source: format!("Imported from flyway: {}", file_name(&path)),
            transaction: (true, true),
            not_carried: vec![what],
            ..ForeignMigration::default()
        };
        if all.insert(version, migration).is_some() {
            return Err(ForeignError::Twice(path.clone(), path));
        }
    }
    if let Some(path) = undo.into_values().next() {
        return Err(ForeignError::OnlyDown(path));
    }
    Ok(all.into_values().chain(repeatable).collect())
}

/// `1.2`, `1_2` or `20240101`, compared part by part.
fn order(version: &str, path: &Path) -> Result<Vec<u64>, ForeignError> {
    let parts: Option<Vec<u64>> = version.split(['.', '_']).map(|part| part.parse().ok()).collect();
    let mut parts = parts.ok_or_else(|| TOOL.bad_name(path))?;
    // 1.0 is 1.
    while parts.len() > 1 && parts.last() == Some(&0) {
        parts.pop();
    }
    Ok(parts)
}

fn is_callback(stem: &str) -> bool {
    ["before", "after", "create"].iter().any(|start| stem.starts_with(start))
}

fn of_text(path: &Path, key: &str, words: &str) -> Result<ForeignMigration, ForeignError> {
    let text = text_of(path)?;
    let script_config = path.with_extension("sql.conf");
    let outside = std::fs::read_to_string(script_config).is_ok_and(|text| {
        text.lines().any(|line| line.replace(' ', "").eq_ignore_ascii_case("executeInTransaction=false"))
    });
    Ok(ForeignMigration {
        key: key.to_owned(),
        words: words.to_owned(),
        digits: None,
        source: format!("Imported from flyway: {}", file_name(path)),
        transaction: (!(outside || needs_no_transaction(&text)), true),
        up: without_own_transaction(&text),
        not_carried: placeholders(path, &file_name(path), &text, &Filled::Everywhere)?,
        ..ForeignMigration::default()
    })
}
