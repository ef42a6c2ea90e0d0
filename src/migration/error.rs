//! What can be wrong with migration files, and with a request for a plan.
//!
//! The `Display` text says what happened and where; [`MigrationError::hint`] and [`PlanError::hint`] say what to do.

use std::path::PathBuf;

use super::id::{InvalidMigrationId, MigrationId};
use super::splitter::SplitError;

/// Why migration files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The directory of migrations is not there.
    #[error("there is no directory of migrations at {}", dir.display())]
    NoDirectory {
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// The operating system refused to read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A `.sql` file whose name is none for a migration.
    #[error("{}: no name for a migration: 4 to 14 digits, an underscore, then lower-case letters, digits and underscores", path.display())]
    FileName {
        /// The file.
        path: PathBuf,
    },
    /// A folder with `.sql` files whose name is none for an app.
    #[error("{}: no name for an app: use letters, digits, underscore and dash", path.display())]
    AppName {
        /// The folder.
        path: PathBuf,
    },
    /// A `.sql` file in a folder where no migration belongs.
    #[error("{}: a .sql file in a place where no migration is looked for", path.display())]
    Misplaced {
        /// The file.
        path: PathBuf,
    },
    /// The file is not UTF-8.
    #[error("{}:{line}: not UTF-8: byte 0x{byte:02x} at offset {offset}", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The line of the first wrong byte, 1-based.
        line: u32,
        /// The wrong byte.
        byte: u8,
        /// Where it is: bytes from the start of the file.
        offset: usize,
    },
    /// The file holds a NUL character, which no SQL statement can.
    #[error("{}:{line}: a NUL character", path.display())]
    Nul {
        /// The file.
        path: PathBuf,
        /// The line it is on, 1-based.
        line: u32,
    },
    /// There is no `-- migrate:up` line.
    #[error("{}: there is no `-- migrate:up` line", path.display())]
    NoUpSection {
        /// The file.
        path: PathBuf,
    },
    /// SQL stands before `-- migrate:up`, where it would never run.
    #[error("{}:{line}: SQL before the `-- migrate:up` line would never run", path.display())]
    SqlBeforeUp {
        /// The file.
        path: PathBuf,
        /// The line of the SQL.
        line: u32,
    },
    /// A `-- migrate:` line that is unknown, repeated, out of order or has an unknown option.
    #[error("{}:{line}: {reason}", path.display())]
    Marker {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u32,
        /// What is wrong with it.
        reason: String,
    },
    /// A header line such as `-- depends:` that cannot be understood.
    #[error("{}:{line}: {reason}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u32,
        /// What is wrong with it.
        reason: String,
    },
    /// A section that cannot be cut into statements to send.
    #[error("{}:{}: {error}", path.display(), error.line())]
    Split {
        /// The file.
        path: PathBuf,
        /// What is wrong, and its line.
        error: SplitError,
    },
    /// A migration that begins or ends a transaction itself.
    #[error("{}:{line}: {command} in a migration: safe-migrate begins and ends its transactions itself", path.display())]
    TransactionControl {
        /// The file.
        path: PathBuf,
        /// The line of the statement.
        line: u32,
        /// The command.
        command: String,
        /// Whether the section runs in one transaction.
        transactional: bool,
    },
    /// A dependency that no file provides.
    #[error("{}:{line}: {migration} names {dependency}, and there is no such migration", path.display())]
    UnknownDependency {
        /// The file.
        path: PathBuf,
        /// The line of the header.
        line: u32,
        /// The migration that names it.
        migration: MigrationId,
        /// The migration that is not there.
        dependency: MigrationId,
        /// The migration that was probably meant.
        nearest: Option<MigrationId>,
    },
    /// Migrations that wait for each other.
    #[error("migrations depend on each other in a circle: {}{}", arrows(cycle), places(lines))]
    Cycle {
        /// Each depends on the next, and the last on the first.
        cycle: Vec<MigrationId>,
        /// The header lines that make the circle, each with its file.
        lines: Vec<(PathBuf, u32)>,
    },
    /// A database has some of what a squash replaces, and the files of the others are gone.
    #[error(
        "the database has {}, which {squash} replaces, but not {}, and there is no file of that any more",
        names(present),
        names(gone)
    )]
    ReplacedMissing {
        /// The squash.
        squash: MigrationId,
        /// Neither applied nor there.
        gone: Vec<MigrationId>,
        /// Applied.
        present: Vec<MigrationId>,
    },
    /// The program of a section is not there.
    #[error("{}:{line}: there is no program {program}", path.display())]
    NoProgram {
        /// The file.
        path: PathBuf,
        /// The line of the section.
        line: u32,
        /// What it names.
        program: String,
    },
    /// Two migrations of the same name, which a directory cannot hold but a caller can pass.
    #[error("there are two migrations {0}")]
    Duplicate(MigrationId),
    /// A name that cannot be one.
    #[error(transparent)]
    InvalidId(#[from] InvalidMigrationId),
}

