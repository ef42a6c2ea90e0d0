//! What is to be done next while a database is filled: rows, then what needs full tables.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::snapshot::{ChunkId, Manifest, Segment};

use super::builds::{Build, Locks, Tree};

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
    /// An index, a constraint or an attachment.
    Build(Box<Build>),
    /// A partitioned table whose partitions are all full: its statistics. Counted as in [`Schedule::new`].
    Analyze(usize),
}

/// Hands out tasks to workers on several threads.
///
/// Rows of the largest tables come first, so that no worker is left alone with one at the end; as soon as a table is
/// full, it is vacuumed, and then its indexes are built, again those of the largest table first; a foreign key is
/// checked as soon as both its tables are full and the index that it needs is there. Two tasks of which one would wait for
/// the other's lock are never handed out at once: a worker that waits is a core that idles.
#[derive(Debug)]
pub(super) struct Schedule {
    state: Mutex<State>,
    changed: Notify,
}

/// What a build or a statistic waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    /// A table is full and vacuumed.
    Full(usize),
    /// An entry of the archive is made.
    Made(u32),
}

#[derive(Debug, Default)]
struct State {
    loads: VecDeque<Load>,
    /// Segments of a table that are not loaded yet.
    missing: BTreeMap<usize, usize>,
    /// Bytes of the tables, and then of the partitioned ones (0: their partitions are counted).
    bytes: Vec<u64>,
    /// What cannot be done yet, with how much of what it needs is missing.
    waiting: Vec<Option<(Task, usize)>>,
    /// Who waits for what, by place in `waiting`.
    dependents: BTreeMap<Need, Vec<usize>>,
    trees: Vec<Locks>,
    /// What can be done now, by bytes of its tables and then in the order in which it came.
    ready: BTreeMap<(Reverse<u64>, usize), Task>,
    came: usize,
    /// Locks of the tasks that are handed out.
    running: Vec<Locks>,
    /// Tasks handed out that may make others ready.
    open: usize,
}

impl Schedule {
    /// Tables, builds and partitioned tables that are loaded otherwise are left out by the caller.
    pub(super) fn new(manifest: &Manifest, builds: Vec<Build>, trees: &[Tree]) -> Self {
        let mut bytes: Vec<u64> =
            manifest.tables.iter().map(|table| table.segments.iter().map(|segment| segment.length).sum()).collect();
        let loads = loads(manifest, &bytes);
        bytes.extend(trees.iter().map(|_| 0));
        let tree_locks = trees.iter().map(|tree| tree.locks.clone()).collect();
        let mut state = State { loads, bytes, trees: tree_locks, ..State::default() };
        for (index, table) in manifest.tables.iter().enumerate() {
            // The leaves of a hash-partitioned table are full only when all of them are.
            if !table.segments.is_empty() && table.hash_partition_root.is_none() {
                state.missing.insert(index, table.segments.len());
            }
        }
        for (number, tree) in trees.iter().enumerate().filter(|(_, tree)| !tree.full.is_empty()) {
            state.wait(Task::Analyze(number), tree.full.iter().map(|table| Need::Full(*table)).collect());
        }
        for build in builds {
            let full = build.full.iter().map(|table| Need::Full(*table));
            let needs = full.chain(build.made.iter().map(|id| Need::Made(*id))).collect();
            state.wait(Task::Build(Box::new(build)), needs);
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
                if let Some(task) = load.map(Task::Load).or_else(|| state.take_ready()) {
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
        state.ended(task);
        match task {
            Task::Load(load) => load.parts.iter().for_each(|(table, _)| state.loaded(*table)),
            Task::Vacuum(table) => state.satisfy(Need::Full(*table)),
            Task::Build(build) => state.satisfy(Need::Made(build.entry.id)),
            Task::Analyze(..) => {}
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Says that a build was not made; what needs it is never handed out.
    pub(super) fn left(&self, task: &Task) {
        self.lock().ended(task);
        self.changed.notify_waiters();
    }
}

impl State {
    fn wait(&mut self, task: Task, needs: BTreeSet<Need>) {
        if needs.is_empty() {
            return self.push(task);
        }
        for need in &needs {
            self.dependents.entry(*need).or_default().push(self.waiting.len());
        }
        self.waiting.push(Some((task, needs.len())));
    }

    fn satisfy(&mut self, need: Need) {
        for place in self.dependents.remove(&need).unwrap_or_default() {
            let Some((task, missing)) = self.waiting[place].take() else { continue };
            match missing {
                1 => self.push(task),
                _ => self.waiting[place] = Some((task, missing - 1)),
            }
        }
    }

    fn loaded(&mut self, table: usize) {
        let Some(missing) = self.missing.get_mut(&table) else { return };
        *missing -= 1;
        if *missing == 0 {
            self.missing.remove(&table);
            self.push(Task::Vacuum(table));
        }
    }

    fn push(&mut self, task: Task) {
        self.came += 1;
        let bytes = match (&task, self.locks(&task)) {
            (Task::Vacuum(table), _) => self.bytes[*table],
            (_, Some(locks)) => locks.tables.iter().map(|table| self.bytes[*table]).sum(),
            (_, None) => 0,
        };
        self.ready.insert((Reverse(bytes), self.came), task);
    }

    /// The first task that waits for nobody's lock, nor for one that a larger task waits for, which would starve.
    fn take_ready(&mut self) -> Option<Task> {
        let mut before = self.running.clone();
        let mut found = None;
        for (key, task) in &self.ready {
            let Some(locks) = self.locks(task) else {
                found = Some(*key);
                break;
            };
            if !before.iter().any(|other| other.conflict(&locks)) {
                found = Some(*key);
                break;
            }
            before.push(locks);
        }
        let task = self.ready.remove(&found?)?;
        self.running.extend(self.locks(&task));
        Some(task)
    }

    /// What a task locks against others; rows and a vacuum come before anything that would.
    fn locks(&self, task: &Task) -> Option<Locks> {
        match task {
            Task::Load(..) | Task::Vacuum(..) => None,
            Task::Build(build) => Some(build.locks.clone()),
            Task::Analyze(number) => Some(self.trees[*number].clone()),
        }
    }

    fn ended(&mut self, task: &Task) {
        self.open -= 1;
        if let Some(locks) = self.locks(task)
            && let Some(place) = self.running.iter().position(|other| *other == locks)
        {
            self.running.swap_remove(place);
        }
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
