//! `restore --table T --mode missing`: deleted rows come back by primary key, and present rows are left alone.

use crate::restore_part_column::run_to_undo;
use crate::support::{Scene, Version};

const ORDERS: &str = "
    CREATE TABLE guest (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, email text UNIQUE);
    INSERT INTO guest (name, email) SELECT 'guest ' || n, 'g' || n FROM generate_series(1, 50) n;
    CREATE TABLE orders (id serial PRIMARY KEY, guest int NOT NULL REFERENCES guest ON DELETE CASCADE,
        net int, tax int GENERATED ALWAYS AS (net / 5) STORED, gone text);
    INSERT INTO orders (guest, net, gone) SELECT n, n * 10, 'x' FROM generate_series(1, 50) n;";

fn deleted_rows_come_back(version: Version) {
    let scene = Scene::empty(version);
    scene.database.sql(ORDERS);
    let id = scene.take_snapshot();
    let guests = scene.database.query("SELECT id, name, email FROM guest ORDER BY id");
    scene.database.sql(
        "DELETE FROM guest WHERE id > 20; INSERT INTO guest (name, email) VALUES ('new', 'new');
         UPDATE guest SET name = 'renamed' WHERE id = 1;
         ALTER TABLE orders DROP COLUMN gone; ALTER TABLE orders ADD COLUMN since text DEFAULT 'later'",
    );
    let dump = scene.database.dump();
    let refused = scene.run(3, &["restore", &id, "--table", "orders", "--mode", "missing", "--yes"]);
    let words =
        "of 30 rows missing in public.orders, 30 rows would point to nothing in public.guest (orders_guest_fkey)";
    assert!(refused.stderr.contains(words), "{}", refused.stderr);
    assert_eq!(scene.database.dump(), dump, "refused before anything is changed");

    let dry = scene.run(0, &["restore", &id, "--table", "guest", "--mode", "missing", "--dry-run"]);
    assert!(dry.stdout.contains("would insert 30 rows into public.guest"), "{}", dry.stdout);
    assert!(dry.stdout.contains("in both, left alone: 20 rows; only live, kept: 1 row"), "{}", dry.stdout);
    assert_eq!(scene.database.dump(), dump);

    let guest = scene.run(0, &["restore", &id, "--table", "guest", "--mode", "missing", "--yes"]);
    let orders = scene.run(0, &["restore", &id, "--table", "orders", "--mode", "missing", "--batch", "7", "--yes"]);
    let now = scene.database.query("SELECT id, name, email FROM guest WHERE id <= 50 ORDER BY id");
    assert_eq!(now, guests.replacen("guest 1|", "renamed|", 1));
    assert_eq!(scene.database.query("SELECT count(*), sum(tax), count(since) FROM orders"), "50|2550|50");
    for line in ["gone", "since"] {
        let dry = scene.run(0, &["restore", &id, "--table", "orders", "--mode", "missing", "--dry-run"]);
        assert!(dry.stdout.contains(line), "{}", dry.stdout);
    }
    scene.database.sql("INSERT INTO guest (name) VALUES ('next'); INSERT INTO orders (guest) VALUES (1)");

    // Rows that others point to stay; the order that is taken out first lets its guest go.
    let stays = scene.run(0, &["restore", "--undo", &run_to_undo(&guest), "--yes"]);
    assert!(stays.stdout.contains("kept because others point to them: 30 rows"), "{}", stays.stdout);
    assert_eq!(scene.database.query("SELECT count(*) FROM guest WHERE id BETWEEN 21 AND 50"), "30");
    scene.database.sql("UPDATE orders SET net = 1 WHERE id = 21");
    let undone = scene.run(0, &["restore", "--undo", &run_to_undo(&orders), "--yes"]);
    assert!(undone.stdout.contains("changed since and kept: 1 row"), "{}", undone.stdout);
    assert_eq!(scene.database.query("SELECT count(*) FROM orders WHERE id BETWEEN 21 AND 50"), "1");
    scene.run(0, &["restore", "--undo", &run_to_undo(&undone), "--yes"]);
    assert_eq!(scene.database.query("SELECT count(*), sum(net) FROM orders WHERE id <= 50"), "50|12541");
}

