//! Times, sizes and durations as a reader wants them; one spelling for the whole program.

use std::time::Duration;

use time::OffsetDateTime;
use time::macros::format_description;

/// A moment in UTC, to the second: `2026-11-22T13:58:23Z`.
pub fn format_time(moment: OffsetDateTime) -> String {
    let description = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let utc = moment.to_offset(time::UtcOffset::UTC);
    // Formatting fails only for a description with components that the value lacks; this one has none of those.
    utc.format(&description).unwrap_or_else(|_| utc.to_string())
}

/// How long before `now` something was: `3 minutes ago`; `in 2 hours` when it lies ahead (clocks differ).
pub fn format_ago(moment: OffsetDateTime, now: OffsetDateTime) -> String {
    let seconds = (now - moment).whole_seconds();
    let (amount, unit) = match seconds.unsigned_abs() {
        0..10 => return "just now".to_string(),
        s @ 10..60 => (s, "second"),
        s @ 60..3_600 => (s / 60, "minute"),
        s @ 3_600..86_400 => (s / 3_600, "hour"),
        s => (s / 86_400, "day"),
    };
    let plural = if amount == 1 { "" } else { "s" };
    if seconds > 0 { format!("{amount} {unit}{plural} ago") } else { format!("in {amount} {unit}{plural}") }
}

/// A number of bytes in powers of ten, as disks and object stores count: `999 B`, `1.5 GB`, `250 MB`.
pub fn format_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut amount = bytes as f64 / 1_000.0;
    let mut unit = 0;
    // 999.5 would be printed as "1000".
    while amount >= 999.5 && unit + 1 < UNITS.len() {
        amount /= 1_000.0;
        unit += 1;
    }
    let digits = usize::from(amount < 99.95);
    format!("{amount:.digits$} {}", UNITS[unit])
}

/// Things that may be many, in a sentence: the first five and how many more. `-v` logs them all.
pub fn format_list<T: AsRef<str>>(items: &[T]) -> String {
    first_five(items).join(", ")
}

/// The same as parts of their own.
pub fn first_five<T: AsRef<str>>(items: &[T]) -> Vec<String> {
    const SHOWN: usize = 5;
    let mut shown: Vec<String> = items.iter().take(SHOWN).map(|item| item.as_ref().to_owned()).collect();
    if items.len() > SHOWN {
        let all: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
        tracing::debug!("all of the list that is cut: {}", all.join(", "));
        shown.push(format!("and {} more (`-v` lists them)", items.len() - SHOWN));
    }
    shown
}

/// A duration with two significant parts: `250 ms`, `4.2 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
pub fn format_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    // 59.95 s would be printed as "60.0 s".
    if millis < 1_000 {
        return format!("{millis} ms");
    } else if millis < 59_950 {
        return format!("{:.1} s", duration.as_secs_f64());
    }
    let seconds = duration.as_secs() + u64::from(duration.subsec_millis() >= 500);
    let (large, large_unit, small, small_unit) = match seconds {
        0..3_600 => (seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => (seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => (seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    };
    if small == 0 { format!("{large} {large_unit}") } else { format!("{large} {large_unit} {small} {small_unit}") }
}

/// A number with its thousands apart: `1,234,567`.
pub fn format_count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things: `1 row`, `1,234 rows`.
pub fn format_things(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", format_count(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_time_is_shown_in_utc() {
        assert_eq!(format_time(datetime!(2026-11-22 15:58:23.9 +2)), "2026-11-22T13:58:23Z");
    }

    #[test]
    fn the_age_is_in_the_largest_whole_unit() {
        let now = datetime!(2026-11-22 12:00 UTC);
        let ago = |seconds: i64| format_ago(now - time::Duration::seconds(seconds), now);
        assert_eq!(ago(9), "just now");
        assert_eq!(ago(10), "10 seconds ago");
        assert_eq!(ago(60), "1 minute ago");
        assert_eq!(ago(3 * 60 + 59), "3 minutes ago");
        assert_eq!(ago(3_600), "1 hour ago");
        assert_eq!(ago(86_400 * 400), "400 days ago");
        assert_eq!(ago(-7_200), "in 2 hours");
    }

    #[test]
    fn bytes_have_at_most_three_digits() {
        let expected = [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (99_949, "99.9 kB"),
            (99_950, "100 kB"),
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (1_500_000_000, "1.5 GB"),
            (u64::MAX, "18.4 EB"),
        ];
        for (bytes, text) in expected {
            assert_eq!(format_bytes(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn durations_never_show_a_full_unit_as_sixty() {
        let expected = [
            (0, "0 ms"),
            (999, "999 ms"),
            (4_200, "4.2 s"),
            (59_949, "59.9 s"),
            (59_950, "1 min"),
            (200_000, "3 min 20 s"),
            (3_599_600, "1 h"),
            (7_500_000, "2 h 5 min"),
            (273_600_000, "3 d 4 h"),
        ];
        for (millis, text) in expected {
            assert_eq!(format_duration(Duration::from_millis(millis)), text, "{millis}");
        }
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(format_count(0), "0");
        assert_eq!(format_count(999), "999");
        assert_eq!(format_count(1_000), "1,000");
        assert_eq!(format_count(1_234_567), "1,234,567");
    }

    #[test]
    fn one_thing_is_no_plural() {
        assert_eq!(format_things(1, "row"), "1 row");
        assert_eq!(format_things(0, "row"), "0 rows");
        assert_eq!(format_things(1_234, "table"), "1,234 tables");
    }
}
