//! What can stop a workflow.

use super::fill::NotMade;
use crate::migration::{Conflict, MigrationError, PlanError};
use crate::postgres::database::ReplaceError;
use crate::postgres::foreign_code::ForeignCode;
use crate::postgres::{
    ArchiveError, ClusterError, ConnectionError, DatabaseError, ExecuteError, ExportError, LedgerError, LockError,
    MarkError, ProgramError,
};
use crate::report::{first_five, format_list};
use crate::snapshot::SnapshotError;
use crate::store::StoreError;

/// A condition that stops a run before production is touched.
#[derive(Debug, thiserror::Error)]
pub enum Gate {
    /// Applied files changed.
    #[error("applied migrations changed on disk:{}", five_lines(.0))]
    ChangedFiles(Vec<String>),
    /// Applied files are not on disk while something is pending.
    #[error("applied migrations are missing on disk while others are pending: {}", format_list(.0))]
    MissingFiles(Vec<String>),
    /// An app has several leaves.
    #[error("{}", conflicts(.0))]
    Conflict(Vec<Conflict>),
    /// Applied before what it depends on.
    #[error("applied migrations depend on others that are not applied:{}", five_lines(.0))]
    Inconsistent(Vec<String>),
    /// The ledger holds rows of runs that it does not know.
    #[error("the ledger of \"{database}\" (source {of}) holds rows of another database's:{}", lines(.rows))]
    MixedLedger {
        /// Database.
        database: String,
        /// Its source.
        of: String,
        /// Migration, run, and whose it is.
        rows: Vec<String>,
    },
    /// The schema is not the one that the last run left.
    #[error("the schema of \"{database}\" changed since {since} (drift):\n{difference}")]
    Drift {
        /// Database.
        database: String,
        /// The run that recorded the schema.
        since: String,
        /// Readable difference.
        difference: String,
    },
    /// The server is a standby.
    #[error("{0} is a standby, and nothing can be changed there")]
    Standby(String),
    /// The schema or the ledger changed while the run was being prepared.
    #[error("\"{database}\" changed while this run was being prepared: {what}")]
    ChangedMeanwhile {
        /// Database.
        database: String,
        /// What changed.
        what: String,
    },
    /// The role could not restore the snapshot that secures the run.
    #[error("this role could not take the way back: {0}")]
    NoRestore(String),
    /// `[on_failure] after = "restore"` where a restore could lose rows.
    #[error("[on_failure] after = \"restore\" {0}")]
    RestoreAfterFailure(String),
    /// The rehearsal failed.
    #[error("the rehearsal failed: {why}")]
    RehearsalFailed {
        /// What failed.
        why: String,
        /// What to change, where the place of a statement is at fault.
        advice: Option<String>,
    },
    /// A migration outside a transaction stands half done on what is to be rolled back.
    #[error("{} stopped in the middle, and stands on what is to be rolled back", format_list(.0))]
    HalfDone(Vec<String>),
    /// A migration stopped half-way outside a transaction, and its file is gone or has another name.
    #[error("what is half done must be finished first:{}", lines(.0))]
    HalfDoneWithoutFile(Vec<String>),
    /// The rehearsal that the operator named does not stand for one made now.
    #[error("rehearsal {rehearsal} is not accepted: {why}")]
    Receipt {
        /// Its id.
        rehearsal: String,
        /// What does not match.
        why: Box<super::rehearse::WhyNot>,
    },
    /// The plan loses data.
    #[error("the plan loses data:\n{}", .losses.join("\n"))]
    DataLoss {
        /// One line per loss.
        losses: Vec<String>,
        /// Hash of the plan, to be given back.
        plan_hash: String,
    },
    /// Findings that the policy denies.
    #[error("the policy denies:{}", lines(.0))]
    Policy(Vec<String>),
    /// Functions of others would run with our rights.
    #[error("functions of roles that are not trusted would run with the rights of this run:{}", lines(&shown(.0)))]
    ForeignCode(Vec<ForeignCode>),
    /// The operator said no.
    #[error("not confirmed")]
    NotConfirmed,
    /// A migration runs a program that is not there.
    #[error("{0}")]
    ProgramMissing(String),
    /// Rules would remove many snapshots at once.
    #[error("{what} snapshots would be removed, more than {percent} % of them (--max-remove)")]
    ForgetsMany {
        /// How many of how many.
        what: String,
        /// The limit.
        percent: u32,
        /// Names the removals.
        plan_hash: String,
    },
    /// Signatures are asked for, and this machine makes none that counts.
    #[error("{message}")]
    CannotSign {
        /// What is missing.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// There is nobody to ask.
    #[error("this needs a confirmation, and there is no terminal to ask on")]
    CannotAsk,
    /// A database is to be dropped, and its name was not typed.
    #[error("dropping \"{0}\" cannot be undone, so its name must be typed")]
    NameNotTyped(String),
    /// The snapshot would be larger than `[limits] ask_above`.
    #[error("the snapshot would copy about {0}, more than [limits] ask_above allows without asking")]
    LargeSnapshot(String),
    /// Something stands in the way of a swap.
    #[error("\"{database}\" cannot be swapped now: {}", .obstacles.join("; "))]
    SwapObstacles {
        /// Database.
        database: String,
        /// Each with its name.
        obstacles: Vec<String>,
    },
    /// The restored database is not proven equal.
    #[error("the restored database is not the snapshot:\n{}", .0.join("\n"))]
    ProofFailed(Vec<String>),
    /// A part of a snapshot cannot be brought back as asked.
    #[error("{message}")]
    RecoveryRefused {
        /// What stands in the way, with numbers.
        message: String,
        /// What to do instead.
        hint: String,
    },
    /// The writers cannot be kept out.
    #[error("{message}")]
    Fence {
        /// What stands in the way, by name.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// A wrapped command cannot be run safely.
    #[error("{message}")]
    Exec {
        /// Why not.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// What had to be proven equal is not.
    #[error("{message}")]
    Unproven {
        /// What is not equal to what, and where.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// The snapshot found differences that `--max-age` or the source forbid.
    #[error("{0}")]
    SnapshotChoice(String),
}

/// Each on a line of its own, indented.
fn lines(items: &[String]) -> String {
    items.iter().map(|item| format!("\n  {item}")).collect()
}

fn five_lines(items: &[String]) -> String {
    lines(&first_five(items))
}

fn shown(code: &[ForeignCode]) -> Vec<String> {
    code.iter().map(ToString::to_string).collect()
}

fn conflicts(conflicts: &[Conflict]) -> String {
    let of = |conflict: &Conflict| {
        let leaves: Vec<String> = conflict.leaves.iter().map(ToString::to_string).collect();
        let leaves = first_five(&leaves);
        format!("nothing says which comes first in app \"{}\": {}", conflict.app, leaves.join(" or "))
    };
    conflicts.iter().map(of).collect::<Vec<_>>().join("; ")
}

/// Why a workflow ended without reaching its goal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The server refused something.
    #[error("{0}")]
    Database(#[from] DatabaseError),
    /// A program is missing or failed.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The private cluster did not start.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A database does not carry our mark.
    #[error(transparent)]
    Mark(#[from] MarkError),
    /// A database was not created, swapped or dropped.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
    /// The leader of a snapshot failed.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// `pg_dump` or `pg_restore` failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The ledger cannot be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Another run holds the lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A migration failed.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The snapshot failed or is damaged.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The migration files are wrong.
    #[error(transparent)]
    Migration(#[from] MigrationError),
    /// There is no such plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A migration has no down section; what a restore would lose is known.
    #[error("{source}")]
    NoWayDown {
        /// Which one.
        source: PlanError,
        /// The way that is left.
        hint: String,
    },
    /// A gate refused.
    #[error(transparent)]
    Gate(#[from] Box<Gate>),
    /// A pooler stands between us and the server.
    #[error("{0} is a connection pooler; its sessions are shared, so a lock taken there protects nothing")]
    Pooler(String),
    /// The snapshot cannot be taken.
    #[error("the snapshot cannot be taken: {0}")]
    SnapshotRefused(String),
    /// Some of the snapshot cannot be restored.
    #[error("this of the snapshot cannot be restored here:{}", lines(&not_made.iter().map(|one| format!("{}: {}", one.entry, one.why)).collect::<Vec<_>>()))]
    NotMade {
        /// Each with the server's words.
        not_made: Vec<NotMade>,
        /// The database that is filled, and waits for the rest; none: it was dropped.
        kept: Option<String>,
    },
    /// No snapshot to work with.
    #[error("{message}")]
    NoSnapshot {
        /// Which one is missing, and where.
        message: String,
        /// What to do next.
        hint: &'static str,
    },
    /// The role that is connected may not make the database that a restore fills.
    #[error("role \"{role}\" may not create a database, and a restore fills a new one")]
    NoCreatedb {
        /// The role.
        role: String,
    },
    /// The shadow could reach what a rehearsal must never touch.
    #[error("{message}")]
    ShadowRefused {
        /// What, and why.
        message: String,
        /// What to do instead.
        hint: String,
    },
    /// The restore cannot start.
    #[error("{0}")]
    RestoreRefused(String),
    /// The snapshot or the ledger has no such table, column or run, or it is nothing that can be recovered.
    #[error("{message}")]
    NoSuchPart {
        /// What was asked for, and why not.
        message: String,
        /// Near names, or what to do instead.
        hint: Option<String>,
    },
    /// What was asked for cannot be done with these files or this ledger.
    #[error("{message}")]
    NotPossible {
        /// What, and why not.
        message: String,
        /// What to do instead.
        hint: String,
    },
    /// A file or directory is where something new was to be written.
    #[error("{} exists already; nothing was written", .0.display())]
    OutputExists(std::path::PathBuf),
    /// A file of our own could not be read or written.
    #[error("{what}: {source}")]
    File {
        /// What was done, with the path.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A report could not be written or read as JSON.
    #[error("{what}: {source}")]
    Json {
        /// What was done.
        what: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// The page of a report could not be made from its template.
    #[error("cannot make the page of the rehearsal's report: {source}")]
    Page {
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The operator asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// A wrapped command failed.
    #[error("{0}")]
    Command(String),
    /// A run that had started to change production stopped.
    #[error("{source}")]
    RunStopped {
        /// What production is now.
        production: String,
        /// Whether production is not as it was.
        changed: bool,
        /// What to do next.
        hint: String,
        /// What happened.
        source: Box<Error>,
    },
    /// Production was migrated and what was found afterwards is not what was rehearsed.
    #[error("the migrations are applied, but the verification found: {}", .findings.join("; "))]
    VerificationFailed {
        /// What differs.
        findings: Vec<String>,
        /// The way back.
        hint: String,
    },
}

impl From<Gate> for Error {
    fn from(gate: Gate) -> Self {
        Self::Gate(Box::new(gate))
    }
}

impl From<tokio::task::JoinError> for Error {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::SnapshotRefused(format!("a worker stopped: {error}"))
    }
}
