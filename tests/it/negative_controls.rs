//! The negative controls: each promise's test fails when the safeguard behind it is turned off.
//!
//! The same test runs in a process of its own, against the binary with the Cargo feature `faults`, with one safeguard
//! off. A test that passes there proves nothing about the safeguard.

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::support::with_templates;

/// The binary with the feature, where `scripts/test` puts it.
pub fn faulty_binary() -> PathBuf {
    let plain = PathBuf::from(env!("CARGO_BIN_EXE_safe-migrate"));
    let binary = plain.with_file_name("safe-migrate-faults");
    let made = "cargo build --example safe-migrate-faults --features faults && cp target/debug/{examples/,}safe-migrate-faults";
    assert!(binary.exists(), "{} is missing; scripts/test makes it, or: {made}", binary.display());
    binary
}

/// Runs one test of this program against the faulty binary.
fn run(test: &str, failpoints: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--test-threads", "1"]);
    with_templates(&mut command)
        .env("SAFE_MIGRATE_TEST_BINARY", faulty_binary())
        .env("FAILPOINTS", failpoints)
        .output()
        .unwrap()
}

#[track_caller]
fn fails_without(safeguard: &str, test: &str) {
    let output = run(test, &format!("{safeguard}=return"));
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(words.contains("running 1 test"), "there is no test {test}:\n{words}");
    assert!(!output.status.success(), "{test} passes without {safeguard}: it proves nothing\n{words}");
}

macro_rules! controls {
    ($($name:ident: $safeguard:literal, $test:literal;)+) => {
        $(#[test] fn $name() { fails_without($safeguard, $test); })+
        /// Each safeguard once, for the test that looks for switches without a control.
        const CONTROLLED: &[(&str, &str)] = &[$(($safeguard, $test)),+];
    };
}

controls! {
    control_security_signatures_that_nobody_looks_at: "off.signatures",
        "security::signatures::security_a_snapshot_that_nobody_trusted_signed_is_not_believed";
    control_security_gaps_that_nobody_looks_for: "off.withheld",
        "security::signatures::security_snapshots_that_are_taken_away_leave_a_gap";
    control_01_a_migration_without_a_snapshot: "off.snapshot-first",
        "promise_01_snapshot_first::promise_01_the_snapshot_of_a_run_is_published_before_its_first_change";
    control_01_writers_that_nobody_keeps_out: "off.fence", "fence::fence_writers_have_no_gap";
    control_02_a_manifest_before_its_chunks: "off.manifest-last",
        "promise_02_snapshots_restore::promise_02_a_killed_snapshot_is_never_listed_and_the_next_one_is_whole";
    control_02_a_manifest_without_its_seal: "off.manifest-seal",
        "promise_02_snapshots_restore::promise_02_a_manifest_that_was_edited_is_damage";
    control_03_a_shadow_without_its_mark: "off.shadow-mark",
        "promise_03_shadow_is_private::promise_03_a_database_that_lost_the_mark_is_not_dropped";
    control_03_a_server_without_walls_of_its_own: "off.own-walls",
        "security::walls::security_hostile_migration_reaches_nothing";
    control_03_a_server_run_by_productions_user: "off.own-user",
        "security::walls::security_hostile_migration_reaches_nothing";
    control_04_a_schema_that_changed_meanwhile: "off.changed-meanwhile",
        "promise_04_rehearsed_is_applied::promise_04_a_schema_that_changed_since_the_rehearsal_is_refused";
    control_04_a_schema_that_drifted: "off.drift",
        "drift::drift_shows_the_entries_with_both_texts";
    control_05_a_ledger_row_of_its_own_transaction: "off.ledger-in-transaction",
        "promise_05_unknown_commit::promise_05_a_commit_whose_answer_was_lost_did_happen";
    control_05_a_place_in_the_journal_after_the_batch: "off.batch-place-in-transaction",
        "batches::batches_whose_commit_was_lost_are_neither_repeated_nor_left_out";
    control_06_a_restore_without_the_fence: "off.fence-for-restore",
        "on_failure::on_failure_restore_wants_a_fence";
    control_06_a_swap_that_drops_the_old_database: "off.keep-old",
        "promise_06_restore_destroys_nothing::promise_06_the_old_database_is_kept_with_its_rows";
    control_07_two_runs_at_once: "off.run-lock",
        "promise_07_one_run_at_a_time::promise_07_the_second_run_is_refused_or_waits";
    control_08_a_dead_run_that_the_server_does_not_notice: "off.dead-client-noticed",
        "promise_08_killed_at_any_instant::promise_08_killed_in_a_migration";
    control_09_messages_as_they_come: "off.redaction",
        "promise_09_secrets::promise_09_a_password_in_the_servers_message_is_masked";
}

/// Without a switch the faulty binary passes: it is the switch that makes a control fail.
#[test]
fn control_00_the_faulty_binary_is_good_when_nothing_is_off() {
    let output = run("promise_06_restore_destroys_nothing::promise_06_without_a_yes_nothing_is_restored", "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Names in the program's source after this word, such as `fault::point("`.
pub fn names_in_source(word: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut directories = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let found = text.split(word).skip(1).filter_map(|rest| rest.split_once('"'));
                names.extend(found.map(|(name, _)| name.to_owned()));
            }
        }
    }
    names.sort();
    names.dedup();
    names
}

#[test]
fn control_every_switch_has_a_control() {
    let switches = names_in_source("fault::is_off(\"");
    // Those of the sweep have theirs beside the test of the store, in one order of events each.
    let of_the_sweep = include_str!("../../src/snapshot/tests/sweep.rs");
    let is_controlled = |name: &str| {
        CONTROLLED.iter().any(|(controlled, _)| *controlled == name)
            || of_the_sweep.lines().any(|line| line.starts_with("    assert!(!a_l") && line.contains(name))
    };
    let without: Vec<_> = switches.iter().filter(|name| !is_controlled(name)).collect();
    assert!(switches.len() >= CONTROLLED.len() && without.is_empty(), "no negative control for {without:?}");
}

/// The binary that the other tests use has none of it, and neither has a release: the feature is on nowhere.
#[test]
fn control_a_build_without_the_feature_has_no_switch() {
    let is_in = |path: PathBuf, word: &str| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(word.len()).any(|window| window == word.as_bytes())
    };
    let plain = PathBuf::from(env!("CARGO_BIN_EXE_safe-migrate"));
    assert!(is_in(faulty_binary(), "FAILPOINTS"), "the word to look for");
    assert!(!is_in(plain, "FAILPOINTS"));
    let manifest = std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    assert!(manifest.contains("faults = [") && !manifest.contains("default = ["), "no default feature");
}

#[test]
fn the_table_of_faults_names_tests_that_exist() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("CONTRIBUTING.md")).unwrap();
    let table = text.split("under which fault").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with('|')).collect::<Vec<_>>();
    let named: Vec<&str> = rows.iter().flat_map(|row| row.split('`').skip(1).step_by(2)).collect();
    let tests = Command::new(std::env::current_exe().unwrap()).arg("--list").output().unwrap();
    let tests = String::from_utf8(tests.stdout).unwrap();
    assert!(rows.len() > 15 && named.len() > 30);
    let missing: Vec<_> = named.iter().filter(|name| !tests.contains(&format!("::{name}: test\n"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let untold: Vec<_> = tests
        .lines()
        .filter_map(|line| line.strip_suffix(": test")?.rsplit_once("::"))
        .filter(|(module, name)| module.starts_with("faults") && !named.iter().any(|one| name.starts_with(one)))
        .collect();
    assert!(untold.is_empty(), "not in CONTRIBUTING.md: {untold:?}");
}
