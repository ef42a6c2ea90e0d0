//! Applies or rolls back in production: the pipeline of DESIGN.md section 11, top to bottom.

mod after_failure;
pub(super) mod drift;
mod fence;
mod fence_refusals;
mod gap;
mod gates;
mod ground;
pub(super) mod lock;
mod migrate;
mod preflight;
mod rehearsed;
mod restore_instead;
pub(super) mod verify;

use std::time::Duration;

use crate::fault;
use crate::migration::{Check, Direction, Plan, load_checks};
use crate::postgres::written::Counters;
use crate::postgres::{MigratingSession, RunLock, RunRecord, Session, commit_locally, keep_session};
use crate::report::format_things;
use crate::report::rehearsal::{Phase, RehearsalReport};
use crate::snapshot::{Reason, VerifiedSnapshot};
use crate::store::Store;

use super::project::Server;
use super::rehearse::{NormalForms, RehearsalEvidence, Stopwatch};
use super::restore::WayBack;
use super::schema_reading::SchemaReading;
use super::snapshot_choice::SnapshotChoice;
use super::state::{Selection, State};
use super::{Error, Gate, Interrupt, Operator, Project, run_record, take_snapshot};

pub use after_failure::AfterFailure;
use fence::RaisedFence;
use rehearsed::Rehearsed;

/// How long the network may leave sent bytes unanswered before the session that holds the lock is given up.
const UNANSWERED: Duration = Duration::from_secs(60);

/// More migrations than this are not all listed before a run, only the first five.
const LISTED: usize = 100;
const FIRST_OF_MANY: usize = 5;

/// What the operator asked for.
#[derive(Clone, Debug)]
pub struct ApplyRequest {
    /// Which migrations, in which direction.
    pub selection: Selection,
    /// The command in words, for the records.
    pub command: String,
    /// Which snapshot the run trusts.
    pub snapshot: SnapshotChoice,
    /// Which rehearsal the run trusts.
    pub rehearsal: RehearsalChoice,
    /// `--accept-data-loss HASH`.
    pub accept_data_loss: Option<String>,
    /// `--accept-drift WHY`.
    pub accept_drift: Option<String>,
    /// `--accept-no-restore WHY`.
    pub accept_no_restore: Option<String>,
    /// Whether writers are kept out; none: they go on, and the gap is named.
    pub fence: Option<Fence>,
    /// How long to wait for another run to end.
    pub wait: Duration,
    /// Whether to stop after the plan.
    pub dry_run: bool,
}

/// How writers are kept out between the snapshot and the end of the migrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// Every table is locked against them, and all migrations run in that one transaction: writers wait, readers go on.
    Writers,
    /// The same until the migrations begin; then all sessions are ended and none is let in, and the migrations run one
    /// by one.
    Closed,
}

/// Which rehearsal a run trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RehearsalChoice {
    /// The newest stored one that still matches, else a new one.
    Auto,
    /// A new one.
    New,
    /// That one.
    Id(String),
    /// None, for this reason.
    Skip(String),
}

/// What `apply` goes by: a verified snapshot, or a bypass that carries its reason.
#[derive(Debug)]
pub enum SnapshotEvidence {
    /// It is complete, published and was read back.
    Verified(Box<VerifiedSnapshot>),
    /// `--skip-snapshot REASON`.
    Skipped(String),
}

/// How a run ended well.
#[derive(Debug)]
pub enum ApplyOutcome {
    /// Everything asked for was applied already; no snapshot was taken.
    NothingToDo,
    /// `--dry-run`: this is what would be done.
    Planned(Plan),
    /// The migrations are applied and verified.
    Done(Box<ApplyReport>),
}

/// What a run did.
#[derive(Debug)]
pub struct ApplyReport {
    /// The record of the run.
    pub run: RunRecord,
    /// The plan that was carried out.
    pub plan: Plan,
    /// The rehearsal, unless it was skipped.
    pub rehearsal: Option<RehearsalReport>,
    /// How the schema was found equal to the rehearsed one.
    pub verification: String,
    /// How far the role could restore the snapshot.
    pub way_back: WayBack,
    /// Where the time went.
    pub phases: Vec<Phase>,
}

