//! Measures what each statement of a migration does; used in rehearsals only, so that production pays nothing.
//!
//! # What is measured, and how
//! Inside a transaction one query on the same backend after each statement (0.5 to 2 ms) reads `pg_locks` and, for the
//! relations locked there, `pg_class`, sizes and the counters of the running transaction (`pg_stat_get_xact_*`). What
//! a transaction has touched it holds a lock on, so nothing else needs to be looked at. Tried on PostgreSQL 15 and 18:
//! the scans of `SET NOT NULL`, of `CHECK` and foreign key validation, of an index build and of a rewrite are counted
//! there like those of a query. What parallel workers read is counted by them, and read from a second session.
//!
//! A statement outside a transaction commits before it can be asked: its locks are sampled from a second session, and
//! files, sizes and the cumulative counters are read before and after it.
//!
//! # What is inferred
//! A lock is counted from the start of its statement, which is when it was taken at the earliest. A changed file means
//! a rewrite, or a truncation when nothing is in it. Locks and rows of temporary tables are left out, and so are locks
//! that deferred constraints take in `COMMIT` itself. The log (WAL) is the server's, which nobody else uses here. The
//! counters of a sequential scan say how many rows it read, not whether it read to the end; each parallel worker counts
//! as a scan.

mod effects;
mod relation;
mod sampler;
mod step;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio_postgres::SimpleQueryMessage;

use super::{DatabaseError, MigratingSession, Session};
use crate::migration::{Section, Statement};
use relation::{Counters, Reading, WAL_POSITION, number, read_all, read_locked, read_published};
use sampler::sample_while;
use step::{State, Step, silent_statements, truncates};

pub use effects::{HeldLock, RowsWritten, Scan, SizeChange, StatementEffects, StepEffects};

/// Watches one session while it runs steps.
#[derive(Debug)]
pub struct Tracer {
    observer: Session,
    state: Mutex<State>,
}

impl Tracer {
    /// Starts with what `observer` sees: a session of its own on the same database, of a superuser.
    pub async fn new(observer: Session) -> Result<Self, DatabaseError> {
        let known = read_all(&observer).await?.relations;
        Ok(Self { observer, state: Mutex::new(State { known, unsure: false, step: Step::new() }) })
    }

