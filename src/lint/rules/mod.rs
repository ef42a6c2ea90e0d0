//! The rules, as data: each with a bad and a good example that a test runs.

mod habits;
mod locks;
mod loss;
mod measured;
mod release;
mod rewrites;
mod squawk;
mod squawk_rules;

use crate::migration::Migration;

use super::history::History;
use super::level::Level;
use super::parsed::Parsed;
use super::section::SectionFacts;

pub(super) use habits::LEDGER_TOUCHED;
pub(super) use loss::losses;
pub(super) use squawk::violations;

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name, which `-- allow:` and `[policy]` use.
    pub code: &'static str,
    /// What is wrong with it, in one sentence.
    pub title: &'static str,
    /// What to do instead.
    pub remedy: &'static str,
    /// A file, or the statements of an up section, that it finds.
    pub bad: &'static str,
    /// The same done well.
    pub good: &'static str,
    /// What it counts for where `[policy]` says nothing.
    pub level: Level,
    /// Which measurement proves or disproves it.
    pub subject: Subject,
    pub(super) check: Check,
}

/// What a rule is about, and so what a rehearsal has to say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Data that is gone: what the rehearsal lost decides.
    Loss,
    /// Rows read or written anew while others wait: what the statement scanned and rewrote decides.
    Rows,
    /// Rows changed in the transaction of a strong lock: how many decides.
    Changes,
    /// The text itself; no measurement says otherwise.
    Text,
}

/// How a rule finds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Check {
    /// By the losses of a statement.
    Loss,
    /// By a function of one statement in its place.
    Statement(fn(&Place<'_>) -> Vec<Hit>),
    /// By a function of the whole migration: a line and a message.
    Migration(fn(&Migration) -> Option<String>),
    /// By squawk.
    Squawk(squawk_linter::Rule),
    /// By a rehearsal only.
    Rehearsal,
}

/// A statement where it stands.
pub(super) struct Place<'a> {
    pub migration: &'a Migration,
    pub parsed: &'a Parsed<'a>,
    /// What the statements of its section say together.
    pub facts: &'a SectionFacts,
    /// Which of them it is.
    pub index: usize,
    /// Whether the section is one transaction.
    pub transaction: bool,
    /// What ran before.
    pub history: &'a History,
}

/// One thing found in a statement.
#[derive(Debug)]
pub(super) struct Hit {
    pub message: String,
    pub lines_down: u32,
    /// The tables, or `table.column`, that it is about.
    pub objects: Vec<String>,
}

impl<'a> Place<'a> {
    pub(super) fn parsed(&self) -> &'a Parsed<'a> {
        self.parsed
    }

    /// Whether the table was there, with its rows and its users, before the run.
    fn is_old(&self, table: &str) -> bool {
        !self.history.new_tables.contains(table)
    }

    fn hit(&self, node: &squawk_syntax::SyntaxNode, table: &str, message: String) -> Hit {
        Hit { message, lines_down: self.parsed().lines_to(node), objects: vec![table.to_owned()] }
    }
}

/// All rules, ours first.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    let ours = loss::RULES.iter().chain(locks::RULES).chain(release::RULES).chain(habits::RULES);
    ours.chain(rewrites::RULES).chain(measured::RULES).chain(squawk_rules::RULES)
}

/// The rule of that code.
pub fn rule(code: &str) -> Option<&'static Rule> {
    rules().find(|rule| rule.code == code)
}

#[cfg(test)]
mod tests;
