//! Directories as the tools' documentation lays them out, and as people break them.

use super::*;

mod folders;
mod goose;
mod names;
mod rails;
mod templates;

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

fn read(tool: ForeignTool, files: &[(&str, &str)]) -> Vec<ForeignMigration> {
    tool.read(directory(files).path(), None).unwrap()
}

fn error(tool: ForeignTool, files: &[(&str, &str)]) -> String {
    let dir = directory(files);
    let error = tool.read(dir.path(), None).unwrap_err().to_string();
    error.replace(&dir.path().display().to_string(), "DIR")
}

/// The text of ours, as a run would read it.
fn parsed(one: &ForeignMigration) -> crate::migration::Migration {
    let id = "main/0001_x".parse().unwrap();
    crate::migration::Migration::parse(id, PathBuf::from("x.sql"), one.to_text(&[]).as_bytes()).unwrap()
}

fn statements(section: &crate::migration::Section) -> Vec<&str> {
    section.statements.iter().map(|one| one.text.as_str()).collect()
}

fn keys(found: &[ForeignMigration]) -> Vec<&str> {
    found.iter().map(|one| one.key.as_str()).collect()
}

fn named(found: &[ForeignMigration]) -> Vec<String> {
    names(&found.iter().collect::<Vec<_>>())
}

#[test]
fn dbmate_keeps_its_sections_and_its_numbers() {
    let text =
        "-- migrate:up transaction:false\nCREATE INDEX CONCURRENTLY i ON t (a);\n-- migrate:down\nDROP INDEX i;\n";
    let found = read(ForeignTool::Dbmate, &[("20240101120000_Add-Index.sql", text), ("schema.txt", "")]);
    assert_eq!((found[0].key.as_str(), found[0].transaction), ("20240101120000", (false, true)));
    assert_eq!(named(&found), ["20240101120000_add_index"]);
    let expected = "-- Imported from dbmate: 20240101120000_Add-Index.sql\n-- migrate:up transaction:false\nCREATE INDEX CONCURRENTLY i ON t (a);\n\n-- migrate:down\nDROP INDEX i;\n";
    assert_eq!(found[0].to_text(&[]), expected);
    assert_eq!(error(ForeignTool::Dbmate, &[("1_a.sql", "SELECT 1")]), "DIR/1_a.sql: there is no `-- migrate:up` line");
}

#[test]
fn sqlx_and_golang_migrate_have_two_files() {
    let files = [
        ("2_b.up.sql", "BEGIN;\nCREATE TABLE b ();\nCOMMIT;\n"),
        ("2_b.down.sql", "DROP TABLE b;"),
        ("10_c.up.sql", "CREATE INDEX CONCURRENTLY c ON b (x);"),
        ("1_a.up.sql", "-- why\nSELECT 1;"),
    ];
    for tool in [ForeignTool::GolangMigrate, ForeignTool::Sqlx] {
        let found = read(tool, &files);
        assert_eq!(named(&found), ["0001_a", "0002_b", "0010_c"]);
        assert_eq!(found.iter().map(|one| one.key.as_str()).collect::<Vec<_>>(), ["1", "2", "10"]);
        assert_eq!((found[1].up.trim(), found[1].down.as_deref()), ("CREATE TABLE b ();", Some("DROP TABLE b;")));
        assert_eq!(found[2].transaction, (false, true));
    }
    let single = read(ForeignTool::Sqlx, &[("1_a.sql", "-- no-transaction\nVACUUM t;")]);
    assert!(!single[0].transaction.0 && single[0].digests.len() == 1);
    assert!(
        error(ForeignTool::GolangMigrate, &[("1_a.sql", "")]).starts_with("DIR/1_a.sql: no name of a golang-migrate")
    );
    assert!(error(ForeignTool::GolangMigrate, &[("1_a.down.sql", "")]).contains("no file that it undoes"));
    assert!(error(ForeignTool::Sqlx, &[("1_a.sql", ""), ("01_b.sql", "")]).contains("the same version"));
    assert!(error(ForeignTool::Sqlx, &[("first.sql", "")]).contains("no name of a sqlx migration"));
    assert!(error(ForeignTool::Sqlx, &[]).contains("holds no migration as sqlx names them"));
}

