//! Where lint alone is wrong and the rehearsal right: each measured code, on real rows.

use serde_json::Value;

use crate::support::{Scene, Version};

/// `dish` has 3000 rows and a checked `name IS NOT NULL`; `empty` has none.
const PRODUCTION: &str = "
    CREATE TABLE dish (id int PRIMARY KEY, name varchar(10), price int, fax text, label varchar(10));
    INSERT INTO dish SELECT i, 'x', 1, 'f', 'l' FROM generate_series(1, 3000) i;
    ALTER TABLE dish ADD CONSTRAINT dish_name_there CHECK (name IS NOT NULL);
    CREATE TABLE empty (id int, name text, fax text);";

fn scene(up: &str) -> Scene {
    let scene = Scene::empty(Version::V15);
    scene.database.sql(PRODUCTION);
    let text = format!("-- migrate:up\n{up}\n-- migrate:down\nSELECT 1;\n");
    scene.project.write_migration("shop", "0001_x", &text);
    scene
}

/// What `lint` says of it: the codes.
#[track_caller]
fn linted(scene: &Scene) -> Vec<String> {
    let output = scene.project.run(&["lint", "--json"]);
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    codes(&document["findings"])
}

/// The codes of a list, without that of the down section, which leads back nowhere here.
fn codes(findings: &Value) -> Vec<String> {
    let codes = findings.as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap().to_owned());
    codes.filter(|code| code != "irreversible").collect()
}

#[track_caller]
fn rehearsed(scene: &Scene) -> Value {
    let output = scene.project.run(&["rehearse", "--snapshot", "new", "--json"]);
    let document: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{}", output.stderr));
    document["rehearsal"]["findings"].clone()
}

fn is_harmless(up: &str, code: &str) {
    let scene = scene(up);
    assert_eq!(linted(&scene), [code], "{up}");
    let findings = rehearsed(&scene);
    assert_eq!(codes(&findings), Vec::<String>::new(), "{up}: {findings:#}");
}

/// The message and the line of the one finding, which lint does not have.
#[track_caller]
fn is_found(up: &str, code: &str) -> String {
    let scene = scene(up);
    assert_eq!(linted(&scene), Vec::<String>::new(), "{up}");
    let findings = rehearsed(&scene);
    assert_eq!(codes(&findings), [code], "{up}: {findings:#}");
    let found = findings.as_array().unwrap().iter().find(|finding| finding["code"] == code).unwrap();
    assert_eq!(found["evidence"], "measured");
    found["message"].as_str().unwrap().to_owned()
}

#[test]
fn an_index_on_an_empty_table_is_no_finding() {
    is_harmless("CREATE INDEX i ON empty (id);", "index-not-concurrent");
}

#[test]
fn not_null_that_a_check_of_production_proves_is_no_finding() {
    is_harmless("ALTER TABLE dish ALTER name SET NOT NULL;", "set-not-null");
}

#[test]
fn a_type_that_needs_no_rewrite_is_no_finding() {
    is_harmless("ALTER TABLE dish ALTER label TYPE varchar(20);", "changing-column-type");
}

#[test]
fn constraints_and_rewrites_of_an_empty_table_are_no_findings() {
    is_harmless("ALTER TABLE empty ADD CONSTRAINT c CHECK (id > 0);", "check-without-not-valid");
    is_harmless("ALTER TABLE empty ADD u uuid DEFAULT gen_random_uuid();", "adding-field-with-default");
}

#[test]
fn dropping_what_is_empty_is_no_finding() {
    is_harmless("ALTER TABLE empty DROP COLUMN fax;", "drop-column");
    is_harmless("DELETE FROM empty;", "delete-without-where");
}

#[test]
fn few_changed_rows_beside_ddl_are_no_finding() {
    let up = "ALTER TABLE dish ADD note text;\nUPDATE dish SET note = 'x' WHERE id < 10;";
    is_harmless(up, "mixed-ddl-and-data");
}

#[test]
fn a_hidden_rewrite_is_found() {
    let message = is_found("DO $$ BEGIN EXECUTE 'ALTER TABLE dish ALTER price TYPE bigint'; END $$;", "rewrite");
    assert!(
        message.starts_with("rewrote public.dish, ") && message.contains(" under ACCESS EXCLUSIVE for "),
        "{message}"
    );
}

