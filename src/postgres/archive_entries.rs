//! The entries of an archive, each with its SQL and what it depends on.
//!
//! `pg_restore --verbose --file=-` prints each entry below a header of comment lines (`_printTocEntry` in
//! `pg_backup_archiver.c`):
//! ```text
//! --
//! -- TOC entry 3564 (class 2606 OID 16440)
//! -- Dependencies: 224
//! -- Name: orders_order orders_order_pkey; Type: CONSTRAINT; Schema: public; Owner: app
//! --
//! ```
//! The text is read by tokens, because a literal may hold exactly such lines.

use std::path::Path;

use squawk_lexer::{TokenKind, tokenize};

use super::archive::{ArchiveError, Section, Tablespaces, output, text_of};
use super::{DatabaseError, Programs, Session};

/// One entry of an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveEntry {
    /// Its number in the archive, the first word of its line in `pg_restore --list`.
    pub id: u32,
    /// Catalog and OID of the object in the database that was dumped; zeros for a property such as `ACL` or `COMMENT`.
    pub address: (u32, u32),
    /// What it is, such as `TABLE`, `INDEX` or `FK CONSTRAINT`.
    pub kind: String,
    /// Its schema; none for what lies in none.
    pub schema: Option<String>,
    /// Its tag: a name, or `table constraint`, or `COLUMN table.column`.
    pub name: String,
    /// Numbers of the entries that it needs.
    pub needs: Vec<u32>,
    /// The statements that make it; empty in an archive whose text is not UTF-8 (a database without an encoding).
    pub sql: String,
    /// The tablespace that was chosen before it, as it stands in the script.
    pub tablespace: String,
}

/// Kinds that go with what they are about.
const GOES_ALONG: &[&str] = &["ACL", "COMMENT", "SECURITY LABEL"];

impl ArchiveEntry {
    /// Whether it is a property of what it needs.
    pub fn goes_along(&self) -> bool {
        GOES_ALONG.contains(&self.kind.as_str())
    }

    /// What it is called, as `restore --without` names it: `EVENT TRIGGER watch`, `FUNCTION public.total(integer)`.
    pub fn label(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{} {schema}.{}", self.kind, self.name),
            None => format!("{} {}", self.kind, self.name),
        }
    }
}

/// Reads the entries of an archive in its order, chosen by `list` (as `pg_restore --use-list` takes it) when there is one.
pub async fn entries(
    programs: &Programs,
    archive: &Path,
    list: Option<&Path>,
    tablespaces: Tablespaces,
) -> Result<Vec<ArchiveEntry>, ArchiveError> {
    entries_of_section(programs, archive, None, list, tablespaces).await
}

/// The same, of one section when it is given.
pub async fn entries_of_section(
    programs: &Programs,
    archive: &Path,
    section: Option<Section>,
    list: Option<&Path>,
    tablespaces: Tablespaces,
) -> Result<Vec<ArchiveEntry>, ArchiveError> {
    let mut command = programs.command("pg_restore");
    command.args(["--verbose", "--file=-"]);
    if let Some(section) = section {
        command.arg(section.argument());
    }
    if let Some(list) = list {
        command.arg("--use-list").arg(list);
    }
    if tablespaces == Tablespaces::Default {
        command.arg("--no-tablespaces");
    }
    command.arg(archive);
    let script = output(command, "pg_restore to text").await?;
    Ok(match std::str::from_utf8(&script) {
        Ok(script) => read(script),
        Err(_) => {
            read(&text_of(script)).into_iter().map(|entry| ArchiveEntry { sql: String::new(), ..entry }).collect()
        }
    })
}

/// Makes an entry.
pub async fn make(session: &Session, entry: &ArchiveEntry) -> Result<(), DatabaseError> {
    let sql = format!("SET default_tablespace = {};\n{}", entry.tablespace, entry.sql);
    Ok(session.batch_execute(&sql).await?)
}

/// Reads the entries of a script of `pg_restore --verbose --file=-`.
pub fn read(script: &str) -> Vec<ArchiveEntry> {
    let mut reader = Reader { at_statement_start: true, tablespace: "''".to_owned(), ..Reader::default() };
    let (mut offset, mut skip_to) = (0, 0);
    for token in tokenize(script) {
        let start = offset;
        offset += token.len as usize;
        if start < skip_to {
            continue;
        }
        if reader.at_statement_start
            && let Some(length) = reader.take_setting(&script[start..])
        {
            skip_to = start + length;
            continue;
        }
        reader.take(token.kind, &script[start..offset]);
    }
    reader.finish_entry();
    reader.entries
}

#[derive(Default)]
struct Reader {
    entries: Vec<ArchiveEntry>,
    current: Option<ArchiveEntry>,
    at_statement_start: bool,
    tablespace: String,
}

