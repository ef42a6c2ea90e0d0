//! Quoting: the one place that turns a name or a value into SQL text.

use std::fmt;

/// A name as the catalog holds it, never quoted or folded; its `Display` is the quoted form for SQL text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier(String);

impl Identifier {
    /// Takes a name as the catalog holds it.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&quote_identifier(&self.0))
    }
}

impl From<&str> for Identifier {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

/// Quotes a name for SQL text.
///
/// Always with quotes: which words are reserved depends on the server's version, so a bare name is never safe.
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a value for SQL text; for statements that take no parameters, such as `ALTER DATABASE … SET`.
///
/// A backslash makes it an `E''` string, so that the result does not depend on `standard_conforming_strings`
/// (as libpq's `PQescapeLiteral` does).
pub fn quote_literal(value: &str) -> String {
    let doubled = value.replace('\'', "''");
    if doubled.contains('\\') {
        // The space keeps the E apart from a word before it.
        format!(" E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// The quoted name of an object in a schema: `"schema"."name"`.
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", quote_identifier(schema), quote_identifier(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_always_quoted() {
        assert_eq!(quote_identifier("order"), "\"order\"");
        assert_eq!(quote_identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(qualified("My Schema", "t"), "\"My Schema\".\"t\"");
        assert_eq!(Identifier::from("x y").to_string(), "\"x y\"");
    }

    #[test]
    fn literals_escape_quotes_and_backslashes() {
        assert_eq!(quote_literal("it's"), "'it''s'");
        assert_eq!(quote_literal(r"a\b"), r" E'a\\b'");
        assert_eq!(quote_literal(r"\'"), r" E'\\'''");
    }

    /// Reads a quoted text as the server's lexer does; `None` when the quote ends early.
    fn unquote(body: &str, quote: char, backslash: bool) -> Option<String> {
        let mut value = String::new();
        let mut letters = body.chars();
        while let Some(letter) = letters.next() {
            if letter == quote {
                if letters.next() != Some(quote) {
                    return None;
                }
            } else if backslash && letter == '\\' && letters.next() != Some('\\') {
                return None;
            }
            value.push(letter);
        }
        Some(value)
    }

    proptest! {
        #[test]
        fn a_quoted_name_reads_back(name in "\\PC*") {
            let quoted = quote_identifier(&name);
            prop_assert_eq!(unquote(&quoted[1..quoted.len() - 1], '"', false), Some(name));
        }

        #[test]
        fn a_quoted_value_reads_back(value in "[\\PC'\\\\]*") {
            let quoted = quote_literal(&value);
            let escaped = quoted.starts_with(" E'");
            let body = if escaped { &quoted[3..quoted.len() - 1] } else { &quoted[1..quoted.len() - 1] };
            prop_assert_eq!(unquote(body, '\'', escaped), Some(value));
        }
    }
}