#[test]
fn deleted_rows_come_back_with_foreign_keys_counted_before() {
    deleted_rows_come_back(Version::V15);
}

#[test]
fn deleted_rows_come_back_with_foreign_keys_counted_before_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    deleted_rows_come_back(Version::V18);
}

#[test]
fn a_truncated_table_that_points_to_itself_comes_back_and_its_sequence_goes_on() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql(
        "CREATE TABLE part (id serial PRIMARY KEY, of int REFERENCES part);
         INSERT INTO part (of) SELECT nullif(n - 1, 0) FROM generate_series(1, 40) n",
    );
    let id = scene.take_snapshot();
    scene.database.sql("TRUNCATE part RESTART IDENTITY");
    let done = scene.run(0, &["restore", &id, "--table", "part", "--mode", "missing", "--yes"]);
    scene.database.sql("INSERT INTO part (of) VALUES (40)");
    assert_eq!(scene.database.query("SELECT count(*), max(id) FROM part"), "41|41");
    scene.database.sql("DELETE FROM part WHERE id = 41");
    scene.run(0, &["restore", "--undo", &run_to_undo(&done), "--yes"]);
    assert_eq!(scene.database.query("SELECT count(*) FROM part"), "0");
}

#[test]
fn rows_that_cannot_be_matched_or_would_collide_are_refused_with_the_reason() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql(ORDERS);
    scene.database.sql("CREATE TABLE keyless (a int); INSERT INTO keyless VALUES (1)");
    let id = scene.take_snapshot();
    scene.database.sql("DELETE FROM guest WHERE id = 3; UPDATE guest SET email = 'g3' WHERE id = 4");
    let missing = |table: &str| scene.run(3, &["restore", &id, "--table", table, "--mode", "missing", "--yes"]).stderr;
    assert!(missing("keyless").contains("public.keyless has no primary key"));
    assert!(missing("guest").contains("1 row with a value that a present row has (guest_email_key)"));
    scene.database.sql("TRUNCATE keyless; ALTER TABLE keyless ADD COLUMN b int NOT NULL, ADD PRIMARY KEY (a)");
    assert!(missing("keyless").contains("b of public.keyless refuses null, has no default"));
    assert!(scene.databases().len() == 1);
}

#[test]
fn some_rows_only() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql(ORDERS);
    let id = scene.take_snapshot();
    scene.database.sql("DELETE FROM orders");
    let chosen =
        ["restore", &id, "--table", "orders", "--mode", "missing", "--where", "tax > 80 AND guest <> 50", "--yes"];
    scene.run(0, &chosen);
    assert_eq!(scene.database.query("SELECT min(id), max(id), count(*) FROM orders"), "41|49|9");
    let wrong = ["restore", &id, "--table", "orders", "--mode", "missing", "--where", "nonsense = 1", "--yes"];
    let refused = scene.run(2, &wrong);
    assert!(refused.stderr.contains("--where \"nonsense = 1\" is no condition"), "{}", refused.stderr);
    let wrong = ["restore", &id, "--table", "orders", "--where", "true); DROP TABLE orders; SELECT (true", "--yes"];
    scene.run(2, &wrong);
    assert_eq!(scene.databases().len(), 1);
}

/// A table has its first dish and a dish has its table: neither row can come back before the other.
const MUTUAL: &str = "
    CREATE TABLE menu (id int PRIMARY KEY, first_dish int NOT NULL, name text);
    CREATE TABLE dish (id int PRIMARY KEY, menu int NOT NULL REFERENCES menu ON DELETE CASCADE, price int);
    INSERT INTO menu SELECT n, n * 10, 'menu ' || n FROM generate_series(1, 30) n;
    INSERT INTO dish SELECT n * 10, n, n FROM generate_series(1, 30) n;
    ALTER TABLE menu ADD FOREIGN KEY (first_dish) REFERENCES dish ON DELETE CASCADE;
    CREATE TABLE seen (dish int REFERENCES dish ON DELETE CASCADE)";

