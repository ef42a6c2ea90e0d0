//! Shortens the statements of a squash: what is made and taken away again, a column that is added to a table made a moment
//! before, a constraint that is added unchecked and checked.
//!
//! Statements are known by their tokens, so these are proposals: whether they mean the same is proven by running both.

mod shape;

use std::collections::BTreeSet;

use squawk_lexer::TokenKind;

use super::id::MigrationId;
use shape::{Shape, Words, bare, mentions, shape};

/// A statement of a squash, and the migration that it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SquashedStatement {
    /// Its text.
    pub text: String,
    /// Where it comes from.
    pub from: MigrationId,
}

/// The statement of an index without CONCURRENTLY, when its table (or, to drop it, the index) is made by these statements: a
/// database that runs the squash has neither yet.
pub fn without_concurrently(statements: &[SquashedStatement], made: &[SquashedStatement]) -> Vec<SquashedStatement> {
    let shapes: Vec<Shape> = made.iter().map(|one| shape(&one.text)).collect();
    let is_made = |wanted: &str, name: &str| {
        shapes.iter().any(
            |shape| matches!(shape, Shape::Create { kind, name: made } if *kind == wanted && bare(made) == bare(name)),
        )
    };
    statements
        .iter()
        .map(|one| {
            let words = Words::of(&one.text);
            let Some(at) = (1..4).find(|at| words.at(*at) == "concurrently") else { return one.clone() };
            let is_of_made = match (words.at(0).as_str(), words.at(at - 1).as_str()) {
                ("create", "index") => {
                    let on = (at..words.lexemes.len()).find(|at| words.at(*at) == "on");
                    let table = on.and_then(|on| words.name(words.skip(on + 1, &["only"])));
                    table.is_some_and(|(table, _)| is_made("table", &table))
                }
                ("drop", "index") => {
                    let name = words.name(words.skip(at + 1, &["if", "exists"]));
                    name.is_some_and(|(name, _)| is_made("index", &name))
                }
                _ => false,
            };
            if !is_of_made {
                return one.clone();
            }
            let (start, next) =
                (words.lexemes[at].offset, words.lexemes.get(at + 1).map_or(one.text.len(), |one| one.offset));
            SquashedStatement { text: format!("{}{}", &one.text[..start], &one.text[next..]), from: one.from.clone() }
        })
        .collect()
}

/// A shorter form of the statements and what was done, passing over what was `rejected` before. None: nothing is left to do.
pub fn shorten(
    statements: &[SquashedStatement],
    rejected: &BTreeSet<String>,
) -> Option<(String, Vec<SquashedStatement>)> {
    let shapes: Vec<Shape> = statements.iter().map(|one| shape(&one.text)).collect();
    for (at, shape) in shapes.iter().enumerate() {
        let proposal = match shape {
            Shape::Create { kind, name } => undone_object(statements, &shapes, at, (kind, name)),
            Shape::AddColumn { table, column, definition } => undone_part(statements, &shapes, at, (table, column))
                .or_else(|| folded_column(statements, &shapes, at, (table, column, definition))),
            Shape::AddConstraint { table, name, not_valid } => undone_part(statements, &shapes, at, (table, name))
                .or_else(|| if *not_valid { validated(statements, &shapes, at, (table, name)) } else { None }),
            Shape::AddValue { name, value, after } => listed_value(statements, &shapes, at, (name, value, after)),
            _ => None,
        };
        if let Some((what, shorter)) = proposal
            && !rejected.contains(&what)
        {
            return Some((what, shorter));
        }
    }
    None
}

type Proposal = Option<(String, Vec<SquashedStatement>)>;

fn without(statements: &[SquashedStatement], gone: &[usize]) -> Vec<SquashedStatement> {
    let kept = statements.iter().enumerate().filter(|(at, _)| !gone.contains(at));
    kept.map(|(_, one)| one.clone()).collect()
}

