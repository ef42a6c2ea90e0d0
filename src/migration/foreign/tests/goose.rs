//! goose: annotations, Go migrations, and what it refuses itself.

use super::*;

const GOOSE: ForeignTool = ForeignTool::Goose;

#[test]
fn a_body_with_semicolons_is_one_statement() {
    let text = "-- written by hand\n\n-- +goose Up\n-- +goose StatementBegin\nCREATE FUNCTION f() RETURNS int AS $$\nBEGIN\n  PERFORM 1; -- no end;\n  RETURN 2;\nEND\n$$ LANGUAGE plpgsql\n-- +goose StatementEnd\nCREATE TABLE t (i int);\n\n-- +goose Down\nDROP TABLE t;\n-- +goose statementbegin\nDROP FUNCTION f;\n-- +goose STATEMENTEND\n";
    let found = read(GOOSE, &[("00002_f.sql", text)]);
    let ours = parsed(&found[0]);
    let body =
        "CREATE FUNCTION f() RETURNS int AS $$\nBEGIN\n  PERFORM 1; -- no end;\n  RETURN 2;\nEND\n$$ LANGUAGE plpgsql";
    assert_eq!(statements(&ours.up), [body, "CREATE TABLE t (i int)"]);
    assert_eq!(statements(ours.down.as_ref().unwrap()), ["DROP TABLE t", "DROP FUNCTION f"]);
    assert!(ours.up.transaction && ours.down.unwrap().transaction);
    assert_eq!((found[0].key.as_str(), named(&found)), ("2", vec!["00002_f".to_owned()]));
    // A comment behind the last statement does not hide that its semicolon is missing.
    let text = "-- +goose Up\n-- +goose StatementBegin\nSELECT 1 -- ;\n-- +goose StatementEnd\nSELECT 2;\n";
    assert_eq!(statements(&parsed(&read(GOOSE, &[("1_a.sql", text)])[0]).up), ["SELECT 1", "SELECT 2"]);
}

#[test]
fn sequences_and_timestamps_are_one_order() {
    let up = "-- +goose Up\nSELECT 1;\n";
    let outside = "-- +goose NO TRANSACTION\n-- +goose Up\nCREATE INDEX CONCURRENTLY i ON t (a);\n-- +goose Down\n";
    let found = read(
        GOOSE,
        &[
            ("20240101120000_late.sql", up),
            ("00010_ten.sql", outside),
            ("00002_two.go", "package migrations"),
            ("00002_two_test.go", "package migrations"),
            ("helpers.go", "package migrations"),
            ("README.md", ""),
        ],
    );
    assert_eq!(keys(&found), ["2", "10", "20240101120000"]);
    assert_eq!(named(&found), ["00000000000002_two", "00000000000010_ten", "20240101120000_late"]);
    assert_eq!(found[0].not_carried, ["00002_two.go: a Go migration"]);
    let ours = parsed(&found[1]);
    assert!(!ours.up.transaction && !ours.down.as_ref().unwrap().transaction);
    // No way down is another thing than an empty one.
    assert!(ours.down.unwrap().statements.is_empty() && found[2].down.is_none());
}

#[test]
fn what_goose_would_not_run_is_refused_by_line() {
    for (text, expected) in [
        ("SELECT 1;\n", "1: SQL above `-- +goose Up`"),
        ("-- only a remark\n", "1: there is no `-- +goose Up` line"),
        ("-- +goose Up\n-- +goose Up\n", "2: a second `-- +goose Up`"),
        ("-- +goose Down\n-- +goose Up\n", "1: `-- +goose Down` above `-- +goose Up`"),
        ("-- +goose Up\n-- +goose Down\n-- +goose Down\n", "3: a second `-- +goose Down`"),
        ("-- +goose Up\n-- +goose StatementBegin\nSELECT 1;\n", "2: this `-- +goose StatementBegin` has no end"),
        ("-- +goose Up\n-- +goose StatementBegin\n-- +goose Down\n", "2: this `-- +goose StatementBegin` has no end"),
        ("-- +goose Up\n-- +goose StatementEnd\n", "2: `-- +goose StatementEnd` without a beginning"),
        ("-- +goose StatementBegin\n", "1: `-- +goose StatementBegin` outside of a section"),
        ("-- +goose Up\n-- +goose Sideways\n", "2: goose has no `-- +goose Sideways`"),
        ("-- +goose Up\n  -- +goose Down\nSELECT 1;\n", "2: `-- +goose Down` must begin its line"),
    ] {
        assert_eq!(error(GOOSE, &[("1_a.sql", text)]), format!("DIR/1_a.sql:{expected}"), "{text}");
    }
    let up = "-- +goose Up\n";
    assert!(error(GOOSE, &[("1_a.sql", up), ("01_b.go", "")]).contains("the same version"));
    assert!(error(GOOSE, &[("0_a.sql", up)]).contains("no name of a goose migration"), "0 is goose's own");
    assert!(error(GOOSE, &[("first.sql", up)]).contains("no name of a goose migration"));
    assert!(error(GOOSE, &[("readme.txt", up)]).contains("holds no migration as goose names them"));
}

#[test]
fn variables_are_named_only_where_goose_fills_them_in() {
    let text = "-- +goose Up\nSELECT '${A}';\n-- +goose ENVSUB ON\nSELECT '${REGION:-eu}', '$PLAIN';\n-- +goose ENVSUB OFF\nSELECT '${B}', '$5';\n";
    let found = read(GOOSE, &[("1_a.sql", text)]);
    assert_eq!(found[0].not_carried, ["1_a.sql:4: the placeholder ${REGION:-eu}", "1_a.sql:4: the placeholder $PLAIN"]);
    assert!(parsed(&found[0]).up.statements.len() == 3);
    let text = "-- +goose ENVSUB ON\n-- +goose Up\n\nCREATE TABLE ${SCHEMA}.t (i int);\nCREATE TABLE $USER_t ();\n";
    let expected = "DIR/1_a.sql: templates, which another program fills in: line 4: ${SCHEMA}, line 5: $USER_t";
    assert_eq!(error(GOOSE, &[("1_a.sql", text)]), expected);
}
