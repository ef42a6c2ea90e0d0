//! The parts of a rehearsal's report about data, the way back and checks.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::{format_count, format_things};

/// Data that is gone afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Loss {
    /// `schema.table` or `schema.table.column`.
    pub object: String,
    /// Rows, or values that were not null.
    pub amount: u64,
    /// In words.
    pub what: String,
    /// Examples, under `--samples` and never in the stored report.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<String>,
    /// `app/NNNN_name: why`, where the file of a migration of the plan accepts it; or the option that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
}

impl Loss {
    /// What is lost, and who accepted it.
    pub fn to_line(&self) -> String {
        match &self.accepted {
            Some(by) => format!("{}; accepted by {by}", self.what),
            None => self.what.clone(),
        }
    }
}

/// Values of one column that are others afterwards, in rows that are still there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ValueChange {
    /// `schema.table.column`, by the names before.
    pub column: String,
    /// Values that became others.
    pub changed: u64,
    /// Values that became null.
    pub emptied: u64,
    /// Nulls that became values.
    pub filled: u64,
    /// Whether the column got another type, or was made anew under its name.
    pub other_type: bool,
    /// Whether its type is the same, so that it was made anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub made_anew: bool,
    /// Whether the table has no key, so that rows were compared as a whole and `changed` counts rows.
    pub without_key: bool,
    /// Examples, under `--samples` and never in the stored report.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<String>,
}

/// Whether one migration can be undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MigrationWayBack {
    /// `app/NNNN_name`.
    pub migration: String,
    /// The conclusion.
    pub verdict: Reversibility,
    /// The reasons, a line each.
    pub why: Vec<String>,
    /// Data that is not back.
    pub losses: Vec<Loss>,
    /// What is not as it was and is no loss, such as the order of columns.
    pub notes: Vec<String>,
    /// Columns that a second run filled with other values: the migration is not deterministic.
    pub not_deterministic: Vec<String>,
}

/// The conclusion about one migration's way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Reversibility {
    /// Schema and data were as before, and the second run built the same schema.
    Reversible,
    /// The schema was as before, and data is not back.
    ReversibleWithLoss,
    /// It has no way back, or it failed, or led elsewhere.
    NotReversible,
    /// Another migration stood in the way.
    NotTried,
}

/// A check that ran before and after the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CheckReport {
    /// `app/checks/name.sql`.
    pub file: String,
    /// Before the plan.
    pub before: CheckResult,
    /// After it.
    pub after: CheckResult,
}

/// What a check said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CheckResult {
    /// Rows that it returned; none when it could not be run.
    pub rows: Option<u64>,
    /// Why it could not be run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The first rows, under `--samples` and never in the stored report.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<String>,
}

impl ValueChange {
    fn write(&self, text: &mut String) {
        let parts = [(self.changed, "changed"), (self.emptied, "set to null"), (self.filled, "filled")];
        let parts = parts.into_iter().filter(|(count, _)| *count > 0);
        let parts: Vec<String> = parts.map(|(count, how)| format!("{} {how}", format_count(count))).collect();
        let how = if self.without_key { " (no key: at most; rows are compared as a whole)" } else { "" };
        let _ = writeln!(text, "  values of {}: {}{how}", self.column, parts.join(", "));
        write_samples(text, &self.samples);
    }
}

impl MigrationWayBack {
    /// The verdict in words.
    pub fn verdict_text(&self) -> &'static str {
        match self.verdict {
            Reversibility::Reversible => "reversible",
            Reversibility::ReversibleWithLoss => "reversible with loss",
            Reversibility::NotReversible => "not reversible",
            Reversibility::NotTried => "not tried",
        }
    }

    fn write(&self, text: &mut String) {
        let verdict = self.verdict_text();
        if self.why.is_empty() && self.losses.is_empty() {
            let _ = writeln!(text, "  way back of {}: {verdict}", self.migration);
        }
        let mut line = |why: &str, samples: &[String]| {
            let _ = writeln!(text, "  way back of {}: {verdict}: {}", self.migration, why.replace('\n', "\n    "));
            write_samples(text, samples);
        };
        self.why.iter().for_each(|why| line(why, &[]));
        self.losses.iter().for_each(|loss| line(&loss.what, &loss.samples));
    }
}

impl CheckReport {
    /// What is to be said of it; nothing when it returned no row.
    pub fn remark(&self) -> Option<String> {
        let rows = |rows: u64| format_things(rows, "row");
        match (self.before.rows, self.after.rows) {
            (_, Some(0)) if self.before.rows != Some(0) && self.before.rows.is_some() => {
                let before = self.before.rows.unwrap_or_default();
                Some(format!("check {} returns {} before, none after", self.file, rows(before)))
            }
            (_, Some(0)) => None,
            (Some(before), Some(after)) if before > 0 => {
                Some(format!("check {} returns {} before already, {} after", self.file, rows(before), rows(after)))
            }
            (_, Some(after)) => {
                Some(format!("check {} returns {} after, and must return none", self.file, rows(after)))
            }
            (_, None) => {
                let why = self.after.error.as_deref().unwrap_or("no reason is known");
                Some(format!("check {} cannot be run after: {why}", self.file))
            }
        }
    }
}

pub(super) fn write_samples(text: &mut String, samples: &[String]) {
    for sample in samples {
        let _ = writeln!(text, "    {}", sample.replace('\n', "\n    "));
    }
}

pub(super) fn write_values(text: &mut String, changes: &[ValueChange]) {
    changes.iter().for_each(|change| change.write(text));
}

/// One line when all is well, and else a line per migration and reason.
pub(super) fn write_ways_back(text: &mut String, ways_back: &[MigrationWayBack]) {
    if ways_back.iter().all(|way| way.verdict == Reversibility::Reversible) {
        text.push_str("  reversible: down and up again were run, and all is as before\n");
    } else {
        ways_back.iter().for_each(|way| way.write(text));
    }
    for way in ways_back {
        for note in &way.notes {
            let _ = writeln!(text, "  note: undoing {}: {note}", way.migration);
        }
        if !way.not_deterministic.is_empty() {
            let columns = way.not_deterministic.join(", ");
            let _ =
                writeln!(text, "  not deterministic: {} gave other values when run again: {columns}", way.migration);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: Option<u64>, after: Option<u64>) -> Option<String> {
        let result = |rows| CheckResult { rows, ..CheckResult::default() };
        CheckReport { file: "c.sql".into(), before: result(before), after: result(after) }.remark()
    }

    #[test]
    fn a_check_is_remarked_when_it_returns_rows_or_cannot_run() {
        assert_eq!(check(Some(0), Some(0)), None);
        assert_eq!(check(None, Some(0)), None, "the table was made by the plan");
        assert_eq!(check(Some(2), Some(0)).unwrap(), "check c.sql returns 2 rows before, none after");
        assert_eq!(check(Some(2), Some(1)).unwrap(), "check c.sql returns 2 rows before already, 1 row after");
        assert_eq!(check(Some(0), Some(1)).unwrap(), "check c.sql returns 1 row after, and must return none");
        assert!(check(Some(0), None).unwrap().starts_with("check c.sql cannot be run after"));
    }
}
