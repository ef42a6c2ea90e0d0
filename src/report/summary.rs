//! What every format of a rehearsal's report says first: the verdict, and what users of the database will notice.

use std::collections::BTreeMap;

use super::rehearsal::{RehearsalReport, Reversibility, Verdict, WayBack, milliseconds};
use super::{FindingReport, format_things};

/// What every format says of the times.
pub(super) const ESTIMATES: &str = "Times are estimates: they were measured on a copy, on other hardware, without \
    other load and without waiting for disks. In production the statement also waits for its lock first, and whoever \
    wants the table queues behind it.";

/// The longest lock of one strength on one relation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Blocked<'a> {
    pub(super) relation: &'a str,
    /// As in `LOCK TABLE … IN … MODE`.
    pub(super) mode: &'a str,
    /// What waits for it.
    pub(super) blocks: &'a str,
    pub(super) milliseconds: f64,
    pub(super) migration: &'a str,
    pub(super) line: u32,
}

impl Blocked<'_> {
    /// `reads and writes blocked for 4.2 s`.
    pub(super) fn effect(&self) -> String {
        format!("{} blocked for {}", self.blocks, duration(self.milliseconds))
    }

    /// `line 7 of menu/0011_x`.
    pub(super) fn cause(&self) -> String {
        match self.line {
            0 => self.migration.to_owned(),
            line => format!("line {line} of {}", self.migration),
        }
    }
}

/// A time as reports show it: what is under a millisecond is not nothing.
pub(super) fn duration(time: f64) -> String {
    if time < 1.0 { "under 1 ms".to_owned() } else { milliseconds(time) }
}

/// The relations for which reads or writes wait, longest first; of each kind of waiting the longest lock.
pub(super) fn blocked(report: &RehearsalReport) -> Vec<Blocked<'_>> {
    let mut longest: BTreeMap<(&str, &str), Blocked<'_>> = BTreeMap::new();
    for step in &report.steps {
        for lock in &step.effects.blocking_locks {
            let found = Blocked {
                relation: &lock.relation,
                mode: &lock.mode,
                blocks: &lock.blocks,
                milliseconds: lock.held_milliseconds,
                migration: &step.migration,
                line: lock.line,
            };
            let kept = longest.entry((found.relation, found.blocks)).or_insert_with(|| found.clone());
            if kept.milliseconds < found.milliseconds {
                *kept = found;
            }
        }
    }
    let mut blocked: Vec<_> = longest.into_values().collect();
    blocked.sort_by(|a, b| b.milliseconds.total_cmp(&a.milliseconds).then(a.relation.cmp(b.relation)));
    blocked
}

/// The verdict in two or three words.
pub(super) fn verdict_word(report: &RehearsalReport) -> &'static str {
    match report.verdict {
        _ if report.is_refused() => "Would be refused",
        Verdict::Pass => "Pass",
        Verdict::PassWithFindings => "Pass with findings",
        Verdict::Fail => "Fail",
    }
}

/// The verdict in a sentence.
pub(super) fn verdict_sentence(report: &RehearsalReport) -> String {
    let plan = format!("the {} of {}", report.direction, format_things(report.steps.len() as u64, "migration"));
    if report.is_refused() {
        let refusals = report.refusals.join("; ");
        return format!(
            "On a copy of production {plan} went through, but {} would refuse it: {refusals}.",
            report.direction
        );
    }
    match report.verdict {
        Verdict::Pass => format!("On a copy of production {plan} went through, and the way back as well."),
        Verdict::PassWithFindings => {
            let parts = to_read(report);
            let parts = if parts.is_empty() { String::new() } else { format!(" Read first: {}.", parts.join(", ")) };
            format!("On a copy of production {plan} went through.{parts}")
        }
        Verdict::Fail => {
            let at = report.failed_at.as_ref().map(|at| match at.line {
                Some(line) => format!(" It stopped at line {line} of {}.", at.file),
                None => format!(" It stopped in {}.", at.migration),
            });
            let at = at.unwrap_or_default();
            format!(
                "On a copy of production the {} did not go through.{at} Production was not touched.",
                report.direction
            )
        }
    }
}

fn to_read(report: &RehearsalReport) -> Vec<String> {
    let open = report.findings.iter().filter(|finding| finding.allowed.is_none()).count();
    let accepted = report.losses.iter().filter(|loss| loss.accepted.is_some()).count();
    let counted = [
        (report.losses.len() - accepted, "loss of data", "losses of data"),
        (accepted, "accepted loss of data", "accepted losses of data"),
        (open, "finding", "findings"),
    ];
    let counted = counted.into_iter().filter(|(count, ..)| *count > 0);
    let mut parts: Vec<String> =
        counted.map(|(count, one, many)| format!("{count} {}", if count == 1 { one } else { many })).collect();
    if report.way_back != WayBack::Reversible && report.way_back != WayBack::NotTried {
        parts.push("the way back".to_owned());
    }
    parts
}

/// The findings, those that stop a run first.
pub(super) fn denied_first(report: &RehearsalReport) -> Vec<&FindingReport> {
    let mut findings: Vec<&FindingReport> = report.findings.iter().collect();
    findings.sort_by_key(|finding| !finding.is_denied());
    findings
}

/// Whether the way back brings everything back, in a sentence.
pub(super) fn way_back_sentence(report: &RehearsalReport) -> &'static str {
    let any = |wanted: Reversibility| report.ways_back.iter().any(|way| way.verdict == wanted);
    match &report.way_back {
        WayBack::NotTried if report.failure.is_none() => "The way back was not tried.",
        WayBack::NotTried => "The way back was not tried, because the way there failed.",
        WayBack::Reversible => "Reversible: down and up again were run on the copy, and all is as before.",
        _ if any(Reversibility::NotReversible) || report.ways_back.is_empty() => {
            "Not reversible by its own down sections. The way back is the snapshot."
        }
        _ => "Down and up again run, but not all data comes back. The way back without loss is the snapshot.",
    }
}
