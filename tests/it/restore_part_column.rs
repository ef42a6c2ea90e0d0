//! `restore --table T --column C`: old values joined back, what was overwritten kept, and all of it undone again.

use crate::support::{Output, Scene, Version};

/// The run that the last line of an output says how to undo.
#[track_caller]
pub fn run_to_undo(output: &Output) -> String {
    let line = output.stdout.lines().last().unwrap_or_default();
    line.rsplit_once("--undo ").unwrap_or_else(|| panic!("no way back in {}", output.stdout)).1.to_owned()
}

/// Three dishes with every kind of value that has no equality of its own, and an audit trigger.
const DISHES: &str = "
    CREATE TABLE dish (id int PRIMARY KEY, name text NOT NULL, price numeric(10,2), notes json, spot point);
    INSERT INTO dish VALUES (1, 'isombe', 10.50, '{\"a\": 1}', '(1,2)'), (2, 'ubugari', NULL, NULL, NULL),
        (3, E'back\\\\slash\\ttab', 7.00, 'null', '(0,0)'), (4, 'deleted later', 1, NULL, NULL);
    CREATE TABLE audit (n int GENERATED ALWAYS AS IDENTITY, dish int);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN INSERT INTO public.audit (dish) VALUES (NEW.id); RETURN NEW; END$$;
    CREATE TRIGGER noted AFTER UPDATE ON dish FOR EACH ROW EXECUTE FUNCTION note();";

const PRICES: &str = "SELECT string_agg(id || '=' || coalesce(price::text, 'null'), ' ' ORDER BY id) FROM dish";

fn a_wrong_update_is_undone_and_that_is_undone_again(version: Version) {
    let scene = Scene::empty(version);
    scene.database.sql(DISHES);
    let id = scene.take_snapshot();
    scene.database.sql(
        "UPDATE dish SET price = 0; DELETE FROM dish WHERE id = 4; INSERT INTO dish VALUES (5, 'new', 99); TRUNCATE audit",
    );
    let (wrong, dump) = (scene.database.query(PRICES), scene.database.dump());

    let dry = scene.run(0, &["restore", &id, "--table", "dish", "--column", "price", "--dry-run"]);
    assert_eq!(scene.database.dump(), dump, "a dry run changes nothing");
    assert_eq!(scene.databases().len(), 1, "and leaves no database");
    for line in [
        "would overwrite price in 3 rows of public.dish with the values of the snapshot",
        "in the snapshot: 4 rows; live now: 4 rows",
        "already equal: 0 rows; only live, kept as they are: 1 row; only in the snapshot, left out: 1 row",
        "triggers that will fire: noted",
    ] {
        assert!(dry.stdout.contains(line), "{line} in\n{}", dry.stdout);
    }
    scene.run(3, &["restore", &id, "--table", "dish", "--column", "price"]);
    assert_eq!(scene.database.dump(), dump, "nobody confirmed");

    let done = scene.run(0, &["restore", &id, "--table", "dish", "--column", "price", "--yes"]);
    assert_eq!(scene.database.query(PRICES), "1=10.50 2=null 3=7.00 5=99.00");
    assert_eq!(scene.database.query("SELECT count(*) FROM audit"), "3", "{}", done.stdout);
    assert_eq!(scene.databases().len(), 1);
    let run = run_to_undo(&done);
    let saved = format!("safe_migrate.saved_{}", run.to_lowercase().replace('-', "_"));
    let kept = format!(
        "SELECT string_agg(id || ':' || old_value || '>' || coalesce(new_value::text, 'null'), ' ' ORDER BY id) FROM {saved}"
    );
    assert_eq!(scene.database.query(&kept), "1:0.00>10.50 2:0.00>null 3:0.00>7.00");
    let again = scene.run(0, &["restore", &id, "--table", "dish", "--column", "price", "--yes"]);
    assert!(again.stdout.starts_with("nothing to do"), "{}", again.stdout);

    scene.database.sql("UPDATE dish SET price = 8 WHERE id = 3");
    let undone = scene.run(0, &["restore", "--undo", &run, "--yes"]);
    assert!(undone.stdout.contains("changed since and kept: 1 row"), "{}", undone.stdout);
    assert_eq!(scene.database.query(PRICES), "1=0.00 2=0.00 3=8.00 5=99.00");
    assert_ne!(scene.database.query(PRICES), wrong, "the row that changed since is kept");
    let twice = scene.run(3, &["restore", "--undo", &run, "--yes"]);
    assert!(twice.stderr.contains("is undone already"), "{}", twice.stderr);

    scene.run(0, &["restore", "--undo", &run_to_undo(&undone), "--yes"]);
    assert_eq!(scene.database.query(PRICES), "1=10.50 2=null 3=8.00 5=99.00");
    let history = scene.run(0, &["history"]).stdout;
    assert!(history.contains(&format!("restore --undo {run}")) && history.contains("--column price"), "{history}");
}

