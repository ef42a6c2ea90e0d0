//! Statements for which the application waits: scans, rewrites and long transactions under a strong lock.

use squawk_syntax::ast::{self, AstNode};

use super::super::level::Level;
use super::super::parsed::{Parsed, last_name};
use super::{Check, Hit, Place, Rule, Subject};

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "index-not-concurrent",
        title: "writes wait while an index is built",
        remedy: "CREATE INDEX CONCURRENTLY, in a migration of its own with `-- migrate:up transaction:false`",
        bad: "CREATE INDEX dish_name ON dish (name);",
        good: "-- migrate:up transaction:false\nCREATE INDEX CONCURRENTLY dish_name ON dish (name);\n-- migrate:down\nDROP INDEX dish_name;\n",
        level: Level::Warn,
        subject: Subject::Rows,
        check: Check::Statement(index_not_concurrent),
    },
    Rule {
        code: "set-not-null",
        title: "SET NOT NULL reads the whole table under ACCESS EXCLUSIVE, unless a checked constraint says it already",
        remedy: "ADD CONSTRAINT … CHECK (column IS NOT NULL) NOT VALID; VALIDATE it in a later migration; then SET NOT NULL",
        bad: "ALTER TABLE dish ALTER COLUMN name SET NOT NULL;",
        good: "ALTER TABLE dish ADD CONSTRAINT dish_name_there CHECK (name IS NOT NULL) NOT VALID;\n\
               ALTER TABLE dish VALIDATE CONSTRAINT dish_name_there;\nALTER TABLE dish ALTER COLUMN name SET NOT NULL;",
        level: Level::Warn,
        subject: Subject::Rows,
        check: Check::Statement(set_not_null),
    },
    Rule {
        code: "foreign-key-without-not-valid",
        title: "adding a foreign key reads the whole table while writes to both tables wait",
        remedy: "add it NOT VALID, and VALIDATE CONSTRAINT in a later migration",
        bad: "ALTER TABLE dish ADD CONSTRAINT dish_menu FOREIGN KEY (menu_id) REFERENCES menu (id);",
        good: "ALTER TABLE dish ADD CONSTRAINT dish_menu FOREIGN KEY (menu_id) REFERENCES menu (id) NOT VALID;",
        level: Level::Warn,
        subject: Subject::Rows,
        check: Check::Statement(foreign_key_without_not_valid),
    },
    Rule {
        code: "check-without-not-valid",
        title: "adding a check reads the whole table under ACCESS EXCLUSIVE",
        remedy: "add it NOT VALID, and VALIDATE CONSTRAINT in a later migration",
        bad: "ALTER TABLE dish ADD CONSTRAINT dish_price CHECK (price >= 0);",
        good: "ALTER TABLE dish ADD CONSTRAINT dish_price CHECK (price >= 0) NOT VALID;",
        level: Level::Warn,
        subject: Subject::Rows,
        check: Check::Statement(check_without_not_valid),
    },
    Rule {
        code: "validate-in-same-transaction",
        title: "a constraint is validated in the transaction that adds it, under the lock of adding it",
        remedy: "validate it in a later migration",
        bad: "ALTER TABLE dish ADD CONSTRAINT dish_price CHECK (price >= 0) NOT VALID;\n\
              ALTER TABLE dish VALIDATE CONSTRAINT dish_price;",
        good: "ALTER TABLE dish VALIDATE CONSTRAINT dish_price;",
        level: Level::Warn,
        subject: Subject::Rows,
        check: Check::Statement(validate_in_same_transaction),
    },
    Rule {
        code: "statements-after-access-exclusive",
        title: "a slow statement runs while an earlier one of its transaction holds ACCESS EXCLUSIVE",
        remedy: "put the slow statement before the other one, or into a migration of its own",
        bad: "ALTER TABLE dish ADD COLUMN note text;\nREFRESH MATERIALIZED VIEW dish_prices;",
        good: "REFRESH MATERIALIZED VIEW dish_prices;\nALTER TABLE dish ADD COLUMN note text;",
        level: Level::Warn,
        subject: Subject::Rows,
        check: Check::Statement(statements_after_access_exclusive),
    },
    Rule {
        code: "mixed-ddl-and-data",
        title: "rows are changed in the transaction that locks a table for DDL: all wait until the last row is written",
        remedy: "change the rows in a migration of its own, a large table in parts",
        bad: "ALTER TABLE dish ADD COLUMN currency text;\nUPDATE dish SET currency = 'RWF' WHERE currency IS NULL;",
        good: "UPDATE dish SET currency = 'RWF' WHERE currency IS NULL;",
        level: Level::Warn,
        subject: Subject::Changes,
        check: Check::Statement(mixed_ddl_and_data),
    },
];

