//! The report as workflow commands of GitHub Actions, which show it beside the lines of a pull request.

use super::rehearsal::RehearsalReport;
use super::{FindingLevel, FindingReport};

/// One line for what stopped the rehearsal, for each loss and for each finding that nothing accepts.
pub fn annotations(report: &RehearsalReport) -> String {
    let mut lines = Vec::new();
    if let Some(failure) = &report.failure {
        let place = report.failed_at.as_ref().map(|at| (at.file.as_str(), at.line));
        lines.push(command("error", place, "rehearsal-failed", failure));
    }
    lines.extend(report.losses.iter().map(|loss| command("warning", None, "data-loss", &loss.to_line())));
    let open = report.findings.iter().filter(|finding| finding.allowed.is_none());
    lines.extend(open.map(|finding| {
        let place = finding.file.as_deref().map(|file| (file, finding.line));
        command(level(finding), place, &finding.code, &message(finding))
    }));
    lines.concat()
}

/// Other text for the same stream: a name with a line break must not begin a command there.
pub fn without_commands(text: &str) -> String {
    let line = |line: &str| match line.trim_start().starts_with("::") {
        true => format!("| {line}\n"),
        false => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

fn level(finding: &FindingReport) -> &'static str {
    match finding.level {
        FindingLevel::Note => "notice",
        FindingLevel::Warn => "warning",
        FindingLevel::Deny => "error",
    }
}

fn message(finding: &FindingReport) -> String {
    match &finding.remedy {
        Some(remedy) => format!("{}\n{remedy}", finding.message),
        None => finding.message.clone(),
    }
}

fn command(level: &str, place: Option<(&str, Option<u32>)>, title: &str, message: &str) -> String {
    let file = place.map(|(file, _)| format!("file={},", property(file))).unwrap_or_default();
    let line = place.and_then(|(_, line)| line).map(|line| format!("line={line},")).unwrap_or_default();
    format!("::{level} {file}{line}title={}::{}\n", property(title), data(message))
}

/// As GitHub's own toolkit escapes the message of a command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// As GitHub's own toolkit escapes a property of a command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample_report::{hostile, plain};

    #[test]
    fn each_finding_and_loss_is_one_command() {
        let lines = [
            "::warning title=data-loss::table public.old is gone with 2 rows",
            "::warning file=migrations/shop/0002_x.sql,line=4,title=drop-table::drops the table old with all its rows%0ARename it first.",
            "::notice title=check-failed::check a.sql returns 1 row",
        ];
        assert_eq!(annotations(&plain()), lines.join("\n") + "\n");
    }

    #[test]
    fn a_line_of_other_text_begins_no_command() {
        assert_eq!(without_commands("a\n  ::error::b\nc::d\n"), "a\n|   ::error::b\nc::d\n");
    }

    #[test]
    fn no_text_can_begin_a_command_of_its_own() {
        let report = hostile();
        let text = annotations(&report);
        let expected = 1 + report.losses.len() + report.findings.len();
        assert_eq!(text.lines().count(), expected, "{text}");
        assert!(text.lines().all(|line| line.starts_with("::error ") || line.starts_with("::warning ")), "{text}");
        let head = |line: &str| line[2..].split("::").next().unwrap().to_owned();
        assert!(text.lines().map(head).all(|head| head.matches('=').count() <= 3 + 2), "{text}");
        assert!(text.contains("file=x%25<script>"), "{text}");
    }
}
