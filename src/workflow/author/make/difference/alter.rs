//! Changes of objects that are no tables, in place.

use crate::postgres::definitions::{Domain, FUNCTION, TYPE};
use crate::postgres::quote_literal;

use super::super::model::{Model, Object, without_only};
use super::operation::{Mode, Operation};
use super::table::option_changes;

/// How an object becomes another one of the same name.
pub(super) enum Change {
    /// By these steps.
    InPlace(Vec<Operation>),
    /// The labels of an enum are others: a new type takes its place.
    NewLabels,
    /// By being dropped and made again.
    Replace,
    /// Not at all.
    Impossible(&'static str),
}

/// Decides how `have` becomes `want`; of tables the columns are compared elsewhere.
pub(super) fn change((have_model, have): (&Model, &Object), (want_model, want): (&Model, &Object)) -> Change {
    let together = |up: Vec<String>, down: Vec<String>| Change::InPlace(vec![Operation::new(Mode::Together, up, down)]);
    if have.statements == want.statements {
        return match (&have.owner, &want.owner) {
            (Some(from), Some(to)) => {
                let head = owner_head(want);
                together(vec![format!("{head} OWNER TO {to}")], vec![format!("{head} OWNER TO {from}")])
            }
            _ => Change::Impossible("its owner"),
        };
    }
    match want.kind() {
        "TYPE" => of_type((have_model, have), (want_model, want)),
        "DOMAIN" => of_domain((have_model, have), (want_model, want)),
        "SEQUENCE" => of_sequence(have, want),
        "FUNCTION" | "PROCEDURE" => {
            let shape = |(model, one): (&Model, &Object)| model.definitions.functions.get(&one.address.1).cloned();
            let same = have.address.0 == FUNCTION && shape((have_model, have)) == shape((want_model, want));
            match same {
                true => together(or_replace(&want.statements), or_replace(&have.statements)),
                false => Change::Replace,
            }
        }
        "VIEW" => {
            let columns = |model: &Model, one: &Object| {
                let relation = model.definitions.relations.get(&one.address.1);
                let columns = relation.map(|one| &one.columns).into_iter().flatten();
                columns.map(|one| (one.name.clone(), one.data_type.clone(), one.collation.clone())).collect::<Vec<_>>()
            };
            let (had, wanted) = (columns(have_model, have), columns(want_model, want));
            let several = have.statements.len() > 1 || want.statements.len() > 1;
            match (had == wanted, wanted.starts_with(&had)) {
                _ if several => Change::Replace,
                (true, _) => together(or_replace(&want.statements), or_replace(&have.statements)),
                (false, true) => {
                    // A view can get columns, not lose them: the way back makes it anew.
                    let mut down: Vec<String> = want.drop.iter().cloned().collect();
                    down.extend(have.statements.iter().cloned());
                    together(or_replace(&want.statements), down)
                }
                _ => Change::Replace,
            }
        }
        "MATERIALIZED VIEW" => match of_materialized_view((have_model, have), (want_model, want)) {
            Some((up, down)) => together(vec![up], vec![down]),
            None => Change::Replace,
        },
        "RULE" if want.name().ends_with(" _RETURN") => together(want.statements.clone(), have.statements.clone()),
        "COMMENT" | "SEQUENCE OWNED BY" => together(want.statements.clone(), have.statements.clone()),
        "ACL" | "DEFAULT ACL" => match super::privileges::change(&have.statements, &want.statements) {
            Some((up, down)) => together(up, down),
            None => Change::Impossible("its privileges"),
        },
        "SCHEMA" => Change::Impossible("a schema is not dropped to be made anew"),
        "EXTENSION" => Change::Impossible("an extension is not dropped to be made anew"),
        _ => Change::Replace,
    }
}

/// Other storage parameters only.
fn of_materialized_view(
    (have_model, have): (&Model, &Object),
    (want_model, want): (&Model, &Object),
) -> Option<(String, String)> {
    let query = |one: &Object| {
        let (head, query) = one.statements.first()?.split_once(" AS\n")?;
        Some((head.split("\nWITH (").next()?.to_owned(), query.to_owned(), one.statements.len()))
    };
    let options = |model: &Model, one: &Object| Some(model.definitions.relations.get(&one.address.1)?.options.clone());
    let (had, wanted) = (options(have_model, have)?, options(want_model, want)?);
    let (up, down) =
        option_changes(&had, &wanted, "").filter(|_| query(have).is_some() && query(have) == query(want))?;
    let path = &want_model.definitions.relations.get(&want.address.1)?.path;
    let alter = |rest: String| format!("ALTER MATERIALIZED VIEW {path} {rest}");
    Some((alter(up), alter(down)))
}

fn owner_head(object: &Object) -> String {
    let head = object.drop.as_deref().and_then(|drop| drop.strip_prefix("DROP "));
    format!("ALTER {}", head.unwrap_or_default())
}

/// `CREATE FUNCTION` as `CREATE OR REPLACE FUNCTION`.
pub(super) fn or_replace(statements: &[String]) -> Vec<String> {
    let replace = |one: &String| match one.strip_prefix("CREATE ").filter(|rest| !rest.starts_with("OR REPLACE")) {
        Some(rest) => format!("CREATE OR REPLACE {rest}"),
        None => one.clone(),
    };
    statements.iter().map(replace).collect()
}

fn of_type((have_model, have): (&Model, &Object), (want_model, want): (&Model, &Object)) -> Change {
    let labels = |model: &Model, one: &Object| match one.address {
        (TYPE, oid) => model.definitions.enums.get(&oid).cloned(),
        _ => None,
    };
    if let (Some(had), Some(wanted)) = (labels(have_model, have), labels(want_model, want)) {
        return of_enum(&had, &wanted, type_name(want));
    }
    let attributes = |model: &Model, one: &Object| {
        model.definitions.relations.get(&one.address.1).filter(|one| one.kind == 'c').map(|one| one.columns.clone())
    };
    let (Some(had), Some(wanted)) = (attributes(have_model, have), attributes(want_model, want)) else {
        return Change::Replace;
    };
    let name = type_name(want);
    let mut steps = Vec::new();
    let typed = |one: &crate::postgres::definitions::Column| {
        let collation = one.collation.as_ref().map(|one| format!(" COLLATE {one}")).unwrap_or_default();
        format!("{}{collation}", one.data_type)
    };
    let mut step = |up: String, down: String| {
        steps.push(Operation::new(
            Mode::Together,
            vec![format!("ALTER TYPE {name} {up}")],
            vec![format!("ALTER TYPE {name} {down}")],
        ));
    };
    for one in &had {
        let (add, drop) =
            (format!("ADD ATTRIBUTE {} {}", one.quoted, typed(one)), format!("DROP ATTRIBUTE {}", one.quoted));
        match wanted.iter().find(|other| other.quoted == one.quoted) {
            None => step(drop, add),
            Some(other) if typed(other) != typed(one) => step(
                format!("ALTER ATTRIBUTE {} TYPE {}", one.quoted, typed(other)),
                format!("ALTER ATTRIBUTE {} TYPE {}", one.quoted, typed(one)),
            ),
            Some(_) => {}
        }
    }
    for one in wanted.iter().filter(|one| !had.iter().any(|other| other.quoted == one.quoted)) {
        step(format!("ADD ATTRIBUTE {} {}", one.quoted, typed(one)), format!("DROP ATTRIBUTE {}", one.quoted));
    }
    Change::InPlace(steps)
}

/// The quoted name in `DROP TYPE name`.
pub(super) fn type_name(object: &Object) -> String {
    let drop = object.drop.as_deref().unwrap_or_default();
    drop.splitn(3, ' ').nth(2).unwrap_or_default().to_owned()
}

fn of_enum(had: &[String], wanted: &[String], name: String) -> Change {
    let mut rest = wanted.iter();
    if !had.iter().all(|label| rest.any(|other| other == label)) {
        return Change::NewLabels;
    }
    let mut steps = Vec::new();
    for (at, label) in wanted.iter().enumerate().filter(|(_, label)| !had.contains(label)) {
        // What is before it is there already, by itself or by the step before.
        let place = match at.checked_sub(1).map(|at| &wanted[at]) {
            Some(before) => format!(" AFTER{}", spaced(&quote_literal(before))),
            None => had.first().map(|first| format!(" BEFORE{}", spaced(&quote_literal(first)))).unwrap_or_default(),
        };
        let up = format!("ALTER TYPE {name} ADD VALUE{}{place}", spaced(&quote_literal(label)));
        let operation = Operation::new(Mode::EnumValue, vec![up], Vec::new())
            .irreversible(format!("PostgreSQL cannot take the value {label} of {name} away, and rows may hold it"));
        let short = name.rsplit('.').next().unwrap_or_default().trim_matches('"').to_owned();
        steps.push(operation.titled('+', format!("Add value {label} to {short}"), format!("{short}_add_{label}")));
    }
    Change::InPlace(steps)
}

fn spaced(literal: &str) -> String {
    format!(" {}", literal.trim_start())
}

fn of_domain((have_model, have): (&Model, &Object), (want_model, want): (&Model, &Object)) -> Change {
    let domain = |model: &Model, one: &Object| model.definitions.domains.get(&one.address.1).cloned();
    let (Some(had), Some(wanted)) = (domain(have_model, have), domain(want_model, want)) else {
        return Change::Replace;
    };
    if had.base != wanted.base {
        return Change::Impossible("PostgreSQL cannot change the type under a domain");
    }
    let mut steps = Vec::new();
    let alter = |rest: String| format!("ALTER DOMAIN {} {rest}", wanted.path);
    let mut step = |mode, up: String, down: String| {
        steps.push(Operation::new(mode, vec![alter(up)], down.split('\0').map(|one| alter(one.to_owned())).collect()));
    };
    if had.default != wanted.default {
        let default = |one: &Domain| match &one.default {
            Some(value) => format!("SET DEFAULT {value}"),
            None => "DROP DEFAULT".to_owned(),
        };
        step(Mode::Together, default(&wanted), default(&had));
    }
    if had.not_null != wanted.not_null {
        let not_null = |one: &Domain| if one.not_null { "SET NOT NULL" } else { "DROP NOT NULL" }.to_owned();
        step(Mode::Together, not_null(&wanted), not_null(&had));
    }
    let add = |one: &crate::postgres::definitions::Check| format!("ADD CONSTRAINT {} {}", one.quoted, one.definition);
    for one in had.checks.iter().filter(|one| !wanted.checks.contains(one)) {
        step(Mode::Together, format!("DROP CONSTRAINT {}", one.quoted), add(one));
    }
    for one in wanted.checks.iter().filter(|one| !had.checks.contains(one)) {
        let drop = format!("DROP CONSTRAINT {}", one.quoted);
        let plain = add(one);
        if one.valid {
            step(Mode::Together, format!("{plain} NOT VALID"), drop.clone());
            // A constraint cannot be made NOT VALID again, only anew.
            step(Mode::Validate, format!("VALIDATE CONSTRAINT {}", one.quoted), format!("{drop}\0{plain} NOT VALID"));
        } else {
            step(Mode::Together, plain, drop);
        }
    }
    Change::InPlace(steps)
}

fn of_sequence(have: &Object, want: &Object) -> Change {
    let alter = |one: &Object| -> Option<Vec<String>> {
        let first = one.statements.first()?;
        if let Some(rest) = first.strip_prefix("CREATE SEQUENCE ") {
            return Some(vec![format!("ALTER SEQUENCE {rest}")]);
        }
        // ALTER TABLE t ALTER COLUMN c ADD GENERATED x AS IDENTITY (SEQUENCE NAME n START WITH 1 …)
        let (head, rest) = first.split_once(" ADD GENERATED ")?;
        let (kind, options) = rest.split_once(" AS IDENTITY (")?;
        let mut words = vec![format!("SET GENERATED {kind}")];
        let options = options.trim_end().trim_end_matches(')');
        words.extend(
            options
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty() && !line.starts_with("SEQUENCE NAME"))
                .map(|line| format!("SET {line}")),
        );
        if !words.iter().any(|word| word.ends_with("CYCLE")) {
            words.push("SET NO CYCLE".to_owned());
        }
        Some(vec![format!("{} {}", without_only(head), words.join(" "))])
    };
    let kind = |one: &Object| one.statements.first().map(|first| first.starts_with("ALTER TABLE"));
    match (kind(have) == kind(want), alter(have), alter(want)) {
        (true, Some(down), Some(up)) => {
            // What a sequence does not say is the default.
            let whole = |mut statements: Vec<String>| {
                for one in &mut statements {
                    if one.starts_with("ALTER SEQUENCE") && !one.contains("CYCLE") {
                        one.push_str("\n    NO CYCLE");
                    }
                    if one.starts_with("ALTER SEQUENCE") && !one.contains("\n    AS ") {
                        one.push_str("\n    AS bigint");
                    }
                }
                statements
            };
            let (up, down) = (whole(up), whole(down));
            Change::InPlace(vec![Operation::new(Mode::Together, up, down)])
        }
        _ => Change::Replace,
    }
}
