//! `rollback --last`: exactly what the last run applied, by that run's own rehearsal while it matches; and the other way
//! back, a restore, with what each loses.

use std::time::{Duration, Instant};

use crate::rehearse_data::kitchen;
use crate::support::{Output, Scene, Version};

const TABLE: &str =
    "CREATE TABLE dish (id int PRIMARY KEY, name text); INSERT INTO dish VALUES (1, 'isombe'), (2, 'tea')";
const ADD: &str =
    "-- migrate:up\nALTER TABLE dish ADD COLUMN size int;\n-- migrate:down\nALTER TABLE dish DROP COLUMN size;\n";
const LAST: [&str; 3] = ["rollback", "--last", "--yes"];
const NOTHING_RESTORED: &str = "still matches; nothing is restored";
const OWN: &str = "was rehearsed with its way back";

fn table(name: &str) -> String {
    format!("-- migrate:up\nCREATE TABLE {name} (i int);\n-- migrate:down\nDROP TABLE {name};\n")
}

fn last_run(scene: &Scene, column: &str) -> String {
    scene.database.query(&format!("SELECT {column} FROM safe_migrate.run ORDER BY started_at DESC LIMIT 1"))
}

fn goes_by_its_own_rehearsal(version: Version) {
    let scene = kitchen(version, TABLE, &[ADD, &table("extra")]);
    let before = scene.schema();
    scene.run(0, &["apply", "--yes"]);
    let rehearsal = last_run(&scene, "rehearsal_id");
    let snapshots = scene.snapshots().len();
    let output = scene.run(0, &LAST);
    assert!(output.stderr.contains(OWN) && output.stderr.contains(NOTHING_RESTORED), "{}", output.stderr);
    assert!(
        output.stderr.contains(&rehearsal) && !output.stderr.contains("restoring the snapshot"),
        "{}",
        output.stderr
    );
    assert!(output.stdout.contains("schema equal to the rehearsed one"), "{}", output.stdout);
    assert_eq!((scene.schema(), scene.applied()), (before, Vec::new()));
    assert_eq!(scene.snapshots().len(), snapshots + 1, "a snapshot of its own");
    assert_eq!(last_run(&scene, "rehearsal_id"), rehearsal, "the ledger names it");
}

#[test]
fn rollback_last_goes_by_the_rehearsal_of_the_run() {
    goes_by_its_own_rehearsal(Version::V15);
}

#[test]
fn rollback_last_goes_by_the_rehearsal_of_the_run_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    goes_by_its_own_rehearsal(Version::V18);
}

fn hash(refused: &Output) -> String {
    let hash = refused.stderr.rsplit_once("--accept-data-loss ").expect("the refusal says how to accept").1;
    hash.split_whitespace().next().unwrap().to_owned()
}

/// The rehearsal saw no row of now: what would be lost is counted, and set against what a restore would lose.
#[test]
fn rollback_last_counts_what_would_be_lost_now() {
    let elsewhere = "; CREATE SCHEMA attic; CREATE TABLE attic.extra (i int); INSERT INTO attic.extra VALUES (1)";
    let scene = kitchen(Version::V15, &format!("{TABLE}{elsewhere}"), &[ADD, &table("extra")]);
    scene.run(0, &["apply", "--yes"]);
    let snapshot = last_run(&scene, "snapshot_id");
    scene.database.sql("UPDATE dish SET size = 3; INSERT INTO dish VALUES (3, 'ubugari', NULL)");
    let before = scene.database.dump();
    let refused = scene.run(3, &LAST);
    let said = &refused.stderr;
    assert!(said.contains(NOTHING_RESTORED), "{said}");
    assert!(said.contains("column public.dish.size is gone with 2 values, counted now"), "{said}");
    assert!(!said.contains("extra is gone"), "an empty one is no loss, and another of that name none at all: {said}");
    assert!(said.contains(&format!("instead: safe-migrate restore {snapshot} --in-place (from before run ")), "{said}");
    assert!(said.contains("it loses 1 row written since (counted now), and values changed in place"), "{said}");
    assert!(said.contains("the restore loses less: 1 against 2 rows or values"), "{said}");
    assert_eq!(scene.database.dump(), before);
    scene.run(0, &[&LAST[..], &["--accept-data-loss", &hash(&refused)]].concat());
    assert_eq!(scene.database.query("SELECT count(*) FROM dish"), "3");
}

#[test]
fn rollback_last_rehearses_anew_what_no_longer_matches() {
    let clears =
        "-- migrate:up\nINSERT INTO dish VALUES (9, 'soup');\n-- migrate:down\nDELETE FROM dish WHERE id = 9;\n";
    for (migration, change, config, why) in [
        (clears, "SELECT 1", "", "does more to rows than to drop what the run made"),
        (ADD, "ALTER TABLE dish ADD COLUMN spice int", "", "production's schema is not the one it started from"),
        (ADD, "SELECT 1", "[apply]\nmax_age = \"0s\"\n", "and [apply] max_age is"),
    ] {
        let scene = kitchen(Version::V15, TABLE, &[migration]);
        scene.run(0, &["apply", "--yes"]);
        scene.database.sql(change);
        scene.project.configure_more(config);
        let mut arguments = LAST.to_vec();
        if change != "SELECT 1" {
            arguments.extend(["--accept-drift", "test"]);
        }
        let output = scene.run(if migration == clears { 3 } else { 0 }, &arguments);
        assert!(output.stderr.contains(why) && output.stderr.contains("rehearsing anew"), "{why}: {}", output.stderr);
        assert!(!output.stderr.contains(NOTHING_RESTORED), "{}", output.stderr);
        if migration == clears {
            // The new rehearsal measured it.
            assert!(output.stderr.contains("1 row of public.dish is gone"), "{}", output.stderr);
        }
    }
}

