//! A rehearsal says what a plan does to the rows: which are gone, which values are lost or changed, and what stops it.

use serde_json::{Value, json};

use crate::support::{Scene, Version};

pub const VERSIONS: [Version; 2] = [Version::V15, Version::V18];

/// Production with these tables, and these migrations of the app `kitchen`, numbered from 1.
pub fn kitchen(version: Version, production: &str, migrations: &[&str]) -> Scene {
    let scene = Scene::empty(version);
    scene.database.sql(production);
    for (index, text) in migrations.iter().enumerate() {
        scene.project.write_migration("kitchen", &format!("{:04}_step", index + 1), text);
    }
    scene.take_snapshot();
    scene
}

/// The report of `rehearse --json`.
#[track_caller]
pub fn report(scene: &Scene, status: i32, arguments: &[&str]) -> Value {
    let arguments = [&["rehearse", "--json"], arguments].concat();
    let output = if status == 0 { scene.rehearse(&arguments) } else { scene.run(status, &arguments) };
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    document["rehearsal"].clone()
}

/// `what` of each loss.
pub fn losses(report: &Value) -> Vec<&str> {
    report["losses"].as_array().unwrap().iter().map(|loss| loss["what"].as_str().unwrap()).collect()
}

fn failure(version: Version, production: &str, migration: &str) -> String {
    let scene = kitchen(version, production, &[migration]);
    let report = report(&scene, 3, &[]);
    assert_eq!(report["verdict"], "fail");
    report["failure"].as_str().unwrap().to_owned()
}

#[test]
fn rehearse_data_stops_at_what_the_real_rows_do_not_allow() {
    let table = "CREATE TABLE dish (id int PRIMARY KEY, name text, size int);
        INSERT INTO dish VALUES (1, 'isombe', 70000), (2, 'isombe', 1), (3, NULL, 2); CREATE VIEW menu AS SELECT size FROM dish;
        CREATE TABLE line (dish int); INSERT INTO line VALUES (9)";
    let cases = [
        ("CREATE UNIQUE INDEX ON dish (name)", "23505"),
        ("ALTER TABLE dish ALTER name SET NOT NULL", "23502"),
        ("ALTER TABLE line ADD FOREIGN KEY (dish) REFERENCES dish", "23503"),
        ("ALTER TABLE dish ALTER size TYPE bigint", "0A000"),
        ("CREATE TABLE line (a int)", "42P07"),
        ("DROP VIEW menu; ALTER TABLE dish ALTER size TYPE smallint", "22003"),
        ("CREATE TYPE mood AS ENUM ('sad')", ""),
    ];
    for version in VERSIONS {
        for (statement, sqlstate) in cases.iter().filter(|(_, sqlstate)| !sqlstate.is_empty()) {
            let said = failure(version, table, &format!("-- migrate:up\n{statement};\n"));
            assert!(said.contains(sqlstate) && said.contains("0001_step.sql:2"), "{statement}: {said}");
        }
        let early = "-- migrate:up\nALTER TYPE mood ADD VALUE 'glad';\nINSERT INTO face VALUES ('glad');\n";
        let said = failure(version, "CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE face (m mood)", early);
        assert!(said.contains("55P04") && said.contains("0001_step.sql:3"), "{said}");
    }
}

