//! What fails, or hides that it failed.

use std::collections::BTreeSet;

use squawk_syntax::SyntaxToken;
use squawk_syntax::ast::{self, AstNode};

use super::super::level::Level;
use super::super::parsed::{folded, last_name, list, names_in_parentheses, tokens};
use super::{Check, Hit, Place, Rule, Subject};

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "concurrently-in-transaction",
        title: "CONCURRENTLY fails inside a transaction",
        remedy: "write `-- migrate:up transaction:false` above it",
        bad: "CREATE INDEX CONCURRENTLY dish_name ON dish (name);",
        good: "-- migrate:up transaction:false\nCREATE INDEX CONCURRENTLY dish_name ON dish (name);\n-- migrate:down\nDROP INDEX dish_name;\n",
        level: Level::Deny,
        subject: Subject::Text,
        check: Check::Statement(concurrently_in_transaction),
    },
    Rule {
        code: "enum-value-in-transaction",
        title: "a new value of an enum cannot be used in the transaction that adds it",
        remedy: "use the value in a later migration",
        bad: "ALTER TYPE mood ADD VALUE 'hungry';\nUPDATE guest SET mood = 'hungry' WHERE mood IS NULL;",
        good: "ALTER TYPE mood ADD VALUE 'hungry';",
        level: Level::Deny,
        subject: Subject::Text,
        check: Check::Statement(enum_value_in_transaction),
    },
    Rule {
        code: "if-not-exists",
        title: "IF NOT EXISTS takes whatever has the name for what was to be made, also an invalid index",
        remedy: "leave IF NOT EXISTS out: a migration runs once, and should fail where the name is taken",
        bad: "CREATE TABLE IF NOT EXISTS dish (id bigint PRIMARY KEY);",
        good: "CREATE TABLE dish (id bigint PRIMARY KEY);",
        level: Level::Warn,
        subject: Subject::Text,
        check: Check::Statement(if_not_exists),
    },
    Rule {
        code: "if-exists",
        title: "IF EXISTS hides that what should be there is not",
        remedy: "leave IF EXISTS out: where it is missing, production is not what the migration was written for",
        bad: "DROP VIEW IF EXISTS dishes;",
        good: "DROP VIEW dishes;",
        level: Level::Note,
        subject: Subject::Text,
        check: Check::Statement(if_exists),
    },
    Rule {
        code: "function-without-search-path",
        title: "a function without SET search_path does what the caller's search_path says, and fails in a restore",
        remedy: "SET search_path = pg_catalog, public, pg_temp in its definition",
        bad: "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';",
        good: "CREATE FUNCTION one() RETURNS int LANGUAGE sql SET search_path = pg_catalog, pg_temp AS 'SELECT 1';",
        level: Level::Warn,
        subject: Subject::Text,
        check: Check::Statement(function_without_search_path),
    },
    Rule {
        code: LEDGER_TOUCHED,
        title: "changes the ledger, by which safe-migrate knows what is applied and what a restore is for",
        remedy: "leave schema safe_migrate alone; `safe-migrate apply --fake`, `repair` and `rollback --fake` write it",
        bad: "DELETE FROM safe_migrate.migration WHERE app = 'menu';",
        good: "DELETE FROM menu.migration WHERE app = 'menu';",
        level: Level::Deny,
        subject: Subject::Text,
        check: Check::Statement(ledger_touched),
    },
    Rule {
        code: "foreign-key-without-index",
        title: "each delete of a row that is referred to reads the whole table that refers",
        remedy: "CREATE INDEX CONCURRENTLY on the columns of the key",
        bad: "CREATE TABLE dish (id bigint PRIMARY KEY, menu_id bigint REFERENCES menu (id));",
        good: "CREATE TABLE dish (id bigint PRIMARY KEY, menu_id bigint REFERENCES menu (id));\n\
               CREATE INDEX dish_menu_id ON dish (menu_id);",
        level: Level::Warn,
        subject: Subject::Text,
        check: Check::Statement(foreign_key_without_index),
    },
];

/// The code of the rule that no `allow:` accepts.
pub(in super::super) const LEDGER_TOUCHED: &str = "ledger-touched";

/// What only reads it is nobody's harm.
fn ledger_touched(place: &Place<'_>) -> Vec<Hit> {
    let parsed = place.parsed();
    let mut words = tokens(&parsed.root);
    let reads = |token: &SyntaxToken| ["SELECT", "WITH"].iter().any(|word| token.text().eq_ignore_ascii_case(word));
    let Some(first) = words.next().filter(|first| !reads(first)) else { return Vec::new() };
    let is_ledger = |token: &SyntaxToken| folded(token.text()) == crate::schema::LEDGER_SCHEMA;
    // The body of `DO` is a string here.
    let is_block = first.text().eq_ignore_ascii_case("do") && parsed.text.to_lowercase().contains("safe_migrate.");
    match is_block || tokens(&parsed.root).any(|token| is_ledger(&token)) {
        true => {
            vec![place.hit(&parsed.root, crate::schema::LEDGER_SCHEMA, "changes the ledger of safe-migrate".to_owned())]
        }
        false => Vec::new(),
    }
}

