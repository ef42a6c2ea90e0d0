//! The JSON schema of the report: derived from the types, kept beside them, and the same as `rehearsal.schema.json`.

use super::rehearsal::RehearsalReport;
use super::sample_report::{hostile, plain};

/// The published one.
const PUBLISHED: &str = include_str!("rehearsal.schema.json");

#[test]
fn the_published_schema_is_that_of_the_types() {
    let mut derived = schemars::schema_for!(RehearsalReport).to_value();
    derived["title"] = "safe-migrate: report of a rehearsal".into();
    let derived = format!("{derived:#}\n");
    if std::env::var_os("SAFE_MIGRATE_WRITE_SCHEMA").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/report/rehearsal.schema.json"), &derived).unwrap();
    }
    assert!(derived == PUBLISHED, "it changed; SAFE_MIGRATE_WRITE_SCHEMA=1 cargo test report::schema writes it anew");
}

#[test]
fn reports_are_valid_and_others_are_not() {
    let validator = jsonschema::validator_for(&serde_json::from_str(PUBLISHED).unwrap()).unwrap();
    for report in [plain(), hostile()] {
        let mut document = serde_json::to_value(&report).unwrap();
        let errors: Vec<_> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
        document["verdict"] = "perhaps".into();
        assert!(!validator.is_valid(&document));
    }
}
