//! The promises: take a snapshot, rehearse, apply, roll back, restore; and what is proven in private databases (`replay`):
//! the ledger brought to what is true (`adopt`), and files that are written (`author`).

mod operator;
mod origin;

pub use operator::{Confirmation, Operator, Unit};

pub mod adopt;
mod apply;
pub mod author;
mod code_of_others;
mod dead_fence;
pub mod doctor;
pub mod drill;
mod error;
pub mod exec;
mod export;
mod fill;
mod findings;
mod history;
mod interrupt;
mod known_schema;
mod machine_key;
mod manifest_parts;
mod programs;
mod project;
mod proof;
pub mod recover;
pub mod rehearse;
mod rehearse_alone;
mod replay;
pub mod restore;
pub mod retention;
mod run_record;
mod schema_reading;
mod shadow;
mod signed;
mod snapshot_choice;
mod state;
mod streaming_threads;
mod take_snapshot;
mod verify_restore;
mod written_here;

pub use apply::{AfterFailure, ApplyOutcome, ApplyReport, ApplyRequest, Fence, RehearsalChoice, apply};
pub use dead_fence::lift_dead_fence;
pub use error::{Error, Gate};
pub use export::{ExportReport, export};
pub use fill::{Failing, NotMade};
pub use findings::{denied, of_text, reported};
pub use history::{HistoryEntry, history};
pub use interrupt::Interrupt;
pub use manifest_parts::counted;
pub use programs::ProgramEnvironment;
pub use project::{Actor, Project, Server};
pub use proof::{Proof, ProofLevel};
pub use rehearse::with_accepted;
pub use rehearse_alone::rehearse_alone;
pub use schema_reading::SchemaReading;
pub use shadow::Shadow;
pub use snapshot_choice::SnapshotChoice;
pub use state::{Selection, State};
pub use take_snapshot::take_snapshot;
pub use verify_restore::verify_by_restore;

/// A value as JSON, with what it was for in the error.
fn json(what: &str, value: &impl serde::Serialize) -> Result<serde_json::Value, Error> {
    serde_json::to_value(value).map_err(|source| Error::Json { what: format!("cannot write {what}"), source })
}
