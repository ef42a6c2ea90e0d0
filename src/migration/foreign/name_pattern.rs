//! Names of golang-migrate's files: its own layout, dialects within it, and patterns for names that deviate.

use std::str::FromStr;

use super::numbered_name;

/// What a name says of its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FileName {
    pub(super) digits: String,
    pub(super) words: String,
    pub(super) is_down: bool,
    /// The database that it is for; none: ours.
    pub(super) other: Option<String>,
}

/// How a name spells PostgreSQL.
pub(super) const OURS: [&str; 6] = ["postgres", "postgresql", "pgsql", "pg", "pgx", "pgx5"];
/// The other databases that golang-migrate knows, as names spell them.
const OTHERS: [&str; 14] = [
    "mysql",
    "mariadb",
    "sqlite",
    "sqlite3",
    "sqlserver",
    "mssql",
    "oracle",
    "cockroachdb",
    "clickhouse",
    "cassandra",
    "spanner",
    "firebird",
    "redshift",
    "snowflake",
];

/// golang-migrate's own layout: `VERSION_NAME.up.EXTENSION`, where a dialect may stand before or behind the direction.
pub(super) fn golang_name(name: &str) -> Option<FileName> {
    let at = |word: &str| name.rfind(word).map(|at| (at, at + word.len()));
    let (up, down) = (at(".up."), at(".down."));
    let is_down = down > up;
    let (start, end) = if is_down { down? } else { up? };
    let (stem, extension) = (&name[..start], &name[end..]);
    let (stem, before) = match stem.rsplit_once('.') {
        Some((stem, last)) if OURS.contains(&last) || OTHERS.contains(&last) => (stem, Some(last)),
        _ => (stem, None),
    };
    let mut other = None;
    for part in extension.split('.').filter(|part| *part != "sql").chain(before) {
        match OTHERS.contains(&part) {
            true => other = Some(part.to_owned()),
            false if OURS.contains(&part) => {}
            false => return None,
        }
    }
    let (digits, words) = numbered_name(stem);
    (!digits.is_empty()).then_some(FileName { digits, words, is_down, other })
}

/// A pattern such as `V{version}-{name}.{direction}.sql`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Version,
    Name,
    Direction,
}

impl FromStr for NamePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('/') {
            return Err("it is for names without a directory".to_owned());
        }
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, behind)) = rest.split_once('{') {
            let (word, behind) = behind.split_once('}').ok_or("this { is never closed")?;
            let part = match word {
                "version" => Part::Version,
                "name" => Part::Name,
                "direction" => Part::Direction,
                _ => return Err(format!("{{{word}}} is none of {{version}}, {{name}} and {{direction}}")),
            };
            if parts.contains(&part) {
                return Err(format!("{{{word}}} is in it twice"));
            }
            parts.extend([Part::Text(before.to_owned()), part]);
            rest = behind;
        }
        parts.push(Part::Text(rest.to_owned()));
        match parts.contains(&Part::Version) {
            true => Ok(Self(parts)),
            false => Err("there is no {version} in it".to_owned()),
        }
    }
}

impl NamePattern {
    /// What a name says, if it is as the pattern.
    pub(super) fn read(&self, name: &str) -> Option<FileName> {
        let mut found = FileName::default();
        fits(&self.0, name, &mut found).then_some(found)
    }
}

fn fits(parts: &[Part], rest: &str, found: &mut FileName) -> bool {
    let Some((part, parts)) = parts.split_first() else { return rest.is_empty() };
    match part {
        Part::Text(text) => rest.strip_prefix(text.as_str()).is_some_and(|rest| fits(parts, rest, found)),
        Part::Version => {
            found.digits = rest.chars().take_while(char::is_ascii_digit).collect();
            !found.digits.is_empty() && fits(parts, &rest[found.digits.len()..], found)
        }
        Part::Direction => ["up", "down"].into_iter().any(|word| {
            found.is_down = word == "down";
            let start = rest.get(..word.len()).filter(|start| start.eq_ignore_ascii_case(word));
            start.is_some() && fits(parts, &rest[word.len()..], found)
        }),
        Part::Name => (0..=rest.len()).filter(|end| rest.is_char_boundary(*end)).any(|end| {
            rest[..end].clone_into(&mut found.words);
            // What stands behind it is read anew for each end.
            fits(parts, &rest[end..], found)
        }),
    }
}
