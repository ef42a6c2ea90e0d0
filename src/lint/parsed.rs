//! A statement with its syntax tree, and the names in it.

use std::collections::BTreeSet;

use squawk_syntax::ast::{self, AstNode};
use squawk_syntax::{SourceFile, SyntaxKind, SyntaxNode, SyntaxToken};

use crate::migration::{Statement, without_placeholders};

/// A statement with its syntax tree.
#[derive(Debug)]
pub(super) struct Parsed<'a> {
    pub statement: &'a Statement,
    /// Its text, with a number where it holds `:from` or `:to`; as long as the statement's own.
    pub text: String,
    pub root: SyntaxNode,
    /// Whether it is SQL as the parser knows it.
    pub is_understood: bool,
}

#[cfg(test)]
thread_local! {
    /// How often a statement was looked through.
    pub(super) static LOOKED_AT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

impl<'a> Parsed<'a> {
    pub(super) fn new(statement: &'a Statement) -> Self {
        let text = without_placeholders(&statement.text);
        let parse = SourceFile::parse(&text);
        Parsed { statement, root: parse.syntax_node(), is_understood: parse.errors().is_empty(), text }
    }

    /// The nodes of one kind that this statement runs, not those of a function that it defines.
    pub(super) fn nodes<N: AstNode>(&self) -> impl Iterator<Item = N> + use<N> {
        #[cfg(test)]
        LOOKED_AT.set(LOOKED_AT.get() + 1);
        self.root.descendants().filter_map(N::cast).filter(|node| !runs_later(node.syntax()))
    }

    pub(super) fn first<N: AstNode>(&self) -> Option<N> {
        self.nodes().next()
    }

    /// `ALTER TABLE`, with the table's name.
    pub(super) fn altered_table(&self) -> Option<(ast::AlterTable, String)> {
        let alter: ast::AlterTable = self.first()?;
        let table = last_name(alter.table_relation_name()?.syntax())?;
        Some((alter, table))
    }

    /// Whether the words stand side by side in it, outside of strings and comments.
    pub(super) fn says(&self, words: &[&str]) -> bool {
        let all: Vec<String> = tokens(&self.root).map(|token| token.text().to_ascii_uppercase()).collect();
        all.windows(words.len()).any(|window| window.iter().zip(words).all(|(one, other)| one == other))
    }

    /// The tables, materialized views and partitions that it makes.
    pub(super) fn creates(&self) -> Vec<String> {
        let tables = self.nodes::<ast::CreateTable>().filter_map(|create| create.table_name()?.syntax().clone().into());
        let copies =
            self.nodes::<ast::CreateTableAs>().filter_map(|create| create.table_name()?.syntax().clone().into());
        let views =
            self.nodes::<ast::CreateMaterializedView>().filter_map(|create| create.view()?.syntax().clone().into());
        tables.chain(copies).chain(views).filter_map(|name| last_name(&name)).collect()
    }

    /// How a name stands in it: `dish`, or `kitchen.dish` with what is before it.
    pub(super) fn written(&self, last: &str) -> BTreeSet<String> {
        let tokens: Vec<SyntaxToken> = tokens(&self.root).collect();
        let mut found = BTreeSet::new();
        for (at, _) in tokens.iter().enumerate().filter(|(_, token)| folded(token.text()) == last) {
            let schema = at.checked_sub(2).filter(|_| tokens[at - 1].text() == ".");
            found.insert(schema.map_or_else(|| last.to_owned(), |at| format!("{}.{last}", folded(tokens[at].text()))));
        }
        found
    }

    /// Lines from the statement's first line to a node.
    pub(super) fn lines_to(&self, node: &SyntaxNode) -> u32 {
        let offset = tokens(node).next().map_or(0, |token| usize::from(token.text_range().start()));
        self.statement.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() as u32
    }
}

/// Whether the node belongs to something that this statement defines and does not run.
fn runs_later(node: &SyntaxNode) -> bool {
    node.ancestors().skip(1).any(|ancestor| {
        matches!(
            ancestor.kind(),
            SyntaxKind::CREATE_FUNCTION | SyntaxKind::CREATE_PROCEDURE | SyntaxKind::CREATE_RULE | SyntaxKind::PREPARE
        )
    })
}

/// The tokens of a node without white space and comments.
pub(super) fn tokens(node: &SyntaxNode) -> impl Iterator<Item = SyntaxToken> + use<> {
    let trivia = |kind| matches!(kind, SyntaxKind::WHITESPACE | SyntaxKind::COMMENT);
    node.descendants_with_tokens().filter_map(|element| element.into_token()).filter(move |token| !trivia(token.kind()))
}

/// The last part of a name that may be qualified, folded as PostgreSQL folds it. The schema does not count: two
/// tables of one name in two schemas are taken for one.
pub(super) fn last_name(node: &SyntaxNode) -> Option<String> {
    let is_name = |text: &str| text.starts_with(|c: char| c == '"' || c == '_' || c.is_alphabetic());
    tokens(node).filter(|token| is_name(token.text())).last().map(|token| folded(token.text()))
}

/// The names between the first parenthesis of a node and its closing one: the columns of a key.
pub(super) fn names_in_parentheses(node: &SyntaxNode) -> Vec<String> {
    let inside = tokens(node).skip_while(|token| token.text() != "(").skip(1).take_while(|token| token.text() != ")");
    inside.filter(|token| token.text() != ",").map(|token| folded(token.text())).collect()
}

pub(super) fn folded(name: &str) -> String {
    match name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.to_lowercase(),
    }
}

/// The texts of some nodes, with white space made single spaces.
pub(super) fn list<N: AstNode>(nodes: impl IntoIterator<Item = N>) -> String {
    let text = |node: N| node.syntax().text().to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    nodes.into_iter().map(text).collect::<Vec<_>>().join(", ")
}
