//! Statements that lose data by themselves.

use squawk_syntax::ast::{self, AstNode};
use squawk_syntax::{SourceFile, SyntaxKind, SyntaxNode};

/// One loss within a statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Loss {
    pub code: &'static str,
    pub message: String,
    /// Lines from the statement's first line to the words that lose something.
    pub lines_down: u32,
}

/// The losses of one statement, in the order of its text.
pub(super) fn losses(statement: &str) -> Vec<Loss> {
    let root = SourceFile::parse(statement).syntax_node();
    let nodes = root.descendants().filter(|node| !runs_later(node));
    nodes
        .filter_map(|node| {
            let (code, message) = loss_of(&node)?;
            Some(Loss { code, message, lines_down: lines_before(&node, statement) })
        })
        .collect()
}

/// Whether the node belongs to something that this statement defines and does not run.
fn runs_later(node: &SyntaxNode) -> bool {
    node.ancestors().any(|ancestor| {
        matches!(
            ancestor.kind(),
            SyntaxKind::CREATE_FUNCTION | SyntaxKind::CREATE_PROCEDURE | SyntaxKind::CREATE_RULE | SyntaxKind::PREPARE
        )
    })
}

fn loss_of(node: &SyntaxNode) -> Option<(&'static str, String)> {
    if let Some(drop) = ast::DropTable::cast(node.clone()) {
        return Some(("drop-table", format!("drops the table {} with all its rows", list(drop.table_name_refs()))));
    }
    if let Some(drop) = ast::DropSchema::cast(node.clone()) {
        return Some(("drop-schema", format!("drops the schema {}", list(drop.schema_refs()))));
    }
    if let Some(drop) = ast::DropColumn::cast(node.clone()) {
        return Some(("drop-column", format!("drops the column {} with its values", list(drop.column_name_ref()))));
    }
    if let Some(truncate) = ast::Truncate::cast(node.clone()) {
        return Some(("truncate", format!("removes all rows of {}", list(truncate.table_list()))));
    }
    if let Some(delete) = ast::Delete::cast(node.clone()) {
        let all = delete.where_clause_or_current_of().is_none();
        let message = || format!("DELETE without WHERE removes all rows of {}", list(delete.relation_name()));
        return all.then(|| ("delete-without-where", message()));
    }
    let update = ast::Update::cast(node.clone())?;
    let all = update.where_clause_or_current_of().is_none();
    let message = || format!("UPDATE without WHERE overwrites values in all rows of {}", list(update.relation_name()));
    all.then(|| ("update-without-where", message()))
}

/// The texts of some nodes, with white space made single spaces.
fn list<N: AstNode>(nodes: impl IntoIterator<Item = N>) -> String {
    let text = |node: N| node.syntax().text().to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    nodes.into_iter().map(text).collect::<Vec<_>>().join(", ")
}

fn lines_before(node: &SyntaxNode, statement: &str) -> u32 {
    let is_trivia = |kind| matches!(kind, SyntaxKind::WHITESPACE | SyntaxKind::COMMENT);
    let mut tokens = node.descendants_with_tokens().filter_map(|element| element.into_token());
    let first = tokens.find(|token| !is_trivia(token.kind()));
    let offset = first.map_or(0, |token| usize::from(token.text_range().start()));
    statement.bytes().take(offset).filter(|byte| *byte == b'\n').count() as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn codes(statement: &str) -> Vec<&'static str> {
        losses(statement).into_iter().map(|loss| loss.code).collect()
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
        let found: Vec<_> = losses.iter().map(|loss| (loss.message.as_str(), loss.lines_down)).collect();
        assert_eq!(found, [("drops the column b with its values", 1), ("drops the column \"C d\" with its values", 2)]);
        assert_eq!(super::losses("DROP TABLE x.a, b")[0].message, "drops the table x.a, b with all its rows");
        assert_eq!(
            super::losses("DELETE FROM ONLY x.a")[0].message,
            "DELETE without WHERE removes all rows of ONLY x.a"
        );
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
            prop_assert!(losses(&statement).iter().all(|loss| loss.lines_down <= lines));
        }
    }
}
