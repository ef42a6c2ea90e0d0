//! How much a finding counts.

use std::fmt;

/// How much a finding counts, the mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Not said.
    Off,
    /// Worth knowing.
    Note,
    /// To be read before going on.
    Warn,
    /// Stops the run.
    Deny,
}

impl Level {
    /// The level of that name.
    pub fn parse(name: &str) -> Option<Level> {
        [Level::Off, Level::Note, Level::Warn, Level::Deny].into_iter().find(|level| level.name() == name)
    }

    /// As `[policy]` writes it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Off => "off",
            Level::Note => "note",
            Level::Warn => "warn",
            Level::Deny => "deny",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
