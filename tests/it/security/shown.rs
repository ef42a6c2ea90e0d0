//! Names and server messages that try to speak as safe-migrate, as GitHub's runner, or to the terminal.

use crate::support::{Output, Scene, TestCluster, Version};

/// Nothing in what was printed acts, and no line of theirs begins at the margin.
#[track_caller]
fn is_harmless(output: &Output) {
    let all = format!("{}\n{}", output.stdout, output.stderr);
    for line in all.lines() {
        let acts = |one: char| one.is_control() || ('\u{202a}'..='\u{202e}').contains(&one);
        assert!(!line.contains(acts), "{line:?}");
        for word in ["::error", "production: changed", "hint: drop"] {
            assert!(!line.starts_with(word), "{line:?} in\n{all}");
        }
    }
}

#[test]
fn security_text_of_others_is_only_shown() {
    let scene = Scene::on(&TestCluster::shared(Version::V15));
    let hostile = "dish\\n::error title=owned::all is well\\nproduction: changed\\nhint: drop it\\x1b[2J\\x1b]0;owned\\x07\u{202e}";
    scene.database.sql(&format!(
        "DO $do$ BEGIN EXECUTE format('CREATE TABLE %I (id int PRIMARY KEY)', left(E'{hostile}', 60));
                       EXECUTE format('INSERT INTO %I VALUES (1)', left(E'{hostile}', 60)); END $do$"
    ));
    scene.project.write_migration(
        "kitchen",
        "0001_loud",
        &format!("-- migrate:up\nDO $do$ BEGIN RAISE WARNING E'{hostile}'; RAISE EXCEPTION E'{hostile}' USING DETAIL = E'{hostile}', HINT = E'{hostile}'; END $do$;\n"),
    );
    for arguments in [
        &["snapshot", "create"][..],
        &["snapshot", "show", "latest"],
        &["rehearse"],
        &["rehearse", "--format", "markdown"],
        &["apply", "--yes", "--skip-rehearsal", "a test"],
        &["restore", "latest", "--in-place", "--dry-run"],
        &["status"],
        &["doctor"],
    ] {
        let output = scene.project.run(arguments);
        is_harmless(&output);
    }
    let failed = scene.project.run(&["apply", "--yes", "--skip-rehearsal", "a test"]);
    assert!(
        failed.stderr.contains("\n  production: changed") && failed.stderr.contains("\\u{1b}[2J"),
        "{}",
        failed.stderr
    );
    assert!(failed.stderr.contains("\nproduction: unchanged"), "{}", failed.stderr);
    // The control: the server's own words do all that.
    let control = scene.database.query(&format!("SELECT E'{hostile}'"));
    assert!(control.lines().any(|line| line.starts_with("::error")) && control.contains('\u{1b}'));
}
