//! Which files changed since a commit, as git says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::CliError;

/// The files in `directory` that differ from `reference`, or that git does not know yet; paths below `directory`.
pub(crate) fn changed_since(reference: &str, directory: &Path) -> Result<BTreeSet<PathBuf>, CliError> {
    if reference.starts_with('-') {
        return Err(CliError::usage("git", format!("`{reference}` is no commit")));
    }
    let differing = git(directory, &["diff", "--name-only", "--relative", "-z", reference, "--", "."])?;
    let untracked = git(directory, &["ls-files", "--others", "--exclude-standard", "-z", "--", "."])?;
    let names = differing.split('\0').chain(untracked.split('\0')).filter(|name| !name.is_empty());
    Ok(names.map(PathBuf::from).collect())
}

fn git(directory: &Path, words: &[&str]) -> Result<String, CliError> {
    let failed = || {
        CliError::usage("git", format!("git cannot say what changed in {}", directory.display()))
            .hint("--since works in a git repository, with a commit, branch or tag that is there")
    };
    let output = Command::new("git").current_dir(directory).args(words).output();
    let output = output.map_err(|error| failed().caused_by(error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed().caused_by(said.lines().next().unwrap_or_default().to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