fn arrows(cycle: &[MigrationId]) -> String {
    let mut names: Vec<String> = cycle.iter().map(MigrationId::to_string).collect();
    names.extend(names.first().cloned());
    names.join(" -> ")
}

/// One indented line for each place.
fn places(lines: &[(PathBuf, u32)]) -> String {
    lines.iter().map(|(path, line)| format!("\n  {}:{line}", path.display())).collect()
}

impl MigrationError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            MigrationError::NoDirectory { .. } => {
                "name it with --migrations DIR or `[migrations] dir` in safe-migrate.toml, or run `safe-migrate init`"
            }
            MigrationError::FileName { .. } => {
                "rename it, as in 0002_add_allergens.sql, or give it another ending than .sql if it is no migration"
            }
            MigrationError::AppName { .. } => "rename the folder, or move it elsewhere if it holds no migrations",
            MigrationError::Misplaced { .. } => {
                "migrations are <dir>/<app>/NNNN_name.sql, or all of them directly in <dir>; move this file or folder away"
            }
            MigrationError::NotUtf8 { .. } => "save the file in UTF-8",
            MigrationError::Nul { .. } => "remove it; often the file was saved in UTF-16 instead of UTF-8",
            MigrationError::Marker { .. } => {
                "the lines are `-- migrate:up` and then `-- migrate:down`, each with `transaction:false` where wanted"
            }
            MigrationError::Header { .. } => {
                "a header line is `-- depends: app/0001_name`, `-- run-before:`, `-- replaces:`, `-- breaking:` or `-- allow:`"
            }
            MigrationError::Split { error, .. } => error.hint(),
            MigrationError::NoUpSection { .. } => {
                "put `-- migrate:up` above the SQL that applies it and `-- migrate:down` above the SQL that undoes it"
            }
            MigrationError::SqlBeforeUp { .. } => "move it below the `-- migrate:up` line",
            MigrationError::TransactionControl { transactional: true, .. } => {
                "remove it; SQL that cannot run in a transaction belongs in a migration with `-- migrate:up transaction:false`"
            }
            MigrationError::TransactionControl { transactional: false, .. } => {
                "remove it; each statement of a transaction:false section is committed and recorded by itself"
            }
            MigrationError::UnknownDependency { nearest, .. } => {
                return Some(match nearest {
                    Some(nearest) => format!("did you mean {nearest}?"),
                    None => "correct the name, or add the missing file".to_owned(),
                });
            }
            MigrationError::ReplacedMissing { .. } => {
                "bring this database up with a release that still has the replaced files, then use this one"
            }
            MigrationError::NoProgram { .. } => {
                "it is looked for beside the migration, in the directory of the migrations, and in the one above"
            }
            MigrationError::Cycle { .. } => "remove one of these `-- depends:` or `-- run-before:` lines",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// Why no plan can be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// No migration belongs to this app.
    #[error("there is no app `{app}` with migrations")]
    UnknownApp {
        /// What was asked for.
        app: String,
        /// The apps there are.
        apps: Vec<String>,
        /// The one that was probably meant.
        nearest: Option<String>,
    },
    /// No migration of the app matches the target.
    #[error("app `{app}` has no migration `{target}`")]
    UnknownTarget {
        /// The app.
        app: String,
        /// What was asked for.
        target: String,
        /// A few migrations of the app, those that resemble it first.
        nearest: Vec<String>,
    },
    /// Several migrations of the app match the target.
    #[error("`{target}` may mean several migrations of app `{app}`: {}", candidates.join(", "))]
    AmbiguousTarget {
        /// The app.
        app: String,
        /// What was asked for.
        target: String,
        /// The names that match.
        candidates: Vec<String>,
    },
    /// `apply` to a state that lies behind.
    #[error("{target} is applied already, and later migrations of its app are too: {}", names(later))]
    AlreadyPast {
        /// The migration asked for.
        target: MigrationId,
        /// The later ones, in the order they were applied in.
        later: Vec<MigrationId>,
    },
    /// `apply APP zero`.
    #[error("`apply` goes forward only; `zero` means that nothing of app `{app}` is applied")]
    ZeroIsRollback {
        /// The app.
        app: String,
    },
    /// `rollback` to a migration that is not applied.
    #[error("{target} is not applied, so there is no way back to it")]
    TargetNotApplied {
        /// The migration asked for.
        target: MigrationId,
    },
    /// A migration to roll back has no down section.
    #[error("{migration} cannot be rolled back: {} has no `-- migrate:down` section", path.display())]
    IrreversibleMigration {
        /// The migration.
        migration: MigrationId,
        /// Its file, or where its text comes from when there is none.
        path: PathBuf,
    },
    /// A run's migrations cannot be rolled back alone.
    #[error("run {run_id} cannot be rolled back by itself: {later} was applied after it and depends on its {needed}")]
    NeededByLater {
        /// The run.
        run_id: String,
        /// The migration of the run.
        needed: MigrationId,
        /// The one that depends on it.
        later: MigrationId,
    },
    /// A squash stands for what several runs applied.
    #[error(
        "run {run_id} cannot be rolled back by itself: {squash} stands for what it applied, and for what run {other} did"
    )]
    SquashOfSeveralRuns {
        /// The run.
        run_id: String,
        /// The squash.
        squash: MigrationId,
        /// Another run.
        other: String,
    },
    /// The file is missing and the text in the ledger is no migration.
    #[error("the file of {migration} is missing, and the text that the ledger keeps for it cannot be used")]
    LedgerText {
        /// The migration.
        migration: MigrationId,
        /// What is wrong with the text.
        source: Box<MigrationError>,
    },
    /// Files and ledger together make no order.
    #[error("the files and the ledger together give no order")]
    Order(#[source] Box<MigrationError>),
}

