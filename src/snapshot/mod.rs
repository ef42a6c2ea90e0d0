//! The snapshot format: manifest, chunks, writer, reader, verification. Knows the store, not PostgreSQL.
//!
//! | file | what it holds |
//! |---|---|
//! | `id.rs`, `chunk_key.rs` | [`SnapshotId`], [`ChunkId`]; [`ChunkKey`], where a chunk lies |
//! | `manifest.rs`, `record.rs`, `sealed.rs` | [`Manifest`]; what it records; its text with a checksum |
//! | `row_set_hash.rs` | [`RowSetHash`]: rows as a set, whatever their order |
//! | `chunk.rs` | the bytes of a chunk (pure) |
//! | `packer.rs` | [`TablePacker`]: rows to segments of chunks |
//! | `writer.rs`, `publish.rs`, `reader.rs` | [`SnapshotWriter`] and how it ends, [`SnapshotReader`] |
//! | `pending.rs`, `bases.rs` | what a writer says before its manifest is there; the snapshots that it rests on |
//! | `sweep.rs`, `check.rs` | removes the chunks that no snapshot needs; whether all is there that they need |
//! | `verify.rs`, `verified.rs` | what is damaged; [`VerifiedSnapshot`], the evidence that nothing is |
//! | `sample.rs` | [`Sample`]: a part of the chunks, to verify in turns |
//! | `list.rs` | the snapshots of a store |
//!
//! Reader order: manifest, then chunks. Writer order: the reverse, so a listed snapshot has its chunks.
#![doc = ""]
#![doc = include_str!("FORMAT.md")]

mod bases;
mod check;
mod chunk;
mod chunk_key;
mod error;
mod id;
mod list;
mod manifest;
mod packer;
mod pending;
mod publish;
mod reader;
mod record;
mod row_set_hash;
mod sample;
mod sealed;
mod signature;
mod sweep;
#[cfg(test)]
pub(crate) mod tests;
mod verified;
mod verify;
mod writer;

pub use check::{StoreCheck, StoreDamage, check};
pub use chunk::CHUNK_SIZE;
pub use chunk_key::{ChunkKey, StoredChunk, Tag};
pub use error::SnapshotError;
pub use id::{ChunkId, SnapshotId};
pub use list::{SnapshotDetails, SnapshotState, SnapshotSummary, delete, list};
pub use manifest::{Blob, FORMAT_VERSION, LEDGER_SCHEMA, Manifest, Segment, TableData, Totals};
pub use packer::{PackedSegment, RangeKey, TablePacker, segments_by_table};
pub use pending::is_unfinished;
pub use reader::{ChunkAhead, SnapshotReader};
pub use record::{DatabaseRecord, DatabaseSetting, ExtensionRecord, Reason, SequenceRecord, ServerRecord};
pub use row_set_hash::RowSetHash;
pub use sample::Sample;
pub use signature::{adopt, statement};
pub use sweep::{Look, Swept, look, sweep};
pub use verified::VerifiedSnapshot;
pub use verify::{Damage, Level, VerifyReport, verify, verify_sample};
pub use writer::{Counters, SnapshotWriter, WriterOptions};
