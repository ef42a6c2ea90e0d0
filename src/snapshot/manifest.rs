//! The description of a snapshot.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{
    ChunkId, ChunkKey, DatabaseRecord, ExtensionRecord, Reason, RowSetHash, SequenceRecord, ServerRecord, SnapshotId,
    StoredChunk,
};

/// The version of the snapshot format that this version writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 2;

/// The last version whose chunks lie under their names alone, and whose manifests do not say where.
const UNTAGGED: u32 = 1;

/// A snapshot: what it is of, where its bytes are, and how to check them. FORMAT.md explains each field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the format.
    pub format_version: u32,
    /// Features that a reader must know to read this snapshot rightly.
    pub features: Vec<String>,
    /// The name of the snapshot.
    pub id: SnapshotId,
    /// The configured name of the database it came from.
    pub source: String,
    /// The store it was written to.
    pub store_id: String,
    /// When it was started (UTC).
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// When all rows were read (UTC).
    #[serde(with = "time::serde::rfc3339")]
    pub finished_at: OffsetDateTime,
    /// Why it was taken.
    pub reason: Reason,
    /// The version of safe-migrate that wrote it.
    pub tool_version: String,
    /// What of the database it holds; `all` for now.
    pub scope: String,
    /// The server.
    pub server: ServerRecord,
    /// The database.
    pub database: DatabaseRecord,
    /// The custom-format archive of the schema (pre-data and post-data).
    pub schema: Blob,
    /// The SQL text of the roles, without passwords.
    pub roles: Blob,
    /// The superuser that initialised the cluster; it is not to be made again.
    pub bootstrap_role: String,
    /// The custom-format archive of the large objects.
    pub large_objects: Option<Blob>,
    /// Where the sequences stood.
    pub sequences: Vec<SequenceRecord>,
    /// The extensions.
    pub extensions: Vec<ExtensionRecord>,
    /// Indexes that were invalid; they vanish in dump and restore.
    pub invalid_indexes: Vec<String>,
    /// The fingerprint of the schema, as the workflow records it.
    pub fingerprint: Option<serde_json::Value>,
    /// What a reader should know.
    pub warnings: Vec<String>,
    /// How long the transaction under which it was taken was open, in milliseconds: so long vacuum was held back.
    /// Absent in manifests of versions that did not measure it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vacuum_held_back_ms: Option<u64>,
    /// How long other sessions waited for its locks, at most, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others_waited_ms: Option<u64>,
    /// The tables with rows of their own.
    pub tables: Vec<TableData>,
    /// Where each chunk lies, sorted by its name. Empty in format 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stored: Vec<StoredChunk>,
    /// Sums over the snapshot.
    pub totals: Totals,
}

/// The rows of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableData {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// The columns of each line, in order, without generated columns.
    pub columns: Vec<String>,
    /// The topmost hash-partitioned table, through which the rows must be loaded.
    pub hash_partition_root: Option<(String, String)>,
    /// The condition of an extension's configuration table: only these rows are the user's.
    pub filter: Option<String>,
    /// Where the rows are.
    pub segments: Vec<Segment>,
    /// All rows: the sum of the segments.
    pub rows: RowSetHash,
}

impl TableData {
    /// `schema.name`, as messages show it.
    pub fn qualified_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

/// Whole rows of one table inside one chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The chunk.
    pub chunk: ChunkId,
    /// Where the rows begin in the raw bytes.
    pub offset: u64,
    /// Their length in bytes.
    pub length: u64,
    /// The rows.
    pub rows: RowSetHash,
}

/// An object whose inside is not looked at (an archive, the text of the roles), in one or more chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// Its length in bytes.
    pub length: u64,
    /// Its chunks, in order. An empty blob has none.
    pub chunks: Vec<ChunkId>,
}

/// Sums over a snapshot; each chunk is counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Rows of all tables.
    pub rows: u64,
    /// Bytes before compression.
    pub raw_bytes: u64,
    /// Bytes in the store.
    pub stored_bytes: u64,
    /// Chunks.
    pub chunks: u64,
}

/// The schema of the ledger, whose tables are ours and no tables of the operator's.
pub const LEDGER_SCHEMA: &str = "safe_migrate";

impl Manifest {
    /// The tables of the operator: all but those of the ledger.
    pub fn users_tables(&self) -> impl Iterator<Item = &TableData> {
        self.tables.iter().filter(|table| table.schema != LEDGER_SCHEMA)
    }

    /// Rows of the operator's tables.
    pub fn users_rows(&self) -> u64 {
        self.users_tables().map(|table| table.rows.rows).sum()
    }

