//! Copies the rows: several workers, each on a thread of its own with a session of its own, on the leader's snapshot.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures_util::TryStreamExt;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::postgres::catalog::Table;
use crate::postgres::{ConnectionSpec, DatabaseError, ExportedSnapshot, Session, catalog, copy, prepare_copy_session};
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
    /// The session that has a lock on every table, as long as the snapshot is being taken.
    leader: Weak<Session>,
    /// It copies one table at a time.
    leading: tokio::sync::Mutex<()>,
    writer: SnapshotWriter,
    copied: UnboundedSender<u64>,
    pace: Pace,
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
        leader: Arc::downgrade(&exported.session),
        leading: tokio::sync::Mutex::default(),
        writer: writer.clone(),
        copied,
        pace: Pace::new(project.max_rate),
    });
    let workers = StreamingThreads::start(project.jobs, move |_| worker(Arc::clone(&source)));
    let packed = joined(workers, progress, operator).await?;
    let tables = tables(&exported.tables, packed);
    operator.finish(&manifest_parts::counted_of(tables.iter().map(|table| (table.schema.as_str(), table.rows.rows))));
    Ok(tables)
}

async fn joined(
    mut workers: StreamingThreads<Result<Vec<PackedSegment>, Error>>,
    mut progress: UnboundedReceiver<u64>,
    operator: &dyn Operator,
) -> Result<Vec<PackedSegment>, Error> {
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

async fn worker(source: Arc<Source>) -> Result<Vec<PackedSegment>, Error> {
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
            packer.begin_range(key);
            match begun {
                Ok(()) => match copy_range(&session, &source, table, range, &mut packer).await {
                    Err(Broken::Rows(error)) => return Err(explained(&session, &source, table, error).await),
                    result => result?,
                },
                // Somebody queues for an exclusive lock on it and waits for our leader, who has its own.
                Err(error) if error.is_lock_timeout() => {
                    let Some(leader) = source.leader.upgrade() else { return Err(Error::Interrupted) };
                    let _one_at_a_time = source.leading.lock().await;
                    match copy_range(&leader, &source, table, range, &mut packer).await {
                        Err(Broken::Rows(error)) => return Err(worker_error(table, error)),
                        result => result?,
                    }
                }
                Err(error) => return Err(worker_error(table, error)),
            }
            packer.end_range();
            session.batch_execute("ROLLBACK").await.map_err(DatabaseError::from)?;
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
) -> Result<(), Broken> {
    let rows = copy::copy_out(session, table, range, &source.encoding).await;
    let mut rows = pin!(rows.map_err(Broken::Rows)?);
    let mut unreported = 0;
    while let Some(row) = rows.try_next().await.map_err(Broken::Rows)? {
        packer.push_row(&row).await.map_err(|error| Broken::Chunk(error.into()))?;
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

/// Why rows were not copied.
enum Broken {
    /// The server does not give them.
    Rows(DatabaseError),
    /// They cannot be packed or stored.
    Chunk(Error),
}

impl From<Broken> for Error {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Rows(error) => Self::SnapshotRefused(error.to_string()),
            Broken::Chunk(error) => error,
        }
    }
}

/// A value that is too large to be printed is named, with its row; the session's transaction has failed.
async fn explained(session: &Session, source: &Source, table: &Table, error: DatabaseError) -> Error {
    // "invalid memory alloc request size", and "Cannot enlarge string buffer".
    if !(error.has_sqlstate("XX000") || error.has_sqlstate("54000") || error.has_sqlstate("53200")) {
        return worker_error(table, error);
    }
    let found = async {
        session.batch_execute("ROLLBACK").await.map_err(DatabaseError::from)?;
        copy::begin_under(session, &source.snapshot).await?;
        catalog::unprintable(session, table).await
    };
    match found.await {
        Ok(values) if !values.is_empty() => unprintable(&values),
        _ => worker_error(table, error),
    }
}

/// Values that COPY cannot print.
pub(super) fn unprintable(values: &[String]) -> Error {
    Error::SnapshotRefused(format!(
        "{}: PostgreSQL prints two digits for each byte of a bytea, and no value of more than 1 GB, so pg_dump cannot copy it \
         either; split it, or move it into a large object (lo_from_bytea)",
        values.join("; ")
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
