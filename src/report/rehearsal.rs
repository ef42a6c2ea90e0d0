//! The report of a rehearsal, as it is stored and as it is read on a terminal.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::effects::{EffectsReport, StepEffectsReport};
use super::{format_count, format_duration};

/// What a rehearsal measured and found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RehearsalReport {
    /// Version of this document.
    pub schema: u32,
    /// Id, made like a snapshot's.
    pub id: String,
    /// The source whose snapshot was used.
    pub source: String,
    /// The snapshot.
    pub snapshot: String,
    /// `apply` or `rollback`.
    pub direction: String,
    /// Hash of the plan.
    pub plan_hash: String,
    /// Fingerprint of the shadow before the plan (normal form).
    pub starting_fingerprint: serde_json::Value,
    /// Major version of the server.
    pub server_major: u32,
    /// Start, UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// End, UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub finished_at: OffsetDateTime,
    /// The migrations that ran, in order.
    pub steps: Vec<StepReport>,
    /// Tables whose number of rows changed.
    pub row_changes: Vec<RowChange>,
    /// Data that the plan loses.
    pub losses: Vec<Loss>,
    /// Whether the way back was tried, and what came of it.
    pub way_back: WayBack,
    /// Remarks that do not stop the run.
    pub findings: Vec<String>,
    /// What stopped the rehearsal; none when it went through.
    pub failure: Option<String>,
    /// The conclusion.
    pub verdict: Verdict,
    /// What the shadow was kept from, and what it lacked of production.
    #[serde(default)]
    pub shadow: Vec<String>,
}

/// The conclusion of a rehearsal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing to remark.
    Pass,
    /// It went through; read the findings.
    PassWithFindings,
    /// It failed.
    Fail,
}

/// One migration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// `app/NNNN_name`.
    pub migration: String,
    /// Wall time, milliseconds.
    pub milliseconds: f64,
    /// Its statements.
    pub statements: Vec<StatementReport>,
    /// What it did as a whole.
    #[serde(flatten)]
    pub effects: StepEffectsReport,
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatementReport {
    /// Line in the file.
    pub line: u32,
    /// First line of its text.
    pub text: String,
    /// Wall time, milliseconds.
    pub milliseconds: f64,
    /// Rows touched, as the server says; 0 for DDL.
    pub rows: u64,
    /// What it did.
    #[serde(flatten)]
    pub effects: EffectsReport,
}

/// Rows of one table before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowChange {
    /// `schema.table`.
    pub table: String,
    /// Before.
    pub before: u64,
    /// After.
    pub after: u64,
}

/// Data that is gone afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// `schema.table` or `schema.table.column`.
    pub object: String,
    /// Rows, or values that were not null.
    pub amount: u64,
    /// In words.
    pub what: String,
}

/// Whether the plan can be undone by its own sections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", content = "why", rename_all = "snake_case")]
pub enum WayBack {
    /// There and back again: the schema and the row counts were as before, and the second pass equal to the first.
    Reversible,
    /// It ran, but not everything is as before.
    Differs(Vec<String>),
    /// It cannot be undone by its own sections.
    Irreversible(String),
    /// It was not tried, because the way there failed.
    NotTried,
}

impl RehearsalReport {
    /// The report as text for a terminal.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let verdict = match self.verdict {
            Verdict::Pass => "pass",
            Verdict::PassWithFindings => "pass with findings",
            Verdict::Fail => "FAIL",
        };
        let _ = writeln!(text, "rehearsal {}: {verdict}", self.id);
        let _ = writeln!(text, "  on snapshot {} of {}", self.snapshot, self.source);
        for step in &self.steps {
            let _ = writeln!(text, "  {:<50} {:>9}", step.migration, milliseconds(step.milliseconds));
            for statement in step.statements.iter().filter(|statement| statement.milliseconds >= 100.0) {
                let line = format!("line {}: {}", statement.line, shorten(&statement.text, 50));
                let _ = writeln!(text, "    {line:<60} {:>9}", milliseconds(statement.milliseconds));
            }
            for line in step.effect_lines() {
                let _ = writeln!(text, "    {line}");
            }
        }
        self.write_effects(&mut text);
        if let Some(failure) = &self.failure {
            let _ = writeln!(text, "  failed: {failure}");
        }
        text
    }

    fn write_effects(&self, text: &mut String) {
        for change in &self.row_changes {
            let (before, after) = (format_count(change.before), format_count(change.after));
            let _ = writeln!(text, "  rows of {}: {before} before, {after} after", change.table);
        }
        for loss in &self.losses {
            let _ = writeln!(text, "  DATA LOSS: {}", loss.what);
        }
        match &self.way_back {
            WayBack::Reversible => text.push_str("  reversible: down and up again were run, and all is as before\n"),
            WayBack::Differs(differences) => {
                for difference in differences {
                    let _ = writeln!(text, "  not reversible as it should be: {}", difference.replace('\n', "\n    "));
                }
            }
            WayBack::Irreversible(why) => {
                let _ = writeln!(text, "  not reversible: {why}");
            }
            WayBack::NotTried => {}
        }
        for remark in &self.shadow {
            let _ = writeln!(text, "  shadow: {remark}");
        }
        for finding in &self.findings {
            let _ = writeln!(text, "  finding: {finding}");
        }
    }

    /// The losses in words, one line each.
    pub fn loss_lines(&self) -> Vec<String> {
        self.losses.iter().map(|loss| format!("  {}", loss.what)).collect()
    }
}

pub(super) fn milliseconds(milliseconds: f64) -> String {
    format_duration(std::time::Duration::from_secs_f64(milliseconds.max(0.0) / 1000.0))
}

/// A text on one line, cut to `width` characters.
pub fn shorten(text: &str, width: usize) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() <= width { words } else { words.chars().take(width - 1).collect::<String>() + "…" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_statement_is_shortened() {
        assert_eq!(shorten("ALTER TABLE  a\n ADD b int", 40), "ALTER TABLE a ADD b int");
        assert_eq!(shorten("ALTER TABLE abc", 8), "ALTER T…");
    }
}
