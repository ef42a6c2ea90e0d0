//! Locks: a snapshot never hangs behind somebody else's, and says whose it was.

use std::time::Instant;

use crate::support::{Scene, Version, rounds};

use super::backend::{Backend, finish, has_lock, start, wait_until, wait_until_in};

/// A scene with a table `wanted`, and one large enough for the snapshot to be busy with it for a while. It waits for
/// locks a second only, as most of these tests see it wait in vain.
fn scene_with_work() -> Scene {
    let scene = Scene::empty(Version::V15);
    scene.project.configure_more("[snapshot]\nlock_wait = \"1s\"\n");
    scene.database.sql(
        "CREATE TABLE wanted (id int); INSERT INTO wanted VALUES (1); CREATE VIEW seen AS SELECT * FROM wanted;
         CREATE SEQUENCE counted; CREATE TABLE bulk AS SELECT i, repeat(md5(i::text), 10) FROM generate_series(1, 150000) i",
    );
    scene
}

#[track_caller]
fn assert_refused(scene: &Scene, (status, _, stderr): (i32, String, String), blocker: &str, began: Instant) {
    assert_eq!(status, 6, "{stderr}");
    assert!(stderr.contains(blocker), "it names who stands in the way, {blocker}: {stderr}");
    assert!(stderr.contains("backend "), "with the number of the server process: {stderr}");
    assert!(began.elapsed().as_secs() < 40, "it does not hang: {:?}", began.elapsed());
    assert_eq!(scene.snapshots(), Vec::<String>::new());
    let left = "NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'safe-migrate%' AND datname = ";
    wait_until(scene.cluster(), &format!("{left}'{}')", scene.database.name()));
}

#[test]
fn a_lock_that_is_held_before_stops_the_snapshot_with_the_holders_name() {
    let scene = scene_with_work();
    let holder = format!("{}_holder", scene.database.name());
    let mut session = Backend::open(scene.cluster(), scene.database.name(), &holder);
    session.send("BEGIN; ALTER TABLE wanted ADD COLUMN later int;");
    wait_until(scene.cluster(), &has_lock(&scene, &holder, "AccessExclusive", true));
    let began = Instant::now();
    let ended = finish(start(&scene, &["snapshot", "create"]));
    assert!(ended.2.contains("could not be locked for reading within 1 s"), "{}", ended.2);
    assert!(began.elapsed().as_secs() >= 1, "{:?}", began.elapsed());
    assert_refused(&scene, ended, &holder, began);
}

#[test]
fn a_snapshot_waits_as_long_as_it_is_told_and_never_for_ever() {
    let scene = scene_with_work();
    let holder = format!("{}_holder", scene.database.name());
    let mut session = Backend::open(scene.cluster(), scene.database.name(), &holder);
    session.send("BEGIN; ALTER TABLE wanted ADD COLUMN later int; SELECT pg_sleep(3); COMMIT;");
    wait_until(scene.cluster(), &has_lock(&scene, &holder, "AccessExclusive", true));
    let text = std::fs::read_to_string(scene.project.directory().join("safe-migrate.toml")).unwrap();
    scene.project.configure(&text.replace("lock_wait = \"1s\"", "lock_wait = \"25s\""));
    let (status, _, stderr) = finish(start(&scene, &["snapshot", "create"]));
    assert_eq!(status, 0, "{stderr}");

    scene.project.configure(&text.replace("lock_wait = \"1s\"", "lock_wait = \"0\""));
    assert!(scene.run(2, &["snapshot", "create"]).stderr.contains("lock_wait must be 1ms to 1h"));
}

#[test]
fn a_lock_on_a_view_stops_the_snapshot_with_the_holders_name() {
    let scene = scene_with_work();
    let holder = format!("{}_holder", scene.database.name());
    let mut session = Backend::open(scene.cluster(), scene.database.name(), &holder);
    // pg_dump asks for the view's text after its own lock timeout no longer holds.
    session.send("BEGIN; DROP VIEW seen;");
    wait_until(scene.cluster(), &has_lock(&scene, &holder, "AccessExclusive", true));
    let began = Instant::now();
    assert_refused(&scene, finish(start(&scene, &["snapshot", "create"])), &holder, began);
}

