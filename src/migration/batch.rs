//! Batched sections: the options on the marker line that make one, and the places of `:from` and `:to` in a statement.

use std::fmt;
use std::time::Duration;

use squawk_lexer::TokenKind;

use super::lexer::lexemes;
use super::splitter::Statement;

/// How the statements of a section that hold `:from` and `:to` run: in batches over the values of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Rows of the key's table that one batch covers.
    pub size: u32,
    /// The column whose values are covered.
    pub key: BatchKey,
    /// Rest between two batches.
    pub pause: Duration,
    /// How far behind a standby may be before the next batch waits for it.
    pub max_lag: Option<Duration>,
}

/// A column, with the names as the catalog holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchKey {
    /// Schema; none: the search path decides.
    pub schema: Option<String>,
    /// Table.
    pub table: String,
    /// Column.
    pub column: String,
}

impl fmt::Display for BatchKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}.")?;
        }
        write!(f, "{}.{}", self.table, self.column)
    }
}

/// The options of a marker line, while they are read.
#[derive(Debug, Default)]
pub(super) struct BatchOptions {
    size: Option<u32>,
    key: Option<BatchKey>,
    pause: Option<Duration>,
    max_lag: Option<Duration>,
}

impl BatchOptions {
    /// Takes one option; false when it is none of these.
    pub(super) fn take(&mut self, option: &str) -> Result<bool, String> {
        let Some((name, value)) = option.split_once(':') else { return Ok(false) };
        let twice = match name {
            "batch" => self.size.replace(size(value)?).is_some(),
            "key" => self.key.replace(key(value)?).is_some(),
            "pause" => self.pause.replace(duration(name, value)?).is_some(),
            "max-lag" => self.max_lag.replace(duration(name, value)?).is_some(),
            _ => return Ok(false),
        };
        if twice { Err(format!("`{name}:` is given twice")) } else { Ok(true) }
    }

    /// What they say together.
    pub(super) fn finish(self, transaction: bool) -> Result<Option<Batch>, String> {
        let (size, key) = match (self.size, self.key) {
            (None, None) if self.pause.is_none() && self.max_lag.is_none() => return Ok(None),
            (Some(size), Some(key)) => (size, key),
            (None, _) => {
                return Err("`key:`, `pause:` and `max-lag:` go with `batch:`, such as `batch:10000`".to_owned());
            }
            (_, None) => return Err("`batch:` needs the key to go along, such as `key:menu_item.id`".to_owned()),
        };
        if transaction {
            return Err("`batch:` commits batch by batch, so it needs `transaction:false`".to_owned());
        }
        Ok(Some(Batch { size, key, pause: self.pause.unwrap_or_default(), max_lag: self.max_lag }))
    }
}

fn size(value: &str) -> Result<u32, String> {
    let size = value.parse().ok().filter(|size| (1..=100_000_000).contains(size));
    size.ok_or_else(|| format!("`batch:{value}`: a number of rows from 1 to 100000000 is wanted"))
}

/// `100ms`, `10s`, `2m`.
fn duration(name: &str, value: &str) -> Result<Duration, String> {
    let wrong = || format!("`{name}:{value}`: a time such as 100ms, 10s or 2m is wanted");
    let unit = value.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let amount: u32 = value[..unit].parse().map_err(|_| wrong())?;
    let milliseconds = match &value[unit..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => return Err(wrong()),
    };
    Ok(Duration::from_millis(u64::from(amount) * milliseconds))
}

/// `[schema.]table.column`, each part quoted or folded as PostgreSQL folds it.
fn key(value: &str) -> Result<BatchKey, String> {
    let wrong = || format!("`key:{value}`: [schema.]table.column is wanted");
    let mut parts = Vec::new();
    let mut after_dot = true;
    for lexeme in lexemes(value, 1) {
        match lexeme.kind {
            TokenKind::Ident if after_dot => parts.push(lexeme.text.to_lowercase()),
            TokenKind::QuotedIdent { terminated: true, .. } if after_dot && lexeme.text.starts_with('"') => {
                parts.push(lexeme.text[1..lexeme.text.len() - 1].replace("\"\"", "\""));
            }
            TokenKind::Dot if !after_dot => {}
            _ => return Err(wrong()),
        }
        after_dot = lexeme.kind == TokenKind::Dot;
    }
    let column = parts.pop().filter(|_| !after_dot).ok_or_else(wrong)?;
    let table = parts.pop().ok_or_else(wrong)?;
    let schema = parts.pop();
    if parts.is_empty() { Ok(BatchKey { schema, table, column }) } else { Err(wrong()) }
}

/// Which end of a batch a placeholder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    From,
    To,
}

/// The placeholders of a text with their places: tokens, so never within a string, a quoted name, a dollar-quoted body or
/// a comment; and no cast (`::to`).
fn placeholders(text: &str) -> Vec<(usize, End)> {
    let mut found = Vec::new();
    // How many colons stand directly before, and where the last one is.
    let mut colons = (0, 0);
    for lexeme in lexemes(text, 1) {
        if lexeme.kind == TokenKind::Colon {
            colons = (colons.0 + 1, lexeme.offset);
            continue;
        }
        if lexeme.kind == TokenKind::Ident && colons.0 == 1 {
            match lexeme.text {
                "from" => found.push((colons.1, End::From)),
                "to" => found.push((colons.1, End::To)),
                _ => {}
            }
        }
        colons.0 = 0;
    }
    found
}

