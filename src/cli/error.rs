//! The one error of the command line: a kind (which decides the exit code), a cause chain, and hints.

use std::error::Error;
use std::fmt;

use super::output::Outcome;
use crate::postgres::ConnectionError;
use crate::workflow;

/// What went wrong, in the words of the exit code table (DESIGN.md section 12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// It failed, and production is unchanged.
    Failed,
    /// The command line or the configuration is wrong.
    Usage,
    /// A gate refused, or `--check` found something.
    Gate,
    /// Production was changed and needs attention.
    ProductionChanged,
    /// Another run holds the lock.
    Locked,
    /// A snapshot or the store is unreachable, incomplete or damaged.
    Snapshot,
    /// The operator interrupted, and production is unchanged.
    Interrupted,
}

impl ErrorKind {
    /// The exit code of the process.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            ErrorKind::Failed => 1,
            ErrorKind::Usage => 2,
            ErrorKind::Gate => 3,
            ErrorKind::ProductionChanged => 4,
            ErrorKind::Locked => 5,
            ErrorKind::Snapshot => 6,
            ErrorKind::Interrupted => 130,
        }
    }

    /// The `outcome` of the JSON document: `refused` when nothing was attempted, `failed` otherwise.
    pub(crate) fn outcome(self) -> &'static str {
        match self {
            ErrorKind::Usage | ErrorKind::Gate | ErrorKind::Locked => "refused",
            ErrorKind::Failed | ErrorKind::ProductionChanged | ErrorKind::Snapshot | ErrorKind::Interrupted => "failed",
        }
    }
}

/// A failure as the operator meets it: what happened, what state production is in, what to do next.
#[derive(Debug)]
pub(crate) struct CliError {
    /// Decides the exit code.
    pub(crate) kind: ErrorKind,
    /// Stable name for scripts, such as `config-unknown-key`.
    pub(crate) code: &'static str,
    /// What happened, in one sentence without a full stop.
    pub(crate) message: String,
    /// What to do next, one sentence each.
    pub(crate) hints: Vec<String>,
    /// What state production is in; `None` where the command never comes near it.
    pub(crate) state: Option<String>,
    /// What the command found out all the same; printed as its data.
    pub(crate) findings: Option<Box<Outcome>>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl CliError {
    /// An error without cause, hints or state.
    pub(crate) fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        CliError { kind, code, message: message.into(), hints: Vec::new(), state: None, findings: None, source: None }
    }

    /// Shorthand for a wrong command line or configuration.
    pub(crate) fn usage(code: &'static str, message: impl Into<String>) -> Self {
        CliError::new(ErrorKind::Usage, code, message)
    }

    /// The operator stopped the command before it changed anything.
    pub(crate) fn interrupted() -> Self {
        CliError::new(ErrorKind::Interrupted, "interrupted", "interrupted")
    }

    /// Adds what to do next; hints are printed in the order they were added.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Says what state production is in.
    #[must_use]
    pub(crate) fn production(mut self, state: impl Into<String>) -> Self {
        self.state = Some(state.into());
        self
    }

    /// Says what state production is in, unless that was said.
    #[must_use]
    pub(crate) fn production_unless_said(mut self, state: &str) -> Self {
        self.state.get_or_insert_with(|| state.to_owned());
        self
    }

    /// Adds the cause; its own causes are printed after it.
    #[must_use]
    pub(crate) fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds data that is to be printed although the command did not succeed, such as what `--check` found.
    #[must_use]
    pub(crate) fn with_findings(mut self, findings: Outcome) -> Self {
        self.findings = Some(Box::new(findings));
        self
    }

    /// Whether the server refused the connection although it answered: the database may be closed.
    pub(crate) fn is_refused_connection(&self) -> bool {
        let cause = self.source.as_ref().and_then(|source| source.downcast_ref::<workflow::Error>());
        matches!(cause, Some(workflow::Error::Connection(ConnectionError::NotAllowed { .. })))
    }

    /// The messages of the cause chain, nearest first, without those whose words were said already.
    pub(crate) fn causes(&self) -> Vec<String> {
        let mut causes: Vec<String> = Vec::new();
        let mut next = self.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            if !causes.iter().chain([&self.message]).any(|said| said.contains(&text)) {
                causes.push(text);
            }
            next = cause.source();
        }
        causes
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for CliError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_the_exit_codes_and_outcomes_of_the_design() {
        let table = [
            (ErrorKind::Failed, 1, "failed"),
            (ErrorKind::Usage, 2, "refused"),
            (ErrorKind::Gate, 3, "refused"),
            (ErrorKind::ProductionChanged, 4, "failed"),
            (ErrorKind::Locked, 5, "refused"),
            (ErrorKind::Snapshot, 6, "failed"),
            (ErrorKind::Interrupted, 130, "failed"),
        ];
        for (kind, code, outcome) in table {
            assert_eq!((kind.exit_code(), kind.outcome()), (code, outcome), "{kind:?}");
        }
    }

    #[test]
    fn the_cause_chain_is_flat_and_does_not_repeat_itself() {
        let inner = CliError::usage("x", "no such file").caused_by("the disk is gone");
        let outer = CliError::usage("x", "no such file").caused_by(inner);
        assert_eq!(outer.causes(), ["the disk is gone"]);
        let quoting = CliError::usage("x", "a.sql:6: syntax error").caused_by("syntax error");
        assert_eq!(quoting.causes(), Vec::<String>::new());
    }
}
