//! A stored rehearsal of the same command, gone by instead of a new one.
//!
//! What a command does to rows cannot be read from its text, so only what this user of this machine wrote is believed, even
//! where the operator names it.

use crate::migration::{Direction, Plan};
use crate::snapshot::SnapshotReader;

use super::super::apply::RehearsalChoice;
use super::super::rehearse::{Candidate, Expected, Place, WhyNot, named, newest, refused};
use super::super::{Error, Gate};
use super::django::Listed;
use super::django_probe::Squashed;
use super::probe::{Probe, refuse_other_place};
use super::program::Surroundings;
use super::rehearsal::{LedTo, Rehearsed};
use super::{Run, bound, taken};

/// The plan of a command: what it runs is its own.
pub(super) static NOTHING: Plan = Plan { direction: Direction::Apply, steps: Vec::new() };

impl Run<'_> {
    fn named(&self) -> Option<&str> {
        match &self.request.rehearsal {
            RehearsalChoice::Id(id) => Some(id),
            _ => None,
        }
    }

    /// Where schemas are read and compared.
    pub(super) fn place(&self) -> Place<'_> {
        Place {
            project: self.project,
            programs: &self.server.programs,
            before: self.before,
            operator: self.operator,
            interrupt: self.interrupt,
        }
    }

    /// A stored rehearsal that matches in all but the starting schema. None: a new one is wanted, or it was said why.
    pub(super) async fn candidate(&self) -> Result<Option<Candidate>, Error> {
        if self.request.rehearse_only || self.request.rehearsal == RehearsalChoice::New {
            return Ok(None);
        }
        let bound = match (self.bound, self.named()) {
            (Ok(bound), _) => bound,
            (Err(why), Some(id)) => return Err(not_bound(id, why)),
            (Err(why), None) => {
                self.operator.step(&format!("no stored rehearsal counts: {why}"));
                return Ok(None);
            }
        };
        let expected = Expected {
            project: self.project,
            plan: &NOTHING,
            server_major: self.server.identity.major(),
            pg_dump: self.server.programs.version().to_string(),
            max_age: self.project.max_age,
            now: self.server.clock.now(),
            one_transaction: false,
            command: Some(bound),
        };
        let candidate = match self.named() {
            Some(id) => named(self.store, id, &expected).await?,
            None => match newest(self.store, &expected).await? {
                Ok(candidate) => candidate,
                Err(why) => {
                    why.into_iter().for_each(|why| self.operator.step(&format!("{why}; rehearsing anew")));
                    return Ok(None);
                }
            },
        };
        let why = match self.project.wrote_receipt(self.store, candidate.rehearsal()).await? {
            Some(true) => taken::loss_of_now(candidate.taken(), self.session).await,
            Some(false) => Some(WhyNot::NotAsWritten),
            None => Some(WhyNot::NotWrittenHere),
        };
        let Some(why) = why else { return Ok(Some(candidate)) };
        refused((candidate.rehearsal(), self.named().is_some()), why, (self.store, self.operator))?;
        Ok(None)
    }

    /// The stored rehearsal, when production's schema is the one that it started from.
    pub(super) async fn by_receipt(
        &self,
        candidate: Option<Candidate>,
        reader: &SnapshotReader,
    ) -> Result<Option<Rehearsed>, Error> {
        let Some(candidate) = candidate else { return Ok(None) };
        let (listed, squashed) = self.asked_in_production().await?;
        let matching = self.place().matching(candidate, self.named().is_some(), reader).await?;
        Ok(matching.map(|(receipt, normal_forms)| Rehearsed {
            report: receipt.report().clone(),
            normal_forms,
            led_to: Some(LedTo { changes: receipt.changes().clone(), schema: receipt.schema_after().clone() }),
            changed: true,
            listed,
            squashed,
            is_stored: true,
        }))
    }

    /// What a rehearsal asks of Django on the shadow.
    async fn asked_in_production(&self) -> Result<(Option<Vec<Listed>>, Vec<Squashed>), Error> {
        let Probe::Django(django) = &self.request.probe else { return Ok((None, Vec::new())) };
        let endpoint = self.project.target.endpoint().await?;
        let around = Surroundings { endpoint: &endpoint, confined_by: &[], tell: None };
        let command = &self.request.command;
        let aliases = django.ask(command, around, self.interrupt).await?;
        let own = refuse_other_place(django, &aliases, command)?;
        Ok((django.listed(command, around, self.interrupt).await?, own.squashed.clone()))
    }

    /// The snapshot may have taken long: what the rehearsal was bound to must be the same still.
    pub(super) async fn refuse_unbound(&self, rehearsal: &str) -> Result<(), Error> {
        let now = bound::read(self.project, self.request).await.map_err(|why| not_bound(rehearsal, &why))?;
        let changed = self.bound.as_ref().ok().and_then(|bound| now.why_not(bound));
        match changed {
            None => Ok(()),
            Some(why) => Err(Gate::Receipt { rehearsal: rehearsal.to_owned(), why: Box::new(why) }.into()),
        }
    }
}

fn not_bound(rehearsal: &str, why: &str) -> Error {
    Gate::Receipt { rehearsal: rehearsal.to_owned(), why: Box::new(WhyNot::NotBound(why.to_owned())) }.into()
}
