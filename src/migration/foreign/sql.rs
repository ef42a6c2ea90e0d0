//! What the text of another tool's file says of its transaction.

use squawk_lexer::TokenKind;

use super::super::lexer::lexemes;
use super::super::splitter::split_statements;

/// The text without a `BEGIN;` at its start and a `COMMIT;` at its end, which ours has by itself.
pub fn without_own_transaction(text: &str) -> String {
    let tokens: Vec<_> = lexemes(text, 1).filter(|token| !token.is_trivia()).collect();
    let word = |at: usize| tokens.get(at).map(|token| token.text.to_lowercase()).unwrap_or_default();
    let first_end = tokens.iter().position(|token| token.kind == TokenKind::Semi);
    let Some(first_end) = first_end.filter(|end| *end <= 2 && matches!(word(0).as_str(), "begin" | "start")) else {
        return text.to_owned();
    };
    let mut last = tokens.len();
    if tokens.last().is_some_and(|token| token.kind == TokenKind::Semi) {
        last -= 1;
    }
    let start = (last.saturating_sub(2)..last).find(|at| {
        matches!(word(*at).as_str(), "commit" | "end")
            && tokens.get(at.wrapping_sub(1)).is_none_or(|one| one.kind == TokenKind::Semi)
    });
    match start {
        Some(start) if start > first_end => {
            let head = &text[..tokens[0].offset];
            let body = &text[tokens[first_end].end()..tokens[start].offset];
            let tail = &text[tokens[tokens.len() - 1].end()..];
            format!("{head}{}{tail}", body.trim_start_matches('\n'))
        }
        _ => text.to_owned(),
    }
}

/// Whether a statement of it cannot run in a transaction.
pub(super) fn needs_no_transaction(text: &str) -> bool {
    let Ok(statements) = split_statements(text, 1) else { return false };
    statements.iter().any(|statement| {
        let words: Vec<String> = lexemes(&statement.text, 1)
            .filter(|token| !token.is_trivia())
            .take(5)
            .map(|token| token.text.to_lowercase())
            .collect();
        let first: Vec<&str> = words.iter().map(String::as_str).collect();
        match first.as_slice() {
            ["vacuum", ..] | ["create" | "drop", "database" | "tablespace", ..] | ["alter", "system", ..] => true,
            ["create" | "drop" | "reindex", rest @ ..] => rest.contains(&"concurrently"),
            _ => false,
        }
    })
}
