//! What loading a script would run of others, read from its statements.

use std::collections::{BTreeMap, BTreeSet};

use super::super::roles::without_restrict;
use super::{ForeignCode, FoundCode, TrustedOwners};
use crate::migration::split_statements;

/// Signs of an operator, at most (`NAMEDATALEN`).
const SYMBOL: usize = 64;

/// A schema and a name.
type Name = (String, String);

/// What would run while this script (`pg_restore --file=-`) and the rows of its tables are loaded. The error: why the script
/// cannot be read.
pub fn of_script(script: &str, trusted: &TrustedOwners) -> Result<FoundCode, String> {
    let statements = split_statements(without_restrict(script), 1).map_err(|error| error.to_string())?;
    let statements: Vec<Vec<&str>> = statements.iter().map(crate::migration::Statement::tokens).collect();
    let foreign = Foreign::of(&statements, trusted);
    if foreign.functions.is_empty() {
        return Ok(FoundCode::default());
    }
    let tables = Tables::of(&statements, trusted);
    let mut found: BTreeSet<ForeignCode> = statements.iter().flat_map(|one| foreign.run_by(one, &tables)).collect();
    if !found.is_empty() && tables.rows_of_trusted_run(&foreign, &statements) {
        found = found.into_iter().map(|code| ForeignCode { with_rows_only: false, ..code }).collect();
    }
    Ok(FoundCode { code: found.into_iter().collect(), table_owners: tables.untrusted.into_values().collect() })
}

/// Whose the tables are.
#[derive(Default)]
struct Tables {
    /// Those of owners who are not trusted.
    untrusted: BTreeMap<Name, String>,
}

impl Tables {
    fn of(statements: &[Vec<&str>], trusted: &TrustedOwners) -> Self {
        let owned = statements.iter().filter_map(|statement| match statement.as_slice() {
            ["ALTER", "TABLE", schema, ".", name, "OWNER", "TO", owner] => {
                Some((pair(schema, name), identifier(owner)))
            }
            _ => None,
        });
        Self { untrusted: owned.filter(|(_, owner)| !trusted.has(owner)).collect() }
    }

    /// Whether rows of a table of somebody who is trusted run code of others too: by a domain somewhere in a column, or by a
    /// table that it inherits from or is a partition of.
    fn rows_of_trusted_run(&self, foreign: &Foreign, statements: &[Vec<&str>]) -> bool {
        let mut tables: BTreeSet<Name> = BTreeSet::new();
        // What names a type, or is a part of it.
        let mut users: BTreeMap<Name, Vec<Name>> = BTreeMap::new();
        let mut next: Vec<Name> = Vec::new();
        for statement in statements {
            if let ["ALTER", "TABLE", "ONLY", schema, ".", name, "ATTACH", "PARTITION", of, ".", part, ..] =
                statement.as_slice()
            {
                users.entry(pair(schema, name)).or_default().push(pair(of, part));
            }
            let Some(made) = made_type(statement) else { continue };
            if !matches!(statement.get(1), Some(&("DOMAIN" | "TYPE"))) {
                tables.insert(made.clone());
            }
            for named in named_types(statement) {
                users.entry(named).or_default().push(made.clone());
            }
            if !foreign.run_by(statement, self).is_empty() {
                next.push(made);
            }
        }
        let mut reached: BTreeSet<Name> = BTreeSet::new();
        while let Some(name) = next.pop() {
            if reached.insert(name.clone()) {
                next.extend(users.remove(&name).unwrap_or_default());
            }
        }
        reached.iter().any(|name| tables.contains(name) && !self.untrusted.contains_key(name))
    }
}

/// The type that a statement makes; a table is one too.
fn made_type(statement: &[&str]) -> Option<Name> {
    match statement {
        ["CREATE", "TABLE" | "DOMAIN" | "TYPE", schema, ".", name, ..]
        | ["CREATE", "UNLOGGED" | "FOREIGN", "TABLE", schema, ".", name, ..] => Some(pair(schema, name)),
        _ => None,
    }
}

