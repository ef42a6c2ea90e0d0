//! Rehearses a plan on a shadow restored from a snapshot, and tries the way back.

mod data_effect;
mod receipt;
mod step_report;

use time::OffsetDateTime;

use crate::migration::{Direction, Plan, PlanStep};
use crate::postgres::{
    ExecuteError, Programs, RunContext, Session, StatementTrace, Tracer, contents, ledger, run_step,
};
use crate::report::rehearsal::{RehearsalReport, Verdict, WayBack};
use crate::snapshot::{SnapshotId, SnapshotReader};
use crate::store::{ObjectKey, Store};

use super::schema_reading::{SchemaReading, read_raw};
use super::shadow::Shadow;
use super::{Error, Interrupt, Operator, Project, Unit};

pub use receipt::{Receipt, RehearsalEvidence};
use step_report::step_report;

/// A rehearsal that ended, with its shadow still running.
#[derive(Debug)]
pub struct Rehearsal {
    /// What it measured.
    pub report: RehearsalReport,
    /// The shadow, after the plan and (when it could be tried) the way back and the plan again.
    pub shadow: Shadow,
    /// Schema of the shadow before the plan.
    pub before: SchemaReading,
    /// Schema of the shadow after the plan; none when it failed.
    pub after: Option<SchemaReading>,
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
}

/// A snapshot restored into a shadow and proven, before anything is run on it.
#[derive(Debug)]
pub struct RestoredShadow {
    /// The shadow.
    pub shadow: Shadow,
    /// Its schema.
    pub before: SchemaReading,
    started_at: OffsetDateTime,
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
    let restored = restore(project, programs, request.reader, operator, interrupt).await?;
    rehearse_on(project, store, programs, restored, request, operator, interrupt).await
}

/// Restores the snapshot into a shadow and proves that the one is the other.
pub async fn restore(
    project: &Project,
    programs: &Programs,
    reader: &SnapshotReader,
    operator: &dyn Operator,
    interrupt: &Interrupt,
) -> Result<RestoredShadow, Error> {
    let started_at = OffsetDateTime::now_utc();
    operator.step("restoring the snapshot into a shadow");
    let (shadow, proof) =
        Shadow::restore(project, programs, reader, Some(project.target.user()), operator, interrupt).await?;
    if !proof.differences.is_empty() {
        return Err(super::Gate::ProofFailed(proof.differences).into());
    }
    let before = read_raw(programs, &shadow.spec(), &project.fingerprint_ignore).await?;
    Ok(RestoredShadow { shadow, before, started_at })
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
    let RestoredShadow { shadow, before, started_at } = restored;
    let manifest = request.reader.manifest();
    let mut report = RehearsalReport {
        schema: 1,
        id: SnapshotId::generate(started_at).to_string(),
        source: manifest.source.clone(),
        snapshot: manifest.id.to_string(),
        direction: direction_name(request.plan.direction).to_owned(),
        plan_hash: request.plan.hash().to_string(),
        starting_fingerprint: super::json("the fingerprint", &before.record)?,
        server_major: manifest.server.version_num / 10_000,
        started_at,
        finished_at: started_at,
        steps: Vec::new(),
        row_changes: Vec::new(),
        losses: Vec::new(),
        way_back: WayBack::NotTried,
        findings: lint_findings(request.plan),
        failure: None,
        verdict: Verdict::Fail,
        shadow: shadow.judge(project, request.plan, manifest)?,
    };
    let after = interrupt.or(run(project, programs, &shadow, &request, &mut report, operator)).await?;
    report.verdict = verdict(&report);
    report.finished_at = OffsetDateTime::now_utc();
    publish(store, &report).await?;
    Ok(Rehearsal { report, shadow, before, after })
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
    } else if report.findings.is_empty() && report.losses.is_empty() && report.way_back == WayBack::Reversible {
        Verdict::Pass
    } else {
        Verdict::PassWithFindings
    }
}

fn lint_findings(plan: &Plan) -> Vec<String> {
    let findings = crate::lint::data_loss(plan);
    findings.iter().filter(|finding| finding.allowed.is_none()).map(ToString::to_string).collect()
}

async fn publish(store: &Store, report: &RehearsalReport) -> Result<(), Error> {
    let key = ObjectKey::new(format!("rehearsals/{}/report.json", report.id))?;
    let body = serde_json::to_vec_pretty(report)
        .map_err(|source| Error::Json { what: "cannot write the rehearsal's report".to_owned(), source })?;
    Ok(store.put(&key, body.into()).await?)
}

