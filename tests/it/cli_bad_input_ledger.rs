//! Bad input: files, ledger and schema that do not agree.

use crate::cli_bad_input::Production;

const APPLY: [&str; 2] = ["apply", "--yes"];

/// The first migration is applied, the second is pending.
fn half_applied() -> Production {
    let production = Production::new();
    production.apply("0001");
    production
}

#[test]
fn an_applied_file_changed() {
    let production = half_applied();
    let text = "-- migrate:up\nCREATE TABLE dish (id bigint PRIMARY KEY);\n";
    production.project.write_migration("menu", "0001_initial", text);
    insta::assert_snapshot!(production.refuses(&APPLY), @"
    $ safe-migrate apply --yes
    exit 3
    --- stderr
    error: applied migrations changed on disk:
      menu/0001_initial (migrations/menu/0001_initial.sql)
    production: unchanged
    hint: put the text that was applied back; or, where both build the same: safe-migrate repair menu 0001_initial
    ");
}

#[test]
fn an_applied_file_changed_and_nothing_is_pending() {
    let production = Production::new();
    production.apply("0002");
    let text = "-- migrate:up\nCREATE TABLE dish (id bigint PRIMARY KEY);\n";
    production.project.write_migration("menu", "0001_initial", text);
    insta::assert_snapshot!(production.refuses(&APPLY), @"
    $ safe-migrate apply --yes
    exit 3
    --- stderr
    error: applied migrations changed on disk:
      menu/0001_initial (migrations/menu/0001_initial.sql)
    production: unchanged
    hint: put the text that was applied back; or, where both build the same: safe-migrate repair menu 0001_initial
    ");
}

#[test]
fn an_applied_file_is_missing_while_another_is_pending() {
    let production = half_applied();
    std::fs::remove_file(production.migration("0001_initial")).unwrap();
    insta::assert_snapshot!(production.refuses(&APPLY), @"
    $ safe-migrate apply --yes
    exit 3
    --- stderr
    error: applied migrations are missing on disk while others are pending: menu/0001_initial
    production: unchanged
    hint: check out the release that has them; `safe-migrate status` lists what is applied
    ");
}

#[test]
fn an_applied_file_is_missing_while_nothing_is_pending() {
    let production = Production::new();
    production.apply("0002");
    std::fs::remove_file(production.migration("0002_name")).unwrap();
    insta::assert_snapshot!(production.refuses(&APPLY), @"
    $ safe-migrate apply --yes
    exit 0
    --- stdout
    nothing to do
    --- stderr
    warning: menu/0002_name is applied, but its file is not here
    ");
}

#[test]
fn a_new_migration_wants_to_run_before_an_applied_one() {
    let production = Production::new();
    production.apply("0002");
    let text = "-- run-before: menu/0002_name\n-- migrate:up\nSELECT 1;\n";
    production.project.write_migration("stock", "0001_initial", text);
    insta::assert_snapshot!(production.refuses(&APPLY), @"
    $ safe-migrate apply --yes
    exit 3
    --- stderr
    error: applied migrations depend on others that are not applied:
      menu/0002_name on stock/0001_initial (migrations/stock/0001_initial.sql)
    production: unchanged
    hint: nothing can be put before what is applied; correct the `-- run-before:` lines
    ");
}

#[test]
fn the_ledger_is_of_a_newer_version() {
    let production = half_applied();
    production.database.sql("INSERT INTO safe_migrate.version VALUES (99)");
    insta::assert_snapshot!(production.refuses(&APPLY), @"
    $ safe-migrate apply --yes
    exit 1
    --- stderr
    error: the ledger of this database has version 99; this program knows versions up to 3
    production: unchanged
    hint: use the newer safe-migrate that wrote it
    ");
}

#[test]
fn the_schema_changed_since_the_last_run() {
    let production = half_applied();
    production.database.sql("ALTER TABLE dish ADD COLUMN added_by_hand int");
    insta::assert_snapshot!(production.refuses(&APPLY), @r#"
    $ safe-migrate apply --yes
    exit 3
    --- stderr
    error: the schema of "test_[N]" changed since run [ID] (apply menu 0001) (drift):
      (- recorded, + found)
      ~ TABLE public.dish
        -     id integer NOT NULL
        +     id integer NOT NULL,
        +     added_by_hand integer
    production: unchanged
    hint: find out who changed it; to go on as it is: --accept-drift WHY
    "#);
}
