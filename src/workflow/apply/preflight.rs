//! What would stop the run whatever a rehearsal measures, looked at before the snapshot is taken.

use crate::lint::{Subject, rule};
use crate::migration::Plan;

use super::super::findings::{self, denied};
use super::super::{Error, Gate, Operator, Project, programs};
use super::ApplyRequest;

/// Refuses findings of the text that no measurement clears, and programs that are not there.
pub(super) fn refuse_hopeless(project: &Project, plan: &Plan) -> Result<(), Error> {
    let found = findings::of_text(plan, &project.policy);
    let is_of_text = |code: &str| rule(code).is_some_and(|rule| rule.subject == Subject::Text);
    let lines: Vec<String> =
        denied(&found).iter().filter(|finding| is_of_text(&finding.code)).map(|finding| finding.to_line()).collect();
    if !lines.is_empty() {
        return Err(Gate::Policy(lines).into());
    }
    match programs::missing(&project.program_environment, plan) {
        Some(place) => Err(Gate::ProgramMissing(place).into()),
        None => Ok(()),
    }
}

/// What a run would still be stopped by, as far as that is known without one; a line each.
pub(super) fn ahead(request: &ApplyRequest, plan: &Plan, operator: &dyn Operator) -> Vec<String> {
    let mut lines = Vec::new();
    let losses = crate::lint::data_loss(plan);
    if !losses.is_empty() && request.accept_data_loss.is_none() {
        lines.push(format!(
            "may lose data: where the rehearsal measures that, it stops without --accept-data-loss {} or `-- accept-loss:`",
            plan.hash().short()
        ));
        lines.extend(losses.iter().take(SHOWN).map(|finding| format!("  {finding}")));
        if losses.len() > SHOWN {
            lines.push(format!("  and {} more (`safe-migrate lint` lists them)", losses.len() - SHOWN));
        }
    }
    if !operator.can_confirm() {
        lines.push("it would ask before production is changed, and there is no terminal: give --yes".to_owned());
    }
    lines
}

/// Losses that are listed.
const SHOWN: usize = 5;

/// Refuses a run that would stop at its question.
pub(super) fn refuse_unanswered(request: &ApplyRequest, operator: &dyn Operator) -> Result<(), Error> {
    match request.dry_run || operator.can_confirm() {
        true => Ok(()),
        false => Err(Gate::CannotAsk.into()),
    }
}