const TABLES: &str = "
    CREATE TABLE dropped_column (id int PRIMARY KEY, note text, kept text);
    INSERT INTO dropped_column SELECT n, CASE WHEN n <= 3 THEN 'n' || n END, 'k' FROM generate_series(1, 5) n;
    CREATE TABLE dropped (id int PRIMARY KEY); INSERT INTO dropped VALUES (1), (2);
    CREATE TABLE dropped_empty (id int PRIMARY KEY);
    CREATE TABLE cut (code varchar(10) NOT NULL, id int PRIMARY KEY, price numeric(10, 2));
    INSERT INTO cut VALUES ('isombe', 1, 1.20), ('tea', 2, 1.25), ('ubugari', 3, 3.00);
    CREATE TABLE deleted (id int PRIMARY KEY, a text); INSERT INTO deleted SELECT n, 'a' FROM generate_series(1, 10) n;
    CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1);
    CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent); INSERT INTO child VALUES (1, 1), (2, 1);
    CREATE TABLE updated (id int PRIMARY KEY, a text, b text); INSERT INTO updated VALUES (1, 'x', 'b'), (2, NULL, 'b'), (3, 'z', 'b');
    CREATE TABLE keyless (a int, b text); INSERT INTO keyless VALUES (1, 'x'), (1, 'x'), (2, 'y');
    CREATE TABLE untouched (id int PRIMARY KEY); INSERT INTO untouched VALUES (1);
    CREATE TABLE old_name (id int PRIMARY KEY, old_column text); INSERT INTO old_name VALUES (1, 'a');
    CREATE TABLE rebuilt (id int PRIMARY KEY, a text); INSERT INTO rebuilt VALUES (1, 'a'), (2, 'b');
    CREATE TABLE widened (id int PRIMARY KEY, n int, flag boolean); INSERT INTO widened VALUES (1, 5, true), (2, 6, false);";

const STEPS: [&str; 2] = [
    "-- migrate:up
ALTER TABLE dropped_column DROP COLUMN note;
DROP TABLE dropped, dropped_empty;
ALTER TABLE cut ALTER code TYPE varchar(3) USING left(code, 3), ALTER price TYPE numeric(10, 1);
DELETE FROM deleted WHERE id > 6;
TRUNCATE parent CASCADE;
",
    "-- migrate:up
UPDATE updated SET a = CASE id WHEN 1 THEN 'other' WHEN 2 THEN 'new' END;
UPDATE keyless SET b = 'z' WHERE a = 2;
DELETE FROM keyless WHERE ctid = '(0,1)';
ALTER TABLE old_name RENAME TO new_name;
ALTER TABLE new_name RENAME old_column TO new_column;
CREATE TABLE rebuilt_new (id bigint PRIMARY KEY, a text, b int);
INSERT INTO rebuilt_new SELECT id, a, 0 FROM rebuilt;
DROP TABLE rebuilt;
ALTER TABLE rebuilt_new RENAME TO rebuilt;
ALTER TABLE widened ALTER n TYPE bigint, ALTER flag TYPE text;
CREATE TABLE made (id int); INSERT INTO made VALUES (1), (2);
",
];

