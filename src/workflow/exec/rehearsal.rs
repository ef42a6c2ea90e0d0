//! The command on the shadow: the probe, the run, what it did, and for Django the way back.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::migration::{Direction, Plan};
use crate::postgres::foreign_trace::{self, ForeignTrace};
use crate::postgres::{Endpoint, Mark, Programs, Session, words_that_confine};
use crate::report::FindingLevel;
use crate::report::rehearsal::{RehearsalReport, Verdict, WayBack};
use crate::snapshot::SnapshotReader;
use crate::store::Store;

use super::super::rehearse::accepted_loss::refusals;
use super::super::rehearse::data_effect::{DataEffect, measure};
use super::super::rehearse::publish::publish;
use super::super::rehearse::table_comparison::Comparer;
use super::super::rehearse::watch::Watch;
use super::super::rehearse::{RestoredShadow, blank_report, restore};
use super::super::schema_reading::{SchemaReading, read_raw, read_raw_and_normal};
use super::super::shadow::Shadow;
use super::super::{Error, Interrupt, Operator, Project};
use super::django::{Django, Listed, way_back};
use super::django_probe::Squashed;
use super::probe::{self, Probe, log_unreadable};
use super::program::Surroundings;
use super::{BackTrial, ExecRequest, seen};

/// How long sessions of the command may outlive it.
const LEAVING: Duration = Duration::from_secs(10);

/// Tables in which tools keep what is applied: Django, Alembic, Rails and dbmate, Knex, Sequelize, Prisma, Flyway, sqlx,
/// goose, Diesel.
const HISTORIES: [&str; 11] = [
    "django_migrations",
    "alembic_version",
    "schema_migrations",
    "knex_migrations",
    "knex_migrations_lock",
    "SequelizeMeta",
    "_prisma_migrations",
    "flyway_schema_history",
    "_sqlx_migrations",
    "goose_db_version",
    "__diesel_schema_migrations",
];
/// A rehearsal of a wrapped command, with its shadow still running.
#[derive(Debug)]
pub(super) struct Rehearsed {
    /// What it measured.
    pub(super) report: RehearsalReport,
    /// The shadow.
    pub(super) shadow: Shadow,
    /// Its schema before, and after the command in normal form; none: the command failed.
    pub(super) schemas: Option<(SchemaReading, SchemaReading)>,
    /// Whether the command changed anything.
    pub(super) changed: bool,
    /// Django's list before the command.
    pub(super) listed: Option<Vec<Listed>>,
    /// Those of Django's migrations that replaced others, before the command.
    pub(super) squashed: Vec<Squashed>,
}

/// Restores the snapshot, runs the command on it, and measures.
pub(super) async fn rehearse(
    (project, store, programs): (&Project, &Store, &Programs),
    reader: &SnapshotReader,
    request: &ExecRequest,
    operator: &dyn Operator,
    interrupt: &Interrupt,
) -> Result<Rehearsed, Error> {
    let restored = restore(project, programs, reader, None, operator, interrupt).await?;
    let manifest = reader.manifest();
    let nothing = Plan { direction: Direction::Apply, steps: Vec::new() };
    let RestoredShadow { shadow, before, started_at, restored_at, stopwatch } = restored;
    let mut report = blank_report((manifest, &before.record), (started_at, restored_at))?;
    "exec".clone_into(&mut report.direction);
    report.shadow = shadow.judge(project, &nothing, manifest).await?;
    let role = project.target.user();
    let endpoint = shadow.spec_as(role).endpoint().await?;
    let confined_by = words_that_confine(shadow.dir());
    if confined_by.is_none() {
        report.shadow.push("the command was not cut off from the network, only told to go to the shadow".to_owned());
    }
    let ground =
        Ground { project, programs, request, shadow: &shadow, endpoint: &endpoint, confined_by, operator, interrupt };
    let mut stopwatch = stopwatch;
    stopwatch.phase("schema");
    let ran = ground.run(&before, &mut report).await?;
    stopwatch.phase("command");
    report.phases = stopwatch.phases;
    let settled = report.findings.iter().all(|one| one.level == FindingLevel::Note);
    report.verdict = match (&report.failure, &report.way_back) {
        (Some(_), _) => Verdict::Fail,
        (None, WayBack::Reversible) if report.losses.is_empty() && settled => Verdict::Pass,
        _ => Verdict::PassWithFindings,
    };
    report.plan_hash = hash(request, ran.schemas.as_ref(), &report);
    report.refusals = refusals(&report, project);
    report.finished_at = OffsetDateTime::now_utc();
    publish(store, &report, |_| None).await?;
    let Ran { schemas, changed, listed, squashed } = ran;
    let schemas = schemas.map(|(_, normal)| (before, normal));
    Ok(Rehearsed { report, shadow, schemas, changed, listed, squashed })
}

/// Binds the command to what it led to and what it loses.
fn hash(request: &ExecRequest, schemas: Option<&(SchemaReading, SchemaReading)>, report: &RehearsalReport) -> String {
    let mut parts = request.command.words.clone();
    parts.extend(schemas.map(|(_, normal)| normal.record.hash.to_string()));
    parts.extend(report.losses.iter().map(|loss| format!("  {}", loss.what)));
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    hex::encode(hasher.finalize())
}

/// What every step on the shadow works with.
pub(super) struct Ground<'a> {
    project: &'a Project,
    programs: &'a Programs,
    pub(super) request: &'a ExecRequest,
    pub(super) shadow: &'a Shadow,
    endpoint: &'a Endpoint,
    confined_by: Option<Vec<OsString>>,
    pub(super) operator: &'a dyn Operator,
    pub(super) interrupt: &'a Interrupt,
}