#[test]
fn a_wrong_update_is_undone_and_that_is_undone_again_15() {
    a_wrong_update_is_undone_and_that_is_undone_again(Version::V15);
}

#[test]
fn a_wrong_update_is_undone_and_that_is_undone_again_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    a_wrong_update_is_undone_and_that_is_undone_again(Version::V18);
}

#[test]
fn values_without_an_equality_come_back() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql(DISHES);
    let id = scene.take_snapshot();
    let rows = scene.database.query("SELECT * FROM dish ORDER BY id");
    scene.database.sql("UPDATE dish SET notes = '{}', spot = '(9,9)', name = upper(name)");
    for column in ["notes", "spot", "name"] {
        scene.run(0, &["restore", &id, "--table", "dish", "--column", column, "--yes"]);
    }
    assert_eq!(scene.database.query("SELECT * FROM dish ORDER BY id"), rows);
}

fn a_dropped_column_comes_back(version: Version) {
    let scene = Scene::empty(version);
    scene.database.sql(
        "CREATE TYPE heat AS ENUM ('mild', 'hot');
         CREATE FUNCTION usual() RETURNS heat LANGUAGE sql AS $$SELECT 'hot'::public.heat$$;
         CREATE TABLE cook (id int PRIMARY KEY);
         CREATE TABLE dish (id int PRIMARY KEY, name text, cook int REFERENCES cook, heat heat DEFAULT usual() NOT NULL);
         COMMENT ON COLUMN dish.heat IS 'how hot';
         CREATE INDEX dish_heat ON dish (heat) WHERE heat = 'hot';
         ALTER TABLE dish ADD CONSTRAINT named UNIQUE (name, heat);
         INSERT INTO dish SELECT n, 'dish ' || n, NULL, CASE WHEN n % 2 = 0 THEN 'mild' ELSE 'hot' END::heat FROM generate_series(1, 100) n",
    );
    let (id, schema) = (scene.take_snapshot(), scene.schema());
    let old = scene.database.query("SELECT id, heat FROM dish WHERE id < 100 ORDER BY id");
    scene.database.sql(
        "ALTER TABLE dish DROP COLUMN heat; DROP FUNCTION usual; DROP TYPE heat;
         DELETE FROM dish WHERE id = 100; INSERT INTO dish VALUES (101, 'newer')",
    );
    let dump = scene.database.dump();
    let dry = scene.run(0, &["restore", &id, "--table", "dish", "--column", "heat", "--dry-run"]);
    assert_eq!(scene.database.dump(), dump);
    assert!(dry.stdout.contains("bring heat of public.dish back, with the values of 99 rows"), "{}", dry.stdout);
    assert!(dry.stdout.contains("type heat"), "{}", dry.stdout);

    let done = scene.run(0, &["restore", &id, "--table", "dish", "--column", "heat", "--yes"]);
    assert_eq!(scene.schema(), schema, "type, function, default, comment, NOT NULL, index and constraint are back");
    assert_eq!(scene.database.query("SELECT id, heat FROM dish WHERE id < 100 ORDER BY id"), old);
    assert_eq!(scene.database.query("SELECT heat FROM dish WHERE id > 99"), "hot", "the newer row has the default");

    let undone = scene.run(0, &["restore", "--undo", &run_to_undo(&done), "--yes"]);
    assert!(!scene.schema().contains("heat public.heat"));
    let saved = undone.stdout.lines().find_map(|line| line.strip_prefix("what was there is kept in ")).unwrap();
    assert_eq!(scene.database.query(&format!("SELECT count(*) FROM {saved}")), "100", "its values are kept");
}

