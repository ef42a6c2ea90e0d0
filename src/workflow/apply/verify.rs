//! After the last commit: is production's schema the rehearsed one, and do the checks hold?

use crate::migration::Check;
use crate::postgres::RunRecord;
use crate::report::rehearsal::CheckReport;
use crate::schema::Schema;

use super::super::Error;
use super::super::rehearse::{Receipt, RehearsalEvidence, checks};
use super::super::restore::WayBack;
use super::super::schema_reading::SchemaReading;
use super::super::shadow::OUTSIDE_LINKS;
use super::{Evidence, Rehearsed, Run};

impl Run<'_> {
    /// Compares production with what the rehearsal led to, and records production's fingerprint in the run.
    ///
    /// Fast path: the entries that the migrations changed in production carry the same texts as those that they changed
    /// in the shadow. Otherwise the normal forms decide. Returns in words what was found equal.
    pub(super) async fn verify(
        &self,
        rehearsal: Option<&Rehearsed>,
        evidence: &Evidence,
        record: &mut RunRecord,
    ) -> Result<String, Error> {
        let before = &self.prepared.before;
        // A session that is gone could not say; what follows uses new ones.
        if !self.prepared.session.is_closed() {
            self.refuse_other_ground(record, &self.prepared.plan.steps).await?;
        }
        let now = self.read_and_keep(record).await?;
        let hint = evidence.way_back.hint(record.snapshot_id.as_deref());
        let mut findings = new_invalid_indexes(&before.schema, &now.schema);
        findings.extend(self.failed_checks(rehearsal).await?);
        let (Some(rehearsal), RehearsalEvidence::Receipt(receipt)) = (rehearsal, &evidence.rehearsal) else {
            return conclude("not compared: nothing was rehearsed".to_owned(), findings, hint);
        };
        let inside = |reading: &SchemaReading| reading.schema.without_kinds(OUTSIDE_LINKS);
        if inside(&now).changes_since(&inside(before)) == *receipt.changes() {
            return conclude("schema equal to the rehearsed one (same entries changed)".to_owned(), findings, hint);
        }
        findings.extend(self.compare_normal(rehearsal, receipt).await?);
        conclude("schema equal to the rehearsed one (normal form)".to_owned(), findings, hint)
    }

    /// Runs the checks on production, read-only. One that returned rows before the plan already is only said; what it
    /// returned before is known from the rehearsal.
    async fn failed_checks(&self, rehearsal: Option<&Rehearsed>) -> Result<Vec<String>, Error> {
        if self.prepared.checks.is_empty() {
            return Ok(Vec::new());
        }
        let session = self.project.target.connect_to_migrate("safe-migrate checks").await?;
        let after = checks::run(&session, &self.prepared.checks, &self.project.execute, false).await;
        let before = |check: &Check| {
            let rehearsed = rehearsal.and_then(|one| one.report.checks.iter().find(|report| report.file == check.name));
            rehearsed.map(|report| report.before.clone()).unwrap_or_default()
        };
        let before = self.prepared.checks.iter().map(before).collect();
        let reports = checks::paired(&self.prepared.checks, before, after);
        let broken = checks::broken(&reports, self.prepared.plan.direction);
        for remark in reports.iter().filter_map(CheckReport::remark).filter(|remark| !broken.contains(remark)) {
            self.operator.warn(&remark);
        }
        Ok(broken)
    }

    /// Both schemas after one round trip.
    async fn compare_normal(&self, rehearsal: &Rehearsed, receipt: &Receipt) -> Result<Option<String>, Error> {
        let production = self.place().production_in(&rehearsal.normal_forms).await?;
        let difference = receipt.schema_after().difference(&production.schema.without_kinds(OUTSIDE_LINKS));
        Ok((!difference.is_empty())
            .then(|| format!("the schema is not the rehearsed one (- rehearsed, + production):\n{difference}")))
    }
}

/// Production is migrated by now: whatever keeps it from being compared is a finding, not a failure that left it alone.
pub(in crate::workflow) fn unverified(error: Error, run: &RunRecord, way_back: &WayBack) -> Error {
    match error {
        Error::VerificationFailed { .. } => error,
        error => Error::VerificationFailed {
            findings: vec![format!("it could not be compared with the rehearsed schema: {error}")],
            hint: way_back.hint(run.snapshot_id.as_deref()),
        },
    }
}

/// The same for a run that went through and whose end the ledger does not know.
pub(super) fn unrecorded(error: &Error, run: &RunRecord, way_back: &WayBack) -> Error {
    let findings = vec![format!("the ledger does not hold the end of run {}: {error}", run.id)];
    Error::VerificationFailed { findings, hint: way_back.hint(run.snapshot_id.as_deref()) }
}

fn conclude(equal: String, findings: Vec<String>, hint: String) -> Result<String, Error> {
    if findings.is_empty() {
        return Ok(equal);
    }
    Err(Error::VerificationFailed { findings, hint })
}

fn new_invalid_indexes(before: &Schema, now: &Schema) -> Vec<String> {
    now.invalid_indexes()
        .iter()
        .filter(|index| !before.invalid_indexes().contains(index))
        .map(|index| format!("index {index} is invalid"))
        .collect()
}
