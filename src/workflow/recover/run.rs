//! The run: its record, the transaction (or one per batch), and what is said when it stops.

use std::time::Duration;

use crate::postgres::database::DatabaseProperties;
use crate::postgres::ledger::{self, RecoveryRecord};
use crate::postgres::recovery::{self, Outcome};
use crate::postgres::{DatabaseError, Ledger, RunRecord, ServerClock, deferred_checks};
use crate::schema::FingerprintRecord;

use super::super::code_of_others;
use super::super::fill::finds_nothing;
use super::super::schema_reading::{SchemaReading, read_raw};
use super::super::{Error, Gate, Unit, run_record};
use super::plan::PartDone;
use super::{Ground, Work, column, column_returns, missing, undo_table, whole};

/// Between two tries of a transaction that waited too long for a lock, times the number of tries.
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

/// What is written to the live database.
pub(super) enum Job {
    Column(column::ColumnJob),
    ColumnReturns(column_returns::ReturnJob),
    Missing(missing::MissingJob),
    Whole(whole::WholeJob),
    Undo(undo_table::UndoJob),
}

/// What opening a job left: its record for the ledger, and what the operator should know.
pub(super) struct Opened {
    pub(super) record: RecoveryRecord,
    pub(super) notes: Vec<String>,
    /// Rows that are written already; the rest is written in batches.
    pub(super) changed: u64,
}

impl Job {
    /// Whether rows are left to be written after opening, and how many are staged.
    pub(super) fn staged(&self) -> Option<u64> {
        match self {
            Self::Column(job) => Some(job.staged),
            Self::Missing(job) => Some(job.staged()),
            Self::ColumnReturns(_) | Self::Whole(_) | Self::Undo(_) => None,
        }
    }

    fn changes_schema(&self) -> bool {
        matches!(self, Self::ColumnReturns(_) | Self::Whole(_) | Self::Undo(_))
    }

    async fn open(&mut self, work: Option<&Work<'_>>, ground: &Ground<'_>, run: &RunRecord) -> Result<Opened, Error> {
        let live = &ground.live;
        match (self, work) {
            (Self::Column(job), _) => column::open(live, job, run).await,
            (Self::Missing(job), _) => missing::open(live, job, run).await,
            (Self::Undo(job), _) => undo_table::write(ground, job, run).await,
            (Self::ColumnReturns(job), Some(work)) => column_returns::write(work, job, run).await,
            (Self::Whole(job), Some(work)) => whole::write(work, job, run).await,
            _ => Err(Error::RestoreRefused("this needs the rows of a snapshot".to_owned())),
        }
    }

    async fn write(&self, ground: &Ground<'_>, range: (i64, i64), record: &RecoveryRecord) -> Result<u64, Error> {
        match self {
            Self::Column(job) => column::write(&ground.live, job, range, record).await,
            Self::Missing(job) => missing::write(&ground.live, job, range, record).await,
            Self::ColumnReturns(_) | Self::Whole(_) | Self::Undo(_) => Ok(0),
        }
    }

    async fn close(&self, ground: &Ground<'_>) -> Result<(), Error> {
        match self {
            Self::Missing(job) => job.advance_sequences(&ground.live).await,
            _ => Ok(()),
        }
    }
}

/// Carries a job out as a run.
pub(super) async fn carry_out(works: &[Work<'_>], job: Job) -> Result<PartDone, Error> {
    // Several tables have one job, which needs no more than what it staged.
    let Some(work) = works.first() else { return Err(Error::RestoreRefused("no table is named".to_owned())) };
    let mut run =
        run_record::start(work.ground.project, &work.request.command, ServerClock::read(&work.ground.live).await?)
            .await;
    run.snapshot_id = Some(work.request.snapshot.to_string());
    as_run(work.ground, Some(work), run, job, work.request.batch, None).await
}

/// The same for a job that needs no snapshot; `undoes` is the run that it takes back.
pub(super) async fn as_run(
    ground: &Ground<'_>,
    work: Option<&Work<'_>>,
    mut run: RunRecord,
    job: Job,
    batch: Option<u64>,
    undoes: Option<&RecoveryRecord>,
) -> Result<PartDone, Error> {
    // The store knows of the run before production does.
    run_record::write(&ground.store, &ground.project.source, &run).await?;
    ledger::ensure(&ground.live, &ground.project.ledger_owners).await?;
    ledger::close_dead(&ground.live).await?;
    if !ground.lock.is_held(&ground.server.maintenance, &ground.live).await? {
        let database = ground.project.target.database().to_owned();
        return Err(Gate::ChangedMeanwhile { database, what: "this run no longer holds its lock".to_owned() }.into());
    }
    let known = if job.changes_schema() { ground.schema_is_known().await? } else { false };
    let mut writer = Writer { ground, job, batch, committed: 0, changed: 0, saved: Vec::new(), notes: Vec::new() };
    let (mut attempt, mut on_own_path) = (0, false);
    let result = loop {
        let result = ground.cancel_on_interrupt(writer.write_all(work, &mut run, undoes)).await;
        // Nothing is committed yet but, in batches, the row of the run.
        match result {
            Err(error) if batch.is_none() && ground.try_again(&error, &mut attempt).await => {}
            // A function in a check or a generated column calls another one by a name without a schema.
            Err(Error::Database(error)) if batch.is_none() && !on_own_path && finds_nothing(&error) => {
                recovery::roll_back(&ground.live).await;
                let Some(path) = ground.own_path().await? else { break Err(error.into()) };
                ground.live.batch_execute(&format!("SET search_path = {path}")).await.map_err(DatabaseError::from)?;
                on_own_path = true;
            }
            result => break result,
        }
    };
    if on_own_path {
        recovery::back_to_our_path(&ground.live, result.is_err()).await;
    }
    let Writer { committed, changed, saved, notes, .. } = writer;
    match result {
        Ok(()) => {
            let mut done = PartDone { run, changed, saved, notes };
            ground.record_end(&mut done, known).await;
            Ok(done)
        }
        Err(error) => Err(ground.stopped(run, committed, error).await),
    }
}

struct Writer<'a> {
    ground: &'a Ground<'a>,
    job: Job,
    batch: Option<u64>,
    committed: u64,
    changed: u64,
    saved: Vec<String>,
    notes: Vec<String>,
}

