//! Which table and column the operator means.

use crate::migration::nearest;
use crate::postgres::ArchiveEntry;
use crate::postgres::recovery::{self, Relation};
use crate::postgres::{Session, quote_identifier};
use crate::report::format_list;

use super::super::Error;

/// The tables of the snapshot that are meant, each once.
pub(super) fn tables(entries: &[ArchiveEntry], asked: &[String]) -> Result<Vec<(String, String)>, Error> {
    let mut found: Vec<(String, String)> = Vec::new();
    for asked in asked {
        let one = table(entries, asked)?;
        if !found.contains(&one) {
            found.push(one);
        }
    }
    Ok(found)
}

/// The table in the scratch database `old`, and in the live one where it is there.
pub(super) async fn both(
    old: &Session,
    live: &Session,
    (schema, name): (&str, &str),
) -> Result<(Relation, Option<Relation>), Error> {
    let Some(table) = recovery::relation(old, schema, name).await? else {
        return Err(Error::RestoreRefused(format!("the archive names {schema}.{name} and does not make it")));
    };
    let present = recovery::relation(live, schema, name).await?;
    if let Some(other) = present.as_ref().filter(|present| !['r', 'p'].contains(&present.kind)) {
        let what = recovery::describe_kind(other.kind);
        return Err(Error::NoSuchPart {
            message: format!("{schema}.{name} is a {what} in the live database and was a table in the snapshot"),
            hint: Some("rename it, and the table can come back under its own name".to_owned()),
        });
    }
    Ok((table, present))
}

/// The table of the snapshot that is meant, as schema and name.
///
/// It may be typed as `t`, `s.t`, or as SQL quotes it; letters of another case are tried when nothing is equal.
pub(super) fn table(entries: &[ArchiveEntry], asked: &str) -> Result<(String, String), Error> {
    let relations = |kinds: &'static [&'static str]| {
        entries
            .iter()
            .filter(move |entry| kinds.contains(&entry.kind.as_str()))
            .filter_map(|entry| Some((entry.schema.clone()?, entry.name.clone(), entry.kind.to_lowercase())))
    };
    let tables: Vec<_> = relations(&["TABLE"]).filter(|(schema, ..)| schema != "safe_migrate").collect();
    let mut found: Vec<_> = tables.iter().filter(|(schema, name, _)| is_called(schema, name, asked)).collect();
    if found.is_empty() {
        let folded = asked.to_lowercase();
        found = tables.iter().filter(|(schema, name, _)| is_called(schema, name, &folded)).collect();
    }
    match found.as_slice() {
        [(schema, name, _)] => Ok((schema.clone(), name.clone())),
        [] => Err(unknown(asked, &tables, relations(&["VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE"]))),
        several => {
            let names: Vec<String> = several.iter().map(|(schema, name, _)| format!("{schema}.{name}")).collect();
            Err(Error::NoSuchPart {
                message: format!("the snapshot has several tables \"{asked}\": {}", format_list(&names)),
                hint: Some("name it with its schema".to_owned()),
            })
        }
    }
}

fn is_called(schema: &str, name: &str, asked: &str) -> bool {
    let (quoted_schema, quoted) = (quote_identifier(schema), quote_identifier(name));
    asked == name
        || asked == quoted
        || [schema, &quoted_schema].iter().any(|schema| {
            asked
                .strip_prefix(schema)
                .and_then(|rest| rest.strip_prefix('.'))
                .is_some_and(|rest| rest == name || rest == quoted)
        })
}

fn unknown(
    asked: &str,
    tables: &[(String, String, String)],
    mut others: impl Iterator<Item = (String, String, String)>,
) -> Error {
    if let Some((schema, name, kind)) = others.find(|(schema, name, _)| is_called(schema, name, asked)) {
        return Error::NoSuchPart {
            message: format!("{schema}.{name} is a {kind}: it has no rows of its own in a snapshot"),
            hint: Some(
                "only tables and their columns are recovered alone; `restore` brings back everything".to_owned(),
            ),
        };
    }
    let bare = asked.rsplit_once('.').map_or(asked, |(_, name)| name).trim_matches('"');
    let near = nearest(bare, tables.iter().map(|(_, name, _)| name.as_str()));
    let named = |near: &&str| {
        let of = |(schema, name, _): &&(String, String, String)| (name == near).then(|| format!("{schema}.{name}"));
        tables.iter().find_map(|table| of(&table))
    };
    let names: Vec<String> = near.iter().filter_map(named).take(3).collect();
    let hint = if names.is_empty() {
        "`safe-migrate snapshot show ID` lists its tables".to_owned()
    } else {
        format!("did you mean {}?", names.join(" or "))
    };
    Error::NoSuchPart { message: format!("the snapshot has no table \"{asked}\""), hint: Some(hint) }
}

/// The column that is meant.
pub(super) fn column(columns: &[String], asked: &str, table: &str) -> Result<String, Error> {
    let unquoted =
        asked.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).map(|name| name.replace("\"\"", "\""));
    let folded = asked.to_lowercase();
    let wanted = [Some(asked), unquoted.as_deref(), Some(folded.as_str())];
    for name in wanted.into_iter().flatten() {
        if let Some(found) = columns.iter().find(|column| *column == name) {
            return Ok(found.clone());
        }
    }
    let near = nearest(asked, columns.iter().map(String::as_str));
    let hint = match near.first() {
        Some(name) => format!("did you mean {name}?"),
        None => format!("it has: {}", format_list(columns)),
    };
    Err(Error::NoSuchPart {
        message: format!("table {table} of the snapshot has no column \"{asked}\""),
        hint: Some(hint),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: &str, schema: &str, name: &str) -> ArchiveEntry {
        let (kind, schema, name) = (kind.to_owned(), Some(schema.to_owned()), name.to_owned());
        ArchiveEntry { id: 1, kind, schema, name, ..ArchiveEntry::default() }
    }

    #[test]
    fn a_table_is_found_as_it_is_typed() {
        let all = [
            entry("TABLE", "public", "dish"),
            entry("TABLE", "My Schema", "Odd \"Name\""),
            entry("TABLE", "a", "twice"),
            entry("TABLE", "b", "twice"),
            entry("VIEW", "public", "seen"),
        ];
        let found = |asked: &str| table(&all, asked).map(|(schema, name)| format!("{schema}.{name}"));
        assert_eq!(found("dish").unwrap(), "public.dish");
        assert_eq!(found("Public.DISH").unwrap(), "public.dish");
        for asked in ["Odd \"Name\"", "My Schema.Odd \"Name\"", "\"My Schema\".\"Odd \"\"Name\"\"\""] {
            assert_eq!(found(asked).unwrap(), "My Schema.Odd \"Name\"", "{asked}");
        }
        assert_eq!(found("b.twice").unwrap(), "b.twice");
        assert_eq!(
            found("twice").unwrap_err().to_string(),
            "the snapshot has several tables \"twice\": a.twice, b.twice"
        );
        let Error::NoSuchPart { hint, .. } = table(&all, "public.dihs").unwrap_err() else { panic!() };
        assert_eq!(hint.as_deref(), Some("did you mean public.dish?"));
        assert!(found("seen").unwrap_err().to_string().contains("is a view"));
    }
}
