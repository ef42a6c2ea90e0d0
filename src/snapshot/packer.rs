//! Rows to chunks: long tables are cut at row ends, small ones share.

use std::collections::BTreeMap;

use super::writer::ChunkTask;
use super::{CHUNK_SIZE, RowSetHash, Segment, SnapshotError, SnapshotWriter};

/// A part of a table that one worker copies: which table, and which of its ranges (both as the caller counts them).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RangeKey {
    /// The index of the table.
    pub table: usize,
    /// The index of the range in the table.
    pub range: usize,
}

/// A segment and the range that its rows came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedSegment {
    /// The range.
    pub key: RangeKey,
    /// The segment; the segments of a range come in the order of its rows.
    pub segment: Segment,
}

/// The segments of each table in the order of its rows, from what the packers of all workers returned.
///
/// A table without rows has no entry.
pub fn segments_by_table(mut packed: Vec<PackedSegment>) -> BTreeMap<usize, Vec<Segment>> {
    // Stable: the order inside a range is kept.
    packed.sort_by_key(|packed| packed.key);
    let mut tables: BTreeMap<usize, Vec<Segment>> = BTreeMap::new();
    for PackedSegment { key, segment } in packed {
        tables.entry(key.table).or_default().push(segment);
    }
    tables
}

/// Gathers the rows that one worker copies into chunks of at most [`CHUNK_SIZE`] raw bytes, cut at row ends.
///
/// The end of a range does not end a chunk, so small tables share one. One chunk is gathered while the one before is
/// compressed and sent; each is as large as the longest row if that is longer.
#[derive(Debug)]
pub struct TablePacker {
    writer: SnapshotWriter,
    chunk_size: usize,
    buffer: Vec<u8>,
    /// Parts of `buffer`, the last of them still growing while `current` is its range.
    parts: Vec<Part>,
    current: Option<RangeKey>,
    sending: Option<(ChunkTask, Vec<Part>)>,
    packed: Vec<PackedSegment>,
}

#[derive(Debug)]
struct Part {
    key: RangeKey,
    offset: usize,
    length: usize,
    rows: RowSetHash,
}

impl TablePacker {
    /// A packer whose chunks go to `writer`.
    pub fn new(writer: SnapshotWriter) -> Self {
        Self::with_chunk_size(writer, CHUNK_SIZE)
    }

    pub(super) fn with_chunk_size(writer: SnapshotWriter, chunk_size: usize) -> Self {
        let (buffer, parts, packed) = (Vec::new(), Vec::new(), Vec::new());
        Self { writer, chunk_size, buffer, parts, current: None, sending: None, packed }
    }

    /// Says that the rows to come are of this range.
    pub fn begin_range(&mut self, key: RangeKey) {
        self.current = Some(key);
    }

    /// Adds one row of the range: its `COPY` text line with the newline at its end.
    ///
    /// A row before any [`begin_range`](Self::begin_range) is an error of the caller.
    pub async fn push_row(&mut self, row: &[u8]) -> Result<(), SnapshotError> {
        let Some(key) = self.current else {
            let (part, reason) = ("a row".to_owned(), "it came outside a range".to_owned());
            return Err(SnapshotError::Mismatch { part, reason });
        };
        if !self.buffer.is_empty() && self.buffer.len() + row.len() > self.chunk_size {
            self.flush().await?;
        }
        let offset = self.buffer.len();
        self.buffer.extend_from_slice(row);
        if self.parts.last().is_none_or(|part| part.key != key) {
            self.parts.push(Part { key, offset, length: 0, rows: RowSetHash::default() });
        }
        if let Some(part) = self.parts.last_mut() {
            part.length += row.len();
            part.rows.add_row(row);
        }
        if self.buffer.len() >= self.chunk_size { self.flush().await } else { Ok(()) }
    }

    /// Says that the range has no more rows.
    pub fn end_range(&mut self) {
        self.current = None;
    }

    /// Writes what was gathered as a chunk of its own, so that the next range begins one.
    ///
    /// A caller that ends chunks where the data says so, and not where a worker happened to be, gets the same chunks
    /// from the same data again, and the store has them already.
    pub async fn end_chunk(&mut self) -> Result<(), SnapshotError> {
        self.flush().await
    }

    /// Writes what is left and answers the segments of all ranges.
    pub async fn finish(mut self) -> Result<Vec<PackedSegment>, SnapshotError> {
        self.flush().await?;
        self.settle().await?;
        Ok(self.packed)
    }

    /// Hands what was gathered over; it is compressed and sent while the next rows come in.
    async fn flush(&mut self) -> Result<(), SnapshotError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.settle().await?;
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(self.chunk_size));
        self.sending = Some((self.writer.start_chunk(full), std::mem::take(&mut self.parts)));
        Ok(())
    }

    /// Waits until the chunk that is being sent is in the store.
    async fn settle(&mut self) -> Result<(), SnapshotError> {
        let Some((task, parts)) = self.sending.take() else { return Ok(()) };
        let chunk = task.finish().await?;
        self.packed.extend(parts.into_iter().map(|Part { key, offset, length, rows }| {
            let segment = Segment { chunk, offset: offset as u64, length: length as u64, rows };
            PackedSegment { key, segment }
        }));
        Ok(())
    }
}
