use std::path::PathBuf;

use super::*;
use crate::lint::{Level, Policy};

fn migration(id: &str, text: &str) -> Migration {
    let id: MigrationId = id.parse().unwrap();
    Migration::parse(id.clone(), PathBuf::from(format!("{}.sql", id.name)), text.as_bytes()).unwrap()
}

fn set(migrations: &[(&str, &str)]) -> MigrationSet {
    let up = |text: &str| match text.contains("-- migrate:up") {
        true => text.to_owned(),
        false => format!("-- migrate:up\n{text}\n-- migrate:down\nSELECT 1;\n"),
    };
    MigrationSet::new(migrations.iter().map(|(id, text)| migration(id, &up(text))).collect()).unwrap()
}

fn codes(findings: &[Finding]) -> Vec<(&'static str, u32)> {
    let is_on = |finding: &&Finding| Policy::default().level(finding.code) > Level::Off;
    findings.iter().filter(is_on).map(|finding| (finding.code, finding.line)).collect()
}

#[test]
fn findings_carry_file_line_and_the_accepted_reason() {
    let text = "-- allow: drop-table unused since 2.0\n-- migrate:up\nDROP TABLE a;\n\nALTER TABLE b\n  ADD c int,\n  DROP COLUMN d;\n";
    let plan = set(&[("menu/0001_x", text)]).plan_apply(&[], None, None).unwrap();
    let found: Vec<_> = data_loss(&plan).into_iter().map(|f| (f.code, f.line, f.allowed)).collect();
    assert_eq!(found, [("drop-table", 3, Some("unused since 2.0".to_owned())), ("drop-column", 7, None)]);
}

#[test]
fn a_table_of_the_same_plan_is_new_and_one_of_an_earlier_file_is_not() {
    let set = set(&[
        ("menu/0001_x", "CREATE TABLE dish (id bigint, name text);\nCREATE INDEX ON dish (id);"),
        ("menu/0002_y", "CREATE INDEX ON dish (name);\nALTER TABLE dish ADD UNIQUE (name);"),
    ]);
    let plan = set.plan_apply(&[], None, None).unwrap();
    assert_eq!(codes(&lint_plan(&plan)), []);
    let found = codes(&lint_files(&set, |_| true));
    assert_eq!(found, [("index-not-concurrent", 2), ("disallowed-unique-constraint", 3)]);
}

#[test]
fn an_index_or_a_checked_constraint_of_another_file_counts() {
    let set = set(&[
        ("menu/0001_x", "ALTER TABLE dish ADD CONSTRAINT fk FOREIGN KEY (menu_id) REFERENCES menu NOT VALID;"),
        ("menu/0002_y", "-- migrate:up transaction:false\nCREATE INDEX CONCURRENTLY i ON dish (menu_id DESC);"),
        ("menu/0003_c", "ALTER TABLE dish ADD CONSTRAINT c CHECK ((name IS NOT NULL)) NOT VALID;"),
        ("menu/0004_v", "ALTER TABLE dish VALIDATE CONSTRAINT c;"),
        ("menu/0005_n", "ALTER TABLE dish ALTER name SET NOT NULL;"),
    ]);
    assert_eq!(codes(&lint_files(&set, |migration| migration.id.name != "0002_y")), []);
    let unchecked = self::set(&[
        ("menu/0003_c", "ALTER TABLE dish ADD CONSTRAINT c CHECK (name IS NOT NULL) NOT VALID;"),
        ("menu/0005_n", "ALTER TABLE dish ALTER name SET NOT NULL;"),
    ]);
    assert_eq!(codes(&lint_files(&unchecked, |_| true)), [("set-not-null", 2)]);
}

#[test]
fn squawks_findings_have_the_line_of_the_file() {
    let set =
        set(&[("menu/0001_x", "SELECT 1;\n\n-- a remark\nALTER TABLE dish\n  ADD e text,\n  ALTER id TYPE bigint;")]);
    let found = lint_files(&set, |_| true);
    assert_eq!(codes(&found), [("changing-column-type", 7)]);
    assert_eq!(found.iter().find(|one| one.line == 7).unwrap().statement_line, 5);
}

