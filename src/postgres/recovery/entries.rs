//! The SQL of some entries of an archive, and what they need of others.

use std::collections::BTreeSet;
use std::path::Path;

use super::super::archive::{ArchiveError, Section, Tablespaces, output, text_of};
use super::super::archive_entries::{self, ArchiveEntry};
use super::super::{DatabaseError, Programs, Session, qualified, quote_identifier};

/// The SQL of some entries, in the order of the archive, ready for a session of ours.
pub async fn script(
    programs: &Programs,
    archive: &Path,
    ids: &BTreeSet<u32>,
    section: Option<Section>,
) -> Result<String, ArchiveError> {
    let all = archive_entries::entries(programs, archive, None, Tablespaces::AsRecorded).await?;
    let order: Vec<u32> = all.iter().map(|entry| entry.id).collect();
    let list: String = order.iter().filter(|id| ids.contains(id)).map(|id| format!("{id};\n")).collect();
    let path = archive.with_extension("part.list");
    let doing = "the list of wanted entries";
    tokio::fs::write(&path, list).await.map_err(|source| ArchiveError::Start { doing: doing.to_owned(), source })?;
    let mut command = programs.command("pg_restore");
    command.arg("--file=-").arg("--use-list").arg(&path);
    if let Some(section) = section {
        command.arg(section.argument());
    }
    command.arg(archive);
    Ok(for_a_session(&text_of(output(command, "pg_restore to text").await?)))
}

/// Takes out what only psql knows, and settings that are this session's own. Both stand in the head that
/// `pg_restore` prints before the first entry; `\unrestrict` carries the head's token.
fn for_a_session(script: &str) -> String {
    let token = script.lines().find_map(|line| line.strip_prefix("\\restrict "));
    let ends = token.map(|token| [format!("\\restrict {token}"), format!("\\unrestrict {token}")]);
    let mut own =
        ["SET lock_timeout = 0;", "SET client_encoding = ", "SELECT pg_catalog.set_config('search_path', ''"].map(Some);
    let mut kept = String::with_capacity(script.len());
    for line in script.lines() {
        if ends.as_ref().is_some_and(|ends| ends.iter().any(|end| end == line)) {
            continue;
        }
        // Each once: the head has them first.
        if let Some(seen) = own.iter_mut().find(|one| one.is_some_and(|start| line.starts_with(start))) {
            *seen = None;
            continue;
        }
        kept.push_str(line);
        kept.push('\n');
    }
    kept
}

/// Kinds of entries that a table may need and that come back with it.
const MADE_ALONG: &[&str] =
    &["SCHEMA", "TYPE", "SHELL TYPE", "DOMAIN", "FUNCTION", "PROCEDURE", "AGGREGATE", "SEQUENCE", "COLLATION"];

/// What the given entries need of types, functions and the like and the live database does not have: entries to be
/// made first (with their privileges and comments), and those that cannot be, by name.
pub async fn prerequisites(
    live: &Session,
    all: &[ArchiveEntry],
    wanted: &BTreeSet<u32>,
) -> Result<(Vec<ArchiveEntry>, Vec<String>), DatabaseError> {
    let mut seen = wanted.clone();
    let mut open: Vec<u32> = wanted.iter().copied().collect();
    let (mut made, mut refused) = (Vec::new(), Vec::new());
    while let Some(id) = open.pop() {
        let Some(entry) = all.iter().find(|entry| entry.id == id) else { continue };
        for need in &entry.needs {
            let Some(needed) = all.iter().find(|one| one.id == *need) else { continue };
            // Other tables are no part of this one; they are looked at as what foreign keys point to.
            if matches!(needed.kind.as_str(), "TABLE" | "VIEW" | "MATERIALIZED VIEW" | "FOREIGN TABLE" | "INDEX")
                || needed.kind.contains("CONSTRAINT")
                || !seen.insert(needed.id)
            {
                continue;
            }
            if is_there(live, needed).await? {
                continue;
            }
            if MADE_ALONG.contains(&needed.kind.as_str()) {
                open.push(needed.id);
                made.push(needed.clone());
            } else {
                refused.push(format!("{} {}", needed.kind.to_lowercase(), needed.name));
            }
        }
    }
    let ids: BTreeSet<u32> = made.iter().map(|entry| entry.id).collect();
    let of_them = |entry: &&ArchiveEntry| {
        ["ACL", "COMMENT"].contains(&entry.kind.as_str()) && entry.needs.iter().any(|need| ids.contains(need))
    };
    made.extend(all.iter().filter(of_them).cloned());
    Ok((made, refused))
}

async fn is_there(live: &Session, entry: &ArchiveEntry) -> Result<bool, DatabaseError> {
    let name = match &entry.schema {
        Some(schema) => qualified(schema, &entry.name),
        None => quote_identifier(&entry.name),
    };
    let (sql, name) = match entry.kind.as_str() {
        "SCHEMA" => ("SELECT pg_catalog.to_regnamespace($1) IS NOT NULL", quote_identifier(&entry.name)),
        "TYPE" | "SHELL TYPE" | "DOMAIN" => ("SELECT pg_catalog.to_regtype($1) IS NOT NULL", name),
        "SEQUENCE" => ("SELECT pg_catalog.to_regclass($1) IS NOT NULL", name),
        "FUNCTION" | "PROCEDURE" | "AGGREGATE" => {
            // The tag is `name(types)`, the name without quotes.
            let (function, types) = entry.name.rsplit_once('(').unwrap_or((&entry.name, ")"));
            let schema = entry.schema.as_deref().unwrap_or("public");
            let name = format!("{}({types}", qualified(schema, function));
            ("SELECT pg_catalog.to_regprocedure($1) IS NOT NULL", name)
        }
        "EXTENSION" => {
            let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = $1::text)";
            (sql, entry.name.clone())
        }
        "COLLATION" => ("SELECT pg_catalog.to_regcollation($1) IS NOT NULL", name),
        // Of no kind that the table's definition could miss without a word from the server.
        _ => return Ok(true),
    };
    Ok(live.query_one(sql, &[&name]).await?.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_loses_what_only_psql_knows() {
        let script = "\\restrict abc\nSET lock_timeout = 0;\nSET client_encoding = 'UTF8';\nSELECT '\n\\restrict x\n\
                      SET lock_timeout = 0;\n';\n\\unrestrict abc\n";
        assert_eq!(for_a_session(script), "SELECT '\n\\restrict x\nSET lock_timeout = 0;\n';\n");
    }
}
