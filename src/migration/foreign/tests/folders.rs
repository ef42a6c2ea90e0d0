//! Prisma and Diesel: a directory for each migration.

use super::*;

const LOCK: (&str, &str) = ("migration_lock.toml", "# Please do not edit\nprovider = \"postgresql\"\n");

#[test]
fn prisma_has_no_way_back_and_its_own_order() {
    let found = read(
        ForeignTool::Prisma,
        &[
            LOCK,
            ("20240101120000_Init/migration.sql", "-- CreateTable\nCREATE TABLE \"User\" (id int);\n"),
            ("0_before/migration.sql", "SELECT 1;"),
            ("20240201120000_index/migration.sql", "CREATE INDEX CONCURRENTLY i ON \"User\" (id);"),
            ("20240301120000_own/migration.sql", "BEGIN;\nSELECT 2;\nCOMMIT;\n"),
            (".hidden/x.sql", ""),
            ("schema.sql", ""),
        ],
    );
    assert_eq!(keys(&found), ["0_before", "20240101120000_Init", "20240201120000_index", "20240301120000_own"]);
    assert_eq!(named(&found)[..2], ["00000000000000_before", "20240101120000_init"]);
    assert!(found.iter().all(|one| one.down.is_none()));
    assert_eq!((found[1].transaction.0, found[2].transaction.0, found[3].up.trim()), (true, false, "SELECT 2;"));
    assert_eq!(found[1].source, "Imported from prisma: 20240101120000_Init/migration.sql");
    // A checkout may have other line ends than the table's checksum.
    assert_eq!((found[0].digests.len(), found[1].digests.len()), (1, 2));
    // Prisma sorts names as text: the numbers would say another order.
    let found = read(ForeignTool::Prisma, &[LOCK, ("10_b/migration.sql", ""), ("9_a/migration.sql", "")]);
    assert_eq!((keys(&found), named(&found)), (vec!["10_b", "9_a"], vec!["0001_b".to_owned(), "0002_a".to_owned()]));
    // Quotes, and a line end.
    let found =
        read(ForeignTool::Prisma, &[LOCK, ("1_o'clock \"x\"\n-- migrate:up\nSELECT 9;/migration.sql", "SELECT 1;")]);
    assert_eq!(statements(&parsed(&found[0]).up), ["SELECT 1"]);
}

#[test]
fn a_prisma_directory_of_another_provider_is_refused() {
    let file = ("20240101120000_init/migration.sql", "SELECT 1;");
    let prisma = |lock: &str| error(ForeignTool::Prisma, &[("migration_lock.toml", lock), file]);
    assert_eq!(prisma("provider = \"mysql\""), "DIR/migration_lock.toml: the provider is mysql; it must be postgresql");
    assert_eq!(prisma("provider = 7"), "DIR/migration_lock.toml: it names no provider");
    assert_eq!(prisma(""), "DIR/migration_lock.toml: it names no provider");
    assert!(prisma("provider = ").starts_with("DIR/migration_lock.toml: it is no TOML"));
    assert_eq!(error(ForeignTool::Prisma, &[file]), "cannot read DIR/migration_lock.toml");
    // The name that Prisma 1 gave it.
    assert_eq!(read(ForeignTool::Prisma, &[("migration_lock.toml", "provider = 'postgres'"), file]).len(), 1);
    let error = error(ForeignTool::Prisma, &[LOCK, file, ("20240201120000_empty/notes.txt", "")]);
    assert_eq!(error, "DIR/20240201120000_empty: no name of a prisma migration: 20240101120000_name/migration.sql");
}

#[test]
fn diesel_knows_its_migrations_by_digits() {
    let found = read(
        ForeignTool::Diesel,
        &[
            ("2024-01-01-120000_create_dish/up.sql", "CREATE TABLE dish (id int);"),
            ("2024-01-01-120000_create_dish/down.sql", "DROP TABLE dish;"),
            ("00000000000000_diesel_initial_setup/up.sql", "SELECT 0;"),
            ("2024-02-01-120000_index/up.sql", "CREATE INDEX i ON dish (id);"),
            ("2024-02-01-120000_index/metadata.toml", "run_in_transaction = false\n"),
            ("2024-03-01-120000_other/up.sql", "SELECT 3;"),
            ("2024-03-01-120000_other/down.sql", "SELECT -3;"),
            // Without the key Diesel takes it for false.
            ("2024-03-01-120000_other/metadata.toml", "note = 'x'\n"),
            ("2024-04-01-120000_inside/up.sql", "SELECT 4;"),
            ("2024-04-01-120000_inside/metadata.toml", "run_in_transaction = true\n"),
            (".keep/x", ""),
            ("README.md", ""),
        ],
    );
    let versions = ["00000000000000", "20240101120000", "20240201120000", "20240301120000", "20240401120000"];
    assert_eq!(keys(&found), versions);
    assert_eq!(named(&found)[..2], ["00000000000000_diesel_initial_setup", "20240101120000_create_dish"]);
    let outside: Vec<(bool, bool)> = found.iter().map(|one| one.transaction).collect();
    assert_eq!(outside, [(true, true), (true, true), (false, false), (false, false), (true, true)]);
    assert_eq!((found[0].down.as_deref(), found[1].down.as_deref()), (None, Some("DROP TABLE dish;")));
}

#[test]
fn a_diesel_directory_that_is_broken_is_refused() {
    let diesel = |files: &[(&str, &str)]| error(ForeignTool::Diesel, files);
    assert!(
        diesel(&[("2024-01-01-120000_a/up.sql", ""), ("20240101120000_b/up.sql", "")]).contains("the same version")
    );
    assert_eq!(
        diesel(&[("2024-01-01-120000_a/down.sql", "")]),
        "DIR/2024-01-01-120000_a/down.sql: a way back, and there is no file that it undoes"
    );
    assert!(diesel(&[("2024-01-01-120000_a/notes", "")]).contains("no name of a diesel migration"));
    let broken = diesel(&[("1_a/up.sql", "SELECT 1;"), ("1_a/metadata.toml", "run_in_transaction = \"no\"")]);
    assert!(broken.starts_with("DIR/1_a/metadata.toml: run_in_transaction is neither true nor false"), "{broken}");
    // Versions are compared as text.
    let found = read(ForeignTool::Diesel, &[("10_b/up.sql", ""), ("9_a/up.sql", "")]);
    assert_eq!((keys(&found), named(&found)), (vec!["10", "9"], vec!["0001_b".to_owned(), "0002_a".to_owned()]));
}
