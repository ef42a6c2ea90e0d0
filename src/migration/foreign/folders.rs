//! Prisma and Diesel: a directory for each migration, in the order of their names as text.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::sql::{needs_no_transaction, without_own_transaction};
use super::templates::{Filled, placeholders};
use super::{ForeignError, ForeignMigration, ForeignTool, file_name, files, keep_order, numbered_name, text_of};

/// Prisma: `migration_lock.toml` and `20240101120000_name/migration.sql`.
pub(super) fn read_prisma(dir: &Path) -> Result<Vec<ForeignMigration>, ForeignError> {
    refuse_provider(&dir.join("migration_lock.toml"))?;
    let mut found = Vec::new();
    for folder in folders(dir)? {
        let name = file_name(&folder);
        let path = folder.join("migration.sql");
        if !path.is_file() {
            return Err(ForeignTool::Prisma.bad_name(&folder));
        }
        let text = text_of(&path)?;
        let source = format!("{name}/migration.sql");
        let (digits, words) = numbered_name(&name);
        found.push(ForeignMigration {
            not_carried: placeholders(&path, &source, &text, &Filled::Nowhere)?,
            key: name,
            words,
            digits: (!digits.is_empty()).then_some(digits),
            source: format!("Imported from prisma: {source}"),
            transaction: (!needs_no_transaction(&text), true),
            up: without_own_transaction(&text),
            digests: prisma_digests(&text),
            ..ForeignMigration::default()
        });
    }
    keep_order(&mut found);
    Ok(found)
}

fn refuse_provider(path: &Path) -> Result<(), ForeignError> {
    let refused = |what: String| ForeignError::Unknown { path: path.to_owned(), what };
    let lock = toml_of(path)?;
    match lock.get("provider").and_then(toml::Value::as_str) {
        Some("postgresql" | "postgres") => Ok(()),
        Some(other) => Err(refused(format!("the provider is {other}; it must be postgresql"))),
        None => Err(refused("it names no provider".to_owned())),
    }
}

/// Of the text with either line end: a checkout may change it, and Prisma takes both.
fn prisma_digests(text: &str) -> Vec<String> {
    let unix = text.replace("\r\n", "\n");
    let mut digests = Vec::new();
    for text in [text, &unix, &unix.replace('\n', "\r\n")] {
        let digest = hex::encode(Sha256::digest(text.as_bytes()));
        if !digests.contains(&digest) {
            digests.push(digest);
        }
    }
    digests
}

/// Diesel: `2024-01-01-120000_name/up.sql`, `down.sql` and `metadata.toml`.
pub(super) fn read_diesel(dir: &Path) -> Result<Vec<ForeignMigration>, ForeignError> {
    let mut found: Vec<(PathBuf, ForeignMigration)> = Vec::new();
    for folder in folders(dir)? {
        let migration = diesel_migration(&folder)?;
        if let Some((first, _)) = found.iter().find(|(_, other)| other.key == migration.key) {
            return Err(ForeignError::Twice(first.clone(), folder));
        }
        found.push((folder, migration));
    }
    found.sort_by(|(_, one), (_, other)| one.key.cmp(&other.key));
    let mut found: Vec<ForeignMigration> = found.into_iter().map(|(_, migration)| migration).collect();
    keep_order(&mut found);
    Ok(found)
}

fn diesel_migration(folder: &Path) -> Result<ForeignMigration, ForeignError> {
    let name = file_name(folder);
    let (up, down) = (folder.join("up.sql"), folder.join("down.sql"));
    match (up.is_file(), down.is_file()) {
        (true, _) => {}
        (false, true) => return Err(ForeignError::OnlyDown(down)),
        (false, false) => return Err(ForeignTool::Diesel.bad_name(folder)),
    }
    let (version, words) = name.split_once('_').unwrap_or((&name, ""));
    let key = version.replace('-', "");
    let outside = !runs_in_transaction(folder)?;
    let text = text_of(&up)?;
    let mut migration = ForeignMigration {
        digits: key.chars().all(|c| c.is_ascii_digit()).then(|| key.clone()),
        words: words.to_owned(),
        source: format!("Imported from diesel: {name}/up.sql"),
        transaction: (!(outside || needs_no_transaction(&text)), !outside),
        up: without_own_transaction(&text),
        not_carried: placeholders(&up, &format!("{name}/up.sql"), &text, &Filled::Nowhere)?,
        key,
        ..ForeignMigration::default()
    };
    if down.is_file() {
        let text = text_of(&down)?;
        migration.transaction.1 = !(outside || needs_no_transaction(&text));
        migration.not_carried.extend(placeholders(&down, &format!("{name}/down.sql"), &text, &Filled::Nowhere)?);
        migration.down = Some(without_own_transaction(&text));
    }
    Ok(migration)
}

/// Diesel's own defaults: true without the file, false with the file and without the key.
fn runs_in_transaction(folder: &Path) -> Result<bool, ForeignError> {
    let path = folder.join("metadata.toml");
    if !path.is_file() {
        return Ok(true);
    }
    match toml_of(&path)?.get("run_in_transaction").map(toml::Value::as_bool) {
        None => Ok(false),
        Some(Some(inside)) => Ok(inside),
        Some(None) => {
            let what = "run_in_transaction is neither true nor false".to_owned();
            Err(ForeignError::Unknown { path, what })
        }
    }
}

fn toml_of(path: &Path) -> Result<toml::Table, ForeignError> {
    let text = text_of(path)?;
    text.parse().map_err(|error: toml::de::Error| {
        let what = format!("it is no TOML: {}", error.message());
        ForeignError::Unknown { path: path.to_owned(), what }
    })
}

fn folders(dir: &Path) -> Result<Vec<PathBuf>, ForeignError> {
    let is_one = |path: &PathBuf| path.is_dir() && !file_name(path).starts_with('.');
    Ok(files(dir)?.into_iter().filter(is_one).collect())
}
