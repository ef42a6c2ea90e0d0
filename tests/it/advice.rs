//! What a run advises where a statement is right and its place is wrong.

use crate::rehearse_data::{VERSIONS, kitchen};

const TABLES: &str = "CREATE TYPE mood AS ENUM ('sad');
    CREATE TABLE parent (id int PRIMARY KEY);
    CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent DEFERRABLE INITIALLY DEFERRED, m mood);";

#[test]
fn advice_is_about_the_place_of_a_statement() {
    let cases = [
        (
            "CREATE INDEX CONCURRENTLY ON child (parent);",
            "hint: it cannot run in a transaction: write `-- migrate:up transaction:false` above it",
        ),
        (
            "ALTER TYPE mood ADD VALUE 'glad';\nINSERT INTO child VALUES (1, NULL, 'glad');",
            "add it in a migration of its own, before this one",
        ),
        (
            "INSERT INTO parent VALUES (1);\nINSERT INTO child VALUES (1, 1, NULL);\nALTER TABLE child ADD note text;",
            "write `SET CONSTRAINTS ALL IMMEDIATE;` above it",
        ),
    ];
    for (version, (statements, advice)) in VERSIONS.into_iter().cycle().zip(cases) {
        let scene = kitchen(version, TABLES, &[&format!("-- migrate:up\n{statements}\n")]);
        let said = scene.run(3, &["rehearse"]).stderr;
        assert!(said.contains(advice) && !said.contains("correct the migration"), "{statements}: {said}");
    }
    // Apply says so too, where lint does not know of it first.
    let waiting = format!("-- migrate:up\n{}\n", cases[2].0);
    let said = kitchen(VERSIONS[0], TABLES, &[&waiting]).run(3, &["apply", "--yes"]).stderr;
    assert!(said.contains(cases[2].1), "{said}");
}

/// What is found at COMMIT is not the last statement's fault.
#[test]
fn advice_blames_no_statement_for_a_deferred_constraint() {
    let broken = "-- migrate:up\nINSERT INTO child VALUES (1, 9, NULL);\nSELECT 1;\n";
    let scene = kitchen(VERSIONS[0], TABLES, &[broken]);
    let rehearsed = scene.run(3, &["rehearse"]);
    assert!(rehearsed.stderr.contains("0001_step.sql: at COMMIT, after its last statement: "), "{}", rehearsed.stderr);
    assert!(!rehearsed.stderr.contains("0001_step.sql:3"), "{}", rehearsed.stderr);
    assert!(rehearsed.stderr.contains("SET CONSTRAINTS ALL IMMEDIATE"), "{}", rehearsed.stderr);
    let unrehearsed = ["apply", "--yes", "--skip-rehearsal", "x", "--skip-snapshot", "y"];
    let said = scene.run(1, &unrehearsed).stderr;
    assert!(said.contains("at COMMIT") && said.contains("production: unchanged"), "{said}");
    // One value of a type and its use are two runs under the fence.
    let scene = kitchen(
        VERSIONS[1],
        TABLES,
        &[
            "-- migrate:up\nALTER TYPE mood ADD VALUE 'glad';\n",
            "-- migrate:up\nINSERT INTO child VALUES (1, NULL, 'glad');\n",
        ],
    );
    let fenced = scene.run(3, &["apply", "--yes", "--fence"]).stderr;
    assert!(fenced.contains("apply the migration that adds it in a run before this one"), "{fenced}");
}
