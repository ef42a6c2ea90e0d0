//! A user's working directory, and the real binary run in it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::database::TestDatabase;
use super::programs::{clean_command, copy, copy_tree};
use super::redact::redact;
use super::store::TestStore;

/// A temporary working directory with a `safe-migrate.toml` and a `migrations` directory.
#[derive(Debug)]
pub struct Project {
    root: TempDir,
    variables: Vec<(OsString, OsString)>,
}

/// What a run of the binary left: its exit status and both streams.
#[derive(Debug)]
pub struct Output {
    /// The exit code, or -1 when a signal ended it.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// The binary under test: the one that cargo built for the tests, or the one that a negative control names.
pub fn binary() -> OsString {
    std::env::var_os("SAFE_MIGRATE_TEST_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_safe-migrate").into())
}

/// The binary with failpoints and switches, beside the one under test; `scripts/test` builds it.
fn binary_with_faults() -> OsString {
    let built = || {
        let path = Path::new(env!("CARGO_BIN_EXE_safe-migrate")).with_file_name("safe-migrate-faults");
        assert!(path.exists(), "{} is missing; scripts/test builds it", path.display());
        path.into_os_string()
    };
    std::env::var_os("SAFE_MIGRATE_TEST_FAULTS").unwrap_or_else(built)
}

impl Project {
    /// No migrations and an empty configuration.
    pub fn empty() -> Project {
        let root = tempfile::Builder::new().prefix("test-project-").tempdir().expect("cannot make a working directory");
        let project = Project { root, variables: Vec::new() };
        for directory in [project.migrations(), project.home()] {
            std::fs::create_dir(directory).expect("cannot make a directory of the project");
        }
        project.configure("");
        project
    }

    /// A configuration that names this database (as the source `test`) and this store, whose keys are in the environment.
    /// No shadow is kept: what a test leaves in the temporary directory would be a mistake.
    pub fn new(database: &TestDatabase, store: &TestStore) -> Project {
        let mut project = Project::empty();
        project.configure(&format!(
            "[database]\nurl = \"{}\"\nsource = \"test\"\n\n[migrations]\ndir = \"migrations\"\n\n[shadow]\nbin_dir = \"{}\"\nmax_cache = \"0\"\n\n{}",
            database.url(),
            database.cluster().bin_dir().display(),
            store.toml()
        ));
        for (name, value) in store.env() {
            project.set(&name, &value);
        }
        project
    }

    /// The same, with the repository's migrations.
    pub fn dusangire(database: &TestDatabase, store: &TestStore) -> Project {
        let project = Project::new(database, store);
        copy_tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations"), &project.migrations(), copy);
        project
    }

    /// The working directory.
    pub fn directory(&self) -> &Path {
        self.root.path()
    }

    /// The directory of the migrations.
    pub fn migrations(&self) -> PathBuf {
        self.directory().join("migrations")
    }

    /// As on a machine that has written nothing to the store yet.
    pub fn forget_state(&self) {
        std::fs::remove_dir_all(self.home().join(".local/state")).expect("something was written from here");
    }

    fn home(&self) -> PathBuf {
        self.directory().join("home")
    }

    /// Replaces `safe-migrate.toml`.
    pub fn configure(&self, toml: &str) {
        self.write("safe-migrate.toml", toml);
    }

    /// Adds sections to `safe-migrate.toml`.
    pub fn configure_more(&self, toml: &str) {
        let file = self.directory().join("safe-migrate.toml");
        let text = std::fs::read_to_string(file).expect("every project has one");
        self.configure(&format!("{text}\n{toml}"));
    }

    /// Writes `migrations/<app>/<name>.sql`, new or changed.
    pub fn write_migration(&self, app: &str, name: &str, text: &str) -> PathBuf {
        self.write(&format!("migrations/{app}/{name}.sql"), text)
    }

    /// Writes a file of the project, with the directories above it.
    pub fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.directory().join(path);
        let parent = path.parent().expect("it lies in the project");
        std::fs::create_dir_all(parent).expect("cannot make a directory of the project");
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        path
    }

    /// Sets an environment variable for every run from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.into(), value.into()));
    }

    /// The binary with these arguments, in the project, in an environment of PATH, HOME, TMPDIR, the language and what
    /// was [`set`](Project::set): for tests that add to it, talk to it or kill it.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(binary(), arguments)
    }

    /// The same with the binary that has failpoints, as the crate `fail` names them: `point=return;off.switch=return`.
    pub fn command_with_faults(&self, points: &str, arguments: &[&str]) -> Command {
        let mut command = self.command_of(binary_with_faults(), arguments);
        command.env("FAILPOINTS", points);
        command
    }

    fn command_of(&self, binary: OsString, arguments: &[&str]) -> Command {
        let mut command = clean_command(binary);
        command
            .args(arguments)
            .current_dir(self.directory())
            .env_remove("LC_ALL")
            .env("LANG", "C.UTF-8")
            .env("HOME", self.home())
            .env("TMPDIR", std::env::temp_dir())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .envs(std::env::var_os("FAILPOINTS").map(|points| ("FAILPOINTS", points)))
            .stdin(Stdio::null());
        command
    }

    /// Runs the binary to its end, without a terminal.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, &[])
    }

    /// The same, with more environment variables.
    pub fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = self.command(arguments);
        Project::output_of(command.envs(variables.iter().copied()))
    }

    /// Runs a command of the project to its end.
    pub fn output_of(command: &mut Command) -> Output {
        let output = command.output().expect("cannot run the binary");
        let text = |bytes| String::from_utf8(bytes).expect("the binary prints UTF-8");
        Output { status: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Runs the binary and renders command, exit status and both streams for an inline snapshot, without what differs
    /// from run to run.
    pub fn snapshot(&self, arguments: &[&str]) -> String {
        self.render(arguments, &self.run(arguments))
    }

    /// The rendering of [`snapshot`](Project::snapshot), of a run that is over.
    pub fn render(&self, arguments: &[&str], output: &Output) -> String {
        let mut text = format!("$ safe-migrate {}\nexit {}\n", arguments.join(" "), output.status);
        for (name, stream) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            if !stream.is_empty() {
                text.push_str(&format!("--- {name}\n{stream}"));
                if !stream.ends_with('\n') {
                    text.push_str("[no newline at the end]\n");
                }
            }
        }
        redact(&text, self.directory())
    }
}
