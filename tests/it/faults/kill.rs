//! SIGKILL: at every failpoint, and at random moments.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use super::{APPLY, Ground, ROLLBACK};
use crate::support::{Version, rounds};

/// Runs a command of the binary with failpoints, killed at this one; whether it was reached.
fn killed_at(ground: &Ground, point: &str, arguments: &[&str]) -> bool {
    let output = ground.scene.project.command_with_faults(&format!("{point}=return"), arguments).output().unwrap();
    match output.status.signal() {
        Some(9) => true,
        None => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            false
        }
        other => panic!("ended by {other:?}"),
    }
}

/// The failpoints that a command passes when nothing kills it.
fn reached(ground: &Ground, arguments: &[&str]) -> Vec<String> {
    let file = ground.scene.project.directory().join("reached");
    let points = format!("fault.reached=return({})", file.display());
    let output = ground.scene.project.command_with_faults(&points, arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(file).unwrap();
    let mut names: Vec<String> = text.lines().map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

/// A share of the failpoints that an apply and a rollback pass, each of them killed there.
fn at_failpoints(version: Version, share: (usize, usize)) {
    let ground = Ground::new(version);
    let of_each = [&APPLY[..], &ROLLBACK[..]].map(|arguments| (arguments, reached(&ground, arguments)));
    ground.holds();
    let points: BTreeSet<&String> = of_each.iter().flat_map(|(_, points)| points).collect();
    assert!(points.len() > 8, "{points:?}");
    for point in points.into_iter().skip(share.0).step_by(share.1) {
        for (arguments, passed) in &of_each {
            if passed.contains(point) {
                assert!(killed_at(&ground, point, arguments), "{point}");
                ground.holds();
            }
            ground.goes_through(arguments);
        }
    }
}

#[test]
fn fault_sigkill_at_every_failpoint_first_half() {
    at_failpoints(Version::V15, (0, 2));
}

#[test]
fn fault_sigkill_at_every_failpoint_second_half() {
    at_failpoints(Version::V18, (1, 2));
}

/// Points that an apply and a rollback of this plan must come by; the others belong to other commands.
#[test]
fn fault_sigkill_the_failpoints_of_a_run_are_reached() {
    let ground = Ground::new(Version::V15);
    for point in ["snapshot.before-manifest", "snapshot.manifest-written", "migration.before-commit"] {
        assert!(killed_at(&ground, point, &APPLY), "{point} is not reached");
        ground.goes_through(&APPLY);
        ground.goes_through(&ROLLBACK);
    }
}

/// Kills at random moments of applies and rollbacks, in turn; many of them on two databases at a time.
fn at_random_moments(version: Version, kills: u32) -> String {
    let databases = if kills < 100 { 1 } else { 2 };
    std::thread::scope(|scope| {
        let each = (0..databases).map(|_| scope.spawn(move || on_one_database(version, kills / databases)));
        let each: Vec<_> = each.collect();
        each.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>().join("\n")
    })
}

fn on_one_database(version: Version, kills: u32) -> String {
    let ground = Ground::new(version);
    let begun = Instant::now();
    ground.scene.run(0, &APPLY);
    let mut whole = begun.elapsed();
    ground.scene.run(0, &ROLLBACK);
    let (mut killed, mut finished, mut in_the_middle) = (0, 0, 0);
    while killed < kills {
        assert!(finished <= 5 * kills + 5, "it cannot be killed in time");
        for arguments in [&APPLY[..], &ROLLBACK[..]] {
            let begun = Instant::now();
            let mut child = ground.start(arguments);
            // Half of them anywhere, half in the last part, where production changes.
            let share = if rand::random::<bool>() { rand::random::<f64>() } else { 0.6 + 0.5 * rand::random::<f64>() };
            let moment = begun + whole.mul_f64(share);
            while Instant::now() < moment && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
            if child.try_wait().unwrap().is_some() {
                (finished, whole) = (finished + 1, begun.elapsed());
                assert!(child.wait_with_output().unwrap().status.success());
            } else {
                child.kill().unwrap();
                child.wait().unwrap();
                killed += 1;
                ground.holds();
                let rows = ground.scene.applied().len();
                in_the_middle += u32::from(rows == 1 || rows == 2);
            }
            ground.goes_through(arguments);
        }
    }
    format!("{killed} killed, {in_the_middle} of them between two migrations; {finished} ended before")
}

#[test]
fn fault_sigkill_at_random_moments() {
    println!("{}", at_random_moments(Version::V15, rounds(6, 500)));
}

#[test]
fn fault_sigkill_at_random_moments_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    println!("{}", at_random_moments(Version::V18, rounds(4, 500)));
}
