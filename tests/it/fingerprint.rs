//! What counts as drift and what does not, through the real binary.

use crate::support::{Scene, Version};

/// PostgreSQL rewrites this condition when the schema is dumped and restored: the casts read back differently.
const ORDERS: &str = "-- migrate:up
CREATE TABLE orders (
    id int PRIMARY KEY,
    status varchar(16) NOT NULL,
    CONSTRAINT orders_status CHECK (status IN ('new', 'paid'))
);
CREATE INDEX orders_new ON orders (id) WHERE status IN ('new', 'x');
CREATE VIEW open_orders AS SELECT id FROM orders WHERE status IN ('new', 'paid');
-- migrate:down
DROP VIEW open_orders;
DROP TABLE orders;
";

const NOTE: &str = "-- migrate:up
ALTER TABLE orders ADD COLUMN note text;
ALTER TABLE orders ADD CONSTRAINT orders_note CHECK (note IN ('a'::varchar, 'b'));
-- migrate:down
ALTER TABLE orders DROP COLUMN note;
";

fn a_rewritten_check_is_no_drift(version: Version) {
    let scene = Scene::empty(version);
    scene.project.write_migration("shop", "0001_orders", ORDERS);
    scene.begin_applied();
    scene.database.sql("INSERT INTO orders VALUES (1, 'new')");

    // The rehearsal sees the table after a round trip, production does not; the migration touches that table.
    scene.project.write_migration("shop", "0002_note", NOTE);
    let output = scene.run(0, &["apply", "--yes"]);
    assert!(output.stdout.contains("schema equal to the rehearsed one"), "{}", output.stdout);

    // Production itself has been through a round trip now.
    scene.run(0, &["restore", "latest", "--in-place", "--yes"]);
    assert_eq!(scene.applied(), ["shop/0001_orders"]);
    scene.run(0, &["apply", "--yes"]);
    scene.run(
        0,
        &[
            "rollback",
            "shop",
            "0001",
            "--yes",
            "--skip-snapshot",
            "test",
            "--skip-rehearsal",
            "test",
            "--accept-data-loss",
            &plan_hash(&scene),
        ],
    );
    scene.run(0, &["apply", "--yes"]);
    assert_eq!(scene.applied(), ["shop/0001_orders", "shop/0002_note"]);
    assert_eq!(scene.database.query("SELECT status FROM orders"), "new");
}

/// The plan's hash, as the refusal prints it.
fn plan_hash(scene: &Scene) -> String {
    let refused =
        scene.run(3, &["rollback", "shop", "0001", "--yes", "--skip-snapshot", "test", "--skip-rehearsal", "test"]);
    let hash = refused.stderr.rsplit_once("--accept-data-loss ").expect("the refusal says how to accept").1;
    hash.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn a_check_that_postgresql_rewrites_is_no_drift() {
    a_rewritten_check_is_no_drift(Version::V15);
}

#[test]
fn a_check_that_postgresql_rewrites_is_no_drift_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    a_rewritten_check_is_no_drift(Version::V18);
}

#[test]
fn a_change_from_outside_is_drift() {
    let scene = Scene::empty(Version::V15);
    scene.project.write_migration("shop", "0001_orders", ORDERS);
    scene.run(0, &["apply", "--yes"]);
    scene.database.sql("ALTER TABLE orders ADD COLUMN by_hand int");
    scene.project.write_migration("shop", "0002_note", NOTE);
    let before = scene.database.dump();

    let refused = scene.run(3, &["apply", "--yes"]);
    assert!(refused.stderr.contains("drift") && refused.stderr.contains("--accept-drift"), "{}", refused.stderr);
    assert_eq!(scene.database.dump(), before);
    assert_eq!(scene.snapshots().len(), 1, "refused before anything is copied");

    scene.run(0, &["apply", "--yes", "--accept-drift", "the column is wanted"]);
    assert_eq!(scene.applied(), ["shop/0001_orders", "shop/0002_note"]);
    // Accepted once: from now on it is the recorded schema.
    scene.project.write_migration("shop", "0003_more", "-- migrate:up\nSELECT 1;\n-- migrate:down\nSELECT 1;\n");
    scene.run(0, &["apply", "--yes"]);
    let why = "SELECT bypass FROM safe_migrate.run ORDER BY started_at OFFSET 1 LIMIT 1";
    assert!(scene.database.query(why).contains("the column is wanted"), "the reason is recorded");
}

#[test]
fn rows_ownership_of_the_ledger_and_statistics_are_no_drift() {
    let scene = Scene::empty(Version::V15);
    scene.project.write_migration("shop", "0001_orders", ORDERS);
    scene.begin_applied();
    scene
        .database
        .sql("INSERT INTO orders SELECT i, 'paid' FROM generate_series(1, 100) i; ANALYZE; REINDEX TABLE orders");
    scene.project.write_migration("shop", "0002_note", NOTE);
    scene.run(0, &["apply", "--yes"]);
}
