//! The command on the shadow: the probe, the run, what it did, and for Django the way back.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::postgres::foreign_trace::{self, ForeignTrace};
use crate::postgres::{Endpoint, Mark, Programs, Session, TOOL_HISTORIES, words_that_confine};
use crate::report::FindingLevel;
use crate::report::rehearsal::{RehearsalReport, Verdict, WayBack};
use crate::schema::{Schema, SchemaChanges};
use crate::snapshot::SnapshotReader;
use crate::store::Store;

use super::super::rehearse::accepted_loss::refusals;
use super::super::rehearse::data_effect::{DataEffect, measure};
use super::super::rehearse::publish::publish;
use super::super::rehearse::table_comparison::Comparer;
use super::super::rehearse::watch::{Moment, Watch};
use super::super::rehearse::{
    Bound, NormalForms, Receipt, RestoredShadow, Schemas, Start, Taken, blank_report, restore,
};
use super::super::schema_reading::{SchemaReading, read_as_seen, read_raw_and_normal};
use super::super::shadow::{OUTSIDE_LINKS, Shadow};
use super::super::{Error, Interrupt, Operator, Project};
use super::by_receipt::NOTHING;
use super::django::{Django, Listed, way_back};
use super::django_probe::Squashed;
use super::probe::{self, Probe, log_unreadable};
use super::program::Surroundings;
use super::{BackTrial, ExecRequest, bound, seen, taken};

/// How long sessions of the command may outlive it.
const LEAVING: Duration = Duration::from_secs(10);

/// A rehearsal of a wrapped command, with its shadow still running.
#[derive(Debug)]
pub(super) struct Rehearsed {
    /// What it measured.
    pub(super) report: RehearsalReport,
    /// The shadow, where it was not a stored one.
    pub(super) normal_forms: NormalForms,
    /// None: the command failed.
    pub(super) led_to: Option<LedTo>,
    /// Whether the command changed anything.
    pub(super) changed: bool,
    /// Django's list before the command.
    pub(super) listed: Option<Vec<Listed>>,
    /// Those of Django's migrations that replaced others, before the command.
    pub(super) squashed: Vec<Squashed>,
    /// Whether it was made by an earlier run.
    pub(super) is_stored: bool,
}

/// What the command did to the schema, without subscriptions and user mappings.
#[derive(Debug)]
pub(super) struct LedTo {
    /// Entry by entry.
    pub(super) changes: SchemaChanges,
    /// The schema after it, in normal form.
    pub(super) schema: Schema,
}

/// Restores the snapshot, runs the command on it, measures, and leaves a receipt where the command could be bound.
pub(super) async fn rehearse(
    (project, store, programs): (&Project, &Store, &Programs),
    reader: &SnapshotReader,
    (request, bound): (&ExecRequest, &Result<Bound, String>),
    operator: &dyn Operator,
    interrupt: &Interrupt,
) -> Result<Rehearsed, Error> {
    let restored = restore(project, programs, reader, None, operator, interrupt).await?;
    let manifest = reader.manifest();
    let RestoredShadow { shadow, before, started_at, restored_at, stopwatch } = restored;
    let mut report = blank_report((manifest, &before.record), (started_at, restored_at))?;
    "exec".clone_into(&mut report.direction);
    report.shadow = shadow.judge(project, &NOTHING, manifest).await?;
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
    report.verdict = verdict(&report);
    report.plan_hash = hash(request, ran.schemas.as_ref(), &report);
    report.refusals = refusals(&report, project);
    report.finished_at = OffsetDateTime::now_utc();
    ground.publish((store, reader), &report, (&before, &ran), bound).await?;
    let Ran { schemas, changed, listed, squashed, .. } = ran;
    let led_to = schemas.map(|(after, normal)| LedTo {
        changes: inside(&after).changes_since(&inside(&before)),
        schema: inside(&normal),
    });
    let normal_forms = NormalForms::Running(Box::new(shadow));
    Ok(Rehearsed { report, normal_forms, led_to, changed, listed, squashed, is_stored: false })
}

fn inside(reading: &SchemaReading) -> Schema {
    reading.schema.without_kinds(OUTSIDE_LINKS)
}

