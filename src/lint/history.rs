//! What earlier statements built: keys with an index, columns that a checked constraint keeps from being null.

use std::collections::{BTreeMap, BTreeSet};

use squawk_syntax::ast::{self, AstNode};

use super::parsed::{Parsed, last_name, names_in_parentheses, tokens};

/// What is known of the schema from the files that were read.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Table and leading column of each index, also of those that later files make.
    indexed: BTreeSet<(String, String)>,
    /// Table and column with a checked `IS NOT NULL`.
    not_null: BTreeSet<(String, String)>,
    /// Such constraints that are not checked yet, by table and name: the column.
    unchecked: BTreeMap<(String, String), String>,
    /// What the run made so far: nobody else uses it, and its rows are few.
    pub(super) new_tables: BTreeSet<String>,
}

impl History {
    pub(super) fn has_index(&self, table: &str, columns: &[String]) -> bool {
        columns.iter().any(|column| self.indexed.contains(&(table.to_owned(), column.clone())))
    }

    pub(super) fn is_not_null(&self, table: &str, column: &str) -> bool {
        self.not_null.contains(&(table.to_owned(), column.to_owned()))
    }

    /// Takes in the indexes of a statement, whenever it runs: an index may follow its key.
    pub(super) fn learn_indexes(&mut self, parsed: &Parsed<'_>) {
        if let Some(index) = parsed.first::<ast::CreateIndex>() {
            let table = index.table_relation_name().and_then(|table| last_name(table.syntax()));
            let first = index.partition_item_list().and_then(|list| list.partition_items().next());
            let column = first.and_then(|item| last_name(item.expr()?.syntax()));
            self.indexed.extend(table.zip(column));
        }
        if let Some(create) = parsed.first::<ast::CreateTable>()
            && let Some(table) = create.table_name().and_then(|name| last_name(name.syntax()))
        {
            let columns: Vec<ast::Column> = parsed.nodes().collect();
            for column in columns {
                let is_key = |clause: &ast::ColumnClause| {
                    let ast::ColumnClause::ColumnConstraint(constraint) = clause else { return false };
                    matches!(constraint, ast::ColumnConstraint::PrimaryKeyConstraint(_))
                        || matches!(constraint, ast::ColumnConstraint::UniqueConstraint(_))
                };
                let name = column.name().and_then(|name| last_name(name.syntax()));
                if let Some(name) = name.filter(|_| column.clauses().any(|clause| is_key(&clause))) {
                    self.indexed.insert((table.clone(), name));
                }
            }
            self.learn_keys(parsed, &table);
        }
        if let Some((_, table)) = parsed.altered_table() {
            self.learn_keys(parsed, &table);
        }
    }

    fn learn_keys(&mut self, parsed: &Parsed<'_>, table: &str) {
        let unique = parsed.nodes::<ast::UniqueConstraint>().map(|key| key.syntax().clone());
        let primary = parsed.nodes::<ast::PrimaryKeyConstraint>().map(|key| key.syntax().clone());
        for key in unique.chain(primary) {
            self.indexed.extend(names_in_parentheses(&key).into_iter().next().map(|column| (table.to_owned(), column)));
        }
    }

    /// Takes in what a statement that ran leaves.
    pub(super) fn learn(&mut self, parsed: &Parsed<'_>) {
        self.new_tables.extend(parsed.creates());
        let Some((alter, table)) = parsed.altered_table() else { return };
        for action in alter.actions() {
            match action {
                ast::AlterTableAction::AddConstraint(add) => {
                    let Some(constraint) = add.constraint() else { continue };
                    let ast::Constraint::CheckConstraint(check) = &constraint else { continue };
                    let Some(column) = check.expr().and_then(|expr| column_that_is_not_null(expr.syntax())) else {
                        continue;
                    };
                    match constraint.constraint_name().and_then(|name| last_name(name.syntax())) {
                        Some(name) if constraint.is_not_valid() => {
                            self.unchecked.insert((table.clone(), name), column);
                        }
                        _ => {
                            self.not_null.insert((table.clone(), column));
                        }
                    }
                }
                ast::AlterTableAction::ValidateConstraint(validate) => {
                    let name = validate.constraint_name_ref().and_then(|name| last_name(name.syntax()));
                    if let Some(column) = name.and_then(|name| self.unchecked.remove(&(table.clone(), name))) {
                        self.not_null.insert((table.clone(), column));
                    }
                }
                _ => {}
            }
        }
    }
}

/// `column IS NOT NULL`, in parentheses or not.
fn column_that_is_not_null(expression: &squawk_syntax::SyntaxNode) -> Option<String> {
    let words: Vec<String> = tokens(expression).map(|token| token.text().to_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| !matches!(*word, "(" | ")")).collect();
    match words.as_slice() {
        [column, rest @ ..] if rest.join(" ").eq_ignore_ascii_case("is not null") => {
            Some(super::parsed::folded(column))
        }
        _ => None,
    }
}
