use proptest::prelude::*;

use super::*;

fn texts(sql: &str) -> Vec<String> {
    split_statements(sql, 1).unwrap().into_iter().map(|statement| statement.text).collect()
}

#[test]
fn cuts_at_semicolons_and_drops_what_surrounds_a_statement() {
    let sql = "-- first\n\n  SELECT 1 -- why\n ;;\n/* two */ SELECT\n2; ; -- end";
    let statements = split_statements(sql, 10).unwrap();
    assert_eq!(
        statements,
        [Statement { text: "SELECT 1".to_owned(), line: 12 }, Statement { text: "SELECT\n2".to_owned(), line: 14 },]
    );
    assert!(texts(" -- nothing\n;;").is_empty());
}

#[test]
fn keeps_semicolons_inside_quotes_and_comments() {
    for whole in [
        "SELECT ';', 'it''s;', E'\\';', U&'x;', $$;$$, $a$;$b$;$a$",
        "SELECT \"a;b\"\"c;\" FROM t",
        "SELECT 1 /* ; /* ; */ ; */ + 2",
        "SELECT 1 -- ; \n + 2",
        "DO $body$ BEGIN PERFORM 1; COMMIT; END $body$",
        "CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO a VALUES (1); DELETE FROM b)",
    ] {
        assert_eq!(texts(&format!("{whole};{whole}")), [whole, whole]);
    }
}

#[test]
fn keeps_a_standard_sql_function_body_whole() {
    let function = "CREATE OR REPLACE FUNCTION f(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC\n\
                    SELECT CASE WHEN a > 0 THEN 1 ELSE (CASE WHEN a < 0 THEN 2 END) END;\n\
                    SELECT 1 AS end, t.case FROM t;\nEND";
    let procedure = "create procedure p() begin atomic insert into t values (1); select 1; end";
    assert_eq!(
        texts(&format!("{function}; SELECT 1;{procedure};SELECT 2")),
        [function, "SELECT 1", procedure, "SELECT 2"]
    );
}

#[test]
fn the_words_begin_and_atomic_mean_nothing_elsewhere() {
    assert_eq!(texts("SELECT begin atomic FROM t; SELECT 2"), ["SELECT begin atomic FROM t", "SELECT 2"]);
    assert_eq!(texts("CREATE TABLE begin (atomic int); SELECT 2").len(), 2);
    assert_eq!(texts("CREATE FUNCTION begin() RETURNS int LANGUAGE sql AS 'SELECT 1'; SELECT 2").len(), 2);
}

#[test]
fn what_is_never_closed_is_named_with_its_line() {
    for (sql, what) in [
        ("SELECT 1;\nSELECT 'a;\nb", "string"),
        ("SELECT 1;\nSELECT E'a\\';\n", "string"),
        ("SELECT 1;\nSELECT \"a;\nb", "quoted identifier"),
        ("SELECT 1;\nSELECT $a$ $b$;\n", "dollar-quoted string"),
        ("SELECT 1;\n/* /* */ SELECT 2;", "comment"),
    ] {
        assert_eq!(split_statements(sql, 5), Err(SplitError::Unterminated { line: 6, what }), "{sql}");
    }
}

#[test]
fn psql_commands_are_refused_by_line() {
    for (sql, command) in [
        ("SELECT 1;\n\\copy t from 'x'", "\\copy"),
        ("SELECT 1;\n  \\i other.sql\nSELECT 2;", "\\i"),
        ("SELECT 1\n\\gexec", "\\gexec"),
    ] {
        let expected = SplitError::PsqlCommand { line: 2, command: command.to_owned() };
        assert_eq!(split_statements(sql, 1), Err(expected), "{sql}");
    }
}

#[test]
fn copy_from_stdin_is_refused_even_when_its_data_looks_like_an_open_string() {
    let sql = "SELECT 1;\nCOPY t (a, b) FROM stdin WITH (FORMAT csv);\nit's,2\n\\.\n";
    assert_eq!(split_statements(sql, 1), Err(SplitError::CopyFromStdin { line: 2 }));
    assert_eq!(texts("COPY t TO STDOUT; COPY t FROM '/a'; SELECT 1 FROM stdin").len(), 3);
}