/// Everything that a statement names with its schema, types among it.
fn named_types<'a>(statement: &'a [&'a str]) -> impl Iterator<Item = Name> + 'a {
    statement.windows(3).filter_map(|three| match three {
        [schema, ".", name] if is_name(schema) && is_name(name) => Some(pair(schema, name)),
        _ => None,
    })
}

/// What belongs to others.
#[derive(Default)]
struct Foreign {
    functions: BTreeMap<Name, Option<String>>,
    /// Operators, by the function behind them.
    operators: BTreeMap<Name, Name>,
}

impl Foreign {
    fn of(statements: &[Vec<&str>], trusted: &TrustedOwners) -> Self {
        let mut owners: BTreeMap<Name, Option<String>> = BTreeMap::new();
        for statement in statements {
            match statement.as_slice() {
                ["CREATE", "FUNCTION" | "PROCEDURE", schema, ".", name, ..]
                | ["CREATE", "OR", "REPLACE", "FUNCTION" | "PROCEDURE", schema, ".", name, ..] => {
                    owners.entry(pair(schema, name)).or_default();
                }
                ["ALTER", "FUNCTION" | "PROCEDURE", schema, ".", name, .., "OWNER", "TO", owner] => {
                    let known = owners.entry(pair(schema, name)).or_default();
                    // Of several with one name, one of a stranger is enough.
                    if known.as_deref().is_none_or(|known| trusted.has(known)) {
                        *known = Some(identifier(owner));
                    }
                }
                _ => {}
            }
        }
        owners.retain(|_, owner| owner.as_deref().is_none_or(|owner| !trusted.has(owner)));
        let operators = statements.iter().filter_map(|statement| operator(statement));
        let operators = operators.filter(|(_, function)| owners.contains_key(function)).collect();
        Self { functions: owners, operators }
    }

    fn run_by(&self, statement: &[&str], tables: &Tables) -> Vec<ForeignCode> {
        let (used_by, which) = match statement {
            ["CREATE", "TABLE", schema, ".", name, ..]
            | ["CREATE", "UNLOGGED" | "FOREIGN", "TABLE", schema, ".", name, ..] => {
                (format!("table {}", shown(&pair(schema, name))), Which::ButDefaults)
            }
            ["CREATE", "DOMAIN", schema, ".", name, ..] => {
                (format!("domain {}", shown(&pair(schema, name))), Which::ButDefaults)
            }
            ["ALTER", "TABLE", "ONLY", schema, ".", name, "ADD", "CONSTRAINT", constraint, kind, ..]
            | ["ALTER", "TABLE" | "DOMAIN", schema, ".", name, "ADD", "CONSTRAINT", constraint, kind, ..] => {
                let which = if *kind == "EXCLUDE" { Which::Folded } else { Which::All };
                (format!("constraint {} of {}", identifier(constraint), shown(&pair(schema, name))), which)
            }
            ["CREATE", "INDEX", name, ..] | ["CREATE", "UNIQUE", "INDEX", name, ..] => {
                (format!("index {}", identifier(name)), Which::Folded)
            }
            ["CREATE", "STATISTICS", schema, ".", name, ..] => {
                (format!("statistics {}", shown(&pair(schema, name))), Which::Folded)
            }
            ["CREATE", "EVENT", "TRIGGER", name, ..] => (format!("event trigger {}", identifier(name)), Which::All),
            // No expression shows where it is used.
            ["CREATE", "CAST", ..] => ("a cast".to_owned(), Which::All),
            _ => return Vec::new(),
        };
        let of_trusted = |name: &Name| statement.get(1) != Some(&"DOMAIN") && !tables.untrusted.contains_key(name);
        let always = which != Which::ButDefaults || made_type(statement).is_none_or(|made| of_trusted(&made));
        let called = calls(statement).into_iter().filter(|call| which.counts(statement, call));
        let functions = called.filter_map(|call| {
            let name = if call.operator { self.operators.get(&call.name)? } else { &call.name };
            let (function, owner) = self.functions.get_key_value(name)?;
            // A partition key of constants alone is evaluated when the table is made.
            let at_once = call.clause == Some("PARTITION") && Which::Folded.counts(statement, &call);
            Some((function, owner, !always && !at_once))
        });
        let code = |(function, owner, with_rows_only): (&Name, &Option<String>, bool)| ForeignCode {
            owner: owner.clone(),
            function: shown(function),
            used_by: used_by.clone(),
            with_rows_only,
        };
        functions.map(code).collect()
    }
}

/// Which of the calls in a statement run as the session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    /// Every one.
    All,
    /// All but those in `DEFAULT`: every column is loaded with its value.
    ButDefaults,
    /// Those of constants alone: the planner of any session may evaluate them. The others run as the table's owner.
    Folded,
}

