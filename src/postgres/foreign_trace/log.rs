//! The server's log as the record of statements: `log_min_duration_statement = 0` writes each with its time when it ended.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::super::{DatabaseError, Session, below};

/// Begins each entry; no statement of a program begins like this by chance.
const BEGIN: &str = "<safe-migrate-log ";

/// One statement that went through.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    /// Process of the session.
    pub pid: i32,
    /// When it ended, seconds since 1970.
    pub ended: f64,
    /// Its time, milliseconds.
    pub milliseconds: f64,
    /// Its text, with the values that the program wrote into it.
    pub text: String,
}

/// Makes the server log the statements of sessions on this database (a quoted name).
pub(super) async fn configure(session: &Session, database: &str) -> Result<(), DatabaseError> {
    let mut statements = vec![
        format!("ALTER SYSTEM SET log_line_prefix = '{BEGIN}%p %n %a> '"),
        "ALTER SYSTEM SET log_error_verbosity = 'terse'".to_owned(),
    ];
    // Over what production's database has of its own.
    for (name, value) in [
        ("log_min_duration_statement", "0"),
        ("log_statement", "none"),
        ("log_duration", "off"),
        ("log_parameter_max_length", "0"),
        ("log_parameter_max_length_on_error", "0"),
    ] {
        statements.push(format!("ALTER DATABASE {database} SET {name} = '{value}'"));
    }
    statements.push("SELECT pg_catalog.pg_reload_conf()".to_owned());
    for statement in statements {
        session.batch_execute(&statement).await?;
    }
    Ok(())
}

/// Reads the statements logged behind this offset, without those of our own sessions.
pub(super) fn read(log: &Path, from: u64) -> std::io::Result<Vec<Logged>> {
    // The server's user may put another file in its place.
    let (directory, name) = (log.parent().unwrap_or(log), log.file_name().unwrap_or_default());
    let mut file = below::open(directory, &name.to_string_lossy())?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(parse(&String::from_utf8_lossy(&bytes)))
}

fn parse(log: &str) -> Vec<Logged> {
    log.split(BEGIN).skip(1).filter_map(entry).collect()
}

/// `PID EPOCH APPLICATION> LOG:  duration: 0.1 ms  statement: TEXT`; a line of the text begins with a tab.
fn entry(text: &str) -> Option<Logged> {
    let (head, rest) = text.split_once("> LOG:  duration: ")?;
    let (pid, rest_of_head) = head.split_once(' ')?;
    let (ended, application) = rest_of_head.split_once(' ')?;
    if application.starts_with("safe-migrate") || application.starts_with("pg_") {
        return None;
    }
    let (milliseconds, what) = rest.split_once(" ms  ")?;
    // The time of the parse and bind messages of a statement is in lines of their own, and small.
    let (kind, text) = what.split_once(": ")?;
    if kind != "statement" && !kind.starts_with("execute") {
        return None;
    }
    Some(Logged {
        pid: pid.parse().ok()?,
        ended: ended.parse().ok()?,
        milliseconds: milliseconds.parse().ok()?,
        text: text.trim_end().replace("\n\t", "\n"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_of_others_are_read_with_their_lines() {
        let log = "noise\n<safe-migrate-log 7 1700000000.123 app> LOG:  duration: 1.500 ms  statement: ALTER TABLE a\n\
                   \tADD b int\n\
                   <safe-migrate-log 8 1700000000.124 safe-migrate> LOG:  duration: 1.0 ms  statement: SELECT 1\n\
                   <safe-migrate-log 7 1700000000.125 app> LOG:  duration: 0.1 ms  parse <unnamed>: SELECT 2\n\
                   <safe-migrate-log 7 1700000000.126 app> ERROR:  no such table\n\
                   <safe-migrate-log 7 1700000000.127 > LOG:  duration: 0.2 ms  execute s1: SELECT 3\n";
        let read = parse(log);
        let texts: Vec<&str> = read.iter().map(|one| one.text.as_str()).collect();
        assert_eq!(texts, ["ALTER TABLE a\nADD b int", "SELECT 3"]);
        assert_eq!((read[0].pid, read[0].milliseconds), (7, 1.5));
    }
}
