//! The conditions that stop a run before production is touched.

use std::time::Duration;

use time::OffsetDateTime;

use crate::lint::Level;
use crate::migration::Direction;
use crate::postgres::Ledger;
use crate::report::{format_duration, format_things};
use crate::schema::FingerprintRecord;
use crate::snapshot::{self, SnapshotId, SnapshotReader};

use super::super::findings;
use super::super::rehearse::RehearsalEvidence;
use super::super::schema_reading::{SchemaReading, read_normal, read_raw};
use super::super::shadow::OUTSIDE_LINKS;
use super::super::state::State;
use super::super::{Confirmation, Error, Gate, Operator, Project};
use super::{Rehearsed, Run, SnapshotChoice, SnapshotEvidence};

/// Names runs that died: the ledger says what they did.
pub fn report_unfinished(state: &State, operator: &dyn Operator) {
    for run in state.ledger.unfinished() {
        operator.warn(&format!(
            "run {} ({}) by {} on {} never ended; the ledger holds what it had applied",
            run.id, run.command, run.actor, run.host
        ));
    }
}

/// Stops when the schema is not the one that the last run left.
///
/// Fingerprints of another algorithm or another pg_dump are not comparable, and that is not drift. Returns the reason
/// for which a drift was accepted, when there is one.
pub fn refuse_drift(
    project: &Project,
    state: &State,
    now: &SchemaReading,
    accepted: Option<&str>,
    operator: &dyn Operator,
) -> Result<Option<String>, Error> {
    let Some(run) = state.ledger.last_with_fingerprint() else { return Ok(None) };
    let recorded =
        run.fingerprint_after.clone().and_then(|value| serde_json::from_value::<FingerprintRecord>(value).ok());
    let Some(recorded) = recorded else { return Ok(None) };
    if !recorded.is_comparable_with(&now.record) || recorded.hash == now.record.hash {
        return Ok(None);
    }
    if let Some(dead) = state.ledger.died_since(run) {
        operator.warn(&format!(
            "run {} ({}) died before it could record the schema; it is taken as it is now, without a check for drift",
            dead.id, dead.command
        ));
        return Ok(None);
    }
    if let Some(why) = accepted {
        operator.warn(&format!("the schema changed since run {} (drift), accepted: {why}", run.id));
        return Ok(Some(why.to_owned()));
    }
    let difference = format!("  recorded {}, found {}", recorded.hash.short(), now.record.hash.short());
    Err(Gate::Drift {
        database: project.target.database().to_owned(),
        since: format!("run {} ({})", run.id, run.command),
        difference,
    }
    .into())
}

