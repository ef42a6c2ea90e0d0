//! Cutting SQL text into statements, as PostgreSQL's own `psql` does it: by tokens, never by a bare `;`.

use squawk_lexer::TokenKind;

use super::lexer::{Lexeme, lexemes};

/// One SQL statement of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// From its first to its last token: no comment before it or behind it, no closing `;`.
    pub text: String,
    /// The line of its first token in the file, 1-based.
    pub line: u32,
}

impl Statement {
    /// The line in the file of a position that PostgreSQL reports within this statement.
    ///
    /// `position` counts characters from 1, as the error field `P` does
    /// (PostgreSQL's documentation, "Error and Notice Message Fields"). One behind the end gives the last line.
    pub fn line_of_offset(&self, position: u32) -> u32 {
        let before = (position as usize).saturating_sub(1);
        self.line + self.text.chars().take(before).filter(|c| *c == '\n').count() as u32
    }

    /// Its tokens, without white space and comments.
    pub fn tokens(&self) -> Vec<&str> {
        lexemes(&self.text, self.line).filter(|lexeme| !lexeme.is_trivia()).map(|lexeme| lexeme.text).collect()
    }

    /// The words of the transaction command that this statement is, if it is one.
    pub(super) fn transaction_control(&self) -> Option<String> {
        let mut words = self.words();
        let first = words.next()?;
        let second = words.next();
        let control = match first.as_str() {
            "BEGIN" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" | "SAVEPOINT" | "RELEASE" => true,
            "START" | "PREPARE" => second.as_deref() == Some("TRANSACTION"),
            _ => false,
        };
        let two = matches!(first.as_str(), "START" | "PREPARE") || second.as_deref() == Some("PREPARED");
        control.then(|| if two { format!("{first} {}", second.unwrap_or_default()) } else { first })
    }

    /// Its unquoted words in upper case, up to the first token that is none.
    fn words(&self) -> impl Iterator<Item = String> + '_ {
        lexemes(&self.text, self.line)
            .filter(|lexeme| !lexeme.is_trivia())
            .take_while(|lexeme| lexeme.kind == TokenKind::Ident)
            .map(|lexeme| lexeme.text.to_ascii_uppercase())
    }
}

/// Why SQL text cannot be cut into statements that are sent to a server.
///
/// The text of the error leaves the line to [`SplitError::line`], so that a caller can write `path:line: …`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// A string, quoted identifier or comment is opened and never closed.
    #[error("this {what} is never closed")]
    Unterminated {
        /// Where it is opened.
        line: u32,
        /// What it is.
        what: &'static str,
    },
    /// A backslash outside of quotes: only psql understands it.
    #[error("`{command}` is a command of psql, which is not used to run migrations")]
    PsqlCommand {
        /// Where it stands.
        line: u32,
        /// The command, cut at the first space.
        command: String,
    },
    /// Data would have to follow in the file.
    #[error("COPY FROM STDIN needs data that a migration cannot carry")]
    CopyFromStdin {
        /// The line of the `COPY`.
        line: u32,
    },
}

impl SplitError {
    /// The line in the file, 1-based.
    pub fn line(&self) -> u32 {
        match self {
            SplitError::Unterminated { line, .. }
            | SplitError::PsqlCommand { line, .. }
            | SplitError::CopyFromStdin { line } => *line,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            SplitError::Unterminated { .. } => "close it; a quote within a string is written twice ('it''s')",
            SplitError::PsqlCommand { .. } => "write it as SQL",
            SplitError::CopyFromStdin { .. } => "write INSERT statements",
        }
    }
}

/// Whether an expression stays one when it is put between parentheses: it closes what it opens and nothing else.
pub fn is_one_expression(sql: &str) -> bool {
    let mut open = Vec::new();
    for lexeme in lexemes(sql, 1).filter(|lexeme| !lexeme.is_trivia()) {
        match lexeme.text {
            "(" => open.push(")"),
            "[" => open.push("]"),
            ")" | "]" if open.pop() != Some(lexeme.text) => return false,
            ";" => return false,
            _ if lexeme.unterminated().is_some() => return false,
            _ => {}
        }
    }
    // A block comment that is open would swallow what comes behind.
    open.is_empty() && lexemes(sql, 1).all(|lexeme| lexeme.unterminated().is_none())
}

