//! The report as SARIF 2.1.0, which code scanning shows.
//!
//! GitHub refuses a whole file when one result has no location, so what is about no file is a notification of the run.

use serde_json::{Value, json};

use super::rehearsal::{RehearsalReport, Verdict};
use super::{FindingLevel, FindingReport, format_time};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";
const FAILED: &str = "rehearsal-failed";

/// The document.
pub fn sarif(report: &RehearsalReport) -> Value {
    let (placed, unplaced): (Vec<_>, Vec<_>) = report.findings.iter().partition(|finding| finding.file.is_some());
    let rules = rules(report, &placed);
    let mut results: Vec<Value> = placed.iter().map(|finding| result(finding, &rules)).collect();
    let mut notifications: Vec<Value> =
        unplaced.iter().map(|finding| notification(level(finding.level), &finding.message)).collect();
    notifications.extend(report.losses.iter().map(|loss| notification("warning", &loss.to_line())));
    match (&report.failure, &report.failed_at) {
        (Some(failure), Some(at)) => {
            results.push(failed(failure, location(&at.file, at.line), &rules));
        }
        (Some(failure), None) => notifications.push(notification("error", failure)),
        (None, _) => {}
    }
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "safe-migrate",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(|(id, level)| rule(id, level)).collect::<Vec<_>>(),
            } },
            "automationDetails": { "id": "safe-migrate/rehearse/" },
            "invocations": [{
                "executionSuccessful": report.verdict != Verdict::Fail,
                "startTimeUtc": format_time(report.started_at),
                "endTimeUtc": format_time(report.finished_at),
                "toolExecutionNotifications": notifications,
            }],
            "results": results,
        }],
    })
}

/// Each code once, with the level of its first finding.
fn rules<'a>(report: &RehearsalReport, findings: &[&'a FindingReport]) -> Vec<(&'a str, &'static str)> {
    let mut rules: Vec<(&str, &str)> = Vec::new();
    for finding in findings {
        if !rules.iter().any(|(id, _)| *id == finding.code) {
            rules.push((&finding.code, level(finding.level)));
        }
    }
    if report.failed_at.is_some() {
        rules.push((FAILED, "error"));
    }
    rules
}

fn rule(id: &str, level: &str) -> Value {
    let words = if id == FAILED { "The rehearsal failed".to_owned() } else { id.replace('-', " ") };
    json!({ "id": id, "shortDescription": { "text": words }, "defaultConfiguration": { "level": level } })
}

fn level(level: FindingLevel) -> &'static str {
    match level {
        FindingLevel::Note => "note",
        FindingLevel::Warn => "warning",
        FindingLevel::Deny => "error",
    }
}

fn result(finding: &FindingReport, rules: &[(&str, &str)]) -> Value {
    let remedy = finding.remedy.as_ref().map(|remedy| format!("\n\n{remedy}")).unwrap_or_default();
    let mut result = json!({
        "ruleId": finding.code,
        "ruleIndex": rules.iter().position(|(id, _)| *id == finding.code),
        "level": level(finding.level),
        "message": { "text": format!("{}{remedy}", finding.message) },
        "locations": [location(finding.file.as_deref().unwrap_or_default(), finding.line)],
        "properties": { "evidence": finding.evidence.in_words() },
    });
    if let Some(why) = &finding.allowed {
        result["suppressions"] = json!([{ "kind": "inSource", "justification": why }]);
    }
    result
}

fn failed(failure: &str, location: Value, rules: &[(&str, &str)]) -> Value {
    json!({
        "ruleId": FAILED,
        "ruleIndex": rules.iter().position(|(id, _)| *id == FAILED),
        "level": "error",
        "message": { "text": failure },
        "locations": [location],
    })
}

fn notification(level: &str, text: &str) -> Value {
    json!({ "level": level, "message": { "text": text } })
}

fn location(file: &str, line: Option<u32>) -> Value {
    let relative = file.strip_prefix("./").unwrap_or(file);
    let artifact = match relative.starts_with('/') {
        true => json!({ "uri": format!("file://{}", uri(relative)) }),
        false => json!({ "uri": uri(relative), "uriBaseId": "%SRCROOT%" }),
    };
    let mut physical = json!({ "artifactLocation": artifact });
    if let Some(line) = line.filter(|line| *line > 0) {
        physical["region"] = json!({ "startLine": line });
    }
    json!({ "physicalLocation": physical })
}

/// A path as a URI: all but unreserved characters and `/` as `%XX` (RFC 3986).
fn uri(path: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    path.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample_report::{hostile, plain};

    /// The schema as Microsoft's package `@microsoft/jest-sarif` carries it.
    const OFFICIAL: &str = include_str!("../../tests/it/fixtures/sarif-2.1.0-rtm.5.json");

    #[track_caller]
    fn assert_valid(document: &Value) {
        let mut schema: Value = serde_json::from_str(OFFICIAL).unwrap();
        // `]` stands alone in this pattern, which a strict reader of patterns refuses.
        for part in ["run", "toolComponent"] {
            let language = &mut schema["definitions"][part]["properties"]["language"];
            language.as_object_mut().unwrap().remove("pattern").unwrap();
        }
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<_> = validator.iter_errors(document).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}\n{document:#}");
        let mut broken = document.clone();
        broken["runs"][0]["results"][0]["level"] = json!("catastrophe");
        assert!(!validator.is_valid(&broken), "the validator looks at nothing");
    }

    #[test]
    fn the_documents_are_valid() {
        assert_valid(&sarif(&plain()));
        assert_valid(&sarif(&hostile()));
    }

    #[test]
    fn findings_have_rule_level_and_place_and_accepted_ones_their_reason() {
        let document = sarif(&plain());
        let results = &document["runs"][0]["results"];
        assert_eq!(results.as_array().unwrap().len(), 2, "the one without a file is a notification");
        assert_eq!(results[0]["ruleId"], "drop-table");
        assert_eq!(results[0]["level"], "warning");
        let place = &results[0]["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "migrations/shop/0002_x.sql");
        assert_eq!(place["region"]["startLine"], 4);
        assert_eq!(results[1]["suppressions"], json!([{ "kind": "inSource", "justification": "it is small" }]));
        let invocation = &document["runs"][0]["invocations"][0];
        assert_eq!(invocation["executionSuccessful"], true);
        let said = invocation["toolExecutionNotifications"].to_string();
        assert!(said.contains("check a.sql returns 1 row") && said.contains("public.old is gone"), "{said}");
    }

    #[test]
    fn what_stopped_the_rehearsal_is_an_error_at_its_line() {
        let document = sarif(&hostile());
        let failed = document["runs"][0]["results"].as_array().unwrap().last().unwrap();
        assert_eq!((failed["ruleId"].as_str(), failed["level"].as_str()), (Some(FAILED), Some("error")));
        assert_eq!(failed["locations"][0]["physicalLocation"]["region"]["startLine"], 3);
        assert_eq!(document["runs"][0]["invocations"][0]["executionSuccessful"], false);
    }

    #[test]
    fn a_path_is_a_relative_uri() {
        let artifact = |file: &str| location(file, None)["physicalLocation"]["artifactLocation"]["uri"].clone();
        assert_eq!(artifact("./a b/é:<1>.sql"), "a%20b/%C3%A9%3A%3C1%3E.sql");
        assert_eq!(artifact("/srv/m.sql"), "file:///srv/m.sql");
    }
}