impl Run<'_> {
    /// A snapshot that the operator named: it must be of this source and of this server's database.
    pub(super) async fn usable_snapshot(&self, id: &SnapshotId) -> Result<SnapshotId, Error> {
        let reader = SnapshotReader::open(self.store, id).await?;
        let manifest = reader.manifest();
        let source = &self.project.source;
        if manifest.source != *source {
            let message = format!("snapshot {id} is of source \"{}\", not of \"{source}\"", manifest.source);
            return Err(Gate::SnapshotChoice(message).into());
        }
        if manifest.server.system_identifier != self.prepared.server.identity.system_identifier {
            let message = format!("snapshot {id} was taken from another server than the one that would be migrated");
            return Err(Gate::SnapshotChoice(message).into());
        }
        Ok(id.clone())
    }

    /// The newest snapshot of this source when it is young enough, else none (a new one is taken).
    pub(super) async fn recent_snapshot(&self, age: Duration) -> Result<Option<SnapshotId>, Error> {
        let newest = snapshot::list(self.store).await?.into_iter().find_map(|summary| {
            let details = summary.details()?;
            (details.source == self.project.source).then(|| (summary.id.clone(), details.started_at))
        });
        let Some((id, taken)) = newest else { return Ok(None) };
        let old = OffsetDateTime::now_utc() - taken;
        if old > age {
            let old = format_duration(old.unsigned_abs());
            self.operator.step(&format!("the newest snapshot is {old} old; taking a new one"));
            return Ok(None);
        }
        Ok(Some(self.usable_snapshot(&id).await?))
    }

    /// Stops when the rehearsal started from another schema than production's: a snapshot that was not taken by this
    /// run may be older than the last change. One that was is covered by [`Run::refuse_changes_meanwhile`].
    pub(super) async fn refuse_other_start(&self, rehearsal: &Rehearsed) -> Result<(), Error> {
        let Some(start) = rehearsal.start.as_ref().filter(|_| self.request.snapshot != SnapshotChoice::New) else {
            return Ok(());
        };
        let (programs, ignore) = (&self.prepared.server.programs, &self.project.fingerprint_ignore);
        let production = read_normal(&rehearsal.shadow, programs, &self.project.target, ignore).await?;
        let production = production.schema.without_kinds(OUTSIDE_LINKS);
        let difference = start.schema.without_kinds(OUTSIDE_LINKS).difference(&production);
        if difference.is_empty() {
            return Ok(());
        }
        let message = format!(
            "production's schema is not the one of snapshot {} (- snapshot, + production):\n{difference}",
            rehearsal.report.snapshot
        );
        Err(Gate::SnapshotChoice(message).into())
    }

    /// Stops when the rehearsal measured a loss, unless the operator gave this plan's hash.
    pub(super) fn refuse_data_loss(&self, evidence: &RehearsalEvidence) -> Result<(), Error> {
        let plan = &self.prepared.plan;
        let hash = plan.hash();
        let losses: Vec<String> = match evidence {
            RehearsalEvidence::Receipt(receipt) => {
                if !receipt.covers(plan) {
                    return Err(Gate::RehearsalFailed("it was about another plan".to_owned()).into());
                }
                receipt.losses()
            }
            // Not measured: what the text shows must do.
            RehearsalEvidence::Skipped(_) => crate::lint::data_loss(plan)
                .iter()
                .filter(|finding| finding.allowed.is_none())
                .map(|finding| format!("  {finding}"))
                .collect(),
        };
        let accepted = self.request.accept_data_loss.as_deref();
        let given = accepted.is_some_and(|given| given.len() >= 8 && hash.as_str().starts_with(given));
        if losses.is_empty() || given {
            return Ok(());
        }
        if self.project.policy.level("data-loss") < Level::Deny {
            let losses: String = losses.iter().map(|loss| format!("\n{loss}")).collect();
            self.operator.warn(&format!("the plan loses data, and data_loss in [policy] lets it:{losses}"));
            return Ok(());
        }
        Err(Gate::DataLoss { losses, plan_hash: hash.short().to_owned() }.into())
    }

    /// Stops at the findings that the policy denies.
    pub(super) fn refuse_denied(&self, rehearsal: Option<&Rehearsed>) -> Result<(), Error> {
        let findings = match rehearsal {
            Some(rehearsal) => rehearsal.report.findings.clone(),
            // Not measured: what the text shows must do.
            None => findings::of_text(&self.prepared.plan, &self.project.policy),
        };
        let lines: Vec<String> = findings::denied(&findings).iter().map(|finding| finding.to_line()).collect();
        if lines.is_empty() { Ok(()) } else { Err(Gate::Policy(lines).into()) }
    }

    /// Asks before production is changed.
    pub(super) fn confirm(&self, snapshot: &SnapshotEvidence) -> Result<(), Error> {
        let verb = match self.prepared.plan.direction {
            Direction::Apply => "apply",
            Direction::Rollback => "roll back",
        };
        let way_back = match snapshot {
            SnapshotEvidence::Verified(snapshot) => format!("snapshot {}", snapshot.id()),
            SnapshotEvidence::Skipped(_) => "NO snapshot".to_owned(),
        };
        let migrations = format_things(self.prepared.plan.steps.len() as u64, "migration");
        let target = self.project.target.display();
        match self.operator.confirm(&format!("{verb} {migrations} on {target} (way back: {way_back})?")) {
            Confirmation::Yes => Ok(()),
            Confirmation::No => Err(Gate::NotConfirmed.into()),
            Confirmation::CannotAsk => Err(Gate::CannotAsk.into()),
        }
    }

    /// Production must still be what the plan started from.
    pub(super) async fn refuse_changes_meanwhile(&self) -> Result<(), Error> {
        let database = self.project.target.database().to_owned();
        let programs = &self.prepared.server.programs;
        let now = read_raw(programs, &self.project.target, &self.project.fingerprint_ignore).await?;
        if now.record.hash != self.prepared.before.record.hash {
            let difference = self.prepared.before.schema.difference(&now.schema);
            let what = format!("its schema (- before, + now):\n{difference}");
            return Err(Gate::ChangedMeanwhile { database, what }.into());
        }
        let ledger = Ledger::read(self.aside()).await?;
        if ledger.applied != self.prepared.state.ledger.applied {
            return Err(Gate::ChangedMeanwhile { database, what: "its ledger".to_owned() }.into());
        }
        Ok(())
    }
}
