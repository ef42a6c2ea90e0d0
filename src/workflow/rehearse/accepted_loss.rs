//! Losses of data that a person accepts in a migration's file (`-- accept-loss: object why`), so that a review sees it.
//!
//! Only what was measured can be accepted like that: the line names the object and its kind (rows of a table, values of a
//! column), and covers nothing else. It is a part of the file, so of the plan's hash.

use crate::lint::Level;
use crate::migration::{Direction, Plan};
use crate::report::format_things;
use crate::report::rehearsal::{Loss, RehearsalReport, Verdict};

use super::super::Project;
use super::super::findings::denied;

/// Says of each loss whether a line of the plan's files accepts it.
pub(super) fn mark(losses: &mut [Loss], plan: &Plan) {
    let mut amounts = std::collections::BTreeMap::<String, u64>::new();
    for loss in losses.iter() {
        *amounts.entry(loss.object.clone()).or_default() += loss.amount;
    }
    for loss in losses {
        let amount = amounts.get(&loss.object).copied().unwrap_or(loss.amount);
        loss.accepted = (plan.direction == Direction::Apply).then(|| accepted(plan, &loss.object, amount)).flatten();
    }
}

/// `app/NNNN_name: why`.
fn accepted(plan: &Plan, object: &str, amount: u64) -> Option<String> {
    plan.steps.iter().find_map(|step| {
        let mut lines = step.migration.accepted_losses.iter();
        let line = lines.find(|line| line.object == object && line.max.is_none_or(|max| amount <= max))?;
        Some(format!("{}: {}", step.migration.id, line.why))
    })
}

/// Why `apply` (or `rollback`) would refuse what this report is about; empty when it would not. A few words each.
pub fn refusals(report: &RehearsalReport, project: &Project) -> Vec<String> {
    if report.verdict == Verdict::Fail {
        return vec!["the rehearsal failed".to_owned()];
    }
    let mut refusals = Vec::new();
    match denied(&report.findings).len() as u64 {
        0 => {}
        count => refusals.push(format!("the policy denies {}", format_things(count, "finding"))),
    }
    let open = report.losses.iter().filter(|loss| loss.accepted.is_none()).count();
    if open > 0 && project.policy.level("data-loss") >= Level::Deny {
        let losses = if open == 1 { "1 loss of data is" } else { &format!("{open} losses of data are") };
        refusals.push(format!("{losses} accepted nowhere"));
    }
    refusals
}

/// The report as it is for somebody who gave the plan's hash to `--accept-data-loss`.
pub fn with_accepted(mut report: RehearsalReport, given: Option<&str>, project: &Project) -> RehearsalReport {
    if given.is_some_and(|given| given.len() >= 8 && report.plan_hash.starts_with(given)) {
        for loss in &mut report.losses {
            loss.accepted.get_or_insert_with(|| "--accept-data-loss".to_owned());
        }
        report.refusals = refusals(&report, project);
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migration::MigrationSet;

    fn plan_of(header: &str) -> Plan {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("menu")).unwrap();
        let text = format!("{header}-- migrate:up\nSELECT 1;\n-- migrate:down\nSELECT 1;\n");
        std::fs::write(dir.path().join("menu/0001_a.sql"), text).unwrap();
        let set = MigrationSet::load(dir.path(), "app").unwrap();
        set.plan_apply(&[], None, None).unwrap()
    }

    fn loss(object: &str, amount: u64) -> Loss {
        Loss { object: object.to_owned(), amount, what: String::new(), samples: Vec::new(), accepted: None }
    }

    #[test]
    fn a_line_covers_its_object_and_its_count() {
        let plan =
            plan_of("-- accept-loss: public.t.fax nobody reads it\n-- accept-loss: public.u max 50 left of a test\n");
        let accepted = |losses: &mut [Loss]| {
            mark(losses, &plan);
            losses.iter().map(|loss| loss.accepted.is_some()).collect::<Vec<_>>()
        };
        let mut losses = [loss("public.t.fax", 9), loss("public.t", 9), loss("public.u", 50), loss("public.u.fax", 1)];
        assert_eq!(accepted(&mut losses), [true, false, true, false]);
        assert_eq!(losses[0].accepted.as_deref(), Some("menu/0001_a: nobody reads it"));
        assert_eq!(accepted(&mut [loss("public.u", 51)]), [false]);
        // Two losses of one object count together.
        assert_eq!(accepted(&mut [loss("public.u", 30), loss("public.u", 30)]), [false, false]);
    }
}