/// Sessions and readings of a run that has the lock.
struct Prepared {
    server: Server,
    /// The session that migrates; it holds the lock of the target.
    session: MigratingSession,
    /// Another one on the target, which keeps the lease and watches over the one that migrates.
    aside: Session,
    lock: RunLock,
    state: State,
    plan: Plan,
    /// Checks, as they were when the plan was made.
    checks: Vec<Check>,
    /// Raw schema of production when the plan was made.
    before: SchemaReading,
    /// The reason for which a drift was accepted; none when there was no drift.
    accepted_drift: Option<String>,
    /// What the role may do to take the way back.
    way_back: WayBack,
}

/// Runs the pipeline.
pub async fn apply(
    project: &Project,
    request: &ApplyRequest,
    operator: &dyn Operator,
    interrupt: &Interrupt,
) -> Result<ApplyOutcome, Error> {
    let mut stopwatch = Stopwatch::start();
    let Some(prepared) = prepare(project, request, operator).await? else { return Ok(ApplyOutcome::NothingToDo) };
    after_failure::refuse_restore_without_fence(project, request)?;
    preflight::refuse_hopeless(project, &prepared.plan)?;
    if !matches!(request.snapshot, SnapshotChoice::Skip(_)) {
        prepared.way_back.refuse_none(request.accept_no_restore.as_deref())?;
    }
    if request.dry_run {
        prepared.ways_back(project).await.iter().for_each(|line| operator.step(line));
        preflight::ahead(request, &prepared.plan, operator).iter().for_each(|line| operator.step(line));
        return Ok(ApplyOutcome::Planned(prepared.plan));
    }
    preflight::refuse_unanswered(request, operator)?;
    interrupt.check()?;
    stopwatch.phase("plan");
    let store = project.open_or_create_store().await?;
    let mut record = run_record::start(project, &request.command, prepared.server.clock).await;
    record.plan_hash = Some(prepared.plan.hash().to_string());
    let run = Run { project, request, prepared: &prepared, store: &store, operator, interrupt, fence: None };
    run.take_lease(&record).await?;
    let id = record.id.clone();
    let result = Box::pin(run.snapshot_to_end(record, stopwatch)).await;
    run.give_back_lease(&id).await;
    result
}

impl Run<'_> {
    /// Everything from the snapshot on.
    async fn snapshot_to_end(&self, record: RunRecord, mut stopwatch: Stopwatch) -> Result<ApplyOutcome, Error> {
        // Before the snapshot, which may take long: a receipt that is refused is refused at once.
        let candidate = self.candidate().await?;
        let fence = self.raise_fence().await?;
        let run = Run { fence: fence.as_ref(), ..*self };
        let written = run.written().await?;
        let snapshot = run.snapshot(&record).await?;
        run.fence_large_objects().await?;
        stopwatch.phase("snapshot");
        let rehearsal = run.rehearsed(&snapshot, candidate).await?;
        stopwatch.phase("rehearsal");
        let result = run.gates_and_migrations(record, (snapshot, written), rehearsal.as_ref(), &mut stopwatch).await;
        run.let_go().await;
        let report = match rehearsal {
            Some(Rehearsed { report, normal_forms, .. }) => {
                if let NormalForms::Running(shadow) = normal_forms {
                    run.place().stop(*shadow).await;
                }
                Some(report)
            }
            None => None,
        };
        result.map(|done| {
            ApplyOutcome::Done(Box::new(ApplyReport { rehearsal: report, phases: stopwatch.phases, ..done }))
        })
    }
}

