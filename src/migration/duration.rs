//! Durations as people write them: `500ms`, `15m`, `1h30m`.

use std::time::Duration;

/// Reads a duration: whole numbers, each with `ms`, `s`, `m`, `h` or `d`. A bare `0` is zero.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration; write for example `500ms`, `15m` or `1h30m`");
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, after) = split_where(rest, |c| !c.is_ascii_digit());
        let (unit, after) = split_where(after.trim_start(), |c| !c.is_ascii_alphabetic());
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let amount = number.parse::<u64>().ok().and_then(|n| n.checked_mul(millis)).ok_or_else(wrong)?;
        total = total.checked_add(Duration::from_millis(amount)).ok_or_else(wrong)?;
        rest = after.trim_start();
    }
    Ok(total)
}

fn split_where(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}