/// Made and dropped again, and in between nobody but statements on itself names it.
fn undone_object(
    statements: &[SquashedStatement],
    shapes: &[Shape],
    at: usize,
    (kind, name): (&'static str, &String),
) -> Proposal {
    let end = shapes.iter().skip(at + 1).position(
        |shape| matches!(shape, Shape::Drop { kind: dropped, name: other } if *dropped == kind && other == name),
    )? + at
        + 1;
    let mut gone = vec![at, end];
    for between in at + 1..end {
        if !mentions(&statements[between].text, name) {
            continue;
        }
        let is_its_own = match &shapes[between] {
            Shape::Of { name: of, .. } => of == name,
            Shape::AddColumn { table, .. }
            | Shape::DropColumn { table, .. }
            | Shape::AddConstraint { table, .. }
            | Shape::DropConstraint { table, .. }
            | Shape::Validate { table, .. } => table == name,
            Shape::Create { kind: "index", .. } => kind == "table",
            _ => false,
        };
        if !is_its_own {
            return None;
        }
        gone.push(between);
    }
    Some((format!("{kind} {name} is made and dropped"), without(statements, &gone)))
}

/// A column or constraint added and dropped again, and in between nobody names it.
fn undone_part(
    statements: &[SquashedStatement],
    shapes: &[Shape],
    at: usize,
    (table, part): (&String, &String),
) -> Proposal {
    let end = shapes.iter().skip(at + 1).position(|shape| match shape {
        Shape::DropColumn { table: of, column: name } | Shape::DropConstraint { table: of, name } => {
            of == table && name == part
        }
        _ => false,
    })? + at
        + 1;
    let is_free = |between: usize| {
        let validates = matches!(&shapes[between], Shape::Validate { table: of, name } if of == table && name == part);
        validates || !mentions(&statements[between].text, part)
    };
    if !(at + 1..end).all(is_free) {
        return None;
    }
    let validated = (at + 1..end).filter(|between| mentions(&statements[*between].text, part));
    let gone: Vec<usize> = validated.chain([at, end]).collect();
    Some((format!("{part} of {table} is added and dropped"), without(statements, &gone)))
}

/// A value added to an enumeration made before: listed from the start.
fn listed_value(
    statements: &[SquashedStatement],
    shapes: &[Shape],
    at: usize,
    (name, value, after): (&String, &String, &Option<String>),
) -> Proposal {
    let start = shapes[..at]
        .iter()
        .rposition(|shape| matches!(shape, Shape::Create { kind: "type", name: made } if made == name))?;
    let words = Words::of(&statements[start].text);
    let close = words.lexemes.last().filter(|one| one.kind == TokenKind::CloseParen)?.offset;
    let is_enum = (0..words.lexemes.len()).any(|at| words.starts(at, &["as", "enum"]));
    let last = words.lexemes.len().checked_sub(2).map(|at| words.lexemes[at].text)?;
    if !is_enum || last == "(" || after.as_deref().is_some_and(|after| after != last) {
        return None;
    }
    let mut shorter = without(statements, &[at]);
    let text = &statements[start].text;
    shorter[start].text = format!("{}, {value}{}", text[..close].trim_end(), &text[close..]);
    Some((format!("{value} is a value of {name} from the start"), shorter))
}

/// Added unchecked, then checked: checked at once. Only of a table that is made here: rows of another one may be put right
/// in between, and no proof on empty tables would show that.
fn validated(
    statements: &[SquashedStatement],
    shapes: &[Shape],
    at: usize,
    (table, name): (&String, &String),
) -> Proposal {
    let is_made = |shape: &Shape| matches!(shape, Shape::Create { kind: "table", name } if name == table);
    if !shapes[..at].iter().any(is_made) {
        return None;
    }
    let end = shapes.iter().skip(at + 1).position(
        |shape| matches!(shape, Shape::Validate { table: of, name: other } if of == table && other == name),
    )? + at
        + 1;
    let words = Words::of(&statements[at].text);
    let cut = words.lexemes.len().checked_sub(2).map(|place| words.lexemes[place].offset)?;
    let mut shorter = without(statements, &[end]);
    shorter[at].text = statements[at].text[..cut].trim_end().to_owned();
    Some((format!("{name} of {table} is checked when it is added"), shorter))
}

/// A column added to a table made before, of which nothing in between reads or writes rows.
fn folded_column(
    statements: &[SquashedStatement],
    shapes: &[Shape],
    at: usize,
    (table, column, definition): (&String, &String, &String),
) -> Proposal {
    let start = shapes[..at]
        .iter()
        .rposition(|shape| matches!(shape, Shape::Create { kind: "table", name } if name == table))?;
    for between in start + 1..at {
        let is_harmless = match &shapes[between] {
            Shape::Of { name, writes } => name == table && !writes,
            Shape::AddConstraint { .. } | Shape::Validate { .. } | Shape::DropConstraint { .. } => true,
            Shape::Create { kind: "index", .. } => true,
            _ => false,
        };
        // What the column needs may be made in between.
        let makes = match &shapes[between] {
            Shape::Create { name, .. } => mentions(definition, name),
            _ => false,
        };
        if makes
            || (mentions(&statements[between].text, table) && !is_harmless)
            || mentions(&statements[between].text, column)
        {
            return None;
        }
    }
    let text = with_column(&statements[start].text, definition)?;
    let mut shorter = without(statements, &[at]);
    shorter[start].text = text;
    Some((format!("column {column} is part of {table} from the start"), shorter))
}

/// The statement of a table with one more column. None: it has no plain list of columns.
fn with_column(create: &str, definition: &str) -> Option<String> {
    let words = Words::of(create);
    let open = words.lexemes.iter().position(|one| one.kind == TokenKind::OpenParen)?;
    if (0..open).any(|at| matches!(words.at(at).as_str(), "as" | "of")) {
        return None;
    }
    let mut depth = 0;
    let close = words.lexemes.iter().skip(open).find(|one| {
        match one.kind {
            TokenKind::OpenParen => depth += 1,
            TokenKind::CloseParen => depth -= 1,
            _ => {}
        }
        depth == 0
    })?;
    let list = create[words.lexemes[open].offset + 1..close.offset].trim_end();
    // A comment at its end would swallow the comma.
    if list.trim().is_empty() || list.lines().last().is_some_and(|line| line.contains("--")) {
        return None;
    }
    let head = &create[..words.lexemes[open].offset + 1];
    Some(format!("{head}{list},\n    {definition}\n{}", &create[close.offset..]))
}

#[cfg(test)]
mod tests;
