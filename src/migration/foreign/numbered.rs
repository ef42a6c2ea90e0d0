//! dbmate, sqlx and golang-migrate: files that begin with their version.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha384};

use super::sql::{needs_no_transaction, without_own_transaction};
use super::{ForeignError, ForeignMigration, ForeignTool, file_name, files, text_of};

/// The file of one version.
#[derive(Default)]
struct Version {
    up: Option<PathBuf>,
    down: Option<PathBuf>,
    digits: String,
    words: String,
}

pub(super) fn read(tool: ForeignTool, dir: &Path) -> Result<Vec<ForeignMigration>, ForeignError> {
    let mut versions: BTreeMap<u128, Version> = BTreeMap::new();
    for path in files(dir)? {
        let name = file_name(&path);
        let Some(stem) = name.strip_suffix(".sql").filter(|_| !name.starts_with('.')) else { continue };
        let (stem, is_down) = match (stem.strip_suffix(".up"), stem.strip_suffix(".down")) {
            (Some(stem), _) => (stem, false),
            (None, Some(stem)) => (stem, true),
            (None, None) if tool == ForeignTool::GolangMigrate => return Err(tool.bad_name(&path)),
            (None, None) => (stem, false),
        };
        let digits: String = stem.chars().take_while(char::is_ascii_digit).collect();
        let Ok(number) = digits.parse::<u128>() else { return Err(tool.bad_name(&path)) };
        let version = versions.entry(number).or_default();
        let slot = if is_down { &mut version.down } else { &mut version.up };
        if let Some(first) = slot.replace(path.clone()) {
            return Err(ForeignError::Twice(first, path));
        }
        stem[digits.len()..].trim_start_matches(['_', '-']).clone_into(&mut version.words);
        version.digits = digits;
    }
    versions.into_values().map(|version| read_version(tool, version)).collect()
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
        ..ForeignMigration::default()
    };
    match tool {
        ForeignTool::Dbmate => sections(&path, &text, &mut migration)?,
        _ => {
            let outside = |text: &str| needs_no_transaction(text) || says_no_transaction(text);
            migration.transaction = (!outside(&text), !down_text.as_deref().is_some_and(outside));
            migration.sha384 = (tool == ForeignTool::Sqlx).then(|| hex::encode(Sha384::digest(text.as_bytes())));
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
