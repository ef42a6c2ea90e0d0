//! Bad input: migration files that cannot be used, and targets that name none.

use crate::cli_bad_input::Production;

const APPLY: [&str; 2] = ["apply", "--yes"];

fn with_migration(name: &str, text: &str) -> Production {
    let production = Production::new();
    production.project.write_migration("menu", name, text);
    production
}

#[test]
fn a_dependency_is_unknown() {
    let production = with_migration(
        "0003_price",
        "-- A price for each dish.\n-- depends: menu/0002_nmae\n-- migrate:up\nSELECT 1;\n",
    );
    insta::assert_snapshot!(production.refuses(&APPLY), @"
    $ safe-migrate apply --yes
    exit 2
    --- stderr
    error: migrations/menu/0003_price.sql:2: menu/0003_price names menu/0002_nmae, and there is no such migration
    production: unchanged
    hint: did you mean menu/0002_name?
    ");
}

#[test]
fn migrations_depend_on_each_other() {
    let production = with_migration("0003_price", "-- depends: menu/0004_tax\n-- migrate:up\nSELECT 1;\n");
    production.project.write_migration("menu", "0004_tax", "-- depends: menu/0003_price\n-- migrate:up\nSELECT 1;\n");
    insta::assert_snapshot!(production.refuses(&APPLY), @"
    $ safe-migrate apply --yes
    exit 2
    --- stderr
    error: migrations depend on each other in a circle: menu/0003_price -> menu/0004_tax -> menu/0003_price
      migrations/menu/0003_price.sql:1
      migrations/menu/0004_tax.sql:1
    production: unchanged
    hint: remove one of these `-- depends:` or `-- run-before:` lines
    ");
}

#[test]
fn an_app_has_two_leaves() {
    let production = with_migration("0003_price", "-- depends: menu/0002_name\n-- migrate:up\nSELECT 1;\n");
    production.project.write_migration("menu", "0003_photo", "-- depends: menu/0002_name\n-- migrate:up\nSELECT 2;\n");
    insta::assert_snapshot!(production.refuses(&APPLY), @r#"
    $ safe-migrate apply --yes
    exit 3
    --- stderr
    error: nothing says which comes first in app "menu": menu/0003_photo or menu/0003_price
    production: unchanged
    hint: `safe-migrate make --merge` tries them in both orders; by hand: a migration with `-- depends: menu/0003_photo, menu/0003_price`
    "#);
}

#[test]
fn a_file_is_not_utf_8() {
    let production = Production::new();
    let latin_1 = b"-- migrate:up\n-- caf\xe9\nSELECT 1;\n";
    std::fs::write(production.migration("0003_price"), latin_1).unwrap();
    insta::assert_snapshot!(production.refuses(&APPLY), @"
    $ safe-migrate apply --yes
    exit 2
    --- stderr
    error: migrations/menu/0003_price.sql:2: not UTF-8: byte 0xe9 at offset 20
    production: unchanged
    hint: save the file in UTF-8
    ");
}

#[test]
fn a_file_has_no_name_of_a_migration() {
    let production = with_migration("3-Price", "-- migrate:up\nSELECT 1;\n");
    insta::assert_snapshot!(production.refuses(&APPLY), @"
    $ safe-migrate apply --yes
    exit 2
    --- stderr
    error: migrations/menu/3-Price.sql: no name for a migration: 4 to 14 digits, an underscore, then lower-case letters, digits and underscores
    production: unchanged
    hint: rename it, as in 0002_add_allergens.sql, or give it another ending than .sql if it is no migration
    ");
}

#[test]
fn a_file_has_no_up_section() {
    let production = with_migration("0003_price", "-- A price for each dish.\n");
    insta::assert_snapshot!(production.refuses(&APPLY), @"
    $ safe-migrate apply --yes
    exit 2
    --- stderr
    error: migrations/menu/0003_price.sql: there is no `-- migrate:up` line
    production: unchanged
    hint: put `-- migrate:up` above the SQL that applies it and `-- migrate:down` above the SQL that undoes it
    ");
}

#[test]
fn a_migration_ends_the_transaction_itself() {
    let production = with_migration("0003_price", "-- migrate:up\nSELECT 1;\nCOMMIT;\nSELECT 2;\n");
    insta::assert_snapshot!(production.refuses(&APPLY), @"
    $ safe-migrate apply --yes
    exit 2
    --- stderr
    error: migrations/menu/0003_price.sql:3: COMMIT in a migration: safe-migrate begins and ends its transactions itself
    production: unchanged
    hint: remove it; SQL that cannot run in a transaction belongs in a migration with `-- migrate:up transaction:false`
    ");
}

#[test]
fn a_migration_uses_a_command_of_psql() {
    let production = with_migration("0003_price", "-- migrate:up\n\\copy dish FROM 'dish.csv'\n");
    insta::assert_snapshot!(production.refuses(&APPLY), @r#"
    $ safe-migrate apply --yes
    exit 2
    --- stderr
    error: migrations/menu/0003_price.sql:2: `\copy` is a command of psql, which is not used to run migrations
    production: unchanged
    hint: write it as SQL
    "#);
}

#[test]
fn a_string_in_a_migration_does_not_end() {
    let production = with_migration("0003_price", "-- migrate:up\nSELECT 1;\nSELECT 'it''s;\n");
    insta::assert_snapshot!(production.refuses(&APPLY), @"
    $ safe-migrate apply --yes
    exit 2
    --- stderr
    error: migrations/menu/0003_price.sql:3: this string is never closed
    production: unchanged
    hint: close it; a quote within a string is written twice ('it''s')
    ");
}

#[test]
fn there_is_no_directory_of_migrations() {
    let production = Production::new();
    insta::assert_snapshot!(production.refuses(&["apply", "--yes", "--migrations", "db"]), @"
    $ safe-migrate apply --yes --migrations db
    exit 2
    --- stderr
    error: there is no directory of migrations at db
    production: unchanged
    hint: name it with --migrations DIR or `[migrations] dir` in safe-migrate.toml, or run `safe-migrate init`
    ");
}

#[test]
fn an_app_is_unknown() {
    let production = Production::new();
    insta::assert_snapshot!(production.refuses(&["apply", "menus", "--yes"]), @"
    $ safe-migrate apply menus --yes
    exit 2
    --- stderr
    error: there is no app `menus` with migrations
    production: unchanged
    hint: did you mean `menu`?
    ");
}

#[test]
fn a_target_is_unknown() {
    let production = Production::new();
    insta::assert_snapshot!(production.refuses(&["apply", "menu", "0007", "--yes"]), @"
    $ safe-migrate apply menu 0007 --yes
    exit 2
    --- stderr
    error: app `menu` has no migration `0007`
    production: unchanged
    hint: its migrations include 0002_name, 0001_initial
    ");
}

#[test]
fn the_prefix_of_a_target_is_ambiguous() {
    let production = Production::new();
    insta::assert_snapshot!(production.refuses(&["apply", "menu", "000", "--yes"]), @"
    $ safe-migrate apply menu 000 --yes
    exit 2
    --- stderr
    error: `000` may mean several migrations of app `menu`: 0001_initial, 0002_name
    production: unchanged
    hint: write more of the name
    ");
}

#[test]
fn a_rollback_needs_a_target_that_is_applied() {
    let production = Production::new();
    insta::assert_snapshot!(production.refuses(&["rollback", "menu", "0001", "--yes"]), @"
    $ safe-migrate rollback menu 0001 --yes
    exit 2
    --- stderr
    error: menu/0001_initial is not applied, so there is no way back to it
    production: unchanged
    hint: to go forward, run `safe-migrate apply menu 0001_initial`
    ");
}

#[test]
fn a_migration_without_a_down_section_cannot_be_rolled_back() {
    let production = with_migration("0002_name", "-- migrate:up\nALTER TABLE dish ADD COLUMN name text;\n");
    production.apply("0002");
    insta::assert_snapshot!(production.refuses(&["rollback", "menu", "0001", "--yes"]), @"
    $ safe-migrate rollback menu 0001 --yes
    exit 2
    --- stderr
    error: menu/0002_name cannot be rolled back: migrations/menu/0002_name.sql has no `-- migrate:down` section
    production: unchanged
    hint: no snapshot was taken before menu/0002_name; `safe-migrate snapshot list` shows what there is
    ");
}
