//! The migration directories of other tools, by their documented layouts.
//!
//! Each becomes a list of [`ForeignMigration`]s in the tool's own order, of which [`ForeignMigration::to_text`] makes a
//! file of ours. What has no SQL is kept by name ([`ForeignMigration::not_carried`]), never dropped.

mod error;
mod flyway;
mod folders;
mod goose;
mod name_pattern;
mod numbered;
mod rails;
mod sql;
mod templates;

use std::path::{Path, PathBuf};

use super::id::is_migration_name;

pub use error::ForeignError;
pub use name_pattern::NamePattern;
pub use sql::without_own_transaction;

/// Another tool whose directory can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignTool {
    /// `20240101120000_name.sql` with `-- migrate:up` and `-- migrate:down`.
    Dbmate,
    /// `20240101120000_name.sql`, or `….up.sql` and `….down.sql`.
    Sqlx,
    /// `000001_name.up.sql` and `000001_name.down.sql`.
    GolangMigrate,
    /// `V1.2__name.sql`, `U1.2__name.sql`, `R__name.sql`.
    Flyway,
    /// `00001_name.sql` with `-- +goose Up` and `-- +goose Down`.
    Goose,
    /// `20240101120000_name/migration.sql`.
    Prisma,
    /// `2024-01-01-120000_name/up.sql` and `down.sql`.
    Diesel,
    /// `structure.sql` and `migrate/20240101120000_name.rb`.
    Rails,
}

/// One migration of another tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForeignMigration {
    /// The app, where the tool has such a thing.
    pub app: Option<String>,
    /// What the tool's own table calls it.
    pub key: String,
    /// Words of its name.
    pub words: String,
    /// Digits that it begins with, when our names may.
    pub digits: Option<String>,
    /// What its file was, for the first line of ours.
    pub source: String,
    /// What applies it.
    pub up: String,
    /// What undoes it.
    pub down: Option<String>,
    /// Whether it runs in one transaction, and its way back.
    pub transaction: (bool, bool),
    /// What it does besides SQL.
    pub not_carried: Vec<String>,
    /// Keys of those of other apps that it stands on.
    pub depends: Vec<(String, String)>,
    /// Apps and keys of those in the place of which it stands, in the tool's own table too.
    pub replaces: Vec<(String, String)>,
    /// Checksums of its text that the tool's own table may have, in hex; none: the table has none.
    pub digests: Vec<String>,
    /// Further keys that it stands for: it is applied when all of them are.
    pub covers: Vec<String>,
}

impl ForeignTool {
    /// Its name as `import --from` takes it.
    pub fn name(self) -> &'static str {
        match self {
            ForeignTool::Dbmate => "dbmate",
            ForeignTool::Sqlx => "sqlx",
            ForeignTool::GolangMigrate => "golang-migrate",
            ForeignTool::Flyway => "flyway",
            ForeignTool::Goose => "goose",
            ForeignTool::Prisma => "prisma",
            ForeignTool::Diesel => "diesel",
            ForeignTool::Rails => "rails",
        }
    }

    fn layout(self) -> &'static str {
        match self {
            ForeignTool::Dbmate => "20240101120000_name.sql",
            ForeignTool::Sqlx => "20240101120000_name.sql, or the same with .up.sql and .down.sql",
            ForeignTool::GolangMigrate => "000001_name.up.sql and 000001_name.down.sql",
            ForeignTool::Flyway => "V1__name.sql, U1__name.sql and R__name.sql",
            ForeignTool::Goose => "00001_name.sql",
            ForeignTool::Prisma => "20240101120000_name/migration.sql",
            ForeignTool::Diesel => "2024-01-01-120000_name/up.sql and down.sql",
            ForeignTool::Rails => "structure.sql and migrate/20240101120000_name.rb",
        }
    }

    /// Reads a directory, in the order of the tool; `names` is for golang-migrate.
    pub fn read(self, dir: &Path, names: Option<&NamePattern>) -> Result<Vec<ForeignMigration>, ForeignError> {
        let found = match self {
            ForeignTool::Flyway => flyway::read(dir)?,
            ForeignTool::Goose => goose::read(dir)?,
            ForeignTool::Prisma => folders::read_prisma(dir)?,
            ForeignTool::Diesel => folders::read_diesel(dir)?,
            ForeignTool::Rails => rails::read(dir)?,
            ForeignTool::Dbmate | ForeignTool::Sqlx | ForeignTool::GolangMigrate => numbered::read(self, dir, names)?,
        };
        match found.is_empty() {
            true => Err(ForeignError::Empty { dir: dir.to_owned(), tool: self.name(), layout: self.layout() }),
            false => Ok(found),
        }
    }

    fn bad_name(self, path: &Path) -> ForeignError {
        ForeignError::Name { path: path.to_owned(), tool: self.name(), layout: self.layout() }
    }
}

