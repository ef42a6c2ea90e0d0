//! Findings from the text of SQL statements (pure).

mod data_loss;
mod reach_out;

use std::fmt;
use std::path::PathBuf;

pub use reach_out::{Reach, ReachOut, reach_out};

use crate::migration::{MigrationId, Plan};

/// One remark on a statement of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What sort of remark, such as `drop-table`; what `-- allow:` names.
    pub code: &'static str,
    /// What the statement does, in one sentence.
    pub message: String,
    /// The migration.
    pub migration: MigrationId,
    /// Its file.
    pub file: PathBuf,
    /// The line in the file, 1-based.
    pub line: u32,
    /// The reason given in the file's `-- allow: code why` line, if it accepts this finding.
    pub allowed: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} [{}]", self.file.display(), self.line, self.message, self.code)
    }
}

/// The statements of a plan that lose data by themselves, in the order in which they run.
///
/// Read from the text alone, so what the text does not show is not found: statements in a `DO` block or a called
/// function, rows that a foreign key deletes, values that a change of type cuts short. The rehearsal measures those.
pub fn data_loss(plan: &Plan) -> Vec<Finding> {
    let mut findings = Vec::new();
    for step in &plan.steps {
        let migration = &step.migration;
        for statement in step.section().iter().flat_map(|section| &section.statements) {
            for loss in data_loss::losses(&statement.text) {
                let allow = migration.allows.iter().find(|allow| allow.code == loss.code);
                findings.push(Finding {
                    code: loss.code,
                    message: loss.message,
                    migration: migration.id.clone(),
                    file: migration.path.clone(),
                    line: statement.line + loss.lines_down,
                    allowed: allow.map(|allow| allow.why.clone()),
                });
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migration::{Migration, MigrationSet};

    #[test]
    fn findings_carry_file_line_and_the_accepted_reason() {
        let text = "-- allow: drop-table unused since 2.0\n-- migrate:up\nDROP TABLE a;\n\nALTER TABLE b\n  ADD c int,\n  DROP COLUMN d;\n";
        let id: MigrationId = "menu/0001_x".parse().unwrap();
        let migration = Migration::parse(id, PathBuf::from("m.sql"), text.as_bytes()).unwrap();
        let plan = MigrationSet::new(vec![migration]).unwrap().plan_apply(&[], None, None).unwrap();
        let found: Vec<_> = data_loss(&plan).into_iter().map(|f| (f.code, f.line, f.allowed)).collect();
        assert_eq!(found, [("drop-table", 3, Some("unused since 2.0".to_owned())), ("drop-column", 7, None)]);
    }
}
