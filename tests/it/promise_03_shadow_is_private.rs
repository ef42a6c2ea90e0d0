//! P3: a rehearsal runs on data restored from a snapshot and never reaches production.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::rehearse_never_production::{Production, ours, shadow_server};
use crate::support::{Project, TestCluster, TestStore, Version};

const MARKER: &str = "-- migrate:up
CREATE TABLE rehearsed_only AS SELECT count(*) AS n FROM dish;
UPDATE dish SET name = name || ' rehearsed_only' WHERE id > 0;
SELECT nextval('counter');
-- migrate:down
DROP TABLE rehearsed_only;
UPDATE dish SET name = replace(name, ' rehearsed_only', '') WHERE id > 0;
";

fn rehearsal_leaves_production_alone(version: Version) {
    // A server of its own that logs every statement it is sent.
    let cluster = Arc::new(TestCluster::start(version, &["log_statement=all"]));
    let database = cluster.database();
    let directory = tempfile::tempdir().unwrap();
    let store = TestStore::local(&directory.path().join("store"));
    let project = Project::new(&database, &store);
    database.sql(
        "CREATE TABLE dish (id int PRIMARY KEY, name text); INSERT INTO dish VALUES (1, 'isombe'), (2, 'ubugari');
         CREATE SEQUENCE counter",
    );
    project.write_migration("kitchen", "0001_marker", MARKER);
    let before = database.dump();

    let output = project.run(&["rehearse", "--snapshot", "new"]);
    assert_eq!(output.status, 0, "{}{}", output.stdout, output.stderr);
    let reports: Vec<_> =
        store.objects().into_iter().filter(|(key, _)| key.ends_with("/report.json")).map(|(_, text)| text).collect();
    assert_eq!(reports.len(), 1);
    let report = String::from_utf8(reports[0].clone()).unwrap();
    assert!(report.contains("rehearsed_only"), "the plan was rehearsed: {report}");

    assert_eq!(database.dump(), before);
    assert!(!cluster.log().contains("rehearsed_only"), "no statement of the migration was sent to production");
    let others = "SELECT count(*) FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1')";
    assert_eq!(cluster.query("postgres", others), "1", "no database was made beside production");
    let sent = cluster.log();
    for word in ["CREATE DATABASE safe", "DROP DATABASE", "CREATE SCHEMA safe_migrate", "COPY \"public\".\"dish\" FROM"]
    {
        assert!(!sent.contains(word), "{word}");
    }
}

#[test]
fn promise_03_a_rehearsal_sends_nothing_to_production() {
    rehearsal_leaves_production_alone(Version::V15);
}

#[test]
fn promise_03_a_rehearsal_sends_nothing_to_production_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    rehearsal_leaves_production_alone(Version::V18);
}

/// On a server that somebody named, where others have databases too: what does not carry the mark is not dropped, not
/// even a database that this very run made.
#[test]
fn promise_03_a_database_that_lost_the_mark_is_not_dropped() {
    let production = Production::new(Version::V15);
    let shadow = shadow_server(Version::V15);
    production.shadow_on(&shadow.url("postgres"));
    let project = &production.scene.project;
    project.write_migration(
        "kitchen",
        "0001_marker",
        "-- migrate:up\nSELECT pg_sleep(3);\n-- migrate:down\nSELECT 1;\n",
    );

    let mut run = project.command(&["rehearse", "--snapshot", &production.snapshot]);
    let mut run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let asleep = "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep' AND pid <> pg_backend_pid()";
    let deadline = Instant::now() + Duration::from_secs(60);
    while shadow.query("postgres", asleep) != "1" {
        if run.try_wait().unwrap().is_some() || Instant::now() > deadline {
            panic!("it never slept: {:?}", run.wait_with_output().unwrap());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let unmarked = ours(&shadow);
    for name in unmarked.lines() {
        shadow.sql("postgres", &format!("ALTER DATABASE {name} RESET safe_migrate.mark"));
    }
    let output = run.wait_with_output().unwrap();
    let words = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let left = ours(&shadow);
    assert!(!unmarked.is_empty() && unmarked.lines().all(|name| left.contains(name)), "{unmarked}: {left}: {words}");
    assert!(!output.status.success() && words.contains("mark"), "{words}");
}
