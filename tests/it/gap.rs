//! What was written between the snapshot and the migrations is measured, and said before the question.

use crate::support::{Running, Scene, Version};

#[test]
fn gap_names_the_tables_that_were_written() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql(
        "CREATE TABLE orders (i int); CREATE SCHEMA shop; CREATE TABLE shop.item (i int); CREATE TABLE calm (i int)",
    );
    let text = "-- migrate:up\nSELECT pg_sleep(1);\n-- migrate:down\nSELECT 1;\n";
    scene.project.write_migration("app", "0001_slow", text);
    let mut run = Running::start(&scene.project, &["apply", "--yes"]);
    run.wait_for("vacuum was held back");
    scene.database.sql("INSERT INTO orders SELECT generate_series(1, 1200)");
    scene.database.sql("INSERT INTO shop.item SELECT generate_series(1, 30); DELETE FROM shop.item WHERE i <= 10");
    let output = run.end();
    assert_eq!(output.status, 0, "{}", output.stderr);
    let gap = output.stderr.lines().find(|line| line.contains("a restore would lose")).unwrap_or_default();
    assert!(gap.contains("about 1,240 rows written") || gap.contains("about 1240 rows written"), "{}", output.stderr);
    assert!(gap.contains("orders 1200, shop.item 40;") && gap.contains("WAL"), "{gap}");
    assert!(!gap.contains("calm"), "{gap}");
}

#[test]
fn gap_of_a_calm_database_and_of_a_named_snapshot() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE t (i int, words text)");
    let id = scene.take_snapshot();
    scene.database.sql("INSERT INTO t SELECT 1, repeat('x', 100) FROM generate_series(1, 20000)");
    let text = "-- migrate:up\nCREATE TABLE a (i int);\n-- migrate:down\nDROP TABLE a;\n";
    scene.project.write_migration("app", "0001_a", text);
    let output = scene.run(0, &["apply", "--yes", "--snapshot", &id, "--skip-rehearsal", "test"]);
    let gap = output.stderr.lines().find(|line| line.contains("a restore would lose")).unwrap_or_default();
    assert!(gap.contains("the snapshot was taken") && gap.contains("WAL") && gap.contains("MB"), "{}", output.stderr);

    scene.project.write_migration("app", "0002_b", &text.replace("TABLE a", "TABLE b"));
    let output = scene.run(0, &["apply", "--yes", "--skip-rehearsal", "test"]);
    assert!(output.stderr.contains("no row was written since the snapshot"), "{}", output.stderr);
}
