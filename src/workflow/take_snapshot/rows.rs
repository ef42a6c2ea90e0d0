//! Copies the rows: several workers, each on a thread of its own with a session of its own, on the leader's snapshot.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::TryStreamExt;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::postgres::catalog::Table;
use crate::postgres::{ConnectionSpec, DatabaseError, ExportedSnapshot, Session, blockers, copy, prepare_copy_session};
use crate::report::format_things;
use crate::snapshot::{PackedSegment, RangeKey, SnapshotWriter, TableData, TablePacker, segments_by_table};

use super::super::streaming_threads::{StreamingThreads, streaming};
use super::super::{Error, Operator, Project, Unit, manifest_parts};
use super::pace::Pace;
use super::preflight::Preflight;

/// Work for one worker, which ends a chunk: one range of a large table, or several small tables.
///
/// What a chunk holds depends on the data alone, never on which worker was free: a chunk that did not change since the
/// last snapshot has the same name and is not sent again.
#[derive(Debug, Default, PartialEq, Eq)]
struct Job {
    parts: Vec<(RangeKey, copy::Range)>,
    bytes: i64,
}

/// Bytes on disk of the small tables in one job: about a chunk of rows.
const JOB_BYTES: i64 = 16 << 20;

/// All ranges, those of the largest tables first; then small tables, gathered in the order of their names.
fn jobs(tables: &[Table]) -> VecDeque<Job> {
    let mut large: Vec<Job> = Vec::new();
    let mut small: Vec<Job> = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        let ranges = copy::ranges(table);
        let whole = ranges.len() == 1;
        for (range, pages) in ranges.into_iter().enumerate() {
            let part = (RangeKey { table: index, range }, pages);
            match small.last_mut() {
                Some(job) if whole && job.bytes + table.total_bytes <= JOB_BYTES => {
                    job.parts.push(part);
                    job.bytes += table.total_bytes;
                }
                _ if whole => small.push(Job { parts: vec![part], bytes: table.total_bytes }),
                _ => large.push(Job { parts: vec![part], bytes: table.total_bytes }),
            }
        }
    }
    let mut all: Vec<Job> = large.into_iter().chain(small).collect();
    all.sort_by_key(|job| std::cmp::Reverse(job.bytes));
    all.into()
}

/// What the workers share.
struct Source {
    spec: ConnectionSpec,
    snapshot: String,
    tables: Vec<Table>,
    encoding: String,
    lc_monetary: String,
    queue: Mutex<VecDeque<Job>>,
    writer: SnapshotWriter,
    copied: UnboundedSender<u64>,
    pace: Pace,
}

