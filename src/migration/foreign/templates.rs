//! What another program fills in before a server sees it: `{{ x }}`, `{% x %}`, `<%= x %>`, `${X}`.
//!
//! Outside of quotes that is no SQL, and no server could say what it means. Within quotes it is, and runs as it stands.

use std::path::Path;

use squawk_lexer::TokenKind;

use super::super::lexer::{Lexeme, lexemes};
use super::ForeignError;

/// How templates begin and end.
const MARKS: [(&str, &str); 5] = [("{{", "}}"), ("{%", "%}"), ("<%=", "%>"), ("<%-", "%>"), ("${", "}")];
/// Longer ones are no templates.
const LONGEST: usize = 80;

/// Where the tool itself fills in `${X}` within quotes.
pub(super) enum Filled<'a> {
    Nowhere,
    /// `${X}` everywhere (Flyway).
    Everywhere,
    /// `${X}` and `$X` on these lines (goose).
    Lines(&'a dyn Fn(u32) -> bool),
}

impl Filled<'_> {
    fn has(&self, line: u32) -> bool {
        match self {
            Filled::Nowhere => false,
            Filled::Everywhere => true,
            Filled::Lines(is_one) => is_one(line),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Comment,
    Quoted,
    Sql,
}

/// The templates within quotes as `name:line: …`; an error names those that are no SQL.
pub(super) fn placeholders(
    path: &Path,
    name: &str,
    sql: &str,
    filled: &Filled<'_>,
) -> Result<Vec<String>, ForeignError> {
    let (mut named, mut refused) = (Vec::new(), Vec::new());
    for (line, place, text) in templates(sql, filled) {
        match place {
            Place::Quoted => named.push(format!("{name}:{line}: the placeholder {text}")),
            _ => refused.push(format!("line {line}: {text}")),
        }
    }
    if refused.is_empty() {
        return Ok(named);
    }
    Err(ForeignError::Template { path: path.to_owned(), what: refused.join(", ") })
}

fn templates<'a>(sql: &'a str, filled: &Filled<'_>) -> Vec<(u32, Place, &'a str)> {
    let mut found = Vec::new();
    let mut behind = 0;
    for lexeme in lexemes(sql, 1).filter(|lexeme| place(lexeme) != Place::Comment) {
        let place = place(&lexeme);
        let starts = lexeme.text.char_indices().filter(|(_, c)| matches!(c, '{' | '<' | '$'));
        for at in starts.map(|(at, _)| lexeme.offset + at) {
            // A template outside of quotes is several tokens, and may hold quotes.
            if at < behind {
                continue;
            }
            let line = || lexeme.line + sql[lexeme.offset..at].matches('\n').count() as u32;
            if let Some(text) = template(sql, at, place, &|| filled.has(line())) {
                found.push((line(), place, text));
                behind = at + text.len();
            }
        }
    }
    found
}

fn place(lexeme: &Lexeme<'_>) -> Place {
    match lexeme.kind {
        TokenKind::LineComment | TokenKind::BlockComment { .. } => Place::Comment,
        TokenKind::QuotedIdent { .. } => Place::Quoted,
        TokenKind::Literal { .. } if lexeme.text.contains(['\'', '$']) => Place::Quoted,
        _ => Place::Sql,
    }
}

/// The template that begins at an offset, if there is one.
fn template<'a>(sql: &'a str, at: usize, place: Place, is_filled: &dyn Fn() -> bool) -> Option<&'a str> {
    let rest = &sql[at..];
    if let Some(length) = bare_variable(sql, at).filter(|_| is_filled()) {
        return Some(&rest[..length]);
    }
    let (open, close) = MARKS.iter().find(|(open, _)| rest.starts_with(open))?;
    // A line may be long: a dump's row, or a whole page.
    let within = |(_, c): &(usize, char)| *c != '\n';
    let end = rest.char_indices().take_while(within).take(LONGEST).last().map_or(0, |(at, c)| at + c.len_utf8());
    let inside = &rest[open.len()..end];
    let inside = &inside[..inside.find(close)?];
    let is_one = match *open {
        _ if inside.trim().is_empty() => false,
        "${" => place == Place::Sql || is_filled(),
        // Nested arrays of PostgreSQL are written so too.
        "{{" if place == Place::Quoted => {
            let first = inside.trim_start_matches(['-', ' ']).chars().next();
            first.is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '.' | '_' | '$'))
                && !inside.contains(['{', '}', ','])
        }
        "{%" => inside.starts_with([' ', '-']),
        _ => true,
    };
    is_one.then(|| &rest[..open.len() + inside.len() + close.len()])
}

/// The length of a `$NAME`, which is no `$tag$`.
fn bare_variable(sql: &str, at: usize) -> Option<usize> {
    let rest = sql[at..].strip_prefix('$')?;
    let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
    let is_name = rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let within = sql[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$'));
    (is_name && !within && !rest[length..].starts_with('$')).then_some(length + 1)
}
