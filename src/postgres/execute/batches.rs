//! A statement that runs in batches: each batch one transaction with its place in the journal, so that a run that is
//! killed at any moment and gone on with visits each row exactly once.
//!
//! `:from` is exclusive and `:to` inclusive. The first `:from` lies below the least key; the greatest key at the start is the
//! last `:to`, also for a run that goes on: later rows are the application's.

use std::time::Instant;

use super::super::connection::SET_OURS_LOCALLY;
use super::super::ledger::StepState;
use super::batch_key::Key;
use super::commit::{commit, running_transaction};
use super::journal::Place;
use super::lag::Lag;
use super::outside::Outside;
use super::watcher::rest;
use super::{DatabaseError, ExecuteError, RunContext, StatementTrace, send};
use crate::migration::{Batch, Statement};

/// Where a batched statement stands.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) place: Place,
    pub(super) rows: i64,
}

impl Outside<'_> {
    /// Runs the batches that are left.
    pub(super) async fn batched(
        &self,
        index: usize,
        (batch, statement): (&Batch, &Statement),
        standing: Option<Standing>,
    ) -> Result<StatementTrace, ExecuteError> {
        if let Some(tracer) = self.context.tracer {
            tracer.before(self.session).await?;
        }
        let start = Instant::now();
        let running = self.all_batches(index, (batch, statement), standing);
        let (rows, batches) = match self.context.tracer {
            Some(tracer) => tracer.watch(self.session, running).await??,
            None => running.await?,
        };
        let duration = start.elapsed();
        if let Some(tracer) = self.context.tracer {
            tracer.after(self.session, statement).await?;
        }
        Ok(StatementTrace {
            line: statement.line,
            text: statement.text.clone(),
            duration,
            rows,
            batches: Some(batches),
        })
    }

    /// Rows and batches of this run.
    async fn all_batches(
        &self,
        index: usize,
        (batch, statement): (&Batch, &Statement),
        standing: Option<Standing>,
    ) -> Result<(u64, u64), ExecuteError> {
        let refuse = |reason: String| ExecuteError::Key {
            file: self.file(),
            line: statement.line,
            key: batch.key.to_string(),
            reason,
            done: index,
        };
        let key = Key::find(self.session, &batch.key).await?.map_err(refuse)?;
        let Some(mut standing) = self.begin(index, (statement, &key), standing).await?.map_err(refuse)? else {
            return Ok((0, 0));
        };
        let (rows_before, batches_before) = (standing.rows, standing.place.batches);
        let place = format!("{}:{}", self.step.migration.id, statement.line);
        if let Some(watcher) = self.context.watcher {
            watcher.begin(&format!("{place}: batches of {} along {}", batch.size, batch.key), key.rows);
        }
        let mut lag = batch.max_lag.map(Lag::new);
        loop {
            self.between(batch, lag.as_mut(), (index, statement, &standing)).await?;
            let rows = standing.rows;
            if !self.one_batch(index, (batch, statement), &key, &mut standing).await? {
                break;
            }
            if let Some(watcher) = self.context.watcher {
                watcher.advance(u64::try_from(standing.rows - rows).unwrap_or_default());
            }
        }
        let rows = u64::try_from(standing.rows - rows_before).unwrap_or_default();
        let batches = standing.place.batches - batches_before;
        if let Some(watcher) = self.context.watcher {
            watcher.finish(&format!("{place}: {rows} rows in {batches} batches"));
        }
        Ok((rows, batches))
    }

    /// Fixes the range and writes it down, or goes on in the one that is written down. None: there are no rows, and the
    /// statement is done.
    async fn begin(
        &self,
        index: usize,
        (statement, key): (&Statement, &Key),
        standing: Option<Standing>,
    ) -> Result<Result<Option<Standing>, String>, ExecuteError> {
        let standing = match standing.filter(|standing| standing.place.until.is_some()) {
            Some(standing) => {
                if let Some(watcher) = self.context.watcher {
                    watcher.say(&format!(
                        "{}:{}: an earlier run stopped after key {}, {} rows in {} batches; going on from there",
                        self.step.migration.id,
                        statement.line,
                        standing.place.after.as_deref().unwrap_or_default(),
                        standing.rows,
                        standing.place.batches
                    ));
                }
                standing
            }
            None => {
                let mut place = Place::before(self.section, statement);
                match key.range(self.session).await? {
                    Err(reason) => return Ok(Err(reason)),
                    Ok(None) => {
                        self.journal().write(index, StepState::Done, &place, Some(0)).await?;
                        return Ok(Ok(None));
                    }
                    Ok(Some((below, greatest))) => (place.after, place.until) = (Some(below), Some(greatest)),
                }
                Standing { place, rows: 0 }
            }
        };
        self.journal().write(index, StepState::Started, &standing.place, Some(standing.rows)).await?;
        crate::fault::point("step.started");
        Ok(Ok(Some(standing)))
    }

    /// Rests, waits for standbys, and ends here when the run is to stop.
    async fn between(
        &self,
        batch: &Batch,
        lag: Option<&mut Lag>,
        (index, statement, standing): (usize, &Statement, &Standing),
    ) -> Result<(), ExecuteError> {
        let Some(watcher) = self.context.watcher else { return Ok(()) };
        if standing.place.batches > 0 {
            rest(Some(watcher), batch.pause).await;
        }
        if let Some(lag) = lag {
            let waited = lag.wait(self.session, watcher).await;
            waited.map_err(|error| self.failed(index, statement, error.into(), standing.place.batches > 0, None))?;
        }
        if watcher.is_stopped() {
            return Err(self.stopped_at(index, statement, standing.place.batches > 0));
        }
        Ok(())
    }

    /// Runs the next batch, again when a lock was in its way; false when none is left.
    async fn one_batch(
        &self,
        index: usize,
        (batch, statement): (&Batch, &Statement),
        key: &Key,
        standing: &mut Standing,
    ) -> Result<bool, ExecuteError> {
        let mut attempt = 0;
        loop {
            match self.transaction(index, (batch, statement), key, standing).await {
                Ok(next) => {
                    let more = next.is_some();
                    *standing = next.unwrap_or_else(|| standing.clone());
                    return Ok(more);
                }
                Err(error) => {
                    self.roll_back().await;
                    if !self.is_tried_again(&error, &mut attempt).await {
                        return Err(self.failed(index, statement, error, standing.place.batches > 0, None));
                    }
                }
            }
        }
    }

    /// One batch with its place. None: no row was left, and the statement is marked as done.
    async fn transaction(
        &self,
        index: usize,
        (batch, statement): (&Batch, &Statement),
        key: &Key,
        standing: &Standing,
    ) -> Result<Option<Standing>, ExecuteError> {
        let place = &standing.place;
        let (after, until) = (place.after.as_deref().unwrap_or_default(), place.until.as_deref().unwrap_or_default());
        self.session.batch_execute("BEGIN").await.map_err(DatabaseError::from)?;
        let Some(to) = key.next(self.session, (after, until), batch.size).await? else {
            self.journal().add(index, StepState::Done, place, Some(standing.rows)).await?;
            let xact = running_transaction(self.session).await?;
            commit(self.session, self.context, (&self.step.migration, statement.line), &xact).await?;
            return Ok(None);
        };
        let one = statement.for_batch(&key.literal(after), &key.literal(&to));
        // The journal's row sets ours again.
        self.session.set_theirs_locally().await?;
        let rows = send(self.session, &self.step.migration, &one, RunContext { tracer: None, ..self.context }).await?;
        let mut next = standing.clone();
        next.place.after = Some(to);
        next.place.batches += 1;
        next.rows += i64::try_from(rows).unwrap_or_default();
        let apart = crate::fault::is_off("off.batch-place-in-transaction");
        if !apart {
            self.journal().add(index, StepState::Started, &next.place, Some(next.rows)).await?;
        }
        let xact = running_transaction(self.session).await?;
        if apart {
            self.session.batch_execute(SET_OURS_LOCALLY).await.map_err(DatabaseError::from)?;
        }
        crate::fault::point("batch.before-commit");
        commit(self.session, self.context, (&self.step.migration, statement.line), &xact).await?;
        crate::fault::point("batch.committed");
        if apart {
            self.journal().write(index, StepState::Started, &next.place, Some(next.rows)).await?;
        }
        Ok(Some(next))
    }
}
