//! Rehearses a plan on a shadow restored from a snapshot, and tries the way back.

pub(super) mod accepted_loss;
mod believed;
mod bound;
pub(super) mod checks;
pub(super) mod data_effect;
mod failure;
mod findings;
mod normal_forms;
mod own_way_back;
mod phases;
pub(super) mod publish;
mod receipt;
mod restored;
mod row_verdict;
mod step_report;
mod stored_receipt;
pub(super) mod table_comparison;
mod together;
pub(super) mod watch;
mod way_back;
mod why_not;

use time::OffsetDateTime;

use crate::migration::{Direction, Plan, PlanStep};
use crate::postgres::ledger::StepRecord;
use crate::postgres::{ExecuteError, MigratingSession, Programs, RunContext, StatementTrace, Tracer, ledger, run_step};
use crate::report::rehearsal::{RehearsalReport, Verdict, WayBack};
use crate::report::{FindingLevel, FindingReport};
use crate::schema::FingerprintRecord;
use crate::snapshot::{Manifest, SnapshotId, SnapshotReader};
use crate::store::Store;

use super::programs::MigrationPrograms;
use super::schema_reading::{SchemaReading, read_raw_and_normal};
use super::shadow::Shadow;
use super::{Error, Interrupt, Operator, Project, Unit};
use table_comparison::Comparer;
use watch::Watch;
use way_back::Trial;

use accepted_loss::refusals;
pub use accepted_loss::with_accepted;
pub use believed::not_believed;
pub use bound::{BackTrial, Bound, Start, Taken};
pub use normal_forms::{NormalForms, Place};
pub use own_way_back::own_way_back;
pub use phases::Stopwatch;
pub use receipt::{Candidate, Expected, Receipt, RehearsalEvidence, named, newest, refused};
pub use restored::{RestoredShadow, restore};
pub use stored_receipt::bases;
pub use why_not::WhyNot;

pub(super) use receipt::Schemas;
use step_report::{TableSizes, step_report};

/// A rehearsal that ended, with its shadow still running.
#[derive(Debug)]
pub struct Rehearsal {
    /// What it measured.
    pub report: RehearsalReport,
    /// The shadow, after the plan and (when it could be tried) the way back and the plan again.
    pub shadow: Shadow,
    /// Schema of the shadow before the plan.
    pub before: SchemaReading,
    /// What `apply` goes by; none when it failed.
    pub receipt: Option<Receipt>,
}

/// What is rehearsed, on what.
#[derive(Debug)]
pub struct RehearsalRequest<'a> {
    /// The snapshot.
    pub reader: &'a SnapshotReader,
    /// The plan.
    pub plan: &'a Plan,
    /// Role that runs the migrations, production's.
    pub role: &'a str,
    /// Whether the report in memory holds examples of values; the stored one never does.
    pub samples: bool,
    /// Whether `apply` will run the whole plan in one transaction (`--fence`); then that is tried too.
    pub one_transaction: bool,
}

/// Restores the shadow, proves it, runs the plan, measures, and tries the way back.
pub async fn rehearse(
    project: &Project,
    store: &Store,
    programs: &Programs,
    request: RehearsalRequest<'_>,
    operator: &dyn Operator,
    interrupt: &Interrupt,
) -> Result<Rehearsal, Error> {
    // The snapshot of a run is a new one: nothing is kept of it yet, and keeping it would only take time.
    let restored = restore(project, programs, request.reader, None, operator, interrupt).await?;
    rehearse_on(project, store, programs, restored, request, operator, interrupt).await
}

/// Runs the plan on the shadow, measures, and tries the way back.
pub async fn rehearse_on(
    project: &Project,
    store: &Store,
    programs: &Programs,
    restored: RestoredShadow,
    request: RehearsalRequest<'_>,
    operator: &dyn Operator,
    interrupt: &Interrupt,
) -> Result<Rehearsal, Error> {
    let RestoredShadow { shadow, before, started_at, restored_at, mut stopwatch } = restored;
    let manifest = request.reader.manifest();
    let mut report = blank_report((manifest, &before.record), (started_at, restored_at))?;
    direction_name(request.plan.direction).clone_into(&mut report.direction);
    report.plan_hash = request.plan.hash().to_string();
    report.findings = super::findings::of_text(request.plan, &project.policy);
    report.shadow = shadow.judge(project, request.plan, manifest).await?;
    let measured = (&mut report, &mut stopwatch);
    let after =
        interrupt.or(run(project, programs, (&shadow, &before), &request, measured, (operator, interrupt))).await?;
    report.phases = stopwatch.phases;
    report.verdict = verdict(&report);
    report.refusals = refusals(&report, project);
    report.finished_at = OffsetDateTime::now_utc();
    let about = (request.plan, request.role, manifest.database.name.as_str());
    let one_transaction = request.one_transaction;
    let receipt = |hash| {
        let (after, normal) = after.as_ref()?;
        // What another version recorded there is no use, and no obstacle.
        let raw = manifest.fingerprint.clone().and_then(|recorded| serde_json::from_value(recorded).ok());
        Receipt::of(&report, hash, about, &Schemas { before: &before, after, normal, raw, one_transaction })
    };
    let receipt = publish::publish(store, &report, receipt).await?;
    if receipt.is_some() {
        project.remember_receipt(store, &report.id).await;
    }
    Ok(Rehearsal { report, shadow, before, receipt })
}

fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Apply => "apply",
        Direction::Rollback => "rollback",
    }
}

fn verdict(report: &RehearsalReport) -> Verdict {
    if report.failure.is_some() {
        Verdict::Fail
    } else if report.findings.iter().all(is_settled)
        && report.losses.is_empty()
        && report.way_back == WayBack::Reversible
    {
        Verdict::Pass
    } else {
        Verdict::PassWithFindings
    }
}

/// Whether nobody need read it before going on.
fn is_settled(finding: &FindingReport) -> bool {
    finding.allowed.is_some() || finding.level == FindingLevel::Note
}

/// Runs the plan, measures, and tries the way back; a migration's failure is a result, not an error. Returns the schema
/// after the plan, as it is and in normal form.
async fn run(
    project: &Project,
    programs: &Programs,
    (shadow, before): (&Shadow, &SchemaReading),
    request: &RehearsalRequest<'_>,
    (report, stopwatch): (&mut RehearsalReport, &mut Stopwatch),
    (operator, interrupt): (&dyn Operator, &Interrupt),
) -> Result<Option<(SchemaReading, SchemaReading)>, Error> {
    let checks = crate::migration::load_checks(&project.migrations_dir)?;
    stopwatch.phase("schema");
    let template = shadow.keep_template().await?;
    stopwatch.phase("copy");
    let run_id = report.id.clone();
    let around = (shadow.dir(), operator, interrupt);
    let migration_programs = MigrationPrograms::in_shadow(project, &shadow.spec_as(request.role), around).await?;
    report.shadow.extend(migration_programs.not_confined(request.plan));
    let pass = Pass {
        project,
        programs,
        shadow,
        role: request.role,
        run_id: &run_id,
        journal: &[],
        migration_programs: &migration_programs,
    };
    let mut together = None;
    if request.one_transaction {
        together = together::try_together(&pass, request.plan, report).await?;
        stopwatch.phase("one transaction");
        if together.is_none() {
            return Ok(None);
        }
    }
    let session = shadow.connect_as(request.role).await?;
    let checked = checks::run(&session, &checks, &project.execute, request.samples).await;
    ledger::ensure(&session, &pass.project.ledger_owners).await?;
    // What production had begun when the snapshot was taken is gone on with here as there.
    let journal = ledger::Ledger::read(&session).await?.steps;
    let mut watch = Watch::start(&template, &shadow.spec(), &session, may_be_counted(request.plan)).await?;
    stopwatch.phase("preparation");
    let first = Pass { journal: &journal, ..pass };
    let went_through = there(&first, request.plan, &session, &mut watch, report, operator).await?;
    stopwatch.phase("migrations");
    if !went_through {
        return Ok(None);
    }
    let read = (&shadow.spec(), &watch.shadow);
    let (after, normal) = read_raw_and_normal(shadow, programs, read, &project.fingerprint_ignore).await?;
    let samples = if request.samples { SAMPLES } else { 0 };
    measure(&watch, samples, report).await?;
    accepted_loss::mark(&mut report.losses, request.plan);
    let rechecked = checks::run(&session, &checks, &project.execute, request.samples).await;
    report.checks = checks::paired(&checks, checked, rechecked);
    stopwatch.phase("comparison");
    operator.step("trying the way back");
    let trial =
        Trial { pass: &pass, watch: &watch, session: &session, plan: request.plan, schemas: (before, &after), samples };
    report.ways_back = trial.run().await?;
    stopwatch.phase("way back");
    report.way_back = way_back::of_plan(&report.ways_back);
    report.findings = findings::all(request.plan, report, &project.policy, after.schema.invalid_indexes());
    let mut broken = checks::broken(&report.checks, request.plan.direction);
    broken.extend(together::refuse_other_schema(together.as_ref(), &after));
    report.failure = (!broken.is_empty()).then(|| broken.join("; "));
    Ok(Some((after, normal)))
}

/// Examples of each kind that `--samples` shows.
const SAMPLES: usize = 3;

