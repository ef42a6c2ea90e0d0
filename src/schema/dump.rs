//! Reading the plain text of `pg_dump --schema-only`.
//!
//! Each entry stands below a header of three comment lines (`_printTocEntry` in `pg_backup_archiver.c`):
//! ```text
//! --
//! -- Name: orders_order; Type: TABLE; Schema: public; Owner: app
//! --
//! ```
//! The text is read by tokens, because a function's body or a comment may hold exactly such lines.

use squawk_lexer::{TokenKind, tokenize};

use super::entry::SchemaEntry;

/// Entries that are data although `--schema-only` of some version writes them.
const DATA_KINDS: [&str; 1] = ["STATISTICS DATA"];

/// The entries in the order of the dump. What stands before the first header belongs to none.
pub(super) fn entries(dump: &str) -> Vec<SchemaEntry> {
    let mut reader = Reader { entries: Vec::new(), current: None, at_statement_start: true };
    let mut skip_to = 0;
    let mut offset = 0;
    for token in tokenize(dump) {
        let start = offset;
        offset += token.len as usize;
        if start < skip_to {
            continue;
        }
        let noise = if reader.at_statement_start { length_of_noise(&dump[start..]) } else { None };
        if let Some(length) = noise {
            skip_to = start + length;
            continue;
        }
        reader.take(token.kind, &dump[start..offset]);
    }
    reader.finish_entry();
    reader.entries
}

/// The length of what the dump says to its session rather than of the schema: a setting or a command of psql.
///
/// `SET SESSION AUTHORIZATION` stays: within an entry of privileges it tells who granted them.
fn length_of_noise(rest: &str) -> Option<usize> {
    if !rest.starts_with(['S', '\\']) {
        return None;
    }
    let line = rest.find('\n').map_or(rest.len(), |end| end + 1);
    let words: Vec<&str> = rest[..line].split_whitespace().take(3).collect();
    let setting = matches!(words.as_slice(), ["SET", _, "="]);
    let noise = setting || rest.starts_with("SELECT pg_catalog.set_config(") || rest.starts_with('\\');
    noise.then_some(line)
}

struct Reader {
    entries: Vec<SchemaEntry>,
    current: Option<SchemaEntry>,
    at_statement_start: bool,
}

impl Reader {
    fn take(&mut self, kind: TokenKind, text: &str) {
        match kind {
            TokenKind::LineComment if self.at_statement_start => {
                if let Some(entry) = read_header(text) {
                    self.finish_entry();
                    self.current = Some(entry);
                }
                return;
            }
            TokenKind::Whitespace => {}
            kind => self.at_statement_start = kind == TokenKind::Semi,
        }
        if let Some(entry) = &mut self.current {
            entry.text.push_str(text);
        }
    }

    fn finish_entry(&mut self) {
        if let Some(mut entry) = self.current.take() {
            entry.text = entry.text.trim().to_owned();
            if !DATA_KINDS.contains(&entry.kind.as_str()) {
                self.entries.push(entry);
            }
        }
    }
}

/// Reads `-- Name: …; Type: …; Schema: …; Owner: …`. A name may hold `; Type: ` itself, so the last one counts.
fn read_header(comment: &str) -> Option<SchemaEntry> {
    let rest = comment.strip_prefix("-- Name: ")?;
    let (name, rest) = rest.rsplit_once("; Type: ")?;
    let (kind, rest) = rest.split_once("; Schema: ")?;
    let (schema, _owner) = rest.rsplit_once("; Owner:")?;
    let schema = if schema == "-" { "" } else { schema };
    Some(SchemaEntry { kind: kind.to_owned(), schema: schema.to_owned(), name: name.to_owned(), text: String::new() })
}