impl Writer<'_> {
    async fn write_all(
        &mut self,
        work: Option<&Work<'_>>,
        run: &mut RunRecord,
        undoes: Option<&RecoveryRecord>,
    ) -> Result<(), Error> {
        let (live, batch) = (&self.ground.live, self.batch.filter(|_| self.job.staged().is_some()));
        self.begin().await?;
        if batch.is_none() {
            run_record::finish(run, "done", None);
        }
        run.insert(live).await?;
        let opened = self.job.open(work, self.ground, run).await?;
        opened.record.insert(live).await?;
        if let Some(undone) = undoes
            && !undone.mark_undone(live, &run.id).await?
        {
            return Err(Error::RestoreRefused(format!("run {} is undone already", undone.run_id)));
        }
        self.changed = opened.changed;
        self.notes = opened.notes;
        let saved = |part: RecoveryRecord| part.saved.map(|name| format!("safe_migrate.{name}"));
        self.saved = opened.record.tables().into_iter().filter_map(saved).collect();
        let Some(staged) = self.job.staged() else { return self.commit().await };
        match batch {
            None => {
                self.changed += self.job.write(self.ground, (0, i64::MAX), &opened.record).await?;
                self.job.close(self.ground).await?;
            }
            Some(size) => {
                self.commit().await?;
                self.in_batches(staged, size, &opened.record).await?;
                self.begin().await?;
                self.job.close(self.ground).await?;
                run_record::finish(run, "done", None);
                run.close(live).await?;
            }
        }
        self.commit().await
    }

    async fn in_batches(&mut self, staged: u64, size: u64, record: &RecoveryRecord) -> Result<(), Error> {
        let operator = self.ground.operator;
        operator.begin("writing rows", Some(staged), Unit::Items);
        let mut after = 0;
        while after < staged {
            let upto = after.saturating_add(size);
            let range = (i64::try_from(after).unwrap_or(i64::MAX), i64::try_from(upto).unwrap_or(i64::MAX));
            let mut attempt = 0;
            let written = loop {
                match self.one_batch(range, record).await {
                    Err(error) if self.ground.try_again(&error, &mut attempt).await => {}
                    result => break result?,
                }
            };
            self.changed += written;
            self.committed += written;
            operator.advance(upto.min(staged) - after);
            after = upto;
        }
        operator.finish(&crate::report::format_things(self.changed, "row"));
        Ok(())
    }

    async fn one_batch(&self, range: (i64, i64), record: &RecoveryRecord) -> Result<u64, Error> {
        self.begin().await?;
        let written = self.job.write(self.ground, range, record).await?;
        self.commit().await?;
        Ok(written)
    }

    async fn begin(&self) -> Result<(), Error> {
        self.ground.interrupt.check()?;
        Ok(recovery::begin(&self.ground.live, self.ground.project.execute.lock_timeout).await?)
    }

    async fn commit(&self) -> Result<(), Error> {
        self.ground.interrupt.check()?;
        match recovery::commit(&self.ground.live, &self.ground.project.target).await? {
            Outcome::Committed => Ok(()),
            Outcome::RolledBack => {
                Err(Error::RestoreRefused("the connection was lost, and the server rolled back".to_owned()))
            }
            Outcome::Unknown => Err(Error::RestoreRefused(
                "the connection was lost at the commit, and the server does not say what became of it; \
                 `safe-migrate history` shows the run if it took effect"
                    .to_owned(),
            )),
        }
    }
}