fn replaced(text: &str, with: impl Fn(End) -> String) -> String {
    let (mut result, mut at) = (String::with_capacity(text.len()), 0);
    for (place, end) in placeholders(text) {
        result.push_str(&text[at..place]);
        result.push_str(&with(end));
        at = place + if end == End::From { ":from".len() } else { ":to".len() };
    }
    result.push_str(&text[at..]);
    result
}

/// The text with a number in the place of each placeholder, as long as before: for parsers, which know none.
pub fn without_placeholders(text: &str) -> String {
    replaced(text, |end| if end == End::From { "  (0)" } else { "(0)" }.to_owned())
}

impl Statement {
    /// Whether it holds both `:from` and `:to`, so that it runs once for each batch of its section.
    pub fn is_batched(&self) -> bool {
        let found = placeholders(&self.text);
        [End::From, End::To].iter().all(|end| found.iter().any(|(_, found)| found == end))
    }

    /// The statement for one batch; both ends are SQL text.
    pub fn for_batch(&self, from: &str, to: &str) -> Statement {
        let text = replaced(&self.text, |end| if end == End::From { from } else { to }.to_owned());
        Statement { text, line: self.line }
    }
}

/// What is wrong with the placeholders of a section, and on which line.
pub(super) fn check(batch: Option<&Batch>, marker: u32, statements: &[Statement]) -> Result<(), (u32, String)> {
    for statement in statements.iter().filter(|statement| !placeholders(&statement.text).is_empty()) {
        if batch.is_none() {
            let reason = "`:from` and `:to` belong to a section with `transaction:false batch:N key:TABLE.COLUMN`";
            return Err((statement.line, reason.to_owned()));
        }
        if !statement.is_batched() {
            let reason = "a statement that runs in batches needs both, such as `WHERE id > :from AND id <= :to`";
            return Err((statement.line, reason.to_owned()));
        }
    }
    if batch.is_some() && !statements.iter().any(Statement::is_batched) {
        let reason = "`batch:`, and no statement of the section holds `:from` and `:to`";
        return Err((marker, reason.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(text: &str) -> Statement {
        Statement { text: text.to_owned(), line: 1 }
    }

    #[test]
    fn placeholders_are_tokens() {
        for (text, expected) in [
            ("UPDATE t SET a = 1 WHERE id > :from AND id<=:to", "UPDATE t SET a = 1 WHERE id > F AND id<=T"),
            (
                "SELECT ':from', $$:to$$, \":from\" /* :to */ -- :from",
                "SELECT ':from', $$:to$$, \":from\" /* :to */ -- :from",
            ),
            (
                "SELECT a::from, :to::int, b:=:from, E'\\':to', :from_, :too",
                "SELECT a::from, T::int, b:=F, E'\\':to', :from_, :too",
            ),
            ("SELECT (:from+1), x[:to]", "SELECT (F+1), x[T]"),
            ("SELECT 'é', :to", "SELECT 'é', T"),
            (": from, :\nto", ": from, :\nto"),
        ] {
            assert_eq!(statement(text).for_batch("F", "T").text, expected);
            assert_eq!(without_placeholders(text).len(), text.len());
        }
    }

    #[test]
    fn keys_are_names() {
        let read = |text: &str| key(text).map(|key| (key.schema, key.table, key.column));
        let own = str::to_owned;
        assert_eq!(read("Menu.Id"), Ok((None, own("menu"), own("id"))));
        assert_eq!(read("s.\"My\"\"T\".id"), Ok((Some(own("s")), own("My\"T"), own("id"))));
        for wrong in ["", "id", "a.", ".a", "a..b", "a.b.c.d", "a.b;", "a.'b'", "a b.c", "1.2"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn options_go_together() {
        let read = |line: &str, transaction| {
            let mut options = BatchOptions::default();
            for option in line.split_whitespace() {
                if !options.take(option)? {
                    return Err("unknown".to_owned());
                }
            }
            options.finish(transaction)
        };
        let batch = read("batch:10 key:t.id pause:100ms max-lag:2m", false).unwrap().unwrap();
        assert_eq!((batch.size, batch.pause), (10, Duration::from_millis(100)));
        assert_eq!(batch.max_lag, Some(Duration::from_secs(120)));
        assert_eq!(read("", true), Ok(None));
        for (line, transaction, part) in [
            ("batch:10 key:t.id", true, "transaction:false"),
            ("batch:10", false, "needs the key"),
            ("key:t.id", false, "go with `batch:`"),
            ("pause:1s", false, "go with `batch:`"),
            ("batch:0 key:t.id", false, "from 1 to"),
            ("batch:ten key:t.id", false, "from 1 to"),
            ("batch:1 batch:2 key:t.id", false, "twice"),
            ("batch:1 key:id", false, "table.column"),
            ("batch:1 key:t.id pause:1", false, "100ms"),
            ("batch:1 key:t.id max-lag:1h", false, "100ms"),
        ] {
            let error = read(line, transaction).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