/// Why a worker stopped.
enum Stop {
    /// It could not begin on a table: who queues for an exclusive lock there is asked of the leader.
    Begin(usize, DatabaseError),
    Error(Error),
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// Copies every table; the answer has a table for each of the leader's list, in its order.
pub(super) async fn copy_tables(
    project: &Project,
    exported: &ExportedSnapshot,
    preflight: &Preflight,
    writer: &SnapshotWriter,
    operator: &dyn Operator,
) -> Result<Vec<TableData>, Error> {
    let estimate = exported.tables.iter().map(|table| u64::try_from(table.total_bytes).unwrap_or_default()).sum();
    operator.begin("copying rows", Some(estimate), Unit::Bytes);
    let (copied, progress) = unbounded_channel();
    let source = Arc::new(Source {
        spec: project.target.clone(),
        snapshot: exported.name.clone(),
        tables: exported.tables.clone(),
        encoding: preflight.properties.encoding.clone(),
        lc_monetary: preflight.peculiarities.lc_monetary.clone(),
        queue: Mutex::new(jobs(&exported.tables)),
        writer: writer.clone(),
        copied,
        pace: Pace::new(project.max_rate),
    });
    let workers = StreamingThreads::start(project.jobs, move |_| worker(Arc::clone(&source)));
    let packed = match joined(workers, progress, operator).await {
        Ok(packed) => packed,
        Err(Stop::Begin(table, error)) => return Err(begin_error(exported, &exported.tables[table], error).await),
        Err(Stop::Error(error)) => return Err(error),
    };
    let tables = tables(&exported.tables, packed);
    let rows: u64 = tables.iter().map(|table| table.rows.rows).sum();
    operator.finish(&format!("{} in {}", format_things(rows, "row"), format_things(tables.len() as u64, "table")));
    Ok(tables)
}

async fn joined(
    mut workers: StreamingThreads<Result<Vec<PackedSegment>, Stop>>,
    mut progress: UnboundedReceiver<u64>,
    operator: &dyn Operator,
) -> Result<Vec<PackedSegment>, Stop> {
    let mut packed = Vec::new();
    loop {
        tokio::select! {
            Some(bytes) = progress.recv() => operator.advance(bytes),
            ended = workers.next() => match ended {
                Some(result) => packed.extend(result??),
                None => return Ok(packed),
            },
        }
    }
}

fn tables(listed: &[Table], packed: Vec<PackedSegment>) -> Vec<TableData> {
    let mut segments = segments_by_table(packed);
    listed
        .iter()
        .enumerate()
        .map(|(index, table)| {
            let segments = segments.remove(&index).unwrap_or_default();
            let rows = segments.iter().map(|segment| &segment.rows).collect();
            TableData { segments, rows, ..manifest_parts::table_data(table) }
        })
        .collect()
}

async fn worker(source: Arc<Source>) -> Result<Vec<PackedSegment>, Stop> {
    let session = source.spec.connect("safe-migrate snapshot worker").await?;
    prepare_copy_session(&session, Some(&source.lc_monetary)).await?;
    let mut packer = TablePacker::new(source.writer.clone());
    loop {
        let next = source.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(job) = next else {
            session.close().await;
            return Ok(packer.finish().await?);
        };
        for (key, range) in job.parts {
            let table = &source.tables[key.table];
            let begun = copy::begin_worker(&session, &source.snapshot, &table.qualified_name()).await;
            begun.map_err(|error| Stop::Begin(key.table, error))?;
            packer.begin_range(key);
            copy_range(&session, &source, table, range, &mut packer).await?;
            packer.end_range();
            session.batch_execute("COMMIT").await.map_err(DatabaseError::from)?;
        }
        packer.end_chunk().await?;
    }
}

async fn copy_range(
    session: &Session,
    source: &Source,
    table: &Table,
    range: copy::Range,
    packer: &mut TablePacker,
) -> Result<(), Error> {
    let rows = copy::copy_out(session, table, range, &source.encoding).await;
    let mut rows = pin!(rows.map_err(|error| worker_error(table, error))?);
    let mut unreported = 0;
    while let Some(row) = rows.try_next().await.map_err(|error| worker_error(table, error))? {
        packer.push_row(&row).await?;
        unreported += row.len() as u64;
        if unreported > 1 << 20 {
            streaming(true);
            // Nobody listens any more only when the snapshot was given up.
            let _ = source.copied.send(unreported);
            source.pace.take(unreported).await;
            unreported = 0;
        }
    }
    streaming(false);
    let _ = source.copied.send(unreported);
    source.pace.take(unreported).await;
    Ok(())
}

/// Who queues for an exclusive lock behind our leader cannot be waited for: it waits for us.
async fn begin_error(exported: &ExportedSnapshot, table: &Table, error: DatabaseError) -> Error {
    if !error.is_lock_timeout() {
        return worker_error(table, error);
    }
    let blockers = blockers::of_relations(&exported.session, &[table.oid]).await.unwrap_or_default();
    Error::SnapshotRefused(format!(
        "table {}.{}: another session waits for an exclusive lock on it, and the snapshot will not stand in its way{blockers}",
        table.schema, table.name
    ))
}

fn worker_error(table: &Table, error: DatabaseError) -> Error {
    Error::SnapshotRefused(format!("table {}.{}: {error}", table.schema, table.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, bytes: i64) -> Table {
        Table {
            oid: 1,
            schema: "public".into(),
            name: name.into(),
            columns: vec![],
            heap_bytes: bytes,
            total_bytes: bytes,
            by_range: true,
            unlogged: false,
            hash_partition_root: None,
            filter: None,
        }
    }

    fn order(tables: &[Table]) -> Vec<Vec<(usize, usize)>> {
        let keys = |job: &Job| job.parts.iter().map(|(key, _)| (key.table, key.range)).collect();
        jobs(tables).iter().map(keys).collect()
    }

    #[test]
    fn the_largest_table_is_copied_first() {
        assert_eq!(
            order(&[table("small", 10), table("large", 40 << 20)]),
            [vec![(1, 0)], vec![(1, 1)], vec![(1, 2)], vec![(0, 0)]]
        );
    }

    #[test]
    fn small_tables_share_a_job_up_to_the_size_of_a_chunk() {
        let tables = [table("a", 10), table("b", 10 << 20), table("c", 10 << 20), table("d", 10)];
        assert_eq!(order(&tables), [vec![(0, 0), (1, 0)], vec![(2, 0), (3, 0)]]);
    }
}
