//! Statements that read or write a whole table while others wait, told by their words.

use squawk_syntax::SyntaxNode;
use squawk_syntax::ast::AstNode;

use super::super::level::Level;
use super::super::parsed::{folded, tokens};
use super::{Check, Hit, Place, Rule, Subject};

const fn rule(
    code: &'static str,
    (title, remedy): (&'static str, &'static str),
    (bad, good): (&'static str, &'static str),
    subject: Subject,
    check: fn(&Place<'_>) -> Vec<Hit>,
) -> Rule {
    Rule { code, title, remedy, bad, good, level: Level::Warn, subject, check: Check::Statement(check) }
}

pub(super) const RULES: &[Rule] = &[
    rule(
        "cluster",
        (
            "CLUSTER writes the table anew while nobody reads or writes it",
            "pg_repack, or a new table that is filled in parts",
        ),
        ("CLUSTER dish USING dish_pkey;", "ALTER TABLE dish CLUSTER ON dish_pkey;"),
        Subject::Rows,
        cluster,
    ),
    rule(
        "vacuum-full",
        ("VACUUM FULL writes the table anew while nobody reads or writes it", "VACUUM, or pg_repack"),
        (
            "-- migrate:up transaction:false\nVACUUM FULL dish;\n-- migrate:down\n",
            "-- migrate:up transaction:false\nVACUUM dish;\n-- migrate:down\n",
        ),
        Subject::Rows,
        vacuum_full,
    ),
    rule(
        "exclude-constraint",
        (
            "an EXCLUDE constraint builds its index under ACCESS EXCLUSIVE, and there is no way beside",
            "choose a quiet time, or make a new table with it and move the rows in parts",
        ),
        (
            "ALTER TABLE booking ADD CONSTRAINT once EXCLUDE USING gist (room WITH =, during WITH &&);",
            "CREATE TABLE booking (room int, during tsrange, EXCLUDE USING gist (room WITH =, during WITH &&));",
        ),
        Subject::Rows,
        exclude_constraint,
    ),
    rule(
        "add-column-numbered",
        (
            "a column that numbers its rows writes the table anew under ACCESS EXCLUSIVE",
            "add it as a bigint, fill it in batches, and give it the sequence afterwards",
        ),
        ("ALTER TABLE dish ADD COLUMN number bigserial;", "ALTER TABLE dish ADD COLUMN number bigint;"),
        Subject::Rows,
        add_column_numbered,
    ),
    rule(
        "add-column-check",
        (
            "a check in ADD COLUMN reads the whole table under ACCESS EXCLUSIVE when the column has a default",
            "add the column, then the check NOT VALID, and VALIDATE it in a later migration",
        ),
        (
            "ALTER TABLE dish ADD COLUMN stars int DEFAULT 0 CHECK (stars >= 0);",
            "ALTER TABLE dish ADD COLUMN stars int DEFAULT 0;",
        ),
        Subject::Rows,
        add_column_check,
    ),
    rule(
        "add-constraint-not-null",
        (
            "ADD CONSTRAINT … NOT NULL reads the whole table under ACCESS EXCLUSIVE",
            "add it NOT VALID, and VALIDATE CONSTRAINT in a later migration (PostgreSQL 18)",
        ),
        (
            "ALTER TABLE dish ADD CONSTRAINT dish_name NOT NULL name;",
            "ALTER TABLE dish ADD CONSTRAINT dish_name NOT NULL name NOT VALID;",
        ),
        Subject::Rows,
        add_constraint_not_null,
    ),
    rule(
        "primary-key-of-nullable",
        (
            "a primary key on columns that may be null reads the whole table under ACCESS EXCLUSIVE to make them NOT NULL",
            "make them NOT NULL first: ADD CONSTRAINT … CHECK (column IS NOT NULL) NOT VALID; VALIDATE it in a later migration; \
             SET NOT NULL; then the key",
        ),
        (
            "ALTER TABLE dish ADD COLUMN code bigint;\nCREATE UNIQUE INDEX dish_code ON dish (code);\n\
             ALTER TABLE dish ADD CONSTRAINT dish_pkey PRIMARY KEY USING INDEX dish_code;",
            "ALTER TABLE dish ADD COLUMN code bigint;\nCREATE UNIQUE INDEX dish_code ON dish (code);\n\
             ALTER TABLE dish ALTER COLUMN code SET NOT NULL;\n\
             ALTER TABLE dish ADD CONSTRAINT dish_pkey PRIMARY KEY USING INDEX dish_code;",
        ),
        Subject::Rows,
        primary_key_of_nullable,
    ),
    rule(
        "set-table-storage",
        (
            "the table is written anew under ACCESS EXCLUSIVE",
            "choose a quiet time, or make a new table and move the rows in parts",
        ),
        ("ALTER TABLE dish SET UNLOGGED;", "ALTER TABLE dish SET (fillfactor = 90);"),
        Subject::Rows,
        set_table_storage,
    ),
    rule(
        "set-expression",
        (
            "another expression of a stored column writes the table anew under ACCESS EXCLUSIVE",
            "add a new column, fill it in batches, and move the application over",
        ),
        (
            "ALTER TABLE dish ALTER COLUMN total SET EXPRESSION AS (price * 2);",
            "ALTER TABLE dish ALTER COLUMN total SET DEFAULT 2;",
        ),
        Subject::Rows,
        set_expression,
    ),
    rule(
        "refresh-not-concurrent",
        (
            "nobody reads a materialized view while it is refreshed",
            "REFRESH MATERIALIZED VIEW CONCURRENTLY, which wants a unique index",
        ),
        ("REFRESH MATERIALIZED VIEW sold;", "REFRESH MATERIALIZED VIEW CONCURRENTLY sold;"),
        Subject::Rows,
        refresh_not_concurrent,
    ),
    rule(
        "domain-set-not-null",
        (
            "the rows of every table with a column of the domain are read while writes to them wait",
            "add a check NOT VALID to the domain, and VALIDATE it in a later migration",
        ),
        ("ALTER DOMAIN price SET NOT NULL;", "ALTER DOMAIN price SET DEFAULT 0;"),
        Subject::Text,
        domain_set_not_null,
    ),
    rule(
        "lock-table",
        (
            "a lock that is taken by hand is kept until the transaction ends",
            "leave it out: each statement takes what it needs; to keep writers out of a run: apply --fence",
        ),
        ("LOCK TABLE dish IN ACCESS EXCLUSIVE MODE;", "ALTER TABLE dish ADD COLUMN note text;"),
        Subject::Text,
        lock_table,
    ),
];

pub(super) fn words_of(node: &SyntaxNode) -> Vec<String> {
    tokens(node).map(|token| token.text().to_ascii_uppercase()).collect()
}

fn words(place: &Place<'_>) -> Vec<String> {
    words_of(&place.parsed().root)
}

fn begins(words: &[String], expected: &[&str]) -> bool {
    words.len() >= expected.len() && words.iter().zip(expected).all(|(word, expected)| word == expected)
}

fn has(words: &[String], expected: &[&str]) -> bool {
    words.windows(expected.len()).any(|window| begins(window, expected))
}

/// One hit on the whole statement, where the table is none of the run's own.
fn on(place: &Place<'_>, table: Option<String>, what: &str) -> Vec<Hit> {
    let table = table.unwrap_or_default();
    if !table.is_empty() && !place.is_old(&table) {
        return Vec::new();
    }
    vec![place.hit(&place.parsed().root, &table, what.to_owned())]
}

/// The first name behind these words, without its schema.
fn name_behind(place: &Place<'_>, skipped: &[&str]) -> Option<String> {
    let all: Vec<_> = tokens(&place.parsed().root).collect();
    let is_skipped = |text: &str| skipped.iter().any(|word| text.eq_ignore_ascii_case(word));
    let mut at = all.iter().position(|token| !is_skipped(token.text()))?;
    while all.get(at + 1).is_some_and(|next| next.text() == ".") {
        at += 2;
    }
    let name = all.get(at)?.text();
    (name != ";" && name != "(").then(|| folded(name))
}

fn cluster(place: &Place<'_>) -> Vec<Hit> {
    match begins(&words(place), &["CLUSTER"]) {
        true => on(place, name_behind(place, &["CLUSTER", "VERBOSE"]), "writes the table anew under ACCESS EXCLUSIVE"),
        false => Vec::new(),
    }
}

fn vacuum_full(place: &Place<'_>) -> Vec<Hit> {
    let words = words(place);
    match begins(&words, &["VACUUM"]) && words.iter().any(|word| word == "FULL") {
        true => on(place, None, "writes the table anew under ACCESS EXCLUSIVE"),
        false => Vec::new(),
    }
}

/// The actions of `ALTER TABLE` on a table that was there before, of which the words say so.
fn by_action(place: &Place<'_>, what: &str, wanted: impl Fn(&[String]) -> bool) -> Vec<Hit> {
    let Some((alter, table)) = place.parsed().altered_table().filter(|(_, table)| place.is_old(table)) else {
        return Vec::new();
    };
    let actions = alter.actions().filter(|action| wanted(&words_of(action.syntax())));
    actions.map(|action| place.hit(action.syntax(), &table, format!("{what} of {table}"))).collect()
}

fn exclude_constraint(place: &Place<'_>) -> Vec<Hit> {
    by_action(place, "builds an index under ACCESS EXCLUSIVE over all rows", |words| {
        begins(words, &["ADD"]) && words.iter().take(4).any(|word| word == "EXCLUDE")
    })
}

fn adds_column(words: &[String]) -> bool {
    const OTHERS: &[&str] = &["CONSTRAINT", "CHECK", "UNIQUE", "PRIMARY", "FOREIGN", "EXCLUDE"];
    begins(words, &["ADD"]) && words.get(1).is_some_and(|next| !OTHERS.contains(&next.as_str()))
}

fn add_column_numbered(place: &Place<'_>) -> Vec<Hit> {
    const SERIAL: &[&str] = &["SERIAL", "BIGSERIAL", "SMALLSERIAL", "SERIAL2", "SERIAL4", "SERIAL8"];
    by_action(place, "writes anew, under ACCESS EXCLUSIVE, all rows", |words| {
        adds_column(words)
            && (words.iter().any(|word| SERIAL.contains(&word.as_str())) || has(words, &["AS", "IDENTITY"]))
    })
}

fn add_column_check(place: &Place<'_>) -> Vec<Hit> {
    by_action(place, "reads under ACCESS EXCLUSIVE all rows", |words| {
        adds_column(words) && has(words, &["CHECK", "("]) && words.iter().any(|word| word == "DEFAULT")
    })
}

fn add_constraint_not_null(place: &Place<'_>) -> Vec<Hit> {
    by_action(place, "reads under ACCESS EXCLUSIVE all rows", |words| {
        begins(words, &["ADD", "CONSTRAINT"])
            && words.get(3..5).is_some_and(|next| begins(next, &["NOT", "NULL"]))
            && !has(words, &["NOT", "VALID"])
    })
}

fn primary_key_of_nullable(place: &Place<'_>) -> Vec<Hit> {
    let Some((alter, table)) = place.parsed().altered_table().filter(|(_, table)| place.is_old(table)) else {
        return Vec::new();
    };
    let mut hits = Vec::new();
    for action in alter.actions() {
        let words = words_of(action.syntax());
        if !has(&words, &["PRIMARY", "KEY", "USING", "INDEX"]) {
            continue;
        }
        let named = tokens(action.syntax()).skip_while(|token| !token.text().eq_ignore_ascii_case("INDEX")).nth(1);
        let index = named.map(|token| folded(token.text())).unwrap_or_default();
        let nullable = place.history.nullable_columns_of_index(&index);
        if !nullable.is_empty() {
            let names = nullable.join(", ");
            let message = format!("reads all rows of {table} under ACCESS EXCLUSIVE, because {names} may be null");
            hits.push(place.hit(action.syntax(), &table, message));
        }
    }
    hits
}

fn set_table_storage(place: &Place<'_>) -> Vec<Hit> {
    const REWRITING: &[&[&str]] =
        &[&["SET", "LOGGED"], &["SET", "UNLOGGED"], &["SET", "TABLESPACE"], &["SET", "ACCESS", "METHOD"]];
    by_action(place, "writes anew, under ACCESS EXCLUSIVE, all rows", |words| {
        REWRITING.iter().any(|expected| begins(words, expected))
    })
}

fn set_expression(place: &Place<'_>) -> Vec<Hit> {
    by_action(place, "writes anew, under ACCESS EXCLUSIVE, all rows", |words| {
        begins(words, &["ALTER"]) && has(words, &["SET", "EXPRESSION"])
    })
}

fn refresh_not_concurrent(place: &Place<'_>) -> Vec<Hit> {
    let words = words(place);
    let refreshes = begins(&words, &["REFRESH", "MATERIALIZED", "VIEW"]);
    if !refreshes || words.iter().any(|word| word == "CONCURRENTLY") || has(&words, &["NO", "DATA"]) {
        return Vec::new();
    }
    on(place, name_behind(place, &["REFRESH", "MATERIALIZED", "VIEW"]), "its readers wait until it is filled")
}

fn domain_set_not_null(place: &Place<'_>) -> Vec<Hit> {
    let words = words(place);
    match begins(&words, &["ALTER", "DOMAIN"]) && has(&words, &["SET", "NOT", "NULL"]) {
        true => on(place, None, "reads the rows of every table with a column of the domain"),
        false => Vec::new(),
    }
}

fn lock_table(place: &Place<'_>) -> Vec<Hit> {
    match begins(&words(place), &["LOCK"]) {
        true => {
            let table = name_behind(place, &["LOCK", "TABLE", "ONLY"]);
            on(place, table, "keeps a lock until the transaction ends")
        }
        false => Vec::new(),
    }
}
