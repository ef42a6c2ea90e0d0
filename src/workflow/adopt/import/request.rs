//! What an import is asked for: the tool, its directory, and its table.

use std::path::PathBuf;
use std::time::Duration;

use crate::migration::{ForeignTool, NamePattern};
use crate::postgres::foreign_ledger::ForeignLedger;

use super::super::super::exec::WrappedCommand;

/// Which tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportFrom {
    /// One whose directory is read.
    Files(ForeignTool),
    /// Django, by its own `manage.py`.
    Django,
    /// Alembic, by its own `--sql`.
    Alembic,
}

/// What the operator asked for.
#[derive(Clone, Debug)]
pub struct ImportRequest {
    /// The tool.
    pub from: ImportFrom,
    /// Its directory.
    pub path: PathBuf,
    /// The app for tools that have none.
    pub app: String,
    /// The tool's table, when it is not named as usual: `[schema.]name`.
    pub table: Option<String>,
    /// How its files are named, when golang-migrate's own layout is not used.
    pub names: Option<NamePattern>,
    /// The tool's program, for those that are asked.
    pub command: WrappedCommand,
    /// `--accept-drift WHY`: production need not be what the applied ones build.
    pub accept_drift: Option<String>,
    /// How long to wait for another run to end.
    pub wait: Duration,
    /// Whether to stop after the proof.
    pub dry_run: bool,
}

impl ImportFrom {
    /// Where it keeps what is applied.
    pub(super) fn ledger(self) -> ForeignLedger {
        match self {
            ImportFrom::Files(ForeignTool::Dbmate) => ForeignLedger::Dbmate,
            ImportFrom::Files(ForeignTool::Sqlx) => ForeignLedger::Sqlx,
            ImportFrom::Files(ForeignTool::GolangMigrate) => ForeignLedger::GolangMigrate,
            ImportFrom::Files(ForeignTool::Flyway) => ForeignLedger::Flyway,
            ImportFrom::Files(ForeignTool::Goose) => ForeignLedger::Goose,
            ImportFrom::Files(ForeignTool::Prisma) => ForeignLedger::Prisma,
            ImportFrom::Files(ForeignTool::Diesel) => ForeignLedger::Diesel,
            ImportFrom::Files(ForeignTool::Rails) => ForeignLedger::Rails,
            ImportFrom::Django => ForeignLedger::Django,
            ImportFrom::Alembic => ForeignLedger::Alembic,
        }
    }

    /// Its name as `import --from` takes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            ImportFrom::Files(tool) => tool.name(),
            ImportFrom::Django => "django",
            ImportFrom::Alembic => "alembic",
        }
    }
}
