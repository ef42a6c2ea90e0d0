//! The conditions that stop a run before production is touched.

use crate::lint::Level;
use crate::migration::Direction;
use crate::postgres::{Ledger, blockers};
use crate::report::format_things;

use super::super::findings;
use super::super::rehearse::RehearsalEvidence;
use super::super::shadow::OUTSIDE_LINKS;
use super::super::{Confirmation, Error, Gate};
use super::{Rehearsed, Run, SnapshotChoice, SnapshotEvidence};

impl Run<'_> {
    /// Stops when the rehearsal started from another schema than production's: a snapshot that was not taken by this
    /// run may be older than the last change. One that was is covered by [`Run::refuse_changes_meanwhile`].
    pub(super) async fn refuse_other_start(&self, rehearsal: &Rehearsed) -> Result<(), Error> {
        let Some(start) = rehearsal.start.as_ref().filter(|_| self.request.snapshot != SnapshotChoice::New) else {
            return Ok(());
        };
        let production = self.place().production_in(&rehearsal.normal_forms).await?;
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
                    let why = "it was about another plan".to_owned();
                    return Err(Gate::RehearsalFailed { why, advice: None }.into());
                }
                for loss in receipt.report().losses.iter().filter(|loss| loss.accepted.is_some()) {
                    self.operator.step(&format!("data loss: {}", loss.to_line()));
                }
                receipt.losses()
            }
            // Not measured: what the text shows must do. An `allow:` line says that the statement is meant, and `make` writes
            // them too; that rows may go, only the hash says.
            RehearsalEvidence::Skipped(_) => {
                crate::lint::data_loss(plan).iter().map(|finding| format!("  {finding}")).collect()
            }
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

    /// Names the transactions that have been open for long: a migration waits for what they have locked.
    pub(super) async fn name_long_transactions(&self) -> Result<(), Error> {
        for one in blockers::long_transactions(&self.prepared.aside, self.project.long_transaction).await? {
            self.operator
                .warn(&format!("a transaction has been open for long, and what it locked stays locked: {one}"));
        }
        Ok(())
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
        if crate::fault::is_off("off.changed-meanwhile") {
            return Ok(());
        }
        let database = self.project.target.database().to_owned();
        let now = self.prepared.server.read_schema_again(self.project, self.aside()).await?;
        if now.record.hash != self.prepared.before.record.hash {
            let shown = |schema: &crate::schema::Schema| schema.withholding(OUTSIDE_LINKS);
            let difference = shown(&self.prepared.before.schema).difference(&shown(&now.schema));
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