#[test]
fn a_hidden_scan_under_a_lock_is_found() {
    let message = is_found("DO $$ BEGIN EXECUTE 'ALTER TABLE dish ADD CHECK (price > 0)'; END $$;", "full-scan");
    assert!(message.starts_with("read 3,000 rows of public.dish under ACCESS EXCLUSIVE for "), "{message}");
}

#[test]
fn hidden_data_loss_is_found() {
    let message = is_found("DO $$ BEGIN EXECUTE 'ALTER TABLE dish DROP COLUMN fax'; END $$;", "data-loss");
    assert!(message.contains("public.dish.fax") && message.contains("3,000"), "{message}");
}

#[test]
fn a_lock_that_is_held_long_is_found() {
    let message = is_found("ALTER TABLE dish ADD note text;\nSELECT pg_sleep(1.2);", "blocking-lock");
    assert!(message.contains("ACCESS EXCLUSIVE on public.dish"), "{message}");
}

#[test]
fn what_comes_true_carries_its_figure() {
    let scene = scene("CREATE INDEX i ON dish (price);\nALTER TABLE dish DROP COLUMN fax;");
    let findings = rehearsed(&scene);
    assert_eq!(codes(&findings), ["index-not-concurrent", "drop-column"], "{findings:#}");
    let message = findings[0]["message"].as_str().unwrap();
    assert!(message.contains(": read 3,000 rows of public.dish under "), "{message}");
    assert!(findings[1]["message"].as_str().unwrap().contains("3,000"), "{findings:#}");
    assert!(findings.as_array().unwrap().iter().all(|finding| finding["evidence"] == "measured"), "{findings:#}");
}

#[test]
fn a_budget_refuses_apply_with_production_untouched_and_says_how_to_pass() {
    let up = "ALTER TABLE dish ALTER price TYPE bigint;";
    let scene = scene(up);
    scene.project.configure_more("[policy]\nmax_rewrite = \"1kB\"\n");
    let before = scene.database.dump();
    let output = scene.run(3, &["apply", "--yes"]);
    for words in [
        "[rewrite, measured]",
        "max_rewrite in [policy] is 1.0 kB",
        "migrations/shop/0001_x.sql:2",
        "-- allow: CODE why",
    ] {
        assert!(output.stderr.contains(words), "{words}: {}", output.stderr);
    }
    assert_eq!(scene.database.dump(), before);
    scene.run(3, &["rehearse", "--snapshot", "new"]);

    let text = format!("-- allow: rewrite few rows\n-- migrate:up\n{up}\n-- migrate:down\nSELECT 1;\n");
    scene.project.write_migration("shop", "0001_x", &text);
    let output = scene.run(0, &["apply", "--yes"]);
    assert!(output.stderr.contains("allowed: ") && output.stderr.contains("few rows"), "{}", output.stderr);
}

#[test]
fn a_denied_code_refuses_apply_also_without_a_rehearsal() {
    let scene = scene("ALTER TABLE dish RENAME COLUMN price TO cost;");
    scene.project.configure_more("[policy]\nrename-column = \"deny\"\n");
    for more in [&[][..], &["--skip-rehearsal", "test"]] {
        let output = scene.run(3, &[&["apply", "--yes"], more].concat());
        assert!(output.stderr.contains("deny: migrations/shop/0001_x.sql:2: "), "{}", output.stderr);
        assert!(output.stderr.contains("[rename-column]"), "{}", output.stderr);
    }
    assert_eq!(scene.applied(), Vec::<String>::new());
}

#[test]
fn measured_loss_needs_the_hash_unless_the_policy_says_otherwise() {
    let scene = scene("ALTER TABLE dish DROP COLUMN fax;");
    let refused = scene.run(3, &["apply", "--yes"]);
    assert!(refused.stderr.contains("--accept-data-loss"), "{}", refused.stderr);
    scene.project.configure_more("[policy]\ndata_loss = \"warn\"\n");
    let output = scene.run(0, &["apply", "--yes"]);
    assert!(output.stderr.contains("data_loss in [policy] lets it"), "{}", output.stderr);
}
