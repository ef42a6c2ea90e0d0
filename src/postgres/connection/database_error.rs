//! What the server said, in full: the client library's own `Display` hides the message.

use std::error::Error as _;
use std::fmt;
use tokio_postgres::error::ErrorPosition;

/// An error of a statement or of its connection, with everything the server said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseError {
    /// `ERROR`, `FATAL` or `PANIC`; `None` when the server said nothing.
    pub severity: Option<String>,
    /// The five-character code; `None` when the error is not the server's.
    pub sqlstate: Option<String>,
    /// The primary message.
    pub message: String,
    /// Further facts.
    pub detail: Option<String>,
    /// The server's own advice.
    pub hint: Option<String>,
    /// Where in the statement's text, as a 1-based count of characters.
    pub position: Option<u32>,
    /// The call stack of the server: functions and the statements within them.
    pub context: Option<String>,
    /// Those for whose locks it waited, as they were seen meanwhile.
    pub in_the_way: Option<String>,
    connection_lost: bool,
}

impl std::error::Error for DatabaseError {}

impl fmt::Display for DatabaseError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.severity, &self.sqlstate) {
            (Some(severity), Some(sqlstate)) => {
                write!(formatter, "{severity}: {} (SQLSTATE {sqlstate})", self.message)?
            }
            _ => formatter.write_str(&self.message)?,
        }
        if let Some(blockers) = &self.in_the_way {
            write!(formatter, "; in the way: {blockers}")?;
        }
        for (label, text) in [("DETAIL", &self.detail), ("HINT", &self.hint)] {
            if let Some(text) = text {
                write!(formatter, "\n{label}: {text}")?;
            }
        }
        Ok(())
    }
}

impl DatabaseError {
    /// Whether the connection is gone, so that what became of the statement is not known.
    pub fn is_connection_lost(&self) -> bool {
        self.connection_lost
    }

    /// Whether `lock_timeout` ended a wait, or NOWAIT found a lock (55P03).
    pub fn is_lock_timeout(&self) -> bool {
        self.has_sqlstate("55P03")
    }

    /// Whether the server chose this session to break a deadlock (40P01).
    pub fn is_deadlock(&self) -> bool {
        self.has_sqlstate("40P01")
    }

    /// Whether the statement was cancelled, by request or by `statement_timeout` (57014).
    pub fn is_cancelled(&self) -> bool {
        self.has_sqlstate("57014")
    }

    /// Whether the SQLSTATE is this one.
    pub fn has_sqlstate(&self, sqlstate: &str) -> bool {
        self.sqlstate.as_deref() == Some(sqlstate)
    }

    /// An error of our own, where one of the server's is asked for.
    pub fn of_ours(message: String) -> Self {
        Self::without_server(message, false)
    }

    fn without_server(message: String, connection_lost: bool) -> Self {
        Self {
            severity: None,
            sqlstate: None,
            message,
            detail: None,
            hint: None,
            position: None,
            context: None,
            in_the_way: None,
            connection_lost,
        }
    }
}

/// Everything that is known about an error of the client library.
pub fn describe(error: &tokio_postgres::Error) -> DatabaseError {
    let Some(server) = error.as_db_error() else { return describe_local(error) };
    // The untranslated severity where the server gives it; FATAL and PANIC end the session.
    let severity = server.parsed_severity().map_or_else(|| server.severity().to_owned(), |known| known.to_string());
    let connection_lost = matches!(severity.as_str(), "FATAL" | "PANIC");
    DatabaseError {
        severity: Some(severity),
        sqlstate: Some(server.code().code().to_owned()),
        message: server.message().to_owned(),
        detail: server.detail().map(str::to_owned),
        hint: server.hint().map(str::to_owned),
        position: match server.position() {
            Some(ErrorPosition::Original(position)) => Some(*position),
            _ => None,
        },
        in_the_way: None,
        context: server.where_().map(str::to_owned),
        connection_lost,
    }
}

fn describe_local(error: &tokio_postgres::Error) -> DatabaseError {
    let io = error.source().is_some_and(|source| source.is::<std::io::Error>());
    // An I/O error also stands under errors of encoding and parsing, where the connection is still there.
    let local = error.to_string();
    let connection_lost =
        error.is_closed() || (io && (local.contains("communicating") || local.contains("connecting")));
    let message = match error.source() {
        _ if error.is_closed() => "the server closed the connection".to_owned(),
        Some(source) => format!("{local}: {source}"),
        None => local,
    };
    DatabaseError::without_server(message, connection_lost)
}

impl From<&tokio_postgres::Error> for DatabaseError {
    fn from(error: &tokio_postgres::Error) -> Self {
        describe(error)
    }
}

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        describe(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_message_code_and_detail() {
        let error = DatabaseError {
            severity: Some("ERROR".to_owned()),
            sqlstate: Some("23505".to_owned()),
            detail: Some("Key (id)=(1) already exists.".to_owned()),
            ..DatabaseError::without_server("duplicate key".to_owned(), false)
        };
        assert_eq!(error.to_string(), "ERROR: duplicate key (SQLSTATE 23505)\nDETAIL: Key (id)=(1) already exists.");
        assert!(!error.is_connection_lost() && !error.is_deadlock() && !error.is_lock_timeout());
    }
}
