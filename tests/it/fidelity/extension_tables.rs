//! Extensions with configuration tables: the user's rows come back, the extension's own come with `CREATE EXTENSION`.

use std::sync::Arc;

use crate::support::{Scene, TestCluster, Version};

const CONTROL: &str = "default_version = '1.0'\nrelocatable = false\nschema = shop\n";

/// One table with a filter, one without, one that is not configuration, and a sequence that is.
const SCRIPT: &str = "
    CREATE TABLE filtered (k text PRIMARY KEY, v text, ours boolean DEFAULT false);
    INSERT INTO filtered VALUES ('built in', '1', true);
    SELECT pg_extension_config_dump('filtered', 'WHERE NOT ours');
    CREATE SEQUENCE numbers; SELECT pg_extension_config_dump('numbers', '');
    CREATE TABLE whole (id int DEFAULT nextval('numbers'), v text); SELECT pg_extension_config_dump('whole', '');
    CREATE TABLE not_config (a int); INSERT INTO not_config VALUES (1);";

#[test]
fn the_rows_of_configuration_tables_round_trip() {
    // Only PostgreSQL 18 reads extensions from a directory of one's own.
    let extensions = tempfile::Builder::new().prefix("test-extensions-").tempdir().unwrap();
    let directory = extensions.path().join("extension");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("shop.control"), CONTROL).unwrap();
    std::fs::write(directory.join("shop--1.0.sql"), SCRIPT).unwrap();
    for path in [extensions.path(), &directory] {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let setting = format!("extension_control_path={}:$system", extensions.path().display());
    let scene = Scene::on(&Arc::new(TestCluster::start(Version::V18, &[&setting])));
    scene.database.sql(
        "CREATE EXTENSION shop; INSERT INTO shop.filtered VALUES ('mine', '2'), ('also', E'a\\tb');
         INSERT INTO shop.whole (v) SELECT 'x' FROM generate_series(1, 5); INSERT INTO shop.not_config VALUES (2)",
    );
    let id = scene.take_snapshot();
    let copy = format!("{}_copy", scene.database.name());
    scene.run(0, &["restore", &id, "--to", &copy, "--yes"]);
    let there = |query| scene.cluster().query(&copy, query);
    assert_eq!(there("SELECT string_agg(k, ',' ORDER BY k) FROM shop.filtered"), "also,built in,mine");
    assert_eq!(there("SELECT string_agg(id::text, ',' ORDER BY id) FROM shop.whole"), "1,2,3,4,5");
    assert_eq!(there("SELECT nextval('shop.numbers')"), "6", "the sequence is configuration too");
    assert_eq!(there("SELECT string_agg(a::text, ',') FROM shop.not_config"), "1", "as pg_dump does it");
}
