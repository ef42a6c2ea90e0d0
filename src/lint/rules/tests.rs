use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::lint::lint_files;
use crate::migration::MigrationSet;

/// The codes that an example gives: a whole file, or the statements of an up section.
fn codes(example: &str) -> BTreeSet<&'static str> {
    let text = match example.contains("-- migrate:up") {
        true => example.to_owned(),
        false => format!("-- migrate:up\n{example}\n-- migrate:down\nSELECT 1;\n"),
    };
    let id = "shop/0001_example".parse().unwrap();
    let migration = Migration::parse(id, "0001_example.sql".into(), text.as_bytes()).unwrap();
    let set = MigrationSet::new(vec![migration]).unwrap();
    lint_files(&set, |_| true).into_iter().map(|finding| finding.code).collect()
}

#[test]
fn each_rule_finds_its_bad_example_and_not_its_good_one() {
    for rule in rules().filter(|rule| !matches!(rule.check, Check::Rehearsal)) {
        let (bad, good) = (codes(rule.bad), codes(rule.good));
        assert!(bad.contains(rule.code), "{}: {bad:?} in {}", rule.code, rule.bad);
        assert!(!good.contains(rule.code), "{}: {good:?} in {}", rule.code, rule.good);
    }
}

#[test]
fn what_only_looks_like_it_is_not_found() {
    for (statement, code) in [
        ("ALTER TABLE dish ADD COLUMN twice int GENERATED ALWAYS AS (price * 2) VIRTUAL;", "adding-field-with-default"),
        ("ALTER DOMAIN price ADD CONSTRAINT p CHECK (value > 0) NOT VALID;", "ban-alter-domain-with-add-constraint"),
        ("ALTER TABLE dish ADD COLUMN n text;\nSELECT setval('dish_id_seq', 7);", "statements-after-access-exclusive"),
        (
            "ALTER TABLE dish ADD COLUMN n text;\nCREATE MATERIALIZED VIEW v AS SELECT 1 WITH NO DATA;",
            "statements-after-access-exclusive",
        ),
        (
            "CREATE INDEX i ON line (dish) WHERE dish IS NOT NULL;\n\
             ALTER TABLE line ADD CONSTRAINT f FOREIGN KEY (dish) REFERENCES dish (id) NOT VALID;",
            "foreign-key-without-index",
        ),
    ] {
        assert!(!codes(statement).contains(code), "{code}: {statement}");
    }
}

#[test]
fn what_is_slow_behind_access_exclusive_is_found() {
    for slow in [
        "ALTER TABLE menu ALTER COLUMN id TYPE bigint;",
        "SELECT count(*) FROM line;",
        "CREATE TABLE kept AS SELECT * FROM line;",
        "CREATE MATERIALIZED VIEW v AS SELECT * FROM line;",
    ] {
        let found = codes(&format!("ALTER TABLE dish ADD COLUMN n text;\n{slow}"));
        assert!(found.contains("statements-after-access-exclusive"), "{slow}: {found:?}");
    }
    let partial = "CREATE INDEX i ON line (dish) WHERE price > 5;\n\
                   ALTER TABLE line ADD CONSTRAINT f FOREIGN KEY (dish) REFERENCES dish (id) NOT VALID;";
    assert!(codes(partial).contains("foreign-key-without-index"), "{partial}");
}

#[test]
fn no_code_is_there_twice_and_each_rule_says_what_to_do() {
    let mut seen = BTreeSet::new();
    for rule in rules() {
        assert!(seen.insert(rule.code), "{}", rule.code);
        assert!(!rule.title.is_empty() && !rule.remedy.is_empty(), "{}", rule.code);
        if let Check::Squawk(squawk) = rule.check {
            assert_eq!(squawk.to_string(), rule.code);
        }
    }
}

#[test]
fn one_statement_is_not_said_twice_by_two_rules_that_mean_the_same() {
    for (statement, code) in [
        ("DROP TABLE dish;", "drop-table"),
        ("DROP SCHEMA kitchen;", "drop-schema"),
        ("ALTER TABLE dish DROP COLUMN fax;", "drop-column"),
        ("TRUNCATE dish CASCADE;", "truncate"),
        ("CREATE INDEX i ON dish (id);", "index-not-concurrent"),
        ("CREATE INDEX CONCURRENTLY i ON dish (id);", "concurrently-in-transaction"),
        ("ALTER TABLE dish ALTER name SET NOT NULL;", "set-not-null"),
        ("ALTER TABLE dish ADD CONSTRAINT c CHECK (id > 0);", "check-without-not-valid"),
        ("ALTER TABLE dish ADD CONSTRAINT k UNIQUE (id);", "disallowed-unique-constraint"),
        ("ALTER TABLE dish RENAME TO meal;", "rename-table"),
        ("ALTER TABLE dish RENAME name TO title;", "rename-column"),
        ("ALTER TABLE dish ADD CONSTRAINT p PRIMARY KEY (id);", "adding-serial-primary-key-field"),
    ] {
        let found = codes(statement);
        let said: Vec<_> = found.iter().filter(|code| rule(code).is_some_and(|rule| rule.level > Level::Off)).collect();
        assert_eq!(said, [&code], "{statement}");
    }
}

proptest! {
    #[test]
    fn any_soup_of_words_is_read_to_its_end(words in prop::collection::vec(
        prop::sample::select(vec![
            "CREATE", "INDEX", "CONCURRENTLY", "ON", "ALTER", "TABLE", "ADD", "COLUMN", "CONSTRAINT", "CHECK", "(", ")",
            "FOREIGN", "KEY", "REFERENCES", "NOT", "VALID", "VALIDATE", "NULL", "SET", "TYPE", "VALUE", "'x'", "\"b\"",
            "a", ",", "UNIQUE", "PRIMARY", "RENAME", "TO", "UPDATE", "FUNCTION", "AS", "$$d$$", "IF", "EXISTS", "é", ".",
        ]), 0..25,
    )) {
        // Wrong SQL is PostgreSQL's to report; whatever is found lies in the file.
        let text = format!("-- migrate:up\n{}\n", words.join(" "));
        let id = "shop/0001_soup".parse().unwrap();
        if let Ok(migration) = Migration::parse(id, "0001_soup.sql".into(), text.as_bytes()) {
            let set = MigrationSet::new(vec![migration]).unwrap();
            prop_assert!(lint_files(&set, |_| true).iter().all(|finding| finding.line <= 2));
        }
    }
}