fn index_not_concurrent(place: &Place<'_>) -> Vec<Hit> {
    let Some(index) = place.parsed().first::<ast::CreateIndex>() else { return Vec::new() };
    let Some(on) = index.table_relation_name() else { return Vec::new() };
    let table = last_name(on.syntax()).unwrap_or_default();
    // ON ONLY: the index of a partitioned table itself, which holds no row.
    if index.concurrently_token().is_some() || on.only_token().is_some() || !place.is_old(&table) {
        return Vec::new();
    }
    // Behind a stronger lock, the other rule says what is worse.
    if !statements_after_access_exclusive(place).is_empty() {
        return Vec::new();
    }
    vec![place.hit(index.syntax(), &table, format!("writes to {table} wait until the index is built"))]
}

/// Each action of an `ALTER TABLE` on a table that was there before.
fn actions<'p>(place: &'p Place<'_>) -> impl Iterator<Item = (ast::AlterTableAction, String)> + 'p {
    let altered = place.parsed().altered_table().filter(|(_, table)| place.is_old(table));
    altered.into_iter().flat_map(|(alter, table)| alter.actions().map(move |action| (action, table.clone())))
}

fn set_not_null(place: &Place<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for (action, table) in actions(place) {
        let ast::AlterTableAction::AlterColumn(alter) = &action else { continue };
        let Some(ast::AlterColumnOption::SetNotNull(_)) = alter.option() else { continue };
        let column = alter.column_name_ref().and_then(|name| last_name(name.syntax())).unwrap_or_default();
        if !place.history.is_not_null(&table, &column) {
            let message =
                format!("reads all rows of {table} under ACCESS EXCLUSIVE to see that {column} is never null");
            hits.push(place.hit(alter.syntax(), &table, message));
        }
    }
    hits
}

fn foreign_key_without_not_valid(place: &Place<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for (action, table) in actions(place) {
        let message = || format!("reads all rows of {table} while writes to it and to the table it refers to wait");
        match &action {
            ast::AlterTableAction::AddConstraint(add) => {
                let Some(constraint @ ast::Constraint::ForeignKeyConstraint(_)) = add.constraint() else { continue };
                if !constraint.is_not_valid() {
                    hits.push(place.hit(add.syntax(), &table, message()));
                }
            }
            // Without a default all values are null, and PostgreSQL knows that it need not look.
            ast::AlterTableAction::AddColumn(add) => {
                let is = |wanted: fn(&ast::Constraint) -> bool| add.constraints().any(|constraint| wanted(&constraint));
                if is(|one| matches!(one, ast::Constraint::ReferencesConstraint(_)))
                    && is(|one| matches!(one, ast::Constraint::DefaultConstraint(_)))
                {
                    hits.push(place.hit(add.syntax(), &table, message()));
                }
            }
            _ => {}
        }
    }
    hits
}

fn check_without_not_valid(place: &Place<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for (action, table) in actions(place) {
        let ast::AlterTableAction::AddConstraint(add) = &action else { continue };
        let Some(constraint @ ast::Constraint::CheckConstraint(_)) = add.constraint() else { continue };
        if !constraint.is_not_valid() {
            let message = format!("reads all rows of {table} under ACCESS EXCLUSIVE");
            hits.push(place.hit(add.syntax(), &table, message));
        }
    }
    hits
}

