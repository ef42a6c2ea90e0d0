//! What becomes of production when a run fails after it was changed: `[on_failure] after = "stop" | "rollback" | "restore"`.

use crate::migration::{Direction, PlanStep};
use crate::postgres::{Ledger, LockWatch, ProgramRunner, RunContext, RunRecord, ledger, run_step};
use crate::report::format_things;
use crate::report::rehearsal::Reversibility;
use crate::snapshot::{SnapshotId, SnapshotReader};

use super::super::fill::Failing;
use super::super::proof::ProofLevel;
use super::super::rehearse::RehearsalEvidence;
use super::super::restore::{Destination, RestoreRequest, foreign_code, restore_within_run};
use super::super::shadow::OUTSIDE_LINKS;
use super::super::{Error, Gate, Project};
use super::migrate::Cancelling;
use super::{ApplyRequest, Evidence, Fence, Run, SnapshotChoice, SnapshotEvidence};

/// `[on_failure] after`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AfterFailure {
    /// Production stays as the failure left it; the report says how to go on.
    #[default]
    Stop,
    /// What the run applied is undone by its down sections, when the rehearsal proved them.
    Rollback,
    /// The run's snapshot is put in the place of the database.
    Restore,
}

/// What was done about a failure.
pub(super) struct Undone {
    /// For the record of the run; none: as the failure itself says.
    pub outcome: Option<&'static str>,
    /// What production is now; none: as the failure left it.
    pub production: Option<String>,
    /// Whether it is proved to be as before the run.
    pub as_before: bool,
    /// Why it was not undone, or what to do next.
    pub remark: Option<String>,
    /// Whether the ledger that is live now is an older one, which does not know the run.
    pub other_ledger: bool,
}

impl Undone {
    fn nothing(remark: Option<String>) -> Self {
        Self { outcome: None, production: None, as_before: false, remark, other_ledger: false }
    }
}

/// A restore loses what was written since the snapshot, so nobody may have written: asked before the snapshot is taken.
pub(super) fn refuse_restore_without_fence(project: &Project, request: &ApplyRequest) -> Result<(), Error> {
    if project.on_failure != AfterFailure::Restore || crate::fault::is_off("off.fence-for-restore") {
        return Ok(());
    }
    let why = match (&request.snapshot, request.fence) {
        (SnapshotChoice::New, Some(Fence::Closed)) => return Ok(()),
        (SnapshotChoice::New, _) => "needs --fence=closed: without it writes since the snapshot would be lost",
        (SnapshotChoice::Skip(_), _) => "needs the snapshot that --skip-snapshot leaves out",
        _ => "needs a snapshot taken behind the fence (--snapshot new): writes since an older one would be lost",
    };
    Err(Gate::RestoreAfterFailure(why.to_owned()).into())
}