#[test]
fn transaction_commands_are_recognised() {
    let control = |sql: &str| split_statements(sql, 1).unwrap()[0].transaction_control();
    for (sql, words) in [
        ("begin", "BEGIN"),
        ("/* x */ START /* y */ transaction", "START TRANSACTION"),
        ("COMMIT PREPARED 'x'", "COMMIT PREPARED"),
        ("rollback to savepoint a", "ROLLBACK"),
        ("END", "END"),
        ("ABORT", "ABORT"),
        ("SAVEPOINT a", "SAVEPOINT"),
        ("RELEASE a", "RELEASE"),
        ("PREPARE TRANSACTION 'x'", "PREPARE TRANSACTION"),
    ] {
        assert_eq!(control(sql).as_deref(), Some(words), "{sql}");
    }
    for sql in ["PREPARE q AS SELECT 1", "SET CONSTRAINTS ALL DEFERRED", "SELECT 1", "\"commit\"", "(SELECT 1)"] {
        assert_eq!(control(sql), None, "{sql}");
    }
}

#[test]
fn a_position_counts_characters_and_gives_the_line_of_the_file() {
    let statement = Statement { text: "SELECT 'é'\n, x\n".to_owned(), line: 40 };
    assert_eq!(statement.line_of_offset(1), 40);
    assert_eq!(statement.line_of_offset(11), 40);
    assert_eq!(statement.line_of_offset(12), 41);
    assert_eq!(statement.line_of_offset(1000), 42);
    assert_eq!(statement.line_of_offset(0), 40);
}

/// Pieces of SQL that must stay whole, each of which may hold semicolons.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_]{1,8}",
        "'([a-z;\"$ -]|''){0,8}'",
        "E'([a-z;\"$]|\\\\'|''|\\\\\\\\){0,8}'",
        "\"([a-z;' $-]|\"\"){1,8}\"",
        "\\$\\$[a-z;'\"\\\\\n -]{0,12}\\$\\$",
        "\\$q1\\$([a-z;'\"\\\\\n]|\\$\\$){0,8}\\$q1\\$",
        "/\\*[a-z;'\"\n]{0,6}(/\\*[;']{0,3}\\*/)?[;$]{0,3}\\*/",
        "--[a-z;'\"$ ]{0,8}\n",
        "\\([a-z, ;]{0,8}\\)",
        Just("CASE WHEN 1 THEN 2 END".to_owned()),
        "[0-9]{1,4}",
        "[-+*<>=,]",
    ]
}

fn statement() -> impl Strategy<Value = String> {
    // The first and the last word make the edges of the statement visible.
    prop::collection::vec(piece(), 0..6).prop_map(|pieces| format!("SELECT {} x", pieces.join(" ")))
}

proptest! {
    #[test]
    fn statements_survive_being_joined(statements in prop::collection::vec(statement(), 0..6)) {
        prop_assert_eq!(texts(&statements.join(";")), statements.clone());
        prop_assert_eq!(texts(&statements.join(" ;\n-- between ' $$\n")), statements);
    }

    #[test]
    fn splitting_what_was_split_changes_nothing(sql in "([a-zE'\"$;()\\-/*\n ]|BEGIN ATOMIC |CREATE FUNCTION |CASE |END ){0,60}") {
        if let Ok(first) = split_statements(&sql, 1) {
            let joined: Vec<String> = first.iter().map(|statement| statement.text.clone()).collect();
            prop_assert_eq!(texts(&joined.join(";")), joined);
        }
    }

    #[test]
    fn every_statement_is_found_on_its_line(statements in prop::collection::vec(statement(), 1..5)) {
        let sql = statements.join(";\n\n");
        for found in split_statements(&sql, 1).unwrap() {
            let from_line = sql.split('\n').skip(found.line as usize - 1).collect::<Vec<_>>().join("\n");
            prop_assert!(from_line.contains(&found.text));
            prop_assert!(from_line.split('\n').next().unwrap().contains(found.text.split('\n').next().unwrap()));
        }
    }
}

#[test]
fn what_leaves_its_parentheses_is_not_one_expression() {
    for good in
        ["id < 5", "(a OR b) AND c[1] = ')'", "name = 'it''s; ('", "a -- (\n OR b", "a /* ( */ OR b", "x = $$)$$"]
    {
        assert!(is_one_expression(good), "{good}");
    }
    for bad in ["id < 5) or (true", "a; b", "(a", "a]", "(a]", "a = 'x", "a /* b", "a = $$x"] {
        assert!(!is_one_expression(bad), "{bad}");
    }
}
