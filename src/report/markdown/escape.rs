//! Text of the database within Markdown, where it must not become markup.

use super::super::shown;

/// Text on one line, with every sign of markup escaped. A zero-width space behind `@` and `#` keeps them from linking.
pub(super) fn prose(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in one_line(text).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '@' | '#' => {
                escaped.push(character);
                escaped.push_str("&#8203;");
            }
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' => {
                escaped.push('\\');
                escaped.push(character);
            }
            _ => escaped.push(character),
        }
    }
    escaped
}

/// A code span that no back-quote within it can end.
pub(super) fn code(text: &str) -> String {
    let text = one_line(text);
    let fence = "`".repeat(longest_run(&text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') || text.is_empty() { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// A code span in a cell of a table, where a bar would end the cell even within the span.
pub(super) fn cell(text: &str) -> String {
    code(text).replace('|', "\\|")
}

/// A block of code that no line within it can end.
pub(super) fn block(language: &str, text: &str) -> String {
    let fence = "`".repeat(longest_run(text).max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}\n", shown(text.trim_end()))
}

fn longest_run(text: &str) -> usize {
    text.split(|character| character != '`').map(str::len).max().unwrap_or_default()
}

/// Line breaks, control characters and turns of the direction of writing as single spaces.
fn one_line(text: &str) -> String {
    let turns = |character| matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let spaced = text.replace(|character: char| character.is_control() || turns(character), " ");
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_and_a_block_outlast_what_is_in_them() {
        assert_eq!(code("a"), "`a`");
        assert_eq!(code("`a``b"), "``` `a``b ```");
        assert_eq!(block("", "a\n```\nb"), "````\na\n```\nb\n````\n");
        assert_eq!(cell("a|b"), "`a\\|b`");
        assert_eq!(prose("a_b|<c>\n@d"), "a\\_b\\|&lt;c&gt; @&#8203;d");
    }
}
