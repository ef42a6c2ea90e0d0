//! What rows that are there get: in new columns that are NOT NULL, and where PostgreSQL has no cast from the old type.

use std::collections::{BTreeMap, BTreeSet};

use crate::postgres::definitions::{Column, Relation};
use crate::postgres::{DatabaseError, Session};

use super::super::super::Error;
use super::super::super::replay::Built;
use super::difference::required_columns;
use super::model::Model;
use super::{Maker, not_possible};

/// SQLSTATE of a cast that there is none for.
const CANNOT_COERCE: &str = "42846";

/// A table and a column, as the catalog names them.
type Place = (String, String);

/// The answers.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// An SQL expression for each.
    pub(super) values: BTreeMap<Place, String>,
    /// Columns among them whose old type has no cast to the new one.
    pub(super) without_cast: BTreeSet<Place>,
}

impl Values {
    /// Takes those of the command line, and asks for what is missing.
    pub(super) async fn ask(
        maker: &Maker<'_>,
        (have, had): (&Model, &Built),
        (want, wanted): (&Model, &Built),
    ) -> Result<Values, Error> {
        let mut answers = Values { values: given(&maker.request.values, want)?, ..Values::default() };
        let sessions = (maker.replay.session(had).await?, maker.replay.session(wanted).await?);
        let mut missing: Vec<(Place, String)> = Vec::new();
        for (old, new) in tables(have, want) {
            let place = |column: &Column| (new.name.clone(), column.name.clone());
            for column in required_columns(old, new) {
                let why = format!(
                    "is NOT NULL without a default, and new in a table that may hold rows ({})",
                    column.data_type
                );
                missing.push((place(column), why));
            }
            for column in &new.columns {
                let Some(before) = old.column(&column.quoted).filter(|one| needs_cast(one, column)) else { continue };
                if !can_cast((&before.data_type, &column.data_type), [&sessions.0, &sessions.1]).await? {
                    answers.without_cast.insert(place(column));
                    let why = format!("was {}, and PostgreSQL has no cast to {}", before.data_type, column.data_type);
                    missing.push((place(column), why));
                }
            }
        }
        sessions.0.close().await;
        sessions.1.close().await;
        missing.retain(|(place, _)| !answers.values.contains_key(place));
        let mut left = Vec::new();
        for (place, why) in missing {
            let question = format!(
                "{}.{} {why}.\nAn SQL expression for the rows that are there (such as '' or 0 or lower(name)), or nothing to stop: ",
                place.0, place.1
            );
            match maker.operator.ask_text(&question).filter(|answer| !answer.trim().is_empty()) {
                Some(answer) => drop(answers.values.insert(place, answer)),
                None => left.push((place, why)),
            }
        }
        let Some(((table, column), _)) = left.first() else { return Ok(answers) };
        let all: Vec<String> = left.iter().map(|((table, column), why)| format!("{table}.{column} {why}")).collect();
        Err(not_possible(
            all.join("\n"),
            format!(
                "say what those rows get, as an SQL expression: --default \"{table}.{column}=''\"; \
                 or give a new column a DEFAULT in schema.sql"
            ),
        ))
    }
}

/// `TABLE.COLUMN=VALUE` of the command line.
fn given(all: &[String], want: &Model) -> Result<BTreeMap<Place, String>, Error> {
    let mut values = BTreeMap::new();
    for one in all {
        let parts = one.split_once('=').and_then(|(column, value)| Some((column.rsplit_once('.')?, value)));
        let Some(((table, column), value)) = parts.filter(|(_, value)| !value.trim().is_empty()) else {
            return Err(not_possible(
                format!("--default {one}: TABLE.COLUMN=VALUE is wanted"),
                "for example: --default \"menu_menuitem.allergens=''\"",
            ));
        };
        let table = table.rsplit('.').next().unwrap_or(table);
        let tables = || want.definitions.relations.values().filter(|one| one.is_table() && one.name == table);
        if !tables().any(|one| one.columns.iter().any(|one| one.name == column)) {
            let what =
                if tables().next().is_some() { format!("column {table}.{column}") } else { format!("table {table}") };
            return Err(not_possible(
                format!("--default {one}: no schema.sql has a {what}"),
                "names are those of schema.sql",
            ));
        }
        values.insert((table.to_owned(), column.to_owned()), value.to_owned());
    }
    Ok(values)
}

/// Tables in both; partitions follow theirs.
fn tables<'a>(have: &'a Model, want: &'a Model) -> Vec<(&'a Relation, &'a Relation)> {
    let pair = |at: usize| {
        let old = have.relation(at).filter(|one| one.is_table() && !one.is_partition)?;
        let new = want.find(&have.objects[at].key).and_then(|pair| want.relation(pair))?;
        Some((old, new))
    };
    (0..have.objects.len()).filter_map(pair).collect()
}

fn needs_cast(old: &Column, new: &Column) -> bool {
    // Of an enum the label is cast.
    let are_enums = old.category == 'E' && new.category == 'E' && !old.is_array && !new.is_array;
    !are_enums && old.data_type != new.data_type && old.generated != 'v' && new.generated == ' '
}

/// Whether PostgreSQL has a cast. A type that is in only one of the databases is cast by way of its text, or not at all.
async fn can_cast((from, to): (&str, &str), sessions: [&Session; 2]) -> Result<bool, Error> {
    for session in sessions {
        match session.batch_execute(&format!("SELECT CAST(CAST(NULL AS {from}) AS {to})")).await {
            Ok(()) => return Ok(true),
            Err(error) => {
                if DatabaseError::from(&error).has_sqlstate(CANNOT_COERCE) {
                    return Ok(false);
                }
            }
        }
    }
    let is_text = |name: &str| name == "text" || name.starts_with("character");
    Ok(is_text(from) || is_text(to))
}
