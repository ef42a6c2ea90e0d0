//! Takes a snapshot: pre-flight, leader, schema, rows by several workers, publication.

mod preflight;

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::TryStreamExt;
use time::OffsetDateTime;

use crate::postgres::catalog::{Peculiarities, Table};
use crate::postgres::{DatabaseError, ExportedSnapshot, archive, blockers, catalog, copy, prepare_copy_session};
use crate::report::{format_bytes, format_things};
use crate::snapshot::{
    Blob, FORMAT_VERSION, Manifest, PackedSegment, RangeKey, Reason, SequenceRecord, ServerRecord, SnapshotId,
    SnapshotWriter, TableData, TablePacker, VerifiedSnapshot, WriterOptions, segments_by_table,
};
use crate::store::Store;

use preflight::{Preflight, preflight};

use super::project::Server;
use super::{Error, Interrupt, Operator, Project, Unit, manifest_parts};

/// How long the leader waits for its locks.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// The opaque objects of a snapshot.
struct Objects {
    schema: Blob,
    roles: Blob,
    large_objects: Option<Blob>,
    sequences: Vec<SequenceRecord>,
}

/// Takes, publishes and verifies a snapshot of the project's database.
pub async fn take_snapshot(
    project: &Project,
    server: &Server,
    store: &Store,
    reason: Reason,
    operator: &dyn Operator,
    interrupt: &Interrupt,
) -> Result<VerifiedSnapshot, Error> {
    operator.step(&format!("taking a snapshot of \"{}\"", project.target.database()));
    let started_at = OffsetDateTime::now_utc();
    let preflight = preflight(project, operator).await?;
    let exported = interrupt.or(async { Ok(ExportedSnapshot::take(&project.target, LOCK_WAIT).await?) }).await?;
    let writer = SnapshotWriter::new(store.clone(), WriterOptions { level: project.compression });
    let copied = async {
        tokio::try_join!(
            write_objects(project, server, &exported, &preflight.peculiarities, &writer),
            copy_tables(project, &exported, &preflight, &writer, operator)
        )
    };
    let (objects, tables) = interrupt.or(unless_blocked(project, &exported, copied)).await?;
    let lsn = exported.lsn.clone();
    let extensions = catalog::extensions(&exported.session).await?;
    // Nothing is read from production any more.
    drop(exported);
    let mut settings = server.identity.settings.clone();
    settings.insert(manifest_parts::LC_MONETARY.to_owned(), preflight.peculiarities.lc_monetary);
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        features: Vec::new(),
        id: SnapshotId::generate(started_at),
        source: project.source.clone(),
        store_id: store.id().to_owned(),
        started_at,
        finished_at: OffsetDateTime::now_utc(),
        reason,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        scope: "all".to_owned(),
        server: ServerRecord {
            version: server.identity.version.clone(),
            version_num: server.identity.version_num,
            system_identifier: server.identity.system_identifier.clone(),
            pg_dump_version: server.programs.version().to_string(),
            lsn,
            settings,
        },
        database: manifest_parts::database_record(&preflight.properties),
        schema: objects.schema,
        roles: objects.roles,
        bootstrap_role: server.identity.bootstrap_role.clone(),
        large_objects: objects.large_objects,
        sequences: objects.sequences,
        extensions: manifest_parts::extension_records(extensions),
        invalid_indexes: preflight.invalid_indexes,
        fingerprint: None,
        warnings: preflight.warnings,
        tables,
        totals: Default::default(),
    };
    publish(writer, manifest, operator).await
}

async fn publish(
    writer: SnapshotWriter,
    manifest: Manifest,
    operator: &dyn Operator,
) -> Result<VerifiedSnapshot, Error> {
    let counters = writer.counters();
    let verified = writer.publish(manifest).await?;
    let totals = verified.manifest().totals;
    operator.step(&format!(
        "snapshot {}: {}, {} copied, {} stored, {} of it new",
        verified.id(),
        format_things(totals.rows, "row"),
        format_bytes(totals.raw_bytes),
        format_bytes(totals.stored_bytes),
        format_bytes(counters.sent_bytes)
    ));
    Ok(verified)
}

async fn write_objects(
    project: &Project,
    server: &Server,
    exported: &ExportedSnapshot,
    peculiarities: &Peculiarities,
    writer: &SnapshotWriter,
) -> Result<Objects, Error> {
    let (programs, target) = (&server.programs, &project.target);
    let schema = archive::dump_schema(programs, target, &exported.name).await?;
    let schema = writer.put_blob(schema).await?;
    let roles = writer.put_blob(archive::dump_roles(programs, target).await?).await?;
    let large_objects = if peculiarities.large_objects {
        Some(writer.put_blob(archive::dump_large_objects(programs, target, &exported.name).await?).await?)
    } else {
        None
    };
    let sequences = manifest_parts::sequence_records(catalog::sequences(&exported.session).await?);
    Ok(Objects { schema, roles, large_objects, sequences })
}

