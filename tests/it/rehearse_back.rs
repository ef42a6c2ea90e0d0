//! A rehearsal runs every migration back and again, and says of each whether it can be undone.

use serde_json::{Value, json};

use crate::rehearse_data::{VERSIONS, kitchen, report};
use crate::support::Version;

const DISH: &str = "CREATE TABLE dish (id int PRIMARY KEY, name text, price int, note text);
    INSERT INTO dish VALUES (1, 'isombe', 5, 'hot'), (2, 'tea', 1, NULL), (3, 'ubugari', 3, 'with sauce')";

/// `verdict` of each migration.
fn verdicts(report: &Value) -> Vec<&str> {
    report["ways_back"].as_array().unwrap().iter().map(|way| way["verdict"].as_str().unwrap()).collect()
}

/// Reasons and losses of one migration, in words.
fn reasons(report: &Value, index: usize) -> Vec<&str> {
    let way = &report["ways_back"][index];
    let why = way["why"].as_array().unwrap().iter().map(|why| why.as_str().unwrap());
    why.chain(way["losses"].as_array().unwrap().iter().map(|loss| loss["what"].as_str().unwrap())).collect()
}

#[test]
fn rehearse_back_each_migration_of_a_plan_gets_its_own_verdict() {
    let steps = [
        // Right.
        "-- migrate:up\nALTER TABLE dish ADD COLUMN size int;\nUPDATE dish SET size = 1;\n-- migrate:down\nALTER TABLE dish DROP COLUMN size;\n",
        // The column comes back without its values, and stands last.
        "-- migrate:up\nALTER TABLE dish DROP COLUMN note;\n-- migrate:down\nALTER TABLE dish ADD COLUMN note text;\n",
        // Another type than before.
        "-- migrate:up\nCREATE TABLE line (id int PRIMARY KEY);\nALTER TABLE dish ALTER price TYPE bigint;\n-- migrate:down\nDROP TABLE line;\nALTER TABLE dish ALTER price TYPE smallint;\n",
        // Rows stay behind.
        "-- migrate:up\nINSERT INTO dish VALUES (4, 'beans', 2);\n-- migrate:down\n",
        // An empty down that is right.
        "-- migrate:up\nANALYZE dish;\n-- migrate:down\n",
    ];
    for version in VERSIONS {
        let scene = kitchen(version, DISH, &steps);
        let report = report(&scene, 0, &[]);
        // Running again fails at 4: the row is there.
        assert_eq!(
            verdicts(&report),
            ["reversible", "reversible_with_loss", "not_reversible", "not_reversible", "reversible"],
            "{report}"
        );
        assert_eq!(reasons(&report, 1), ["2 values of public.dish.note are not back"]);
        assert_eq!(report["ways_back"][1]["notes"], json!(["the columns of public.dish are in another order"]));
        assert_eq!(reasons(&report, 2), ["the schema is not as before: column public.dish.price is defined otherwise"]);
        assert!(reasons(&report, 3).contains(&"1 row in public.dish that was not there before"), "{report}");
        assert_eq!(report["verdict"], "pass_with_findings");
    }
}

#[test]
fn rehearse_back_one_migration_at_a_time() {
    let cases: [(&str, &str, &[&str]); 8] = [
        (
            "DROP TABLE dish;\n-- migrate:down\nCREATE TABLE dish (id int PRIMARY KEY, name text, price int, note text);",
            "reversible_with_loss",
            &["3 rows of public.dish are not back"],
        ),
        (
            "UPDATE dish SET price = price / 2;\n-- migrate:down\nUPDATE dish SET price = price * 2;",
            "reversible_with_loss",
            &["3 values of public.dish.price are not as before"],
        ),
        ("UPDATE dish SET price = price * 2;\n-- migrate:down\nUPDATE dish SET price = price / 2;", "reversible", &[]),
        (
            "ALTER TABLE dish RENAME TO meal;\nALTER TABLE meal RENAME name TO title;\n-- migrate:down\nALTER TABLE meal RENAME title TO name;\nALTER TABLE meal RENAME TO dish;",
            "reversible",
            &[],
        ),
        (
            "UPDATE dish SET note = 'x' WHERE note IS NULL;\n-- migrate:down",
            "reversible_with_loss",
            &["1 value of public.dish.note is not as before"],
        ),
        ("CREATE INDEX ON dish (name);", "not_reversible", &["it has no down section"]),
        (
            "CREATE INDEX ON dish (name);\n-- migrate:down\nDROP INDEX nowhere;",
            "not_reversible",
            &[
                "undoing it failed: migrations/kitchen/0001_step.sql:4: ERROR: index \"nowhere\" does not exist (SQLSTATE 42704)",
            ],
        ),
        ("CREATE INDEX dish_name ON dish (name);\n-- migrate:down", "not_reversible", &["the schema is not as before"]),
    ];
    for (position, (text, verdict, why)) in cases.iter().enumerate() {
        let scene = kitchen(VERSIONS[position % 2], DISH, &[&format!("-- migrate:up\n{text}\n")]);
        let report = report(&scene, 0, &[]);
        assert_eq!(verdicts(&report), [*verdict], "{text}: {report}");
        for (said, expected) in reasons(&report, 0).iter().zip(why.iter()) {
            assert!(said.starts_with(expected), "{text}: {said}");
        }
        assert_eq!(reasons(&report, 0).is_empty(), why.is_empty(), "{report}");
        assert_eq!(report["way_back"]["result"] == "reversible", *verdict == "reversible", "{report}");
    }
}