fn concurrently_in_transaction(place: &Place<'_>) -> Vec<Hit> {
    let parsed = place.parsed();
    let index = parsed.first::<ast::CreateIndex>().is_some_and(|index| index.concurrently_token().is_some());
    let drop = parsed.first::<ast::DropIndex>().is_some_and(|drop| drop.concurrently_token().is_some());
    let reindex = parsed.first::<ast::Reindex>().is_some() && parsed.says(&["CONCURRENTLY"]);
    let detach = parsed.first::<ast::DetachConcurrently>().is_some();
    if !place.transaction || !(index || drop || reindex || detach) {
        return Vec::new();
    }
    let message = "CONCURRENTLY cannot run in the transaction of this section".to_owned();
    vec![place.hit(&parsed.root, "", message)]
}

fn enum_value_in_transaction(place: &Place<'_>) -> Vec<Hit> {
    // A value may take its place beside one that is as new.
    if !place.transaction || place.parsed().first::<ast::AddValue>().is_some() {
        return Vec::new();
    }
    let is_new = |value: &String| place.facts.adds_value_before(value, place.index);
    let values: BTreeSet<String> =
        tokens(&place.parsed().root).map(|token| token.text().to_owned()).filter(is_new).collect();
    let message = |value: String| format!("uses {value} in the transaction that adds it");
    values.into_iter().map(|value| place.hit(&place.parsed().root, "", message(value))).collect()
}

fn if_not_exists(place: &Place<'_>) -> Vec<Hit> {
    let parsed = place.parsed();
    // Nothing is lost there: an extension or a schema has no shape that could be another.
    if parsed.first::<ast::CreateExtension>().is_some() || parsed.first::<ast::CreateSchema>().is_some() {
        return Vec::new();
    }
    let message = "is passed over where the name is taken, whatever has it";
    parsed.nodes::<ast::IfNotExists>().map(|node| place.hit(node.syntax(), "", message.to_owned())).collect()
}

fn if_exists(place: &Place<'_>) -> Vec<Hit> {
    let message = "is passed over where the name is missing";
    place.parsed().nodes::<ast::IfExists>().map(|node| place.hit(node.syntax(), "", message.to_owned())).collect()
}

fn function_without_search_path(place: &Place<'_>) -> Vec<Hit> {
    let parsed = place.parsed();
    let function = parsed.first::<ast::CreateFunction>().map(|one| (one.syntax().clone(), list(one.name())));
    let procedure = parsed.first::<ast::CreateProcedure>().map(|one| (one.syntax().clone(), list(one.name())));
    let Some((node, name)) = function.or(procedure) else { return Vec::new() };
    // The names of an atomic body are resolved when it is defined.
    if parsed.says(&["SET", "SEARCH_PATH"]) || parsed.says(&["BEGIN", "ATOMIC"]) || parsed.says(&["LANGUAGE", "C"]) {
        return Vec::new();
    }
    vec![place.hit(&node, "", format!("{name} has no SET search_path"))]
}

fn foreign_key_without_index(place: &Place<'_>) -> Vec<Hit> {
    let parsed = place.parsed();
    let created = parsed.first::<ast::CreateTable>().and_then(|create| last_name(create.table_name()?.syntax()));
    let Some(table) = created.or_else(|| parsed.altered_table().map(|(_, table)| table)) else { return Vec::new() };
    let keys = parsed.nodes::<ast::ForeignKeyConstraint>();
    let keys = keys.map(|key| (names_in_parentheses(key.syntax()), key.syntax().clone()));
    let columns = parsed.nodes::<ast::ReferencesConstraint>().filter_map(|key| {
        let owner = key.syntax().ancestors().find_map(|node| {
            let column = ast::Column::cast(node.clone()).and_then(|column| column.name());
            column.or_else(|| ast::AddColumn::cast(node).and_then(|add| add.column_name()))
        })?;
        Some((vec![last_name(owner.syntax())?], key.syntax().clone()))
    });
    let bare = keys.chain(columns).filter(|(columns, _)| !place.history.has_index(&table, columns));
    bare.map(|(columns, node)| {
        let message = format!("no index on {table} ({}), which refers to another table", columns.join(", "));
        place.hit(&node, &table, message)
    })
    .collect()
}
