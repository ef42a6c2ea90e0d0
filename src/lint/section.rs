//! What the statements of a section say together, read once and one statement at a time: a seed of 300,000 rows is a
//! section too.

use std::collections::{BTreeMap, BTreeSet};

use squawk_syntax::SyntaxKind;
use squawk_syntax::ast::{self, AstNode};

use super::parsed::{Parsed, folded, last_name, tokens};

/// Facts of a section, by the number of the statement where that matters.
#[derive(Debug, Default)]
pub(super) struct SectionFacts {
    /// Values that are added to enum types, as written, where the section does not make the type: the first statement.
    added_values: BTreeMap<String, usize>,
    made_types: BTreeSet<String>,
    /// Names of constraints: the first statement that names it.
    constraint_names: BTreeMap<String, usize>,
    /// Tables that are taken from all others until the transaction ends, in order, each once.
    locked: Vec<(usize, String)>,
    seen_locked: BTreeSet<String>,
    /// Tables, materialized views and partitions that it makes.
    pub(super) creates: Vec<String>,
    /// The statements as squawk sees them: on the lines on which they stand in the file, without what has no rule there.
    pub(super) text: String,
    /// Where each begins in it.
    pub(super) starts: Vec<usize>,
    /// Statements that do nothing but put rows into a table: no rule is about them.
    quiet: BTreeSet<usize>,
}

impl SectionFacts {
    /// Takes in the next statement.
    pub(super) fn learn(&mut self, parsed: &Parsed<'_>) {
        let index = self.starts.len();
        self.starts.push(self.text.len());
        // Rules of squawk rely on the grammar, and end in a panic where it does not hold; and none is about plain rows.
        if parsed.is_understood && !is_plain_rows(parsed) {
            self.text.push_str(&parsed.text);
        }
        self.text.push_str(";\n");
        if parsed.is_understood && is_plain_rows(parsed) && !says_more(parsed) {
            self.quiet.insert(index);
        }
        self.creates.extend(parsed.creates());
        if let Some(add) = parsed.first::<ast::AddValue>() {
            let name = parsed.first::<ast::AlterType>().and_then(|alter| last_name(alter.type_name_ref()?.syntax()));
            // A type of the same transaction takes new values at once.
            if name.is_none_or(|name| !self.made_types.contains(&name))
                && let Some(value) = add.literal().map(|literal| literal.syntax().text().to_string())
            {
                self.added_values.entry(value).or_insert(index);
            }
        }
        let made = parsed.first::<ast::CreateType>();
        self.made_types.extend(made.and_then(|create| last_name(create.syntax().first_child().as_ref()?)));
        for name in parsed.nodes::<ast::ConstraintName>().filter_map(|name| last_name(name.syntax())) {
            self.constraint_names.entry(name).or_insert(index);
        }
        if let Some(table) = locked_table(parsed)
            && self.seen_locked.insert(table.clone())
        {
            self.locked.push((index, table));
        }
    }

    /// Whether no rule has anything to say of this statement, so that it need not be read once more.
    pub(super) fn is_quiet(&self, index: usize) -> bool {
        // A value that the section adds may be among the rows.
        self.added_values.is_empty() && self.quiet.contains(&index)
    }

    /// Whether a statement before this one adds the value.
    pub(super) fn adds_value_before(&self, value: &str, index: usize) -> bool {
        self.added_values.get(value).is_some_and(|at| *at < index)
    }

    /// Whether a statement before this one names the constraint.
    pub(super) fn names_constraint_before(&self, name: &str, index: usize) -> bool {
        self.constraint_names.get(name).is_some_and(|at| *at < index)
    }

    /// The first table that is locked before this statement, of those that are looked for.
    pub(super) fn locked_before(&self, index: usize, is_meant: impl Fn(&str) -> bool) -> Option<&str> {
        let before = self.locked.iter().take_while(|(at, _)| *at < index);
        before.map(|(_, table)| table.as_str()).find(|table| is_meant(table))
    }

    /// The first table that is locked anywhere in the section, of those that are looked for.
    pub(super) fn locked(&self, is_meant: impl Fn(&str) -> bool) -> Option<&str> {
        self.locked_before(usize::MAX, is_meant)
    }
}

fn is_plain_rows(parsed: &Parsed<'_>) -> bool {
    let kind = parsed.root.children().next().map(|node| node.kind());
    // `ON CONFLICT … DO UPDATE SET` has one.
    kind == Some(SyntaxKind::INSERT) && parsed.first::<ast::OnConflictClause>().is_none()
}

/// Whether rows come from a query, or go to the ledger.
fn says_more(parsed: &Parsed<'_>) -> bool {
    const MORE: [&str; 4] = ["SELECT", "WITH", "UPDATE", "DELETE"];
    tokens(&parsed.root).any(|token| {
        let text = token.text();
        MORE.iter().any(|word| text.eq_ignore_ascii_case(word)) || folded(text) == crate::schema::LEDGER_SCHEMA
    })
}

/// The table that this statement takes from all others until the transaction ends.
fn locked_table(parsed: &Parsed<'_>) -> Option<String> {
    if let Some((alter, table)) = parsed.altered_table() {
        let milder = |action: &ast::AlterTableAction| match action {
            ast::AlterTableAction::ValidateConstraint(_) | ast::AlterTableAction::AttachPartition(_) => true,
            ast::AlterTableAction::AddConstraint(add) => {
                matches!(add.constraint(), Some(ast::Constraint::ForeignKeyConstraint(_)))
            }
            _ => false,
        };
        return alter.actions().any(|action| !milder(&action)).then_some(table);
    }
    let dropped = parsed.first::<ast::DropTable>().and_then(|drop| drop.table_name_refs().next());
    dropped.and_then(|name| last_name(name.syntax()))
}
