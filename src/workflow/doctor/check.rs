//! One line of the examination.

use std::error::Error;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckState {
    /// In place.
    Ok,
    /// Works, and the operator should know.
    Warn,
    /// A run, or the way back from one, would stop here.
    Failed,
    /// Not looked at, because something that it needs is missing.
    NotTried,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at, in one or two words.
    pub name: &'static str,
    /// How it came out.
    pub state: CheckState,
    /// What was found, or why it was not tried.
    pub finding: String,
    /// What to do.
    pub remedy: Option<String>,
}

impl Check {
    pub(super) fn ok(name: &'static str, finding: impl Into<String>) -> Self {
        Self { name, state: CheckState::Ok, finding: finding.into(), remedy: None }
    }

    pub(super) fn warn(name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, state: CheckState::Warn, finding: finding.into(), remedy: Some(remedy.into()) }
    }

    pub(super) fn failed(name: &'static str, finding: impl Into<String>, remedy: Option<String>) -> Self {
        Self { name, state: CheckState::Failed, finding: finding.into(), remedy }
    }

    /// `missing` is what it needs, as in "not tried without the server".
    pub(super) fn not_tried(name: &'static str, missing: &str) -> Self {
        Self { name, state: CheckState::NotTried, finding: format!("not tried without {missing}"), remedy: None }
    }
}

/// An error with its causes in one text; a message that repeats the one before is left out.
pub(super) fn explain(error: &(dyn Error + 'static)) -> String {
    let mut messages = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        let message = cause.to_string();
        if messages.last() != Some(&message) {
            messages.push(message);
        }
        next = cause.source();
    }
    messages.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::Error as WorkflowError;

    #[test]
    fn an_error_is_explained_with_its_causes_and_without_repetition() {
        let source = std::io::Error::other("disk on fire");
        let error = WorkflowError::from(crate::store::StoreError::Io { path: "/s".to_owned(), action: "read", source });
        assert_eq!(explain(&error), "/s: cannot read: disk on fire");
    }
}
