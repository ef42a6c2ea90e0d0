//! The report of a rehearsal, as it is stored and as it is read on a terminal.

use std::fmt::Write as _;

use serde::{Deserialize, Deserializer, Serialize};
use time::OffsetDateTime;

use super::effects::{EffectsReport, SizeReport, StepEffectsReport};
use super::rehearsal_effect::{write_samples, write_values, write_ways_back};
use super::{Evidence, FindingLevel, FindingReport, format_count, format_duration, format_time, shown_behind_a_label};

pub use super::rehearsal_effect::{CheckReport, CheckResult, Loss, MigrationWayBack, Reversibility, ValueChange};

/// What a rehearsal measured and found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    #[cfg_attr(test, schemars(with = "String"))]
    pub started_at: OffsetDateTime,
    /// End, UTC.
    #[serde(with = "time::serde::rfc3339")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub finished_at: OffsetDateTime,
    /// The migrations that ran, in order.
    pub steps: Vec<StepReport>,
    /// Tables whose number of rows changed.
    pub row_changes: Vec<RowChange>,
    /// Columns whose values changed in rows that are still there.
    #[serde(default)]
    pub value_changes: Vec<ValueChange>,
    /// Data that the plan loses.
    pub losses: Vec<Loss>,
    /// The tables whose rows were compared: those that the plan touched.
    #[serde(default)]
    pub compared: Vec<String>,
    /// Whether the way back was tried, and what came of it.
    pub way_back: WayBack,
    /// The same for each migration, in the order of the plan.
    #[serde(default)]
    pub ways_back: Vec<MigrationWayBack>,
    /// The checks, before and after.
    #[serde(default)]
    pub checks: Vec<CheckReport>,
    /// Remarks of lint and of what was measured.
    #[serde(deserialize_with = "findings_or_sentences")]
    pub findings: Vec<FindingReport>,
    /// What stopped the rehearsal; none when it went through.
    pub failure: Option<String>,
    /// Where it stopped, when that was a statement of a migration.
    #[serde(default)]
    pub failed_at: Option<FailedAt>,
    /// What to change, where the place of a statement is at fault and not the statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// The conclusion.
    pub verdict: Verdict,
    /// Why `apply` (or `rollback`) would refuse the plan, by the policy of then; empty when it would not.
    #[serde(default)]
    pub refusals: Vec<String>,
    /// What the shadow was kept from, and what it lacked of production.
    #[serde(default)]
    pub shadow: Vec<String>,
    /// When the shadow was restored and proven, if it came from the cache; none: it was restored for this rehearsal.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub restored_at: Option<OffsetDateTime>,
    /// Where the time went, in order.
    #[serde(default)]
    pub phases: Vec<Phase>,
    /// Tables that the plan locked or whose size it changed: their size before and after it.
    #[serde(default)]
    pub tables: Vec<SizeReport>,
    /// What production's server calls its version, such as `15.20 (Debian 15.20-1)`.
    #[serde(default)]
    pub server_version: String,
    /// Version of safe-migrate.
    #[serde(default)]
    pub tool_version: String,
    /// When all rows of the snapshot were read, UTC.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub snapshot_taken_at: Option<OffsetDateTime>,
}

/// A part of a rehearsal's time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Phase {
    /// `restore` (with the proof) or `copy from cache`; `keep` (for the next rehearsal); `schema`; `copy` (of the database
    /// before the plan); `preparation`; `migrations`; `comparison`; `way back`.
    pub name: String,
    /// Wall time, milliseconds.
    pub milliseconds: f64,
}

/// The statement at which a rehearsal stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FailedAt {
    /// `app/NNNN_name`.
    pub migration: String,
    /// The migration's file, relative to the project where it can be.
    pub file: String,
    /// The line in the file, 1-based; none when no statement failed, but the migration as a whole.
    pub line: Option<u32>,
    /// The statement's text on one line, shortened; none as above.
    #[serde(default)]
    pub statement: Option<String>,
}

/// The conclusion of a rehearsal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StatementReport {
    /// Line in the file.
    pub line: u32,
    /// First line of its text.
    pub text: String,
    /// Wall time, milliseconds.
    pub milliseconds: f64,
    /// Rows touched, as the server says; 0 for DDL.
    pub rows: u64,
    /// In how many batches; none: it ran whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batches: Option<u64>,
    /// What it did.
    #[serde(flatten)]
    pub effects: EffectsReport,
}

/// Rows of one table before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RowChange {
    /// `schema.table`.
    pub table: String,
    /// Before.
    pub before: u64,
    /// After.
    pub after: u64,
}

