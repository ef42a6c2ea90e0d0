//! The migration directories of other tools: dbmate, sqlx, golang-migrate and Flyway, by their documented layouts.
//!
//! Each becomes a list of [`ForeignMigration`]s in the tool's own order, of which [`ForeignMigration::to_text`] makes a
//! file of ours. What has no SQL is kept by name ([`ForeignMigration::not_carried`]), never dropped.

mod flyway;
mod numbered;
mod sql;

use std::path::{Path, PathBuf};

use super::id::is_migration_name;

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
    /// What the tool's own table says of its text: SHA-384 (sqlx).
    pub sha384: Option<String>,
}

/// Why a directory cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// It is not there, or cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// There is no migration in it.
    #[error("{} holds no migration as {tool} names them: {layout}", dir.display())]
    Empty {
        /// The directory.
        dir: PathBuf,
        /// The tool.
        tool: &'static str,
        /// What is looked for.
        layout: &'static str,
    },
    /// A file whose name says nothing.
    #[error("{}: no name of a {tool} migration: {layout}", path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// The tool.
        tool: &'static str,
        /// What is looked for.
        layout: &'static str,
    },
    /// Two files of one version.
    #[error("{} and {}: the same version", .0.display(), .1.display())]
    Twice(PathBuf, PathBuf),
    /// A way back of something that is not there.
    #[error("{}: a way back, and there is no file that it undoes", .0.display())]
    OnlyDown(PathBuf),
    /// Something that has no meaning here.
    #[error("{}: {what}", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What.
        what: String,
    },
}

impl ForeignTool {
    /// Its name as `import --from` takes it.
    pub fn name(self) -> &'static str {
        match self {
            ForeignTool::Dbmate => "dbmate",
            ForeignTool::Sqlx => "sqlx",
            ForeignTool::GolangMigrate => "golang-migrate",
            ForeignTool::Flyway => "flyway",
        }
    }

    fn layout(self) -> &'static str {
        match self {
            ForeignTool::Dbmate => "20240101120000_name.sql",
            ForeignTool::Sqlx => "20240101120000_name.sql, or the same with .up.sql and .down.sql",
            ForeignTool::GolangMigrate => "000001_name.up.sql and 000001_name.down.sql",
            ForeignTool::Flyway => "V1__name.sql, U1__name.sql and R__name.sql",
        }
    }

    /// Reads a directory, in the order of the tool.
    pub fn read(self, dir: &Path) -> Result<Vec<ForeignMigration>, ForeignError> {
        let found = match self {
            ForeignTool::Flyway => flyway::read(dir)?,
            _ => numbered::read(self, dir)?,
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
        let mut text = format!("-- {}\n", self.source);
        if !depends.is_empty() {
            text.push_str(&format!("-- depends: {}\n", depends.join(", ")));
        }
        for what in &self.not_carried {
            text.push_str(&format!("-- not-carried: {}\n", what.split_whitespace().collect::<Vec<_>>().join(" ")));
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
