//! Text that others wrote, such as names and server messages, as it is shown: it moves no cursor, turns no direction and
//! begins no line of ours.

/// Characters that act on a terminal or hide others are shown as `\u{1b}`; line breaks and tabs stay.
pub fn shown(text: &str) -> String {
    if !text.contains(acts) {
        return text.to_owned();
    }
    let mut all = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(one) = characters.next() {
        // The line end of a file from Windows.
        let ends_line = one == '\r' && characters.peek() == Some(&'\n');
        if acts(one) && !ends_line { all.extend(one.escape_unicode()) } else { all.push(one) }
    }
    all
}

/// The same, in one line.
pub fn shown_in_one_line(text: &str) -> String {
    shown(text).replace('\n', "\\n")
}

/// The same, and no line but the first begins at the margin: there stand the labels that are ours.
pub fn shown_behind_a_label(text: &str) -> String {
    let mut lines = text.trim_end().lines();
    let mut all = shown(lines.next().unwrap_or_default());
    for line in lines {
        all.push('\n');
        if !line.starts_with("  ") {
            all.push_str("  ");
        }
        all.push_str(&shown(line));
    }
    all
}

/// Controls, and what turns the direction of text or is not seen.
fn acts(one: char) -> bool {
    let is_control = one.is_control() && one != '\n' && one != '\t';
    let turns = matches!(one, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks = matches!(one, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{200b}');
    is_control || turns || breaks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_shown() {
        assert_eq!(shown("plain é 日本\n\ttext"), "plain é 日本\n\ttext");
        assert_eq!(shown("a\r\nb"), "a\r\nb");
        assert_eq!(shown("a\x1b[2Jb\u{9b}1m\r\u{7f}"), "a\\u{1b}[2Jb\\u{9b}1m\\u{d}\\u{7f}");
        assert_eq!(shown("abc\u{202e}cba\u{2066}"), "abc\\u{202e}cba\\u{2066}");
        assert_eq!(shown_in_one_line("a\n::error::b"), "a\\n::error::b");
    }

    #[test]
    fn no_line_of_theirs_begins_at_the_margin() {
        let said = shown_behind_a_label("refused\nproduction: unchanged\r\n  DETAIL: x\n");
        assert_eq!(said, "refused\n  production: unchanged\n  DETAIL: x");
    }

    proptest::proptest! {
        #[test]
        fn nothing_acts_in_what_is_shown(text: String) {
            proptest::prop_assert!(!shown(&text).replace("\r\n", "").contains(acts));
            proptest::prop_assert!(shown_behind_a_label(&text).lines().skip(1).all(|line| line.starts_with("  ")));
        }
    }
}
