//! Which snapshots stay, and why (pure).

use std::collections::BTreeSet;
use std::time::Duration;

use time::OffsetDateTime;

use crate::snapshot::SnapshotId;

/// Snapshots of runs that changed nothing go after this.
const REFUSED_STAY: time::Duration = time::Duration::days(1);
/// A snapshot that is dated further ahead than clocks differ counts for no rule: whoever can write to the store could push
/// the others out by it.
const CLOCKS_DIFFER: time::Duration = time::Duration::minutes(5);

/// How many stay. A rule that is not set keeps nothing by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The newest ones.
    pub last: Option<u32>,
    /// The newest of each of so many hours, days, weeks (from Monday), months and years (UTC) that have one.
    pub hourly: Option<u32>,
    /// Days.
    pub daily: Option<u32>,
    /// Weeks.
    pub weekly: Option<u32>,
    /// Months.
    pub monthly: Option<u32>,
    /// Years.
    pub yearly: Option<u32>,
    /// Those that are no older.
    pub within: Option<Duration>,
    /// Those taken before the newest runs that changed production.
    pub before_runs: Option<u32>,
    /// The newest that were restored and compared, besides what the other rules keep.
    pub proven: u32,
}

impl Rules {
    /// Whether any rule keeps anything: without one, all but a few would go.
    pub fn is_any_set(&self) -> bool {
        let numbers = [self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly, self.before_runs];
        numbers.iter().flatten().any(|number| *number > 0) || self.within.is_some_and(|within| !within.is_zero())
    }
}

/// What became of the run that a snapshot was taken for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TakenFor {
    /// For no run, or for one that is not known.
    #[default]
    NoRun,
    /// A gate refused it, or it stopped before it changed anything.
    Refused,
    /// It changed production.
    Change,
}

/// A snapshot of one source, as the rules see it.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its name.
    pub id: SnapshotId,
    /// When it was begun.
    pub taken_at: OffsetDateTime,
    /// What it was taken for.
    pub taken: TakenFor,
    /// Whether it was restored and compared since.
    pub proven: bool,
    /// Why it may not go, whatever the rules say.
    pub needed: Vec<String>,
}

/// What is to become of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Its name.
    pub id: SnapshotId,
    /// Whether it stays.
    pub keep: bool,
    /// Why, in a few words each; of one that goes, why no rule keeps it.
    pub reasons: Vec<String>,
}

/// Decides about the snapshots of one source, newest first in the answer.
pub fn decide(mut snapshots: Vec<Facts>, rules: &Rules, now: OffsetDateTime) -> Vec<Decision> {
    snapshots.sort_by(|left, right| (right.taken_at, &right.id).cmp(&(left.taken_at, &left.id)));
    let mut reasons: Vec<Vec<String>> = snapshots.iter().map(|one| one.needed.clone()).collect();
    let is_counted = |one: &Facts| one.taken != TakenFor::Refused && one.taken_at <= now + CLOCKS_DIFFER;
    let counted: Vec<usize> =
        snapshots.iter().enumerate().filter(|(_, one)| is_counted(one)).map(|(index, _)| index).collect();
    for (number, index) in rules.last.into_iter().flat_map(|last| counted.iter().take(last as usize)).enumerate() {
        reasons[*index].push(format!("last {}", number + 1));
    }
    for (name, number, bucket) in buckets(rules) {
        let mut seen = BTreeSet::new();
        for index in &counted {
            let of = bucket(snapshots[*index].taken_at);
            if seen.len() < number as usize && seen.insert(of) {
                reasons[*index].push(format!("{name} {}", seen.len()));
            }
        }
    }
    for index in &counted {
        if rules.within.is_some_and(|within| now - snapshots[*index].taken_at < within) {
            reasons[*index].push("within".to_owned());
        }
    }
    let before_runs = counted.iter().filter(|index| snapshots[**index].taken == TakenFor::Change);
    for (number, index) in before_runs.take(rules.before_runs.unwrap_or_default() as usize).enumerate() {
        reasons[*index].push(format!("before run {}", number + 1));
    }
    let proven = snapshots.iter().enumerate().filter(|(_, one)| one.proven).map(|(index, _)| index);
    for (number, index) in proven.take(rules.proven as usize).enumerate() {
        reasons[index].push(format!("proven {}", number + 1));
    }
    for (one, reasons) in snapshots.iter().zip(&mut reasons) {
        if one.taken_at > now + CLOCKS_DIFFER {
            reasons.push("dated in the future: it counts for no rule".to_owned());
        } else if one.taken == TakenFor::Refused && now - one.taken_at < REFUSED_STAY {
            reasons.push("of a run that changed nothing, less than a day ago".to_owned());
        }
    }
    if let (true, Some(newest)) = (reasons.iter().all(Vec::is_empty), reasons.first_mut()) {
        newest.push("the only one".to_owned());
    }
    let decide = |(one, reasons): (Facts, Vec<String>)| {
        let keep = !reasons.is_empty();
        let why_not = match one.taken {
            TakenFor::Refused => "of a run that changed nothing",
            _ => "no rule keeps it",
        };
        Decision { id: one.id, keep, reasons: if keep { reasons } else { vec![why_not.to_owned()] } }
    };
    snapshots.into_iter().zip(reasons).map(decide).collect()
}

