//! The step that runs, and what is known of the relations.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::effects::{HeldLock, SizeChange, StatementEffects, StepEffects};
use super::relation::{Counters, Reading, Relation};
use super::sampler::Samples;
use crate::migration::{Section, Statement};
use crate::postgres::lock_mode::LockMode;

/// What is known between two readings.
#[derive(Debug)]
pub(super) struct State {
    /// Relations as they are now, with what the running transaction did.
    pub(super) known: BTreeMap<u32, Relation>,
    /// Whether `known` may hold what was rolled back.
    pub(super) unsure: bool,
    pub(super) step: Step,
}

/// The step that runs.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) in_transaction: bool,
    /// Relations that were there when it began.
    pub(super) existing: BTreeSet<u32>,
    pub(super) held: BTreeSet<(u32, LockMode)>,
    /// Counters that were published before it.
    pub(super) published: BTreeMap<u32, Counters>,
    pub(super) begun: Instant,
    /// Time that reading took; not the migration's.
    pub(super) tracing: Duration,
    /// Start of the first statement that was not read after.
    pub(super) since: Option<Duration>,
    /// Start of the last statement.
    pub(super) started: Duration,
    pub(super) wal: u64,
    pub(super) wal_at_begin: u64,
    pub(super) temporary_at_begin: Option<u64>,
    /// Statements after which nothing is asked: `SET TRANSACTION ISOLATION LEVEL` is refused after a query.
    pub(super) silent: usize,
    pub(super) samples: Samples,
    pub(super) effects: StepEffects,
}

impl Step {
    pub(super) fn new() -> Self {
        Self {
            in_transaction: false,
            existing: BTreeSet::new(),
            held: BTreeSet::new(),
            published: BTreeMap::new(),
            begun: Instant::now(),
            tracing: Duration::ZERO,
            since: None,
            started: Duration::ZERO,
            wal: 0,
            wal_at_begin: 0,
            temporary_at_begin: None,
            silent: 0,
            samples: Samples::default(),
            effects: StepEffects::default(),
        }
    }

    /// Time since the step began, without that of tracing.
    pub(super) fn clock(&self) -> Duration {
        self.begun.elapsed().saturating_sub(self.tracing)
    }

    /// Whether nothing may be asked after this statement; what it did is then seen after a later one.
    pub(super) fn stays_silent(&mut self) -> bool {
        let silent = self.in_transaction && self.effects.statements.len() < self.silent;
        if silent {
            self.effects.statements.push(StatementEffects { started: self.started, ..StatementEffects::default() });
        }
        silent
    }
}

impl State {
    /// Compares what was read after a statement with what is known from before it.
    pub(super) fn add(&mut self, reading: Reading, truncates: bool, begun: Instant) {
        let Self { known, step, .. } = self;
        let (started, sampled) = (step.started, !step.in_transaction);
        let mut effects = StatementEffects { started, sampled, ..StatementEffects::default() };
        effects.wal_bytes = reading.wal.saturating_sub(step.wal);
        step.wal = reading.wal;
        let touched: BTreeSet<u32> = if step.in_transaction {
            reading.locks.iter().map(|(oid, _)| *oid).collect()
        } else {
            known.keys().chain(reading.relations.keys()).copied().collect()
        };
        effects.fill(truncates, touched.iter().copied(), known, &reading.relations);
        for (oid, mode, begins, held) in step.new_locks(&reading) {
            let Some(relation) = reading.relations.get(&oid).or_else(|| known.get(&oid)) else { continue };
            let table = reading.relations.get(&relation.table).or_else(|| known.get(&relation.table));
            effects.locks.push(HeldLock {
                relation: relation.name.clone(),
                mode,
                held,
                begins,
                existed: step.existing.contains(&oid),
                index_of: table.map(|table| table.name.clone()),
            });
        }
        effects.locks.sort_by(|a, b| (&a.relation, a.mode).cmp(&(&b.relation, b.mode)));
        step.note_sizes(&effects, &touched, known, &reading.relations);
        for oid in touched {
            match reading.relations.get(&oid) {
                Some(relation) => known.insert(oid, relation.clone()),
                None => known.remove(&oid),
            };
        }
        step.effects.statements.push(effects);
        step.tracing += begun.elapsed();
    }
}

impl Step {
    /// The locks that came since the last reading, with their begin and (outside a transaction) their length.
    fn new_locks(&mut self, reading: &Reading) -> Vec<(u32, LockMode, Duration, Duration)> {
        if !self.in_transaction {
            let samples = std::mem::take(&mut self.samples);
            return samples.held().map(|(oid, mode, held)| (oid, mode, self.started, held)).collect();
        }
        let since = self.since.take().unwrap_or_default();
        let new = reading.locks.iter().filter(|lock| self.held.insert(**lock));
        new.map(|(oid, mode)| (*oid, *mode, since, Duration::ZERO)).collect()
    }

    /// Notes how large the tables are that the statement locked or changed. Outside a transaction `touched` is every
    /// relation, and only those count that a sample or a change shows.
    fn note_sizes(
        &mut self,
        effects: &StatementEffects,
        touched: &BTreeSet<u32>,
        before: &BTreeMap<u32, Relation>,
        after: &BTreeMap<u32, Relation>,
    ) {
        for oid in touched {
            let (old, new) = (before.get(oid), after.get(oid));
            let Some(relation) = new.or(old).filter(|relation| relation.has_rows()) else { continue };
            let changed = || effects.sizes.iter().any(|size| size.relation == relation.name);
            let locked = || effects.locks.iter().any(|lock| lock.relation == relation.name);
            if !self.in_transaction && !changed() && !locked() {
                continue;
            }
            let before = old.map_or(0, |relation| relation.bytes);
            let size = SizeChange { relation: relation.name.clone(), before, after: 0 };
            let size = self.effects.tables.entry(*oid).or_insert(size);
            size.after = new.map_or(0, |relation| relation.bytes);
        }
    }
}

/// How many statements at the head of a section must not be followed by a query.
pub(super) fn silent_statements(section: &Section) -> usize {
    let sets_transaction = |statement: &Statement| {
        let text = statement.text.to_ascii_uppercase();
        text.starts_with("SET") && text.contains("TRANSACTION")
    };
    section.statements.iter().rposition(sets_transaction).map_or(0, |last| last + 1)
}

pub(super) fn truncates(statement: &Statement) -> bool {
    statement.text.get(..8).is_some_and(|word| word.eq_ignore_ascii_case("TRUNCATE"))
}
