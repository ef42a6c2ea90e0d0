//! One migration file: its header, its sections and its statements.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use squawk_lexer::TokenKind;

use super::batch::{self, Batch, BatchOptions};
use super::checksum::{Checksum, with_lf_line_ends};
use super::error::MigrationError;
use super::header::{self, HeaderLine};
use super::id::MigrationId;
use super::lexer::{Lexeme, lexemes};
use super::program::{self, Program};
use super::splitter::{Statement, split_statements};

/// One `-- allow: code why` line: a finding that the author accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    /// The finding's code, such as `drop-table`.
    pub code: String,
    /// Why it is fine here.
    pub why: String,
}

/// One `-- accept-loss: object why` line: data that a person lets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedLoss {
    /// `schema.table`, for its rows, or `schema.table.column`, for its values.
    pub object: String,
    /// The most rows or values that may go; none: as many as a rehearsal measures.
    pub max: Option<u64>,
    /// Why it may go.
    pub why: String,
}

/// The statements of `-- migrate:up` or `-- migrate:down`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// False with `transaction:false`: each statement runs and is journaled by itself.
    pub transaction: bool,
    /// With `batch:N key:TABLE.COLUMN`: how its statements with `:from` and `:to` run.
    pub batch: Option<Batch>,
    /// With `exec: PROGRAM`: what runs instead of SQL.
    pub program: Option<Program>,
    /// In the order of the file; of a program one that stands for it, so that it is journaled like any other.
    pub statements: Vec<Statement>,
}

/// One migration, read from its file or from the text that the ledger keeps.
#[derive(Clone, Debug)]
pub struct Migration {
    /// Its name.
    pub id: MigrationId,
    /// Its file, for messages.
    pub path: PathBuf,
    /// The file's text without a byte order mark and with line ends made LF, which is also what runs: a literal in a
    /// checkout with CR LF holds the same characters as everywhere else.
    pub text: String,
    /// Of `text`, so that the ledger's text gives the same one as the file.
    pub checksum: Checksum,
    /// The `depends:` migrations; the default parent is in the graph only.
    pub depends: Vec<MigrationId>,
    /// The `run-before:` migrations.
    pub run_before: Vec<MigrationId>,
    /// The `replaces:` migrations: it is a squash of them ([`super::Squash`]).
    pub replaces: Vec<MigrationId>,
    /// The `breaking:` notes.
    pub breaking: Vec<String>,
    /// The `not-carried:` lines: what another tool did there, and the SQL does not.
    pub not_carried: Vec<String>,
    /// The `allow:` lines.
    pub allows: Vec<Allow>,
    /// The `accept-loss:` lines: they are for the way up.
    pub accepted_losses: Vec<AcceptedLoss>,
    /// How long a statement of it waits for a lock; none: as configured.
    pub lock_timeout: Option<Duration>,
    /// How long a statement of it may run; none: as configured.
    pub statement_timeout: Option<Duration>,
    /// What applies it.
    pub up: Section,
    /// What undoes it; none: irreversible.
    pub down: Option<Section>,
    /// The line on which another migration is named.
    reference_lines: BTreeMap<MigrationId, u32>,
}

impl Migration {
    /// Reads a migration. `path` is used in messages only.
    pub fn parse(id: MigrationId, path: PathBuf, bytes: &[u8]) -> Result<Migration, MigrationError> {
        let text = decode(&path, bytes)?;
        let outline = Outline::of(&path, &text)?;
        let up = section(&path, &text, &outline.up)?;
        let down = outline.down.as_ref().map(|marker| section(&path, &text, marker)).transpose()?;
        let header = outline.header;
        Ok(Migration {
            checksum: Checksum::of(&text),
            depends: header.depends,
            run_before: header.run_before,
            replaces: header.replaces,
            breaking: header.breaking,
            not_carried: header.not_carried,
            allows: header.allows,
            accepted_losses: header.accepted_losses,
            lock_timeout: header.lock_timeout,
            statement_timeout: header.statement_timeout,
            reference_lines: header.reference_lines,
            id,
            path,
            text,
            up,
            down,
        })
    }

