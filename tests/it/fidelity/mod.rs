//! Everything that lives in one database round-trips: a catalogue of cases, each snapshotted, restored into a new
//! database and compared by PostgreSQL's own programs.
//!
//! A case is data: a name and SQL that makes its objects in a schema of its own. The cases of a group share one
//! database, so that all of them take about a minute.

mod backend;
pub mod cases;
pub mod catalogue;
mod consistency;
mod encodings;
mod extension_tables;
mod large;
mod locks;
mod notices;
pub mod oracle;
mod settings;
