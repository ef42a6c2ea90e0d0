//! goose: `00001_name.sql` with annotations (`-- +goose Up`), and Go migrations, which are named.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use squawk_lexer::TokenKind;

use super::super::lexer::lexemes;
use super::sql::{needs_no_transaction, without_own_transaction};
use super::templates::{Filled, placeholders};
use super::{ForeignError, ForeignMigration, ForeignTool, file_name, files, numbered_name, text_of};

const TOOL: ForeignTool = ForeignTool::Goose;

pub(super) fn read(dir: &Path) -> Result<Vec<ForeignMigration>, ForeignError> {
    let mut found: BTreeMap<u64, (PathBuf, ForeignMigration)> = BTreeMap::new();
    for path in files(dir)? {
        let name = file_name(&path);
        let (stem, is_go) = match (name.strip_suffix(".sql"), name.strip_suffix(".go")) {
            (Some(stem), _) => (stem, false),
            // Other Go files of the package have no number.
            (None, Some(stem)) if stem.starts_with(|c: char| c.is_ascii_digit()) && !stem.ends_with("_test") => {
                (stem, true)
            }
            _ => continue,
        };
        let (digits, words) = numbered_name(stem);
        // Version 0 is the row that goose begins its table with.
        let Some(version) = digits.parse::<u64>().ok().filter(|version| *version > 0) else {
            return Err(TOOL.bad_name(&path));
        };
        let migration = ForeignMigration {
            key: version.to_string(),
            words,
            digits: Some(digits),
            source: format!("Imported from goose: {name}"),
            transaction: (true, true),
            ..ForeignMigration::default()
        };
        let migration = match is_go {
            true => ForeignMigration { not_carried: vec![format!("{name}: a Go migration")], ..migration },
            false => with_text(migration, &path, &name)?,
        };
        if let Some((first, _)) = found.insert(version, (path.clone(), migration)) {
            return Err(ForeignError::Twice(first, path));
        }
    }
    Ok(found.into_values().map(|(_, migration)| migration).collect())
}

fn with_text(migration: ForeignMigration, path: &Path, name: &str) -> Result<ForeignMigration, ForeignError> {
    let text = text_of(path)?;
    let mut reader = Reader::default();
    for (at, line) in text.lines().enumerate() {
        let number = at as u32 + 1;
        reader.take(number, line).map_err(|what| refused(path, number, what))?;
    }
    let (up, down) = reader.finish().map_err(|(line, what)| refused(path, line, what))?;
    let filled = |line: u32| reader.filled.get(line as usize - 1).copied().unwrap_or_default();
    let not_carried = placeholders(path, name, &text, &Filled::Lines(&filled))?;
    let inside = |sql: &str| !reader.outside && !needs_no_transaction(sql);
    Ok(ForeignMigration {
        transaction: (inside(&up), down.as_deref().is_none_or(inside)),
        up: without_own_transaction(&up),
        down: down.as_deref().map(without_own_transaction),
        not_carried,
        ..migration
    })
}

fn refused(path: &Path, line: u32, what: String) -> ForeignError {
    ForeignError::Line { path: path.to_owned(), line, what }
}

/// Reads a file line by line, as goose does.
#[derive(Default)]
struct Reader {
    up: Option<String>,
    down: Option<String>,
    /// The line of a `StatementBegin` without an end, and where its text begins.
    block: Option<(u32, usize)>,
    outside: bool,
    /// Whether variables are filled in, of each line.
    filled: Vec<bool>,
    fills: bool,
}

impl Reader {
    fn take(&mut self, number: u32, line: &str) -> Result<(), String> {
        self.filled.push(self.fills);
        let Some(words) = annotation(line) else {
            return self.take_text(line);
        };
        if line.starts_with(char::is_whitespace) {
            return Err(format!("`-- +goose {words}` must begin its line"));
        }
        let lower = words.to_lowercase();
        match lower.as_str() {
            "no transaction" => self.outside = true,
            "envsub on" => self.fills = true,
            "envsub off" => self.fills = false,
            "up" if self.up.is_some() => return Err("a second `-- +goose Up`".to_owned()),
            "up" => self.up = Some(String::new()),
            "down" if self.up.is_none() => return Err("`-- +goose Down` above `-- +goose Up`".to_owned()),
            "down" if self.down.is_some() => return Err("a second `-- +goose Down`".to_owned()),
            // That it is open is said at the end, with its line.
            "down" if self.block.is_some() => {}
            "down" => self.down = Some(String::new()),
            "statementbegin" if self.block.is_none() => match self.section() {
                Some(section) => self.block = Some((number, section.len())),
                None => return Err("`-- +goose StatementBegin` outside of a section".to_owned()),
            },
            "statementbegin" => return Err("a `-- +goose StatementBegin` within another".to_owned()),
            "statementend" => self.end_block()?,
            _ => return Err(format!("goose has no `-- +goose {words}`")),
        }
        Ok(())
    }

    fn section(&mut self) -> Option<&mut String> {
        self.down.as_mut().or(self.up.as_mut())
    }

    fn take_text(&mut self, line: &str) -> Result<(), String> {
        let is_remark = line.trim().is_empty() || line.trim_start().starts_with("--");
        match self.section() {
            Some(section) => section.push_str(&format!("{line}\n")),
            None if is_remark => {}
            None => return Err("SQL above `-- +goose Up`".to_owned()),
        }
        Ok(())
    }

    /// What stands between the two lines is sent as it is, with or without a semicolon.
    fn end_block(&mut self) -> Result<(), String> {
        let Some((_, start)) = self.block.take() else {
            return Err("`-- +goose StatementEnd` without a beginning".to_owned());
        };
        if let Some(section) = self.section() {
            let last = lexemes(&section[start..], 1).filter(|token| !token.is_trivia()).last();
            if last.is_some_and(|token| token.kind != TokenKind::Semi) {
                section.push_str(";\n");
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(String, Option<String>), (u32, String)> {
        match (self.block, self.up.take()) {
            (Some((line, _)), _) => Err((line, "this `-- +goose StatementBegin` has no end".to_owned())),
            (None, None) => Err((1, "there is no `-- +goose Up` line".to_owned())),
            (None, Some(up)) => Ok((up, self.down.take())),
        }
    }
}

/// What follows `-- +goose`, with single blanks.
fn annotation(line: &str) -> Option<String> {
    let rest = line.trim_start().strip_prefix("--")?.trim_start().strip_prefix("+goose")?;
    rest.starts_with(char::is_whitespace).then(|| rest.split_whitespace().collect::<Vec<_>>().join(" "))
}