impl Reader {
    /// A setting of the script or a command of psql, which belongs to no entry: its length with the line's end.
    fn take_setting(&mut self, rest: &str) -> Option<usize> {
        if !rest.starts_with("SET default_") && !rest.starts_with('\\') {
            return None;
        }
        let length = rest.find('\n').map_or(rest.len(), |end| end + 1);
        if let Some(value) = rest[..length].trim_end().strip_prefix("SET default_tablespace = ") {
            self.tablespace = value.trim_end_matches(';').to_owned();
        }
        Some(length)
    }

    fn take(&mut self, kind: TokenKind, text: &str) {
        match kind {
            TokenKind::LineComment if self.at_statement_start => return self.take_header(text),
            TokenKind::Whitespace => {}
            kind => self.at_statement_start = kind == TokenKind::Semi,
        }
        if let Some(entry) = &mut self.current {
            entry.sql.push_str(text);
        }
    }

    fn take_header(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("-- TOC entry ") {
            self.finish_entry();
            let mut numbers = rest.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok());
            let mut number = || numbers.next().unwrap_or_default();
            let (id, address) = (number(), (number(), number()));
            let tablespace = self.tablespace.clone();
            self.current = Some(ArchiveEntry { id, address, tablespace, ..ArchiveEntry::default() });
        } else if let Some(entry) = &mut self.current {
            if let Some(ids) = line.strip_prefix("-- Dependencies: ") {
                entry.needs = ids.split_whitespace().filter_map(|id| id.parse().ok()).collect();
            } else if let Some((name, kind, schema)) = named(line) {
                (entry.name, entry.kind, entry.schema) = (name, kind, schema);
            }
        }
    }

    fn finish_entry(&mut self) {
        if let Some(mut entry) = self.current.take() {
            entry.sql = entry.sql.trim().to_owned();
            self.entries.push(entry);
        }
    }
}

fn named(line: &str) -> Option<(String, String, Option<String>)> {
    let (rest, _owner) = line.strip_prefix("-- Name: ")?.rsplit_once("; Owner:")?;
    let (rest, schema) = rest.rsplit_once("; Schema: ")?;
    let (name, kind) = rest.rsplit_once("; Type: ")?;
    Some((name.to_owned(), kind.to_owned(), (schema != "-").then(|| schema.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\nSET row_security = off;\n\n\
        SET default_tablespace = '';\n\n\
        --\n-- TOC entry 12 (class 2606 OID 16440)\n-- Dependencies: 5 7\n\
        -- Name: soup soup_pkey; Type: CONSTRAINT; Schema: public; Owner: app\n--\n\n\
        ALTER TABLE ONLY public.soup\n    ADD CONSTRAINT soup_pkey PRIMARY KEY (id);\n\n\n\
        SET default_tablespace = \"fast\";\n\n\
        --\n-- TOC entry 13 (class 1259 OID 16441)\n-- Dependencies: 5\n\
        -- Name: soup_name; Type: INDEX; Schema: public; Owner: app\n--\n\n\
        CREATE INDEX soup_name ON public.soup USING btree (name) WHERE (name <> '\n--\n-- TOC entry 99 (class 1 OID 2)\n');\n\n\
        ALTER TABLE public.soup CLUSTER ON soup_name;\n\n\n\
        -- Completed on 2026-11-22 18:40:17 UTC\n\n--\n-- PostgreSQL database dump complete\n--\n";

    #[test]
    fn entries_are_read_with_what_they_depend_on() {
        let entries = read(SCRIPT);
        assert_eq!(entries.iter().map(|entry| entry.id).collect::<Vec<_>>(), [12, 13]);
        assert_eq!(entries[0].address, (2606, 16440));
        assert_eq!((entries[0].kind.as_str(), entries[0].needs.as_slice()), ("CONSTRAINT", &[5, 7][..]));
        assert_eq!(entries[0].sql, "ALTER TABLE ONLY public.soup\n    ADD CONSTRAINT soup_pkey PRIMARY KEY (id);");
        assert_eq!((entries[0].tablespace.as_str(), entries[1].tablespace.as_str()), ("''", "\"fast\""));
        assert!(entries[1].sql.contains("TOC entry 99") && entries[1].sql.ends_with("CLUSTER ON soup_name;"));
    }

    #[test]
    fn names_and_schemas_may_hold_anything() {
        let text = "--\n-- TOC entry 218 (class 1259 OID 16386)\n-- Dependencies: 217 6\n\
                    -- Name: a; b; Type: TABLE; Schema: My Schema; Owner: postgres\n--\n\nCREATE TABLE x ();\n\
                    --\n-- TOC entry 6 (class 2615 OID 2200)\n-- Name: s; Type: SCHEMA; Schema: -; Owner: \n--\n";
        let found = read(text);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].id, found[0].needs.as_slice(), found[0].name.as_str()), (218, &[217, 6][..], "a; b"));
        assert_eq!((found[0].kind.as_str(), found[0].schema.as_deref()), ("TABLE", Some("My Schema")));
        assert_eq!((found[1].kind.as_str(), found[1].schema.as_deref()), ("SCHEMA", None));
    }
}
