//! What is to be done next while a database is filled: rows, then what needs a full table.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::postgres::ArchiveEntry;
use crate::snapshot::{ChunkId, Manifest, Segment};

/// What of one chunk goes into which table.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) chunk: ChunkId,
    pub(super) parts: Vec<(usize, Segment)>,
}

/// One piece of work; tables are counted as in the manifest.
#[derive(Clone, Debug)]
pub(super) enum Task {
    /// Rows of one chunk.
    Load(Load),
    /// The table is full: its visibility map and statistics.
    Vacuum(usize),
    /// An index or a constraint of the table, which has its statistics.
    Build(ArchiveEntry),
    /// A partitioned table whose partitions are all full: its statistics. Counted as in [`Schedule::new`].
    Analyze(usize),
}

/// Hands out tasks to workers on several threads.
///
/// Rows of the largest tables come first, so that no worker is left alone with one at the end; as soon as a table is
/// full, it is vacuumed, and then its indexes are built, again those of the largest table first.
#[derive(Debug)]
pub(super) struct Schedule {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    loads: VecDeque<Load>,
    /// Segments of a table that are not loaded yet.
    missing: BTreeMap<usize, usize>,
    bytes: Vec<u64>,
    builds: BTreeMap<usize, Vec<ArchiveEntry>>,
    /// Of each partitioned table, the partitions that are not full yet.
    partitions: Vec<BTreeSet<usize>>,
    /// What can be done now, by bytes of its table and then in the order in which it came.
    ready: BTreeMap<(Reverse<u64>, usize), Task>,
    came: usize,
    /// Tasks handed out that may make others ready.
    open: usize,
}

impl Schedule {
    /// `builds` and `partitions` (a set for each partitioned table) are of tables that are loaded on their own; those of
    /// others are left out by the caller.
    pub(super) fn new(
        manifest: &Manifest,
        builds: BTreeMap<usize, Vec<ArchiveEntry>>,
        partitions: Vec<BTreeSet<usize>>,
    ) -> Self {
        let bytes: Vec<u64> =
            manifest.tables.iter().map(|table| table.segments.iter().map(|segment| segment.length).sum()).collect();
        let mut state = State { loads: loads(manifest, &bytes), builds, partitions, bytes, ..State::default() };
        for (index, table) in manifest.tables.iter().enumerate() {
            // The leaves of a hash-partitioned table are full only when all of them are.
            if !table.segments.is_empty() && table.hash_partition_root.is_none() {
                state.missing.insert(index, table.segments.len());
            }
        }
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next chunk to be loaded, if there is any left.
    pub(super) fn next_load(&self) -> Option<Load> {
        let mut state = self.lock();
        let load = state.loads.pop_front()?;
        state.open += 1;
        Some(load)
    }

    /// The next task; a worker that `may_load` prefers rows. None when there will be no more.
    pub(super) async fn next(&self, may_load: bool) -> Option<Task> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.lock();
                let load = if may_load { state.loads.pop_front() } else { None };
                let task = load.map(Task::Load).or_else(|| state.ready.pop_first().map(|(_, task)| task));
                if let Some(task) = task {
                    state.open += 1;
                    return Some(task);
                }
                if state.open == 0 && state.loads.is_empty() {
                    self.changed.notify_waiters();
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Says that a task was done, which may make others ready.
    pub(super) fn done(&self, task: &Task) {
        let mut state = self.lock();
        state.open -= 1;
        match task {
            Task::Load(load) => load.parts.iter().for_each(|(table, _)| state.loaded(*table)),
            Task::Vacuum(table) => {
                for entry in state.builds.remove(table).unwrap_or_default() {
                    state.push(*table, Task::Build(entry));
                }
                state.partition_is_full(*table);
            }
            Task::Build(..) | Task::Analyze(..) => {}
        }
        drop(state);
        self.changed.notify_waiters();
    }
}

impl State {
    fn loaded(&mut self, table: usize) {
        let Some(missing) = self.missing.get_mut(&table) else { return };
        *missing -= 1;
        if *missing == 0 {
            self.missing.remove(&table);
            self.push(table, Task::Vacuum(table));
        }
    }

    fn partition_is_full(&mut self, table: usize) {
        let ends = |missing: &mut BTreeSet<usize>| missing.remove(&table) && missing.is_empty();
        if let Some(whole) = self.partitions.iter_mut().position(ends) {
            self.push(table, Task::Analyze(whole));
        }
    }

    fn push(&mut self, table: usize, task: Task) {
        self.came += 1;
        self.ready.insert((Reverse(self.bytes[table]), self.came), task);
    }
}

/// Chunks in the order in which they are loaded.
fn loads(manifest: &Manifest, bytes: &[u64]) -> VecDeque<Load> {
    let mut by_chunk: BTreeMap<ChunkId, (u64, Vec<(usize, Segment)>)> = BTreeMap::new();
    for (index, table) in manifest.tables.iter().enumerate() {
        for segment in &table.segments {
            let entry = by_chunk.entry(segment.chunk).or_default();
            entry.0 = entry.0.max(bytes[index]);
            entry.1.push((index, segment.clone()));
        }
    }
    let mut all: Vec<(u64, Load)> =
        by_chunk.into_iter().map(|(chunk, (bytes, parts))| (bytes, Load { chunk, parts })).collect();
    all.sort_by_key(|(bytes, _)| Reverse(*bytes));
    all.into_iter().map(|(_, load)| load).collect()
}