fn validate_in_same_transaction(place: &Place<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for (action, table) in actions(place).filter(|_| place.transaction) {
        let ast::AlterTableAction::ValidateConstraint(validate) = &action else { continue };
        let name = validate.constraint_name_ref().and_then(|name| last_name(name.syntax()));
        if name.is_some_and(|name| place.facts.names_constraint_before(&name, place.index)) {
            let message = format!("reads all rows of {table} under the lock with which the constraint was added");
            hits.push(place.hit(validate.syntax(), &table, message));
        }
    }
    hits
}

/// What a slow statement does, in words; changes of rows have a rule of their own.
fn slow(place: &Place<'_>, parsed: &Parsed<'_>) -> Option<&'static str> {
    if let Some(index) = parsed.first::<ast::CreateIndex>() {
        let table = index.table_relation_name().and_then(|on| last_name(on.syntax())).unwrap_or_default();
        return (place.is_old(&table) && index.concurrently_token().is_none()).then_some("builds an index");
    }
    if let Some((alter, table)) = parsed.altered_table() {
        if !place.is_old(&table) {
            return None;
        }
        return alter.actions().find_map(|action| match action {
            ast::AlterTableAction::ValidateConstraint(_) => Some("validates a constraint"),
            ast::AlterTableAction::AlterColumn(alter) => match alter.option() {
                Some(ast::AlterColumnOption::SetType(_)) => Some("changes a column's type"),
                _ => None,
            },
            _ => None,
        });
    }
    if parsed.first::<ast::Refresh>().is_some() {
        return Some("fills a materialized view");
    }
    let without_data = parsed.says(&["NO", "DATA"]);
    if parsed.first::<ast::CreateMaterializedView>().is_some() {
        return (!without_data).then_some("fills a materialized view");
    }
    if parsed.first::<ast::CreateTableAs>().is_some() {
        return (!without_data).then_some("fills a table");
    }
    let is_query = parsed.root.children().next().is_some_and(|node| ast::Select::can_cast(node.kind()));
    if is_query && parsed.first::<ast::FromClause>().is_some() {
        return Some("runs a query");
    }
    parsed.first::<ast::Reindex>().map(|_| "builds an index anew")
}

fn statements_after_access_exclusive(place: &Place<'_>) -> Vec<Hit> {
    let Some(what) = slow(place, place.parsed()).filter(|_| place.transaction) else { return Vec::new() };
    let Some(table) = place.facts.locked_before(place.index, |table| place.is_old(table)) else {
        return Vec::new();
    };
    let message = format!("{what} while {table} is locked against all reads and writes");
    vec![place.hit(&place.parsed().root, table, message)]
}

/// The table that was there before and whose rows this statement changes.
fn changed_table(place: &Place<'_>) -> Option<String> {
    let parsed = place.parsed();
    let update = parsed.first::<ast::Update>().and_then(|update| last_name(update.relation_name()?.syntax()));
    let delete = parsed.first::<ast::Delete>().and_then(|delete| last_name(delete.relation_name()?.syntax()));
    let insert = parsed.first::<ast::Insert>().filter(|_| parsed.says(&["SELECT"]));
    let insert = insert.and_then(|insert| last_name(insert.relation_name_ref()?.syntax()));
    update.or(delete).or(insert).filter(|table| place.is_old(table))
}

fn mixed_ddl_and_data(place: &Place<'_>) -> Vec<Hit> {
    let Some(changed) = changed_table(place).filter(|_| place.transaction) else { return Vec::new() };
    let Some(locked) = place.facts.locked(|table| place.is_old(table)) else { return Vec::new() };
    let message =
        format!("changes rows of {changed} in the transaction that locks {locked} against all reads and writes");
    vec![place.hit(&place.parsed().root, &changed, message)]
}
