//! Statements that reach out of the database they run in: to the server, to its machine, to other servers.
//!
//! Read from the text, also inside the bodies of functions and `DO` blocks; what a text puts together at run time is
//! not seen, so this explains what the shadow's confinement and the role's lack of rights enforce.

use std::fmt;
use std::path::PathBuf;

use squawk_lexer::{LiteralKind, TokenKind, tokenize};

use crate::migration::{MigrationId, Plan, Section};

/// How far a statement reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Roles, databases, tablespaces and settings, which all databases of a server share.
    Cluster,
    /// Files and programs of the machine on which the server runs.
    Machine,
    /// Other servers.
    Network,
}

/// One statement that reaches out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReachOut {
    /// How far.
    pub reach: Reach,
    /// The words that do it, such as `ALTER SYSTEM`.
    pub what: &'static str,
    /// The migration.
    pub migration: MigrationId,
    /// Its file.
    pub file: PathBuf,
    /// The line in the file.
    pub line: u32,
}

impl fmt::Display for ReachOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

/// The statements of a plan, and of its way back, that reach out.
pub fn reach_out(plan: &Plan) -> Vec<ReachOut> {
    let mut found = Vec::new();
    for step in &plan.steps {
        let migration = &step.migration;
        let sections: Vec<&Section> = std::iter::once(&migration.up).chain(&migration.down).collect();
        for statement in
            sections.iter().filter(|section| section.program.is_none()).flat_map(|section| &section.statements)
        {
            for (reach, what, lines_down) in in_statement(&statement.text) {
                let (migration, file) = (migration.id.clone(), migration.path.clone());
                found.push(ReachOut { reach, what, migration, file, line: statement.line + lines_down });
            }
        }
    }
    found
}

/// Sequences of words; those of [`grant_or_copy`] are not in one piece.
const PHRASES: &[(Reach, &str)] = &[
    (Reach::Cluster, "ALTER SYSTEM"),
    (Reach::Cluster, "CREATE ROLE"),
    (Reach::Cluster, "ALTER ROLE"),
    (Reach::Cluster, "DROP ROLE"),
    (Reach::Cluster, "CREATE USER"),
    (Reach::Cluster, "ALTER USER"),
    (Reach::Cluster, "DROP USER"),
    (Reach::Cluster, "CREATE GROUP"),
    (Reach::Cluster, "ALTER GROUP"),
    (Reach::Cluster, "DROP GROUP"),
    (Reach::Cluster, "CREATE DATABASE"),
    (Reach::Cluster, "ALTER DATABASE"),
    (Reach::Cluster, "DROP DATABASE"),
    (Reach::Cluster, "CREATE TABLESPACE"),
    (Reach::Cluster, "ALTER TABLESPACE"),
    (Reach::Cluster, "DROP TABLESPACE"),
    (Reach::Cluster, "REASSIGN OWNED"),
    (Reach::Cluster, "DROP OWNED"),
    (Reach::Cluster, "COMMENT ON DATABASE"),
    (Reach::Cluster, "COMMENT ON ROLE"),
    (Reach::Cluster, "COMMENT ON TABLESPACE"),
    (Reach::Cluster, "SET ROLE NONE"),
    (Reach::Cluster, "SET SESSION AUTHORIZATION"),
    (Reach::Cluster, "PG_RELOAD_CONF ("),
    (Reach::Cluster, "PG_TERMINATE_BACKEND ("),
    (Reach::Cluster, "PG_CANCEL_BACKEND ("),
    (Reach::Cluster, "PG_CREATE_PHYSICAL_REPLICATION_SLOT ("),
    (Reach::Cluster, "PG_CREATE_LOGICAL_REPLICATION_SLOT ("),
    (Reach::Cluster, "PG_DROP_REPLICATION_SLOT ("),
    (Reach::Machine, "LO_EXPORT ("),
    (Reach::Machine, "PG_FILE_WRITE ("),
    (Reach::Machine, "PG_FILE_RENAME ("),
    (Reach::Machine, "PG_FILE_UNLINK ("),
    (Reach::Network, "CREATE SUBSCRIPTION"),
    (Reach::Network, "ALTER SUBSCRIPTION"),
    (Reach::Network, "DROP SUBSCRIPTION"),
    (Reach::Network, "CREATE USER MAPPING"),
    (Reach::Network, "ALTER USER MAPPING"),
    (Reach::Network, "DBLINK ("),
    (Reach::Network, "DBLINK_CONNECT ("),
    (Reach::Network, "DBLINK_EXEC ("),
];

