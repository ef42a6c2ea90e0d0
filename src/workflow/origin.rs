//! What a run is made from: the directory of its files, and the commit of git that lies there.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::postgres::Origin;

/// How long git has for an answer: a repository may lie on a file system that hangs.
const PATIENCE: Duration = Duration::from_secs(10);
/// Variables that lead git to another repository than that of the directory, as a hook of git has them.
const LEADING: [&str; 6] =
    ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE"];

/// Reads it. Without git, or outside of a repository, the directory is all that is known.
pub(super) async fn read(directory: &Path) -> Origin {
    let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    let shown = directory.display().to_string();
    let unknown = Origin { directory: shown.clone(), commit: None, tree: None, modified: None };
    // Looked for first: most directories of a test or of an image are in none, and a program is slow to start.
    let Some(inside) = in_repository(&directory) else { return unknown };
    let Some((commit, tree)) = head(&inside).await else { return unknown };
    // Of the files below the directory; what else lies in the repository is no part of the run.
    let status = git(&inside, &["status", "--porcelain", "--untracked-files=normal", "--", "."]).await;
    Origin { directory: shown, commit: Some(commit), tree: Some(tree), modified: status.map(|said| !said.is_empty()) }
}

/// The commit that is checked out, and its tree.
async fn head(directory: &Path) -> Option<(String, String)> {
    let named = git(directory, &["rev-parse", "HEAD", "HEAD^{tree}"]).await?;
    let (commit, tree) = named.trim().split_once('\n')?;
    Some((commit.to_owned(), tree.to_owned()))
}

/// The files beside those of a commit, where all that git looks at is as committed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Committed {
    /// Where the repository lies.
    pub(super) root: PathBuf,
    /// The commit.
    pub(super) commit: String,
    /// Its tree.
    pub(super) tree: String,
    /// Files that git ignores, by their place in it; what lies in a directory that is ignored as a whole is left out.
    pub(super) ignored: Vec<String>,
}

/// Whether the whole repository around a directory is exactly its commit; else why not.
pub(super) async fn committed(directory: &Path) -> Result<Committed, String> {
    let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    let Some(inside) = in_repository(&directory) else {
        return Err(format!("{} lies in no git repository", directory.display()));
    };
    let silent = || format!("git does not say what is committed in {}", inside.display());
    let root = PathBuf::from(git(&inside, &["rev-parse", "--show-toplevel"]).await.ok_or_else(silent)?.trim_end());
    let (commit, tree) = head(&root).await.ok_or_else(silent)?;
    let status = ["status", "--porcelain", "-z", "--no-renames", "--untracked-files=normal", "--ignored"];
    let status = git(&root, &[&status[..], &["--ignore-submodules=none"]].concat()).await.ok_or_else(silent)?;
    let mut ignored = Vec::new();
    for entry in status.split_terminator('\0') {
        match entry.split_at_checked(3) {
            Some(("!! ", path)) if path.ends_with('/') => {}
            Some(("!! ", path)) => ignored.push(path.to_owned()),
            Some((_, path)) => return Err(format!("{path} is not committed")),
            None => return Err(silent()),
        }
    }
    let listed = git(&root, &["ls-files", "-v", "-z"]).await.ok_or_else(silent)?;
    // In small letters what is assumed unchanged, S what is not looked for.
    let is_passed_over = |entry: &&str| entry.starts_with(|tag: char| tag.is_ascii_lowercase() || tag == 'S');
    match listed.split_terminator('\0').find(is_passed_over) {
        Some(entry) => Err(format!("git is told to pass over {}", entry.get(2..).unwrap_or_default())),
        None => Ok(Committed { root, commit, tree, ignored }),
    }
}

/// The nearest directory above that is there, when one above it is a repository.
fn in_repository(directory: &Path) -> Option<PathBuf> {
    let there = directory.ancestors().find(|one| one.is_dir())?;
    there.ancestors().any(|one| one.join(".git").exists()).then(|| there.to_owned())
}

/// What git prints; none when it fails, which it does in a repository that belongs to somebody else.
async fn git(directory: &Path, words: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    // No program of the repository's configuration is started, and nothing is written there.
    command.args(["-c", "core.fsmonitor=false", "--no-optional-locks"]).args(words).current_dir(directory);
    for name in LEADING {
        command.env_remove(name);
    }
    answer(command, PATIENCE).await
}

async fn answer(mut command: Command, patience: Duration) -> Option<String> {
    command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(patience, command.output()).await.ok()?.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_does_not_answer_is_not_waited_for() {
        let begun = std::time::Instant::now();
        let mut command = Command::new("sleep");
        command.arg("60");
        assert_eq!(answer(command, Duration::from_millis(50)).await, None);
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[tokio::test]
    async fn without_a_repository_nothing_is_committed() {
        let directory = tempfile::tempdir().unwrap();
        let why = committed(directory.path()).await.unwrap_err();
        assert!(why.ends_with("lies in no git repository"), "{why}");
        assert_eq!(read(directory.path()).await.commit, None);
    }
}
