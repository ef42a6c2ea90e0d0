//! Why a stored rehearsal is not accepted.

use std::time::Duration;

use crate::report::format_duration;
use crate::signing::Doubt;

/// Why a stored rehearsal does not stand for one made now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhyNot {
    /// There is none of that id, or it has no receipt (it failed, or an older version made it).
    #[error("the store has no receipt of it")]
    NoReceipt,
    /// It failed.
    #[error("it failed: {0}")]
    Failed(String),
    /// What the store has is not what was written.
    #[error("its receipt is damaged or was edited: {0}")]
    Damaged(String),
    /// Nobody whom the configuration trusts signed it.
    #[error("{0}")]
    Untrusted(Doubt),
    /// The key that signed it may sign receipts alone.
    #[error("the key of \"{0}\" may sign receipts only, and those stand for plans that lose nothing")]
    OnlyReceipts(String),
    /// The report is not the one that the receipt was made of.
    #[error("its report.json changed since it was written")]
    ReportChanged,
    /// Another database's.
    #[error("it is of source \"{found}\", not of \"{wanted}\"")]
    OtherSource {
        /// Its source.
        found: String,
        /// The run's.
        wanted: String,
    },
    /// Of a plan where a command is to be run, or the other way round.
    #[error("it is of {0}")]
    OtherKind(&'static str),
    /// Another command.
    #[error("it is of another command: {0}")]
    OtherCommand(String),
    /// The state of the files cannot be told now.
    #[error("{0}")]
    NotBound(String),
    /// Another key made its hashes, or it is not in the list of what was written here.
    #[error(
        "this user of this machine did not write it, and what a wrapped command does to rows only a rehearsal can tell"
    )]
    NotWrittenHere,
    /// Another version of this program made it.
    #[error("safe-migrate {0} made it")]
    OtherVersion(String),
    /// The files of another commit.
    #[error("it is of commit {found}, and this is {wanted}")]
    OtherCommit {
        /// Its commit.
        found: String,
        /// The one that is checked out.
        wanted: String,
    },
    /// A file that is in no commit.
    #[error("{0} changed since")]
    OtherFile(String),
    /// A variable that is passed to the command.
    #[error("variable {0}")]
    OtherVariable(String),
    /// The findings were judged by another policy.
    #[error("[policy] is another one")]
    OtherPolicy,
    /// Less was asked for.
    #[error("it did not try the way back as --way-back wants it")]
    LessTried,
    /// A run came between, or was taken back.
    #[error("{0}")]
    OtherRun(String),
    /// A tool's own record of what is applied.
    #[error("the rows of {0}, in which a tool keeps what is applied, are others")]
    OtherHistory(String),
    /// Another plan.
    #[error("it is of another plan: {0}")]
    OtherPlan(String),
    /// Its migrations were grouped into transactions in another way.
    #[error("{}", if *together { "its migrations ran in one transaction, as with --fence" }
            else { "its migrations ran in a transaction each, and --fence runs them in one" })]
    OtherGrouping {
        /// Whether its were in one.
        together: bool,
    },
    /// Another role ran the migrations.
    #[error("its migrations ran as role \"{found}\", not as \"{wanted}\"")]
    OtherRole {
        /// Its role.
        found: String,
        /// The run's.
        wanted: String,
    },
    /// Another major version.
    #[error("it ran on PostgreSQL {found}, and the server is PostgreSQL {wanted}")]
    OtherMajor {
        /// Its major version.
        found: u32,
        /// The server's.
        wanted: u32,
    },
    /// Its fingerprints cannot be compared with those made now.
    #[error("its schema was read by {found}, which cannot be compared with {wanted}")]
    OtherAlgorithm {
        /// What read it.
        found: String,
        /// What would read production's.
        wanted: String,
    },
    /// It did not find that the down sections lead back.
    #[error("it found no way back of {0}")]
    NoWayBack(String),
    /// It went down on other rows than there are now.
    #[error("the down section of {0} does more to rows than to drop what the run made, and the rows of now are others")]
    RowsOfNow(String),
    /// The store holds another receipt than was written.
    #[error("its receipt is not the one that this machine wrote: somebody changed it in the store")]
    NotAsWritten,
    /// What it says nothing of is there.
    #[error("it says nothing of {object}, which is dropped and holds {amount} now")]
    LossOfNow {
        /// Table, or table and column.
        object: String,
        /// Rows or values.
        amount: String,
    },
    /// What the plan loses cannot be counted.
    #[error("another machine wrote it, and what {0} does to rows only a rehearsal can tell")]
    NotCounted(String),
    /// The policy denies what only a rehearsal of the rollback can measure.
    #[error("the policy denies what the text of the down sections shows, and only a rehearsal of them can disprove it")]
    NotMeasured,
    /// Too old.
    #[error("it is {} old, and [apply] max_age is {}", format_duration(*.age), format_duration(*.limit))]
    TooOld {
        /// Since its end.
        age: Duration,
        /// `[apply] max_age`.
        limit: Duration,
    },
    /// Its end lies in the future: a clock is wrong.
    #[error("by the clock of this machine it ends in {}; one of the clocks is wrong", format_duration(*.0))]
    FromTheFuture(Duration),
    /// It started from another schema than production's.
    #[error("production's schema is not the one it started from (- rehearsed, + production):\n{0}")]
    OtherStartingSchema(String),
}
