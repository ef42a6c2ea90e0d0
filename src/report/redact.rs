//! Passwords taken out of text (P9): the last line of defence in front of stderr, logs and written files.

/// What stands in the place of a secret.
const MASK: &str = "***";

/// The same text with `***` for the password of every URL and of every `password=` setting in it.
///
/// It would rather hide too much: a URL whose password holds an unescaped `/` or `@` is still masked whole.
pub fn redact(text: &str) -> String {
    if crate::fault::is_off("off.redaction") {
        return text.to_owned();
    }
    let text = replace_userinfo(text, |user| format!("{user}:{MASK}@"));
    replace_in_statements(&replace_settings(&text, |key| format!("{key}={MASK}")))
}

/// Rewrites each `PASSWORD '…'` of a statement.
fn replace_in_statements(text: &str) -> String {
    const WORD: &str = "password";
    let lower = text.to_ascii_lowercase();
    let (mut result, mut from) = (String::with_capacity(text.len()), 0);
    while let Some(found) = lower[from..].find(WORD) {
        let end = from + found + WORD.len();
        result.push_str(&text[from..end]);
        from = end;
        let after = text[end..].trim_start();
        let quoted = after.strip_prefix(['e', 'E']).unwrap_or(after).strip_prefix('\'');
        let Some(quoted) = quoted.filter(|_| text[end..].starts_with(char::is_whitespace)) else { continue };
        // A doubled quote is one of the password.
        let closing = quoted.replace("''", "  ").find('\'').map_or(quoted.len(), |at| at + 1);
        result.push_str(&format!(" '{MASK}'"));
        from = text.len() - quoted.len() + closing;
    }
    result + &text[from..]
}

/// The connection string without its password, and whether it held one. Takes a URL or `keyword=value` text.
pub fn strip_password(conninfo: &str) -> (String, bool) {
    let without = replace_settings(&replace_userinfo(conninfo, |user| format!("{user}@")), |_| String::new());
    if without == conninfo {
        return (without, false);
    }
    // A removed query parameter leaves "?&", "&&" or a dangling end; a removed keyword leaves two spaces.
    let mut tidy = without.replace("?&", "?").replace("&&", "&");
    tidy.truncate(tidy.trim_end_matches(['?', '&']).len());
    if !tidy.contains("://") {
        tidy = tidy.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    (tidy, true)
}

/// Rewrites `user:password@` after each `://`; `with` gets the user and returns what stands before the host.
fn replace_userinfo(text: &str, with: impl Fn(&str) -> String) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        result.push_str(before);
        let word_end = after.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>'));
        let word = &after[..word_end.unwrap_or(after.len())];
        let authority = &word[..word.find(['/', '?', '#']).unwrap_or(word.len())];
        let at = authority.rfind('@').or_else(|| authority.contains(':').then(|| word.rfind('@')).flatten());
        let consumed = match at.and_then(|at| word[..at].find(':').map(|colon| (colon, at))) {
            Some((colon, at)) => {
                result.push_str(&with(&word[..colon]));
                at + 1
            }
            None => 0,
        };
        rest = &after[consumed..];
    }
    result + rest
}

/// Rewrites each `…password = value`, quoted or not; `with` gets the key, and its result replaces key and value.
fn replace_settings(text: &str, with: impl Fn(&str) -> String) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((key, value)) = next_password_setting(rest) {
        result.push_str(&rest[..key.start]);
        result.push_str(&with(&rest[key]));
        rest = &rest[value..];
    }
    result + rest
}

/// The place of the next key that ends in `password` before an equals sign, and where its value ends.
fn next_password_setting(text: &str) -> Option<(std::ops::Range<usize>, usize)> {
    const WORD: &str = "password";
    let lower = text.to_ascii_lowercase();
    let mut from = 0;
    loop {
        let word = from + lower[from..].find(WORD)?;
        let end = word + WORD.len();
        from = end;
        let after = text[end..].trim_start();
        let Some(value) = after.strip_prefix('=').map(str::trim_start).filter(|value| !value.is_empty()) else {
            continue;
        };
        let before = text[..word].char_indices().rev().find(|(_, c)| !c.is_ascii_alphanumeric() && *c != '_');
        let start = before.map_or(0, |(at, c)| at + c.len_utf8());
        let value_start = text.len() - value.len();
        return Some((start..end, value_start + value_length(value)));
    }
}

/// The length of a value as libpq reads it: quoted with `'` and `\` escapes, or up to a blank or `&`.
fn value_length(value: &str) -> usize {
    let Some(quote) = value.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
        return value.find(|c: char| c.is_whitespace() || matches!(c, '&' | '"' | '`')).unwrap_or(value.len());
    };
    let mut escaped = false;
    for (at, c) in value.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_of_a_statement_is_masked() {
        let sql = "ALTER ROLE a PASSWORD 'it''s' VALID UNTIL 'x'; create user b encrypted password E'y'";
        let masked = "ALTER ROLE a PASSWORD '***' VALID UNTIL 'x'; create user b encrypted password '***'";
        assert_eq!(redact(sql), masked);
        assert_eq!(redact("the password 'quoted"), "the password '***'");
        for text in ["password authentication failed for user \"a\"", "no password", "PASSWORD NULL, 'x'"] {
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn every_spelling_of_a_password_is_masked() {
        let cases = [
            ("at postgres://ann:s3cret@db.example/shop!", "at postgres://ann:***@db.example/shop!"),
            ("postgres://ann:a@b@h/shop", "postgres://ann:***@h/shop"),
            ("postgres://ann:a/b@h/shop", "postgres://ann:***@h/shop"),
            ("\"postgres://:x@h\" and postgres://u:y@i", "\"postgres://:***@h\" and postgres://u:***@i"),
            ("host=h password=abc dbname=d", "host=h password=*** dbname=d"),
            ("host=h password = 'a \\'b c' dbname=d", "host=h password=*** dbname=d"),
            ("postgres://u@h/d?sslpassword=abc&x=1", "postgres://u@h/d?sslpassword=***&x=1"),
            ("PGPASSWORD=abc", "PGPASSWORD=***"),
        ];
        for (text, expected) in cases {
            assert_eq!(redact(text), expected);
        }
    }

    #[test]
    fn text_without_a_password_stays_as_it_is() {
        for text in [
            "",
            "é://",
            "file:///srv/store",
            "postgres://ann@db:5432/shop?sslmode=require",
            "use password_command",
            "no password =",
        ] {
            assert_eq!(redact(text), text);
            assert_eq!(strip_password(text), (text.to_string(), false));
        }
    }

    #[test]
    fn stripping_leaves_a_usable_connection_string() {
        let cases = [
            ("postgres://ann:s3cret@db/shop", "postgres://ann@db/shop"),
            ("postgres://ann@db/shop?password=x", "postgres://ann@db/shop"),
            ("postgres://ann@db/shop?password=x&sslmode=require", "postgres://ann@db/shop?sslmode=require"),
            ("postgres://ann@db/shop?a=1&password=x&b=2", "postgres://ann@db/shop?a=1&b=2"),
            ("host=db password='a b' dbname=shop", "host=db dbname=shop"),
        ];
        for (text, expected) in cases {
            assert_eq!(strip_password(text), (expected.to_string(), true));
        }
    }
}