    /// Looks for the files of its programs in these directories; they are a part of what it is, so of its checksum.
    pub(super) fn find_programs(&mut self, directories: &[PathBuf]) -> Result<(), MigrationError> {
        let mut hashes = String::new();
        for section in [Some(&mut self.up), self.down.as_mut()].into_iter().flatten() {
            let Some(program) = &mut section.program else { continue };
            for (name, hash) in program.find(directories)? {
                hashes.push_str(&format!("\n-- {name} {hash}"));
            }
        }
        if !hashes.is_empty() {
            self.checksum = Checksum::of(&format!("{}{hashes}", self.text));
        }
        Ok(())
    }

    /// Takes over where the programs of another text of the same migration are.
    pub(super) fn with_programs_of(mut self, other: &Migration) -> Migration {
        let place = |own: Option<&mut Section>, other: Option<&Section>| {
            if let (Some(own), Some(other)) =
                (own.and_then(|one| one.program.as_mut()), other.and_then(|one| one.program.as_ref()))
            {
                own.dir.clone_from(&other.dir);
                own.files.clone_from(&other.files);
            }
        };
        place(Some(&mut self.up), Some(&other.up));
        place(self.down.as_mut(), other.down.as_ref());
        self
    }

    /// Whether one of its sections is a program.
    pub fn runs_a_program(&self) -> bool {
        [Some(&self.up), self.down.as_ref()].into_iter().flatten().any(|section| section.program.is_some())
    }

    /// The line of the header that names `other`, 1-based; 1 when none does.
    pub fn line_naming(&self, other: &MigrationId) -> u32 {
        self.reference_lines.get(other).copied().unwrap_or(1)
    }
}

fn decode(path: &Path, bytes: &[u8]) -> Result<String, MigrationError> {
    let line_at = |offset: usize| 1 + bytes[..offset].iter().filter(|byte| **byte == b'\n').count() as u32;
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let offset = error.valid_up_to();
        MigrationError::NotUtf8 { path: path.to_owned(), line: line_at(offset), byte: bytes[offset], offset }
    })?;
    if let Some(offset) = text.find('\0') {
        return Err(MigrationError::Nul { path: path.to_owned(), line: line_at(offset) });
    }
    Ok(with_lf_line_ends(text.strip_prefix('\u{feff}').unwrap_or(text)).into_owned())
}

fn section(path: &Path, text: &str, marker: &Marker) -> Result<Section, MigrationError> {
    let statements = split_statements(&text[marker.start..marker.end], marker.line + 1)
        .map_err(|error| MigrationError::Split { path: path.to_owned(), error })?;
    if let Some(program) = &marker.program {
        if let Some(statement) = statements.first() {
            let reason = "SQL in a section that is a program; give it a migration of its own".to_owned();
            return Err(MigrationError::Marker { path: path.to_owned(), line: statement.line, reason });
        }
        let stands_for_it = Statement { text: format!("exec: {}", program.join(" ")), line: marker.line };
        let program = Program { words: program.clone(), dir: None, files: Vec::new(), line: marker.line };
        return Ok(Section {
            transaction: false,
            batch: None,
            program: Some(program),
            statements: vec![stands_for_it],
        });
    }
    for statement in &statements {
        if let Some(command) = statement.transaction_control() {
            let (path, line, transactional) = (path.to_owned(), statement.line, marker.transaction);
            return Err(MigrationError::TransactionControl { path, line, command, transactional });
        }
    }
    batch::check(marker.batch.as_ref(), marker.line, &statements).map_err(|(line, reason)| MigrationError::Marker {
        path: path.to_owned(),
        line,
        reason,
    })?;
    Ok(Section { transaction: marker.transaction, batch: marker.batch.clone(), program: None, statements })
}

/// A `-- migrate:` line and the part of the text that belongs to it.
#[derive(Debug)]
struct Marker {
    line: u32,
    transaction: bool,
    batch: Option<Batch>,
    program: Option<Vec<String>>,
    start: usize,
    end: usize,
}

