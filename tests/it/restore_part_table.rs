//! `restore --table T`: a table back after it was dropped, beside the present one, or in its place.

use crate::restore_part_column::run_to_undo;
use crate::support::{Scene, Version};

const MENU: &str = "
    CREATE TYPE size AS ENUM ('small', 'large');
    CREATE TABLE category (id int PRIMARY KEY, name text);
    INSERT INTO category VALUES (1, 'starters'), (2, 'mains');
    CREATE TABLE item (id serial PRIMARY KEY, category int REFERENCES category, size size DEFAULT 'large' NOT NULL,
        name text CHECK (name <> ''), upper_name text GENERATED ALWAYS AS (upper(name)) STORED);
    COMMENT ON TABLE item IS 'what we sell';
    COMMENT ON COLUMN item.name IS 'on the card';
    CREATE UNIQUE INDEX item_name ON item (lower(name));
    CREATE STATISTICS item_stats ON category, size FROM item;
    ALTER TABLE item ENABLE ROW LEVEL SECURITY;
    CREATE POLICY all_rows ON item USING (true);
    GRANT SELECT ON item TO PUBLIC;
    CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
    CREATE TRIGGER noted BEFORE INSERT ON item FOR EACH ROW EXECUTE FUNCTION noted();
    INSERT INTO item (category, size, name) SELECT n % 2 + 1, 'small', 'item ' || n FROM generate_series(1, 200) n;
    CREATE TABLE line (id int PRIMARY KEY, item int REFERENCES item);
    INSERT INTO line SELECT n, n FROM generate_series(1, 20) n;";

const ITEMS: &str = "SELECT * FROM item ORDER BY id";

fn a_dropped_table_comes_back(version: Version) {
    let scene = Scene::empty(version);
    scene.database.sql(MENU);
    let (id, schema, rows) = (scene.take_snapshot(), scene.schema(), scene.database.query(ITEMS));
    scene.database.sql("DROP TABLE item CASCADE; DROP TYPE size; DROP FUNCTION noted");
    let (without, dump) = (scene.schema(), scene.database.dump());
    let dry = scene.run(0, &["restore", &id, "--table", "item", "--dry-run"]);
    assert_eq!(scene.database.dump(), dump, "a dry run changes nothing");
    for words in
        ["bring public.item back, with 200 rows", "type size", "line_item_fkey of public.line", "item_category_fkey"]
    {
        assert!(dry.stdout.contains(words), "{words} in\n{}", dry.stdout);
    }
    let done = scene.run(0, &["restore", &id, "--table", "item", "--yes"]);
    assert_eq!(scene.schema(), schema, "{}{}", done.stdout, done.stderr);
    assert_eq!(scene.database.query(ITEMS), rows);
    assert_eq!(scene.database.query("INSERT INTO item (name) VALUES ('next') RETURNING id"), "201");

    // It changed, so undoing keeps it under another name.
    let undone = scene.run(0, &["restore", "--undo", &run_to_undo(&done), "--yes"]);
    let kept = undone.stdout.lines().find_map(|line| line.strip_prefix("the table is kept as ")).unwrap();
    assert_eq!(scene.database.query(&format!("SELECT count(*) FROM {kept}")), "201");
    scene.database.sql(&format!("DROP TABLE {kept}"));
    let done = scene.run(0, &["restore", &id, "--table", "item", "--yes"]);
    scene.run(0, &["restore", "--undo", &run_to_undo(&done), "--yes"]);
    scene.database.sql("DROP TYPE size; DROP FUNCTION noted");
    assert_eq!(scene.schema(), without, "unchanged, it is dropped again");
    assert_eq!(scene.databases().len(), 1);
}

#[test]
fn a_dropped_table_comes_back_with_all_that_belongs_to_it() {
    a_dropped_table_comes_back(Version::V15);
}

#[test]
fn a_dropped_table_comes_back_with_all_that_belongs_to_it_18() {
    a_dropped_table_comes_back(Version::V18);
}

#[test]
fn foreign_keys_that_do_not_hold_any_more_are_counted_and_left_out() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql(MENU);
    let id = scene.take_snapshot();
    scene.database.sql("DROP TABLE item CASCADE; DELETE FROM category WHERE id = 2; INSERT INTO line VALUES (99, 999)");
    let done = scene.run(0, &["restore", &id, "--table", "item", "--yes"]);
    for words in ["100 rows would point to nothing in public.category", "1 row would point to nothing in public.item"] {
        assert_eq!(done.stdout.matches(words).count(), 1, "{words} in\n{}", done.stdout);
    }
    assert_eq!(scene.database.query("SELECT count(*) FROM item"), "200");
}

fn beside_the_present_one(version: Version) {
    let scene = Scene::empty(version);
    scene.database.sql(MENU);
    let id = scene.take_snapshot();
    scene.database.sql("UPDATE item SET name = 'wrong ' || id; DELETE FROM item WHERE id > 100; CREATE VIEW seen AS SELECT * FROM item");
    let (schema, rows) = (scene.schema(), scene.database.query(ITEMS));
    let done = scene.run(0, &["restore", &id, "--table", "item", "--yes"]);
    let made = format!("item_restored_{}", id.to_lowercase().replace('-', "_"));
    assert!(done.stdout.contains(&format!("public.{made} is made, with 200 rows")), "{}", done.stdout);
    assert_eq!(scene.database.query(ITEMS), rows, "the present one is left alone");
    assert_eq!(scene.database.query(&format!("SELECT count(*) FROM {made} WHERE upper_name LIKE 'ITEM%'")), "200");
    let indexes = format!("SELECT count(*) FROM pg_index WHERE indrelid = '{made}'::regclass");
    assert_eq!(scene.database.query(&indexes), "2");
    let constraints = format!(
        "SELECT string_agg(contype::text, '' ORDER BY contype) FROM pg_constraint WHERE conrelid = '{made}'::regclass AND contype <> 'n'"
    );
    assert_eq!(scene.database.query(&constraints), "cp", "no foreign key binds other tables");
    assert_eq!(scene.database.query(&format!("INSERT INTO {made} (name) VALUES ('x') RETURNING id")), "201");
    let refused = scene.run(3, &["restore", "--undo", &run_to_undo(&done), "--yes"]);
    assert!(refused.stderr.contains("was changed since"), "{}", refused.stderr);
    scene.database.sql(&format!("DELETE FROM {made} WHERE id = 201"));
    scene.run(0, &["restore", "--undo", &run_to_undo(&done), "--yes"]);
    assert_eq!(scene.schema(), schema);

    let some = scene.run(0, &["restore", &id, "--table", "item", "--where", "category = 1", "--yes"]);
    assert!(some.stdout.contains("with 100 rows"), "{}", some.stdout);
}

