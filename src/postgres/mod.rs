//! The only place with SQL text, the PostgreSQL client and the `pg_*` programs.

pub mod archive;
pub mod archive_entries;
mod believed_properties;
pub mod blockers;
mod capabilities;
pub mod catalog;
mod catalog_witness;
pub mod check_query;
mod clock;
mod concurrent_index;
mod connection;
pub mod contents;
pub mod copy;
pub mod database;
mod database_properties;
pub mod deferred_checks;
pub mod definitions;
mod execute;
mod exported_snapshot;
pub mod fence;
pub mod foreign_code;
pub mod foreign_ledger;
pub mod foreign_trace;
mod identifier;
mod kept;
pub mod ledger;
pub mod loaders;
mod lock;
mod lock_mode;
pub mod maintenance;
mod mark;
pub mod not_carried;
mod note;
mod pooler;
mod private_cluster;
mod programs;
pub mod recovery;
pub mod restorable;
pub mod roles;
pub mod row_comparison;
pub mod row_counts;
pub mod row_record;
pub mod row_sets;
pub mod schema_record;
pub mod sequence_check;
mod server;
mod session_settings;
pub mod shared_shadow;
pub mod statistics;
pub mod subscription;
pub mod swap;
mod system_user;
mod tool_history;
pub mod trace;
pub mod unreadable_names;
pub mod written;

pub use capabilities::{Capabilities, Tls};
pub use connection::{
    Canceller, ConnectionError, ConnectionSpec, DatabaseError, Endpoint, Environment, Host, MigratingSession, Notice,
    PLACEHOLDERS, Session, describe,
};
pub use identifier::{Identifier, qualified, quote_identifier, quote_literal};
pub use mark::{Mark, MarkError, MarkKind};
pub use pooler::is_behind_pooler;
pub use private_cluster::below;
pub use private_cluster::{
    ClusterError, ClusterOptions, Confinement, PrivateCluster, StoppedCluster, Walls, WorkDirectory, provide_walls,
    words_that_confine,
};
pub use programs::{ProgramError, ProgramVersion, Programs};

pub use archive::{ArchiveError, ArchiveFormat, Section, Tablespaces};
pub use archive_entries::ArchiveEntry;
pub use catalog_witness::CatalogWitness;
pub use clock::ServerClock;
pub use database::ReplaceError;
pub use execute::{
    ExecuteError, ExecuteOptions, LockWatch, ProgramFailure, ProgramRunner, RunContext, StatementTrace, Unclear,
    Watcher, commit_locally, commit_together, keep_session, name_session, run_step, run_step_together,
};
pub use exported_snapshot::{ExportError, ExportedSnapshot};
pub use kept::KeptDatabase;
pub use ledger::{Ledger, LedgerError, Origin, RunRecord, SwappedDatabases};
pub use lock::{LockError, RunLock};
pub use lock_mode::LockMode;
pub use server::{ClusterIdentity, ServerIdentity, shareable_settings};
pub use session_settings::prepare_copy_session;
pub use tool_history::{TOOL_HISTORIES, tool_histories};
pub use trace::Tracer;
