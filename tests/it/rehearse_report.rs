//! The formats of a rehearsal's report: files and stdout, also of one that failed; escaped; values only with --samples.

use serde_json::Value;

use crate::rehearse_data::kitchen;
use crate::support::{Scene, Version};

const FORMATS: [&str; 7] =
    ["--html", "report.html", "--markdown", "report.md", "--sarif", "report.sarif", "--annotations"];

/// A table, a column and a value that no format may take for its own markup.
const TABLE: &str = "<script>alert(1)</script>";
const COLUMN: &str = "a\"|`é\n::error::x";
const VALUE: &str = "0788-secret";

fn read(scene: &Scene, file: &str) -> String {
    std::fs::read_to_string(scene.project.directory().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn stored(scene: &Scene, name: &str) -> String {
    let objects = scene.store.objects().into_iter();
    let mut found = objects.filter(|(key, _)| key.starts_with("rehearsals/") && key.ends_with(name));
    String::from_utf8(found.next().unwrap_or_else(|| panic!("no {name} in the store")).1).unwrap()
}

/// A table with such names, from which a migration takes a column with values and changes another one.
fn hostile() -> Scene {
    let (table, column) = (format!("\"{TABLE}\""), format!("\"{}\"", COLUMN.replace('"', "\"\"")));
    let production = format!(
        "CREATE TABLE {table} (id int PRIMARY KEY, {column} text, b text);
         INSERT INTO {table} VALUES (1, '{VALUE}', '{VALUE}'), (2, '{VALUE}', '{VALUE}')"
    );
    let migration = format!(
        "-- migrate:up\nALTER TABLE {table} DROP COLUMN {column};\nUPDATE {table} SET b = 'other' WHERE id = 1;\n"
    );
    kitchen(Version::V15, &production, &[&migration])
}

#[test]
fn report_formats_are_escaped_and_hold_no_value_of_a_row() {
    let scene = hostile();
    let output = scene.rehearse(&[&["rehearse"], &FORMATS[..]].concat());
    let (page, text, sarif) = (read(&scene, "report.html"), read(&scene, "report.md"), read(&scene, "report.sarif"));
    for (name, text) in [("html", &page), ("markdown", &text), ("sarif", &sarif), ("stdout", &output.stdout)] {
        assert!(text.contains("alert(1)"), "{name} names the table:\n{text}");
        assert!(!text.contains(VALUE), "{name} holds a value:\n{text}");
    }
    assert!(!page.contains("<script"), "{page}");
    assert!(page.contains("public.&lt;script&gt;alert(1)&lt;&#x2f;script&gt;"), "{page}");
    assert!(text.contains("`public.<script>alert(1)</script>`"), "{text}");
    assert!(!text.contains("\n::error::") && !output.stdout.contains("\n::error::"), "{}", output.stdout);
    let commands: Vec<_> = output.stdout.lines().filter(|line| line.starts_with("::")).collect();
    assert!(commands.iter().any(|line| line.contains("%0A::error::x")), "{commands:?}");
    assert_eq!(stored(&scene, "report.html"), page, "the store keeps the same page");

    let output = scene.rehearse(&[&["rehearse", "--samples"], &FORMATS[..]].concat());
    for file in ["report.html", "report.md"] {
        assert!(read(&scene, file).contains(VALUE), "--samples shows values in {file}");
    }
    assert!(output.stdout.contains(VALUE));
    let objects = scene.store.objects();
    let reports = objects.iter().filter(|(key, _)| key.starts_with("rehearsals/"));
    for (key, bytes) in reports {
        assert!(!String::from_utf8_lossy(bytes).contains(VALUE), "{key} holds a value");
    }
}

#[test]
fn report_formats_are_written_when_the_rehearsal_fails() {
    let production =
        format!("CREATE TABLE dish (id int, name text); INSERT INTO dish VALUES (1, '{VALUE}'), (1, '{VALUE}')");
    let migration = "-- migrate:up\nALTER TABLE dish ADD COLUMN size int;\nCREATE UNIQUE INDEX one ON dish (name);\n";
    let scene = kitchen(Version::V15, &production, &[migration]);
    let output = scene.run(3, &[&["rehearse"], &FORMATS[..]].concat());
    let (page, text, sarif) = (read(&scene, "report.html"), read(&scene, "report.md"), read(&scene, "report.sarif"));
    assert!(page.contains("<h1>Fail</h1>") && page.contains("at line 3 of"), "{page}");
    assert!(text.starts_with("## Rehearsal on `test`: Fail"), "{text}");
    let document: Value = serde_json::from_str(&sarif).unwrap();
    let results = document["runs"][0]["results"].as_array().unwrap();
    let result = results.iter().find(|result| result["ruleId"] == "rehearsal-failed").unwrap();
    assert_eq!(result["level"], "error");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["region"]["startLine"], 3);
    assert!(place["artifactLocation"]["uri"].as_str().unwrap().ends_with("kitchen/0001_step.sql"), "{place}");
    let command = output.stdout.lines().find(|line| line.starts_with("::error file=")).unwrap();
    assert!(command.contains("line=3,title=rehearsal-failed::") && command.contains("SQLSTATE 23505"), "{command}");
    // The server's DETAIL prints the key: the operator's terminal shows it, what is stored and passed on does not.
    assert!(output.stderr.contains(VALUE));
    for (name, text) in [("html", &page), ("markdown", &text), ("sarif", &sarif), ("annotation", &command.to_owned())] {
        assert!(text.contains("could not create unique index") && !text.contains(VALUE), "{name}: {text}");
    }
    assert!(!stored(&scene, "report.json").contains(VALUE) && !stored(&scene, "report.html").contains(VALUE));
}

#[test]
fn report_json_is_valid_by_the_published_schema_and_tells_times_and_sizes() {
    let production = "CREATE TABLE dish (id int PRIMARY KEY, name text); CREATE INDEX by_name ON dish (name);
        INSERT INTO dish SELECT n, 'dish ' || n FROM generate_series(1, 20000) n";
    let migration = "-- migrate:up\nALTER TABLE dish ALTER id TYPE bigint;\nALTER TABLE dish ADD COLUMN size int;\n\
        -- migrate:down\nALTER TABLE dish DROP COLUMN size;\nALTER TABLE dish ALTER id TYPE int;\n";
    let scene = kitchen(Version::V15, production, &[migration]);
    let output = scene.rehearse(&["rehearse", "--json", "--sarif", "report.sarif"]);
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    let schema: Value = serde_json::from_str(include_str!("../../src/report/rehearsal.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for report in [document["rehearsal"].clone(), serde_json::from_str(&stored(&scene, "report.json")).unwrap()] {
        let errors: Vec<_> = validator.iter_errors(&report).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}\n{report:#}");
    }
    let report = &document["rehearsal"];
    assert!(report["server_version"].as_str().unwrap().starts_with("15."));
    assert_eq!(report["tool_version"], env!("CARGO_PKG_VERSION"));
    let table = &report["tables"][0];
    assert_eq!(table["relation"], "public.dish");
    assert!(table["before"].as_u64().unwrap() > 500_000 && table["after"] != table["before"], "{table}");
    let step = &report["steps"][0];
    let number = |value: &Value| value.as_f64().unwrap();
    let [first, second] = [0, 1].map(|index| step["statements"][index].clone());
    let end_of_first = number(&first["starts_at_milliseconds"]) + number(&first["milliseconds"]);
    assert!(number(&second["starts_at_milliseconds"]) >= end_of_first - 1.0, "they run one after the other: {step:#}");
    let lock = &step["blocking_locks"][0];
    assert_eq!((lock["relation"].as_str(), lock["line"].as_u64()), (Some("public.dish"), Some(2)), "{lock}");
    let end_of_lock = number(&lock["starts_at_milliseconds"]) + number(&lock["held_milliseconds"]);
    let end = number(&step["elapsed_milliseconds"]);
    assert!((end_of_lock - end).abs() < 1.0, "held to the end of the transaction: {end_of_lock} of {end}");
}

#[test]
fn report_markdown_takes_the_place_of_the_text_on_stdout() {
    let scene = kitchen(Version::V15, "CREATE TABLE dish (id int)", &["-- migrate:up\nALTER TABLE dish ADD a int;\n"]);
    let output = scene.rehearse(&["rehearse", "--markdown", "-"]);
    assert!(output.stdout.starts_with("## Rehearsal on `test`: "), "{}", output.stdout);
    let refused = scene.run(2, &["rehearse", "--markdown", "-", "--json"]);
    assert!(refused.stdout.contains("two-documents"), "{}", refused.stdout);
    let lost = scene.run(1, &["rehearse", "--html", "no/such/directory/report.html"]);
    assert!(lost.stderr.contains("could not be written to no/such/directory/report.html"), "{}", lost.stderr);
}
