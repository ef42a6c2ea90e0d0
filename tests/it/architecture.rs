//! The layers keep their direction: who may use whom, and which crate may be named where (DESIGN section 4).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};

use regex::Regex;

/// Each layer and those it may use besides itself.
const LAYERS: &[(&str, &[&str])] = &[
    (
        "cli",
        &["workflow", "lint", "report", "snapshot", "store", "signing", "postgres", "migration", "schema", "fault"],
    ),
    ("workflow", &["lint", "report", "snapshot", "store", "signing", "postgres", "migration", "schema", "fault"]),
    ("lint", &["migration", "schema"]),
    ("report", &["migration", "schema", "fault"]),
    ("snapshot", &["store", "signing", "migration", "schema", "fault"]),
    ("store", &["signing", "migration", "schema", "fault"]),
    ("postgres", &["migration", "schema", "fault"]),
    ("signing", &[]),
    ("migration", &[]),
    ("schema", &[]),
    ("fault", &[]),
];

/// Crates (by the beginning of the name) that only one layer may name.
const CRATES: &[(&str, &str)] = &[
    ("aws_sdk_", "store"),
    ("aws_config", "store"),
    ("aws_smithy_", "store"),
    ("tokio_postgres", "postgres"),
    ("clap", "cli"),
    ("indicatif", "cli"),
];

/// Crates that the pure layers may not name: they neither wait nor connect.
const IMPURE: &[&str] = &["tokio", "tokio_postgres", "aws_sdk_", "reqwest", "hyper"];
const PURE: &[&str] = &["migration", "schema", "lint", "report", "signing"];

/// What is wrong with one file, a sentence for each.
fn offences(layer: &str, file: &str, text: &str) -> Vec<String> {
    let code = without_comments(text);
    let mut found = Vec::new();
    let allowed = LAYERS.iter().find(|(name, _)| *name == layer).map(|(_, allowed)| *allowed);
    let Some(allowed) = allowed else {
        return vec![format!("{file}: src/{layer} is no layer of DESIGN section 4")];
    };
    for used in used_layers(&code) {
        if used != layer && !allowed.contains(&used.as_str()) {
            found.push(format!("{file}: {layer} may not use {used}"));
        }
    }
    for (krate, owner) in CRATES {
        if *owner != layer && names_crate(&code, krate) {
            found.push(format!("{file}: only src/{owner} may name the crate {krate}"));
        }
    }
    for krate in IMPURE {
        if PURE.contains(&layer) && names_crate(&code, krate) {
            found.push(format!("{file}: {layer} is pure and may not name the crate {krate}"));
        }
    }
    found
}

/// The layers named after `crate::` or `safe_migrate::`, also inside `crate::{a, b::{c, d}}`.
fn used_layers(code: &str) -> BTreeSet<String> {
    static PATH: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\b(?:crate|safe_migrate)\s*::\s*(\w+|\{)").expect("a pattern"));
    let mut used = BTreeSet::new();
    for found in PATH.captures_iter(code) {
        let first = found.get(1).expect("the pattern has a group");
        if first.as_str() == "{" {
            used.extend(heads_of_group(&code[first.end()..]));
        } else {
            used.insert(first.as_str().to_owned());
        }
    }
    used
}

/// The first name of each path of a `use` group, given the text behind its opening brace.
fn heads_of_group(text: &str) -> Vec<String> {
    let mut heads = vec![String::new()];
    let mut depth = 0;
    let mut in_head = true;
    for character in text.chars() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                heads.push(String::new());
                in_head = true;
            }
            ':' if depth == 0 => in_head = false,
            letter if depth == 0 && in_head && !letter.is_whitespace() => {
                heads.last_mut().expect("it is never empty").push(letter);
            }
            _ => {}
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

fn names_crate(code: &str, krate: &'static str) -> bool {
    static PATTERNS: Mutex<BTreeMap<&str, Regex>> = Mutex::new(BTreeMap::new());
    let mut patterns = PATTERNS.lock().unwrap();
    let pattern = patterns.entry(krate).or_insert_with(|| {
        let rest = if krate.ends_with('_') { r"\w+" } else { r"\b" };
        let path = format!(r"(?:^|[^\w:]){krate}{rest}\s*::|\buse\s+{krate}{rest}");
        Regex::new(&path).expect("a pattern")
    });
    pattern.is_match(code)
}

/// Comments may name any layer: they explain.
fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn rust_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn every_layer_uses_only_the_layers_below_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for path in &files {
        let below = path.strip_prefix(&src).unwrap();
        let layer = below.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        if layer == "main" || layer == "lib" {
            continue; // they join the layers
        }
        seen.insert(layer.to_owned());
        found.extend(offences(layer, &format!("src/{}", below.display()), &std::fs::read_to_string(path).unwrap()));
    }
    assert!(found.is_empty(), "the layers of DESIGN section 4 are crossed:\n{}", found.join("\n"));
    let expected: BTreeSet<String> = LAYERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(seen, expected, "every layer of the table is there, or the check above looks at nothing");
}

/// `Row::get` panics on a column of another type, and who can create in the database could make the ledger.
#[test]
fn ledger_rows_are_read_fallibly() {
    let mut files = Vec::new();
    rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/postgres/ledger"), &mut files);
    assert!(files.len() >= 5);
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let found: Vec<&str> = text.lines().filter(|line| line.contains(".get(") || line.contains(".get::<")).collect();
        assert!(found.is_empty(), "{}: {found:?}", path.display());
    }
}

#[test]
fn an_offending_file_is_reported() {
    let text = "
//! crate::cli in a comment offends nobody.
use crate::cli::Arguments;
use crate::{migration::{Plan, cli}, workflow::apply, schema};
use aws_sdk_s3::Client;
fn connect() -> tokio_postgres::Config { safe_migrate::report::text() }
";
    assert_eq!(
        offences("snapshot", "made_up.rs", text),
        [
            "made_up.rs: snapshot may not use cli",
            "made_up.rs: snapshot may not use report",
            "made_up.rs: snapshot may not use workflow",
            "made_up.rs: only src/store may name the crate aws_sdk_",
            "made_up.rs: only src/postgres may name the crate tokio_postgres",
        ]
    );
    assert_eq!(
        offences("schema", "made_up.rs", "use tokio::fs;\nuse crate::migration::Plan;"),
        ["made_up.rs: schema may not use migration", "made_up.rs: schema is pure and may not name the crate tokio",]
    );
    assert_eq!(offences("utils", "utils.rs", ""), ["utils.rs: src/utils is no layer of DESIGN section 4"]);
}

#[test]
fn a_decent_file_is_not_reported() {
    let text = "use crate::store::{Store, StoreError};\nuse crate::snapshot::Manifest;\nuse tokio::task;";
    assert_eq!(offences("snapshot", "made_up.rs", text), Vec::<String>::new());
}