fn names(ids: &[MigrationId]) -> String {
    ids.iter().map(MigrationId::to_string).collect::<Vec<_>>().join(", ")
}

impl PlanError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            PlanError::UnknownApp { nearest: Some(nearest), .. } => Some(format!("did you mean `{nearest}`?")),
            PlanError::UnknownApp { apps, .. } if apps.is_empty() => Some("no migration file was found".to_owned()),
            PlanError::UnknownApp { apps, .. } => Some(format!("the apps are: {}", apps.join(", "))),
            PlanError::UnknownTarget { nearest, .. } => Some(format!("its migrations include {}", nearest.join(", "))),
            PlanError::AmbiguousTarget { .. } => Some("write more of the name".to_owned()),
            PlanError::AlreadyPast { target, .. } => {
                Some(format!("to go back, run `safe-migrate rollback {} {}`", target.app, target.name))
            }
            PlanError::ZeroIsRollback { app } => Some(format!("run `safe-migrate rollback {app} zero`")),
            PlanError::TargetNotApplied { target } => {
                Some(format!("to go forward, run `safe-migrate apply {} {}`", target.app, target.name))
            }
            PlanError::IrreversibleMigration { .. } => {
                Some("`safe-migrate restore` brings back the snapshot that was taken before it".to_owned())
            }
            PlanError::NeededByLater { later, .. } => {
                Some(format!("roll back {later} first, or use `safe-migrate rollback APP TARGET`, which takes both"))
            }
            PlanError::SquashOfSeveralRuns { squash, .. } => {
                Some(format!("to undo all of {squash}: `safe-migrate rollback {} TARGET`", squash.app))
            }
            PlanError::LedgerText { .. } => Some("check out the release that has the file".to_owned()),
            PlanError::Order(source) => source.hint(),
        }
    }
}
