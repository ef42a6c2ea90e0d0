//! What a command gives back, and how it reaches the reader: data on stdout, all else on stderr.

use std::io::{self, ErrorKind as IoErrorKind, Write};

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use serde_json::{Map, Value, json};

use super::error::CliError;
use crate::report::{redact, shown, shown_behind_a_label, shown_in_one_line};

/// The version of the JSON document.
const SCHEMA: u32 = 1;

/// The result of a command: the same facts for a reader and for a program.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    text: String,
    fields: Map<String, Value>,
}

impl Outcome {
    /// The same data with another text.
    pub(crate) fn with_text(self, text: String) -> Outcome {
        Outcome { text, ..self }
    }

    /// What is printed.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// `text` is printed as it is; the fields of `value` become fields of the JSON document.
    ///
    /// A `value` that is not an object becomes the field `result`.
    pub(crate) fn new(text: impl Into<String>, value: Value) -> Outcome {
        let fields = match value {
            Value::Object(fields) => fields,
            Value::Null => Map::new(),
            other => Map::from_iter([("result".to_string(), other)]),
        };
        Outcome { text: text.into(), fields }
    }
}

/// How results and errors are printed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Style {
    /// One JSON document on stdout instead of text.
    pub(crate) json: bool,
    /// Colour on stderr.
    pub(crate) color: bool,
}

/// Prints what a command came to, and returns the exit code.
pub(crate) fn print(command: Option<&str>, result: &Result<Outcome, CliError>, style: Style) -> u8 {
    let data = if style.json {
        format!("{:#}\n", document(command, result))
    } else {
        let outcome = match result {
            Ok(outcome) => Some(outcome),
            Err(error) => error.findings.as_deref(),
        };
        outcome.map(|outcome| with_line_end(&shown(&outcome.text))).unwrap_or_default()
    };
    let written = write_data(data.as_bytes());
    if let Err(error) = result {
        write_note(&render_error(error, style.color));
        return error.kind.exit_code();
    }
    match written {
        Ok(()) => 0,
        Err(error) => {
            write_note(&format!("error: the command was done, but its output could not be written: {error}\n"));
            1
        }
    }
}

/// The JSON document of a command: the same envelope for success and failure.
pub(crate) fn document(command: Option<&str>, result: &Result<Outcome, CliError>) -> Value {
    let (outcome, fields, error) = match result {
        Ok(outcome) => ("ok", outcome.fields.clone(), Value::Null),
        Err(error) => {
            let fields = error.findings.as_ref().map(|outcome| outcome.fields.clone()).unwrap_or_default();
            (error.kind.outcome(), fields, error_value(error))
        }
    };
    let mut document = fields;
    document.insert("schema".to_string(), json!(SCHEMA));
    document.insert("command".to_string(), json!(command));
    document.insert("outcome".to_string(), json!(outcome));
    document.insert("error".to_string(), error);
    Value::Object(document)
}

fn error_value(error: &CliError) -> Value {
    let redacted = |texts: &[String]| texts.iter().map(|text| redact(text)).collect::<Vec<_>>();
    let hints = redacted(&error.hints);
    json!({
        "code": error.code,
        "message": redact(&error.message),
        "causes": redacted(&error.causes()),
        "production": error.state.as_deref().map(redact),
        "hint": (!hints.is_empty()).then(|| hints.join("\n")),
    })
}

/// The error as the operator reads it, one `label: text` line each.
pub(crate) fn render_error(error: &CliError, color: bool) -> String {
    let mut text = String::new();
    let mut line = |label: &str, style: &str, message: &str| {
        let label = if color { format!("\x1b[{style}m{label}:\x1b[0m") } else { format!("{label}:") };
        text.push_str(&format!("{label} {}\n", shown_behind_a_label(&redact(message))));
    };
    line("error", "1;31", &error.message);
    error.causes().iter().for_each(|cause| line("caused by", "31", cause));
    error.state.iter().for_each(|state| line("production", "1", state));
    error.hints.iter().for_each(|hint| line("hint", "1;36", hint));
    text
}

/// Rows under a header without borders; as wide as the terminal at most, unwrapped through a pipe.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    // A cell is often a name, and a name may have a line break.
    table.add_rows(rows.into_iter().map(|row| row.map(|cell| shown_in_one_line(&cell))));
    for number in 0..N {
        if let Some(column) = table.column_mut(number) {
            column.set_padding((0, 2));
            // What comes first is copied: an id in two pieces is none.
            if number == 0 {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
    }
    with_line_end(&table.trim_fmt())
}

/// Writes data to stdout. A reader that went away (`| head`) is no error.
pub(crate) fn write_data(data: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(data).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == IoErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Writes to stderr. When that fails there is nobody left to tell.
pub(crate) fn write_note(text: &str) {
    let mut stderr = io::stderr().lock();
    let _unreachable_reader = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

fn with_line_end(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_string() } else { format!("{text}\n") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::error::ErrorKind;

    fn failure() -> CliError {
        CliError::new(ErrorKind::ProductionChanged, "verify-differs", "the schema differs")
            .caused_by("postgres://u:s3cret@h/d went away")
            .production("menu/0007 is applied")
            .hint("run `safe-migrate status`")
            .hint("or restore")
    }

    #[test]
    fn the_document_has_one_envelope_for_success_and_failure() {
        let outcome = Outcome::new("", json!({ "applied": ["menu/0007"], "outcome": "not this" }));
        assert_eq!(
            document(Some("apply"), &Ok(outcome)),
            json!({ "schema": 1, "command": "apply", "outcome": "ok", "error": null, "applied": ["menu/0007"] })
        );
        assert_eq!(
            document(Some("apply"), &Err(failure().with_findings(Outcome::new("", json!({ "run": "r1" }))))),
            json!({
                "schema": 1, "command": "apply", "outcome": "failed", "run": "r1",
                "error": {
                    "code": "verify-differs",
                    "message": "the schema differs",
                    "causes": ["postgres://u:***@h/d went away"],
                    "production": "menu/0007 is applied",
                    "hint": "run `safe-migrate status`\nor restore",
                },
            })
        );
        let refused = document(None, &Err(CliError::usage("usage", "no")));
        assert_eq!(refused["outcome"], "refused");
        assert_eq!(refused["command"], Value::Null);
        assert_eq!(refused["error"]["hint"], Value::Null);
    }

    #[test]
    fn an_error_says_what_happened_why_where_production_stands_and_what_to_do() {
        assert_eq!(
            render_error(&failure(), false),
            "error: the schema differs\n\
             caused by: postgres://u:***@h/d went away\n\
             production: menu/0007 is applied\n\
             hint: run `safe-migrate status`\n\
             hint: or restore\n"
        );
        assert!(render_error(&failure(), true).starts_with("\x1b[1;31merror:\x1b[0m the schema differs\n"));
    }

    #[test]
    fn a_table_has_aligned_columns_and_no_borders() {
        let rows = [["20261122T135823Z-7f3a9c".to_string(), "1.5 GB".to_string()], ["x".to_string(), String::new()]];
        let expected = "SNAPSHOT                 SIZE\n20261122T135823Z-7f3a9c  1.5 GB\nx\n";
        assert_eq!(table(["SNAPSHOT", "SIZE"], rows), expected);
    }
}
