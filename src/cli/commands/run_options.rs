//! Options that `apply` and `rollback` share, and the ways to name a snapshot.

use std::convert::Infallible;
use std::str::FromStr;
use std::time::Duration;

use super::snapshot_options::SnapshotOptions;
use crate::cli::config::parse_duration;
use crate::cli::error::CliError;
use crate::postgres::Unclear;
use crate::snapshot::SnapshotId;
use crate::workflow::{Error, RehearsalChoice, SnapshotChoice};

/// How a run that changes production is secured.
#[derive(Debug, clap::Args)]
pub(crate) struct RunOptions {
    /// The snapshot to fall back on: `new`, an ID, or the newest if no older than `max-age=15m`
    #[arg(long, value_name = "new|ID|max-age=DUR", default_value = "new")]
    pub(crate) snapshot: RunSnapshot,
    /// Go without a snapshot, for this reason; it is recorded
    #[arg(long, value_name = "REASON", conflicts_with = "snapshot", value_parser = parse_reason)]
    pub(crate) skip_snapshot: Option<String>,
    /// Accept a stored rehearsal that still matches: the newest (`auto`), none (`new`), or the one with this ID
    #[arg(long, value_name = "auto|new|ID", default_value = "auto", conflicts_with = "skip_rehearsal")]
    pub(crate) rehearsal: RunRehearsal,
    /// Go without a rehearsal, for this reason; it is recorded
    #[arg(long, value_name = "REASON", value_parser = parse_reason)]
    pub(crate) skip_rehearsal: Option<String>,
    /// Accept that the plan with this hash loses data; the rehearsal prints the hash
    #[arg(long, value_name = "HASH")]
    pub(crate) accept_data_loss: Option<String>,
    /// Accept that the schema is not the one the ledger recorded, for this reason
    #[arg(long, value_name = "WHY", value_parser = parse_reason)]
    pub(crate) accept_drift: Option<String>,
    /// Accept that this role could not restore the snapshot, for this reason; it is recorded
    #[arg(long, value_name = "WHY", value_parser = parse_reason)]
    pub(crate) accept_no_restore: Option<String>,
    /// What became of the statement in which an earlier run stopped, where nothing tells: it took effect (`done`), or it
    /// is to run again (`again`)
    #[arg(long, value_name = "done|again")]
    pub(crate) step: Option<StepAnswer>,
    /// Let nobody write between the snapshot and the end of the migrations: writers wait (`writers`), or all sessions
    /// are ended and none is let in while the migrations run (`closed`)
    #[arg(long, value_name = "closed", num_args = 0..=1, require_equals = true, default_missing_value = "writers")]
    pub(crate) fence: Option<RunFence>,
    /// Show the plan and the gates; change nothing
    #[arg(long, alias = "plan")]
    pub(crate) dry_run: bool,
    /// Wait this long for another run to end, for example `5m`
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    pub(crate) wait: Option<Duration>,
    #[command(flatten)]
    pub(crate) taking: SnapshotOptions,
}

/// What became of a statement in which an earlier run stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum StepAnswer {
    /// It took effect.
    Done,
    /// It is to run again.
    Again,
}

impl From<StepAnswer> for Unclear {
    fn from(answer: StepAnswer) -> Self {
        match answer {
            StepAnswer::Done => Unclear::Done,
            StepAnswer::Again => Unclear::Again,
        }
    }
}

/// The snapshot that secures a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RunSnapshot {
    /// Take one now.
    New,
    /// The newest of this source, if it is no older than this.
    MaxAge(Duration),
    /// The one with this id.
    Id(String),
}

impl FromStr for RunSnapshot {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "new" => Ok(RunSnapshot::New),
            None if looks_like_id(text) => Ok(RunSnapshot::Id(text.to_string())),
            Some(("max-age", age)) => parse_duration(age).map(RunSnapshot::MaxAge),
            _ => Err("`new`, the ID of a snapshot, or `max-age=15m` is wanted".to_string()),
        }
    }
}

impl RunSnapshot {
    /// What the workflow takes it for.
    pub(super) fn choice(&self) -> Result<SnapshotChoice, CliError> {
        Ok(match self {
            RunSnapshot::New => SnapshotChoice::New,
            RunSnapshot::MaxAge(age) => SnapshotChoice::MaxAge(*age),
            RunSnapshot::Id(id) => SnapshotChoice::Id(SnapshotId::parse(id).map_err(Error::from)?),
        })
    }
}

/// The rehearsal that a run goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RunRehearsal {
    /// The newest one that still matches, else a new one.
    Auto,
    /// A new one.
    New,
    /// The one with this id.
    Id(String),
}

impl RunRehearsal {
    /// What the workflow takes it for.
    pub(super) fn choice(&self) -> RehearsalChoice {
        match self {
            RunRehearsal::Auto => RehearsalChoice::Auto,
            RunRehearsal::New => RehearsalChoice::New,
            RunRehearsal::Id(id) => RehearsalChoice::Id(id.clone()),
        }
    }
}

impl FromStr for RunRehearsal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(RunRehearsal::Auto),
            "new" => Ok(RunRehearsal::New),
            id => match SnapshotId::parse(id) {
                Ok(id) => Ok(RunRehearsal::Id(id.to_string())),
                Err(_) => Err("`auto`, `new`, or the ID of a rehearsal is wanted".to_string()),
            },
        }
    }
}

/// How writers are kept out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RunFence {
    /// They wait.
    Writers,
    /// They are not let in.
    Closed,
}

/// The snapshot that a rehearsal restores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RehearsalSnapshot {
    /// Take one now.
    New,
    /// The newest of this source.
    Latest,
    /// The one with this id.
    Id(String),
}

impl FromStr for RehearsalSnapshot {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "new" => RehearsalSnapshot::New,
            "latest" | "last" => RehearsalSnapshot::Latest,
            id => RehearsalSnapshot::Id(id.to_string()),
        })
    }
}

/// Snapshot ids begin with the year; this catches a misspelt keyword before anything is connected to.
fn looks_like_id(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

pub(super) fn parse_reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("a reason is wanted; it is kept in the ledger".to_string()),
        reason => Ok(reason.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_named_by_keyword_age_or_id() {
        assert_eq!("new".parse(), Ok(RunSnapshot::New));
        assert_eq!("max-age=15m".parse(), Ok(RunSnapshot::MaxAge(Duration::from_secs(900))));
        assert_eq!("20261122T135823Z-7f3a9c".parse(), Ok(RunSnapshot::Id("20261122T135823Z-7f3a9c".to_string())));
        for text in ["", "latest", "max-age", "max-age=", "age=15m"] {
            assert!(text.parse::<RunSnapshot>().is_err(), "{text}");
        }
        assert_eq!("latest".parse(), Ok(RehearsalSnapshot::Latest));
    }
}