#[test]
fn a_lock_on_a_sequence_stops_the_snapshot_with_the_holders_name() {
    let scene = scene_with_work();
    let holder = format!("{}_holder", scene.database.name());
    let mut session = Backend::open(scene.cluster(), scene.database.name(), &holder);
    session.send("BEGIN; DROP SEQUENCE counted;");
    wait_until(scene.cluster(), &has_lock(&scene, &holder, "AccessExclusive", true));
    let began = Instant::now();
    assert_refused(&scene, finish(start(&scene, &["snapshot", "create"])), &holder, began);
}

/// The leader has its lock on the table, and copies it in the place of the worker who would wait behind the change.
#[test]
fn ddl_that_queues_behind_the_leader_waits_and_the_snapshot_ends_well() {
    let scene = scene_with_work();
    let changer = format!("{}_changer", scene.database.name());
    let mut session = Backend::open(scene.cluster(), scene.database.name(), &changer);
    let snapshot = start(&scene, &["snapshot", "create", "--jobs", "1", "--json"]);
    wait_until(scene.cluster(), &has_lock(&scene, "safe-migrate snapshot worker", "AccessShare", true));
    session.send("ALTER TABLE wanted ADD COLUMN later int;");
    let (status, stdout, stderr) = finish(snapshot);
    assert_eq!(status, 0, "{stderr}");
    let document: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert!(document["others_waited_ms"].as_u64().unwrap() > 0, "{stdout}");
    assert!(stderr.contains("others waited for it for up to "), "{stderr}");
    let done = "EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'wanted'::regclass AND attname = 'later')";
    wait_until_in(scene.cluster(), scene.database.name(), done);
    scene.run(0, &["snapshot", "verify", "latest", "--level", "restore"]);
}

#[test]
fn a_snapshot_that_holds_up_others_for_too_long_gives_way() {
    let scene = scene_with_work();
    let text = std::fs::read_to_string(scene.project.directory().join("safe-migrate.toml")).unwrap();
    let slow = "lock_wait = \"1s\"\nmax_rate = \"5MB/s\"\nmax_block = \"700ms\"";
    scene.project.configure(&text.replace("lock_wait = \"1s\"", slow));
    let changer = format!("{}_changer", scene.database.name());
    let mut session = Backend::open(scene.cluster(), scene.database.name(), &changer);
    let began = Instant::now();
    let snapshot = start(&scene, &["snapshot", "create", "--jobs", "1"]);
    wait_until(scene.cluster(), &has_lock(&scene, "safe-migrate snapshot worker", "AccessShare", true));
    // Our programs have their locks by then; before, the snapshot would begin again.
    let dumps = format!("{name}' AND application_name ~ '^safe-migrate snapshot .*-'", name = scene.database.name());
    std::thread::sleep(std::time::Duration::from_secs(1));
    wait_until(scene.cluster(), &format!("NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = '{dumps})"));
    session.send("ALTER TABLE bulk ADD COLUMN later int;");
    let ended = finish(snapshot);
    assert!(ended.2.contains("waited 700 ms for it ([snapshot] max_block)"), "{}", ended.2);
    assert!(ended.2.contains("wants public.bulk: ALTER TABLE bulk"), "{}", ended.2);
    assert_refused(&scene, ended, &changer, began);
    let done = "EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'bulk'::regclass AND attname = 'later')";
    wait_until_in(scene.cluster(), scene.database.name(), done);
}

