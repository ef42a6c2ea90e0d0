//! The rehearsal that a run goes by: a stored one that still matches, or a new one.

use crate::report::rehearsal::RehearsalReport;
use crate::snapshot::SnapshotReader;

use super::super::rehearse::{
    self, Candidate, Expected, NormalForms, Place, Receipt, RehearsalEvidence, RehearsalRequest, named, newest,
};
use super::super::schema_reading::SchemaReading;
use super::super::{Error, Gate, Selection};
use super::{RehearsalChoice, Run, SnapshotEvidence};

/// A stored rehearsal that matches, and what is known of its losses.
enum Matching {
    /// What its report says of them.
    Stored(Candidate),
    /// They were counted in production a moment ago.
    Counted(Candidate),
}

/// A rehearsal, and the server on which schemas are brought to normal form.
#[derive(Debug)]
pub(super) struct Rehearsed {
    pub report: RehearsalReport,
    /// None: it failed.
    pub receipt: Option<Receipt>,
    /// Where schemas are brought to normal form.
    pub normal_forms: NormalForms,
    /// The schema it started from; none when that was compared with production's already.
    pub start: Option<SchemaReading>,
}

impl Run<'_> {
    /// A stored rehearsal that matches in all but the starting schema. None: a new one is wanted, or none at all.
    pub(super) async fn candidate(&self) -> Result<Option<Candidate>, Error> {
        let (candidate, is_counted) = match self.matching().await? {
            Some(Matching::Stored(candidate)) => (candidate, false),
            Some(Matching::Counted(candidate)) => (candidate, true),
            None => return Ok(None),
        };
        let named = matches!(self.request.rehearsal, RehearsalChoice::Id(_));
        let (place, plan) = ((self.project, self.store), &self.prepared.plan);
        let why = match is_counted {
            true => None,
            false => rehearse::not_believed(place, plan, (&candidate, named), &self.prepared.session).await?,
        };
        let Some(why) = why else { return Ok(Some(candidate)) };
        rehearse::refused((candidate.rehearsal(), named), why, (self.store, self.operator))?;
        Ok(None)
    }

    async fn matching(&self) -> Result<Option<Matching>, Error> {
        let server = &self.prepared.server;
        let expected = Expected {
            project: self.project,
            plan: &self.prepared.plan,
            server_major: server.identity.major(),
            pg_dump: server.programs.version().to_string(),
            max_age: self.project.max_age,
            now: server.clock.now(),
            one_transaction: self.is_one_transaction(),
            command: None,
        };
        match &self.request.rehearsal {
            RehearsalChoice::New | RehearsalChoice::Skip(_) => Ok(None),
            RehearsalChoice::Id(id) => Ok(Some(Matching::Stored(named(self.store, id, &expected).await?))),
            RehearsalChoice::Auto => match newest(self.store, &expected).await? {
                Ok(candidate) => Ok(Some(Matching::Stored(candidate))),
                Err(why) => {
                    if let Some(candidate) = self.own_way_back(&expected).await? {
                        return Ok(Some(Matching::Counted(candidate)));
                    }
                    if let Some(why) = why {
                        self.operator.step(&format!("{why}; rehearsing anew"));
                    }
                    Ok(None)
                }
            },
        }
    }

    /// Rolling back the last run: its own rehearsal went down and up again.
    async fn own_way_back(&self, expected: &Expected<'_>) -> Result<Option<Candidate>, Error> {
        let state = &self.prepared.state;
        let last = state.last_run().filter(|_| self.request.selection == Selection::BackLast);
        let run = last.and_then(|id| state.ledger.runs.iter().find(|run| run.id == id));
        let Some((run, id)) = run.and_then(|run| Some((run, run.rehearsal_id.as_deref()?))) else { return Ok(None) };
        match rehearse::own_way_back(self.store, id, expected, &self.prepared.session).await? {
            Ok(candidate) => {
                self.operator.step(&format!("run {} was rehearsed with its way back, in rehearsal {id}", run.id));
                Ok(Some(candidate))
            }
            Err(why) => {
                self.operator.step(&format!("rehearsal {id} of run {} does not count: {why}", run.id));
                Ok(None)
            }
        }
    }

    /// The rehearsal of this run; none when it is skipped.
    pub(super) async fn rehearsed(
        &self,
        snapshot: &SnapshotEvidence,
        candidate: Option<Candidate>,
    ) -> Result<Option<Rehearsed>, Error> {
        if matches!(self.request.rehearsal, RehearsalChoice::Skip(_)) {
            return Ok(None);
        }
        let SnapshotEvidence::Verified(snapshot) = snapshot else {
            return Err(Error::NoSnapshot {
                message: "a rehearsal needs a snapshot, and --skip-snapshot leaves none".to_owned(),
                hint: "leave --skip-snapshot out, or give --skip-rehearsal REASON as well",
            });
        };
        let reader = SnapshotReader::open(self.store, snapshot.id()).await?;
        if let Some(candidate) = candidate {
            let named = matches!(self.request.rehearsal, RehearsalChoice::Id(_));
            if let Some((receipt, normal_forms)) = self.place().matching(candidate, named, &reader).await? {
                return Ok(Some(self.still_matching(receipt, normal_forms)));
            }
        }
        let role = self.project.target.user();
        let (plan, one_transaction) = (&self.prepared.plan, self.is_one_transaction());
        let request = RehearsalRequest { reader: &reader, plan, role, samples: false, one_transaction };
        let programs = &self.prepared.server.programs;
        let rehearsal =
            rehearse::rehearse(self.project, self.store, programs, request, self.operator, self.interrupt).await?;
        let rehearse::Rehearsal { report, shadow, before, receipt } = rehearsal;
        self.tell(&report);
        let normal_forms = NormalForms::Running(Box::new(shadow));
        Ok(Some(Rehearsed { report, receipt, normal_forms, start: Some(before) }))
    }

    /// Where schemas are read and compared.
    pub(super) fn place(&self) -> Place<'_> {
        Place {
            project: self.project,
            programs: &self.prepared.server.programs,
            before: &self.prepared.before,
            operator: self.operator,
            interrupt: self.interrupt,
        }
    }

    fn still_matching(&self, receipt: Receipt, normal_forms: NormalForms) -> Rehearsed {
        let report = receipt.report().clone();
        self.tell(&report);
        Rehearsed { report, receipt: Some(receipt), normal_forms, start: None }
    }

    fn tell(&self, report: &RehearsalReport) {
        let accepted = self.request.accept_data_loss.as_deref();
        let report = rehearse::with_accepted(report.clone(), accepted, self.project);
        self.operator.step(report.to_text().trim_end());
    }

    /// What the run goes by; a rehearsal that failed stops it.
    pub(super) fn receipt(&self, rehearsal: Option<&Rehearsed>) -> Result<RehearsalEvidence, Error> {
        match (rehearsal, &self.request.rehearsal) {
            (Some(Rehearsed { receipt: Some(receipt), .. }), _) => {
                Ok(RehearsalEvidence::Receipt(Box::new(receipt.clone())))
            }
            (Some(Rehearsed { report, .. }), _) => {
                let why = report.failure.clone().unwrap_or_else(|| "it did not go through".to_owned());
                Err(Gate::RehearsalFailed { why, advice: report.advice.clone() }.into())
            }
            (None, RehearsalChoice::Skip(reason)) => {
                self.operator.warn(&format!("nothing was rehearsed ({reason})"));
                Ok(RehearsalEvidence::Skipped(reason.clone()))
            }
            (None, _) => {
                Err(Error::NoSnapshot { message: "there is no rehearsal".to_owned(), hint: "run the command again" })
            }
        }
    }
}