#[test]
fn rehearse_back_a_migration_without_a_down_stands_in_the_way_of_those_before_it() {
    let steps = [
        "-- migrate:up\nALTER TABLE dish ADD COLUMN a int;\n-- migrate:down\nALTER TABLE dish DROP COLUMN a;\n",
        "-- migrate:up\nALTER TABLE dish ADD COLUMN b int;\n",
        "-- migrate:up\nALTER TABLE dish ADD COLUMN c int;\n-- migrate:down\nALTER TABLE dish DROP COLUMN c;\n",
    ];
    let scene = kitchen(Version::V15, DISH, &steps);
    insta::assert_snapshot!(scene.project.snapshot(&["rehearse", "--quiet"]), @"
    $ safe-migrate rehearse --quiet
    exit 0
    --- stdout
    rehearsal [ID]: pass with findings
      on snapshot [ID] of test
      kitchen/0001_step  [DURATION]
        ACCESS EXCLUSIVE on public.dish for [DURATION]: blocks reads and writes
      kitchen/0002_step  [DURATION]
        ACCESS EXCLUSIVE on public.dish for [DURATION]: blocks reads and writes
      kitchen/0003_step  [DURATION]
        ACCESS EXCLUSIVE on public.dish for [DURATION]: blocks reads and writes
      way back of kitchen/0001_step: not tried: kitchen/0002_step stands in the way
      way back of kitchen/0002_step: not reversible: it has no down section
      way back of kitchen/0003_step: reversible
      warn: migrations/kitchen/0002_step.sql:1: there is no down section: only a restore undoes it [missing-down]
    --- stderr
    warning: [PROJECT]/safe-migrate.toml holds a password; keep it in a passfile, in PGPASSWORD or behind [database] password_command
    ");
}

#[test]
fn rehearse_back_what_is_not_deterministic_is_said_and_not_failed() {
    let steps = [
        "-- migrate:up\nALTER TABLE dish ADD COLUMN token uuid DEFAULT gen_random_uuid();\n-- migrate:down\nALTER TABLE dish DROP COLUMN token;\n",
        "-- migrate:up\nALTER TABLE dish ADD COLUMN made timestamptz DEFAULT now();\n-- migrate:down\nALTER TABLE dish DROP COLUMN made;\n",
        "-- migrate:up\nCREATE TABLE lot AS SELECT id, random() AS number FROM dish;\n-- migrate:down\nDROP TABLE lot;\n",
        "-- migrate:up\nCREATE TABLE copy AS SELECT id, name FROM dish;\n-- migrate:down\nDROP TABLE copy;\n",
    ];
    for version in VERSIONS {
        let scene = kitchen(version, DISH, &steps);
        let report = report(&scene, 0, &[]);
        assert_eq!(verdicts(&report), ["reversible"; 4], "{report}");
        assert_eq!(report["verdict"], "pass_with_findings");
        let codes: Vec<&Value> = report["findings"].as_array().unwrap().iter().map(|one| &one["code"]).collect();
        assert_eq!(codes, ["adding-field-with-default"], "the first rewrites the table: {report}");
        let said: Vec<&Value> = (0..4).map(|index| &report["ways_back"][index]["not_deterministic"]).collect();
        let expected =
            [json!(["public.dish.token"]), json!(["public.dish.made"]), json!(["public.lot.number"]), json!([])];
        assert_eq!(said, expected.iter().collect::<Vec<_>>());
    }
}

#[test]
fn rehearse_back_a_rollback_is_rehearsed_with_its_own_way_back() {
    for version in VERSIONS {
        let steps = [
            "-- migrate:up\nALTER TABLE dish ADD COLUMN size int;\n-- migrate:down\nALTER TABLE dish DROP COLUMN size;\n",
            "-- migrate:up\nCREATE TABLE line (id int);\n-- migrate:down\nDROP TABLE line;\n",
        ];
        let scene = kitchen(version, DISH, &steps);
        scene.begin_applied();
        scene.database.sql("UPDATE dish SET size = 7 WHERE id < 3");
        let report = report(&scene, 0, &["kitchen", "zero", "--rollback", "--snapshot", "new"]);
        assert_eq!(report["direction"], "rollback");
        assert_eq!(crate::rehearse_data::losses(&report), ["column public.dish.size is gone with 2 values"]);
        assert_eq!(verdicts(&report), ["reversible", "reversible_with_loss"], "{report}");
        assert_eq!(reasons(&report, 1), ["2 values of public.dish.size are not as before"]);
        assert_eq!(scene.database.query("SELECT count(size) FROM dish"), "2", "production is as it was");
    }
}