#[test]
fn the_old_rows_stand_beside_the_present_ones() {
    beside_the_present_one(Version::V15);
}

#[test]
fn the_old_rows_stand_beside_the_present_ones_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    beside_the_present_one(Version::V18);
}

fn in_the_place_of_the_present_one(version: Version) {
    let scene = Scene::empty(version);
    scene.database.sql(MENU);
    let id = scene.take_snapshot();
    let (schema, rows) = (scene.schema(), scene.database.query(ITEMS));
    scene.database.sql("CREATE VIEW seen AS SELECT name FROM item; UPDATE item SET name = 'wrong ' || id");
    let dump = scene.database.dump();
    let refused = scene.run(3, &["restore", &id, "--table", "item", "--mode", "replace", "--yes"]);
    for words in ["view public.seen", "foreign key line_item_fkey of public.line"] {
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
    assert_eq!(scene.database.dump(), dump);
    scene.database.sql("DROP VIEW seen; ALTER TABLE line DROP CONSTRAINT line_item_fkey");
    let wrong = scene.database.query(ITEMS);
    let done = scene.run(0, &["restore", &id, "--table", "item", "--mode", "replace", "--yes"]);
    assert_eq!(scene.database.query(ITEMS), rows);
    let kept = done.stdout.lines().find_map(|line| line.strip_prefix("the table that was there is kept as ")).unwrap();
    assert_eq!(scene.database.query(&ITEMS.replace("item", kept)), wrong);
    let undone = scene.run(0, &["restore", "--undo", &run_to_undo(&done), "--yes"]);
    assert_eq!(scene.database.query(ITEMS), wrong);
    scene.run(0, &["restore", "--undo", &run_to_undo(&undone), "--yes"]);
    assert_eq!(scene.database.query(ITEMS), rows);
    let kept =
        scene.database.query("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'item\\_before%'");
    scene.database.sql(&format!("DROP TABLE {kept}; ALTER TABLE line ADD FOREIGN KEY (item) REFERENCES item"));
    assert_eq!(scene.schema(), schema, "the names of all that belongs to it are its own");
}

#[test]
fn a_table_takes_the_place_of_the_present_one_which_is_kept() {
    in_the_place_of_the_present_one(Version::V15);
}

#[test]
fn a_table_takes_the_place_of_the_present_one_which_is_kept_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    in_the_place_of_the_present_one(Version::V18);
}

fn a_dropped_partitioned_table(version: Version) {
    let scene = Scene::empty(version);
    scene.database.sql(
        "CREATE TABLE visit (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
         CREATE TABLE visit_2025 PARTITION OF visit FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
         CREATE TABLE visit_2026 PARTITION OF visit FOR VALUES FROM ('2026-01-01') TO ('2027-01-01') PARTITION BY HASH (id);
         CREATE TABLE visit_2026_0 PARTITION OF visit_2026 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE visit_2026_1 PARTITION OF visit_2026 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
         CREATE INDEX visit_at ON visit (at);
         INSERT INTO visit SELECT n, date '2025-06-01' + n FROM generate_series(1, 500) n",
    );
    let (id, schema) = (scene.take_snapshot(), scene.schema());
    let rows = scene.database.query("SELECT tableoid::regclass, * FROM visit ORDER BY id");
    let beside = scene.run(0, &["restore", &id, "--table", "visit", "--yes"]);
    assert!(beside.stdout.contains("with 500 rows"), "{}", beside.stdout);
    scene.run(0, &["restore", "--undo", &run_to_undo(&beside), "--yes"]);
    assert_eq!(scene.schema(), schema);
    scene.database.sql("DROP TABLE visit");
    scene.run(0, &["restore", &id, "--table", "visit", "--yes"]);
    assert_eq!(scene.schema(), schema);
    assert_eq!(scene.database.query("SELECT tableoid::regclass, * FROM visit ORDER BY id"), rows);
}

#[test]
fn a_dropped_partitioned_table_comes_back_with_its_partitions() {
    a_dropped_partitioned_table(Version::V15);
}

#[test]
fn a_dropped_partitioned_table_comes_back_with_its_partitions_18() {
    a_dropped_partitioned_table(Version::V18);
}

#[test]
fn a_recovery_is_no_drift_for_the_next_apply() {
    let scene = Scene::dusangire(Version::V15);
    scene.begin_applied();
    let id = scene.take_snapshot();
    scene.database.sql("INSERT INTO menu_category (name, slug) VALUES ('Ibirayi', 'ibirayi')");
    scene.run(0, &["restore", &id, "--table", "menu_category", "--yes"]);
    scene.project.write_migration("later", "0001_one", "-- migrate:up\nCREATE TABLE later (a int);\n");
    scene.run(0, &["apply", "--yes"]);
}
