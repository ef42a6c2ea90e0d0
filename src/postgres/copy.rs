//! Rows out of and into tables, as the COPY text format.

use bytes::Bytes;
use futures_util::{SinkExt, Stream, StreamExt};

use super::catalog::{Table, column_list};
use super::{DatabaseError, Session, qualified, quote_literal};

/// Pages of a table that one `COPY` reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// Every page.
    Whole,
    /// Pages from the first to before the second; an open end reads what was added since the size was taken.
    Pages(u32, Option<u32>),
}

/// Pages of 8 KiB in one range: 16 MiB of heap.
const RANGE_PAGES: u32 = 2048;

/// Cuts a table into ranges of 16 MiB of heap; the last one is open-ended.
pub fn ranges(table: &Table) -> Vec<Range> {
    let pages = u32::try_from(table.heap_bytes / 8192).unwrap_or(u32::MAX);
    if !table.by_range || pages <= RANGE_PAGES {
        return vec![Range::Whole];
    }
    let starts: Vec<u32> = (0..pages).step_by(RANGE_PAGES as usize).collect();
    starts.iter().enumerate().map(|(i, start)| Range::Pages(*start, starts.get(i + 1).copied())).collect()
}

/// Opens a worker's short transaction: the leader's exported snapshot, and a lock that never waits.
///
/// Queued DDL would make a waiting worker hang behind it while it waits for our leader, which the server cannot see as
/// a deadlock; `NOWAIT` turns that into an error (55P03).
pub async fn begin_worker(session: &Session, snapshot: &str, relation: &str) -> Result<(), DatabaseError> {
    session
        .batch_execute(&format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;
             SET TRANSACTION SNAPSHOT {};
             LOCK TABLE ONLY {relation} IN ACCESS SHARE MODE NOWAIT",
            quote_literal(snapshot)
        ))
        .await
        .map_err(DatabaseError::from)
}

/// Opens a transaction that sees what an exported snapshot sees.
pub async fn begin_under(session: &Session, snapshot: &str) -> Result<(), DatabaseError> {
    let begin = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET TRANSACTION SNAPSHOT {}",
        quote_literal(snapshot)
    );
    Ok(session.batch_execute(&begin).await?)
}

/// Streams the rows of one range; each item is one row with its line end.
///
/// The server sends one CopyData message per row (PostgreSQL documentation, 55.2.6).
pub async fn copy_out(
    session: &Session,
    table: &Table,
    range: Range,
    encoding: &str,
) -> Result<impl Stream<Item = Result<Bytes, DatabaseError>> + use<>, DatabaseError> {
    let conditions = conditions(table.filter.as_deref(), range);
    select_out(session, &format!("ONLY {}", table.qualified_name()), &table.columns, &conditions, encoding).await
}

fn conditions(filter: Option<&str>, range: Range) -> Vec<String> {
    let mut conditions: Vec<String> = filter.iter().map(|filter| format!("({filter})")).collect();
    if let Range::Pages(start, end) = range {
        conditions.push(format!("ctid >= '({start},0)'::pg_catalog.tid"));
        if let Some(end) = end {
            conditions.push(format!("ctid < '({end},0)'::pg_catalog.tid"));
        }
    }
    conditions
}

/// Streams the rows of one range of a table (of all its partitions when `whole_tree`), to be hashed for the proof.
pub async fn read_back(
    session: &Session,
    (schema, name): (&str, &str),
    columns: &[String],
    filter: Option<&str>,
    whole_tree: bool,
    range: Range,
    encoding: &str,
) -> Result<impl Stream<Item = Result<Bytes, DatabaseError>> + use<>, DatabaseError> {
    let only = if whole_tree { "" } else { "ONLY " };
    let conditions = conditions(filter, range);
    select_out(session, &format!("{only}{}", qualified(schema, name)), columns, &conditions, encoding).await
}

async fn select_out(
    session: &Session,
    from: &str,
    columns: &[String],
    conditions: &[String],
    encoding: &str,
) -> Result<impl Stream<Item = Result<Bytes, DatabaseError>> + use<>, DatabaseError> {
    let filter = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
    let sql = format!(
        "COPY (SELECT {} FROM {from}{filter}) TO STDOUT (ENCODING {})",
        column_list(columns),
        quote_literal(encoding)
    );
    let stream = session.copy_out(&sql).await?;
    Ok(stream.map(|item| item.map_err(DatabaseError::from)))
}

/// Bytes of one CopyData message to the server.
const MESSAGE: usize = 1 << 20;

/// Loads rows, as COPY text, into a table.
pub async fn load(
    session: &Session,
    (schema, name): (&str, &str),
    columns: &[String],
    encoding: &str,
    mut rows: Bytes,
) -> Result<(), DatabaseError> {
    let list = if columns.is_empty() { String::new() } else { format!(" ({})", column_list(columns)) };
    let sql = format!("COPY {}{list} FROM STDIN (ENCODING {})", qualified(schema, name), quote_literal(encoding));
    let mut sink = std::pin::pin!(session.copy_in::<_, Bytes>(&sql).await?);
    while !rows.is_empty() {
        let part = rows.split_to(rows.len().min(MESSAGE));
        sink.send(part).await?;
    }
    sink.finish().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(heap_bytes: i64) -> Table {
        Table {
            oid: 1,
            schema: "public".into(),
            name: "t".into(),
            columns: vec![],
            heap_bytes,
            total_bytes: heap_bytes,
            by_range: true,
            unlogged: false,
            hash_partition_root: None,
            filter: None,
        }
    }

    #[test]
    fn ranges_cover_every_page_and_the_last_is_open() {
        assert_eq!(ranges(&table(0)), [Range::Whole]);
        assert_eq!(ranges(&table(16 << 20)), [Range::Whole]);
        assert_eq!(ranges(&table((16 << 20) + 8192)), [Range::Pages(0, Some(2048)), Range::Pages(2048, None)]);
    }
}