/// The words of a text in capitals (a quoted name keeps its quotes), each with the line below the text's first one.
#[derive(Debug, Default)]
struct Words(Vec<(String, u32)>);

const STRING: &str = "'…'";

impl Words {
    /// Texts within the text: the bodies of functions, and strings, which may be SQL that is executed.
    fn read(text: &str) -> (Self, Vec<(String, u32)>) {
        let (mut words, mut inner, mut offset, mut line) = (Vec::new(), Vec::new(), 0, 0);
        for token in tokenize(text) {
            let Some(piece) = text.get(offset..offset + token.len as usize) else { break };
            offset += token.len as usize;
            match token.kind {
                TokenKind::Whitespace | TokenKind::LineComment | TokenKind::BlockComment { .. } => {}
                TokenKind::Ident => words.push((piece.to_uppercase(), line)),
                TokenKind::Literal { kind: LiteralKind::DollarQuotedString { .. } } => {
                    let tag = piece.get(1..).and_then(|rest| rest.find('$')).map_or(0, |end| end + 2);
                    inner.push((piece.get(tag..piece.len().saturating_sub(tag)).unwrap_or_default().to_owned(), line));
                    words.push((STRING.to_owned(), line));
                }
                TokenKind::Literal { kind: LiteralKind::Str { .. } | LiteralKind::EscStr { .. } } => {
                    let content = piece.trim_start_matches(['e', 'E']).trim_matches('\'').replace("''", "'");
                    inner.push((content, line));
                    words.push((STRING.to_owned(), line));
                }
                _ => words.push((piece.to_owned(), line)),
            }
            line += piece.matches('\n').count() as u32;
        }
        (Self(words), inner)
    }

    fn is_at(&self, start: usize, phrase: &str) -> bool {
        let mut at = start;
        phrase.split(' ').all(|word| {
            at += 1;
            self.0.get(at - 1).is_some_and(|(found, _)| found == word)
        })
    }

    /// The words from `start` to the end of its statement.
    fn statement(&self, start: usize) -> impl Iterator<Item = &str> {
        self.0[start..].iter().map(|(word, _)| word.as_str()).take_while(|word| *word != ";")
    }
}

