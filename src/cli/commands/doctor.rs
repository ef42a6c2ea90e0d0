//! `doctor`: is everything in place?

use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::error::{CliError, ErrorKind};
use crate::cli::output::Outcome;
use crate::report::redact;
use crate::workflow::doctor::{self, Check, CheckState, Configuration};

/// Check that everything is in place
///
/// Looks at the configuration, the connection and its rights, the PostgreSQL
/// programs, the store, the migration files and the ledger, and says what to do
/// where something is amiss. Changes nothing: a probe object in the store and a
/// private server are removed again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate doctor
  safe-migrate doctor --json")]
pub(crate) struct Args {}

pub(crate) async fn run(context: &Context, _args: &Args) -> Result<Outcome, CliError> {
    let mut configuration = Configuration { file: context.config.file.clone(), no_store: None };
    let project = match context.project() {
        Err(error) if error.code == "store-missing" => {
            configuration.no_store = Some((error.message, error.hints.join("; ")));
            context.project_without_store()?
        }
        project => project?,
    };
    let examination = async { Ok(doctor::examine(&project, &configuration, &context.operator).await) };
    conclude(&context.unless_interrupted(examination).await?)
}

fn conclude(checks: &[Check]) -> Result<Outcome, CliError> {
    let text: String = checks.iter().map(lines).collect();
    let outcome = Outcome::new(text, json!({ "checks": checks.iter().map(value).collect::<Vec<_>>() }));
    let failed = checks.iter().filter(|check| check.state == CheckState::Failed).count();
    if failed == 0 {
        return Ok(outcome);
    }
    let message = format!("{failed} of {} checks failed", checks.len());
    Err(CliError::new(ErrorKind::Failed, "checks-failed", message).production("unchanged").with_findings(outcome))
}

/// What a check found, and below it what to do.
fn lines(check: &Check) -> String {
    const INDENT: &str = "\n                         ";
    let label = match check.state {
        CheckState::Ok => "ok",
        CheckState::Warn => "warn",
        CheckState::Failed => "FAIL",
        CheckState::NotTried => "skip",
    };
    let text = |text: &str| redact(text.trim_end()).replace('\n', INDENT);
    let remedy = check.remedy.as_deref().map(|remedy| format!("{INDENT}remedy: {}", text(remedy)));
    format!("{label:<4}  {:<17}  {}{}\n", check.name, text(&check.finding), remedy.unwrap_or_default())
}

fn value(check: &Check) -> Value {
    let state = match check.state {
        CheckState::Ok => "ok",
        CheckState::Warn => "warning",
        CheckState::Failed => "failed",
        CheckState::NotTried => "not-tried",
    };
    let remedy = check.remedy.as_deref().map(redact);
    json!({ "name": check.name, "state": state, "finding": redact(&check.finding), "remedy": remedy })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::document;

    fn check(state: CheckState, finding: &str, remedy: Option<&str>) -> Check {
        Check { name: "server", state, finding: finding.to_owned(), remedy: remedy.map(str::to_owned) }
    }

    #[test]
    fn a_line_lines_up_with_what_follows_it() {
        let failed = check(CheckState::Failed, "down:\nlog", Some("start it"));
        assert_eq!(
            lines(&failed),
            "FAIL  server             down:\n                         log\n                         remedy: start it\n"
        );
    }

    #[test]
    fn warnings_and_what_was_not_tried_do_not_fail_the_command() {
        let fine = [check(CheckState::Warn, "old", Some("new")), check(CheckState::NotTried, "no", None)];
        assert!(conclude(&fine).is_ok());

        let result = conclude(&[check(CheckState::Ok, "up", None), check(CheckState::Failed, "away", Some("look"))]);
        let error = result.as_ref().expect_err("one failed");
        assert_eq!((error.kind.exit_code(), error.message.as_str()), (1, "1 of 2 checks failed"));
        let document = document(Some("doctor"), &result);
        assert_eq!(
            document["checks"][1],
            json!({ "name": "server", "state": "failed", "finding": "away", "remedy": "look" })
        );
    }
}
