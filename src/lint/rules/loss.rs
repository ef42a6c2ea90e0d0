//! Statements that lose data by themselves.

use squawk_syntax::ast::{self, AstNode};

use super::super::level::Level;
use super::super::parsed::{Parsed, last_name, list};
use super::rewrites::words_of;
use super::{Check, Hit, Rule, Subject};

const KEPT: &str = "keep a copy that the way back needs; if the data may go, say so with `-- allow: CODE why`";

const fn loss(code: &'static str, title: &'static str, bad: &'static str, good: &'static str) -> Rule {
    Rule { code, title, remedy: KEPT, bad, good, level: Level::Deny, subject: Subject::Loss, check: Check::Loss }
}

pub(super) const RULES: &[Rule] = &[
    loss(
        "drop-table",
        "a table is dropped with all its rows",
        "DROP TABLE dish;",
        "ALTER TABLE dish SET SCHEMA attic;",
    ),
    loss("drop-schema", "a schema is dropped", "DROP SCHEMA kitchen CASCADE;", "DROP VIEW kitchen.dishes;"),
    loss(
        "drop-owned",
        "all that a role owns in the database is dropped, tables with their rows among it",
        "DROP OWNED BY cook;",
        "REASSIGN OWNED BY cook TO chef;",
    ),
    loss(
        "drop-column",
        "a column is dropped with its values",
        "ALTER TABLE dish DROP COLUMN fax;",
        "ALTER TABLE dish ALTER COLUMN fax DROP NOT NULL;",
    ),
    loss("truncate", "all rows are removed", "TRUNCATE dish;", "DELETE FROM dish WHERE retired < '2020-01-01';"),
    loss(
        "delete-without-where",
        "all rows are removed",
        "DELETE FROM dish;",
        "DELETE FROM dish WHERE retired < '2020-01-01';",
    ),
    Rule {
        code: "update-without-where",
        title: "values are overwritten in all rows",
        remedy: "name the rows with WHERE, and keep the old values in a column when the way back needs them",
        bad: "UPDATE dish SET price = price * 2;",
        good: "UPDATE dish SET price = price * 2 WHERE currency = 'RWF';",
        level: Level::Warn,
        subject: Subject::Loss,
        check: Check::Loss,
    },
];

/// One loss within a statement.
#[derive(Debug)]
pub(in super::super) struct Loss {
    pub code: &'static str,
    pub hit: Hit,
}

/// The losses of one statement, in the order of its text.
pub(in super::super) fn losses(parsed: &Parsed<'_>) -> Vec<Loss> {
    let mut losses = Vec::new();
    let mut found = |code, node: &squawk_syntax::SyntaxNode, objects: Vec<String>, message| {
        losses.push(Loss { code, hit: Hit { message, lines_down: parsed.lines_to(node), objects } });
    };
    for drop in parsed.nodes::<ast::DropTable>() {
        let objects = drop.table_name_refs().filter_map(|name| last_name(name.syntax())).collect();
        let message = format!("drops the table {} with all its rows", list(drop.table_name_refs()));
        found("drop-table", drop.syntax(), objects, message);
    }
    for drop in parsed.nodes::<ast::DropSchema>() {
        let objects = drop.schema_refs().filter_map(|name| last_name(name.syntax())).collect();
        found("drop-schema", drop.syntax(), objects, format!("drops the schema {}", list(drop.schema_refs())));
    }
    if words_of(&parsed.root).starts_with(&["DROP".to_owned(), "OWNED".to_owned()]) {
        found("drop-owned", &parsed.root, Vec::new(), "drops all that a role owns in this database".to_owned());
    }
    for drop in parsed.nodes::<ast::DropColumn>() {
        let table = parsed.altered_table().map(|(_, table)| table).unwrap_or_default();
        let column = drop.column_name_ref().and_then(|name| last_name(name.syntax())).unwrap_or_default();
        let message = format!("drops the column {} with its values", list(drop.column_name_ref()));
        found("drop-column", drop.syntax(), vec![format!("{table}.{column}")], message);
    }
    for truncate in parsed.nodes::<ast::Truncate>() {
        let tables = truncate.table_list();
        let names = tables.iter().flat_map(|list| list.syntax().children()).filter_map(|node| last_name(&node));
        let message = format!("removes all rows of {}", list(truncate.table_list()));
        found("truncate", truncate.syntax(), names.collect(), message);
    }
    for delete in parsed.nodes::<ast::Delete>().filter(|delete| delete.where_clause_or_current_of().is_none()) {
        let objects = delete.relation_name().and_then(|name| last_name(name.syntax())).into_iter().collect();
        let message = format!("DELETE without WHERE removes all rows of {}", list(delete.relation_name()));
        found("delete-without-where", delete.syntax(), objects, message);
    }
    for update in parsed.nodes::<ast::Update>().filter(|update| update.where_clause_or_current_of().is_none()) {
        let objects = update.relation_name().and_then(|name| last_name(name.syntax())).into_iter().collect();
        let message = format!("UPDATE without WHERE overwrites values in all rows of {}", list(update.relation_name()));
        found("update-without-where", update.syntax(), objects, message);
    }
    losses
}

#[cfg(test)]
#[path = "loss_tests.rs"]
mod tests;