/// What one statement does, and how many lines down; in the order of its text.
fn in_statement(text: &str) -> Vec<(Reach, &'static str, u32)> {
    let (words, inner) = Words::read(text);
    let mut found: Vec<(Reach, &'static str, u32)> = in_words(&words, false);
    for (text, line) in inner {
        found.extend(in_string(&text).into_iter().map(|(reach, what, down)| (reach, what, line + down)));
    }
    found.dedup();
    found
}

/// A string is SQL when it begins like it, or is a body with several statements.
fn in_string(text: &str) -> Vec<(Reach, &'static str, u32)> {
    let (words, inner) = Words::read(text);
    let is_body = words.0.iter().any(|(word, _)| word == ";");
    let mut found = in_words(&words, !is_body);
    for (text, line) in inner {
        found.extend(in_string(&text).into_iter().map(|(reach, what, down)| (reach, what, line + down)));
    }
    found
}

fn in_words(words: &Words, only_at_start: bool) -> Vec<(Reach, &'static str, u32)> {
    let mut found = Vec::new();
    let limit = if only_at_start { words.0.len().min(1) } else { words.0.len() };
    for (start, (_, line)) in words.0.iter().enumerate().take(limit) {
        // The longest phrase says it best: CREATE USER MAPPING is no CREATE USER.
        let phrases = PHRASES.iter().filter(|(_, phrase)| words.is_at(start, phrase));
        if let Some((reach, phrase)) = phrases.max_by_key(|(_, phrase)| phrase.len()) {
            found.push((*reach, phrase.trim_end_matches(" ("), *line));
        }
        if let Some((reach, what)) = grant_or_copy(words, start) {
            found.push((reach, what, *line));
        }
    }
    found
}

fn grant_or_copy(words: &Words, start: usize) -> Option<(Reach, &'static str)> {
    if !starts(words, start) {
        return None;
    }
    let statement: Vec<&str> = words.statement(start).collect();
    let holds =
        |first: &str, second: &[&str]| statement.windows(2).any(|pair| pair[0] == first && second.contains(&pair[1]));
    match statement.first().copied().unwrap_or_default() {
        "GRANT" | "REVOKE" if !statement.contains(&"ON") => Some((Reach::Cluster, "GRANT or REVOKE of a role")),
        "GRANT" | "REVOKE" if holds("ON", &["DATABASE", "TABLESPACE", "PARAMETER"]) => {
            Some((Reach::Cluster, "GRANT or REVOKE on what the server shares"))
        }
        "COPY" if holds("TO", &["PROGRAM"]) || holds("FROM", &["PROGRAM"]) => {
            Some((Reach::Machine, "COPY with PROGRAM"))
        }
        "COPY" if holds("TO", &[STRING]) => Some((Reach::Machine, "COPY to a file of the server")),
        _ => None,
    }
}

/// Whether a statement can begin there.
fn starts(words: &Words, at: usize) -> bool {
    let before = at.checked_sub(1).map(|before| words.0[before].0.as_str());
    before.is_none_or(|word| matches!(word, ";" | "BEGIN" | "THEN" | "ELSE" | "LOOP" | "ATOMIC"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(statement: &str) -> Vec<&'static str> {
        in_statement(statement).into_iter().map(|(_, what, _)| what).collect()
    }

    #[test]
    fn each_has_a_statement_that_reaches_out_and_one_that_does_not() {
        for (what, bad, good) in [
            ("ALTER SYSTEM", "alter  /* x */ system SET work_mem = '1MB'", "ALTER TABLE system ADD a int"),
            ("CREATE ROLE", "CREATE ROLE app", "CREATE TABLE role (a int)"),
            ("ALTER USER", "ALTER USER app PASSWORD 'x'", "ALTER TABLE \"user\" ADD a int"),
            ("DROP DATABASE", "DROP DATABASE shop", "DROP TABLE database"),
            (
                "GRANT or REVOKE on what the server shares",
                "GRANT CONNECT ON DATABASE shop TO app",
                "GRANT SELECT ON t TO app",
            ),
            ("COMMENT ON DATABASE", "COMMENT ON DATABASE shop IS 'x'", "COMMENT ON TABLE t IS 'ON DATABASE shop'"),
            ("GRANT or REVOKE of a role", "GRANT staff TO app", "GRANT ALL ON SCHEMA s TO app"),
            ("GRANT or REVOKE of a role", "REVOKE staff FROM app", "REVOKE ALL ON t FROM app"),
            ("COPY with PROGRAM", "COPY t TO PROGRAM 'curl x'", "COPY t TO STDOUT"),
            ("COPY with PROGRAM", "COPY (SELECT 1) TO PROGRAM 'curl x'", "COPY program FROM STDIN"),
            ("COPY to a file of the server", "COPY t TO '/tmp/x'", "INSERT INTO copy VALUES ('to')"),
            ("CREATE SUBSCRIPTION", "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p", "CREATE PUBLICATION s"),
            ("CREATE USER MAPPING", "CREATE USER MAPPING FOR app SERVER s", "CREATE TABLE mapping (a int)"),
            ("DBLINK_EXEC", "SELECT public.dblink_exec('host=x', 'y')", "SELECT dblink_exec FROM t"),
            ("CREATE ROLE", "DO $$BEGIN CREATE ROLE app; END$$", "DO $$BEGIN PERFORM 1; END$$"),
            (
                "CREATE ROLE",
                "DO $x$BEGIN EXECUTE 'CREATE ROLE ' || 'a'; END$x$",
                "INSERT INTO t VALUES ('a CREATE ROLE')",
            ),
            ("ALTER SYSTEM", "DO $$BEGIN EXECUTE $q$ALTER SYSTEM SET a = 1$q$; END$$", "SELECT $$alter a system$$"),
            (
                "COPY with PROGRAM",
                "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'SELECT 1; COPY t TO PROGRAM ''x'''",
                "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'SELECT 1'",
            ),
        ] {
            assert_eq!(found(bad), [what], "{bad}");
            assert!(found(good).is_empty(), "{good}: {:?}", found(good));
        }
    }

    #[test]
    fn the_line_is_that_of_the_words() {
        assert_eq!(
            in_statement("DO $$\nBEGIN\n  EXECUTE 'ALTER SYSTEM RESET a';\nEND $$"),
            [(Reach::Cluster, "ALTER SYSTEM", 2)]
        );
    }

    #[test]
    fn wrong_sql_does_not_stop_it() {
        for statement in ["", "$$", "'", "$a$ COPY", "COPY", "GRANT", "é $1 '' ; ;", "$é$x$é$", "E'", "e'é"] {
            in_statement(statement);
        }
    }
}
