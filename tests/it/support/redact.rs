//! Replaces what differs from run to run in an output, so that the rest can be compared word by word.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

/// In this order: what is recognised by its shape alone comes after what contains it.
static RULES: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    [
        // A column of times is set to the right, so a longer one has fewer spaces before it.
        (r"(?m) {3,}(\d+(\.\d+)? ?(ms|µs|us|ns|s|min|h))$", "  $1"),
        (r"\b\d{8}T\d{6}Z-[0-9a-f]{6}\b", "[ID]"),
        (r"\b\d{8}t\d{6}z_[0-9a-f]{6}\b", "[ID]"), // as a part of a database's name
        (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?( ?(Z|UTC|[+-]\d\d(:?\d\d)?))?", "[TIME]"),
        (r"\b\d\d:\d\d(:\d\d)?( (today|yesterday))?\b", "[TIME]"),
        (r"(127\.0\.0\.1|localhost):\d+", "$1:[PORT]"),
        (r"\bport( |=)\d+", "port$1[PORT]"),
        (r"\b([a-z]+)_\d{5}(\b|_)", "${1}_[N]$2"), // databases and roles of the tests
        (r"\b[0-9a-f]{40,64}\b", "[HASH]"),
        (r"(?i)\b[0-9a-f]{12}\b", "[HASH]"),
        (r"\b\d+(\.\d+)? ?(bytes|byte|B|[kKMGT]i?B)(/s)?\b", "[SIZE]$3"),
        (r"\b\d+(\.\d+)? ?(ms|µs|us|ns|seconds?|s|minutes?|min|m|hours?|h)\b", "[DURATION]"),
        (r"\[DURATION\]( \[DURATION\])+", "[DURATION]"),
        // A rehearsal's report names statements that took long; on a busy machine any may.
        (r"(?m)^ +line \d+: .*\[DURATION\]\n", ""),
    ]
    .into_iter()
    .map(|(pattern, replacement)| (Regex::new(pattern).expect("a rule of the table"), replacement))
    .collect()
});

/// The text with ids, times, durations, ports, paths, sizes and hashes replaced by their names.
pub fn redact(text: &str, project: &Path) -> String {
    let mut text = replace_directory(text, project, "[PROJECT]");
    text = replace_directory(&text, &std::env::temp_dir(), "[TMP]");
    for (rule, replacement) in RULES.iter() {
        text = rule.replace_all(&text, *replacement).into_owned();
    }
    text
}

/// Both spellings: as it was given, and with symbolic links resolved.
fn replace_directory(text: &str, directory: &Path, name: &str) -> String {
    let mut text = text.to_owned();
    let resolved = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    for spelling in [resolved.as_path(), directory] {
        text = text.replace(spelling.to_str().expect("temporary paths are UTF-8").trim_end_matches('/'), name);
    }
    text
}
