//! What each finding counts for in one project, and how much a run may cost.

use std::collections::BTreeMap;
use std::time::Duration;

use super::level::Level;
use super::rules::rule;

/// A lock that reads or writes wait for this long is said, also where no budget is set.
const LONG_LOCK: Duration = Duration::from_secs(1);

/// Levels and budgets. The defaults are those of the rules, and no budget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Levels by code, where they are not the rule's own.
    pub levels: BTreeMap<&'static str, Level>,
    /// The longest time that reads or writes of the application may wait for one lock, as a rehearsal measures it.
    pub max_blocking_lock: Option<Duration>,
    /// The largest table that may be written anew, bytes with indexes and TOAST before the run.
    pub max_rewrite: Option<u64>,
}

impl Policy {
    /// What findings of this code count for.
    pub fn level(&self, code: &str) -> Level {
        let own = self.levels.get(code).copied();
        own.or_else(|| rule(code).map(|rule| rule.level)).unwrap_or(Level::Warn)
    }

    /// From which time on a blocking lock is said.
    pub fn long_lock(&self) -> Duration {
        self.max_blocking_lock.map_or(LONG_LOCK, |budget| budget.min(LONG_LOCK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_of_the_project_goes_before_the_rules_own() {
        let mut policy = Policy::default();
        assert_eq!((policy.level("drop-table"), policy.level("data-loss")), (Level::Deny, Level::Deny));
        policy.levels.insert("drop-table", Level::Note);
        assert_eq!(policy.level("drop-table"), Level::Note);
    }

    #[test]
    fn a_budget_below_a_second_is_kept_too() {
        let strict = Policy { max_blocking_lock: Some(Duration::from_millis(10)), ..Policy::default() };
        assert_eq!((strict.long_lock(), Policy::default().long_lock()), (Duration::from_millis(10), LONG_LOCK));
    }
}
