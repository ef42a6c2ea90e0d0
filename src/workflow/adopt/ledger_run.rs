//! A run that writes the ledger and nothing else.

use std::sync::Arc;
use std::time::Duration;

use crate::migration::Migration;
use crate::postgres::ledger::{self, How};
use crate::postgres::{DatabaseError, ExecuteError, Ledger, RunLock, RunRecord, Session, keep_session};

use super::super::apply::lock;
use super::super::project::Server;
use super::super::schema_reading::SchemaReading;
use super::super::shadow::OUTSIDE_LINKS;
use super::super::{Confirmation, Error, Gate, Interrupt, Operator, Project, json, run_record};

/// What a run that wrote the ledger did.
#[derive(Clone, Debug)]
pub struct LedgerReport {
    /// Its record.
    pub run: RunRecord,
}

/// One change of the ledger.
#[derive(Debug)]
pub(super) enum LedgerChange {
    /// A migration counts as applied.
    Applied(Arc<Migration>, How),
    /// It does not count as applied any more.
    Forgotten(Arc<Migration>),
    /// Its text is another one.
    Repaired(Arc<Migration>),
}

/// The lock, and what was read under it.
pub(super) struct LedgerRun<'a> {
    pub(super) project: &'a Project,
    pub(super) operator: &'a dyn Operator,
    pub(super) server: Server,
    pub(super) session: Session,
    lock: RunLock,
    applied: usize,
    /// The schema when the run began: what is proven is proven of this one.
    before: SchemaReading,
    command: String,
}

impl<'a> LedgerRun<'a> {
    /// Connects and takes the lock; nothing is written.
    pub(super) async fn begin(
        project: &'a Project,
        (command, wait): (&str, Duration),
        operator: &'a dyn Operator,
        interrupt: &Interrupt,
    ) -> Result<Self, Error> {
        interrupt.or(Self::prepared(project, (command, wait), operator)).await
    }

    async fn prepared(
        project: &'a Project,
        (command, wait): (&str, Duration),
        operator: &'a dyn Operator,
    ) -> Result<Self, Error> {
        let server = project.connect_directly().await?;
        if server.identity.in_recovery {
            return Err(Gate::Standby(project.target.display()).into());
        }
        keep_session(&server.maintenance).await?;
        let lock = lock::take(project, &server, (command, wait), operator).await?;
        let session = project.target.connect("safe-migrate").await?;
        keep_session(&session).await?;
        lock.also_on(&session, project.target.database()).await?;
        let ledger = Ledger::read(&session).await?;
        lock::report_dead(&session, &ledger, operator).await?;
        let applied = ledger.applied.len();
        let before = server.read_schema(project, &session).await?;
        Ok(Self { project, operator, server, session, lock, applied, before, command: command.to_owned() })
    }

    /// How many migrations the ledger says are applied.
    pub(super) fn applied(&self) -> usize {
        self.applied
    }

    /// The store has every run, so that a row of this one is known for ours wherever it turns up. None without a store.
    async fn keep_in_store(&self, record: &RunRecord) {
        if self.project.store.url.is_empty() {
            return;
        }
        match self.project.open_or_create_store().await {
            Ok(store) => run_record::keep(&store, &self.project.source, record, self.operator).await,
            Err(error) => self.operator.warn(&format!("run {} is not recorded in the store: {error}", record.id)),
        }
    }

    /// Asks before the ledger is written.
    pub(super) fn confirm(&self, question: &str) -> Result<(), Error> {
        match self.operator.confirm(question) {
            Confirmation::Yes => Ok(()),
            Confirmation::No => Err(Gate::NotConfirmed.into()),
            Confirmation::CannotAsk => Err(Gate::CannotAsk.into()),
        }
    }

    /// Writes all changes and the run in one transaction, with the schema as it is: drift counts from here.
    pub(super) async fn write(self, changes: &[LedgerChange], bypass: Option<String>) -> Result<LedgerReport, Error> {
        if !self.lock.is_held(&self.server.maintenance, &self.session).await? {
            let database = self.project.target.database().to_owned();
            let what = "this run no longer holds its lock".to_owned();
            return Err(Gate::ChangedMeanwhile { database, what }.into());
        }
        let now = self.server.read_schema_again(self.project, &self.session).await?;
        if now.record.hash != self.before.record.hash {
            let shown = |reading: &SchemaReading| reading.schema.withholding(OUTSIDE_LINKS);
            let difference = shown(&self.before).difference(&shown(&now));
            let database = self.project.target.database().to_owned();
            return Err(Gate::ChangedMeanwhile {
                database,
                what: format!("its schema (- before, + now):\n{difference}"),
            }
            .into());
        }
        let mut record = run_record::start(self.project, &self.command, self.server.clock).await;
        record.add_bypass(bypass);
        record.fingerprint_before = Some(json("the fingerprint", &now.record)?);
        record.fingerprint_after.clone_from(&record.fingerprint_before);
        let session = &self.session;
        ledger::ensure(session, &self.project.ledger_owners).await?;
        ledger::close_dead(session).await?;
        session.batch_execute("BEGIN").await.map_err(DatabaseError::from)?;
        let written = async {
            for change in changes {
                write_one(session, &record.id, change).await?;
            }
            run_record::finish(&mut record, "done", None);
            record.insert(session).await?;
            ledger::keep_schema(session, &record.id, &now.to_kept()?).await?;
            session.batch_execute("COMMIT").await.map_err(DatabaseError::from)?;
            Ok::<(), Error>(())
        };
        if let Err(error) = written.await {
            if let Err(error) = session.batch_execute("ROLLBACK").await {
                tracing::debug!(%error, "the server rolls back what a lost connection leaves");
            }
            return Err(error);
        }
        self.keep_in_store(&record).await;
        Ok(LedgerReport { run: record })
    }
}

async fn write_one(session: &Session, run_id: &str, change: &LedgerChange) -> Result<(), Error> {
    let there = match change {
        LedgerChange::Applied(migration, how) => {
            let row = (&migration.id, migration.checksum.as_str(), migration.text.as_str());
            ledger::record_applied(session, (run_id, *how), row).await?;
            // What an earlier run began of it is settled.
            ledger::close_journal(session, &migration.id).await?;
            true
        }
        LedgerChange::Forgotten(migration) => {
            ledger::record_rolled_back(session, &migration.id, &migration.replaces).await?
        }
        LedgerChange::Repaired(migration) => {
            let row = (&migration.id, migration.checksum.as_str(), migration.text.as_str());
            ledger::record_repaired(session, row).await?
        }
    };
    let (LedgerChange::Applied(migration, _) | LedgerChange::Forgotten(migration) | LedgerChange::Repaired(migration)) =
        change;
    match there {
        true => Ok(()),
        false => Err(ExecuteError::LedgerChanged(migration.id.to_string()).into()),
    }
}
