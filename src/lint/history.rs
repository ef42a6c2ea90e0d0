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
    /// Columns that may be null, of tables whose making was read.
    nullable: BTreeSet<(String, String)>,
    /// Table and columns of each index with a name.
    index_columns: BTreeMap<String, (String, Vec<String>)>,
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

    /// The columns of an index that may be null, as far as their making was read.
    pub(super) fn nullable_columns_of_index(&self, index: &str) -> Vec<String> {
        let Some((table, columns)) = self.index_columns.get(index) else { return Vec::new() };
        let is_nullable = |column: &&String| {
            let key = (table.clone(), (*column).clone());
            self.nullable.contains(&key) && !self.not_null.contains(&key)
        };
        columns.iter().filter(is_nullable).cloned().collect()
    }

    /// Takes in the indexes of a statement, whenever it runs: an index may follow its key.
    pub(super) fn learn_indexes(&mut self, parsed: &Parsed<'_>) {
        if let Some(index) = parsed.first::<ast::CreateIndex>() {
            let table = index.table_relation_name().and_then(|table| last_name(table.syntax()));
            let first = index.partition_item_list().and_then(|list| list.partition_items().next());
            let column = first.and_then(|item| last_name(item.expr()?.syntax()));
            if !is_partial(&index) {
                self.indexed.extend(table.clone().zip(column));
            }
            let items = index.partition_item_list().into_iter().flat_map(|list| list.partition_items());
            let columns = items.filter_map(|item| last_name(item.expr()?.syntax())).collect();
            let name = index.index().and_then(|name| last_name(name.syntax()));
            self.index_columns.extend(name.zip(table).map(|(name, table)| (name, (table, columns))));
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

    /// Columns that a table is made with and nothing keeps from being null, and those that are made NOT NULL later.
    fn learn_nullable(&mut self, parsed: &Parsed<'_>) {
        if let Some(table) =
            parsed.first::<ast::CreateTable>().and_then(|create| last_name(create.table_name()?.syntax()))
        {
            let keys: Vec<String> = parsed
                .nodes::<ast::PrimaryKeyConstraint>()
                .flat_map(|key| names_in_parentheses(key.syntax()))
                .collect();
            for column in parsed.nodes::<ast::Column>() {
                let Some(name) = column.name().and_then(|name| last_name(name.syntax())) else { continue };
                if !keys.contains(&name) && !is_never_null(column.syntax()) {
                    self.nullable.insert((table.clone(), name));
                }
            }
        }
        let Some((alter, table)) = parsed.altered_table() else { return };
        for action in alter.actions() {
            match action {
                ast::AlterTableAction::AlterColumn(alter) => {
                    let Some(name) = alter.column_name_ref().and_then(|name| last_name(name.syntax())) else {
                        continue;
                    };
                    match alter.option() {
                        Some(ast::AlterColumnOption::SetNotNull(_)) => self.nullable.remove(&(table.clone(), name)),
                        Some(ast::AlterColumnOption::DropNotNull(_)) => self.nullable.insert((table.clone(), name)),
                        _ => false,
                    };
                }
                ast::AlterTableAction::AddColumn(add) if !is_never_null(add.syntax()) => {
                    let name = add.column_name().and_then(|name| last_name(name.syntax()));
                    self.nullable.extend(name.map(|name| (table.clone(), name)));
                }
                _ => {}
            }
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
        self.learn_nullable(parsed);
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

/// Whether a definition of a column keeps it from being null: by words, a type that numbers its rows among them.
fn is_never_null(definition: &squawk_syntax::SyntaxNode) -> bool {
    let words: Vec<String> = tokens(definition).map(|token| token.text().to_ascii_uppercase()).collect();
    let has = |two: [&str; 2]| words.windows(2).any(|pair| pair[0] == two[0] && pair[1] == two[1]);
    has(["NOT", "NULL"])
        || has(["PRIMARY", "KEY"])
        || has(["AS", "IDENTITY"])
        || words.iter().any(|word| word.contains("SERIAL"))
}

/// Whether an index leaves rows out. One without those where a key is null serves the key all the same.
fn is_partial(index: &ast::CreateIndex) -> bool {
    index.where_clause().is_some_and(|condition| {
        let words: Vec<String> = tokens(condition.syntax()).map(|token| token.text().to_ascii_uppercase()).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| !matches!(*word, "(" | ")")).collect();
        !matches!(words.as_slice(), ["WHERE", _, "IS", "NOT", "NULL"])
    })
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
