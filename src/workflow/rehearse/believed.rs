//! A stored rehearsal is not believed about losses: what the plan's own text drops is counted in production.
//!
//! Who can write to the store can write a receipt that says nothing of them.

use crate::lint::data_loss;
use crate::migration::Plan;
use crate::postgres::{Session, catalog, row_counts};
use crate::report::format_count;
use crate::store::Store;

use super::super::{Error, Project};
use super::own_way_back::more_than_drops;
use super::receipt::Candidate;
use super::why_not::WhyNot;

/// Why a stored rehearsal does not stand for a new one, as far as losses go. One that the operator named is believed about
/// what cannot be counted.
pub async fn not_believed(
    (project, store): (&Project, &Store),
    plan: &Plan,
    (candidate, named): (&Candidate, bool),
    production: &Session,
) -> Result<Option<WhyNot>, Error> {
    let written_here = project.wrote_receipt(store, candidate.rehearsal()).await?;
    if written_here == Some(false) {
        return Ok(Some(WhyNot::NotAsWritten));
    }
    let believed = !candidate.is_limited() && (named || written_here == Some(true));
    if let Some(step) = plan.steps.iter().find(|step| !believed && more_than_drops(step)) {
        return Ok(Some(WhyNot::NotCounted(step.migration.id.to_string())));
    }
    let losses = &candidate.report().losses;
    for finding in data_loss(plan) {
        for object in &finding.objects {
            let end = format!(".{object}");
            if losses.iter().any(|loss| loss.object == *object || loss.object.ends_with(&end)) {
                continue;
            }
            let (table, column) = match (finding.code, object.split_once('.')) {
                ("drop-table", None) => (object.as_str(), None),
                ("drop-column", Some((table, column))) => (table, Some(column)),
                _ if believed => continue,
                _ => return Ok(Some(WhyNot::NotCounted(finding.migration.to_string()))),
            };
            let mut amount = 0;
            for schema in catalog::schemas_of(production, table, column).await? {
                match row_counts::in_time(production, (&schema, table), column).await {
                    Ok(found) => amount += found,
                    // A table as large as that is not counted for what we wrote ourselves.
                    Err(_) if believed => {}
                    Err(_) => return Ok(Some(WhyNot::NotCounted(finding.migration.to_string()))),
                }
            }
            if amount > 0 {
                return Ok(Some(WhyNot::LossOfNow { object: object.clone(), amount: format_count(amount) }));
            }
        }
    }
    Ok(None)
}