/// A job that empties and refills a table all the time, one that changes another, and partitions that come and go.
fn every_snapshot_ends_well(version: Version, snapshots: u32) {
    let scene = Scene::empty(version);
    scene.project.configure_more("[snapshot]\nmax_rate = \"25MB/s\"\n");
    scene.database.sql(
        "CREATE TABLE staging (id int, amount int); INSERT INTO staging SELECT i, 10 FROM generate_series(1, 100) i;
         CREATE TABLE wanted (id int); INSERT INTO wanted VALUES (1); CREATE VIEW seen AS SELECT * FROM staging;
         CREATE TABLE day (d int, amount int) PARTITION BY RANGE (d); CREATE TABLE day_0 PARTITION OF day FOR VALUES FROM (0) TO (1);
         INSERT INTO day VALUES (0, 5);
         CREATE TABLE bulk AS SELECT i, repeat(md5(i::text), 10) FROM generate_series(1, 150000) i",
    );
    let name = scene.database.name();
    let jobs = [
        "TRUNCATE staging; INSERT INTO staging SELECT i, 10 FROM generate_series(1, 100) i; COMMIT; PERFORM pg_sleep(0.2)",
        "ALTER TABLE wanted ADD COLUMN x int; COMMIT; PERFORM pg_sleep(0.3); ALTER TABLE wanted DROP COLUMN x; COMMIT; PERFORM pg_sleep(0.3)",
        "CREATE TABLE day_1 PARTITION OF day FOR VALUES FROM (1) TO (2); INSERT INTO day VALUES (1, 5); COMMIT; PERFORM pg_sleep(0.4);
         DROP TABLE day_1; COMMIT; PERFORM pg_sleep(0.4)",
    ];
    let mut sessions = Vec::new();
    for (number, job) in jobs.iter().enumerate() {
        let mut session = Backend::open(scene.cluster(), name, &format!("{name}_job_{number}"));
        session.send(&format!("DO $do$ BEGIN LOOP {job}; END LOOP; END $do$;"));
        sessions.push(session);
    }
    for number in 0..snapshots {
        let output = scene.run(0, &["snapshot", "create", "--jobs", "4"]);
        let copy = format!("{name}_copy_{number}");
        scene.run(0, &["restore", output.stdout.trim(), "--to", &copy, "--yes"]);
        let totals = "SELECT (SELECT sum(amount) FROM staging), (SELECT count(*) FROM wanted), (SELECT sum(amount) FROM day) IN (5, 10)";
        assert_eq!(scene.cluster().query(&copy, totals), "1000|1|t", "{}", output.stderr);
        scene.cluster().sql("postgres", &format!("DROP DATABASE {copy}"));
    }
    drop(sessions);
}

#[test]
fn every_snapshot_ends_well_beside_jobs_that_lock() {
    every_snapshot_ends_well(Version::V15, rounds(2, 60));
}

#[test]
fn every_snapshot_ends_well_beside_jobs_that_lock_18() {
    every_snapshot_ends_well(Version::V18, rounds(2, 60));
}

#[test]
fn ddl_that_waits_for_a_long_reader_stops_the_snapshot_with_its_name() {
    let scene = scene_with_work();
    let (reader, changer) = (format!("{}_reader", scene.database.name()), format!("{}_changer", scene.database.name()));
    let mut reading = Backend::open(scene.cluster(), scene.database.name(), &reader);
    let mut changing = Backend::open(scene.cluster(), scene.database.name(), &changer);
    reading.send("BEGIN; SELECT * FROM wanted;");
    wait_until(scene.cluster(), &has_lock(&scene, &reader, "AccessShare", true));
    changing.send("TRUNCATE wanted;");
    wait_until(scene.cluster(), &has_lock(&scene, &changer, "AccessExclusive", false));
    let began = Instant::now();
    assert_refused(&scene, finish(start(&scene, &["snapshot", "create"])), &changer, began);
}

#[test]
fn a_prepared_transaction_that_holds_a_lock_stops_the_snapshot_with_its_name() {
    let scene = scene_with_work();
    let name = format!("{}_forgotten", scene.database.name());
    scene.database.sql(&format!("BEGIN; TRUNCATE wanted; PREPARE TRANSACTION '{name}'"));
    let (status, _, stderr) = finish(start(&scene, &["snapshot", "create"]));
    scene.database.sql(&format!("ROLLBACK PREPARED '{name}'"));
    assert_eq!(status, 6, "{stderr}");
    assert!(stderr.contains(&format!("prepared transaction {name}")), "{stderr}");
}