/// Runs the plan, measures, and tries the way back; a migration's failure is a result, not an error.
async fn run(
    project: &Project,
    programs: &Programs,
    shadow: &Shadow,
    request: &RehearsalRequest<'_>,
    report: &mut RehearsalReport,
    operator: &dyn Operator,
) -> Result<Option<SchemaReading>, Error> {
    let template = shadow.keep_template().await?;
    let session = shadow.connect_as(request.role).await?;
    ledger::ensure(&session).await?;
    let tracer = Tracer::new(shadow.spec().connect("safe-migrate rehearsal trace").await?).await?;
    operator.begin("rehearsing", Some(request.plan.steps.len() as u64), Unit::Items);
    let pass = Pass { project, shadow, role: request.role, run_id: &report.id.clone() };
    for step in &request.plan.steps {
        match pass.step(&session, step, Some(&tracer)).await {
            Ok(statements) => report.steps.push(step_report(step, &statements, tracer.take())),
            Err(error) => {
                report.failure = Some(failure(step, &error));
                operator.finish("stopped");
                return Ok(None);
            }
        }
        operator.advance(1);
    }
    operator.finish("done");
    let after = read_raw(programs, &shadow.spec(), &project.fingerprint_ignore).await?;
    let admin = shadow.spec().connect("safe-migrate rehearsal after").await?;
    let effect = data_effect::measure(&template, &admin).await?;
    (report.row_changes, report.losses) = (effect.row_changes, effect.losses);
    operator.step("trying the way back");
    report.way_back = way_back(programs, &pass, request.plan, (&template, &session), &after).await?;
    if let Some(finding) = invalid_indexes_finding(&after) {
        report.findings.push(finding);
    }
    Ok(Some(after))
}

/// What failed; a statement's error names the file already.
fn failure(step: &PlanStep, error: &Error) -> String {
    match error {
        Error::Execute(ExecuteError::Statement { .. } | ExecuteError::Step { .. }) => error.to_string(),
        _ => format!("{}: {error}", step.migration.id),
    }
}

fn invalid_indexes_finding(after: &SchemaReading) -> Option<String> {
    let invalid = after.schema.invalid_indexes();
    (!invalid.is_empty()).then(|| format!("invalid indexes afterwards: {}", invalid.join(", ")))
}

/// One pass over steps on the shadow, as production's role.
struct Pass<'a> {
    project: &'a Project,
    shadow: &'a Shadow,
    role: &'a str,
    run_id: &'a str,
}

impl Pass<'_> {
    /// Runs one step exactly as production would, after checking once more that this is the shadow.
    async fn step(
        &self,
        session: &Session,
        step: &PlanStep,
        tracer: Option<&Tracer>,
    ) -> Result<Vec<StatementTrace>, Error> {
        self.shadow.check(session).await?;
        let spec = self.shadow.spec_as(self.role);
        let options = &self.project.execute;
        let context = RunContext { spec: &spec, run_id: self.run_id, journal: &[], options, tracer };
        Ok(run_step(session, step, context, &|_: &ExecuteError, _| {}).await?)
    }

    async fn steps(&self, session: &Session, steps: &[PlanStep]) -> Result<(), (String, Error)> {
        for step in steps {
            self.step(session, step, None).await.map_err(|error| (step.migration.id.to_string(), error))?;
        }
        Ok(())
    }
}

/// The plan's steps undone, in reverse order.
fn reversed(plan: &Plan) -> Vec<PlanStep> {
    let opposite = match plan.direction {
        Direction::Apply => Direction::Rollback,
        Direction::Rollback => Direction::Apply,
    };
    plan.steps.iter().rev().map(|step| PlanStep { migration: step.migration.clone(), direction: opposite }).collect()
}

/// Down and up again: is everything as it was, and is the second pass equal to the first?
async fn way_back(
    programs: &Programs,
    pass: &Pass<'_>,
    plan: &Plan,
    (template, session): (&crate::postgres::ConnectionSpec, &Session),
    after: &SchemaReading,
) -> Result<WayBack, Error> {
    if let Some(step) = plan.steps.iter().find(|step| step.migration.down.is_none()) {
        return Ok(WayBack::Irreversible(format!("{} has no down section", step.migration.id)));
    }
    if let Err((migration, error)) = pass.steps(session, &reversed(plan)).await {
        return Ok(WayBack::Irreversible(format!("undoing {migration} failed: {error}")));
    }
    let ignore = &pass.project.fingerprint_ignore;
    let mut differences = Vec::new();
    let old = template.connect("safe-migrate rehearsal before").await?;
    let admin = pass.shadow.spec().connect("safe-migrate rehearsal back").await?;
    differences.extend(data_effect::count_differences(&contents::read(&old).await?, &contents::read(&admin).await?));
    let start = read_raw(programs, template, ignore).await?;
    let back = read_raw(programs, &pass.shadow.spec(), ignore).await?;
    let schema = start.schema.difference(&back.schema);
    if !schema.is_empty() {
        differences.push(format!("the schema is not as before (- before, + after going back):\n{schema}"));
    }
    if let Err((migration, error)) = pass.steps(session, &plan.steps).await {
        differences.push(format!("running {migration} a second time failed: {error}"));
        return Ok(WayBack::Differs(differences));
    }
    let again = read_raw(programs, &pass.shadow.spec(), ignore).await?;
    let second = after.schema.difference(&again.schema);
    if !second.is_empty() {
        differences.push(format!("the second pass built another schema (- first, + second):\n{second}"));
    }
    Ok(if differences.is_empty() { WayBack::Reversible } else { WayBack::Differs(differences) })
}
