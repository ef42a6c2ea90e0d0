use proptest::prelude::*;

use super::*;
use crate::migration::Statement;

/// Code, message and lines down of each loss.
fn losses(text: &str) -> Vec<(&'static str, String, u32)> {
    let statement = Statement { text: text.to_owned(), line: 1 };
    let found = super::losses(&Parsed::new(&statement));
    found.into_iter().map(|loss| (loss.code, loss.hit.message, loss.hit.lines_down)).collect()
}

fn codes(statement: &str) -> Vec<&'static str> {
    losses(statement).into_iter().map(|loss| loss.0).collect()
}

#[test]
fn each_code_has_a_statement_that_loses_and_one_that_does_not() {
    for (code, bad, good) in [
        ("drop-table", "DROP TABLE IF EXISTS a CASCADE", "DROP INDEX a"),
        ("drop-schema", "DROP SCHEMA a", "DROP VIEW a"),
        ("drop-column", "ALTER TABLE a DROP b", "ALTER TABLE a DROP CONSTRAINT b"),
        ("drop-column", "ALTER TABLE IF EXISTS a DROP COLUMN IF EXISTS b", "ALTER TABLE a ALTER b DROP NOT NULL"),
        ("truncate", "TRUNCATE a, b", "SELECT 'TRUNCATE a'"),
        ("delete-without-where", "DELETE FROM a", "DELETE FROM a WHERE id = 1"),
        ("delete-without-where", "DELETE FROM a USING b", "DELETE FROM a WHERE CURRENT OF c"),
        ("delete-without-where", "WITH x AS (DELETE FROM a RETURNING *) SELECT * FROM x", "SELECT 1"),
        ("update-without-where", "UPDATE a SET b = 1", "UPDATE a SET b = 1 WHERE b = 2"),
        ("update-without-where", "UPDATE a SET b = (SELECT 1 WHERE true)", "SELECT 1 FROM a FOR UPDATE"),
    ] {
        assert_eq!(codes(bad), [code], "{bad}");
        assert!(codes(good).is_empty(), "{good}");
    }
}

#[test]
fn each_column_is_a_finding_and_messages_name_what_is_lost() {
    let losses = losses("ALTER TABLE a\nDROP COLUMN b,\nDROP COLUMN \"C d\"");
    let found: Vec<_> = losses.iter().map(|loss| (loss.1.as_str(), loss.2)).collect();
    assert_eq!(found, [("drops the column b with its values", 1), ("drops the column \"C d\" with its values", 2)]);
    assert_eq!(self::losses("DROP TABLE x.a, b")[0].1, "drops the table x.a, b with all its rows");
    assert_eq!(self::losses("DELETE FROM ONLY x.a")[0].1, "DELETE without WHERE removes all rows of ONLY x.a");
}

#[test]
fn what_is_only_defined_loses_nothing() {
    for statement in [
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql BEGIN ATOMIC DELETE FROM a; END",
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'DELETE FROM a'",
        "CREATE RULE r AS ON DELETE TO a DO INSTEAD DELETE FROM b",
        "PREPARE p AS DELETE FROM a",
        "INSERT INTO a VALUES (1) ON CONFLICT (id) DO UPDATE SET b = 1",
    ] {
        assert!(codes(statement).is_empty(), "{statement}");
    }
}

#[test]
fn wrong_sql_does_not_stop_it() {
    for statement in ["", ")", "DROP", "DROP TABLE", "ALTER TABLE a DROP", "UPDATE", "DELETE FROM", "é $1 ; ;"] {
        losses(statement);
    }
    assert_eq!(codes("DROP TABLE a b c"), ["drop-table"]);
}

proptest! {
    #[test]
    fn any_soup_of_words_is_read_to_its_end(words in prop::collection::vec(
        prop::sample::select(vec![
            "DROP", "TABLE", "ALTER", "COLUMN", "DELETE", "FROM", "UPDATE", "SET", "WHERE", "(", ")", ",", ";", ".",
            "a", "\"b\"", "'c'", "$$d$$", "1", "=", "AS", "WITH", "SELECT", "CREATE", "FUNCTION", "BEGIN", "ATOMIC",
            "END", "CASE", "TRUNCATE", "[", "]", "::", "E'\\''", "--x\n", "/*y*/", "é", "\\", "$1",
        ]), 0..25,
    )) {
        // Wrong SQL is PostgreSQL's to report; a finding must still lie within the statement.
        let statement = words.join(" ");
        let lines = statement.matches('\n').count() as u32;
        prop_assert!(losses(&statement).iter().all(|loss| loss.2 <= lines));
    }
}
