//! The command in production, and what is known afterwards.

use crate::postgres::{RunRecord, ledger};

use super::super::apply::verify::unverified;
use super::super::rehearse::Stopwatch;
use super::super::restore::WayBack;
use super::super::schema_reading::{SchemaReading, read_raw};
use super::super::shadow::OUTSIDE_LINKS;
use super::super::{Error, Gate, json, run_record};
use super::django::Listed;
use super::django_probe::Squashed;
use super::probe::Probe;
use super::program::{Ended, Surroundings};
use super::rehearsal::Rehearsed;
use super::{ExecOutcome, ExecReport, Run};

/// What a run left.
struct Left {
    /// The schema; none when it could not be read.
    now: Option<SchemaReading>,
    /// What the tool's table has and had not; none when it cannot be asked.
    applied: Option<Vec<String>>,
}

impl Run<'_> {
    pub(super) async fn run_in_production(
        &self,
        mut record: RunRecord,
        rehearsed: &Rehearsed,
        way_back: WayBack,
        stopwatch: &mut Stopwatch,
    ) -> Result<ExecOutcome, Error> {
        // The store knows of the run before production does: if the ledger is lost, the store still names its snapshot.
        run_record::write(self.store, &self.project.source, &record).await?;
        let writing = self.project.target.connect("safe-migrate").await?;
        ledger::ensure(&writing, &self.project.ledger_owners).await?;
        ledger::lease::take(&writing, &record, self.session.backend_pid(), &self.project.ledger_owners).await?;
        ledger::close_dead(&writing).await?;
        record.insert(&writing).await?;
        writing.close().await;
        let endpoint = self.project.target.endpoint().await?;
        let words = self.request.command.display();
        self.operator.step(&format!("running in production: {words}"));
        let tell = |line: &str| self.operator.step(&format!("  {line}"));
        let around = Surroundings { endpoint: &endpoint, confined_by: &[], tell: Some(&tell) };
        let ended = self.request.command.run(around, self.interrupt).await;
        stopwatch.phase("command");
        let left = self.left(Surroundings { tell: None, ..around }, rehearsed).await;
        if let Some(now) = &left.now {
            record.fingerprint_after = Some(json("the fingerprint", &now.record)?);
        }
        match ended {
            Ok(ended) if ended.status.success() => {}
            failed => return Err(self.stopped(record, failed, &left, &way_back).await),
        }
        let hint = way_back.hint(record.snapshot_id.as_deref());
        let verified = self.verify(rehearsed, left.now.as_ref(), hint).await;
        let verified = verified.map_err(|error| unverified(error, &record, &way_back));
        stopwatch.phase("verification");
        let error = verified.as_ref().err();
        run_record::finish(&mut record, "done", error);
        self.close(&record, &left).await;
        let verification = verified?;
        let applied = left.applied.unwrap_or_default();
        let rehearsal = rehearsed.report.clone();
        Ok(ExecOutcome::Done(Box::new(ExecReport {
            run: record,
            rehearsal,
            verification,
            way_back,
            applied,
            phases: Vec::new(),
        })))
    }

    /// What production is after the command, however that ended.
    async fn left(&self, around: Surroundings<'_>, rehearsed: &Rehearsed) -> Left {
        let (programs, ignore) = (&self.server.programs, &self.project.fingerprint_ignore);
        let now = match read_raw(programs, &self.project.target, ignore).await {
            Ok(now) => Some(now),
            Err(error) => {
                self.operator.warn(&format!("the schema that the command left could not be read: {error}"));
                None
            }
        };
        // The operator's wish to stop was for the command; this question is ours, and only reads.
        let unasked = super::Interrupt::default();
        let mut applied = match (&self.request.probe, &rehearsed.listed) {
            (Probe::Django(django), Some(before)) => {
                let listed = django.listed(&self.request.command, around, &unasked).await.ok().flatten();
                listed.map(|after| changes(before, &after))
            }
            _ => None,
        };
        if let Some(applied) = &mut applied {
            applied.extend(self.recorded(around, &rehearsed.squashed).await);
        }
        Left { now, applied }
    }

    /// Which squashed migrations the command only recorded.
    async fn recorded(&self, around: Surroundings<'_>, before: &[Squashed]) -> Vec<String> {
        let Probe::Django(django) = &self.request.probe else { return Vec::new() };
        if !before.iter().any(Squashed::is_unrecorded) {
            return Vec::new();
        }
        let asked = django.ask(&self.request.command, around, &super::Interrupt::default()).await;
        let aliases = asked.unwrap_or_default();
        let after: Vec<&Squashed> =
            aliases.iter().filter(|one| one.alias == django.alias()).flat_map(|one| &one.squashed).collect();
        let is_recorded = |one: &&Squashed| after.iter().any(|other| other.is_same(one) && !other.is_unrecorded());
        let recorded = before.iter().filter(|one| one.is_unrecorded()).filter(is_recorded);
        recorded.map(|one| format!("{}.{} recorded", one.app, one.name)).collect()
    }

    async fn stopped(
        &self,
        mut record: RunRecord,
        ended: Result<Ended, Error>,
        left: &Left,
        way_back: &WayBack,
    ) -> Error {
        let same_schema = left.now.as_ref().is_some_and(|now| now.record.hash == self.before.record.hash);
        let nothing_applied = left.applied.as_ref().is_some_and(Vec::is_empty);
        let changed = !(same_schema && nothing_applied);
        let interrupted = matches!(ended, Err(Error::Interrupted));
        let error = match ended {
            Ok(ended) => Error::Command(format!("`{}` ended with {}", self.request.command.display(), ended.why())),
            Err(error) => error,
        };
        run_record::finish(&mut record, if interrupted { "interrupted" } else { "failed" }, Some(&error));
        self.close(&record, left).await;
        let schema = if same_schema { "its schema is as it was" } else { "its schema is not as it was" };
        let production = match &left.applied {
            Some(applied) if applied.is_empty() => {
                format!("{schema}, and Django's table says that nothing was applied")
            }
            Some(applied) => format!("{schema}; by Django's table: {}", applied.join(", ")),
            None => format!("{schema}; which rows were changed only the command knows"),
        };
        let way_back = record.snapshot_id.map(|id| format!("the way back is: {}", way_back.command(&id)));
        let hint = match changed {
            false => "find out why it went through on the shadow and not here, and run the command again".to_owned(),
            true => format!("look at what it left; {}", way_back.unwrap_or_default()),
        };
        Error::RunStopped { production, changed, hint, source: Box::new(error) }
    }

    /// The rehearsed schema and production's: by the entries that were changed, else both in normal form.
    async fn verify(&self, rehearsed: &Rehearsed, now: Option<&SchemaReading>, hint: String) -> Result<String, Error> {
        let Some(led_to) = &rehearsed.led_to else {
            return Err(Gate::RehearsalFailed { why: "it did not go through".to_owned(), advice: None }.into());
        };
        let equal = "schema equal to the rehearsed one; its fingerprint is recorded".to_owned();
        let inside = |reading: &SchemaReading| reading.schema.without_kinds(OUTSIDE_LINKS);
        if now.is_some_and(|now| inside(now).changes_since(&inside(self.before)) == led_to.changes) {
            return Ok(equal);
        }
        let production = self.place().production_in(&rehearsed.normal_forms).await?;
        let difference = led_to.schema.difference(&inside(&production));
        if difference.is_empty() {
            return Ok(equal);
        }
        Err(Error::VerificationFailed {
            findings: vec![format!("the schema is not the rehearsed one (- rehearsed, + production):\n{difference}")],
            hint,
        })
    }

    /// Records the end of a run in ledger and store; never instead of what it came to.
    async fn close(&self, record: &RunRecord, left: &Left) {
        let in_ledger = async {
            let session = self.project.target.connect("safe-migrate").await?;
            record.close(&session).await?;
            if let Some(now) = &left.now {
                ledger::keep_schema(&session, &record.id, &now.to_kept()?).await?;
            }
            session.close().await;
            Ok::<(), Error>(())
        };
        let stored = run_record::write(self.store, &self.project.source, record);
        for result in [in_ledger.await, stored.await] {
            if let Err(error) = result {
                self.operator.warn(&format!("the end of the run could not be recorded: {error}"));
            }
        }
    }
}

/// What is applied now and was not, and what was and is not any more.
fn changes(before: &[Listed], after: &[Listed]) -> Vec<String> {
    let has = |list: &[Listed], one: &Listed| list.iter().any(|other| other.applied && other == one);
    let new = after.iter().filter(|one| one.applied && !has(before, one)).map(ToString::to_string);
    let gone = before.iter().filter(|one| one.applied && !has(after, one)).map(|one| format!("{one} unapplied"));
    new.chain(gone).collect()
}