#[derive(Debug, Default)]
struct Header {
    depends: Vec<MigrationId>,
    run_before: Vec<MigrationId>,
    replaces: Vec<MigrationId>,
    breaking: Vec<String>,
    not_carried: Vec<String>,
    allows: Vec<Allow>,
    accepted_losses: Vec<AcceptedLoss>,
    lock_timeout: Option<Duration>,
    statement_timeout: Option<Duration>,
    reference_lines: BTreeMap<MigrationId, u32>,
}

/// Where the parts of a file are. Markers are found by tokens: one inside a function's body is text.
struct Outline {
    header: Header,
    up: Marker,
    down: Option<Marker>,
}

impl Outline {
    fn of(path: &Path, text: &str) -> Result<Outline, MigrationError> {
        let mut header = Header::default();
        let (mut up, mut down): (Option<Marker>, Option<Marker>) = (None, None);
        for lexeme in lexemes(text, 1) {
            let at_line_start = lexeme.offset == 0 || text.as_bytes()[lexeme.offset - 1] == b'\n';
            if lexeme.kind == TokenKind::LineComment {
                match marker_words(lexeme.text) {
                    Some(words) if at_line_start => read_marker(path, text, &lexeme, words, (&mut up, &mut down))?,
                    None if !resembles_marker(lexeme.text) => read_comment(path, &lexeme, up.is_none(), &mut header)?,
                    _ => return Err(misshapen_marker(path, &lexeme)),
                }
            } else if matches!(lexeme.kind, TokenKind::BlockComment { .. })
                && !lexeme.text.contains('\n')
                && resembles_marker(lexeme.text)
            {
                return Err(misshapen_marker(path, &lexeme));
            } else if up.is_none() && lexeme.unterminated().is_none() && !lexeme.is_trivia() {
                return Err(MigrationError::SqlBeforeUp { path: path.to_owned(), line: lexeme.line });
            }
        }
        let up = up.ok_or_else(|| MigrationError::NoUpSection { path: path.to_owned() })?;
        Ok(Outline { header, up, down })
    }
}

/// The text behind `-- migrate:`, if the comment is such a line.
fn marker_words(comment: &str) -> Option<&str> {
    comment.strip_prefix("--")?.trim_start().strip_prefix("migrate:")
}

/// Section markers of other tools, and of people who remember them half: goose, sql-migrate, micrate, node-pg-migrate,
/// MyBatis, golang-migrate.
const FOREIGN_MARKERS: &[&str] = &[
    "+goose down",
    "+goose up",
    "+micrate down",
    "+micrate up",
    "+migrate down",
    "+migrate up",
    "@down",
    "@undo",
    "@up",
    "down",
    "down migration",
    "down:",
    "migrate down",
    "migrate up",
    "migration down",
    "migration up",
    "migration: down",
    "migration: up",
    "migration:down",
    "migration:up",
    "up",
    "up migration",
    "up:",
];

/// Whether a comment that is no marker was probably meant as one. Passing over a misshapen `-- migrate:down` would run
/// the statements that undo the migration right after those that apply it.
fn resembles_marker(comment: &str) -> bool {
    let inside = comment.trim_matches(|c: char| c.is_whitespace() || matches!(c, '-' | '/' | '*' | '='));
    let words = inside.split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_lowercase();
    words.strip_prefix("migrate").is_some_and(|rest| rest.trim_start().starts_with(':'))
        || FOREIGN_MARKERS.contains(&words.as_str())
}

fn misshapen_marker(path: &Path, lexeme: &Lexeme<'_>) -> MigrationError {
    let reason = format!(
        "`{}` looks like the beginning of a section; here that is a line `-- migrate:up` or `-- migrate:down`, in lower \
         case, at the start of the line",
        lexeme.text.trim()
    );
    MigrationError::Marker { path: path.to_owned(), line: lexeme.line, reason }
}

const OPTIONS: &str =
    "there are `transaction:false` and, with it, `batch:`, `key:`, `pause:` and `max-lag:`; or `exec: PROGRAM`";

