//! The write-ahead log that a rehearsal announces is what `apply` then writes.

use std::sync::Arc;

use crate::support::{Rehearsed, Scene, TestCluster, Version};

const HEAVY: &str = "-- migrate:up
ALTER TABLE orders ALTER a TYPE bigint;
CREATE INDEX ON orders (s);
UPDATE orders SET s = s || '!' WHERE a % 2 = 0;
";
const SMALL: &str = "-- migrate:up
CREATE TABLE nothing (a int);
";

/// Position in the log, bytes.
fn position(scene: &Scene) -> u64 {
    scene.database.query("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')").parse().unwrap()
}

fn equal(version: Version, settings: &[&str]) -> u64 {
    let settings: Vec<&str> = settings.iter().copied().chain(["autovacuum=off"]).collect();
    let cluster = Arc::new(TestCluster::start(version, &settings));
    let scene = Scene::on(&cluster);
    scene.database.sql(
        "CREATE TABLE orders AS SELECT a, md5(a::text) AS s FROM generate_series(1, 40000) a; CREATE INDEX ON orders (a)",
    );
    // The first run makes the ledger, which is no part of any migration.
    scene.project.write_migration("shop", "0001_small", SMALL);
    let skip = ["--skip-snapshot", "a test", "--skip-rehearsal", "a test"];
    scene.run(0, &[&["apply", "--yes"], &skip[..]].concat());
    scene.project.write_migration("shop", "0002_heavy", HEAVY);
    let report = Rehearsed::of(&scene);
    let announced = report.step("heavy")["wal_bytes"].as_u64().unwrap();

    let before = position(&scene);
    scene.run(0, &[&["apply", "--yes"], &skip[..]].concat());
    let written = position(&scene) - before;
    assert!(
        announced.abs_diff(written) * 10 <= written,
        "{announced} bytes announced, {written} written: {settings:?}"
    );
    written
}

fn at_each_level(version: Version) {
    let replica = equal(version, &["wal_level=replica"]);
    let minimal = equal(version, &["wal_level=minimal", "max_wal_senders=0"]);
    assert!(minimal * 3 < replica * 2, "a rewrite is not logged at minimal: {minimal}, {replica}");
}

#[test]
fn the_announced_log_is_what_apply_writes() {
    at_each_level(Version::V15);
}

#[test]
fn the_announced_log_is_what_apply_writes_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    at_each_level(Version::V18);
}
