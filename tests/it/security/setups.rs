//! Honest databases and machines go through without a switch (docs/threat-model.md has the table).

use std::sync::Arc;

use crate::support::{Scene, TestCluster, Version};

const SIZE: &str =
    "-- migrate:up\nALTER TABLE dish ADD COLUMN size int;\n-- migrate:down\nALTER TABLE dish DROP COLUMN size;\n";

/// From a rehearsal to a restore in place.
fn goes_through(scene: &Scene) {
    scene.project.write_migration("kitchen", "0001_size", SIZE);
    scene.run(0, &["apply", "--yes"]);
    scene.run(0, &["rollback", "kitchen", "zero", "--yes"]);
    scene.run(0, &["restore", "latest", "--in-place", "--yes"]);
    assert_eq!(scene.database.query("SELECT count(*) FROM dish"), "1");
}

#[test]
fn security_setup_with_preloaded_libraries() {
    let libraries = "shared_preload_libraries=pg_stat_statements,auto_explain";
    let scene = Scene::on(&Arc::new(TestCluster::start(Version::V15, &[libraries])));
    scene.database.sql("CREATE EXTENSION pg_stat_statements; CREATE TABLE dish (id int); INSERT INTO dish VALUES (1)");
    goes_through(&scene);
}

#[test]
fn security_setup_with_owners_of_several_kinds() {
    let cluster = TestCluster::shared(Version::V18);
    let (cook, waiter) = (cluster.role("cook", "of-the-cook", ""), cluster.role("waiter", "of-the-waiter", ""));
    let scene = Scene::on(&cluster);
    scene.database.sql(&format!(
        "CREATE TABLE dish (id int, name text DEFAULT 'soup');
         GRANT CREATE, USAGE ON SCHEMA public TO {cook}, {waiter};
         SET ROLE {cook};
         CREATE FUNCTION is_short(text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT length($1) < 100';
         RESET ROLE;
         ALTER TABLE dish ADD CHECK (is_short(name)); ALTER TABLE dish OWNER TO {waiter};
         CREATE MATERIALIZED VIEW short AS SELECT * FROM dish WHERE is_short(name);
         CREATE INDEX ON dish (is_short(name));
         INSERT INTO dish VALUES (1)",
        cook = cook.name(),
        waiter = waiter.name()
    ));
    goes_through(&scene);
}

#[test]
fn security_setup_with_sql_that_is_put_together() {
    let scene = Scene::on(&TestCluster::shared(Version::V15));
    scene.database.sql("CREATE TABLE dish (id int); INSERT INTO dish VALUES (1)");
    scene.project.write_migration(
        "kitchen",
        "0000_views",
        "-- migrate:up\nDO $$ DECLARE t text; BEGIN FOR t IN SELECT relname FROM pg_class WHERE relname = 'dish' LOOP
           EXECUTE format('CREATE VIEW %I AS SELECT * FROM %I', t || '_view', t); END LOOP; END $$;
-- migrate:down\nDROP VIEW dish_view;\n",
    );
    goes_through(&scene);
}

#[test]
fn security_setup_with_foreign_servers_and_dblink() {
    let scene = Scene::on(&TestCluster::shared(Version::V18));
    scene.database.sql(
        "CREATE EXTENSION dblink; CREATE EXTENSION postgres_fdw;
         CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'db.example', dbname 'x');
         CREATE USER MAPPING FOR CURRENT_USER SERVER elsewhere OPTIONS (user 'a', password 'of-the-mapping');
         CREATE TABLE dish (id int); INSERT INTO dish VALUES (1)",
    );
    let output = scene.project.run(&["snapshot", "create"]);
    assert!(output.stderr.contains("user mappings hold a password"), "{}", output.stderr);
    assert!(!output.stderr.contains("of-the-mapping"), "{}", output.stderr);
    goes_through(&scene);
}