/// Whether the counters of the server tell which tables the plan touches: a superuser's migration can switch them off.
fn may_be_counted(plan: &Plan) -> bool {
    let sections = plan.steps.iter().flat_map(|step| step.migration.down.iter().chain([&step.migration.up]));
    !sections.flat_map(|section| &section.statements).any(|statement| {
        let text = statement.text.to_ascii_lowercase();
        text.contains("track_counts") || text.contains("pg_stat_reset")
    })
}

/// Runs the plan; false when a migration failed.
async fn there(
    pass: &Pass<'_>,
    plan: &Plan,
    session: &MigratingSession,
    watch: &mut Watch,
    report: &mut RehearsalReport,
    operator: &dyn Operator,
) -> Result<bool, Error> {
    let tracer = Tracer::new(pass.shadow.spec().connect("safe-migrate rehearsal trace").await?).await?;
    let mut sizes = TableSizes::default();
    operator.begin("rehearsing", Some(plan.steps.len() as u64), Unit::Items);
    for (index, step) in plan.steps.iter().enumerate() {
        match pass.step(session, step, Some(&tracer)).await {
            Ok(statements) => {
                let effects = tracer.take();
                report.tables = sizes.with(&effects);
                report.steps.push(step_report(step, &statements, effects));
            }
            Err(error) => {
                report.failure = Some(failure::failure(step, &error));
                report.failed_at = Some(failure::failed_at(step, &error));
                report.advice = failure::advice(&error, false);
                operator.finish("stopped");
                return Ok(false);
            }
        }
        watch.step_done(session, index + 1 == plan.steps.len()).await?;
        operator.advance(1);
    }
    operator.finish("done");
    Ok(true)
}

/// What the plan did to the data.
async fn measure(watch: &Watch, samples: usize, report: &mut RehearsalReport) -> Result<(), Error> {
    let comparer = Comparer { template: &watch.template, shadow: &watch.shadow, samples };
    if let [before, .., after] = watch.moments.as_slice() {
        let effect = data_effect::measure(&comparer, &before.tables, &after.tables).await?;
        (report.row_changes, report.value_changes) = (effect.row_changes, effect.value_changes);
        (report.losses, report.compared) = (effect.losses, effect.compared);
    }
    Ok(())
}

/// One pass over steps on the shadow, as production's role.
#[derive(Clone, Copy)]
struct Pass<'a> {
    project: &'a Project,
    programs: &'a Programs,
    shadow: &'a Shadow,
    role: &'a str,
    run_id: &'a str,
    /// Steps that were begun before.
    journal: &'a [StepRecord],
    /// Runs the programs of migrations.
    migration_programs: &'a MigrationPrograms<'a>,
}

impl Pass<'_> {
    /// Runs one step exactly as production would, after checking once more that this is the shadow.
    async fn step(
        &self,
        session: &MigratingSession,
        step: &PlanStep,
        tracer: Option<&Tracer>,
    ) -> Result<Vec<StatementTrace>, Error> {
        self.shadow.check(session).await?;
        let spec = self.shadow.spec_as(self.role);
        let options = &self.project.execute;
        let context = RunContext {
            programs: Some(self.migration_programs),
            spec: &spec,
            run_id: self.run_id,
            journal: self.journal,
            options,
            tracer,
            maintenance: &self.project.maintenance_database,
            watcher: None,
            locks: None,
        };
        Ok(run_step(session, step, context, &|_: &ExecuteError, _| {}).await?)
    }
}

/// The report of a rehearsal that has found out nothing yet.
pub(super) fn blank_report(
    (manifest, starting): (&Manifest, &FingerprintRecord),
    (started_at, restored_at): (OffsetDateTime, Option<OffsetDateTime>),
) -> Result<RehearsalReport, Error> {
    Ok(RehearsalReport {
        schema: 1,
        id: SnapshotId::generate(started_at).to_string(),
        source: manifest.source.clone(),
        snapshot: manifest.id.to_string(),
        direction: String::new(),
        plan_hash: String::new(),
        starting_fingerprint: super::json("the fingerprint", starting)?,
        server_major: manifest.server.version_num / 10_000,
        started_at,
        finished_at: started_at,
        steps: Vec::new(),
        row_changes: Vec::new(),
        value_changes: Vec::new(),
        losses: Vec::new(),
        compared: Vec::new(),
        way_back: WayBack::NotTried,
        ways_back: Vec::new(),
        checks: Vec::new(),
        findings: Vec::new(),
        failure: None,
        failed_at: None,
        advice: None,
        verdict: Verdict::Fail,
        refusals: Vec::new(),
        shadow: Vec::new(),
        restored_at,
        phases: Vec::new(),
        tables: Vec::new(),
        server_version: manifest.server.version.clone(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        snapshot_taken_at: Some(manifest.finished_at),
    })
}