/// Lock, ledger, files, drift, plan. Nothing is changed.
async fn prepare(
    project: &Project,
    request: &ApplyRequest,
    operator: &dyn Operator,
) -> Result<Option<Prepared>, Error> {
    let server = project.connect_directly().await?;
    if server.identity.in_recovery {
        return Err(Gate::Standby(project.target.display()).into());
    }
    keep_session(&server.maintenance).await?;
    let lock = lock::take(project, &server, (&request.command, request.wait), operator).await?;
    let migrating = project.target.with_tcp_user_timeout(UNANSWERED);
    let (session, aside) =
        tokio::try_join!(migrating.connect_to_migrate("safe-migrate"), project.target.connect("safe-migrate watch"))?;
    tokio::try_join!(keep_session(&session), keep_session(&aside))?;
    // It writes the lease only, which dies with us and never waits for a standby.
    commit_locally(&aside).await?;
    lock.also_on(&session, project.target.database()).await?;
    let mut state = State::read(project, &session).await?;
    state.refuse_mixed(project).await?;
    if !request.dry_run {
        for id in state.record_squashes(&session, &project.ledger_owners).await? {
            operator.step(&format!("{id} counts as applied: this database has all that it replaces"));
        }
    }
    lock::report_dead(&aside, &state.ledger, operator).await?;
    let plan = match state.plan(&request.selection) {
        Ok(plan) => plan,
        Err(error) => return Err(restore_instead::explain(project, &server, &state, error).await),
    };
    state.refuse_disagreement(&plan)?;
    state.refuse_half_done(&plan)?;
    if plan.is_empty() {
        for missing in &state.check.missing {
            operator.warn(&format!("{missing} is applied, but its file is not here"));
        }
        return Ok(None);
    }
    let before = server.read_schema(project, &aside).await?;
    let accepted_drift =
        drift::refuse_drift(project, &session, &state.ledger, &before, request.accept_drift.as_deref(), operator)
            .await?;
    show_plan(&plan, operator);
    let checks = load_checks(&project.migrations_dir)?;
    let way_back = WayBack::of_role(project, &server.maintenance).await?;
    Ok(Some(Prepared { server, session, aside, lock, state, plan, checks, before, accepted_drift, way_back }))
}

fn show_plan(plan: &Plan, operator: &dyn Operator) {
    let verb = match plan.direction {
        Direction::Apply => "apply",
        Direction::Rollback => "roll back",
    };
    operator.step(&format!(
        "plan {}: {verb} {}",
        plan.hash().short(),
        format_things(plan.steps.len() as u64, "migration")
    ));
    // A plan that is not read whole is read by `safe-migrate plan`.
    let shown = if plan.steps.len() > LISTED { FIRST_OF_MANY } else { LISTED };
    for step in plan.steps.iter().take(shown) {
        operator.step(&format!("  {}", step.migration.id));
    }
    if plan.steps.len() > LISTED {
        operator.step(&format!("  and {} more (`safe-migrate plan` lists them)", plan.steps.len() - shown));
    }
    for note in plan.breaking() {
        operator.warn(&format!("{} breaks: {}", note.migration, note.note));
    }
}

/// What every step of one run works with.
#[derive(Clone, Copy)]
struct Run<'a> {
    project: &'a Project,
    request: &'a ApplyRequest,
    prepared: &'a Prepared,
    store: &'a Store,
    operator: &'a dyn Operator,
    interrupt: &'a Interrupt,
    fence: Option<&'a RaisedFence>,
}

/// What a run goes by; production is not touched without it.
struct Evidence {
    snapshot: SnapshotEvidence,
    rehearsal: RehearsalEvidence,
    way_back: WayBack,
}

