//! Loads the rows with several workers and, as soon as a table is full, vacuums it and builds its indexes.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::postgres::{
    ArchiveEntry, ConnectionSpec, DatabaseError, Session, archive_entries, copy, prepare_copy_session, statistics,
};
use crate::snapshot::{ChunkAhead, SnapshotReader, TableData};

use super::super::streaming_threads::StreamingThreads;
use super::super::{Error, Operator, Unit, manifest_parts};
use super::NotMade;
use super::builds::{Build, Tree};
use super::own_path;
use super::schedule::{Load, Schedule, Task};

/// How the database is reached.
pub(super) struct Ways {
    /// By ourselves.
    pub(super) spec: ConnectionSpec,
    /// The connection by which each table of the manifest is loaded; none: by ours.
    pub(super) logins: Vec<Option<ConnectionSpec>>,
    /// The path of the database's own sessions, where it may be used.
    pub(super) own_path: Option<String>,
    /// Whether the other tables are loaded when one cannot be.
    pub(super) keep_going: bool,
}

/// What the workers share.
struct Work {
    ways: Ways,
    reader: SnapshotReader,
    schedule: Schedule,
    /// Numbers of the archive's entries that were made.
    made: Mutex<Vec<u32>>,
    left: Mutex<Vec<u32>>,
    failed: Mutex<BTreeMap<usize, NotMade>>,
    /// Whether a table may be analyzed at once, by its number.
    analyze: Vec<bool>,
    /// Tables that a vacuum and its statistics were not refused for.
    vacuumed: Mutex<Vec<usize>>,
    trees: Vec<Tree>,
    analyzed: Mutex<Vec<usize>>,
    loaded: UnboundedSender<u64>,
}

/// What was done besides loading.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Entries of the archive that are there already, by number.
    pub(super) entries: Vec<u32>,
    /// Tables, as the manifest counts them, that have their visibility map and statistics.
    pub(super) vacuumed: Vec<usize>,
    /// Partitioned tables that have their statistics.
    pub(super) analyzed: Vec<statistics::Name>,
    /// Builds that were not made, by number.
    pub(super) left: BTreeSet<u32>,
}

/// What is done with a table when it is full; tables are counted as in the manifest.
#[derive(Debug, Default)]
pub(super) struct WhenFull {
    /// Indexes and constraints of tables that are loaded on their own.
    pub(super) builds: Vec<Build>,
    /// Whether a table may be analyzed at once.
    pub(super) analyze: Vec<bool>,
    /// Partitioned tables whose partitions are all loaded on their own.
    pub(super) trees: Vec<Tree>,
}

/// Loads every row.
pub(super) async fn load(
    ways: Ways,
    jobs: usize,
    reader: &SnapshotReader,
    when_full: WhenFull,
    operator: &dyn Operator,
) -> Result<Done, Error> {
    let manifest = reader.manifest();
    operator.begin("loading rows", Some(manifest.totals.raw_bytes), Unit::Bytes);
    let (loaded, mut progress) = unbounded_channel();
    let WhenFull { builds, analyze, trees } = when_full;
    let work = Arc::new(Work {
        ways,
        reader: reader.clone(),
        schedule: Schedule::new(manifest, builds, &trees),
        made: Mutex::default(),
        left: Mutex::default(),
        failed: Mutex::default(),
        analyze,
        vacuumed: Mutex::default(),
        trees,
        analyzed: Mutex::default(),
        loaded,
    });
    let shared = Arc::clone(&work);
    // One more than load rows: it vacuums and builds while they do.
    let mut workers = StreamingThreads::start(jobs.max(1) + 1, move |number| worker(Arc::clone(&shared), number > 0));
    loop {
        tokio::select! {
            Some(bytes) = progress.recv() => operator.advance(bytes),
            ended = workers.next() => match ended {
                Some(result) => result??,
                None => break,
            },
        }
    }
    operator.finish(&manifest_parts::counted(manifest));
    let failed = std::mem::take(&mut *work.failed.lock().unwrap_or_else(PoisonError::into_inner));
    if !failed.is_empty() {
        return Err(Error::NotMade { not_made: failed.into_values().collect(), kept: None });
    }
    let analyzed = taken(&work.analyzed).into_iter().map(|whole| work.trees[whole].name.clone()).collect();
    Ok(Done {
        entries: taken(&work.made),
        vacuumed: taken(&work.vacuumed),
        analyzed,
        left: taken(&work.left).into_iter().collect(),
    })
}

fn taken<T>(list: &Mutex<Vec<T>>) -> Vec<T> {
    std::mem::take(&mut *list.lock().unwrap_or_else(PoisonError::into_inner))
}

async fn worker(work: Arc<Work>, may_load: bool) -> Result<(), Error> {
    let session = connected(&work, &work.ways.spec).await?;
    let mut logins = Logins::default();
    while let Some(task) = work.schedule.next(may_load).await {
        match task {
            Task::Load(load) => load_chunks(&work, (&session, &mut logins), load).await?,
            Task::Vacuum(table) => {
                vacuum(&work, &session, table).await?;
                work.schedule.done(&task);
            }
            Task::Build(ref one) => match build(&work, &session, &one.entry).await? {
                true => work.schedule.done(&task),
                false => work.schedule.left(&task),
            },
            Task::Analyze(whole) => {
                analyze(&work, &session, whole).await?;
                work.schedule.done(&task);
            }
        }
    }
    session.close().await;
    Ok(())
}

