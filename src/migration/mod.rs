//! Migration files, their graph, plans and checksums (pure: no tokio, no SQL is sent from here).
//!
//! A file becomes a [`Migration`] ([`Migration::parse`]); a directory becomes a [`MigrationSet`]
//! ([`MigrationSet::load`]), which knows the order, compares itself with the ledger ([`MigrationSet::check`]) and makes
//! a [`Plan`]. The ledger's side comes in as [`AppliedMigration`] rows.

mod batch;
mod check;
mod checksum;
mod duration;
mod error;
mod file;
mod foreign;
mod graph;
mod header;
mod id;
mod ledger_check;
mod lexer;
mod literals;
mod load;
mod nearest;
mod optimize;
mod plan;
mod planning;
mod program;
mod set;
mod splitter;
mod squashed;
mod target;

pub use batch::{Batch, BatchKey, without_placeholders};
pub use check::{Check, load_checks};
pub use checksum::Checksum;
pub use duration::parse_duration;
pub use error::{MigrationError, PlanError};
pub use file::{AcceptedLoss, Allow, Migration, Section};
pub use foreign::{
    ForeignError, ForeignMigration, ForeignTool, NamePattern, names as foreign_names, without_own_transaction,
};
pub use id::{InvalidMigrationId, MigrationId};
pub use ledger_check::{AppliedMigration, ChangedMigration, Inconsistency, LedgerCheck};
pub use literals::without_literals;
pub(crate) use nearest::nearest;
pub use optimize::{SquashedStatement, shorten, without_concurrently};
pub use plan::{BreakingNote, Direction, Plan, PlanHash, PlanStep};
pub use program::Program;
pub use set::{Conflict, MigrationSet};
pub use splitter::{SplitError, Statement, is_one_expression, split_statements};
pub use squashed::{Squash, SquashUse};
pub use target::Target;
