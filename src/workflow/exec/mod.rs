//! Wraps the migration command that a team has already: lock, snapshot, shadow, the command there, gates, question, the
//! command in production, verification.
//!
//! What the command does is its own: P4 holds by fingerprint, and of P5 remains that the fingerprint after the command is
//! recorded. Until the command is started, production is only read.

mod asked;
mod back;
mod bound;
mod by_receipt;
mod django;
mod django_probe;
mod django_sql;
mod pending;
mod probe;
mod production;
mod program;
mod rehearsal;
mod seen;
mod taken;

use std::time::Duration;

use crate::lint::Level;
use crate::postgres::{Ledger, RunLock, RunRecord, Session, blockers, commit_locally, keep_session, ledger::lease};
use crate::report::rehearsal::{Phase, RehearsalReport};
use crate::schema::Schema;
use crate::snapshot::{Reason, SnapshotReader, VerifiedSnapshot};
use crate::store::Store;

use super::apply::{RehearsalChoice, drift, lock};
use super::project::Server;
use super::rehearse::{Bound, NormalForms, Stopwatch};
use super::restore::WayBack;
use super::schema_reading::{RawRecord, SchemaReading};
use super::shadow::OUTSIDE_LINKS;
use super::{Confirmation, Error, Gate, Interrupt, Operator, Project, SnapshotChoice, run_record, take_snapshot};

pub use super::rehearse::BackTrial;
pub use asked::{Asked, ask, ask_sql};
pub use django::{Django, Listed};
pub use django_probe::Squashed;
pub use django_sql::COLLECTED;
pub use probe::{Probe, refuse_other_place};
pub use program::{Surroundings, WrappedCommand};

use rehearsal::Rehearsed;

/// What the operator asked for.
#[derive(Clone, Debug)]
pub struct ExecRequest {
    /// The command, for shadow and production alike.
    pub command: WrappedCommand,
    /// How it is asked where it goes.
    pub probe: Probe,
    /// `[exec] pending`: a program that ends with 0 when there is nothing to do.
    pub pending: Option<Vec<String>>,
    /// `--snapshot`: which one the run goes by; never none, because the shadow is restored from it.
    pub snapshot: SnapshotChoice,
    /// `--rehearsal`: which stored one may stand for a new one; never none at all.
    pub rehearsal: RehearsalChoice,
    /// `--way-back`: whether the way back of a Django project is tried.
    pub way_back: BackTrial,
    /// `--accept-data-loss HASH`.
    pub accept_data_loss: Option<String>,
    /// `--accept-drift WHY`.
    pub accept_drift: Option<String>,
    /// `--accept-no-restore WHY`.
    pub accept_no_restore: Option<String>,
    /// How long to wait for another run to end.
    pub wait: Duration,
    /// Whether to stop after the rehearsal.
    pub rehearse_only: bool,
}

/// How a run ended well.
#[derive(Debug)]
pub enum ExecOutcome {
    /// This command of the project's says that nothing is pending; no snapshot was taken.
    NothingPending(String),
    /// On the shadow the command changed nothing, so it was not run in production.
    NothingToDo(Box<RehearsalReport>),
    /// The rehearsal was all that was asked for.
    Rehearsed(Box<RehearsalReport>),
    /// The command was run in production, and the schema verified.
    Done(Box<ExecReport>),
}

/// What a run did.
#[derive(Debug)]
pub struct ExecReport {
    /// The record of the run.
    pub run: RunRecord,
    /// The rehearsal.
    pub rehearsal: RehearsalReport,
    /// What was found equal.
    pub verification: String,
    /// How far the role could restore the snapshot.
    pub way_back: WayBack,
    /// What the tool's own table says is new, when it can be asked.
    pub applied: Vec<String>,
    /// Where the time went.
    pub phases: Vec<Phase>,
}

/// What every step works with.
struct Run<'a> {
    project: &'a Project,
    request: &'a ExecRequest,
    server: &'a Server,
    lock: &'a RunLock,
    /// Holds the lock of the target.
    session: &'a Session,
    store: &'a Store,
    before: &'a SchemaReading,
    /// What a receipt is bound to; else why there can be none.
    bound: &'a Result<Bound, String>,
    way_back: WayBack,
    operator: &'a dyn Operator,
    interrupt: &'a Interrupt,
}