#[test]
fn rehearse_data_counts_rows_and_values_that_are_lost() {
    for version in VERSIONS {
        let scene = kitchen(version, TABLES, &STEPS);
        let report = report(&scene, 0, &[]);
        let mut said = losses(&report);
        said.sort_unstable();
        assert_eq!(
            said,
            [
                "1 row of public.keyless is gone",
                "1 row of public.parent is gone",
                "1 value of public.cut.price changed with its type",
                "1 value of public.updated.a became null",
                "2 rows of public.child are gone",
                "2 values of public.cut.code changed with its type",
                "4 rows of public.deleted are gone",
                "column public.dropped_column.note is gone with 3 values",
                "table public.dropped is gone with 2 rows",
            ]
        );
        let rows: Vec<String> = report["row_changes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|change| format!("{} {} {}", change["table"].as_str().unwrap(), change["before"], change["after"]))
            .collect();
        assert_eq!(
            rows,
            [
                "public.child 2 0",
                "public.deleted 10 6",
                "public.dropped 2 0",
                "public.keyless 3 2",
                "public.made 0 2",
                "public.parent 1 0",
            ]
        );
        let change = |column: &str| {
            let all = report["value_changes"].as_array().unwrap();
            all.iter().find(|change| change["column"] == column).cloned().unwrap_or_else(|| panic!("{column}: {all:?}"))
        };
        let updated = change("public.updated.a");
        assert_eq!([&updated["changed"], &updated["emptied"], &updated["filled"]], [&json!(1), &json!(1), &json!(1)]);
        assert_eq!(change("public.keyless.b")["without_key"], true);
        assert_eq!(
            report["value_changes"].as_array().unwrap().len(),
            5,
            "renamed, rebuilt and widened are none: {report}"
        );
        let compared = report["compared"].as_array().unwrap();
        assert!(!compared.contains(&json!("public.untouched")) && !compared.contains(&json!("public.old_name")));
        assert_eq!(report["verdict"], "pass_with_findings");
        let text = report.to_string();
        assert!(!text.contains("isombe -> iso") && !text.contains("\"samples\""), "values without --samples: {text}");
    }
}

#[test]
fn rehearse_data_shows_values_under_samples_only_and_stores_none() {
    let table =
        "CREATE TABLE dish (id int PRIMARY KEY, name varchar(20)); INSERT INTO dish VALUES (1, 'isombe'), (2, 'tea')";
    let cut = "-- migrate:up\nDELETE FROM dish WHERE id = 2;\nALTER TABLE dish ALTER name TYPE varchar(3) USING left(name, 3);\n-- migrate:down\nALTER TABLE dish ALTER name TYPE varchar(20);\n";
    let scene = kitchen(Version::V15, table, &[cut]);
    let text = scene.project.snapshot(&["rehearse", "--samples", "--quiet"]);
    insta::assert_snapshot!(text, @"
    $ safe-migrate rehearse --samples --quiet
    exit 3
    --- stdout
    rehearsal [ID]: apply would refuse: 2 losses of data are accepted nowhere
      on snapshot [ID] of test
      kitchen/0001_step  [DURATION]
        ACCESS EXCLUSIVE on public.dish for [DURATION]: blocks reads and writes
        line 3: rewrites public.dish ([SIZE] before, [SIZE] after)
      rows of public.dish: 2 before, 1 after
      values of public.dish.name: 1 changed
        1: isombe -> iso
      DATA LOSS: 1 row of public.dish is gone
        2
      DATA LOSS: 1 value of public.dish.name changed with its type
        1: isombe -> iso
      way back of kitchen/0001_step: reversible with loss: 1 row of public.dish is not back
        2
      way back of kitchen/0001_step: reversible with loss: 1 value of public.dish.name is not as before
        1: isombe -> iso
      warn: migrations/kitchen/0001_step.sql:3: another type writes the table anew, unless the old values are valid in it as they are: rewrote public.dish, [SIZE], under ACCESS EXCLUSIVE for [DURATION] [changing-column-type, measured]
    --- stderr
    warning: [PROJECT]/safe-migrate.toml holds a password; keep it in a passfile, in PGPASSWORD or behind [database] password_command
    error: apply would refuse: the plan loses data:
      1 row of public.dish is gone
      1 value of public.dish.name changed with its type
    production: unchanged
    hint: if that is meant, say so here and to apply: --accept-data-loss [HASH]
    hint: or in the header of the migration, where a review sees it:
      -- accept-loss: public.dish WHY
      -- accept-loss: public.dish.name WHY
    ");
    for (key, bytes) in scene.store.objects() {
        if key.starts_with("rehearsals/") {
            let stored = String::from_utf8_lossy(&bytes).into_owned();
            let tells = key.contains("/report.") == stored.contains("changed with its type");
            assert!(tells && !stored.contains("isombe"), "{key}: {stored}");
        }
    }
}

#[test]
fn rehearse_data_checks_run_before_and_after() {
    let table = "CREATE TABLE dish (id int PRIMARY KEY, price int); INSERT INTO dish VALUES (1, 5), (2, -1)";
    let up =
        "-- migrate:up\nALTER TABLE dish ADD COLUMN size int;\n-- migrate:down\nALTER TABLE dish DROP COLUMN size;\n";
    let scene = kitchen(Version::V15, table, &[up]);
    scene
        .project
        .write("migrations/kitchen/checks/prices.sql", "-- none below zero\nSELECT id FROM dish WHERE price < 0;\n");
    scene.project.write("migrations/kitchen/checks/writes.sql", "DELETE FROM dish RETURNING id");
    let said = report(&scene, 0, &[]);
    assert_eq!(said["checks"][0]["before"]["rows"], 1);
    assert_eq!(said["checks"][0]["after"]["rows"], 1);
    assert_eq!(said["checks"][1]["after"]["rows"], Value::Null, "a check reads: {said}");
    assert_eq!(said["verdict"], "pass_with_findings");
    assert!(
        said["findings"].to_string().contains("kitchen/checks/prices.sql returns 1 row before already, 1 row after")
    );
    // On production the same rows are a warning.
    std::fs::remove_file(scene.project.migrations().join("kitchen/checks/writes.sql")).unwrap();
    let applied = scene.run(0, &["apply", "--yes"]);
    assert!(applied.stderr.contains("warning: check kitchen/checks/prices.sql"), "{}", applied.stderr);

    scene.project.write("migrations/kitchen/checks/sizes.sql", "SELECT id FROM dish WHERE size > 3");
    scene.project.write_migration(
        "kitchen",
        "0002_sizes",
        "-- migrate:up\nUPDATE dish SET size = 4 WHERE id > 0;\n-- migrate:down\nUPDATE dish SET size = NULL WHERE id > 0;\n",
    );
    let failed = report(&scene, 3, &["--snapshot", "new"]);
    assert_eq!(failed["failure"], "check kitchen/checks/sizes.sql returns 2 rows after, and must return none");
    assert_eq!(scene.run(3, &["apply", "--yes"]).status, 3);
    assert_eq!(scene.applied(), ["kitchen/0001_step"], "production is not touched");
    // Without a rehearsal the check fails on production, after the fact.
    let late = scene.run(4, &["apply", "--yes", "--skip-rehearsal", "test"]);
    assert!(late.stderr.contains("check kitchen/checks/sizes.sql returns 2 rows after"), "{}", late.stderr);
}

/// The server's own counters say which tables were read: the first migration notes them, the last one reads them again.
#[test]
fn rehearse_data_does_not_read_what_the_plan_does_not_touch() {
    for version in VERSIONS {
        let table = "CREATE TABLE big (id int PRIMARY KEY, a text); INSERT INTO big SELECT n, 'a' FROM generate_series(1, 5000) n;
            CREATE TABLE dish (id int PRIMARY KEY, name text); INSERT INTO dish VALUES (1, 'a')";
        let scans = "(SELECT seq_scan + coalesce(idx_scan, 0) FROM pg_stat_user_tables WHERE relname = 'big')";
        let steps = [
            format!("-- migrate:up\nCREATE TABLE seen AS SELECT {scans} AS at_first, 0::bigint AS in_the_middle;\n-- migrate:down\nDROP TABLE seen;\n"),
            "-- migrate:up\nUPDATE dish SET name = 'b' WHERE id = 1;\n-- migrate:down\nUPDATE dish SET name = 'a' WHERE id = 1;\n".to_owned(),
            // Metadata only: not read either.
            "-- migrate:up\nALTER TABLE big ADD COLUMN b int, ADD COLUMN c text NOT NULL DEFAULT 'c';\n-- migrate:down\nALTER TABLE big DROP COLUMN b, DROP COLUMN c;\n".to_owned(),
        ];
        let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
        let scene = kitchen(version, table, &steps);
        // A check runs last of all on the shadow, after the comparison: it fails when the counter has moved.
        scene.project.write(
            "migrations/kitchen/checks/unread.sql",
            &format!("SELECT * FROM seen WHERE at_first IS DISTINCT FROM {scans}"),
        );
        let report = report(&scene, 0, &[]);
        assert_eq!(report["checks"][0]["after"]["rows"], 0, "{report}");
        assert_eq!(report["compared"], json!(["public.dish", "public.seen"]));
        assert_eq!(report["verdict"], "pass", "{report}");
    }
}
