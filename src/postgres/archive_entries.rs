//! The entries of an archive's post-data section, each with its SQL and what it depends on.
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

use std::collections::BTreeMap;
use std::path::Path;

use squawk_lexer::{TokenKind, tokenize};

use super::archive::{ArchiveError, Section, Tablespaces, output};
use super::{DatabaseError, Programs, Session};

/// One entry of an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveEntry {
    /// Its number in the archive, the first word of its line in `pg_restore --list`.
    pub id: u32,
    /// `INDEX`, `CONSTRAINT`, `FK CONSTRAINT`, `TRIGGER`, …
    pub kind: String,
    /// Numbers of the entries that must be there before.
    pub dependencies: Vec<u32>,
    /// The statements that make it.
    pub sql: String,
    /// The tablespace that was chosen before it, as it stands in the script.
    tablespace: String,
}

/// Prints the post-data entries of an archive, chosen by `list` as `pg_restore --use-list` takes it.
pub async fn post_data(
    programs: &Programs,
    archive: &Path,
    list: &Path,
    tablespaces: Tablespaces,
) -> Result<Vec<ArchiveEntry>, ArchiveError> {
    let mut command = programs.command("pg_restore");
    command.args(["--verbose", "--file=-", Section::PostData.argument(), "--use-list"]).arg(list);
    if tablespaces == Tablespaces::Default {
        command.arg("--no-tablespaces");
    }
    command.arg(archive);
    let script = output(command, "pg_restore to text").await?;
    Ok(String::from_utf8(script).map(|script| read(&script)).unwrap_or_default())
}

/// Makes an entry.
pub async fn make(session: &Session, entry: &ArchiveEntry) -> Result<(), DatabaseError> {
    let sql = format!("SET default_tablespace = {};\n{}", entry.tablespace, entry.sql);
    Ok(session.batch_execute(&sql).await?)
}

/// The numbers of the tables in a list of contents, by schema and name: `214; 1259 16500 TABLE public orders_order app`.
///
/// Names with spaces cannot be told apart in a list; they have no number here, and what belongs to them is left to
/// `pg_restore`.
pub fn table_ids(contents: &[String]) -> BTreeMap<(String, String), u32> {
    let table = |line: &String| {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            [id, _, _, "TABLE", schema, name, _owner] => {
                let id = id.strip_suffix(';')?.parse().ok()?;
                Some((((*schema).to_owned(), (*name).to_owned()), id))
            }
            _ => None,
        }
    };
    contents.iter().filter_map(table).collect()
}

fn read(script: &str) -> Vec<ArchiveEntry> {
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
            let id = rest.split(' ').next().and_then(|id| id.parse().ok()).unwrap_or_default();
            self.current = Some(ArchiveEntry { id, tablespace: self.tablespace.clone(), ..ArchiveEntry::default() });
        } else if let Some(entry) = &mut self.current {
            if let Some(ids) = line.strip_prefix("-- Dependencies: ") {
                entry.dependencies = ids.split_whitespace().filter_map(|id| id.parse().ok()).collect();
            } else if let Some((_, rest)) = line.split_once("; Type: ")
                && line.starts_with("-- Name: ")
            {
                entry.kind = rest.split(';').next().unwrap_or_default().to_owned();
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
        assert_eq!((entries[0].kind.as_str(), entries[0].dependencies.as_slice()), ("CONSTRAINT", &[5, 7][..]));
        assert_eq!(entries[0].sql, "ALTER TABLE ONLY public.soup\n    ADD CONSTRAINT soup_pkey PRIMARY KEY (id);");
        assert_eq!((entries[0].tablespace.as_str(), entries[1].tablespace.as_str()), ("''", "\"fast\""));
        assert!(entries[1].sql.contains("TOC entry 99") && entries[1].sql.ends_with("CLUSTER ON soup_name;"));
    }

    #[test]
    fn tables_are_found_by_name() {
        let line = |text: &str| text.to_owned();
        let contents = [
            line("; Archive created at"),
            line("214; 1259 16500 TABLE public orders_order app"),
            line("215; 1259 16501 TABLE public two words app"),
            line("3564; 2606 16440 CONSTRAINT public orders_order orders_order_pkey app"),
        ];
        let ids = table_ids(&contents);
        assert_eq!(ids.into_iter().collect::<Vec<_>>(), [(("public".to_owned(), "orders_order".to_owned()), 214)]);
    }
}