/// A table that the plan itself made loses nothing of production's; one that only looks like it does.
#[test]
fn what_the_plan_makes_itself_is_no_loss() {
    let codes = |text: &str| -> Vec<&'static str> {
        let plan = set(&[("menu/0001_x", text)]).plan_apply(&[], None, None).unwrap();
        data_loss(&plan).into_iter().map(|finding| finding.code).collect()
    };
    assert_eq!(
        codes("CREATE TABLE dish (id int, fax text); ALTER TABLE dish DROP COLUMN fax; DROP TABLE dish;"),
        [""; 0]
    );
    assert_eq!(codes("CREATE TABLE k.dish (id int); DROP TABLE k.dish;"), [""; 0]);
    for lost in [
        "DROP TABLE dish; CREATE TABLE dish (id int);",
        "CREATE TABLE IF NOT EXISTS dish (id int); DROP TABLE dish;",
        "CREATE TABLE k.dish (id int); DROP TABLE dish;",
        "CREATE TABLE k.dish (id int); DROP TABLE other.dish;",
        "CREATE TABLE dish (id int); SET search_path = other; DROP TABLE dish;",
        "CREATE TABLE dish (id int); DROP TABLE dish, menu;",
    ] {
        assert_eq!(codes(lost), ["drop-table"], "{lost}");
    }
    assert_eq!(codes("CREATE TABLE dish (id int); DROP SCHEMA dish;"), ["drop-schema"]);
}

/// The exponent of the work between two sizes: 1 is a straight line.
fn exponent(work: impl Fn(usize) -> u64) -> f64 {
    let (small, large) = (work(100), work(800));
    (large as f64 / small as f64).ln() / 8f64.ln()
}

#[test]
fn the_work_grows_with_the_statements_and_not_with_their_square() {
    let statements = [
        "INSERT INTO dish SELECT 1, 'x' FROM menu;\n",
        "INSERT INTO dish VALUES (1, 'x');\n",
        "ALTER TABLE dish VALIDATE CONSTRAINT c;\n",
        "ALTER TYPE spice ADD VALUE 'hot';\n",
        "REFRESH MATERIALIZED VIEW sold;\n",
    ];
    for statement in statements {
        let grown = exponent(|count| {
            let before = crate::lint::parsed::LOOKED_AT.get();
            lint_files(&set(&[("menu/0001_x", &statement.repeat(count))]), |_| true);
            crate::lint::parsed::LOOKED_AT.get() - before
        });
        assert!(grown < 1.1, "{statement}: {grown}");
    }
}

#[test]
fn a_restore_is_not_promised_for_what_no_snapshot_holds() {
    let said = |text: &str| -> Vec<String> {
        let set = set(&[("menu/0001_x", text)]);
        let wanted = ["missing-down", "outside-the-snapshot", "destroys-outside-the-snapshot"];
        let found = lint_files(&set, |_| true).into_iter().filter(|one| wanted.contains(&one.code));
        found.map(|one| format!("{}: {}", one.code, one.message)).collect()
    };
    let found = said("-- migrate:up\nALTER SYSTEM SET work_mem = '1GB';\n");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].ends_with("no restore undoes all of it either"), "{found:?}");
    assert!(found[1].starts_with("destroys-outside-the-snapshot: "), "{found:?}");
    let found = said("-- migrate:up\nALTER TABLE a ADD COLUMN b int;\n");
    assert_eq!(found, ["missing-down: there is no down section: only a restore undoes it"]);
    let found = said("CREATE USER MAPPING FOR cook SERVER kitchen; ALTER TABLE a OWNER TO cook;");
    assert_eq!(found, [""; 0]);
}

/// Rows alone are read once; what is more than rows is not taken for that.
#[test]
fn rows_are_passed_over_and_nothing_else_is() {
    let codes = |text: &str| -> Vec<&'static str> {
        let set = set(&[("menu/0001_x", text)]);
        lint_files(&set, |_| true).into_iter().map(|one| one.code).collect()
    };
    assert_eq!(codes("INSERT INTO dish VALUES (1, 'select');\nINSERT INTO dish (id) VALUES (2), (3);\n"), [""; 0]);
    for (text, code) in [
        ("INSERT INTO safe_migrate.migration VALUES (1);\n", "ledger-touched"),
        ("INSERT INTO \"safe_migrate\".migration VALUES (1);\n", "ledger-touched"),
        ("ALTER TABLE dish ADD COLUMN a int;\nINSERT INTO line SELECT 1;\n", "mixed-ddl-and-data"),
        ("ALTER TYPE mood ADD VALUE 'hot';\nINSERT INTO dish VALUES ('hot');\n", "enum-value-in-transaction"),
        ("WITH gone AS (DELETE FROM dish RETURNING 1) INSERT INTO line VALUES (1);\n", "delete-without-where"),
        (
            "INSERT INTO dish VALUES (1) ON CONFLICT (id) DO UPDATE SET id = 1, id = 2;\n",
            "ban-duplicate-column-assignments",
        ),
    ] {
        assert!(codes(text).contains(&code), "{text}: {:?}", codes(text));
    }
}
