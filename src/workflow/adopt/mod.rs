//! Brings the ledger to what is true already: what a migration makes is there (`apply --fake`), its file was changed
//! without changing what it builds (`repair`), the database is older than its history (`baseline`), or another tool kept
//! the history (`import`).
//!
//! Nothing but the ledger is written, so no snapshot is taken; each is proven in a private database first.

mod baseline;
mod fake;
mod import;
mod ledger_run;
mod repair;

pub use baseline::{BaselineFile, BaselineOutcome, BaselineRequest, Grouping, baseline};
pub use fake::{FakeOutcome, FakeRequest, FakeScope, Faked, fake};
pub use import::{ImportFrom, ImportOutcome, ImportRequest, Imported, import};
pub use ledger_run::LedgerReport;
pub use repair::{RepairOutcome, RepairRequest, repair};
