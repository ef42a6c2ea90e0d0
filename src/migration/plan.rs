//! A plan: what a run will do, in order.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::MigrationError;
use super::file::{Migration, Section};
use super::id::MigrationId;

/// Which section of a migration runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The up sections.
    Apply,
    /// The down sections, in reverse order.
    Rollback,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Apply => "apply",
            Direction::Rollback => "rollback",
        })
    }
}

/// One migration of a plan.
#[derive(Clone, Debug)]
pub struct PlanStep {
    /// The migration.
    pub migration: Arc<Migration>,
    /// Which way.
    pub direction: Direction,
}

impl PlanStep {
    /// The section that runs; none only for a rollback of an irreversible migration, which planning refuses.
    pub fn section(&self) -> Option<&Section> {
        match self.direction {
            Direction::Apply => Some(&self.migration.up),
            Direction::Rollback => self.migration.down.as_ref(),
        }
    }
}

/// A `breaking:` note of a migration in a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakingNote {
    /// The migration.
    pub migration: MigrationId,
    /// What breaks.
    pub note: String,
}

/// The ordered steps from the ledger's state to a target.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which way all steps go.
    pub direction: Direction,
    /// In the order in which they run.
    pub steps: Vec<PlanStep>,
}

/// Identifies a plan: what was rehearsed is what is applied when the hashes are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanHash(String);

impl PlanHash {
    /// All 64 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for PlanHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Plan {
    pub(super) fn new(direction: Direction, migrations: Vec<Arc<Migration>>) -> Plan {
        let steps = migrations.into_iter().map(|migration| PlanStep { migration, direction }).collect();
        Plan { direction, steps }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The first program of it that is not there.
    pub fn missing_program(&self) -> Option<MigrationError> {
        self.steps.iter().find_map(|step| {
            let program = step.section()?.program.as_ref()?;
            let (path, line) = (step.migration.path.clone(), program.line);
            Some(MigrationError::NoProgram { path, line, program: program.missing()?.to_owned() })
        })
    }

    /// SHA-256 of the direction and, in order, each migration's name and checksum.
    pub fn hash(&self) -> PlanHash {
        let mut hasher = Sha256::new();
        hasher.update(format!("safe-migrate plan 1\n{}\n", self.direction));
        for step in &self.steps {
            hasher.update(format!("{} {}\n", step.migration.id, step.migration.checksum));
        }
        PlanHash(hex::encode(hasher.finalize()))
    }

    /// What the migrations say they break, in the order of the plan.
    pub fn breaking(&self) -> Vec<BreakingNote> {
        let notes = |step: &PlanStep| {
            let id = step.migration.id.clone();
            step.migration.breaking.clone().into_iter().map(move |note| BreakingNote { migration: id.clone(), note })
        };
        self.steps.iter().flat_map(notes).collect()
    }

    /// Whether a step runs outside a transaction, so that a failure can leave it half done.
    pub fn has_steps_outside_transactions(&self) -> bool {
        self.steps.iter().filter_map(PlanStep::section).any(|section| !section.transaction)
    }
}