fn verdict(report: &RehearsalReport) -> Verdict {
    let settled = report.findings.iter().all(|one| one.level == FindingLevel::Note);
    match (&report.failure, &report.way_back) {
        (Some(_), _) => Verdict::Fail,
        (None, WayBack::Reversible) if report.losses.is_empty() && settled => Verdict::Pass,
        _ => Verdict::PassWithFindings,
    }
}

/// Binds the command to what it led to and what it loses.
fn hash(request: &ExecRequest, schemas: Option<&(SchemaReading, SchemaReading)>, report: &RehearsalReport) -> String {
    // Without passwords: the hash is stored, and a password could be guessed by it.
    let mut parts = vec![request.command.display()];
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

struct Ran {
    /// What the shadow was before the command, besides its schema.
    start: Result<Start, Error>,
    /// What it took away that held nothing.
    taken: Vec<Taken>,
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

    pub(super) async fn read_raw(&self, watch: &Watch) -> Result<SchemaReading, Error> {
        let seen = (&watch.shadow, None);
        read_as_seen(self.programs, &self.shadow.spec(), seen, &self.project.fingerprint_ignore).await
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
        let start = bound::start(&self.shadow.spec_as(self.project.target.user())).await;
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
            return Ok(Ran { start, taken: Vec::new(), schemas: None, changed: false, listed, squashed });
        }
        self.interrupt.check()?;
        let (read, ignore) = ((&spec, &watch.shadow), &self.project.fingerprint_ignore);
        let (after, normal) = read_raw_and_normal(self.shadow, self.programs, read, ignore).await?;
        let now = watch.moment(&session).await?;
        let mut effect = self.effect_at(&watch, &now).await?;
        let taken = watch.moments.first().map(|then| taken::without_loss(&then.tables, &now.tables, &effect.losses));
        let changed = after.record.hash != before.record.hash || !effect.is_nothing();
        // A row of such a table is gone when less is applied, or when there is one row for all.
        effect
            .losses
            .retain(|loss| !loss.object.rsplit('.').next().is_some_and(|table| TOOL_HISTORIES.contains(&table)));
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
        Ok(Ran { start, taken: taken.unwrap_or_default(), schemas: Some((after, normal)), changed, listed, squashed })
    }

    /// Stores the report, and a receipt of what changed something and could be bound; says why not where that was all that
    /// was asked for.
    async fn publish(
        &self,
        (store, reader): (&Store, &SnapshotReader),
        report: &RehearsalReport,
        (before, ran): (&SchemaReading, &Ran),
        bound: &Result<Bound, String>,
    ) -> Result<(), Error> {
        let (Some((after, normal)), true) = (&ran.schemas, ran.changed) else {
            publish(store, report, |_| None).await?;
            return Ok(());
        };
        let bound = self.still_bound(bound, ran).await;
        if let (Err(why), true) = (&bound, self.request.rehearse_only) {
            self.operator.step(&format!("no receipt is left: {why}"));
        }
        let manifest = reader.manifest();
        let raw = manifest.fingerprint.clone().and_then(|recorded| serde_json::from_value(recorded).ok());
        let schemas = Schemas { before, after, normal, raw, one_transaction: false };
        let about = (&NOTHING, self.project.target.user(), manifest.database.name.as_str());
        let receipt = |sha256| Some(Receipt::of(report, sha256, about, &schemas)?.of_command(bound.ok()?));
        if publish(store, report, receipt).await?.is_some() {
            self.project.remember_receipt(store, &report.id).await;
        }
        Ok(())
    }

    /// What the rehearsal is bound to: the shadow as its start, and the files, when they were the same all the while.
    async fn still_bound(&self, bound: &Result<Bound, String>, ran: &Ran) -> Result<Bound, String> {
        let bound = bound.clone()?;
        let start = ran.start.as_ref().map_err(|error| format!("what is applied cannot be read: {error}"))?.clone();
        match bound::read(self.project, self.request).await?.other_files(&bound) {
            Some(why) => Err(format!("{why} the rehearsal began")),
            None => Ok(Bound { start, taken: ran.taken.clone(), ..bound }),
        }
    }

    /// What became of the rows since the copy was made.
    pub(super) async fn effect(&self, watch: &mut Watch, session: &Session) -> Result<DataEffect, Error> {
        let now = watch.moment(session).await?;
        self.effect_at(watch, &now).await
    }

    async fn effect_at(&self, watch: &Watch, now: &Moment) -> Result<DataEffect, Error> {
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
