//! Fills an empty database from a snapshot: schema, rows, sequences, large objects, then indexes and constraints.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::postgres::not_carried::missing_tablespaces;
use crate::postgres::{
    ConnectionSpec, Programs, Section, Session, Tablespaces, archive, catalog, copy, prepare_copy_session, statistics,
    subscription,
};
use crate::report::format_things;
use crate::snapshot::{ChunkId, Manifest, Segment, SnapshotReader, TableData};

use super::{Error, Operator, Unit, manifest_parts, shadow};

/// The empty database that is filled.
#[derive(Debug)]
pub struct FillTarget<'a> {
    /// Connection to it.
    pub spec: ConnectionSpec,
    /// Programs of its server's major version.
    pub programs: &'a Programs,
    /// Directory for the archives.
    pub files: &'a Path,
    /// Parallel workers.
    pub jobs: usize,
    /// Whether subscriptions and user mappings are made too: never in a shadow.
    pub outside_links: bool,
}

/// Restores everything that the snapshot holds.
pub async fn fill(target: &FillTarget<'_>, reader: &SnapshotReader, operator: &dyn Operator) -> Result<(), Error> {
    let manifest = reader.manifest();
    let schema = write_file(target.files, "schema.dump", &reader.get_blob(&manifest.schema).await?)?;
    let contents = archive::list(target.programs, &schema).await?;
    let list = if target.outside_links { contents.join("\n") + "\n" } else { shadow::without_outside_links(&contents) };
    let list = write_file(target.files, "schema.list", list.as_bytes())?;
    let (programs, spec) = (target.programs, &target.spec);
    let session = spec.connect("safe-migrate restore").await?;
    prepare_copy_session(&session, None).await?;
    let missing = missing_tablespaces(&session, &archive::tablespaces(programs, &schema).await?).await?;
    if target.outside_links && !missing.is_empty() {
        operator.warn(&format!("the server lacks tablespace {}; all tables go to its default", missing.join(", ")));
    }
    let tablespaces = if missing.is_empty() { Tablespaces::AsRecorded } else { Tablespaces::Default };
    archive::restore(programs, spec, &schema, Some(Section::PreData), Some(&list), tablespaces, 1).await?;
    load_rows(target, reader, operator).await?;
    catalog::set_sequences(&session, &manifest_parts::sequences(manifest)).await?;
    restore_large_objects(target, reader).await?;
    operator.step("building indexes and constraints");
    archive::restore(programs, spec, &schema, Some(Section::PostData), Some(&list), tablespaces, target.jobs).await?;
    if target.outside_links {
        subscription::detach(&session, spec.database()).await?;
    }
    // A function of the user's in an index can fail here; the rows are there all the same.
    if let Err(error) = statistics::gather(&session).await {
        operator.warn(&format!("the planner has no statistics of every table, run VACUUM ANALYZE: {error}"));
    }
    Ok(())
}

/// Writes a file for one of the programs.
pub fn write_file(dir: &Path, name: &str, content: &[u8]) -> Result<PathBuf, Error> {
    let path = dir.join(name);
    std::fs::write(&path, content)
        .map_err(|source| Error::File { what: format!("cannot write {}", path.display()), source })?;
    Ok(path)
}

async fn restore_large_objects(target: &FillTarget<'_>, reader: &SnapshotReader) -> Result<(), Error> {
    let Some(blob) = &reader.manifest().large_objects else { return Ok(()) };
    let path = write_file(target.files, "large_objects.dump", &reader.get_blob(blob).await?)?;
    let contents = archive::list(target.programs, &path).await?;
    let list = write_file(target.files, "large_objects.list", archive::large_object_entries(&contents).as_bytes())?;
    Ok(archive::restore(target.programs, &target.spec, &path, None, Some(&list), Tablespaces::AsRecorded, 1).await?)
}

/// What of one chunk goes into which table.
struct Load {
    parts: Vec<(usize, Segment)>,
}

/// Chunks in the order in which they are loaded: those of the largest tables first, so that no worker is left alone
/// with one at the end.
fn loads(manifest: &Manifest) -> VecDeque<Load> {
    let mut by_chunk: BTreeMap<ChunkId, (u64, Vec<(usize, Segment)>)> = BTreeMap::new();
    for (index, table) in manifest.tables.iter().enumerate() {
        let bytes: u64 = table.segments.iter().map(|segment| segment.length).sum();
        for segment in &table.segments {
            let entry = by_chunk.entry(segment.chunk).or_default();
            entry.0 = entry.0.max(bytes);
            entry.1.push((index, segment.clone()));
        }
    }
    let mut all: Vec<(u64, Load)> = by_chunk.into_values().map(|(bytes, parts)| (bytes, Load { parts })).collect();
    all.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    all.into_iter().map(|(_, load)| load).collect()
}

async fn load_rows(target: &FillTarget<'_>, reader: &SnapshotReader, operator: &dyn Operator) -> Result<(), Error> {
    let manifest = reader.manifest();
    operator.begin("loading rows", Some(manifest.totals.raw_bytes), Unit::Bytes);
    let queue = Arc::new(Mutex::new(loads(manifest)));
    let workers = (0..target.jobs.max(1)).map(|_| load_worker(target, reader, Arc::clone(&queue), operator));
    futures_util::future::try_join_all(workers).await?;
    operator.finish(&format!(
        "{} in {}",
        format_things(manifest.totals.rows, "row"),
        format_things(manifest.tables.len() as u64, "table")
    ));
    Ok(())
}

async fn load_worker(
    target: &FillTarget<'_>,
    reader: &SnapshotReader,
    queue: Arc<Mutex<VecDeque<Load>>>,
    operator: &dyn Operator,
) -> Result<(), Error> {
    let session = target.spec.connect("safe-migrate restore worker").await?;
    prepare_copy_session(&session, Some(&manifest_parts::lc_monetary(reader.manifest()))).await?;
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(load) = next else { return Ok(()) };
        for (table, segment) in &load.parts {
            let table = &reader.manifest().tables[*table];
            // The reader keeps a chunk that several segments share.
            let rows = reader.get_segment(segment).await?;
            copy_segment(&session, table, rows, &reader.manifest().database.encoding).await?;
            operator.advance(segment.length);
        }
    }
}

async fn copy_segment(session: &Session, table: &TableData, rows: Bytes, encoding: &str) -> Result<(), Error> {
    // An enum's hash differs in a new database: rows of hash partitions find their leaf again through the root.
    let (schema, name) = match &table.hash_partition_root {
        Some((schema, name)) => (schema.as_str(), name.as_str()),
        None => (table.schema.as_str(), table.name.as_str()),
    };
    copy::load(session, (schema, name), &table.columns, encoding, rows)
        .await
        .map_err(|source| Error::RestoreRefused(format!("table {schema}.{name}: {source}")))
}