impl ForeignMigration {
    /// The text of a file of ours; `depends` are names of ours.
    pub fn to_text(&self, depends: &[String]) -> String {
        let mut text = format!("-- {}\n", one_line(&self.source));
        if !depends.is_empty() {
            text.push_str(&format!("-- depends: {}\n", depends.join(", ")));
        }
        for what in &self.not_carried {
            text.push_str(&format!("-- not-carried: {}\n", one_line(what)));
        }
        let marker = |name: &str, transaction: bool| {
            format!("-- migrate:{name}{}\n", if transaction { "" } else { " transaction:false" })
        };
        text.push_str(&marker("up", self.transaction.0));
        text.push_str(with_line_end(&self.up).as_str());
        if let Some(down) = &self.down {
            text.push_str(&format!("\n{}", marker("down", self.transaction.1)));
            text.push_str(with_line_end(down).as_str());
        }
        text
    }
}

/// A name of a file may hold line ends, behind which it would be no comment.
fn one_line(text: &str) -> String {
    let parts = text.split(|c: char| c.is_whitespace() || c.is_control());
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn with_line_end(text: &str) -> String {
    let text = text.trim_matches('\n');
    if text.is_empty() { String::new() } else { format!("{text}\n") }
}

/// Names for a list of migrations of one app: with the numbers they have where all of them can be ours, else counted.
pub fn names(migrations: &[&ForeignMigration]) -> Vec<String> {
    let width = migrations.iter().filter_map(|one| one.digits.as_ref()).map(String::len).max().unwrap_or(4).max(4);
    let own = |one: &ForeignMigration| {
        let digits = one.digits.as_ref()?;
        let name = format!("{digits:0>width$}_{}", words(&one.words));
        is_migration_name(&name).then_some(name)
    };
    let numbered: Option<Vec<String>> = migrations.iter().map(|one| own(one)).collect();
    numbered.unwrap_or_else(|| {
        migrations.iter().enumerate().map(|(at, one)| format!("{:04}_{}", at + 1, words(&one.words))).collect()
    })
}

/// Lower-case letters, digits and underscores.
fn words(text: &str) -> String {
    let plain: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    let parts: Vec<&str> = plain.split('_').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { "migration".to_owned() } else { parts.join("_") }
}

/// Takes their numbers away unless they give the order: the tool may sort them as text.
fn keep_order(migrations: &mut [ForeignMigration]) {
    let numbers = migrations.iter().map(|one| one.digits.as_ref().and_then(|digits| digits.parse::<u128>().ok()));
    let numbers: Option<Vec<u128>> = numbers.collect();
    if !numbers.is_some_and(|numbers| numbers.is_sorted_by(|one, next| one < next)) {
        migrations.iter_mut().for_each(|one| one.digits = None);
    }
}

/// The digits that a name begins with, and what follows the `_` or `-` behind them.
fn numbered_name(name: &str) -> (String, String) {
    let digits: String = name.chars().take_while(char::is_ascii_digit).collect();
    let words = name[digits.len()..].trim_start_matches(['_', '-']).to_owned();
    (digits, words)
}

/// The files of a directory, by name.
fn files(dir: &Path) -> Result<Vec<PathBuf>, ForeignError> {
    let failed = |source| ForeignError::Io { path: dir.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        files.push(entry.map_err(failed)?.path());
    }
    files.sort();
    Ok(files)
}

fn text_of(path: &Path) -> Result<String, ForeignError> {
    std::fs::read_to_string(path).map_err(|source| ForeignError::Io { path: path.to_owned(), source })
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
