//! What of a snapshot cannot be made again does not take the rest with it.

use crate::support::{Contents, Scene, Version};

/// Orphans behind a trigger that was off, an index whose function was changed since, and a view that divides by a price that
/// was made zero.
const SHOP: &str = "
    CREATE TABLE dish (id int PRIMARY KEY, price int NOT NULL);
    CREATE TABLE line (id int PRIMARY KEY, dish int CONSTRAINT line_dish REFERENCES dish, amount int NOT NULL);
    COMMENT ON CONSTRAINT line_dish ON line IS 'of the shop';
    CREATE INDEX line_amount ON line (amount);
    INSERT INTO dish SELECT n, n FROM generate_series(1, 100) n;
    INSERT INTO line SELECT n, n, 1 FROM generate_series(1, 100) n;
    CREATE TABLE other (id int PRIMARY KEY);
    INSERT INTO other SELECT generate_series(1, 50);
    ALTER TABLE line DISABLE TRIGGER ALL;
    INSERT INTO line VALUES (101, 777, 1);
    ALTER TABLE line ENABLE TRIGGER ALL;";
const BROKEN: &str = "
    CREATE FUNCTION score(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
    CREATE INDEX dish_score ON dish (score(price));
    CREATE MATERIALIZED VIEW share AS SELECT id, 100 / price AS share FROM dish;
    CREATE INDEX share_id ON share (id);
    CREATE OR REPLACE FUNCTION score(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1 / ($1 - 7)';
    ALTER TABLE dish DISABLE TRIGGER ALL;
    INSERT INTO dish (id, price) SELECT 1000, 0;";
const FOREIGN_KEY: &str = "FK CONSTRAINT public.line line_dish";

fn is_valid(scene: &Scene, database: &str) -> String {
    scene.cluster().query(
        database,
        "SELECT convalidated, obj_description(oid, 'pg_constraint') FROM pg_constraint WHERE conname = 'line_dish'",
    )
}

fn orphans_of_a_foreign_key(version: Version) {
    let scene = Scene::empty(version);
    scene.database.sql(SHOP);
    let id = scene.take_snapshot();
    let before = Contents::of(scene.cluster(), scene.database.name());
    // The snapshot is whole: in a server of ours everything is as in production.
    let verified = scene.run(0, &["snapshot", "verify", &id, "--level", "restore"]);
    let said = format!("{}{}", verified.stdout, verified.stderr);
    assert!(said.contains("line_dish") && said.contains("does not hold for the rows"), "{said}");
    scene.project.write_migration(
        "app",
        "0001_note",
        "-- migrate:up\nALTER TABLE dish ADD COLUMN note text;\n-- migrate:down\nALTER TABLE dish DROP COLUMN note;\n",
    );
    scene.run(0, &["rehearse", "--snapshot", &id]);

    let databases = scene.databases();
    let failed = scene.run(1, &["restore", &id, "--in-place", "--yes"]);
    for words in [
        FOREIGN_KEY,
        "(777)",
        &format!("--without '{FOREIGN_KEY}'"),
        "--not-valid",
        &format!("restore {id} --in-place --resume"),
    ] {
        assert!(failed.stderr.contains(words), "{words}: {}", failed.stderr);
    }
    assert_eq!(Contents::of(scene.cluster(), scene.database.name()), before);
    assert_eq!(scene.databases().len(), databases.len() + 1, "what was filled is kept");
    // Neither half of a restore is put in the place of anything.
    let filled = scene.databases().into_iter().find(|one| one.contains("_restored_")).unwrap();
    scene.run(1, &["restore", "--swap", &filled, "--yes"]);
    // Gone on with as it is, it fails alike and is kept again.
    scene.run(1, &["restore", &id, "--in-place", "--resume", "--yes"]);
    let done = scene.run(0, &["restore", &id, "--in-place", "--resume", "--not-valid", "--yes"]);
    assert!(!done.stderr.contains("loading rows"), "{}", done.stderr);
    assert!(done.stdout.contains("is left NOT VALID"), "{}", done.stdout);
    assert_eq!(Contents::of(scene.cluster(), scene.database.name()), before);
    assert_eq!(is_valid(&scene, scene.database.name()), "f|of the shop");
    let nothing = scene.run(1, &["restore", &id, "--in-place", "--resume", "--yes"]);
    assert!(nothing.stderr.contains("without --resume"), "{}", nothing.stderr);

    // A new restore begins anew, whatever an earlier one left.
    scene.run(1, &["restore", &id, "--in-place", "--yes"]);
    let without = scene.run(0, &["restore", &id, "--in-place", "--without", FOREIGN_KEY, "--yes"]);
    assert!(without.stderr.contains("left unfinished by an earlier restore"), "{}", without.stderr);
    assert_eq!(is_valid(&scene, scene.database.name()), "");
}

#[test]
fn orphans_of_a_foreign_key_do_not_cost_the_rows() {
    orphans_of_a_foreign_key(Version::V15);
}

#[test]
fn orphans_of_a_foreign_key_do_not_cost_the_rows_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    orphans_of_a_foreign_key(Version::V18);
}

fn the_rest_is_restored(version: Version) {
    let scene = Scene::empty(version);
    scene.database.sql(SHOP);
    scene.database.sql("CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * $1'");
    // Rows of this one cannot be loaded: its function was changed since.
    scene.database.sql(
        "CREATE TABLE visit (id int PRIMARY KEY, dish int REFERENCES dish, doubled int GENERATED ALWAYS AS (twice(id)) STORED);
         CREATE VIEW visits AS SELECT count(*) FROM visit;
         INSERT INTO visit SELECT n, n FROM generate_series(1, 10) n;
         CREATE OR REPLACE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1 / ($1 - 5)'",
    );
    scene.database.sql(BROKEN);
    let id = scene.take_snapshot();
    let mut before = Contents::of(scene.cluster(), scene.database.name());
    let copy = format!("{}_copy", scene.database.name());
    let failed = scene.run(1, &["restore", &id, "--to", &copy, "--yes"]);
    assert!(failed.stderr.contains("--without 'TABLE public.visit'"), "{}", failed.stderr);
    assert!(!scene.databases().contains(&copy), "without its rows it is of no use");

    let part = scene.run(4, &["restore", &id, "--to", &copy, "--keep-going", "--json", "--yes"]);
    let document: serde_json::Value = serde_json::from_str(&part.stdout).unwrap();
    let mut lost: Vec<&str> =
        document["not_made"].as_array().unwrap().iter().map(|one| one["entry"].as_str().unwrap()).collect();
    lost.sort_unstable();
    let expected =
        [FOREIGN_KEY, "INDEX public.dish_score", "MATERIALIZED VIEW DATA public.share", "TABLE public.visit"];
    assert_eq!(lost, expected, "{}", part.stderr);
    before.relations.retain(|(name, _)| name != "public.visit");
    let is_share = |(name, _): &&mut (String, String)| name == "public.share";
    before.relations.iter_mut().find(is_share).unwrap().1 = "not populated\n".to_owned();
    assert_eq!(Contents::of(scene.cluster(), &copy), before);
    assert_eq!(
        scene.cluster().query(&copy, "SELECT to_regclass('visits'), to_regclass('line_amount')"),
        "|line_amount"
    );

    // Named, they are left out from the beginning.
    let named: Vec<&str> = expected.iter().flat_map(|one| ["--without", one]).collect();
    let other = format!("{copy}_2");
    scene.run(0, &[&["restore", &id, "--to", &other, "--yes"], &named[..]].concat());
    assert_eq!(Contents::of(scene.cluster(), &other), before);
}

#[test]
fn the_rest_is_restored_without_what_cannot_be() {
    the_rest_is_restored(Version::V15);
}

#[test]
fn the_rest_is_restored_without_what_cannot_be_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    the_rest_is_restored(Version::V18);
}