fn read_marker(
    path: &Path,
    text: &str,
    lexeme: &Lexeme<'_>,
    words: &str,
    (up, down): (&mut Option<Marker>, &mut Option<Marker>),
) -> Result<(), MigrationError> {
    let refuse = |reason: String| MigrationError::Marker { path: path.to_owned(), line: lexeme.line, reason };
    let (words, program) = match words.split_once("exec:") {
        Some((words, rest)) => (words, Some(program::words(rest).map_err(refuse)?)),
        None => (words, None),
    };
    let mut words = words.split_whitespace();
    let name = words.next().unwrap_or_default();
    let (mut transaction, mut batch) = (true, BatchOptions::default());
    for option in words {
        match option {
            "transaction:false" => transaction = false,
            "transaction:true" => transaction = true,
            _ if batch.take(option).map_err(refuse)? => {}
            _ => return Err(refuse(format!("unknown option `{option}`; {OPTIONS}"))),
        }
    }
    let batch = batch.finish(transaction).map_err(refuse)?;
    if program.is_some() && batch.is_some() {
        return Err(refuse("`exec:` and `batch:`: a program makes its own batches".to_owned()));
    }
    let slot = match name {
        "up" if down.is_some() => return Err(refuse("`-- migrate:up` must come before `-- migrate:down`".to_owned())),
        "up" => &mut *up,
        "down" => match up {
            Some(up) => {
                up.end = up.end.min(lexeme.offset);
                &mut *down
            }
            None => return Err(refuse("`-- migrate:down` must come after `-- migrate:up`".to_owned())),
        },
        _ => return Err(refuse(format!("unknown line `-- migrate:{name}`; there are `up` and `down`"))),
    };
    if let Some(first) = slot {
        return Err(refuse(format!("a second `-- migrate:{name}` line; the first is line {}", first.line)));
    }
    // The comment ends before its line end; the section begins on the next line.
    let start = (lexeme.end() + 1).min(text.len());
    *slot = Some(Marker { line: lexeme.line, transaction, batch, program, start, end: text.len() });
    Ok(())
}

fn read_comment(path: &Path, lexeme: &Lexeme<'_>, in_header: bool, header: &mut Header) -> Result<(), MigrationError> {
    let refuse = |reason: String| MigrationError::Header { path: path.to_owned(), line: lexeme.line, reason };
    if !in_header {
        return match header::known_key(lexeme.text) {
            Some(key) => Err(refuse(format!("`-- {key}:` counts only above the `-- migrate:up` line; move it there"))),
            None => Ok(()),
        };
    }
    let Some(line) = header::read(lexeme.text).map_err(refuse)? else { return Ok(()) };
    let (list, ids) = match line {
        HeaderLine::Breaking(note) => {
            header.breaking.push(note);
            return Ok(());
        }
        HeaderLine::NotCarried(what) => {
            header.not_carried.push(what);
            return Ok(());
        }
        HeaderLine::Allow(allow) => {
            header.allows.push(allow);
            return Ok(());
        }
        HeaderLine::AcceptLoss(loss) => {
            header.accepted_losses.push(loss);
            return Ok(());
        }
        HeaderLine::LockTimeout(limit) if header.lock_timeout.replace(limit).is_none() => return Ok(()),
        HeaderLine::StatementTimeout(limit) if header.statement_timeout.replace(limit).is_none() => return Ok(()),
        HeaderLine::LockTimeout(_) | HeaderLine::StatementTimeout(_) => {
            return Err(refuse("a second line with this limit; there is one for the whole file".to_owned()));
        }
        HeaderLine::Depends(ids) => (&mut header.depends, ids),
        HeaderLine::RunBefore(ids) => (&mut header.run_before, ids),
        HeaderLine::Replaces(ids) => (&mut header.replaces, ids),
    };
    for id in ids {
        header.reference_lines.entry(id.clone()).or_insert(lexeme.line);
        if !list.contains(&id) {
            list.push(id);
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