#[test]
fn a_dropped_column_comes_back_with_newer_rows_kept() {
    a_dropped_column_comes_back(Version::V15);
}

#[test]
fn a_dropped_column_comes_back_with_newer_rows_kept_18() {
    a_dropped_column_comes_back(Version::V18);
}

#[test]
fn what_does_not_hold_any_more_is_left_out_and_said() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql(
        "CREATE TABLE cook (id int PRIMARY KEY); INSERT INTO cook VALUES (1), (2);
         CREATE TABLE dish (id int PRIMARY KEY, cook int NOT NULL REFERENCES cook, code int NOT NULL UNIQUE);
         INSERT INTO dish VALUES (1, 1, 10), (2, 2, 20)",
    );
    let id = scene.take_snapshot();
    scene.database.sql(
        "ALTER TABLE dish DROP COLUMN cook; ALTER TABLE dish DROP COLUMN code; DELETE FROM cook WHERE id = 2; INSERT INTO dish VALUES (3)",
    );
    let done = scene.run(0, &["restore", &id, "--table", "dish", "--column", "cook", "--yes"]);
    assert!(done.stdout.contains("1 row would point to nothing in public.cook"), "{}", done.stdout);
    assert!(done.stdout.contains("cook is not NOT NULL again: 1 row without a value"), "{}", done.stdout);
    assert_eq!(scene.database.query("SELECT id, cook FROM dish ORDER BY id"), "1|1\n2|2\n3|");
}

fn odd_names_and_composite_keys(version: Version) {
    let scene = Scene::empty(version);
    scene.database.sql(
        r#"CREATE SCHEMA "My Schema";
           CREATE TABLE "My Schema"."Order ""Line""; x" ("Order" int, "line no" text, old_value int, "It's" text,
               PRIMARY KEY ("Order", "line no", old_value));
           INSERT INTO "My Schema"."Order ""Line""; x" SELECT n, 'a' || n, n, 'value ' || n FROM generate_series(1, 9) n"#,
    );
    let id = scene.take_snapshot();
    let rows = r#"SELECT * FROM "My Schema"."Order ""Line""; x" ORDER BY 1"#;
    let before = scene.database.query(rows);
    scene.database.sql(r#"UPDATE "My Schema"."Order ""Line""; x" SET "It's" = 'wrong'"#);
    let wrong = scene.database.query(rows);
    let table = r#"My Schema.Order "Line"; x"#;
    let done = scene.run(0, &["restore", &id, "--table", table, "--column", "It's", "--yes"]);
    assert_eq!(scene.database.query(rows), before);
    scene.run(0, &["restore", "--undo", &run_to_undo(&done), "--yes"]);
    assert_eq!(scene.database.query(rows), wrong);
    let chosen = "\"Order\" = 7 -- and no other";
    scene.run(0, &["restore", &id, "--table", table, "--column", "\"It's\"", "--where", chosen, "--yes"]);
    assert_eq!(scene.database.query(&format!("SELECT count(*) FROM ({rows}) r WHERE \"It's\" <> 'wrong'")), "1");
}

#[test]
fn odd_names_and_composite_keys_15() {
    odd_names_and_composite_keys(Version::V15);
}

#[test]
fn odd_names_and_composite_keys_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    odd_names_and_composite_keys(Version::V18);
}