/// The sessions of one worker that are not its own, by role.
type Logins = HashMap<String, Session>;

async fn connected(work: &Work, spec: &ConnectionSpec) -> Result<Session, Error> {
    let session = spec.connect("safe-migrate restore worker").await?;
    prepare_copy_session(&session, Some(&manifest_parts::lc_monetary(work.reader.manifest()))).await?;
    Ok(session)
}

/// The session by which a table is loaded.
async fn loading<'a>(
    work: &Work,
    (own, logins): (&'a Session, &'a mut Logins),
    table: usize,
) -> Result<&'a Session, Error> {
    let Some(spec) = work.ways.logins.get(table).and_then(Option::as_ref) else { return Ok(own) };
    Ok(match logins.entry(spec.user().to_owned()) {
        Entry::Occupied(there) => there.into_mut(),
        Entry::Vacant(place) => place.insert(connected(work, spec).await?),
    })
}

/// Loads one chunk after the other; the next one is read while the rows of this one are sent.
async fn load_chunks(work: &Work, (session, logins): (&Session, &mut Logins), first: Load) -> Result<(), Error> {
    let ahead = |load: Load| {
        let chunk = work.reader.start_chunk(&load.chunk);
        (load, chunk)
    };
    let mut next: Option<(Load, ChunkAhead)> = Some(ahead(first));
    while let Some((load, chunk)) = next {
        let raw = chunk.finish().await?;
        next = work.schedule.next_load().map(ahead);
        for (table, segment) in &load.parts {
            let rows = segment.of(&raw)?;
            let number = *table;
            if work.failed.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&number) {
                continue;
            }
            let session = loading(work, (session, &mut *logins), number).await?;
            let table = &work.reader.manifest().tables[*table];
            let encoding = &work.reader.manifest().database.encoding;
            if let Err(error) = copy_segment(session, table, rows, encoding, work.ways.own_path.as_deref()).await {
                if session.is_closed() {
                    return Err(error.into());
                }
                let (schema, name) = place(table);
                let failed = NotMade::table(schema, name, error.to_string());
                if !work.ways.keep_going {
                    return Err(Error::NotMade { not_made: vec![failed], kept: None });
                }
                work.failed.lock().unwrap_or_else(PoisonError::into_inner).insert(number, failed);
                continue;
            }
            // Nobody listens any more only when the restore was given up.
            let _ = work.loaded.send(segment.length);
        }
        work.schedule.done(&Task::Load(load));
    }
    Ok(())
}

/// A function of the user's in a statistic can fail here; the rows are there all the same, and it is tried again when
/// everything is.
async fn vacuum(work: &Work, session: &Session, number: usize) -> Result<(), Error> {
    let table = &work.reader.manifest().tables[number];
    match statistics::vacuum(session, &table.schema, &table.name, work.analyze[number]).await {
        Ok(()) => work.vacuumed.lock().unwrap_or_else(PoisonError::into_inner).push(number),
        Err(error) => unless_lost(error)?,
    }
    Ok(())
}

async fn analyze(work: &Work, session: &Session, whole: usize) -> Result<(), Error> {
    match statistics::analyze(session, &work.trees[whole].name).await {
        Ok(()) => work.analyzed.lock().unwrap_or_else(PoisonError::into_inner).push(whole),
        Err(error) => unless_lost(error)?,
    }
    Ok(())
}

/// An index that cannot be made yet, because a function in it reads another table, is made when all rows are there; then it
/// is said what is wrong with any other. Whether it was made.
async fn build(work: &Work, session: &Session, entry: &ArchiveEntry) -> Result<bool, Error> {
    match archive_entries::make(session, entry).await {
        Ok(()) => work.made.lock().unwrap_or_else(PoisonError::into_inner).push(entry.id),
        Err(error) => {
            work.left.lock().unwrap_or_else(PoisonError::into_inner).push(entry.id);
            return unless_lost(error).map(|()| false);
        }
    }
    Ok(true)
}

fn unless_lost(error: DatabaseError) -> Result<(), Error> {
    if error.is_connection_lost() {
        return Err(error.into());
    }
    tracing::debug!(%error, "left for later");
    Ok(())
}

async fn copy_segment(
    session: &Session,
    table: &TableData,
    rows: Bytes,
    encoding: &str,
    own_path: Option<&str>,
) -> Result<(), DatabaseError> {
    let into = place(table);
    // A generated column, or a domain within an array, calls by a name without a schema.
    let load = async || copy::load(session, into, &table.columns, encoding, rows.clone()).await;
    own_path::there_if_need_be(session, own_path, load).await
}

/// Schema and name of the table into which the rows go.
fn place(table: &TableData) -> (&str, &str) {
    // An enum's hash differs in a new database: rows of hash partitions find their leaf again through the root.
    match &table.hash_partition_root {
        Some((schema, name)) => (schema, name),
        None => (&table.schema, &table.name),
    }
}
