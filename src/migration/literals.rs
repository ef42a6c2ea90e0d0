//! Statements without the values that a program wrote into them.

use squawk_lexer::TokenKind;

use super::lexer::lexemes;

/// The text with `…` for each string and number, on one line: what it says of the schema, and nothing of a row.
pub fn without_literals(sql: &str) -> String {
    let mut text = String::new();
    for lexeme in lexemes(sql, 1) {
        match lexeme.kind {
            TokenKind::Literal { .. } => text.push('…'),
            _ if lexeme.is_trivia() => text.push(' '),
            _ => text.push_str(lexeme.text),
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_stays() {
        let sql = "INSERT INTO \"user\" (name, n)\nVALUES ('O''Hara', 12.5), (E'\\'x', -1), ($$y$$, $1) -- ann";
        assert_eq!(without_literals(sql), "INSERT INTO \"user\" (name, n) VALUES (…, …), (…, -…), (…, $1)");
    }
}