/// Run by run: a rollback is not the last run that applied something.
#[test]
fn rollback_last_goes_back_run_by_run() {
    let scene = kitchen(Version::V15, TABLE, &[ADD]);
    scene.run(0, &["apply", "--yes"]);
    for name in ["0002_b", "0003_c"] {
        scene.project.write_migration("kitchen", name, &table(&name[5..]));
    }
    scene.run(0, &["apply", "--yes"]);
    scene.run(0, &LAST);
    assert_eq!(scene.applied(), ["kitchen/0001_step"]);
    scene.run(0, &LAST);
    assert!(scene.applied().is_empty());
    assert!(scene.run(0, &LAST).stdout.contains("nothing to do"));
}

/// A run that died counts with what it got done.
#[test]
fn rollback_last_takes_what_a_dead_run_had_applied() {
    let scene = kitchen(Version::V15, TABLE, &[ADD]);
    scene.run(0, &["apply", "--yes"]);
    scene.project.write_migration("kitchen", "0002_b", &table("b"));
    let slow = "-- migrate:up\nSELECT pg_sleep(300);\n-- migrate:down\nSELECT 1;\n";
    scene.project.write_migration("kitchen", "0003_slow", slow);
    let mut run = scene.project.command(&["apply", "--yes", "--skip-rehearsal", "test"]).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while scene.applied().len() < 2 {
        assert!(run.try_wait().unwrap().is_none() && Instant::now() < deadline, "it never came so far");
        std::thread::sleep(Duration::from_millis(20));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    let output = scene.run(0, &LAST);
    assert!(output.stderr.contains("never ended"), "{}", output.stderr);
    assert_eq!(scene.applied(), ["kitchen/0001_step"]);
    assert_eq!(scene.database.query("SELECT to_regclass('b')"), "");
}

/// Its journal would skip the statement whose work a rollback takes away.
#[test]
fn rollback_is_refused_under_a_half_done_migration() {
    let scene = kitchen(Version::V15, TABLE, &[&table("extra")]);
    let half = |last: &str| {
        format!(
            "-- migrate:up transaction:false\nALTER TABLE extra ADD COLUMN a int;\n{last};\n\
             -- migrate:down\nALTER TABLE extra DROP COLUMN a;\n"
        )
    };
    scene.run(0, &["apply", "--yes"]);
    scene.project.write_migration("kitchen", "0002_half", &half("SELECT 1 / 0"));
    scene.run(4, &["apply", "--yes", "--skip-rehearsal", "test"]);
    let refused = scene.run(3, &LAST);
    assert!(refused.stderr.contains("kitchen/0002_half"), "{}", refused.stderr);
    assert!(refused.stderr.contains("stopped in the middle, and stands on what"), "{}", refused.stderr);
    assert!(refused.stderr.contains("safe-migrate apply"), "{}", refused.stderr);
    scene.project.write_migration("kitchen", "0002_half", &half("SELECT 1"));
    scene.run(0, &["apply", "--yes", "--skip-rehearsal", "test"]);
    scene.run(0, &["rollback", "kitchen", "zero", "--yes"]);
    assert!(scene.applied().is_empty());
}

fn names_the_restore(version: Version) {
    let no_way = "-- migrate:up\nALTER TABLE dish ADD COLUMN size int;\nUPDATE dish SET name = upper(name);\n";
    let scene = kitchen(version, TABLE, &[no_way]);
    scene.run(0, &["apply", "--yes"]);
    let (snapshot, run) = (last_run(&scene, "snapshot_id"), last_run(&scene, "id"));
    scene.database.sql("INSERT INTO dish VALUES (3, 'a'), (4, 'b')");
    for command in [&LAST[..], &["rollback", "kitchen", "zero", "--yes"]] {
        let refused = scene.run(2, command);
        let said = &refused.stderr;
        assert!(said.contains("kitchen/0001_step cannot be rolled back"), "{said}");
        assert!(
            said.contains(&format!("safe-migrate restore {snapshot} --in-place (from before run {run})")),
            "{said}"
        );
        assert!(said.contains("it loses 2 rows written since (counted now)"), "{said}");
    }
    scene.run(0, &["restore", &snapshot, "--in-place", "--yes"]);
    assert_eq!(scene.database.query("SELECT string_agg(name, ',' ORDER BY id) FROM dish"), "isombe,tea");
}

#[test]
fn rollback_of_what_has_no_way_down_names_the_restore() {
    names_the_restore(Version::V15);
}

#[test]
fn rollback_of_what_has_no_way_down_names_the_restore_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    names_the_restore(Version::V18);
}

#[test]
fn rollback_dry_run_says_what_both_ways_lose() {
    let scene = kitchen(Version::V15, TABLE, &[ADD]);
    scene.run(0, &["apply", "--yes"]);
    let snapshot = last_run(&scene, "snapshot_id");
    scene.project.write_migration("other", "0001_later", &table("later"));
    scene.run(0, &["apply", "--yes"]);
    let before = scene.snapshots();
    let output = scene.run(0, &["rollback", "kitchen", "zero", "--dry-run"]);
    assert!(output.stderr.contains("drops the column size with its values"), "{}", output.stderr);
    assert!(
        output.stderr.contains(&format!("instead of the plan: safe-migrate restore {snapshot}")),
        "{}",
        output.stderr
    );
    assert!(output.stderr.contains("it takes back other/0001_later too"), "{}", output.stderr);
    assert_eq!(scene.snapshots(), before);
}
