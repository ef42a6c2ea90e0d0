//! Why a migration did not run, and whether production changed.

use super::super::DatabaseError;

/// Why a migration did not run.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// A statement was refused; nothing of its transaction remains.
    #[error("{file}:{line}: {source}")]
    Statement {
        /// File of the migration.
        file: String,
        /// Line in it.
        line: u32,
        /// The server's words.
        source: Box<DatabaseError>,
    },
    /// All statements ran, and the COMMIT was refused; nothing of the transaction remains.
    #[error("{file}: at COMMIT, after its last statement: {source}")]
    AtCommit {
        /// File of the migration.
        file: String,
        /// Line of its last statement.
        line: u32,
        /// The server's words.
        source: Box<DatabaseError>,
    },
    /// A statement outside a transaction was refused; the ones before it stay.
    #[error("{file}:{line}: {source} (outside a transaction; statements before it that are done: {done}{}{}{left})",
        if *partly { "; so are batches of this one" } else { "" }, if left.is_empty() { "" } else { "; " })]
    Step {
        /// File of the migration.
        file: String,
        /// Line in it.
        line: u32,
        /// Statements of the section that are done.
        done: usize,
        /// Whether batches of the statement itself are done.
        partly: bool,
        /// What the statement left, in words; empty: nothing.
        left: String,
        /// The server's words.
        source: Box<DatabaseError>,
    },
    /// A statement was cancelled because others waited for it; nothing of its transaction remains.
    #[error("{file}:{line}: cancelled, because {waiting} sessions waited behind it")]
    Crowded {
        /// File of the migration.
        file: String,
        /// Line in it.
        line: u32,
        /// How many waited.
        waiting: u32,
    },
    /// An earlier run stopped in the middle of a statement outside a transaction.
    #[error(
        "{file}:{line}: an earlier run stopped in this statement, and nothing tells whether it took effect; \
             look, and say so: --step done goes on after it, --step again runs it again"
    )]
    Unclear {
        /// File of the migration.
        file: String,
        /// Line in it.
        line: u32,
    },
    /// The operator asked to stop, and a section outside a transaction did so between two statements or batches.
    #[error("interrupted before {file}:{line} was done; run the command again to go on there")]
    Stopped {
        /// File of the migration.
        file: String,
        /// Line of the statement that is next.
        line: u32,
        /// Whether something of the section is done.
        changed: bool,
    },
    /// An earlier run did a part of this section, and the file says something else now.
    #[error("{file}:{line}: an earlier run began statement {number} of this section, and the file changed there since")]
    Changed {
        /// File of the migration.
        file: String,
        /// Line in it.
        line: u32,
        /// Which statement of its section, from 1.
        number: usize,
    },
    /// The program of a section failed; what it did before stays.
    #[error("{file}:{line}: the program `{program}` ended with {why}")]
    Program {
        /// File of the migration.
        file: String,
        /// Line in it.
        line: u32,
        /// Its words.
        program: String,
        /// How it ended.
        why: String,
    },
    /// The program of a section was not started.
    #[error("{file}:{line}: the program `{program}` was not run: {why}")]
    ProgramNotRun {
        /// File of the migration.
        file: String,
        /// Line in it.
        line: u32,
        /// Its words.
        program: String,
        /// Why not.
        why: String,
    },
    /// The key of a batched section cannot serve.
    #[error("{file}:{line}: {key} cannot be the key of batches: {reason}")]
    Key {
        /// File of the migration.
        file: String,
        /// Line in it.
        line: u32,
        /// The column.
        key: String,
        /// Why not.
        reason: String,
        /// Statements of the section that are done.
        done: usize,
    },
    /// The ledger does not hold the migration that is rolled back.
    #[error("the ledger changed during the run: {0} is no longer recorded as applied")]
    LedgerChanged(String),
    /// The connection was lost at COMMIT and the outcome could not be read afterwards.
    #[error(
        "the connection was lost at COMMIT of {migration}, and whether it took effect is not known: {source}{waits}"
    )]
    UnknownCommit {
        /// The migration.
        migration: String,
        /// What the COMMIT waits for, in words; empty: nothing that is known.
        waits: String,
        /// What happened to the connection.
        source: Box<DatabaseError>,
    },
    /// The server refused something of ours.
    #[error("{0}")]
    Database(#[from] DatabaseError),
}

impl ExecuteError {
    /// Whether production may have been changed by the step that failed.
    pub fn left_changes(&self) -> bool {
        match self {
            Self::Step { done, partly, left, .. } => *done > 0 || *partly || !left.is_empty(),
            Self::Stopped { changed, .. } => *changed,
            Self::Key { done, .. } => *done > 0,
            // An earlier run changed production, this one did not; what it is now is as unclear.
            Self::Changed { .. } => true,
            Self::Unclear { .. } | Self::UnknownCommit { .. } => true,
            // Only the program knows what it did.
            Self::Program { .. } => true,
            _ => false,
        }
    }

    /// The numbers in the server's report of a deadlock (40P01), in whatever language: the processes are among them.
    pub fn deadlocked_with(&self) -> Vec<i32> {
        let (Self::Statement { source, .. } | Self::AtCommit { source, .. } | Self::Step { source, .. }) = self else {
            return Vec::new();
        };
        let detail = source.detail.as_deref().filter(|_| source.is_deadlock()).unwrap_or_default();
        detail.split(|character: char| !character.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    }

    pub(super) fn is_worth_a_retry(&self) -> bool {
        match self {
            Self::Statement { source, .. } | Self::AtCommit { source, .. } => {
                source.is_lock_timeout() || source.is_deadlock()
            }
            Self::Crowded { .. } => true,
            Self::Database(error) => error.is_lock_timeout() || error.is_deadlock(),
            _ => false,
        }
    }
}