#[test]
fn flyway_is_ordered_by_version_and_names_what_it_cannot_carry() {
    let found = read(
        ForeignTool::Flyway,
        &[
            ("V1.10__Ten.sql", "SELECT 10;"),
            ("V1.2__Two.sql", "SELECT '${schema}';"),
            ("U1.2__Two.sql", "SELECT -2;"),
            ("V2__Java.java", "class"),
            ("R__views.sql", "CREATE OR REPLACE VIEW v AS SELECT 1;"),
            ("V1_10_1__Index.sql", "SELECT 3;"),
            ("V1_10_1__Index.sql.conf", "executeInTransaction = false\n"),
        ],
    );
    assert_eq!(named(&found), ["0001_two", "0002_ten", "0003_index", "0004_java", "0005_views"]);
    assert_eq!(found.iter().map(|one| one.key.as_str()).collect::<Vec<_>>(), ["1.2", "1.10", "1.10.1", "2", "views"]);
    assert_eq!(found[0].not_carried, ["V1.2__Two.sql:1: the placeholder ${schema}"]);
    assert_eq!((found[0].down.as_deref(), found[2].transaction.0), (Some("SELECT -2;"), false));
    assert_eq!(found[3].not_carried, ["V2__Java.java: a Java migration"]);
    assert!(found[3].to_text(&[]).contains("-- not-carried: V2__Java.java: a Java migration\n"));
    assert!(error(ForeignTool::Flyway, &[("V1__a.sql", ""), ("V1.0__b.sql", "")]).contains("the same version"));
    assert!(error(ForeignTool::Flyway, &[("V1__a.sql", ""), ("U2__b.sql", "")]).contains("no file that it undoes"));
    assert!(error(ForeignTool::Flyway, &[("Vx__a.sql", "")]).contains("no name of a flyway migration"));
    assert!(error(ForeignTool::Flyway, &[("beforeMigrate.sql", "")]).contains("a callback"));
}

#[test]
fn only_a_transaction_around_all_of_it_is_taken_off() {
    for (text, expected) in [
        ("-- a\nBEGIN;\nSELECT 1;\nCOMMIT;\n", "-- a\nSELECT 1;\n\n"),
        ("begin transaction; SELECT 1; end;", " SELECT 1; "),
        ("START TRANSACTION;\nSELECT 1;\nCOMMIT", "SELECT 1;\n"),
        ("SELECT 1;\nCOMMIT;", "SELECT 1;\nCOMMIT;"),
        ("BEGIN;\nSELECT 1;", "BEGIN;\nSELECT 1;"),
        ("BEGIN; SELECT CASE WHEN true THEN 1 END;", "BEGIN; SELECT CASE WHEN true THEN 1 END;"),
    ] {
        assert_eq!(without_own_transaction(text), expected, "{text}");
    }
}

#[test]
fn long_numbers_are_counted_anew() {
    let found =
        read(ForeignTool::GolangMigrate, &[("1700000000000000000_a.up.sql", ""), ("1700000000000000001_b.up.sql", "")]);
    assert_eq!(named(&found), ["0001_a", "0002_b"]);
}

/// A name of a file is text of the header, and may hold anything but a slash.
#[test]
fn a_hostile_name_of_a_file_stays_in_its_comment() {
    let name = "1_a\n-- migrate:up\nDROP TABLE dish; --\u{1b}[2J'\".sql";
    let found = read(ForeignTool::Sqlx, &[(name, "CREATE TABLE t (i int);")]);
    let text = found[0].to_text(&[]);
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    assert_eq!(statements(&parsed(&found[0]).up), ["CREATE TABLE t (i int)"]);
    let name = "V1__a\n-- migrate:up\nDROP TABLE dish;.java";
    let found = read(ForeignTool::Flyway, &[(name, "")]);
    assert_eq!(statements(&parsed(&found[0]).up), Vec::<&str>::new());
    assert_eq!(named(&found), ["0001_a_migrate_up_drop_table_dish"]);
}