#[derive(Default)]
struct Ran {
    /// After the command, raw and normal.
    schemas: Option<(SchemaReading, SchemaReading)>,
    changed: bool,
    listed: Option<Vec<Listed>>,
    squashed: Vec<Squashed>,
}

impl Ground<'_> {
    pub(super) fn around(&self) -> Surroundings<'_> {
        let confined_by = self.confined_by.as_deref().unwrap_or_default();
        Surroundings { endpoint: self.endpoint, confined_by, tell: None }
    }

    pub(super) async fn read_raw(&self) -> Result<SchemaReading, Error> {
        read_raw(self.programs, &self.shadow.spec(), &self.project.fingerprint_ignore).await
    }

    fn django(&self) -> Option<&Django> {
        match &self.request.probe {
            Probe::Django(django) => Some(django),
            Probe::Program(_) => None,
        }
    }

    async fn listed(&self) -> Result<Option<Vec<Listed>>, Error> {
        match self.django() {
            Some(django) => django.listed(&self.request.command, self.around(), self.interrupt).await,
            None => Ok(None),
        }
    }

    async fn run(&self, before: &SchemaReading, report: &mut RehearsalReport) -> Result<Ran, Error> {
        let template = self.shadow.keep_template().await?;
        let spec = self.shadow.spec();
        let session = spec.connect("safe-migrate rehearsal").await?;
        self.shadow.check(&session).await?;
        let mut watch = Watch::start(&template, &spec, &session, session.server_version_num() >= 150_000).await?;
        let trace = ForeignTrace::start(&session, spec.database(), &self.shadow.dir().join("server.log")).await?;
        let mark = Mark::read(&session, spec.database()).await?.map(|mark| mark.to_string()).unwrap_or_default();
        let asked = probe::Shadow { mark: &mark, trace: &trace, confined: self.confined_by.is_some() };
        let around = (self.around(), self.operator, self.interrupt);
        let squashed = probe::refuse_elsewhere(&self.request.command, &self.request.probe, &asked, around).await?;
        let listed = self.listed().await?;
        let of_itself = match self.django() {
            Some(django) => django.project(&self.request.command, self.around(), self.interrupt).await?,
            None => None,
        };
        let already = trace.statements().map_err(log_unreadable)?.len();

        self.interrupt.check()?;
        self.shadow.check(&session).await?;
        let words = self.request.command.display();
        self.operator.step(&format!("rehearsing on the shadow: {words}"));
        let begun = Instant::now();
        let tell = |line: &str| self.operator.step(&format!("  shadow | {line}"));
        let around = Surroundings { tell: Some(&tell), ..self.around() };
        let ended = self.request.command.run(around, self.interrupt).await?;
        let milliseconds = begun.elapsed().as_secs_f64() * 1000.0;
        wait_until_alone(&session).await?;
        let (events, logged) = trace.finish(&session).await?;
        let logged = logged.map_err(log_unreadable)?;
        report.steps.push(seen::step(&words, milliseconds, logged.get(already..).unwrap_or_default(), &events));
        if !ended.status.success() {
            report.failure = Some(format!("`{words}` ended on the shadow with {}", ended.why()));
            return Ok(Ran { listed, squashed, ..Ran::default() });
        }
        self.interrupt.check()?;
        let (after, normal) =
            read_raw_and_normal(self.shadow, self.programs, &spec, &self.project.fingerprint_ignore).await?;
        let mut effect = self.effect(&mut watch, &session).await?;
        let changed = after.record.hash != before.record.hash || !effect.is_nothing();
        // A row of such a table is gone when less is applied, or when there is one row for all.
        effect.losses.retain(|loss| !loss.object.rsplit('.').next().is_some_and(|table| HISTORIES.contains(&table)));
        (report.row_changes, report.value_changes) = (effect.row_changes, effect.value_changes);
        (report.losses, report.compared) = (effect.losses, effect.compared);
        if let (Some(django), Some(before_list)) = (self.django(), &listed) {
            let after_list = self.listed().await?.unwrap_or_default();
            let applied: Vec<&Listed> =
                after_list.iter().filter(|one| one.applied && !before_list.contains(one)).collect();
            report.findings = of_itself.unwrap_or_default().findings(&applied, &self.project.policy);
            let from_nothing = !before_list.iter().any(|one| one.applied);
            let why_not = match self.request.way_back {
                BackTrial::Skip => Some("--way-back skip"),
                BackTrial::Auto if from_nothing => {
                    Some("no migration was applied before; --way-back once tries it all the same")
                }
                BackTrial::Auto | BackTrial::Once => None,
            };
            match why_not {
                Some(why) => report.shadow.push(format!("the way back was not tried: {why}")),
                None => {
                    let back = way_back(before_list, &after_list);
                    report.way_back = self.back(django, back, (before, &after), (&mut watch, &session)).await?;
                }
            }
        }
        Ok(Ran { schemas: Some((after, normal)), changed, listed, squashed })
    }

    /// What became of the rows since the copy was made.
    pub(super) async fn effect(&self, watch: &mut Watch, session: &Session) -> Result<DataEffect, Error> {
        let now = watch.moment(session).await?;
        let comparer = Comparer { template: &watch.template, shadow: &watch.shadow, samples: 0 };
        let Some(before) = watch.moments.first() else { return Ok(DataEffect::default()) };
        Ok(measure(&comparer, &before.tables, &now.tables).await?)
    }
}

/// Waits until the sessions of a program that ended are gone: what they wrote is counted when they go.
pub(super) async fn wait_until_alone(session: &Session) -> Result<(), Error> {
    let begun = Instant::now();
    while begun.elapsed() < LEAVING && foreign_trace::others(session).await? > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