fn rows_that_point_to_each_other(version: Version) {
    let scene = Scene::empty(version);
    scene.database.sql(MUTUAL);
    let all = "SELECT (SELECT count(*) FROM menu), (SELECT sum(price) FROM dish), (SELECT count(*) FROM seen)";
    let id = scene.take_snapshot();
    scene.database.sql("DELETE FROM menu WHERE id > 10");
    assert_eq!(scene.database.query(all), "10|55|0");
    for table in ["menu", "dish"] {
        let refused = scene.run(3, &["restore", &id, "--table", table, "--mode", "missing", "--yes"]);
        assert!(refused.stderr.contains("or at once (a --table for each)"), "{}", refused.stderr);
    }
    let both = ["restore", &id, "--table", "dish", "--table", "menu", "--mode", "missing"];
    let dry = scene.run(0, &[&both[..], &["--dry-run", "--json"]].concat()).stdout;
    let dry: serde_json::Value = serde_json::from_str(&dry).unwrap();
    assert_eq!((&dry["recoveries"][0]["inserts"], &dry["recoveries"][1]["inserts"]), (&20.into(), &20.into()));
    let done = scene.run(0, &[&both[..], &["--yes"]].concat());
    assert!(done.stdout.contains("40 rows inserted into public.dish and public.menu"), "{}", done.stdout);
    assert_eq!(scene.database.query(all), "30|465|0");

    // What changed since stays, and what it points to; a row of a third table keeps its dish and the dish its menu.
    scene.database.sql("UPDATE dish SET price = 0 WHERE id = 110; INSERT INTO seen VALUES (120)");
    let undone = scene.run(0, &["restore", "--undo", &run_to_undo(&done), "--yes"]);
    for words in [
        "take 18 rows out of public.dish and 18 rows out of public.menu again",
        "changed since and kept: 1 row",
        "kept because others point to them: 3 rows",
    ] {
        assert!(undone.stdout.contains(words), "{words}: {}", undone.stdout);
    }
    assert_eq!(scene.database.query(all), "12|67|1");
    let again = scene.run(0, &["restore", "--undo", &run_to_undo(&undone), "--yes"]);
    assert!(again.stdout.contains("insert 18 rows into public.dish and 18 rows into public.menu"), "{}", again.stdout);
    assert_eq!(scene.database.query(all), "30|454|1");
    let buried = scene.run(3, &["restore", "--undo", &run_to_undo(&done), "--yes"]);
    assert!(buried.stderr.contains("is undone already"), "{}", buried.stderr);
}

#[test]
fn rows_that_point_to_each_other_come_back_together() {
    rows_that_point_to_each_other(Version::V15);
}

#[test]
fn rows_that_point_to_each_other_come_back_together_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    rows_that_point_to_each_other(Version::V18);
}

#[test]
fn several_tables_are_filled_up_or_refused_whole() {
    let scene = Scene::empty(Version::V15);
    scene
        .database
        .sql("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); INSERT INTO a VALUES (1)");
    let id = scene.take_snapshot();
    scene.database.sql("DELETE FROM a; DROP TABLE b");
    let two = ["restore", &id, "--table", "a", "--table", "b"];
    scene.run(2, &[&two[..], &["--yes"]].concat());
    scene.run(2, &[&two[..], &["--mode", "missing", "--where", "id > 0", "--yes"]].concat());
    let refused = scene.run(3, &[&two[..], &["--mode", "missing", "--yes"]].concat());
    assert!(refused.stderr.contains("public.b is not in the live database"), "{}", refused.stderr);
    assert_eq!(scene.database.query("SELECT count(*) FROM a"), "0");
    // The same table twice is one.
    let done = scene.run(0, &["restore", &id, "--table", "a", "--table", "public.a", "--mode", "missing", "--yes"]);
    assert!(done.stdout.contains("1 row inserted into public.a"), "{}", done.stdout);
}
