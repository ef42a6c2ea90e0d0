//! P4: what was rehearsed is what is applied, from the schema it was rehearsed on, to the schema it led to.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use crate::support::{Scene, Version};

/// Reads standard error up to a line with this word.
fn read_until(run: &mut Child, word: &str) -> BufReader<std::process::ChildStderr> {
    let mut reader = BufReader::new(run.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains(word) {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "it ended before {word}");
    }
    reader
}

fn slow(scene: &Scene) -> Child {
    scene.database.sql("CREATE TABLE dish (id int)");
    let slow = "-- migrate:up\nALTER TABLE dish ADD COLUMN name text;\nSELECT pg_sleep(4);\n-- migrate:down\nALTER TABLE dish DROP COLUMN name;\n";
    scene.project.write_migration("kitchen", "0001_slow", slow);
    scene.project.command(&["apply", "--yes"]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

#[test]
fn promise_04_a_schema_that_changed_since_the_rehearsal_is_refused() {
    let scene = Scene::empty(Version::V15);
    let mut run = slow(&scene);
    let mut reader = read_until(&mut run, "shadow");
    scene.database.sql("ALTER TABLE dish ADD COLUMN meanwhile int");
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(3), "{rest}");
    assert!(rest.contains("meanwhile"), "the difference is shown: {rest}");
    assert_eq!(scene.applied(), Vec::<String>::new());
    let columns = "SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'dish'::regclass AND attnum > 0";
    assert_eq!(scene.database.query(columns), "id,meanwhile");
}

#[test]
fn promise_04_a_file_that_changed_since_the_rehearsal_is_not_what_is_applied() {
    let scene = Scene::empty(Version::V15);
    let mut run = slow(&scene);
    let mut reader = read_until(&mut run, "shadow");
    let other = "-- migrate:up\nDROP TABLE dish;\n-- migrate:down\n";
    scene.project.write_migration("kitchen", "0001_slow", other);
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(0), "{rest}");
    assert_eq!(scene.database.query("SELECT count(name) FROM dish"), "0", "the rehearsed text was applied");
    let refused = scene.run(3, &["apply", "--yes"]);
    assert!(refused.stderr.contains("kitchen/0001_slow"), "{}", refused.stderr);
}

#[test]
fn promise_04_a_schema_that_is_not_the_rehearsed_one_is_said_loudly() {
    let scene = Scene::empty(Version::V15);
    let port = scene.cluster().port();
    let text = format!(
        "-- migrate:up
DO $$ BEGIN
    IF current_setting('port') = '{port}' THEN CREATE TABLE only_here (a int); ELSE CREATE TABLE only_there (a int); END IF;
END $$;
-- migrate:down
DROP TABLE IF EXISTS only_here, only_there;
"
    );
    scene.project.write_migration("kitchen", "0001_two_faced", &text);
    let output = scene.run(4, &["apply", "--yes"]);
    assert!(output.stderr.contains("only_here") && output.stderr.contains("only_there"), "{}", output.stderr);
    assert!(output.stderr.contains("restore "), "the way back is named: {}", output.stderr);
    assert_eq!(scene.applied(), ["kitchen/0001_two_faced"], "the ledger says what production is");
}
