//! The tokens of SQL text, with their places.
//!
//! A thin layer over squawk's lexer, which follows PostgreSQL's `scan.l`: dollar quotes, nested comments, quoted
//! identifiers, `E''` strings. String literals are read as with `standard_conforming_strings = on`.

use squawk_lexer::{LiteralKind, Token, TokenKind, tokenize};

/// One token and where it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lexeme<'a> {
    pub kind: TokenKind,
    pub text: &'a str,
    /// Bytes from the start of the text.
    pub offset: usize,
    /// The line its first character is on.
    pub line: u32,
}

impl Lexeme<'_> {
    /// Whether it is white space or a comment.
    pub fn is_trivia(&self) -> bool {
        matches!(self.kind, TokenKind::Whitespace | TokenKind::LineComment | TokenKind::BlockComment { .. })
    }

    /// The offset just behind it.
    pub fn end(&self) -> usize {
        self.offset + self.text.len()
    }

    /// What was opened and never closed, if this token runs to the end of the text for that reason.
    pub fn unterminated(&self) -> Option<&'static str> {
        match self.kind {
            TokenKind::BlockComment { terminated: false } => Some("comment"),
            TokenKind::QuotedIdent { terminated: false, .. } => Some("quoted identifier"),
            TokenKind::Literal { kind: LiteralKind::DollarQuotedString { terminated: false } } => {
                Some("dollar-quoted string")
            }
            TokenKind::Literal {
                kind:
                    LiteralKind::Str { terminated: false }
                    | LiteralKind::NationalStr { terminated: false }
                    | LiteralKind::ByteStr { terminated: false }
                    | LiteralKind::BitStr { terminated: false }
                    | LiteralKind::UnicodeEscStr { terminated: false }
                    | LiteralKind::EscStr { terminated: false },
            } => Some("string"),
            _ => None,
        }
    }
}

/// Where the lexer stands after an `E''` string.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Continuation {
    No,
    /// Only white space and comments since an `E''` string, no line end yet.
    SameLine,
    /// As before, and a line end was among them: a plain quote here goes on with the `E''` string.
    Possible,
}

/// Iterates over the tokens of a text; see [`lexemes`].
pub(super) struct Lexemes<'a> {
    sql: &'a str,
    tokens: Box<dyn Iterator<Item = Token> + 'a>,
    offset: usize,
    line: u32,
    continuation: Continuation,
}

/// The tokens of `sql`, the first of which is on line `first_line`. Nothing is left out: the texts add up to `sql`.
pub(super) fn lexemes(sql: &str, first_line: u32) -> Lexemes<'_> {
    let tokens = Box::new(tokenize(sql));
    Lexemes { sql, tokens, offset: 0, line: first_line, continuation: Continuation::No }
}

impl<'a> Iterator for Lexemes<'a> {
    type Item = Lexeme<'a>;

    fn next(&mut self) -> Option<Lexeme<'a>> {
        let token = self.tokens.next().filter(|token| token.len > 0)?;
        let (mut kind, mut length) = (token.kind, token.len as usize);
        // `E'a'` <line end> `'b\''` is one string to PostgreSQL, and the escapes go on in its second part.
        let plain = matches!(kind, TokenKind::Literal { kind: LiteralKind::Str { .. } });
        if plain && self.continuation == Continuation::Possible {
            let rest = &self.sql[self.offset..];
            let end = escape_string_end(rest);
            kind = TokenKind::Literal { kind: LiteralKind::EscStr { terminated: end.is_some() } };
            length = end.unwrap_or(rest.len());
            self.tokens = Box::new(tokenize(&self.sql[self.offset + length..]));
        }
        let text = &self.sql[self.offset..self.offset + length];
        let lexeme = Lexeme { kind, text, offset: self.offset, line: self.line };
        self.offset += length;
        self.line += text.bytes().filter(|byte| *byte == b'\n').count() as u32;
        self.continuation = self.continuation_after(&lexeme);
        Some(lexeme)
    }
}

impl Lexemes<'_> {
    fn continuation_after(&self, lexeme: &Lexeme<'_>) -> Continuation {
        match lexeme.kind {
            TokenKind::Literal { kind: LiteralKind::EscStr { terminated: true } } => Continuation::SameLine,
            TokenKind::Whitespace if self.continuation != Continuation::No && lexeme.text.contains(['\n', '\r']) => {
                Continuation::Possible
            }
            TokenKind::Whitespace | TokenKind::LineComment => self.continuation,
            _ => Continuation::No,
        }
    }
}

/// The length of the string that `text` begins with, read with backslash escapes; none if it is never closed.
fn escape_string_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'\\', _) | (b'\'', Some(b'\'')) => at += 2,
            (b'\'', _) => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn significant(sql: &str) -> Vec<&str> {
        lexemes(sql, 1).filter(|lexeme| !lexeme.is_trivia()).map(|lexeme| lexeme.text).collect()
    }

    #[test]
    fn an_escape_string_goes_on_after_a_line_end() {
        assert_eq!(significant("E'a' -- c\n 'b\\';c' ;"), ["E'a'", "'b\\';c'", ";"]);
        assert_eq!(significant("E'a'\n'b'\n'c\\'' ;"), ["E'a'", "'b'", "'c\\''", ";"]);
    }

    #[test]
    fn a_plain_string_has_no_escapes() {
        assert_eq!(significant("'a\\' ; 'b'"), ["'a\\'", ";", "'b'"]);
        assert_eq!(significant("E'a', 'b\\' ;"), ["E'a'", ",", "'b\\'", ";"]);
    }

    #[test]
    fn lines_count_those_inside_tokens() {
        let lines: Vec<(u32, &str)> =
            lexemes("a\n$$\n\n$$ /*\n*/ b", 7).filter(|l| !l.is_trivia()).map(|l| (l.line, l.text)).collect();
        assert_eq!(lines, [(7, "a"), (8, "$$\n\n$$"), (11, "b")]);
    }
}