/// A span of time that a snapshot lies in, as a sortable number.
type Bucket = fn(OffsetDateTime) -> i64;

fn buckets(rules: &Rules) -> Vec<(&'static str, u32, Bucket)> {
    let day: Bucket = |at| i64::from(at.date().to_julian_day());
    let hour: Bucket = |at| i64::from(at.date().to_julian_day()) * 24 + i64::from(at.hour());
    let week: Bucket = |at| {
        let (year, week, _) = at.date().to_iso_week_date();
        i64::from(year) * 100 + i64::from(week)
    };
    let month: Bucket = |at| i64::from(at.year()) * 100 + i64::from(u8::from(at.month()));
    let year: Bucket = |at| i64::from(at.year());
    let all = [
        ("hourly", rules.hourly, hour),
        ("daily", rules.daily, day),
        ("weekly", rules.weekly, week),
        ("monthly", rules.monthly, month),
        ("yearly", rules.yearly, year),
    ];
    all.into_iter().filter_map(|(name, number, bucket)| Some((name, number?, bucket))).collect()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn at(taken_at: OffsetDateTime, tail: u8) -> Facts {
        let id = SnapshotId::new(taken_at, [0, 0, tail]);
        Facts { id, taken_at, taken: TakenFor::NoRun, proven: false, needed: Vec::new() }
    }

    fn days(kept: &[Decision]) -> Vec<String> {
        kept.iter().filter(|one| one.keep).map(|one| one.id.as_str()[..8].to_owned()).collect()
    }

    /// A snapshot at 02:00 of each day of 2026.
    fn year() -> Vec<Facts> {
        (0..365).map(|day| at(datetime!(2026-01-01 02:00 UTC) + time::Duration::days(day), 1)).collect()
    }

    #[test]
    fn a_year_of_nightly_snapshots_equals_the_table_worked_out_by_hand() {
        let rules =
            Rules { daily: Some(7), weekly: Some(4), monthly: Some(6), yearly: Some(2), proven: 2, ..Rules::default() };
        // Thursday, 31 December 2026. Days: 25 to 31. Weeks end on Sundays: the newest of this one is the 31st, then 27, 20,
        // 13. Months: 31 December, then the last days of November to July.
        let decisions = decide(year(), &rules, datetime!(2026-12-31 03:00 UTC));
        let expected = [
            "20261231", "20261230", "20261229", "20261228", "20261227", "20261226", "20261225", "20261220", "20261213",
            "20261130", "20261031", "20260930", "20260831", "20260731",
        ];
        assert_eq!(days(&decisions), expected);
        assert_eq!(decisions[0].reasons, ["daily 1", "weekly 1", "monthly 1", "yearly 1"]);
        assert_eq!(decisions[4].reasons, ["daily 5", "weekly 2"]);
        assert_eq!(decisions.len(), 365);
    }

    #[test]
    fn run_each_night_it_keeps_what_it_would_have_kept_at_once() {
        let rules = Rules { daily: Some(7), weekly: Some(4), monthly: Some(6), yearly: Some(2), ..Rules::default() };
        let mut store: Vec<Facts> = Vec::new();
        let mut last = Vec::new();
        for one in year() {
            let now = one.taken_at + time::Duration::hours(1);
            store.push(one);
            last = decide(store.clone(), &rules, now);
            store.retain(|one| last.iter().any(|decision| decision.keep && decision.id == one.id));
            assert!(store.len() <= 19, "it does not grow: {}", store.len());
        }
        // The last night of a month is there when the month ends, so nothing is missing that the table has.
        assert_eq!(days(&last), days(&decide(year(), &rules, datetime!(2026-12-31 03:00 UTC))));
    }

    #[test]
    fn what_is_never_removed_stays_whatever_the_rules_say() {
        let rules = Rules { last: Some(1), proven: 2, ..Rules::default() };
        let now = datetime!(2026-12-31 03:00 UTC);
        type Change = fn(&mut Facts);
        let cases: [(Change, bool, &str); 5] = [
            (|_| {}, false, "no rule keeps it"),
            (|one| one.needed.push("pinned: audit".to_owned()), true, "pinned: audit"),
            (|one| one.proven = true, true, "proven 1"),
            (|one| one.taken = TakenFor::Refused, false, "of a run that changed nothing"),
            (|one| one.taken_at = datetime!(2027-06-01 0:00 UTC), true, "dated in the future: it counts for no rule"),
        ];
        for (change, keep, reason) in cases {
            let mut snapshots = year();
            change(&mut snapshots[100]);
            let changed = snapshots[100].id.clone();
            let decisions = decide(snapshots, &rules, now);
            let decision = decisions.iter().find(|one| one.id == changed).unwrap();
            assert_eq!((decision.keep, decision.reasons.as_slice()), (keep, &[reason.to_owned()][..]));
            assert_eq!(decisions.iter().filter(|one| one.keep).count(), 1 + usize::from(keep));
            assert!(decisions.iter().any(|one| one.keep && one.id.as_str().starts_with("20261231")), "{reason}");
        }
    }

    #[test]
    fn only_the_newest_proven_ones_stay_and_a_store_where_nothing_is_proven_does_not_grow() {
        let rules = Rules { last: Some(3), proven: 2, ..Rules::default() };
        let now = datetime!(2026-12-31 03:00 UTC);
        let mut snapshots = year();
        for day in [10, 20, 30] {
            snapshots[day].proven = true;
        }
        assert_eq!(days(&decide(snapshots, &rules, now)), ["20261231", "20261230", "20261229", "20260131", "20260121"]);
        assert_eq!(days(&decide(year(), &rules, now)).len(), 3);
    }

    #[test]
    fn runs_that_changed_nothing_take_no_place_of_another_and_go_after_a_day() {
        let rules = Rules { last: Some(2), before_runs: Some(1), proven: 0, ..Rules::default() };
        let now = datetime!(2026-12-31 03:00 UTC);
        let hours = |hours: i64| now - time::Duration::hours(hours);
        let of = |taken: TakenFor, ago: i64| Facts { taken, ..at(hours(ago), u8::try_from(ago).unwrap()) };
        let snapshots = vec![
            of(TakenFor::Refused, 1),
            of(TakenFor::Refused, 2),
            of(TakenFor::NoRun, 3),
            of(TakenFor::NoRun, 4),
            of(TakenFor::Refused, 30),
            of(TakenFor::NoRun, 40),
            of(TakenFor::Change, 50),
            of(TakenFor::Change, 60),
        ];
        let kept: Vec<bool> = decide(snapshots, &rules, now).iter().map(|one| one.keep).collect();
        assert_eq!(kept, [true, true, true, true, false, false, true, false]);
    }

    #[test]
    fn the_only_one_stays() {
        let now = datetime!(2026-12-31 03:00 UTC);
        let rules = Rules { within: Some(Duration::from_secs(3600)), ..Rules::default() };
        let one = decide(vec![at(datetime!(2026-01-01 02:00 UTC), 1)], &rules, now);
        assert_eq!((one[0].keep, one[0].reasons.as_slice()), (true, &["the only one".to_owned()][..]));
        assert_eq!(decide(Vec::new(), &rules, now), []);
        assert!(rules.is_any_set() && !Rules { proven: 2, last: Some(0), ..Rules::default() }.is_any_set());
    }
}
