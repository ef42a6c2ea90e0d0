//! A report without any value of production's rows.

use super::rehearsal::{RehearsalReport, WayBack};
use super::server_words::without_values;

impl RehearsalReport {
    /// This report without any value of production's rows, as it is stored.
    pub fn without_samples(&self) -> RehearsalReport {
        let mut report = self.clone();
        report.failure = report.failure.as_deref().map(without_values);
        report.findings.iter_mut().for_each(|finding| finding.message = without_values(&finding.message));
        for why in report.ways_back.iter_mut().flat_map(|way| &mut way.why) {
            *why = without_values(why);
        }
        report.way_back = match report.way_back {
            WayBack::Differs(differences) => {
                WayBack::Differs(differences.iter().map(|why| without_values(why)).collect())
            }
            WayBack::Irreversible(why) => WayBack::Irreversible(without_values(&why)),
            way_back => way_back,
        };
        report.value_changes.iter_mut().for_each(|change| change.samples.clear());
        report.losses.iter_mut().for_each(|loss| loss.samples.clear());
        report.ways_back.iter_mut().flat_map(|way| &mut way.losses).for_each(|loss| loss.samples.clear());
        for check in &mut report.checks {
            check.before.samples.clear();
            check.after.samples.clear();
            for result in [&mut check.before, &mut check.after] {
                result.error = result.error.as_deref().map(without_values);
            }
        }
        report
    }
}