fn a_partitioned_table(version: Version) {
    let scene = Scene::empty(version);
    scene.database.sql(
        "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
         CREATE TABLE visit (id int, mood mood, stars int, PRIMARY KEY (id, mood)) PARTITION BY HASH (mood);
         CREATE TABLE visit_0 PARTITION OF visit FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE visit_1 PARTITION OF visit FOR VALUES WITH (MODULUS 2, REMAINDER 1);
         INSERT INTO visit SELECT n, (ARRAY['sad', 'ok', 'happy'])[n % 3 + 1]::mood, n FROM generate_series(1, 300) n",
    );
    let (id, before) = (scene.take_snapshot(), scene.database.query("SELECT * FROM visit ORDER BY id"));
    scene.database.sql("UPDATE visit SET stars = 0");
    let options = ["restore", &id, "--table", "visit", "--column", "stars", "--batch", "70", "--yes"];
    let done = scene.run(0, &options);
    assert_eq!(scene.database.query("SELECT * FROM visit ORDER BY id"), before);
    scene.run(0, &["restore", "--undo", &run_to_undo(&done), "--yes"]);
    assert_eq!(scene.database.query("SELECT DISTINCT stars FROM visit"), "0");
}

#[test]
fn a_partitioned_table_gets_its_values_back_in_batches() {
    a_partitioned_table(Version::V15);
}

#[test]
fn a_partitioned_table_gets_its_values_back_in_batches_18() {
    a_partitioned_table(Version::V18);
}

#[test]
fn foreign_keys_and_triggers_in_the_way_are_found_before_anything_is_changed() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql(
        "CREATE TABLE cook (id int PRIMARY KEY); INSERT INTO cook SELECT generate_series(1, 5);
         CREATE TABLE dish (id int PRIMARY KEY, cook int REFERENCES cook, price int);
         INSERT INTO dish SELECT n, n, n FROM generate_series(1, 5) n",
    );
    let id = scene.take_snapshot();
    scene.database.sql(
        "UPDATE dish SET cook = 1, price = 0; DELETE FROM cook WHERE id IN (4, 5);
         CREATE FUNCTION free() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.price := 0; RETURN NEW; END$$;
         CREATE TRIGGER free BEFORE UPDATE ON dish FOR EACH ROW EXECUTE FUNCTION free()",
    );
    let dump = scene.database.dump();
    let refused = scene.run(3, &["restore", &id, "--table", "dish", "--column", "cook", "--yes"]);
    assert!(
        refused.stderr.contains("2 rows would point to nothing in public.cook (dish_cook_fkey)"),
        "{}",
        refused.stderr
    );
    assert_eq!(scene.database.dump(), dump);
    let refused = scene.run(3, &["restore", &id, "--table", "dish", "--column", "price", "--yes"]);
    assert!(refused.stderr.contains("5 values of price not kept as written"), "{}", refused.stderr);
    assert_eq!(scene.database.query("SELECT count(*) FROM dish WHERE price = 0"), "5");
    assert_eq!(scene.databases().len(), 1);
    let chosen = ["restore", &id, "--table", "dish", "--column", "cook", "--where", "cook <= 3", "--yes"];
    scene.database.sql("DROP TRIGGER free ON dish");
    scene.run(0, &chosen);
    assert_eq!(scene.database.query("SELECT cook FROM dish ORDER BY id"), "1\n2\n3\n1\n1");
}

#[test]
fn a_row_that_somebody_holds_is_waited_for_and_tried_again() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE dish (id int PRIMARY KEY, price int); INSERT INTO dish VALUES (1, 1), (2, 2)");
    let id = scene.take_snapshot();
    scene.database.sql("UPDATE dish SET price = 0");
    let command = ["restore", &id, "--table", "dish", "--column", "price", "--yes"];
    let output = std::thread::scope(|scope| {
        let holder = scope
            .spawn(|| scene.database.sql("BEGIN; UPDATE dish SET price = 7 WHERE id = 1; SELECT pg_sleep(6); COMMIT"));
        std::thread::sleep(std::time::Duration::from_millis(300));
        let output = scene.run(0, &command);
        holder.join().unwrap();
        output
    });
    assert!(output.stderr.contains("trying again (1 of"), "{}", output.stderr);
    assert_eq!(scene.database.query("SELECT id, price FROM dish ORDER BY id"), "1|1\n2|2");
    let saved = scene.database.query("SELECT saved FROM safe_migrate.recovery");
    assert_eq!(scene.database.query(&format!("SELECT old_value FROM safe_migrate.{saved} ORDER BY id")), "7\n0");
}
