//! Where `scripts/setup` put the programs, and as whom PostgreSQL runs.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A program or directory that `variable` names, else the one that `scripts/setup` linked into `.tools`.
pub fn tool(variable: &str, below_tools: &str) -> PathBuf {
    let path = std::env::var_os(variable)
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools").join(below_tools), PathBuf::from);
    path.canonicalize().unwrap_or_else(|error| panic!("{}: {error}; run scripts/setup first", path.display()))
}

/// The user who runs PostgreSQL: ourselves, or `postgres` when we are root, which PostgreSQL refuses.
#[derive(Clone, Copy, Debug)]
pub struct ServerUser(Option<(u32, u32)>);

impl ServerUser {
    /// `ours` is any file that we made: its owner tells who we are.
    pub fn find(ours: &Path) -> ServerUser {
        if ours.metadata().expect("a file just made").uid() != 0 {
            return ServerUser(None);
        }
        ServerUser(Some((id_of_postgres("-u"), id_of_postgres("-g"))))
    }

    /// A command that runs as this user, in a clean environment.
    pub fn command(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = clean_command(program);
        if let ServerUser(Some((uid, gid))) = self {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Gives a directory to this user.
    pub fn give(self, directory: &Path) {
        if let ServerUser(Some((uid, gid))) = self {
            std::os::unix::fs::chown(directory, Some(uid), Some(gid)).expect("root may give a directory away");
        }
    }

    /// Whether this user can run the program, wherever the checkout lies.
    pub fn can_run(self, program: &Path) -> bool {
        // The working directory must be one that this user may enter too.
        self.command(program).arg("--version").current_dir("/").output().is_ok_and(|output| output.status.success())
    }
}

fn id_of_postgres(which: &str) -> u32 {
    let text = output_of(Command::new("id").args([which, "postgres"]));
    text.trim().parse().expect("`id` prints a number")
}

/// A command that sees PATH and nothing else of our environment: no PG* variable of the developer's reaches a test.
pub fn clean_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("LC_ALL", "C");
    command
}

/// Runs a command to its end and returns its standard output; panics with its words when it fails.
pub fn output_of(command: &mut Command) -> String {
    let output = run_with_input(command, "");
    assert!(
        output.status.success(),
        "{command:?} failed ({}):\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    String::from_utf8(output.stdout).expect("programs print UTF-8 here")
}

/// Runs a command to its end with a text as its standard input.
pub fn run_with_input(command: &mut Command, input: impl AsRef<[u8]>) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.as_ref().to_vec();
    // Its own thread: a program that prints before it has read everything would wait for us, and we for it.
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("our own child");
    // A program that fails early stops reading; its exit status tells.
    let _ = feeder.join();
    output
}

/// Copies a directory tree: by hard links where the file system allows it, else byte by byte.
pub fn copy_tree(from: &Path, to: &Path, file: fn(&Path, &Path) -> std::io::Result<()>) {
    std::fs::create_dir_all(to).unwrap_or_else(|error| panic!("cannot make {}: {error}", to.display()));
    let entries = std::fs::read_dir(from).unwrap_or_else(|error| panic!("cannot read {}: {error}", from.display()));
    for entry in entries {
        let source = entry.expect("a directory that is being read").path();
        let target = to.join(source.file_name().expect("an entry has a name"));
        if source.is_dir() {
            copy_tree(&source, &target, file);
        } else {
            file(&source, &target).unwrap_or_else(|error| panic!("cannot copy {}: {error}", source.display()));
        }
    }
}

/// For [`copy_tree`]: a file that nobody will write to.
pub fn link_or_copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::hard_link(from, to).or_else(|_| copy(from, to))
}

/// For [`copy_tree`]: a file of one's own.
pub fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::copy(from, to).map(|_| ())
}
