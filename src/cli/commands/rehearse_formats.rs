//! The files and formats that `rehearse` writes besides its text.

use std::path::{Path, PathBuf};

use crate::cli::error::{CliError, ErrorKind};
use crate::report::rehearsal::RehearsalReport;
use crate::report::{annotations, html_page, markdown, sarif, without_commands};
use crate::workflow::Operator;

/// Where the report goes besides the terminal. No value of a row is in it unless `--samples` is given.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Report")]
pub(crate) struct Formats {
    /// Write the report as one HTML page that loads nothing
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the report as Markdown for a pull request; `-` is stdout
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write the findings as SARIF for code scanning
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
    /// Print the findings as annotations of GitHub Actions
    #[arg(long)]
    annotations: bool,
}

impl Formats {
    /// Refuses two documents on one stdout.
    pub(super) fn check(&self, json: bool) -> Result<(), CliError> {
        if !json || !(self.takes_stdout() || self.annotations) {
            return Ok(());
        }
        let message = "--json prints one document on stdout, and --markdown - and --annotations print there too";
        Err(CliError::usage("two-documents", message).hint("leave one of them out, or name a file: --markdown FILE"))
    }

    fn takes_stdout(&self) -> bool {
        self.markdown.as_deref().is_some_and(is_stdout)
    }

    /// The report as text for stdout; nothing where Markdown takes its place.
    pub(super) fn text(&self, report: &RehearsalReport) -> String {
        match (self.takes_stdout(), self.annotations) {
            (true, _) => String::new(),
            (false, true) => without_commands(&report.to_text()),
            (false, false) => report.to_text(),
        }
    }

    /// Writes the files; what belongs on stdout is returned.
    pub(super) fn write(
        &self,
        report: &RehearsalReport,
        samples: bool,
        operator: &dyn Operator,
    ) -> Result<String, CliError> {
        let bare;
        let report = if samples {
            report
        } else {
            bare = report.without_samples();
            &bare
        };
        let mut printed = String::new();
        if let Some(file) = &self.html {
            let page = html_page(report).map_err(|error| {
                CliError::new(ErrorKind::Failed, "report-not-written", "the HTML page could not be made")
                    .caused_by(error.to_string())
            })?;
            save(file, &page, operator)?;
        }
        if let Some(file) = &self.markdown {
            let text = markdown(report);
            if is_stdout(file) { printed.push_str(&text) } else { save(file, &text, operator)? }
        }
        if let Some(file) = &self.sarif {
            save(file, &format!("{:#}\n", sarif(report)), operator)?;
        }
        if self.annotations {
            printed.push_str(&annotations(report));
        }
        Ok(printed)
    }
}

fn is_stdout(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn save(file: &Path, text: &str, operator: &dyn Operator) -> Result<(), CliError> {
    // Whatever the umask is: what is in it comes from production's rows, and is not for everybody to change.
    let mut options = std::fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create(true).truncate(true), 0o644);
    let written = options.open(file).and_then(|mut open| std::io::Write::write_all(&mut open, text.as_bytes()));
    written.map_err(|error| {
        let message = format!("the report could not be written to {}", file.display());
        CliError::new(ErrorKind::Failed, "report-not-written", message)
            .caused_by(error.to_string())
            .production("unchanged")
            .hint("the rehearsal itself is done and stored; name a file that can be written")
    })?;
    operator.step(&format!("report: {}", file.display()));
    Ok(())
}
