//! SIGINT, SIGTERM and hang-up at every stage of a run.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{APPLY, Ground, ended, until};
use crate::support::Version;

fn send(child: &std::process::Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), signal).unwrap();
}

/// A signal in the second of three migrations, which sleeps.
fn in_a_migration(signal: Signal) {
    let ground = Ground::new(Version::V15);
    let text = "-- migrate:up\nUPDATE dish SET price = price + 7 WHERE id > 0;\nSELECT pg_sleep(300);\n";
    ground.scene.project.write_migration("kitchen", "0002_index", text);
    let mut child = ground.start(&APPLY);
    let asleep = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND query ~ '^SELECT pg_sleep'",
        ground.scene.database.name()
    );
    until("the migration", &mut child, || ground.scene.cluster().query("postgres", &asleep) == "1");
    send(&child, signal);
    let output = ended(child);
    assert_eq!(output.status, 4, "one migration is applied: {}", output.stderr);
    assert!(output.stderr.contains("1 of 3 migrations are applied"), "{}", output.stderr);
    ground.says_the_state(&output);
    let effects = ground.holds();
    assert!(effects.size && !effects.tag);
    assert_eq!(ground.scene.database.query("SELECT outcome FROM safe_migrate.run"), "interrupted");
    ground.scene.project.write_migration("kitchen", "0002_index", super::MIGRATIONS[1].1);
    ground.goes_through(&APPLY);
}

#[test]
fn fault_sigint_in_a_migration() {
    in_a_migration(Signal::INT);
}

#[test]
fn fault_sigterm_in_a_migration() {
    in_a_migration(Signal::TERM);
}

#[test]
fn fault_hang_up_in_a_migration() {
    in_a_migration(Signal::HUP);
}

/// Signals at moments spread over the whole run, with a rehearsal: it stops with 130 and nothing changed, with 4 in the
/// middle, or ends.
#[test]
fn fault_signals_at_any_stage() {
    let ground = Ground::new(Version::V15);
    for (round, signal) in
        [Signal::INT, Signal::TERM, Signal::HUP, Signal::INT, Signal::TERM, Signal::HUP].into_iter().enumerate()
    {
        let child = ground.start(&["apply", "--yes"]);
        std::thread::sleep(Duration::from_millis(150 + 700 * round as u64));
        send(&child, signal);
        let output = ended(child);
        let applied = ground.scene.applied().len();
        match output.status {
            130 => assert_eq!(applied, 0, "{}", output.stderr),
            4 => assert!(applied > 0 || !ground.journal().is_empty(), "{}", output.stderr),
            0 => assert_eq!(applied, 3),
            other => panic!("exit {other}: {}", output.stderr),
        }
        if output.status != 0 {
            ground.says_the_state(&output);
        }
        ground.holds();
        ground.goes_through(&APPLY);
        ground.goes_through(&super::ROLLBACK);
    }
}
