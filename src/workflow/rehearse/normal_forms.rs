//! Whether production still is what a stored rehearsal started from, and the server on which schemas are brought to normal
//! form.

use time::OffsetDateTime;

use crate::postgres::Programs;
use crate::report::format_ago;
use crate::snapshot::SnapshotReader;

use super::super::schema_reading::{RawRecord, SchemaReading, read_normal};
use super::super::shadow::Shadow;
use super::super::{Error, Gate, Interrupt, Operator, Project};
use super::receipt::{Candidate, Receipt};
use super::why_not::WhyNot;

/// The server on which schemas are brought to normal form.
#[derive(Debug)]
pub enum NormalForms {
    /// It runs: with the database of the rehearsal, or empty.
    Running(Box<Shadow>),
    /// Nothing had to be brought there yet. It would get the settings and roles of this snapshot.
    NotStarted(Box<SnapshotReader>),
}

/// What production's schema is read and compared with.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// Production.
    pub project: &'a Project,
    /// Of its major version.
    pub programs: &'a Programs,
    /// Its schema before the run.
    pub before: &'a SchemaReading,
    /// Who is told.
    pub operator: &'a dyn Operator,
    /// Whether to stop.
    pub interrupt: &'a Interrupt,
}

impl Place<'_> {
    /// The receipt, when production's schema is the one that it started from. None: it was said why not. An error where the
    /// operator named it.
    pub async fn matching(
        &self,
        candidate: Candidate,
        named: bool,
        reader: &SnapshotReader,
    ) -> Result<Option<(Receipt, NormalForms)>, Error> {
        let rehearsal = candidate.rehearsal().to_owned();
        let before = self.before.record.clone();
        let raw = RawRecord { raw: before, ignored: self.project.fingerprint_ignore.clone() };
        let candidate = match candidate.starting_from_raw(&raw) {
            Ok(receipt) => {
                let normal_forms = NormalForms::NotStarted(Box::new(reader.clone()));
                return Ok(Some(self.still_matching(receipt, normal_forms)));
            }
            Err(candidate) => *candidate,
        };
        match self.compared(candidate, reader).await {
            Ok(Ok((receipt, shadow))) => {
                return Ok(Some(self.still_matching(receipt, NormalForms::Running(Box::new(shadow)))));
            }
            Ok(Err(why)) if named => return Err(Gate::Receipt { rehearsal, why: Box::new(why) }.into()),
            Ok(Err(why)) => self.operator.step(&format!("rehearsal {rehearsal} does not count: {why}")),
            Err(error) if named || matches!(error, Error::Interrupted) => return Err(error),
            Err(error) => self.operator.warn(&format!("rehearsal {rehearsal} cannot be compared: {error}")),
        }
        self.operator.step("rehearsing anew");
        Ok(None)
    }

    fn still_matching(&self, receipt: Receipt, normal_forms: NormalForms) -> (Receipt, NormalForms) {
        let report = receipt.report();
        let ago = format_ago(report.finished_at, OffsetDateTime::now_utc());
        self.operator.step(&format!("rehearsal {} ({ago}) still matches; nothing is restored", report.id));
        (receipt, normal_forms)
    }

    /// Compares production's schema with the one that a stored rehearsal started from. No row is restored for that.
    async fn compared(
        &self,
        candidate: Candidate,
        reader: &SnapshotReader,
    ) -> Result<Result<(Receipt, Shadow), WhyNot>, Error> {
        let shadow = self.interrupt.or(Shadow::empty(self.project, self.programs, reader)).await?;
        let production = self.interrupt.or(self.production_on(&shadow)).await;
        let why = match production.map(|production| candidate.starting_from(&production.schema)) {
            Ok(Ok(receipt)) => return Ok(Ok((receipt, shadow))),
            Ok(Err(why)) => Ok(Err(why)),
            Err(error) => Err(error),
        };
        shadow.stop().await?;
        why
    }

    async fn production_on(&self, shadow: &Shadow) -> Result<SchemaReading, Error> {
        read_normal(shadow, self.programs, &self.project.target, &self.project.fingerprint_ignore).await
    }

    /// Production's schema in normal form, on a server that is started for it when none runs.
    pub async fn production_in(&self, normal_forms: &NormalForms) -> Result<SchemaReading, Error> {
        match normal_forms {
            NormalForms::Running(shadow) => self.production_on(shadow).await,
            NormalForms::NotStarted(reader) => {
                let shadow = Shadow::empty(self.project, self.programs, reader).await?;
                let reading = self.production_on(&shadow).await;
                self.stop(shadow).await;
                reading
            }
        }
    }

    /// Stops a shadow; never instead of a result: production may be changed by now.
    pub async fn stop(&self, shadow: Shadow) {
        if let Err(error) = shadow.stop().await {
            self.operator.warn(&format!("the shadow was not removed: {error}"));
        }
    }
}