    /// What the last step did.
    pub fn take(&self) -> StepEffects {
        std::mem::take(&mut self.state().step.effects)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before a step, or before it is tried again; not yet in its transaction.
    pub(super) async fn begin(&self, session: &Session, section: &Section) -> Result<(), DatabaseError> {
        let unsure = self.state().unsure;
        let again = if unsure { Some(read_all(&self.observer).await?.relations) } else { None };
        let wal = flush_counters(session).await?;
        let temporary = self.temporary_bytes().await?;
        let published = read_published(&self.observer, None).await?;
        let mut state = self.state();
        let State { known, unsure, step } = &mut *state;
        *known = again.unwrap_or_else(|| std::mem::take(known));
        // The counters of a transaction begin with it.
        known.values_mut().for_each(|relation| relation.counters = Counters::default());
        *unsure = true;
        *step = Step {
            in_transaction: section.transaction,
            existing: known.keys().copied().collect(),
            published,
            wal,
            wal_at_begin: wal,
            temporary_at_begin: temporary,
            total: section.statements.len(),
            silent: silent_statements(section),
            ..Step::new()
        };
        Ok(())
    }

    /// Before a statement.
    pub(super) async fn before(&self, session: &Session) -> Result<(), DatabaseError> {
        if self.state().step.in_transaction {
            let step = &mut self.state().step;
            let now = step.clock();
            step.started = now;
            step.since.get_or_insert(now);
            return Ok(());
        }
        let begun = Instant::now();
        flush_counters(session).await?;
        let reading = read_all(&self.observer).await?;
        let mut state = self.state();
        state.step.existing = reading.relations.keys().copied().collect();
        state.step.wal = reading.wal;
        state.known = reading.relations;
        state.step.tracing += begun.elapsed();
        state.step.started = state.step.clock();
        Ok(())
    }

    /// Waits for a statement, watching it when it runs outside a transaction.
    pub(super) async fn watch<T>(
        &self,
        session: &Session,
        statement: impl Future<Output = T>,
    ) -> Result<T, DatabaseError> {
        if self.state().step.in_transaction {
            return Ok(statement.await);
        }
        let (result, samples) = sample_while(&self.observer, session.backend_pid(), statement).await;
        self.state().step.samples = samples?;
        Ok(result)
    }

    /// After a statement that went through. Within a transaction the search path is theirs before and after, outside ours.
    pub(super) async fn after(&self, session: &MigratingSession, statement: &Statement) -> Result<(), DatabaseError> {
        let begun = Instant::now();
        let in_transaction = self.state().step.in_transaction;
        if self.state().step.stays_silent(statement) {
            return Ok(());
        }
        let reading = if in_transaction {
            session.set_ours_locally().await?;
            let locked = read_locked(session).await?;
            session.set_theirs_locally().await?;
            self.with_workers(locked).await?
        } else {
            flush_counters(session).await?;
            read_all(&self.observer).await?
        };
        let mut state = self.state();
        state.step.locked = reading.relations.len();
        state.add(reading, truncates(statement), begun);
        Ok(())
    }

    /// Adds to the counters of the leader what its parallel workers have published since the step began.
    async fn with_workers(&self, mut reading: Reading) -> Result<Reading, DatabaseError> {
        let published = read_published(&self.observer, Some(&reading.relations)).await?;
        let state = self.state();
        for (oid, counters) in published {
            let before = state.step.published.get(&oid).copied().unwrap_or_default();
            if let Some(relation) = reading.relations.get_mut(&oid) {
                relation.counters.add_scans(counters.since(before));
            }
        }
        Ok(reading)
    }

    /// After the step and its ledger row are committed.
    pub(super) async fn committed(&self, session: &Session) -> Result<(), DatabaseError> {
        let end = self.state().step.clock();
        let wal = flush_counters(session).await?;
        let temporary = self.temporary_bytes().await?;
        let mut state = self.state();
        state.unsure = false;
        let step = &mut state.step;
        if step.in_transaction {
            let locks = step.effects.statements.iter_mut().flat_map(|statement| &mut statement.locks);
            locks.for_each(|lock| lock.held = end.saturating_sub(lock.begins));
        }
        step.effects.elapsed = end;
        step.effects.tracing = step.tracing;
        step.effects.wal_bytes = wal.saturating_sub(step.wal_at_begin);
        let both = temporary.zip(step.temporary_at_begin);
        step.effects.temporary_bytes = both.map(|(now, before)| now.saturating_sub(before));
        Ok(())
    }

    async fn temporary_bytes(&self) -> Result<Option<u64>, DatabaseError> {
        if self.observer.server_version_num() < 150_000 {
            return Ok(None);
        }
        let sql = "SELECT pg_catalog.pg_stat_get_db_temp_bytes(oid) FROM pg_catalog.pg_database
                    WHERE datname = pg_catalog.current_database()";
        Ok(first_number(&self.observer, sql).await?)
    }
}

/// Makes the session publish its counters, so that those of the next transaction begin at zero; where the log stands.
async fn flush_counters(session: &Session) -> Result<u64, DatabaseError> {
    let flush = if session.server_version_num() >= 150_000 {
        "pg_catalog.pg_stat_force_next_flush()"
    } else {
        // PostgreSQL 14 sends them at the end of a statement, when the last time is half a second ago.
        "pg_catalog.pg_sleep(0.6)"
    };
    Ok(first_number(session, &format!("SELECT {WAL_POSITION}, {flush}")).await?.unwrap_or_default())
}

async fn first_number(session: &Session, sql: &str) -> Result<Option<u64>, tokio_postgres::Error> {
    let rows = session.simple_query(sql).await?;
    Ok(rows.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(number(row, 0)),
        _ => None,
    }))
}
