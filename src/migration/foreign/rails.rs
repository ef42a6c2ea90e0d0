//! Rails: `structure.sql`, a dump of pg_dump with the versions that it has, and Ruby migrations, which are named.
//!
//! The dump becomes one migration for all its versions, without Rails' own tables and the settings of the dump.

use std::collections::BTreeSet;
use std::path::Path;

use super::super::splitter::{Statement, split_statements};
use super::{ForeignError, ForeignMigration, ForeignTool, file_name, files, keep_order, numbered_name, text_of};

/// Tables in which Rails keeps its own state.
const OWN_TABLES: [&str; 2] = ["schema_migrations", "ar_internal_metadata"];

pub(super) fn read(dir: &Path) -> Result<Vec<ForeignMigration>, ForeignError> {
    let ruby = dir.join("schema.rb");
    if ruby.is_file() && !dir.join("structure.sql").is_file() {
        let what = "Ruby, not SQL; set `config.active_record.schema_format = :sql` and dump the schema".to_owned();
        return Err(ForeignError::Unknown { path: ruby, what });
    }
    let structure = structure(&dir.join("structure.sql"))?;
    let mut newer = Vec::new();
    for path in files(&dir.join("migrate")).unwrap_or_default() {
        let name = file_name(&path);
        let Some(stem) = name.strip_suffix(".rb") else { continue };
        let (digits, words) = numbered_name(stem);
        if digits.is_empty() || structure.covers.contains(&digits) {
            continue;
        }
        newer.push(ForeignMigration {
            key: digits.clone(),
            words,
            digits: Some(digits),
            source: format!("Imported from rails: migrate/{name}"),
            transaction: (true, true),
            not_carried: vec![format!("{name}: a Ruby migration")],
            ..ForeignMigration::default()
        });
    }
    newer.sort_by_key(|one| number(&one.key));
    let mut all = vec![structure];
    all.extend(newer);
    keep_order(&mut all);
    Ok(all)
}

fn number(version: &str) -> u128 {
    version.parse().unwrap_or_default()
}

fn structure(path: &Path) -> Result<ForeignMigration, ForeignError> {
    let text = text_of(path)?;
    // Lines of psql, which newer releases of Rails leave out. Their places stay, for the numbers of the others.
    let is_psql = |line: &&str| line.starts_with("\\restrict ") || line.starts_with("\\unrestrict ");
    let lines: Vec<&str> = text.lines().map(|line| if is_psql(&line) { "" } else { line }).collect();
    let line = |line: u32, what: String| ForeignError::Line { path: path.to_owned(), line, what };
    let statements = split_statements(&lines.join("\n"), 1).map_err(|error| line(error.line(), error.to_string()))?;
    let (mut versions, mut kept) = (BTreeSet::new(), Vec::new());
    for statement in statements {
        let tokens = statement.tokens();
        if tokens.iter().any(|token| token.starts_with('`')) {
            return Err(line(statement.line, "a name in backquotes, as MySQL has them".to_owned()));
        }
        if is_setting(&tokens) {
            continue;
        }
        match table_of(&tokens).filter(|table| OWN_TABLES.contains(table)) {
            Some(_) if tokens[0].eq_ignore_ascii_case("insert") => versions.extend(versions_in(&tokens)),
            Some(_) => {}
            None => kept.push(statement),
        }
    }
    let Some((_, key)) = versions.last().cloned() else {
        let what = "it names no version that it has (INSERT INTO schema_migrations)".to_owned();
        return Err(ForeignError::Unknown { path: path.to_owned(), what });
    };
    Ok(ForeignMigration {
        words: "structure".to_owned(),
        digits: Some(key.clone()),
        source: format!("Imported from {}: structure.sql", ForeignTool::Rails.name()),
        up: text_with(&kept),
        transaction: (true, true),
        covers: versions.into_iter().map(|(_, version)| version).collect(),
        key,
        ..ForeignMigration::default()
    })
}

/// `SET …`, and what pg_dump writes for the search path: all names in a dump are whole.
fn is_setting(tokens: &[&str]) -> bool {
    let is_select = tokens.first().is_some_and(|first| first.eq_ignore_ascii_case("select"));
    tokens.first().is_some_and(|first| first.eq_ignore_ascii_case("set"))
        || (is_select && tokens.iter().take(5).any(|token| *token == "set_config"))
}

/// The table that a statement makes, changes, fills or indexes, without its schema.
fn table_of<'a>(tokens: &[&'a str]) -> Option<&'a str> {
    let word = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.eq_ignore_ascii_case(word));
    let start = match tokens.first()?.to_ascii_lowercase().as_str() {
        "create" | "alter" if word(1, "table") => 2,
        "insert" => 2,
        "comment" if word(2, "table") => 3,
        "create" if word(1, "index") || word(2, "index") => {
            tokens.iter().position(|token| token.eq_ignore_ascii_case("on"))? + 1
        }
        _ => return None,
    };
    let start = start + usize::from(word(start, "only"));
    let name = if tokens.get(start + 1) == Some(&".") { tokens.get(start + 2) } else { tokens.get(start) };
    name.map(|name| name.trim_matches('"'))
}

/// The versions in `VALUES ('…'), ('…')`, by their numbers.
fn versions_in(tokens: &[&str]) -> Vec<(u128, String)> {
    let quoted = tokens.iter().filter_map(|token| token.strip_prefix('\'')?.strip_suffix('\''));
    quoted.map(|version| (number(version), version.to_owned())).collect()
}

/// A body may name what is made behind it.
fn text_with(statements: &[Statement]) -> String {
    let is_routine =
        |one: &&Statement| one.tokens().get(..2).is_some_and(|words| words.iter().any(|word| is_routine(word)));
    let mut text = String::new();
    if statements.iter().any(|one| is_routine(&one)) {
        text.push_str("SET LOCAL check_function_bodies = false;\n\n");
    }
    statements.iter().for_each(|one| text.push_str(&format!("{};\n\n", one.text)));
    text
}

fn is_routine(word: &str) -> bool {
    word.eq_ignore_ascii_case("function") || word.eq_ignore_ascii_case("procedure")
}
