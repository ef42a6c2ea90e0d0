//! P3: a rehearsal runs on data restored from a snapshot and never reaches production.

use std::sync::Arc;

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

    // Without --yes and without a terminal the run ends at the question, after the rehearsal.
    let output = project.run(&["apply"]);
    assert_eq!(output.status, 3, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("confirm"), "{}", output.stderr);
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
    rehearsal_leaves_production_alone(Version::V18);
}
