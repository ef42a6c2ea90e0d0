use super::*;
use crate::migration::SplitError;

fn parse(text: impl AsRef<[u8]>) -> Result<Migration, MigrationError> {
    Migration::parse("menu/0002_x".parse().unwrap(), PathBuf::from("m/menu/0002_x.sql"), text.as_ref())
}

fn message(text: impl AsRef<[u8]>) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn reads_header_sections_and_lines() {
    let migration = parse(
        "-- Allergens, by law.\n-- depends: menu/0001_initial, accounts/0002_profile\n-- run-before: orders/0001_initial\n\
         -- breaking: releases before 3.2\n-- allow: drop-column never filled\n\n-- migrate:up\nALTER TABLE a ADD b int;\n\
         SELECT 1;\n-- migrate:down\n\nALTER TABLE a DROP b;\n",
    )
    .unwrap();
    let names = |ids: &[MigrationId]| ids.iter().map(MigrationId::to_string).collect::<Vec<_>>();
    assert_eq!(names(&migration.depends), ["menu/0001_initial", "accounts/0002_profile"]);
    assert_eq!(names(&migration.run_before), ["orders/0001_initial"]);
    assert_eq!(migration.line_naming(&migration.run_before[0]), 3);
    assert_eq!(migration.breaking, ["releases before 3.2"]);
    assert_eq!(migration.allows[0].why, "never filled");
    let lines: Vec<u32> = migration.up.statements.iter().map(|s| s.line).collect();
    assert_eq!(lines, [8, 9]);
    let down = migration.down.unwrap();
    assert_eq!((down.statements[0].line, down.transaction), (12, true));
}

#[test]
fn reads_what_dbmate_writes() {
    let migration =
        parse("-- migrate:up transaction:false\nCREATE INDEX CONCURRENTLY i ON t (a);\n\n-- migrate:down\n\n").unwrap();
    assert!(!migration.up.transaction);
    assert_eq!(migration.down, Some(Section { transaction: true, batch: None, program: None, statements: vec![] }));
    assert_eq!(parse("--migrate:up\nSELECT 1").unwrap().down, None);
}

#[test]
fn markers_inside_quotes_are_text() {
    let migration = parse("-- migrate:up\nSELECT '\n-- migrate:down\n';\n/*\n-- migrate:up\n*/ SELECT 2;\n").unwrap();
    assert_eq!(migration.up.statements.len(), 2);
    assert_eq!(migration.down, None);
}

#[test]
fn line_ends_and_a_byte_order_mark_change_nothing() {
    let unix = parse("-- migrate:up\nSELECT 'a\nb';\n").unwrap();
    for other in ["-- migrate:up\r\nSELECT 'a\r\nb';\r\n", "\u{feff}-- migrate:up\nSELECT 'a\nb';\n"] {
        let other = parse(other).unwrap();
        assert_eq!((&other.checksum, &other.text, &other.up), (&unix.checksum, &unix.text, &unix.up));
    }
    assert_eq!(parse(&unix.text).unwrap().checksum, unix.checksum);
}

#[test]
fn a_byte_that_is_not_utf8_is_found() {
    let error = message(b"-- migrate:up\nSELECT '\xe9';\n".as_slice());
    assert_eq!(error, "m/menu/0002_x.sql:2: not UTF-8: byte 0xe9 at offset 22");
    assert_eq!(message("-- migrate:up\n\n\0"), "m/menu/0002_x.sql:3: a NUL character");
}

#[test]
fn wrong_markers_are_named_by_line() {
    for (text, part) in [
        ("SELECT 1;", ":1: SQL before the `-- migrate:up` line"),
        ("-- just a remark\n", ": there is no `-- migrate:up` line"),
        ("", ": there is no `-- migrate:up` line"),
        ("-- migrate:down\n-- migrate:up\n", ":1: `-- migrate:down` must come after"),
        ("-- migrate:up\n-- migrate:up\n", ":2: a second `-- migrate:up` line; the first is line 1"),
        ("-- migrate:up\n-- migrate:down\n-- migrate:up\n", ":3: `-- migrate:up` must come before"),
        ("-- migrate:up\n-- migrate:down\n-- migrate:down\n", ":3: a second `-- migrate:down` line"),
        ("\n-- migrate:up transactions:false\n", ":2: unknown option `transactions:false`"),
        ("-- migrate:upp\n", ":1: unknown line `-- migrate:upp`"),
        ("-- migrate:up\nSELECT 1;\n -- migrate:down\n", ":3: `-- migrate:down` looks like the beginning of a section"),
        ("-- migrate:up\nSELECT 1;\n-- Migrate:Down\n", ":3: `-- Migrate:Down` looks like the beginning of a section"),
        ("-- migrate:up\n-- depends: menu/0001_x\n", ":2: `-- depends:` counts only above"),
        ("-- depends: 0001_x\n-- migrate:up\n", ":1: `depends:` `0001_x` does not say which app"),
    ] {
        assert!(message(text).contains(part), "{text:?}: {}", message(text));
    }
}

#[test]
fn transaction_commands_are_refused_in_both_kinds_of_section() {
    assert!(message("-- migrate:up\nSELECT 1;\nCOMMIT;\n").contains(":3: COMMIT in a migration"));
    let error = parse("-- migrate:up\n-- migrate:down transaction:false\nBEGIN;\n").unwrap_err();
    assert!(matches!(error, MigrationError::TransactionControl { line: 3, transactional: false, .. }));
    assert!(parse("-- migrate:up\nDO $$ BEGIN NULL; END $$;\n").is_ok());
}

#[test]
fn what_cannot_be_split_is_named_with_file_and_line() {
    let error = parse("-- migrate:up\nSELECT 1;\nSELECT 'a;\n-- migrate:down\nSELECT 2;\n").unwrap_err();
    assert_eq!(error.to_string(), "m/menu/0002_x.sql:3: this string is never closed");
    let error = parse("-- migrate:up\nCOPY t FROM STDIN;\nit's\n\\.\n-- migrate:down\n").unwrap_err();
    assert!(matches!(error, MigrationError::Split { error: SplitError::CopyFromStdin { line: 2 }, .. }), "{error}");
    let error = parse("-- depends: a/0001_x\n/* open\n-- migrate:up\n").unwrap_err();
    assert!(matches!(error, MigrationError::NoUpSection { .. }));
}

/// What undoes a migration would run right behind what does it, because its marker is a comment to us.
#[test]
fn markers_of_other_tools_are_not_read_as_remarks() {
    for marker in [
        "-- +goose Down",
        "-- migrate down",
        "-- migration:down",
        "-- down",
        "--- DOWN ---",
        "-- @DOWN",
        "/* migrate:down */",
        "/* down */",
        "-- Down Migration",
        "--//@UNDO",
        "-- +migrate Down",
    ] {
        let text = format!("-- migrate:up\nCREATE TABLE a ();\n{marker}\nDROP TABLE a;\n");
        let said = message(&text);
        assert!(said.contains("looks like the beginning of a section") && said.contains(":3:"), "{marker}: {said}");
    }
    for remark in
        ["-- down with the prices", "-- up to here", "/* goes down well */", "-- migrate the rows", "-- goose"]
    {
        assert!(parse(format!("-- migrate:up\n{remark}\nSELECT 1;\n")).is_ok(), "{remark}");
    }
    // In the text of a function it is text.
    assert!(parse("-- migrate:up\nDO $$ BEGIN\n-- down\nEND $$;\n").is_ok());
}