/// Runs the pipeline.
pub async fn exec(
    project: &Project,
    request: &ExecRequest,
    operator: &dyn Operator,
    interrupt: &Interrupt,
) -> Result<ExecOutcome, Error> {
    if project.shadow_server.is_some() {
        return Err(Gate::Exec {
            message: "`exec` needs a private shadow, whose log and address it has for itself".to_owned(),
            hint: "leave `url` in [shadow] out for this command".to_owned(),
        }
        .into());
    }
    request.command.refuse_missing()?;
    if !request.rehearse_only && !operator.can_confirm() {
        return Err(Gate::CannotAsk.into());
    }
    let server = project.connect_directly().await?;
    if server.identity.in_recovery {
        return Err(Gate::Standby(project.target.display()).into());
    }
    let command = request.command.noticed_when_dead(server.identity.major());
    let request = &ExecRequest { command, ..request.clone() };
    keep_session(&server.maintenance).await?;
    let words = format!("exec {}", request.command.display());
    let lock = lock::take(project, &server, (&words, request.wait), operator).await?;
    let session = project.target.connect("safe-migrate").await?;
    keep_session(&session).await?;
    lock.also_on(&session, project.target.database()).await?;
    // It writes the lease only; what must outlive a crash is written on new connections.
    commit_locally(&session).await?;
    let ledger = Ledger::read(&session).await?;
    lock::report_dead(&session, &ledger, operator).await?;
    let before = server.read_schema(project, &session).await?;
    let why = request.accept_drift.as_deref();
    let accepted = drift::refuse_drift(project, &session, &ledger, &before, why, operator).await?;
    let endpoint = project.target.endpoint().await?;
    let around = Surroundings { endpoint: &endpoint, confined_by: &[], tell: None };
    if let Some(words) = pending::nothing(request, around, (operator, interrupt)).await? {
        return Ok(ExecOutcome::NothingPending(words));
    }
    let way_back = WayBack::of_role(project, &server.maintenance).await?;
    if !request.rehearse_only {
        way_back.refuse_none(request.accept_no_restore.as_deref())?;
    }
    let store = project.open_or_create_store().await?;
    let mut record = run_record::start_in(&request.command.dir, project, &words, server.clock).await;
    record.add_bypass(accepted.map(|why| format!("drift accepted: {why}")));
    record.fingerprint_before = Some(super::json("the fingerprint", &before.record)?);
    lease::take(&session, &record, session.backend_pid(), &project.ledger_owners).await?;
    let id = record.id.clone();
    let bound = &bound::read(project, request).await;
    let (server, lock, store, before) = (&server, &lock, &store, &before);
    let session = &session;
    let run = Run { project, request, server, lock, session, store, before, bound, way_back, operator, interrupt };
    let result = run.snapshot_to_end(record).await;
    if let Err(error) = lease::give_back(session, &id).await {
        tracing::debug!(%error, "the lease was not given back");
    }
    result
}

