//! `lint`: findings without a database, as text, JSON and exit status.

use std::process::Command;

use insta::assert_snapshot;
use serde_json::Value;

use crate::support::Project;

const INDEX: &str = "-- migrate:up
CREATE INDEX dish_name ON dish (name);

ALTER TABLE dish
    DROP COLUMN fax;
-- migrate:down
DROP INDEX dish_name;
";
const ALLOWED: &str = "-- allow: drop-column the numbers were exported
-- migrate:up
ALTER TABLE dish DROP COLUMN phone;
";

fn project() -> Project {
    let project = Project::empty();
    project.write_migration("menu", "0001_index", INDEX);
    project.write_migration("orders", "0001_phone", ALLOWED);
    project
}

/// A call of what is no name is no SQL; a rule that relies on the grammar does not see it.
#[test]
fn what_is_no_sql_ends_no_lint() {
    let project = Project::empty();
    project.write_migration(
        "menu",
        "0001_view",
        "-- migrate:up\nCREATE VIEW v AS SELECT (1)(2);\nCREATE INDEX i ON dish (name);\n-- migrate:down\nDROP VIEW v;\n",
    );
    let output = project.run(&["lint"]);
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert!(output.stdout.contains("0001_view.sql:3: warn: writes to dish wait"), "{}", output.stdout);
}

#[test]
fn findings_have_place_level_code_and_remedy() {
    assert_snapshot!(project().snapshot(&["lint"]), @r#"
    $ safe-migrate lint
    exit 3
    --- stdout
    migrations/menu/0001_index.sql:2: warn: writes to dish wait until the index is built [index-not-concurrent]
        CREATE INDEX CONCURRENTLY, in a migration of its own with `-- migrate:up transaction:false`
    migrations/menu/0001_index.sql:5: deny: drops the column fax with its values [drop-column]
        keep a copy that the way back needs; if the data may go, say so with `-- allow: CODE why`
    migrations/orders/0001_phone.sql:1: warn: there is no down section: only a restore undoes it [missing-down]
        write the statements that undo it below `-- migrate:down`
    migrations/orders/0001_phone.sql:3: allowed: drops the column phone with its values [drop-column]
        allowed: the numbers were exported
    2 files: 1 deny, 2 warn, 0 note, 1 allowed
    --- stderr
    error: 1 finding at level deny
    hint: to accept one: write `-- allow: CODE why` above `-- migrate:up` of its file
    hint: to accept all of a kind: CODE = "warn" in [policy] of safe-migrate.toml, or raise the budget
    "#);
}

#[test]
fn an_app_and_the_policy_narrow_it() {
    let project = project();
    project.configure("[policy]\ndrop-column = \"warn\"\nindex-not-concurrent = \"off\"\n");
    assert_snapshot!(project.snapshot(&["lint", "menu"]), @"
    $ safe-migrate lint menu
    exit 0
    --- stdout
    migrations/menu/0001_index.sql:5: warn: drops the column fax with its values [drop-column]
        keep a copy that the way back needs; if the data may go, say so with `-- allow: CODE why`
    1 file: 0 deny, 1 warn, 0 note, 0 allowed
    ");
    assert_eq!(project.run(&["lint", "menu", "--deny-warnings"]).status, 3);
    assert_eq!(project.run(&["lint", "menu", "--all"]).stdout.matches("[index-not-concurrent]").count(), 1);
    assert_snapshot!(project.snapshot(&["lint", "desserts"]), @r#"
    $ safe-migrate lint desserts
    exit 2
    --- stderr
    error: there is no app "desserts"
    hint: the apps: menu, orders
    "#);
}

#[test]
fn json_is_one_document_with_the_findings_also_when_it_refuses() {
    let output = project().run(&["lint", "--json"]);
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(
        (output.status, &document["outcome"], &document["error"]["code"]),
        (3, &"refused".into(), &"lint".into())
    );
    let findings = document["findings"].as_array().unwrap();
    let found: Vec<_> =
        findings.iter().map(|one| (one["code"].as_str().unwrap(), one["line"].as_u64().unwrap())).collect();
    assert_eq!(found, [("index-not-concurrent", 2), ("drop-column", 5), ("missing-down", 1), ("drop-column", 3)]);
    assert_eq!(findings[3]["allowed"], "the numbers were exported");
    assert!(findings.iter().all(|finding| finding["evidence"] == "static"));
}

#[test]
fn a_rule_is_explained_and_all_are_listed() {
    let project = Project::empty();
    assert_snapshot!(project.snapshot(&["lint", "--explain", "set-not-null"]), @"
    $ safe-migrate lint --explain set-not-null
    exit 0
    --- stdout
    set-not-null (warn)
      SET NOT NULL reads the whole table under ACCESS EXCLUSIVE, unless a checked constraint says it already
      instead: ADD CONSTRAINT … CHECK (column IS NOT NULL) NOT VALID; VALIDATE it in a later migration; then SET NOT NULL

      bad:
        ALTER TABLE dish ALTER COLUMN name SET NOT NULL;

      good:
        ALTER TABLE dish ADD CONSTRAINT dish_name_there CHECK (name IS NOT NULL) NOT VALID;
        ALTER TABLE dish VALIDATE CONSTRAINT dish_name_there;
        ALTER TABLE dish ALTER COLUMN name SET NOT NULL;
    ");
    let list = project.run(&["lint", "--rules"]).stdout;
    for code in ["drop-table", "foreign-key-without-index", "prefer-text-field", "data-loss"] {
        assert!(list.lines().any(|line| line.starts_with(code)), "{list}");
    }
    assert_eq!(project.run(&["lint", "--explain", "no-such-rule"]).status, 2);
}

#[test]
fn since_a_commit_only_what_changed_is_looked_at() {
    let project = project();
    let git = |words: &[&str]| {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"];
        let status = Command::new("git").current_dir(project.directory()).args(identity).args(words).output().unwrap();
        assert!(status.status.success(), "{words:?}: {}", String::from_utf8_lossy(&status.stderr));
    };
    let outside = project.run(&["lint", "--since", "HEAD"]);
    assert_eq!(outside.status, 2, "{}", outside.stderr);
    assert!(outside.stderr.contains("git cannot say what changed"), "{}", outside.stderr);
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-qm", "all"]);
    assert!(project.run(&["lint", "--since", "HEAD"]).stdout.starts_with("0 files"));
    project.write_migration("orders", "0002_new", "-- migrate:up\nTRUNCATE dish;\n-- migrate:down\nSELECT 1;\n");
    project.write_migration("orders", "0001_phone", &format!("{ALLOWED}-- migrate:down\nSELECT 1;\n"));
    let output = project.run(&["lint", "--since", "HEAD"]);
    assert!(output.stdout.contains("[truncate]") && !output.stdout.contains("menu/"), "{}", output.stdout);
    assert!(output.stdout.contains("2 files: 1 deny"), "{}", output.stdout);
    assert_eq!(project.run(&["lint", "--since", "no-such-branch"]).status, 2);
}

#[test]
fn an_unknown_code_in_the_policy_is_an_error_with_its_line() {
    let project = project();
    project.configure("[policy]\ndrop-colum = \"warn\"\n");
    assert_snapshot!(project.snapshot(&["lint"]), @"
    $ safe-migrate lint
    exit 2
    --- stderr
    error: [PROJECT]/safe-migrate.toml:2: unknown key `drop-colum`
    hint: did you mean `drop-column`?
    ");
}
