//! The words of the server without values of production's rows.

/// Classes of SQLSTATE whose message itself may hold a value: data exceptions, RAISE, external routines, internal errors.
const CLASSES_WITH_VALUES: [&str; 5] = ["22", "38", "39", "P0", "XX"];

/// What stands in the place of the server's DETAIL.
const LEFT_OUT: &str = "(DETAIL left out, because it may hold values of rows; --samples keeps it)";

/// An error as [`DatabaseError`](crate::postgres::DatabaseError) prints it, without what may hold values of rows.
///
/// `DETAIL` prints the key that is not unique, or the row that breaks a constraint. A cast that fails prints the value
/// in the message itself. Text that is no such error stays as it is.
pub(super) fn without_values(text: &str) -> String {
    let mut kept = match text.split_once("\nDETAIL: ") {
        Some((before, rest)) => {
            let hint = rest.rfind("\nHINT: ").map_or("", |at| &rest[at..]);
            format!("{before}\n{LEFT_OUT}{hint}")
        }
        None => text.to_owned(),
    };
    if let Some((class, state_at)) = sqlstate_class(&kept)
        && CLASSES_WITH_VALUES.contains(&class.as_str())
        && let Some(words_at) = kept[..state_at].find("ERROR: ").map(|at| at + "ERROR: ".len())
    {
        kept.replace_range(
            words_at..state_at,
            "(words left out, because they may hold a value of a row; --samples keeps them)",
        );
    }
    kept
}

/// The class in ` (SQLSTATE 22P02)`, and where that begins.
fn sqlstate_class(text: &str) -> Option<(String, usize)> {
    let at = text.rfind(" (SQLSTATE ")?;
    let class = text.get(at + " (SQLSTATE ".len()..)?.get(..2)?;
    Some((class.to_owned(), at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_detail_goes_and_the_hint_stays() {
        let text = "m.sql:2: ERROR: could not create unique index \"i\" (SQLSTATE 23505)\nDETAIL: Key (a)=(880)\nis duplicated.";
        let kept = "m.sql:2: ERROR: could not create unique index \"i\" (SQLSTATE 23505)";
        assert_eq!(without_values(text), format!("{kept}\n{LEFT_OUT}"));
        let with_hint = format!("{text}\nHINT: Remove it.");
        assert_eq!(without_values(&with_hint), format!("{kept}\n{LEFT_OUT}\nHINT: Remove it."));
    }

    #[test]
    fn a_message_that_may_hold_a_value_is_left_out() {
        let text = "m.sql:2: ERROR: invalid input syntax for type integer: \"0788 secret\" (SQLSTATE 22P02)";
        let kept = without_values(text);
        assert!(kept.starts_with("m.sql:2: ERROR: (words left out") && kept.ends_with("(SQLSTATE 22P02)"), "{kept}");
        assert!(!kept.contains("secret"));
    }

    #[test]
    fn other_text_stays() {
        for text in ["", "menu/0003 has no down section", "m.sql:1: ERROR: syntax error at \"x\" (SQLSTATE 42601)"] {
            assert_eq!(without_values(text), text);
        }
    }
}