impl Which {
    fn counts(self, statement: &[&str], call: &Call) -> bool {
        match self {
            Self::All => true,
            Self::ButDefaults => call.clause != Some("DEFAULT"),
            Self::Folded => call.operator || !is_of_columns(statement.get(call.arguments..).unwrap_or_default()),
        }
    }
}

/// A function or an operator where it is called.
struct Call {
    name: Name,
    operator: bool,
    /// The clause of a table or of a domain that it stands in.
    clause: Option<&'static str>,
    /// Index of the token behind the opening parenthesis.
    arguments: usize,
}

/// What is called in a statement, with its schema; what has none is of the catalog.
fn calls(statement: &[&str]) -> Vec<Call> {
    let (mut depth, mut clause) = (0_u32, None);
    let mut found = Vec::new();
    for (at, token) in statement.iter().enumerate() {
        match *token {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            "," if depth <= 1 => clause = None,
            "DEFAULT" if depth <= 1 => clause = Some("DEFAULT"),
            "CHECK" | "GENERATED" | "CONSTRAINT" if depth <= 1 => clause = None,
            "PARTITION" if depth == 0 => clause = Some("PARTITION"),
            _ => {}
        }
        let call = |name, operator, arguments| Call { name, operator, clause, arguments };
        match &statement[at..] {
            ["OPERATOR", "(", schema, ".", rest @ ..] => {
                let symbol: String = rest.iter().take(SYMBOL).take_while(|token| **token != ")").copied().collect();
                found.push(call((identifier(schema), symbol), true, at));
            }
            // Not the last two parts of a longer name.
            [schema, ".", name, "(", ..]
                if is_name(schema) && is_name(name) && (at == 0 || statement[at - 1] != ".") =>
            {
                found.push(call(pair(schema, name), false, at + 4));
            }
            _ => {}
        }
    }
    found
}

/// Whether the arguments that begin here, up to their closing parenthesis, name a column and do nothing but cast: such a call
/// depends on a row, so nothing evaluates it before there is one.
fn is_of_columns(arguments: &[&str]) -> bool {
    let (mut depth, mut columns) = (1_u32, 0);
    for (at, token) in arguments.iter().enumerate() {
        let next = arguments.get(at + 1).copied().unwrap_or_default();
        let before = at.checked_sub(1).map(|at| arguments[at]).unwrap_or_default();
        match *token {
            "(" => depth += 1,
            ")" => depth -= 1,
            "," | "." | ":" | "::" => {}
            name if is_name(name) => {
                let is_keyword = !name.starts_with('"') && name != name.to_lowercase();
                if next == "(" || is_keyword {
                    return false;
                }
                columns += u32::from(before != ":" && before != "::" && before != "." && next != ".");
            }
            literal if literal.starts_with(['\'', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) => {}
            _ => return false,
        }
        if depth == 0 {
            return columns > 0;
        }
    }
    false
}

/// An operator and its function.
fn operator(statement: &[&str]) -> Option<(Name, Name)> {
    let ["CREATE", "OPERATOR", schema, ".", rest @ ..] = statement else { return None };
    let symbol: String = rest.iter().take(SYMBOL).take_while(|token| **token != "(").copied().collect();
    let at = rest.iter().position(|token| matches!(*token, "FUNCTION" | "PROCEDURE"))?;
    let ["=", function_schema, ".", function, ..] = rest.get(at + 1..)? else { return None };
    Some(((identifier(schema), symbol), pair(function_schema, function)))
}

fn is_name(token: &str) -> bool {
    token.starts_with(|letter: char| letter == '"' || letter == '_' || letter.is_alphabetic())
}

fn pair(schema: &str, name: &str) -> Name {
    (identifier(schema), identifier(name))
}

/// An identifier without its quotes.
fn identifier(token: &str) -> String {
    match token.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => token.to_lowercase(),
    }
}

fn shown((schema, name): &Name) -> String {
    format!("{schema}.{name}")
}

#[cfg(test)]
mod tests;
