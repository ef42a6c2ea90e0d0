//! What a run is made from: the directory of its files, and the commit of git that lies there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::postgres::Origin;

/// Reads it. Without git, or outside of a repository, the directory is all that is known.
pub(super) fn read(directory: &Path) -> Origin {
    let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    let shown = directory.display().to_string();
    let unknown = Origin { directory: shown.clone(), commit: None, tree: None, modified: None };
    // Looked for first: most directories of a test or of an image are in none, and a program is slow to start.
    let Some(inside) = in_repository(&directory) else { return unknown };
    let Some(named) = git(&inside, &["rev-parse", "HEAD", "HEAD^{tree}"]) else { return unknown };
    let (commit, tree) = named.trim().split_once('\n').unwrap_or((named.trim(), ""));
    // Of the files below the directory; what else lies in the repository is no part of the run.
    let modified =
        git(&inside, &["status", "--porcelain", "--untracked-files=normal", "--", "."]).map(|said| !said.is_empty());
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Origin { directory: shown, commit: given(commit), tree: given(tree), modified }
}

/// The nearest directory above that is there, when one above it is a repository.
fn in_repository(directory: &Path) -> Option<PathBuf> {
    let there = directory.ancestors().find(|one| one.is_dir())?;
    there.ancestors().any(|one| one.join(".git").exists()).then(|| there.to_owned())
}

/// What git prints; none when it fails, which it does in a repository that belongs to somebody else.
fn git(directory: &Path, words: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    // No program of the repository's configuration is started, and nothing is written there.
    command.args(["-c", "core.fsmonitor=false", "--no-optional-locks"]).args(words).current_dir(directory);
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
