//! Locks: a snapshot never hangs behind somebody else's, and says whose it was.

use std::time::Instant;

use crate::support::{Scene, Version};

use super::backend::{Backend, finish, has_lock, start, wait_until};

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
    assert!(status == 1 || status == 6, "{status}: {stderr}");
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

#[test]
fn ddl_that_queues_behind_the_leader_stops_the_snapshot_and_goes_on() {
    let scene = scene_with_work();
    let changer = format!("{}_changer", scene.database.name());
    let mut session = Backend::open(scene.cluster(), scene.database.name(), &changer);
    let began = Instant::now();
    let snapshot = start(&scene, &["snapshot", "create", "--jobs", "1"]);
    wait_until(scene.cluster(), &has_lock(&scene, "safe-migrate snapshot worker", "AccessShare", true));
    session.send("ALTER TABLE wanted ADD COLUMN later int;");
    assert_refused(&scene, finish(snapshot), &changer, began);
    let done = "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'wanted'::regclass AND attname = 'later')";
    assert_eq!(scene.database.query(done), "t", "the snapshot gave way");
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
    assert_eq!(status, 1, "{stderr}");
    assert!(stderr.contains(&format!("prepared transaction {name}")), "{stderr}");
}