    /// How many raw bytes each chunk can have: segments end within theirs, and a blob's are no larger than the blob.
    pub(super) fn largest_chunks(&self) -> HashMap<ChunkId, u64> {
        let segments = self.tables.iter().flat_map(|table| &table.segments);
        let segments = segments.map(|segment| (segment.chunk, segment.offset.saturating_add(segment.length)));
        let blobs =
            self.blobs().into_iter().flat_map(|(_, blob)| blob.chunks.iter().map(|chunk| (*chunk, blob.length)));
        let mut largest = HashMap::new();
        for (chunk, bytes) in segments.chain(blobs) {
            let known = largest.entry(chunk).or_insert(0);
            *known = bytes.max(*known);
        }
        largest
    }

    /// How long taking it held back vacuum, where that was measured.
    pub fn vacuum_held_back(&self) -> Option<Duration> {
        self.vacuum_held_back_ms.map(Duration::from_millis)
    }

    /// How long other sessions waited for its locks, at most, where that was measured.
    pub fn others_waited(&self) -> Option<Duration> {
        self.others_waited_ms.map(Duration::from_millis)
    }

    /// The blobs with their names, as messages show them.
    pub fn blobs(&self) -> Vec<(&'static str, &Blob)> {
        let mut blobs = vec![("the schema archive", &self.schema), ("the roles", &self.roles)];
        blobs.extend(self.large_objects.as_ref().map(|blob| ("the large objects", blob)));
        blobs
    }

    /// Every chunk that the snapshot needs, once.
    pub fn chunks(&self) -> BTreeSet<ChunkId> {
        let of_tables = self.tables.iter().flat_map(|table| table.segments.iter().map(|segment| segment.chunk));
        let of_blobs = self.blobs().into_iter().flat_map(|(_, blob)| blob.chunks.clone());
        of_tables.chain(of_blobs).collect()
    }

    /// Where a chunk of the snapshot lies.
    pub fn key_of(&self, chunk: &ChunkId) -> ChunkKey {
        let found = self.stored.binary_search_by_key(chunk, |stored| stored.chunk);
        let found = found.ok().and_then(|at| self.stored.get(at));
        found.map_or(ChunkKey { chunk: *chunk, tag: None }, |stored| stored.key)
    }

    /// The keys of all chunks, each once.
    pub(super) fn keys(&self) -> Vec<ChunkKey> {
        self.chunks().iter().map(|chunk| self.key_of(chunk)).collect()
    }

    /// What is wrong with where the chunks lie, if anything: each is named once, in order, and under its own name.
    pub(super) fn misplaced(&self) -> Option<String> {
        let of_format_1 = self.format_version <= UNTAGGED;
        if let Some(stored) = self.stored.iter().find(|stored| of_format_1 || stored.key.chunk != stored.chunk) {
            return Some(format!("it says that chunk {} lies at {}", stored.chunk, stored.key));
        }
        if self.stored.windows(2).any(|two| two.first().map(|one| one.chunk) >= two.last().map(|one| one.chunk)) {
            return Some("its list of chunks is out of order".to_owned());
        }
        let is_placed = |chunk: &ChunkId| self.stored.binary_search_by_key(chunk, |stored| stored.chunk).is_ok();
        let lost = self.chunks().into_iter().find(|chunk| !of_format_1 && !is_placed(chunk));
        lost.map(|chunk| format!("it does not say where chunk {chunk} lies"))
    }

    /// The tables and blobs that need a chunk, each once, as a reader knows them: `table public.orders`.
    pub(super) fn parts_of(&self, chunk: &ChunkId) -> Vec<String> {
        let tables = self.tables.iter().filter(|table| table.segments.iter().any(|segment| segment.chunk == *chunk));
        let blobs = self.blobs().into_iter().filter(|(_, blob)| blob.chunks.contains(chunk));
        let names = blobs.map(|(name, _)| name.to_owned());
        tables.map(|table| format!("table {}", table.qualified_name())).chain(names).collect()
    }

    /// What contradicts itself: the part, and how.
    pub(super) fn contradictions(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for table in &self.tables {
            let sum: RowSetHash = table.segments.iter().map(|segment| &segment.rows).collect();
            if sum != table.rows {
                let reason = format!("its segments hold {} rows and it names {}", sum.rows, table.rows.rows);
                let reason =
                    if sum.rows == table.rows.rows { "its row hash is not the sum".to_owned() } else { reason };
                found.push((format!("table {}", table.qualified_name()), reason));
            }
        }
        let rows: u64 = self.tables.iter().map(|table| table.rows.rows).sum();
        if rows != self.totals.rows {
            found.push(("the totals".to_owned(), format!("{} rows, the tables hold {rows}", self.totals.rows)));
        }
        found
    }
}
