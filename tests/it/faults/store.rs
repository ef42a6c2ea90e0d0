//! The store is away, slow, full, answers 500, 503 or 403, or loses the answer after it stored.

use std::sync::Arc;
use std::time::Duration;

use super::{APPLY, Ground, ROLLBACK};
use crate::support::{Project, Scene, StoreFault, StoreFaults, TestCluster, TestStore, Version};

fn ground(faults: &Arc<StoreFaults>) -> Ground {
    let database = TestCluster::shared(Version::V15).database();
    let store = TestStore::s3s_with(faults);
    let project = Project::new(&database, &store);
    Ground::on(Scene::with(database, store, project))
}

/// A fault that begins at each of some requests of an apply, and lasts.
fn lasts(fault: StoreFault, shares: &[f64]) {
    let faults = Arc::new(StoreFaults::default());
    let ground = ground(&faults);
    // The second time the store has most chunks already, as it has every time after that.
    ground.goes_through(&APPLY);
    ground.goes_through(&ROLLBACK);
    faults.clear();
    ground.scene.run(0, &APPLY);
    let requests = faults.clear();
    ground.goes_through(&ROLLBACK);
    let mut stopped = 0;
    for begin in shares.iter().map(|share| (f64::from(requests - 2) * share) as u32) {
        faults.set(begin..u32::MAX, 1, fault);
        let output = ground.scene.project.run(&APPLY);
        let came = faults.clear();
        let rows = ground.scene.applied().len();
        match output.status {
            // The store is part of P1: without it nothing is touched.
            6 => {
                assert_eq!(rows, 0, "{}", output.stderr);
                assert!(output.stderr.contains("production: unchanged"), "{}", output.stderr);
                stopped += 1;
            }
            // It failed after the last commit: production is migrated, and that is said.
            0 => {
                let said = output.stderr.contains("the store has no record of it");
                assert!(rows == 3 && (said || came <= begin), "{came} requests: {}", output.stderr);
            }
            other => panic!("exit {other} at request {begin} of {requests}: {}", output.stderr),
        }
        ground.holds();
        ground.goes_through(&APPLY);
        ground.goes_through(&ROLLBACK);
    }
    assert!(stopped + 1 >= shares.len(), "{stopped} of {}", shares.len());
}

/// The first two, and all in the long form.
fn some_of(shares: &[f64]) -> &[f64] {
    &shares[..crate::support::rounds(2, 4) as usize]
}

#[test]
fn fault_store_away() {
    lasts(StoreFault::Away, some_of(&[0.3, 1.0, 0.0, 0.7]));
}

#[test]
fn fault_store_answers_403() {
    lasts(StoreFault::Status(403, "AccessDenied"), some_of(&[0.0, 0.7, 0.3, 1.0]));
}

#[test]
fn fault_store_answers_500() {
    lasts(StoreFault::Status(500, "InternalError"), &[0.5, 1.0]); // each is tried again for 15 seconds
}

#[test]
fn fault_store_full() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    lasts(StoreFault::Status(507, "XMinioStorageFull"), &[0.4]);
}

/// A fault that passes: the run goes through, and what it stored is whole.
fn passes(every: u32, requests: std::ops::Range<u32>, fault: StoreFault) {
    let faults = Arc::new(StoreFaults::default());
    let ground = ground(&faults);
    faults.set(requests, every, fault);
    ground.scene.run(0, &APPLY);
    assert!(faults.clear() > 10);
    ground.holds();
    ground.goes_through(&ROLLBACK);
}

#[test]
fn fault_store_answers_500_for_a_while() {
    passes(1, 4..7, StoreFault::Status(500, "InternalError"));
}

#[test]
fn fault_store_answers_503_now_and_then() {
    passes(4, 2..u32::MAX, StoreFault::Status(503, "SlowDown"));
}

#[test]
fn fault_store_slow() {
    passes(9, 5..15, StoreFault::Slow(Duration::from_secs(10)));
}

#[test]
fn fault_store_loses_the_answer_after_it_stored() {
    passes(3, 2..u32::MAX, StoreFault::LoseAnswer);
}
