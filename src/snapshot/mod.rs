//! The snapshot format: manifest, chunks, writer, reader, verification. Knows the store, not PostgreSQL.
//!
//! | file | what it holds |
//! |---|---|
//! | `id.rs` | [`SnapshotId`], [`ChunkId`] |
//! | `manifest.rs`, `record.rs`, `sealed.rs` | [`Manifest`]; what it records; its text with a checksum |
//! | `row_set_hash.rs` | [`RowSetHash`]: rows as a set, whatever their order |
//! | `chunk.rs` | the bytes of a chunk (pure) |
//! | `packer.rs` | [`TablePacker`]: rows to segments of chunks |
//! | `writer.rs`, `reader.rs` | [`SnapshotWriter`], [`SnapshotReader`] |
//! | `verify.rs`, `verified.rs` | what is damaged; [`VerifiedSnapshot`], the evidence that nothing is |
//! | `sample.rs` | [`Sample`]: a part of the chunks, to verify in turns |
//! | `list.rs` | the snapshots of a store |
//!
//! Reader order: manifest, then chunks. Writer order: the reverse, so a listed snapshot has its chunks.
#![doc = ""]
#![doc = include_str!("FORMAT.md")]

mod chunk;
mod error;
mod id;
mod list;
mod manifest;
mod packer;
mod reader;
mod record;
mod row_set_hash;
mod sample;
mod sealed;
#[cfg(test)]
pub(crate) mod tests;
mod verified;
mod verify;
mod writer;

pub use chunk::CHUNK_SIZE;
pub use error::SnapshotError;
pub use id::{ChunkId, SnapshotId};
pub use list::{SnapshotDetails, SnapshotState, SnapshotSummary, delete, list};
pub use manifest::{Blob, FORMAT_VERSION, LEDGER_SCHEMA, Manifest, Segment, TableData, Totals};
pub use packer::{PackedSegment, RangeKey, TablePacker, segments_by_table};
pub use reader::{ChunkAhead, SnapshotReader};
pub use record::{DatabaseRecord, DatabaseSetting, ExtensionRecord, Reason, SequenceRecord, ServerRecord};
pub use row_set_hash::RowSetHash;
pub use sample::Sample;
pub use verified::VerifiedSnapshot;
pub use verify::{Damage, Level, VerifyReport, verify, verify_sample};
pub use writer::{Counters, SnapshotWriter, WriterOptions};