/// Gives up, naming the blocker, when the leader or `pg_dump` waits for somebody's lock.
async fn unless_blocked<T>(
    project: &Project,
    exported: &ExportedSnapshot,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let session = project.target.connect("safe-migrate snapshot watch").await?;
    prepare_copy_session(&session, None).await?;
    let (leader, name) = (exported.session.backend_pid(), archive::dump_session_name(&exported.name));
    tokio::select! {
        result = work => result,
        blockers = blockers::watch(&session, leader, &name, LOCK_WAIT) => {
            let (seconds, blockers) = (LOCK_WAIT.as_secs(), blockers?);
            blockers::cancel(&session, leader, &name).await?;
            Err(Error::SnapshotRefused(format!("it waited {seconds} s for a lock that others hold: {blockers}")))
        }
    }
}

/// One range of one table, for a worker.
struct Job {
    key: RangeKey,
    range: copy::Range,
}

/// All ranges, those of the largest tables first.
fn jobs(tables: &[Table]) -> VecDeque<Job> {
    let mut order: Vec<usize> = (0..tables.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(tables[*index].total_bytes));
    order
        .into_iter()
        .flat_map(|table| {
            let ranges = copy::ranges(&tables[table]).into_iter().enumerate();
            ranges.map(move |(range, pages)| Job { key: RangeKey { table, range }, range: pages })
        })
        .collect()
}

async fn copy_tables(
    project: &Project,
    exported: &ExportedSnapshot,
    preflight: &Preflight,
    writer: &SnapshotWriter,
    operator: &dyn Operator,
) -> Result<Vec<TableData>, Error> {
    let estimate = exported.tables.iter().map(|table| u64::try_from(table.total_bytes).unwrap_or_default()).sum();
    operator.begin("copying rows", Some(estimate), Unit::Bytes);
    let queue = Arc::new(Mutex::new(jobs(&exported.tables)));
    let workers = (0..project.jobs.max(1))
        .map(|_| copy_worker(project, exported, preflight, Arc::clone(&queue), writer.clone(), operator));
    let packed = futures_util::future::try_join_all(workers).await?.concat();
    let mut segments = segments_by_table(packed);
    let tables: Vec<TableData> = exported
        .tables
        .iter()
        .enumerate()
        .map(|(index, table)| {
            let segments = segments.remove(&index).unwrap_or_default();
            let rows = segments.iter().map(|segment| &segment.rows).collect();
            TableData { segments, rows, ..manifest_parts::table_data(table) }
        })
        .collect();
    let rows: u64 = tables.iter().map(|table| table.rows.rows).sum();
    operator.finish(&format!("{} in {}", format_things(rows, "row"), format_things(tables.len() as u64, "table")));
    Ok(tables)
}

async fn copy_worker(
    project: &Project,
    exported: &ExportedSnapshot,
    preflight: &Preflight,
    queue: Arc<Mutex<VecDeque<Job>>>,
    writer: SnapshotWriter,
    operator: &dyn Operator,
) -> Result<Vec<PackedSegment>, Error> {
    let session = project.target.connect("safe-migrate snapshot worker").await?;
    prepare_copy_session(&session, Some(&preflight.peculiarities.lc_monetary)).await?;
    let mut packer = TablePacker::new(writer);
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(job) = next else { return Ok(packer.finish().await?) };
        let table = &exported.tables[job.key.table];
        let relation = table.qualified_name();
        if let Err(error) = copy::begin_worker(&session, &exported.name, &relation).await {
            return Err(begin_error(exported, table, error).await);
        }
        packer.begin_range(job.key);
        copy_range(&session, table, job.range, &preflight.properties.encoding, &mut packer, operator).await?;
        packer.end_range();
        session.batch_execute("COMMIT").await.map_err(DatabaseError::from)?;
    }
}

async fn copy_range(
    session: &crate::postgres::Session,
    table: &Table,
    range: copy::Range,
    encoding: &str,
    packer: &mut TablePacker,
    operator: &dyn Operator,
) -> Result<(), Error> {
    let rows = copy::copy_out(session, table, range, encoding).await.map_err(|error| worker_error(table, error))?;
    let mut rows = pin!(rows);
    let mut unreported = 0;
    while let Some(row) = rows.try_next().await.map_err(|error| worker_error(table, error))? {
        packer.push_row(&row).await?;
        unreported += row.len() as u64;
        if unreported > 1 << 20 {
            operator.advance(unreported);
            unreported = 0;
        }
    }
    operator.advance(unreported);
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

    #[test]
    fn the_largest_table_is_copied_first() {
        let table = |name: &str, bytes: i64| Table {
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
        };
        let order: Vec<(usize, usize)> = jobs(&[table("small", 10), table("large", 40 << 20)])
            .iter()
            .map(|job| (job.key.table, job.key.range))
            .collect();
        assert_eq!(order, [(1, 0), (1, 1), (1, 2), (0, 0)]);
    }
}