impl Run<'_> {
    async fn snapshot_to_end(&self, mut record: RunRecord) -> Result<ExecOutcome, Error> {
        let mut stopwatch = Stopwatch::start();
        let reason = Reason { run: Some(record.id.clone()), command: record.command.clone() };
        let (project, operator, interrupt) = (self.project, self.operator, self.interrupt);
        // Before the snapshot, which may take long: a receipt that is refused is refused at once.
        let candidate = self.candidate().await?;
        let snapshot = match self.chosen_snapshot().await? {
            Some(chosen) => chosen,
            None => take_snapshot(project, self.server, self.store, reason, operator, interrupt).await?,
        };
        record.snapshot_id = Some(snapshot.id().to_string());
        stopwatch.phase("snapshot");
        let reader = SnapshotReader::open(self.store, snapshot.id()).await?;
        let rehearsed = match self.by_receipt(candidate, &reader).await? {
            Some(rehearsed) => rehearsed,
            None => {
                let stored = (project, self.store, &self.server.programs);
                let what = (self.request, self.bound);
                rehearsal::rehearse(stored, &reader, what, operator, interrupt).await?
            }
        };
        stopwatch.phase("rehearsal");
        operator.step(rehearsed.report.to_text().trim_end());
        let outcome = self.rehearsed_to_end(record, &snapshot, &rehearsed, &mut stopwatch).await;
        if let NormalForms::Running(shadow) = rehearsed.normal_forms {
            self.place().stop(*shadow).await;
        }
        outcome.map(|outcome| match outcome {
            ExecOutcome::Done(report) => {
                ExecOutcome::Done(Box::new(ExecReport { phases: stopwatch.phases, ..*report }))
            }
            other => other,
        })
    }

    /// A snapshot that is there and whose schema is production's: the command would start from another one otherwise.
    async fn chosen_snapshot(&self) -> Result<Option<VerifiedSnapshot>, Error> {
        let from = (self.project, self.server, self.store);
        let Some(chosen) = self.request.snapshot.there(from, self.operator).await? else { return Ok(None) };
        let reader = SnapshotReader::open(self.store, chosen.id()).await?;
        let recorded = reader.manifest().fingerprint.clone();
        let recorded = recorded.and_then(|value| serde_json::from_value::<RawRecord>(value).ok());
        let now = RawRecord { raw: self.before.record.clone(), ignored: self.project.fingerprint_ignore.clone() };
        if recorded.is_some_and(|recorded| recorded == now) {
            return Ok(Some(chosen));
        }
        let message = format!("production's schema is not known to be the one of snapshot {}", chosen.id());
        Err(Gate::SnapshotChoice(message).into())
    }

    async fn rehearsed_to_end(
        &self,
        mut record: RunRecord,
        snapshot: &VerifiedSnapshot,
        rehearsed: &Rehearsed,
        stopwatch: &mut Stopwatch,
    ) -> Result<ExecOutcome, Error> {
        let report = &rehearsed.report;
        // What would be refused is the caller's to say, with the report.
        if self.request.rehearse_only && (rehearsed.changed || report.failure.is_some()) {
            return Ok(ExecOutcome::Rehearsed(Box::new(report.clone())));
        }
        if let Some(failure) = &report.failure {
            return Err(Gate::RehearsalFailed { why: failure.clone(), advice: None }.into());
        }
        let denied: Vec<String> = super::denied(&report.findings).iter().map(|one| one.to_line()).collect();
        if !denied.is_empty() {
            return Err(Gate::Policy(denied).into());
        }
        if !rehearsed.changed {
            return Ok(ExecOutcome::NothingToDo(Box::new(report.clone())));
        }
        self.refuse_data_loss(report)?;
        let way_back = self.way_back.clone().of_snapshot(self.project, self.server, self.store, snapshot.id()).await?;
        way_back.refuse_none(self.request.accept_no_restore.as_deref())?;
        if let (WayBack::None(_), Some(why)) = (&way_back, &self.request.accept_no_restore) {
            record.add_bypass([format!("no restore by this role: {why}")]);
        }
        for one in blockers::long_transactions(self.session, self.project.long_transaction).await? {
            self.operator
                .warn(&format!("a transaction has been open for long, and what it locked stays locked: {one}"));
        }
        self.confirm(snapshot)?;
        self.interrupt.check()?;
        self.refuse_changes_meanwhile().await?;
        if rehearsed.is_stored {
            self.refuse_unbound(&report.id).await?;
        }
        record.plan_hash = Some(report.plan_hash.clone());
        record.rehearsal_id = Some(report.id.clone());
        stopwatch.phase("gates");
        self.run_in_production(record, rehearsed, way_back, stopwatch).await
    }

    /// Stops when the rehearsal measured a loss, unless the operator gave its hash.
    fn refuse_data_loss(&self, report: &RehearsalReport) -> Result<(), Error> {
        let accepted = self.request.accept_data_loss.as_deref();
        let given = accepted.is_some_and(|given| given.len() >= 8 && report.plan_hash.starts_with(given));
        if report.losses.is_empty() || given {
            return Ok(());
        }
        let losses = report.open_losses();
        if self.project.policy.level("data-loss") < Level::Deny {
            let lines: String = losses.iter().map(|loss| format!("\n{loss}")).collect();
            self.operator.warn(&format!("the command loses data, and data_loss in [policy] lets it:{lines}"));
            return Ok(());
        }
        Err(Gate::DataLoss { losses, plan_hash: report.plan_hash.chars().take(12).collect() }.into())
    }

    fn confirm(&self, snapshot: &VerifiedSnapshot) -> Result<(), Error> {
        let (words, target) = (self.request.command.display(), self.project.target.display());
        let question = format!("run `{words}` on {target} (way back: snapshot {})?", snapshot.id());
        match self.operator.confirm(&question) {
            Confirmation::Yes => Ok(()),
            Confirmation::No => Err(Gate::NotConfirmed.into()),
            Confirmation::CannotAsk => Err(Gate::CannotAsk.into()),
        }
    }

    /// Production must still be what the rehearsal started from, and the lock ours.
    async fn refuse_changes_meanwhile(&self) -> Result<(), Error> {
        let database = self.project.target.database().to_owned();
        if !self.lock.is_held(&self.server.maintenance, self.session).await? {
            let what = "this run no longer holds its lock".to_owned();
            return Err(Gate::ChangedMeanwhile { database, what }.into());
        }
        let now = self.server.read_schema_again(self.project, self.session).await?;
        if now.record.hash == self.before.record.hash {
            return Ok(());
        }
        let shown = |schema: &Schema| schema.withholding(OUTSIDE_LINKS);
        let difference = shown(&self.before.schema).difference(&shown(&now.schema));
        let what = format!("its schema (- before, + now):\n{difference}");
        Err(Gate::ChangedMeanwhile { database, what }.into())
    }
}