impl Run<'_> {
    async fn snapshot(&self, record: &RunRecord) -> Result<SnapshotEvidence, Error> {
        match &self.request.snapshot {
            SnapshotChoice::Skip(reason) => {
                let why = format!("no snapshot is taken ({reason}); a restore will not be possible from this run");
                self.operator.warn(&why);
                return Ok(SnapshotEvidence::Skipped(reason.clone()));
            }
            SnapshotChoice::New if fault::is_off("off.snapshot-first") => {
                return Ok(SnapshotEvidence::Skipped("off".to_owned()));
            }
            choice => {
                let from = (self.project, &self.prepared.server, self.store);
                if let Some(chosen) = choice.there(from, self.operator).await? {
                    return Ok(SnapshotEvidence::Verified(Box::new(chosen)));
                }
            }
        }
        let reason = Reason { run: Some(record.id.clone()), command: self.request.command.clone() };
        let (server, operator) = (&self.prepared.server, self.operator);
        let taken = take_snapshot(self.project, server, self.store, reason, operator, self.interrupt).await?;
        Ok(SnapshotEvidence::Verified(Box::new(taken)))
    }

    /// How far the role could restore the snapshot; a run is refused that promises more.
    async fn way_back(&self, snapshot: &SnapshotEvidence) -> Result<WayBack, Error> {
        let way_back = self.prepared.way_back.clone();
        let SnapshotEvidence::Verified(snapshot) = snapshot else { return Ok(way_back) };
        let (server, id) = (&self.prepared.server, snapshot.id());
        let way_back = way_back.of_snapshot(self.project, server, self.store, id).await?;
        way_back.refuse_none(self.request.accept_no_restore.as_deref())?;
        Ok(way_back)
    }

    async fn gates_and_migrations(
        &self,
        mut record: RunRecord,
        (snapshot, written): (SnapshotEvidence, Counters),
        rehearsal: Option<&Rehearsed>,
        stopwatch: &mut Stopwatch,
    ) -> Result<ApplyReport, Error> {
        let way_back = self.way_back(&snapshot).await?;
        let evidence = Evidence { snapshot, rehearsal: self.receipt(rehearsal)?, way_back };
        if let Some(rehearsal) = rehearsal {
            self.refuse_other_start(rehearsal).await?;
        }
        if let Err(error) = self.refuse_data_loss(&evidence.rehearsal) {
            return Err(self.with_restore_instead(error, &evidence.rehearsal).await);
        }
        self.refuse_denied(rehearsal)?;
        self.name_the_gap(&evidence.snapshot, &written).await?;
        self.name_long_transactions().await?;
        self.name_what_would_stay(&evidence);
        self.refuse_restore_of_foreign_code(&evidence).await?;
        self.confirm(&evidence.snapshot)?;
        self.interrupt.check()?;
        self.refuse_changes_meanwhile().await?;
        self.refuse_unfenced_tables().await?;
        evidence.record_in(&mut record, self.prepared.accepted_drift.as_deref(), self.request);
        record.fingerprint_before = Some(super::json("the fingerprint", &self.prepared.before.record)?);
        stopwatch.phase("gates");
        self.migrate(&evidence, &mut record).await?;
        stopwatch.phase("migrations");
        let verification = self.verify(rehearsal, &evidence, &mut record).await;
        let verification = verification.map_err(|error| verify::unverified(error, &record, &evidence.way_back));
        stopwatch.phase("verification");
        match verification {
            Err(error) => Err(self.not_verified(&evidence, record, error).await),
            Ok(verification) => self.close(record, verification, evidence.way_back).await,
        }
    }
}

impl Evidence {
    /// Writes into the run's record what it goes by, and which safeguard was left out and why.
    fn record_in(&self, record: &mut RunRecord, accepted_drift: Option<&str>, request: &ApplyRequest) {
        let mut bypasses: Vec<String> = accepted_drift.iter().map(|why| format!("drift accepted: {why}")).collect();
        match &self.snapshot {
            SnapshotEvidence::Verified(snapshot) => record.snapshot_id = Some(snapshot.id().to_string()),
            SnapshotEvidence::Skipped(reason) => bypasses.push(format!("no snapshot: {reason}")),
        }
        match &self.rehearsal {
            RehearsalEvidence::Receipt(receipt) => record.rehearsal_id = Some(receipt.rehearsal().to_owned()),
            RehearsalEvidence::Skipped(reason) => bypasses.push(format!("no rehearsal: {reason}")),
        }
        if let (WayBack::None(_), Some(why)) = (&self.way_back, &request.accept_no_restore) {
            bypasses.push(format!("no restore by this role: {why}"));
        }
        record.add_bypass(bypasses);
    }
}
