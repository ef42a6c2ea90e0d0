//! Names in a database of SQL_ASCII whose bytes are no UTF-8: we cannot name them, and say how they are renamed.

use super::{DatabaseError, Session, quote_literal};

/// Schemas, tables and sequences, with their columns: what a snapshot reads by name. All else it has from `pg_dump`, as
/// bytes. A foreign key's or an index's name is not read.
const NAMES: &str = "
    SELECT pg_catalog.convert_to(n.nspname::text, 'SQL_ASCII'), NULL::bytea, NULL::bytea
      FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_'
     UNION ALL
    SELECT pg_catalog.convert_to(n.nspname::text, 'SQL_ASCII'), pg_catalog.convert_to(c.relname::text, 'SQL_ASCII'), NULL
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
     UNION ALL
    SELECT pg_catalog.convert_to(n.nspname::text, 'SQL_ASCII'), pg_catalog.convert_to(c.relname::text, 'SQL_ASCII'), pg_catalog.convert_to(a.attname::text, 'SQL_ASCII')
      FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND a.attnum > 0
       AND NOT a.attisdropped";

/// A name that is no UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableName {
    /// What it is and where, its bytes escaped: `column public.caf\xe9.pri\xe8x`.
    pub object: String,
    /// A statement, in ASCII, that gives it a name of letters and digits.
    pub rename: String,
}

/// Finds such names; there are none where the database has an encoding.
pub async fn unreadable_names(session: &Session) -> Result<Vec<UnreadableName>, DatabaseError> {
    if session.parameter("server_encoding") != Some("SQL_ASCII") {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for row in session.query(NAMES, &[]).await? {
        let parts: Vec<Vec<u8>> = (0..3).filter_map(|at| row.get::<_, Option<Vec<u8>>>(at)).collect();
        found.extend(unreadable(&parts));
    }
    // Columns first, then tables: as each statement names its object, the names above it are still the old ones.
    found.sort_by_key(|(depth, _)| std::cmp::Reverse(*depth));
    Ok(found.into_iter().map(|(_, name)| name).collect())
}

/// The schema, or the table in it, or the column of that: the last part is looked at.
fn unreadable(parts: &[Vec<u8>]) -> Option<(usize, UnreadableName)> {
    let (last, above) = parts.split_last()?;
    if std::str::from_utf8(last).is_ok() {
        return None;
    }
    let what = ["schema", "table", "column"].get(above.len())?;
    let shown: Vec<String> = parts.iter().map(|part| part.escape_ascii().to_string()).collect();
    let form =
        ["ALTER SCHEMA %I RENAME TO %I", "ALTER TABLE %I.%I RENAME TO %I", "ALTER TABLE %I.%I RENAME COLUMN %I TO %I"]
            .get(above.len())?;
    let mut arguments: Vec<String> = parts.iter().map(|part| argument(part)).collect();
    arguments.push(quote_literal(&readable(last)));
    Some((
        above.len(),
        UnreadableName {
            object: format!("{what} {}", shown.join(".")),
            rename: format!("DO $$BEGIN EXECUTE format('{form}', {}); END$$;", arguments.join(", ")),
        },
    ))
}

/// The name as an expression in ASCII.
fn argument(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(text) if text.is_ascii() && !text.contains('$') => quote_literal(text),
        _ => format!("convert_from('\\x{}', 'SQL_ASCII')", hex::encode(name)),
    }
}

/// The name with each byte outside of ASCII as its two digits: `caf_e9`.
fn readable(name: &[u8]) -> String {
    let byte = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b' ' | b'-' => char::from(*byte).to_string(),
        other => format!("_{other:02x}"),
    };
    let mut name: String = name.iter().map(byte).collect();
    name.truncate(63);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_said_and_renamed_in_ascii() {
        let of = |parts: &[&[u8]]| unreadable(&parts.iter().map(|part| part.to_vec()).collect::<Vec<_>>());
        assert_eq!(of(&[b"public", "café".as_bytes()]), None);
        assert_eq!(of(&[b"caf\xe9", b"dish"]), None, "the schema is a name of its own");
        let (_, column) = of(&[b"public", b"caf\xe9", b"it's $$\xe8"]).unwrap();
        assert_eq!(column.object, r"column public.caf\xe9.it\'s $$\xe8");
        assert_eq!(
            column.rename,
            "DO $$BEGIN EXECUTE format('ALTER TABLE %I.%I RENAME COLUMN %I TO %I', 'public', \
             convert_from('\\x636166e9', 'SQL_ASCII'), convert_from('\\x697427732024 24e8', 'SQL_ASCII'), \
             'it_27s _24_24_e8'); END$$;"
                .replace("2024 24", "202424")
        );
    }
}
