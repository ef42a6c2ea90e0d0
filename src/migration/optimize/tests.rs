use super::*;

fn list(texts: &[&str]) -> Vec<SquashedStatement> {
    let from: MigrationId = "menu/0001_x".parse().unwrap();
    texts.iter().map(|text| SquashedStatement { text: (*text).to_owned(), from: from.clone() }).collect()
}

/// Everything that can be done, and what was done.
fn shortened(texts: &[&str]) -> (Vec<String>, Vec<String>) {
    let (mut statements, mut done) = (list(texts), Vec::new());
    while let Some((what, shorter)) = shorten(&statements, &BTreeSet::new()) {
        done.push(what);
        statements = shorter;
    }
    (statements.into_iter().map(|one| one.text).collect(), done)
}

#[test]
fn what_is_made_and_dropped_again_goes() {
    let (left, done) = shortened(&[
        "CREATE TABLE fax (id int)",
        "CREATE TABLE dish (id int PRIMARY KEY)",
        "ALTER TABLE fax ADD COLUMN number text",
        "CREATE INDEX fax_id ON fax (id)",
        "COMMENT ON TABLE fax IS 'old'",
        "INSERT INTO fax VALUES (1)",
        "DROP TABLE fax",
    ]);
    assert_eq!(left, ["CREATE TABLE dish (id int PRIMARY KEY)"]);
    assert_eq!(done, ["table fax is made and dropped"]);
}

#[test]
fn what_others_name_stays() {
    for between in [
        "CREATE VIEW v AS SELECT * FROM fax",
        "ALTER TABLE dish ADD COLUMN fax int REFERENCES fax",
        "DO $$ BEGIN DELETE FROM fax; END $$",
        "SELECT 'fax'::regclass",
    ] {
        let all = ["CREATE TABLE fax (id int)", between, "DROP TABLE fax"];
        assert_eq!(shortened(&all).0, all, "{between}");
    }
    let cascade = ["CREATE TABLE fax (id int)", "DROP TABLE fax CASCADE"];
    assert_eq!(shortened(&cascade).0, cascade);
}

#[test]
fn a_column_becomes_part_of_its_table() {
    let (left, done) = shortened(&[
        "CREATE TABLE dish (\n    id int PRIMARY KEY\n)",
        "CREATE INDEX dish_id ON dish (id)",
        "ALTER TABLE dish ADD COLUMN name text NOT NULL DEFAULT 'a,b'",
        "alter table Dish add price numeric(8,2)",
        "ALTER TABLE dish ADD COLUMN \"Price\" numeric(8,2) CHECK (\"Price\" > 0)",
    ]);
    assert_eq!(
        left[0],
        "CREATE TABLE dish (\n    id int PRIMARY KEY,\n    name text NOT NULL DEFAULT 'a,b',\n    \"Price\" numeric(8,2) CHECK (\"Price\" > 0)\n)"
    );
    // `ADD` without `COLUMN` may be a constraint: it is left alone.
    assert_eq!(left.len(), 3);
    assert_eq!(done.len(), 2);
}

#[test]
fn a_column_is_not_folded_over_rows_or_over_what_it_needs() {
    for between in [
        "INSERT INTO dish VALUES (1)",
        "CREATE VIEW v AS SELECT * FROM dish",
        "CREATE TYPE hotness AS ENUM ('mild')",
        "UPDATE dish SET id = 2",
    ] {
        let all = ["CREATE TABLE dish (id int)", between, "ALTER TABLE dish ADD COLUMN hot hotness"];
        assert_eq!(shortened(&all).0, all, "{between}");
    }
    for create in ["CREATE TABLE dish PARTITION OF x FOR VALUES IN (1)", "CREATE TABLE dish AS SELECT (1) AS id"] {
        let all = [create, "ALTER TABLE dish ADD COLUMN a int"];
        assert_eq!(shortened(&all).0, all);
    }
}

#[test]
fn columns_and_constraints_that_come_and_go() {
    let (left, _) = shortened(&[
        "CREATE TABLE dish AS SELECT 1 AS price",
        "ALTER TABLE dish ADD COLUMN fax text",
        "ALTER TABLE dish ADD CONSTRAINT positive CHECK (price > 0) NOT VALID",
        "ALTER TABLE dish ADD CONSTRAINT short CHECK (length(name) < 9)",
        "ALTER TABLE dish VALIDATE CONSTRAINT positive",
        "ALTER TABLE dish DROP CONSTRAINT short",
        "ALTER TABLE dish DROP COLUMN fax",
    ]);
    assert_eq!(left[1..], ["ALTER TABLE dish ADD CONSTRAINT positive CHECK (price > 0)"]);
    // Rows that were there before may be put right in between.
    let old = [
        "ALTER TABLE dish ADD CONSTRAINT positive CHECK (price > 0) NOT VALID",
        "UPDATE dish SET price = 1 WHERE price <= 0",
        "ALTER TABLE dish VALIDATE CONSTRAINT positive",
    ];
    assert_eq!(shortened(&old).0, old);
    let used =
        ["ALTER TABLE dish ADD COLUMN fax text", "UPDATE dish SET name = fax", "ALTER TABLE dish DROP COLUMN fax"];
    assert_eq!(shortened(&used).0, used);
}

#[test]
fn an_index_on_a_new_table_needs_no_concurrently() {
    let made = list(&["CREATE TABLE public.dish (id int)", "CREATE INDEX i ON dish (id)"]);
    let statements = list(&[
        "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS a ON ONLY dish (id)",
        "CREATE INDEX CONCURRENTLY b ON other (id)",
        "DROP INDEX CONCURRENTLY IF EXISTS i",
        "DROP INDEX CONCURRENTLY j",
    ]);
    let texts: Vec<String> = without_concurrently(&statements, &made).into_iter().map(|one| one.text).collect();
    assert_eq!(
        texts,
        [
            "CREATE UNIQUE INDEX IF NOT EXISTS a ON ONLY dish (id)",
            "CREATE INDEX CONCURRENTLY b ON other (id)",
            "DROP INDEX IF EXISTS i",
            "DROP INDEX CONCURRENTLY j",
        ]
    );
}

#[test]
fn what_was_rejected_is_not_proposed_again() {
    let all = list(&["CREATE TABLE a (i int)", "DROP TABLE a", "CREATE TABLE b (i int)", "DROP TABLE b"]);
    let rejected = BTreeSet::from(["table a is made and dropped".to_owned()]);
    assert_eq!(shorten(&all, &rejected).unwrap().0, "table b is made and dropped");
}

#[test]
fn a_value_of_an_enumeration_is_listed_from_the_start() {
    let (left, _) = shortened(&[
        "CREATE TYPE hotness AS ENUM ('mild', 'hot')",
        "ALTER TYPE hotness ADD VALUE IF NOT EXISTS 'pili pili'",
        "ALTER TYPE hotness ADD VALUE 'none' BEFORE 'mild'",
    ]);
    assert_eq!(
        left,
        [
            "CREATE TYPE hotness AS ENUM ('mild', 'hot', 'pili pili')",
            "ALTER TYPE hotness ADD VALUE 'none' BEFORE 'mild'"
        ]
    );
}
