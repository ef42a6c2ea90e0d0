//! The connection is cut at every statement boundary, before and after the server runs the statement.

use super::{APPLY, Ground, ROLLBACK};
use crate::support::{Cut, CuttingProxy, Version, rounds};

/// All connections to production go through this port.
fn connect_through(ground: &Ground, from: u16, to: u16) {
    let text = std::fs::read_to_string(ground.scene.project.directory().join("safe-migrate.toml")).unwrap();
    let moved = text.replace(&format!(":{from}/"), &format!(":{to}/"));
    assert_ne!(moved, text);
    ground.scene.project.configure(&moved);
}

/// Runs a command through a proxy that cuts at the statement with this number; how many there were.
fn cut(ground: &Ground, arguments: &[&str], number: u32, how: Cut) -> (i32, u32) {
    let direct = ground.scene.cluster().port();
    let proxy = CuttingProxy::at_number(direct, number, how);
    connect_through(ground, direct, proxy.port());
    let output = ground.scene.project.run(arguments);
    connect_through(ground, proxy.port(), direct);
    if output.status != 0 {
        ground.says_the_state(&output);
        // What is said is so.
        let unchanged = output.stderr.contains("\nproduction: unchanged");
        assert_eq!(unchanged, [1, 3, 5, 6].contains(&output.status), "exit {}: {}", output.status, output.stderr);
        if unchanged {
            let rows = ground.scene.applied().len();
            assert_eq!(rows, if arguments[0] == "apply" { 0 } else { 3 }, "statement {number}: {}", output.stderr);
        }
    }
    (output.status, proxy.statements())
}

fn at_statement_boundaries(version: Version, arguments: &[&str], moments: u32) -> String {
    let ground = Ground::new(version);
    let forward = arguments[0] == "apply";
    if !forward {
        ground.scene.run(0, &APPLY);
    }
    let (status, statements) = cut(&ground, arguments, u32::MAX, Cut::Before);
    assert!(status == 0 && statements > 30, "{statements} statements");
    ground.goes_through(if forward { &ROLLBACK } else { &APPLY });
    let step = (statements / moments).max(1);
    let mut failed = 0;
    for number in (rand::random_range(0..step)..statements).step_by(step as usize) {
        let how = if rand::random() { Cut::Before } else { Cut::After };
        let (status, _) = cut(&ground, arguments, number, how);
        failed += u32::from(status != 0);
        ground.holds();
        ground.goes_through(arguments);
        ground.goes_through(if forward { &ROLLBACK } else { &APPLY });
    }
    assert!(failed > 0);
    format!("{statements} statements; of the runs that were cut {failed} stopped")
}

#[test]
fn fault_connection_cut_at_statement_boundaries_of_apply() {
    println!("{}", at_statement_boundaries(Version::V15, &APPLY, rounds(3, 400)));
}

#[test]
fn fault_connection_cut_at_statement_boundaries_of_rollback() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    println!("{}", at_statement_boundaries(Version::V18, &ROLLBACK, rounds(3, 400)));
}
