//! Writers of every kind against a run, and the question whether the run's snapshot holds all that the migrations saw.

use super::database::TestRole;
use super::scene::Scene;
use super::writers::Writer;

/// A migration that records what it saw.
pub const SEES: &str = "-- migrate:up
CREATE TABLE seen AS
SELECT (SELECT count(*) FROM written) AS rows, (SELECT count(*) FROM pg_largeobject_metadata) AS objects,
       (SELECT coalesce(sum(length(data)), 0) FROM pg_largeobject) AS bytes;
SELECT pg_sleep(0.5);
-- migrate:down
DROP TABLE seen;
";

const WRITTEN: &str = "SELECT count(*), (SELECT count(*) FROM pg_largeobject_metadata),
    (SELECT coalesce(sum(length(data)), 0) FROM pg_largeobject) FROM written";

/// The tables that the writers write, and their writers, which write already: an open session, replicas' triggers, an
/// ordinary role that says READ WRITE, COPY, transactions of some length, and one that makes large objects.
pub fn writers(scene: &Scene, role: &TestRole) -> Vec<Writer> {
    scene.database.sql(&format!(
        "CREATE TABLE written (way text, n bigserial);
         CREATE TABLE object AS SELECT lo_from_bytea(0, 'x') AS oid;
         ALTER ROLE {role} SET default_transaction_read_only = on;
         GRANT ALL ON written TO {role}; GRANT ALL ON SEQUENCE written_n_seq TO {role}",
        role = role.name()
    ));
    let cluster = scene.cluster();
    let url = scene.database.socket_url();
    let start = |url: &str, first: &str, again: &str| Writer::start(cluster, url, first, again);
    let writers = vec![
        start(&url, "SELECT 1;", "INSERT INTO written (way) VALUES ('plain');"),
        start(&url, "SET session_replication_role = replica;", "INSERT INTO written (way) VALUES ('replica');"),
        start(
            &role.url(&scene.database),
            "SELECT 1;",
            "BEGIN READ WRITE; INSERT INTO written (way) VALUES ('role'); COMMIT;",
        ),
        start(&url, "SELECT 1;", "COPY written (way) FROM stdin;\ncopy\ncopy\n\\."),
        start(
            &url,
            "SELECT 1;",
            "BEGIN; INSERT INTO written (way) VALUES ('long'); SELECT pg_sleep(0.1);
             INSERT INTO written (way) VALUES ('long'); COMMIT; SELECT pg_sleep(0.1);",
        ),
        start(
            &url,
            "SELECT 1;",
            "SELECT lo_from_bytea(0, convert_to(repeat('x', (random() * 1000)::int), 'UTF8')); SELECT pg_sleep(0.02);",
        ),
    ];
    let ways = "SELECT count(DISTINCT way) = 5 AND (SELECT count(*) FROM pg_largeobject_metadata) > 1 FROM written";
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while scene.database.query(ways) != "t" {
        assert!(std::time::Instant::now() < deadline, "the writers do not write");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    writers
}

/// What the writers have written: rows, large objects, bytes of these.
pub fn written(scene: &Scene) -> String {
    scene.database.query(WRITTEN)
}

/// What the migration [`SEES`] saw, and what the newest snapshot holds of it.
pub fn seen_and_kept(scene: &Scene) -> (String, String) {
    let snapshot = scene.snapshots().pop().unwrap();
    let copy = format!("{}_copy", scene.database.name());
    scene.run(0, &["restore", &snapshot, "--to", &copy, "--yes"]);
    let kept = scene.cluster().query(&copy, WRITTEN);
    (scene.database.query("SELECT rows, objects, bytes FROM seen"), kept)
}
