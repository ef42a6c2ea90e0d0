//! The part of a rehearsal that `apply` trusts. A receipt is made here only.

use crate::migration::Plan;
use crate::report::rehearsal::{RehearsalReport, Verdict};

use super::super::{Error, Gate};

/// Evidence that this plan went through on data restored from a snapshot.
#[derive(Clone, Debug)]
pub struct Receipt {
    rehearsal: String,
    plan_hash: String,
    losses: Vec<String>,
}

impl Receipt {
    /// The receipt of a rehearsal that went through.
    pub fn from_report(report: &RehearsalReport) -> Result<Self, Error> {
        if report.verdict == Verdict::Fail {
            let why = report.failure.clone().unwrap_or_else(|| "it did not go through".to_owned());
            return Err(Gate::RehearsalFailed(why).into());
        }
        Ok(Self { rehearsal: report.id.clone(), plan_hash: report.plan_hash.clone(), losses: report.loss_lines() })
    }

    /// Id of the rehearsal.
    pub fn rehearsal(&self) -> &str {
        &self.rehearsal
    }

    /// Whether it is about this plan.
    pub fn covers(&self, plan: &Plan) -> bool {
        self.plan_hash == plan.hash().as_str()
    }

    /// The data that the plan loses, one line each.
    pub fn losses(&self) -> &[String] {
        &self.losses
    }
}

/// What `apply` goes by: a receipt, or a bypass that carries its reason.
#[derive(Clone, Debug)]
pub enum RehearsalEvidence {
    /// The plan was rehearsed.
    Receipt(Receipt),
    /// `--skip-rehearsal REASON`.
    Skipped(String),
}