/// Whether the plan can be undone by its own sections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
            Verdict::Fail => "FAIL".to_owned(),
            _ if self.is_refused() => format!("{} would refuse: {}", self.direction, self.refusals.join("; ")),
            Verdict::Pass => "pass".to_owned(),
            Verdict::PassWithFindings => "pass with findings".to_owned(),
        };
        let _ = writeln!(text, "rehearsal {}: {verdict}", self.id);
        let _ = writeln!(text, "  on snapshot {} of {}", self.snapshot, self.source);
        if let Some(restored_at) = self.restored_at {
            let time = format_time(restored_at);
            let _ = writeln!(text, "  from the cache: restored and proven {time}; its files are as they were then");
        }
        for step in &self.steps {
            let _ = writeln!(text, "  {:<50} {:>9}", step.migration, milliseconds(step.milliseconds));
            for statement in step.statements.iter().filter(|statement| statement.milliseconds >= 100.0) {
                let line = format!("line {}: {}", statement.line, shorten(&statement.text, 50));
                let _ = writeln!(text, "    {line:<60} {:>9}", milliseconds(statement.milliseconds));
            }
            for statement in &step.statements {
                let Some(batches) = statement.batches else { continue };
                let _ = writeln!(
                    text,
                    "    line {}: {} rows in {} batches, {}",
                    statement.line,
                    format_count(statement.rows),
                    format_count(batches),
                    milliseconds(statement.milliseconds)
                );
            }
            for line in step.effect_lines() {
                let _ = writeln!(text, "    {line}");
            }
        }
        self.write_effects(&mut text);
        if let Some(failure) = &self.failure {
            let _ = writeln!(text, "  failed: {failure}");
            if let Some(advice) = &self.advice {
                let _ = writeln!(text, "  {advice}");
            }
        }
        // Every line of ours but the first is set in; what others wrote may have line breaks.
        shown_behind_a_label(&text) + "\n"
    }

    fn write_effects(&self, text: &mut String) {
        for change in &self.row_changes {
            let (before, after) = (format_count(change.before), format_count(change.after));
            let _ = writeln!(text, "  rows of {}: {before} before, {after} after", change.table);
        }
        write_values(text, &self.value_changes);
        for loss in &self.losses {
            let _ = writeln!(text, "  DATA LOSS: {}", loss.to_line());
            write_samples(text, &loss.samples);
        }
        if self.ways_back.is_empty() {
            self.write_way_back(text);
        } else {
            write_ways_back(text, &self.ways_back);
        }
        for check in &self.checks {
            if let Some(remark) = check.remark() {
                let _ = writeln!(text, "  {remark}");
                write_samples(text, &check.after.samples);
            }
        }
        for remark in &self.shadow {
            let _ = writeln!(text, "  shadow: {remark}");
        }
        // Lost data and the way back have their lines above.
        let said = |finding: &&FindingReport| matches!(finding.code.as_str(), "data-loss" | "irreversible");
        for finding in self.findings.iter().filter(|finding| !said(finding)) {
            let _ = writeln!(text, "  {}", finding.to_line());
        }
    }

    /// Of a report that was stored before each migration had its own verdict.
    fn write_way_back(&self, text: &mut String) {
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
    }

    /// The losses that nothing accepts, in words, one line each.
    pub fn open_losses(&self) -> Vec<String> {
        let open = self.losses.iter().filter(|loss| loss.accepted.is_none());
        open.map(|loss| format!("  {}", loss.what)).collect()
    }

    /// Whether it went through, and the command that it is for would refuse the plan all the same.
    pub fn is_refused(&self) -> bool {
        self.verdict != Verdict::Fail && !self.refusals.is_empty()
    }
}

/// Findings; earlier versions stored each as one sentence.
fn findings_or_sentences<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<FindingReport>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Stored {
        Finding(FindingReport),
        Sentence(String),
    }
    let of = |stored| match stored {
        Stored::Finding(finding) => finding,
        Stored::Sentence(message) => FindingReport {
            code: "finding".to_owned(),
            level: FindingLevel::Warn,
            evidence: Evidence::Static,
            migration: None,
            file: None,
            line: None,
            message,
            remedy: None,
            allowed: None,
        },
    };
    Ok(Vec::<Stored>::deserialize(deserializer)?.into_iter().map(of).collect())
}

/// A time of a report. A stored one may say anything: what is no number is no time, and none is longer than 136 years.
pub fn of_milliseconds(milliseconds: f64) -> std::time::Duration {
    let longest = f64::from(u32::MAX);
    std::time::Duration::try_from_secs_f64((milliseconds / 1000.0).clamp(0.0, longest)).unwrap_or_default()
}

/// Milliseconds as people read them.
pub fn milliseconds(milliseconds: f64) -> String {
    format_duration(of_milliseconds(milliseconds))
}

/// A text on one line, cut to `width` characters.
pub fn shorten(text: &str, width: usize) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() <= width { words } else { words.chars().take(width - 1).collect::<String>() + "…" }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the first version stored it: what came later is empty.
    #[test]
    fn a_report_stored_before_the_verdicts_reads_back() {
        let stored = serde_json::json!({
            "schema": 1, "id": "20261122T135823Z-7f3a9c", "source": "shop", "snapshot": "20261122T135000Z-7f3a9d",
            "direction": "apply", "plan_hash": "ab", "starting_fingerprint": null, "server_major": 15,
            "started_at": "2026-11-22T13:58:23Z", "finished_at": "2026-11-22T13:58:24Z", "steps": [],
            "row_changes": [{"table": "public.dish", "before": 2, "after": 0}],
            "losses": [{"object": "public.dish", "amount": 2, "what": "table public.dish is gone with 2 rows"}],
            "way_back": {"result": "irreversible", "why": "menu/0003 has no down section"},
            "findings": ["m.sql:3: drops the table a [drop-table]"], "failure": null, "verdict": "pass_with_findings"
        });
        let report: RehearsalReport = serde_json::from_value(stored).unwrap();
        assert!(report.ways_back.is_empty() && report.checks.is_empty());
        assert!(report.to_text().contains("not reversible: menu/0003 has no down section"));
        assert!(report.to_text().contains("warn: m.sql:3: drops the table a [drop-table]"), "{}", report.to_text());
    }

    #[test]
    fn a_long_statement_is_shortened() {
        assert_eq!(shorten("ALTER TABLE  a\n ADD b int", 40), "ALTER TABLE a ADD b int");
        assert_eq!(shorten("ALTER TABLE abc", 8), "ALTER T…");
    }
}