impl Run<'_> {
    /// Says before the question what would not be undone.
    pub(super) fn name_what_would_stay(&self, evidence: &Evidence) {
        if self.project.on_failure == AfterFailure::Rollback
            && let Err(why) = self.proven_ways_back(evidence, &self.prepared.plan.steps)
        {
            self.operator
                .warn(&format!("a failure may leave what was done by then, whatever [on_failure] says: {why}"));
        }
    }

    /// Where a failure is to be restored, functions of others must not stand in the way of that: then nobody is asked.
    pub(super) async fn refuse_restore_of_foreign_code(&self, evidence: &Evidence) -> Result<(), Error> {
        let (AfterFailure::Restore, SnapshotEvidence::Verified(snapshot)) =
            (self.project.on_failure, &evidence.snapshot)
        else {
            return Ok(());
        };
        let reader = SnapshotReader::open(self.store, snapshot.id()).await?;
        let found = foreign_code(self.project, &self.prepared.server, &reader).await?;
        if found.code.is_empty() || found.is_loaded_by_owners() {
            return Ok(());
        }
        Err(Gate::ForeignCode(found.code).into())
    }

    /// Does what `[on_failure]` says about a run that failed after `done` steps. A run that the operator stops just stops.
    pub(super) async fn after_failure(
        &self,
        evidence: &Evidence,
        record: &mut RunRecord,
        done: usize,
        error: &Error,
    ) -> Undone {
        let wanted = self.project.on_failure;
        if wanted == AfterFailure::Stop || self.interrupt.check().is_err() {
            return Undone::nothing(None);
        }
        if let Error::Gate(gate) = error {
            let why = format!("nothing is undone on changed ground: {gate}");
            return Undone::nothing(Some(why));
        }
        self.operator.warn(&format!("the run failed: {error}"));
        let undone = match wanted {
            AfterFailure::Restore => self.restore_own_snapshot(evidence, record).await,
            _ => self.roll_back(evidence, record, done, error).await,
        };
        undone.unwrap_or_else(|why| {
            let verb = if wanted == AfterFailure::Restore { "restored" } else { "rolled back" };
            Undone::nothing(Some(format!("it was not {verb}: {why}")))
        })
    }

    /// Undoes the first `done` steps, the last one first. The error says why nothing was undone.
    async fn roll_back(
        &self,
        evidence: &Evidence,
        record: &mut RunRecord,
        done: usize,
        error: &Error,
    ) -> Result<Undone, String> {
        let steps = &self.prepared.plan.steps[..done];
        if self.prepared.plan.direction == Direction::Rollback {
            return Err("a rollback is not undone by applying again".to_owned());
        }
        if matches!(error, Error::Execute(error) if error.left_changes()) {
            return Err(
                "the step that failed runs outside a transaction, and no down section undoes half of it".to_owned()
            );
        }
        if self.prepared.session.is_closed() {
            return Err("the session that migrates was lost, and the lock with it".to_owned());
        }
        self.proven_ways_back(evidence, steps)?;
        let journal = Ledger::read(&self.prepared.session).await.map_err(|error| error.to_string())?.steps;
        let locks = LockWatch::new(&self.prepared.aside, self.project.execute.max_queue);
        let context = RunContext {
            programs: None,
            spec: &self.project.target,
            run_id: &record.id,
            journal: &journal,
            options: &self.project.execute,
            tracer: None,
            locks: Some(&locks),
            maintenance: &self.project.maintenance_database,
            watcher: None,
        };
        self.operator.step(&format!("rolling back {}", format_things(done as u64, "migration")));
        for (index, step) in steps.iter().enumerate().rev() {
            if let Err(error) = self.undo(record, context, &steps[..=index], step).await {
                let undone = done - index - 1;
                let production =
                    format!("{undone} of the {done} migrations that it applied are rolled back, then: {error}");
                self.record_schema(record).await;
                return Ok(Undone { production: Some(production), ..Undone::nothing(None) });
            }
            self.operator.step(&format!("rolled back {}", step.migration.id));
        }
        Ok(self.compared_with_before(record, done).await)
    }

    async fn undo(
        &self,
        record: &RunRecord,
        context: RunContext<'_>,
        applied: &[PlanStep],
        step: &PlanStep,
    ) -> Result<(), Error> {
        self.interrupt.check()?;
        self.refuse_other_ground(record, applied).await?;
        crate::fault::point("failure.rolling-back");
        let undo = PlanStep { migration: step.migration.clone(), direction: Direction::Rollback };
        let retry = |error: &crate::postgres::ExecuteError, attempt: u32| {
            self.operator.warn(&format!("{}: {error}; trying again ({attempt})", step.migration.id));
        };
        let programs = self.programs_of(&undo).await?;
        let programs = programs.as_ref().map(|programs| programs as &dyn ProgramRunner);
        let context = RunContext { programs, ..context };
        self.cancel_on_interrupt(Cancelling::of(&undo), run_step(&self.prepared.session, &undo, context, &retry))
            .await?;
        Ok(())
    }

    /// The rehearsal must have found that each of these steps is undone by its down section, schema and data.
    fn proven_ways_back(&self, evidence: &Evidence, steps: &[PlanStep]) -> Result<(), String> {
        let RehearsalEvidence::Receipt(receipt) = &evidence.rehearsal else {
            return Err("no rehearsal proved the down sections".to_owned());
        };
        let ways = &receipt.report().ways_back;
        for step in steps {
            let id = step.migration.id.to_string();
            let Some(way) = ways.iter().find(|way| way.migration == id) else {
                return Err(format!("the rehearsal says nothing of the way back of {id}"));
            };
            if way.verdict != Reversibility::Reversible {
                let losses = way.losses.iter().map(|loss| loss.what.clone());
                let why: Vec<String> = way.why.iter().cloned().chain(losses).collect();
                return Err(format!("the rehearsal found that {id} cannot be undone: {}", why.join("; ")));
            }
        }
        Ok(())
    }

    /// Proves that production is as before: by the fingerprint of its schema and by its ledger.
    async fn compared_with_before(&self, record: &mut RunRecord, done: usize) -> Undone {
        let rolled_back = format!("all {} that it applied are rolled back", format_things(done as u64, "migration"));
        let reading = match self.read_and_keep(record).await {
            Ok(reading) => reading,
            Err(error) => {
                let production = format!("{rolled_back}, but it could not be compared with what it was: {error}");
                return Undone { production: Some(production), ..Undone::nothing(None) };
            }
        };
        let before = &self.prepared.before;
        let ledger = self.refuse_other_ground(record, &[]).await;
        let production = match ledger {
            Err(error) => format!("{rolled_back}, but: {error}"),
            Ok(()) if reading.record.hash == before.record.hash => {
                let production = format!("{rolled_back}; schema and ledger are as before");
                return Undone {
                    outcome: Some("rolled back"),
                    production: Some(production),
                    as_before: true,
                    ..Undone::nothing(None)
                };
            }
            Ok(()) => {
                let (was, is) = (before.schema.withholding(OUTSIDE_LINKS), reading.schema.withholding(OUTSIDE_LINKS));
                format!("{rolled_back}, but the schema is not as before (- before, + now):\n{}", was.difference(&is))
            }
        };
        Undone { production: Some(production), ..Undone::nothing(None) }
    }

    /// Puts the run's own snapshot in the place of the database, under the lock that the run holds.
    async fn restore_own_snapshot(&self, evidence: &Evidence, record: &mut RunRecord) -> Result<Undone, String> {
        let SnapshotEvidence::Verified(snapshot) = &evidence.snapshot else {
            return Err("there is no snapshot".to_owned());
        };
        if !self.is_closed() && !crate::fault::is_off("off.fence-for-restore") {
            return Err("the fence is down already, and what was written since would be lost".to_owned());
        }
        let (prepared, id): (_, &SnapshotId) = (self.prepared, snapshot.id());
        let held = prepared.lock.is_held_by_maintenance(&prepared.server.maintenance).await;
        if !held.map_err(|error| error.to_string())? {
            return Err("this run no longer holds its lock".to_owned());
        }
        crate::fault::point("failure.restoring");
        let request = RestoreRequest {
            snapshot: id.clone(),
            destination: Destination::InPlace,
            roles: false,
            proof: ProofLevel::Rows,
            prove_later: false,
            without: Vec::new(),
            ignore_space: false,
            run_foreign_code: None,
            // Production had them like that.
            failing: Failing { not_valid: true, ..Failing::default() },
            command: format!("restore {id} --in-place"),
        };
        let restored =
            restore_within_run(self.project, self.store, &prepared.server, &request, self.operator, self.interrupt);
        let report = restored.await.map_err(|error| error.to_string())?;
        record.fingerprint_after = None;
        let kept = report.swap.as_ref().and_then(|swap| swap.kept.clone()).unwrap_or_default();
        Ok(Undone {
            outcome: Some("restored"),
            production: Some(format!(
                "restored from snapshot {id} and proven; the database of the failed run is kept as \"{kept}\""
            )),
            as_before: true,
            remark: Some(format!(
                "correct the migration and run the command again; to drop the kept database: safe-migrate restore \
                 --drop-old {}",
                report.run.id
            )),
            other_ledger: true,
        })
    }

    /// The restored ledger is of before the run: it learns of it now.
    pub(super) async fn record_in_restored(&self, record: &RunRecord) -> Result<(), Error> {
        let session = self.project.target.connect("safe-migrate").await?;
        ledger::record(&session, &self.project.ledger_owners, record).await?;
        session.close().await;
        Ok(())
    }
}