/// Cuts `sql`, whose first line is line `first_line` of its file, into statements.
///
/// Empty statements vanish. A statement that is wrong SQL passes: PostgreSQL reports it better, at rehearsal.
pub fn split_statements(sql: &str, first_line: u32) -> Result<Vec<Statement>, SplitError> {
    let mut statements = Vec::new();
    let mut current = Current::default();
    for lexeme in lexemes(sql, first_line) {
        if let Some(what) = lexeme.unterminated() {
            return Err(SplitError::Unterminated { line: lexeme.line, what });
        }
        if lexeme.is_trivia() {
            continue;
        }
        if lexeme.text.starts_with('\\') {
            let command = sql[lexeme.offset..].split_whitespace().next().unwrap_or_default().to_owned();
            return Err(SplitError::PsqlCommand { line: lexeme.line, command });
        }
        if lexeme.kind == TokenKind::Semi && current.is_complete() {
            statements.extend(current.finish(sql)?);
            current = Current::default();
        } else {
            current.take(&lexeme);
        }
    }
    statements.extend(current.finish(sql)?);
    Ok(statements)
}

/// The statement being read. The rules for `BEGIN ATOMIC` are those of `psqlscan.l`.
#[derive(Default)]
struct Current {
    /// Start, end and line, once there is a token.
    span: Option<(usize, usize, u32)>,
    /// The first unquoted words, in lower case: they tell whether this is a `CREATE FUNCTION`, or a `COPY`.
    leading: Vec<String>,
    parentheses: u32,
    /// `BEGIN ATOMIC` and the `CASE`s within it that wait for their `END`.
    blocks: u32,
    /// The token before, in lower case.
    previous: String,
    copies_from_stdin: bool,
}

impl Current {
    fn is_complete(&self) -> bool {
        self.parentheses == 0 && self.blocks == 0
    }

    fn take(&mut self, lexeme: &Lexeme<'_>) {
        let (start, line) = self.span.map_or((lexeme.offset, lexeme.line), |(start, _, line)| (start, line));
        self.span = Some((start, lexeme.end(), line));
        match lexeme.kind {
            TokenKind::OpenParen => self.parentheses += 1,
            TokenKind::CloseParen => self.parentheses = self.parentheses.saturating_sub(1),
            _ => {}
        }
        // Only the length of a word is bounded; the text of a string is not worth a copy.
        let word = if lexeme.kind == TokenKind::Ident { lexeme.text.to_ascii_lowercase() } else { String::new() };
        if lexeme.kind == TokenKind::Ident {
            self.take_word(&word);
        }
        self.previous = if lexeme.kind == TokenKind::Dot { ".".to_owned() } else { word };
    }

    fn take_word(&mut self, word: &str) {
        if self.leading.len() < 4 {
            self.leading.push(word.to_owned());
        }
        if self.parentheses > 0 {
            return;
        }
        if word == "stdin" && self.previous == "from" && self.leading[0] == "copy" {
            self.copies_from_stdin = true;
        }
        // After AS or a dot these words are names, reserved or not.
        let is_name = matches!(self.previous.as_str(), "as" | ".");
        match word {
            "atomic" if self.previous == "begin" && self.creates_routine() => self.blocks += 1,
            "case" if self.blocks > 0 && !is_name => self.blocks += 1,
            "end" if self.blocks > 0 && !is_name => self.blocks -= 1,
            _ => {}
        }
    }

    fn creates_routine(&self) -> bool {
        let words: Vec<&str> = self.leading.iter().map(String::as_str).collect();
        matches!(words.as_slice(), ["create", "function" | "procedure", ..])
            || matches!(words.as_slice(), ["create", "or", "replace", "function" | "procedure"])
    }

    fn finish(self, sql: &str) -> Result<Option<Statement>, SplitError> {
        let Some((start, end, line)) = self.span else { return Ok(None) };
        if self.copies_from_stdin {
            return Err(SplitError::CopyFromStdin { line });
        }
        Ok(Some(Statement { text: sql[start..end].to_owned(), line }))
    }
}

#[cfg(test)]
#[path = "splitter_tests.rs"]
mod tests;
