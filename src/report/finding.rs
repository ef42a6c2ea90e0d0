//! One remark of lint or rehearsal, as reports show it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One remark on a plan, with where it comes from and what a policy makes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FindingReport {
    /// What sort of remark, such as `drop-table`; what `-- allow:` and `[policy]` name.
    pub code: String,
    /// What the policy makes of it.
    pub level: FindingLevel,
    /// Whether it was read in the text or measured on the rows.
    pub evidence: Evidence,
    /// `app/NNNN_name`; none when it is about the plan or a check.
    #[serde(default)]
    pub migration: Option<String>,
    /// The migration's file, relative to the project where it can be; none as above.
    #[serde(default)]
    pub file: Option<String>,
    /// The line in the file, 1-based; none as above.
    #[serde(default)]
    pub line: Option<u32>,
    /// What was found, in one sentence. It carries no row values.
    pub message: String,
    /// What to do instead, in one sentence or a few lines of SQL.
    #[serde(default)]
    pub remedy: Option<String>,
    /// The reason given in the file's `-- allow: code why` line, if that accepts it.
    #[serde(default)]
    pub allowed: Option<String>,
}

impl FindingReport {
    /// `warn: file:line: message [code, measured]`, and the reason for which it is accepted.
    pub fn to_line(&self) -> String {
        let level = match (&self.allowed, self.level) {
            (Some(_), _) => "allowed",
            (None, level) => level.name(),
        };
        let place = match (&self.file, self.line) {
            (Some(file), Some(line)) => format!("{file}:{line}: "),
            (Some(file), None) => format!("{file}: "),
            (None, _) => String::new(),
        };
        // A sentence of an earlier version carries its code itself.
        let code = match (self.code.as_str(), self.evidence) {
            ("finding", _) => String::new(),
            (code, Evidence::Static) => format!(" [{code}]"),
            (code, Evidence::Measured) => format!(" [{code}, measured]"),
        };
        let why = self.allowed.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        format!("{level}: {place}{}{code}{why}", self.message)
    }

    /// Whether it stops a run: it is denied, and the file does not accept it.
    pub fn is_denied(&self) -> bool {
        self.level == FindingLevel::Deny && self.allowed.is_none()
    }
}

impl FindingLevel {
    /// As `[policy]` writes it.
    pub fn name(self) -> &'static str {
        match self {
            FindingLevel::Note => "note",
            FindingLevel::Warn => "warn",
            FindingLevel::Deny => "deny",
        }
    }
}

/// What a policy makes of a finding, the mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FindingLevel {
    /// Worth knowing.
    Note,
    /// To be read before going on.
    Warn,
    /// Stops the run.
    Deny,
}

/// How a finding is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// Read in the text of a statement.
    Static,
    /// Measured by a rehearsal on the rows of a snapshot.
    Measured,
}

impl fmt::Display for FindingReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place() {
            write!(f, "{place}: ")?;
        }
        write!(f, "{} [{}]", self.message, self.code)
    }
}

impl FindingReport {
    /// `file:line`; none when it is about the plan or a check.
    pub fn place(&self) -> Option<String> {
        let file = self.file.as_ref()?;
        Some(self.line.map_or_else(|| file.clone(), |line| format!("{file}:{line}")))
    }
}

impl Evidence {
    /// How it is known, in words.
    pub fn in_words(self) -> &'static str {
        match self {
            Evidence::Static => "read in the text",
            Evidence::Measured => "measured on the rows",
        }
    }
}