impl Ground<'_> {
    /// Whether a transaction that others did not let through is tried again; it is rolled back then.
    async fn try_again(&self, error: &Error, attempt: &mut u32) -> bool {
        let busy = matches!(error, Error::Database(error) if error.is_lock_timeout() || error.is_deadlock());
        let retries = self.project.execute.retries;
        if !busy || *attempt >= retries || self.interrupt.is_set() {
            return false;
        }
        *attempt += 1;
        self.operator.warn(&format!("{error}; trying again ({attempt} of {retries})"));
        recovery::roll_back(&self.live).await;
        tokio::time::sleep(BETWEEN_TRIES * *attempt).await;
        true
    }

    /// Lets a step run; the operator's wish to stop cancels its statement, and the step ends with an error.
    async fn cancel_on_interrupt<T>(&self, step: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let mut step = Box::pin(step);
        tokio::select! {
            result = &mut step => return result,
            () = self.interrupt.wait() => {}
        }
        self.live.cancel().await?;
        match step.await {
            Err(Error::Database(error)) if error.is_cancelled() => Err(Error::Interrupted),
            result => result,
        }
    }

    /// The path of the database's own sessions, where everything that it could lead to is trusted.
    async fn own_path(&self) -> Result<Option<String>, Error> {
        let trusted = code_of_others::trusted(self.project, &self.server.maintenance).await?;
        if deferred_checks::has_functions_of_others(&self.live, |owner| trusted.has(owner)).await? {
            return Ok(None);
        }
        Ok(Some(deferred_checks::own_path(&DatabaseProperties::read(&self.live).await?)))
    }

    /// Whether the schema is the one that the ledger knows: only then may this run say what it is afterwards,
    /// because it would hide a drift otherwise.
    async fn schema_is_known(&self) -> Result<bool, Error> {
        let ledger = Ledger::read(&self.live).await?;
        let recorded = ledger.last_with_fingerprint().and_then(|run| run.fingerprint_after.clone());
        let Some(recorded) = recorded.and_then(|value| serde_json::from_value::<FingerprintRecord>(value).ok()) else {
            return Ok(false);
        };
        let project = self.project;
        let now = read_raw(&self.server.programs, &project.target, &project.fingerprint_ignore).await?.record;
        Ok(recorded.is_comparable_with(&now) && recorded.hash == now.hash)
    }

    /// The change is committed: what fails from here on is a warning.
    async fn record_end(&self, done: &mut PartDone, known: bool) {
        let project = self.project;
        if known {
            let reading = read_raw(&self.server.programs, &project.target, &project.fingerprint_ignore).await;
            let both = |reading: SchemaReading| {
                Ok((super::super::json("the fingerprint", &reading.record)?, reading.to_kept()?))
            };
            let recorded = match reading.and_then(both) {
                Ok((value, kept)) => {
                    if let Err(error) = ledger::keep_schema(&self.live, &done.run.id, &kept).await {
                        self.operator
                            .warn(&format!("the schema is not kept, so a later drift shows only hashes: {error}"));
                    }
                    done.run.fingerprint_after = Some(value);
                    done.run.close(&self.live).await.map_err(Error::from)
                }
                Err(error) => Err(error),
            };
            if let Err(error) = recorded {
                let what = "the schema was not recorded, so the next apply will call this change drift";
                self.operator.warn(&format!("{what}: {error}"));
            }
        }
        if let Err(error) = run_record::write(&self.store, &project.source, &done.run).await {
            self.operator.warn(&format!("the change is made, but the store has no record of its end: {error}"));
        }
    }

    /// Closes the run after a failure, and says what production is now.
    async fn stopped(&self, mut run: RunRecord, committed: u64, error: Error) -> Error {
        // The row of the run may stand in a transaction that is still open; another session would wait for it.
        recovery::roll_back(&self.live).await;
        let outcome = if matches!(error, Error::Interrupted) { "interrupted" } else { "failed" };
        run_record::finish(&mut run, outcome, Some(&error));
        let recorded = self.record_failure(&run, committed > 0).await;
        for result in [recorded, run_record::write(&self.store, &self.project.source, &run).await] {
            if let Err(error) = result {
                self.operator.warn(&format!("the end of the run could not be recorded: {error}"));
            }
        }
        if committed == 0 {
            return error;
        }
        let rows = crate::report::format_things(committed, "row");
        Error::RunStopped {
            production: format!("{rows} are written, the rest is not"),
            changed: true,
            hint: format!(
                "run the command again for the rest, or take it back: safe-migrate restore --undo {}",
                run.id
            ),
            source: Box::new(error),
        }
    }

    /// On a new connection: ours may be in a failed transaction, or gone.
    async fn record_failure(&self, run: &RunRecord, present: bool) -> Result<(), Error> {
        let session = self.project.target.connect("safe-migrate").await?;
        if present {
            run.close(&session).await?
        } else {
            run.insert(&session).await?
        }
        Ok(())
    }
}
