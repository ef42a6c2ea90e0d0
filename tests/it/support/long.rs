//! Short and long forms of the slow tests: the one place that reads `SAFE_MIGRATE_LONG`.

/// Whether the long forms are asked for: `SAFE_MIGRATE_LONG=1`.
pub fn is_long() -> bool {
    match std::env::var("SAFE_MIGRATE_LONG").as_deref() {
        Ok("1") => true,
        Err(_) | Ok("" | "0") => false,
        Ok(other) => panic!("SAFE_MIGRATE_LONG is 1 or not set, not {other}"),
    }
}

/// A number of kills, cases or rows: the first one, or the second in the long form.
pub fn rounds(short: u32, long: u32) -> u32 {
    if is_long() { long } else { short }
}

/// True when the long forms are not asked for, and says so: for a test that asks on one version of PostgreSQL what another
/// test asks on the other, where the versions do not differ in it.
pub fn only_in_the_long_form() -> bool {
    let short = !is_long();
    if short {
        eprintln!("only with SAFE_MIGRATE_LONG=1");
    }
    short
}
