//! PostgreSQL's programs: finding those of one major version, and running them with a clean environment.

use super::Environment;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// What a directory must hold to be of use.
const CLIENT_PROGRAMS: [&str; 2] = ["pg_dump", "pg_restore"];
/// What the private cluster needs on top.
const SERVER_PROGRAMS: [&str; 2] = ["initdb", "postgres"];

/// Where packages put their programs: the directory to list, the start and the end of what is between.
const PACKAGE_DIRECTORIES: [(&str, &str, &str); 7] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/lib", "postgresql", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
    ("/opt/homebrew", "", "bin"),
];

/// What a program gets of the environment; no `PG*` variable and no credential of another tool.
const KEPT_VARIABLES: [&str; 11] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "SYSTEMROOT",
];

/// The version of a program: 15.20.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProgramVersion {
    /// 15 of 15.20; 9 for everything before 10.
    pub major: u32,
    /// 20 of 15.20; 0 for a beta.
    pub minor: u32,
}

impl fmt::Display for ProgramVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

impl ProgramVersion {
    /// From `server_version_num`: 150020 is 15.20.
    pub fn from_server(server_version_num: u32) -> Self {
        Self { major: server_version_num / 10_000, minor: server_version_num % 10_000 }
    }

    /// From the output of `--version`: `pg_dump (PostgreSQL) 15.20 (Debian 15.20-1)`.
    fn parse(output: &str) -> Option<Self> {
        let version = output.split_once("(PostgreSQL) ")?.1.split_whitespace().next()?;
        let mut parts = version.split('.');
        let leading = |part: &str| part.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok();
        let major = leading(parts.next()?)?;
        Some(Self { major, minor: parts.next().and_then(leading).unwrap_or(0) })
    }
}

/// Why the programs cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// A program is nowhere.
    #[error("PostgreSQL {major}'s `{program}` is needed, and it is not in {}", paths(looked_in))]
    Missing {
        /// Its name.
        program: String,
        /// The major version that is wanted.
        major: u32,
        /// The directories that were looked at.
        looked_in: Vec<PathBuf>,
    },
    /// There are programs, of other major versions only.
    #[error("PostgreSQL {wanted}'s programs are needed, and only these were found: {}", found.join(", "))]
    WrongMajor {
        /// The server's major version.
        wanted: u32,
        /// `17.2 in /usr/lib/postgresql/17/bin`.
        found: Vec<String>,
    },
    /// The programs are of an older minor version than the server.
    #[error("the programs in {} are of version {program_version}, older than the server's {server_version}", dir.display())]
    OlderThanServer {
        /// Where they are.
        dir: PathBuf,
        /// Their version.
        program_version: ProgramVersion,
        /// The server's version.
        server_version: ProgramVersion,
    },
}

impl ProgramError {
    /// What to do next.
    pub fn hint(&self) -> String {
        let server = |program: &str| SERVER_PROGRAMS.contains(&program);
        match self {
            Self::Missing { program, major, .. } if server(program) => {
                format!(
                    "install the server's package (Debian, Ubuntu: postgresql-{major}), or name the directory in [shadow] bin_dir"
                )
            }
            Self::Missing { major, .. } | Self::WrongMajor { wanted: major, .. } => {
                format!(
                    "install the client's package (Debian, Ubuntu: postgresql-client-{major}), or name the directory in [shadow] bin_dir"
                )
            }
            Self::OlderThanServer { server_version, .. } => {
                format!(
                    "update the package of PostgreSQL {} on this machine to {server_version} or later",
                    server_version.major
                )
            }
        }
    }
}

/// The programs of one PostgreSQL installation.
#[derive(Clone, Debug)]
pub struct Programs {
    dir: PathBuf,
    version: ProgramVersion,
    has_server: bool,
    environment: Vec<(String, String)>,
}

impl Programs {
    /// Finds the programs of that major version: in `bin_dir` and nowhere else when it is given, else the newest minor
    /// version among `PATH` and the directories of packages.
    pub fn find(major: u32, bin_dir: Option<&Path>, environment: &Environment) -> Result<Self, ProgramError> {
        let looked_in = bin_dir.map_or_else(|| directories(environment), |dir| vec![dir.to_owned()]);
        let found: Vec<Self> = looked_in.iter().filter_map(|dir| Self::in_directory(dir, environment)).collect();
        // `max_by_key` takes the last of equals: reversed, that is the first of the search order.
        let best = found.iter().rev().filter(|programs| programs.version.major == major);
        match best.max_by_key(|programs| (programs.version.minor, programs.has_server)) {
            Some(programs) => Ok(programs.clone()),
            None if found.is_empty() => {
                Err(ProgramError::Missing { program: missing_program(&looked_in).to_owned(), major, looked_in })
            }
            None => Err(ProgramError::WrongMajor { wanted: major, found: found.iter().map(Self::describe).collect() }),
        }
    }

    /// Every installation on this machine, newest version first.
    pub fn all_found(environment: &Environment) -> Vec<Self> {
        let mut found: Vec<Self> =
            directories(environment).iter().filter_map(|dir| Self::in_directory(dir, environment)).collect();
        found.sort_by_key(|programs| std::cmp::Reverse(programs.version));
        found
    }

    fn in_directory(dir: &Path, environment: &Environment) -> Option<Self> {
        if !CLIENT_PROGRAMS.iter().all(|program| is_program(&dir.join(program))) {
            return None;
        }
        let environment: Vec<(String, String)> = KEPT_VARIABLES
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), environment.get(name)?.to_owned())))
            // Their messages are read by this program.
            .chain([("LC_MESSAGES".to_owned(), "C".to_owned())])
            .collect();
        let output = std::process::Command::new(dir.join("pg_dump"))
            .arg("--version")
            .env_clear()
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .output()
            .ok()?;
        let version = ProgramVersion::parse(&String::from_utf8_lossy(&output.stdout))?;
        let has_server = SERVER_PROGRAMS.iter().all(|program| is_program(&dir.join(program)));
        Some(Self { dir: dir.to_owned(), version, has_server, environment })
    }

    /// Where they are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Their version, as `pg_dump` says it.
    pub fn version(&self) -> ProgramVersion {
        self.version
    }

    /// Whether `initdb` and `postgres` are there too, which a private cluster needs.
    pub fn has_server(&self) -> bool {
        self.has_server
    }

    /// Fails when `initdb` or `postgres` is missing.
    pub fn check_has_server(&self) -> Result<(), ProgramError> {
        match SERVER_PROGRAMS.iter().find(|program| !is_program(&self.dir.join(program))) {
            None => Ok(()),
            Some(program) => Err(ProgramError::Missing {
                program: (*program).to_owned(),
                major: self.version.major,
                looked_in: vec![self.dir.clone()],
            }),
        }
    }

    /// Fails when the server is newer: an older `pg_dump` writes what that server was fixed not to need.
    pub fn check_not_older_than(&self, server_version_num: u32) -> Result<(), ProgramError> {
        let server_version = ProgramVersion::from_server(server_version_num);
        if self.version < server_version {
            return Err(ProgramError::OlderThanServer {
                dir: self.dir.clone(),
                program_version: self.version,
                server_version,
            });
        }
        Ok(())
    }

    /// A program, without standard input, that ends when it is dropped; its environment holds no `PG*` variable
    /// until [`super::ConnectionSpec::for_program`] sets them.
    pub fn command(&self, program: &str) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(self.dir.join(program));
        command.env_clear().envs(self.environment.iter().cloned()).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// What a program gets of the environment.
    pub(super) fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    fn describe(&self) -> String {
        format!("{} in {}", self.version, self.dir.display())
    }
}

/// Whether it is there and is PostgreSQL's own: Debian's `/usr/bin` holds wrappers whose version depends on clusters
/// and variables; the programs behind them are found in their own directories.
fn is_program(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|real| real.is_file() && real.file_name().is_none_or(|name| name != "pg_wrapper"))
}

/// `PATH`, then the directories of packages, each once.
fn directories(environment: &Environment) -> Vec<PathBuf> {
    let path = std::env::split_paths(environment.get("PATH").unwrap_or_default()).collect::<Vec<_>>();
    let mut seen = BTreeSet::new();
    path.into_iter()
        .chain(PACKAGE_DIRECTORIES.iter().flat_map(|(parent, prefix, bin)| package_directories(parent, prefix, bin)))
        .filter(|dir| dir.is_absolute() && seen.insert(dir.clone()))
        .collect()
}

fn package_directories(parent: &str, prefix: &str, bin: &str) -> Vec<PathBuf> {
    if prefix.is_empty() && !parent.ends_with("postgresql") {
        return vec![Path::new(parent).join(bin)];
    }
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| if bin.is_empty() { entry.path() } else { entry.path().join(bin) })
        .filter(|dir| dir.is_dir())
        .collect();
    found.sort();
    found
}

/// The first program that no directory holds.
fn missing_program(looked_in: &[PathBuf]) -> &'static str {
    let nowhere = |program: &&&str| !looked_in.iter().any(|dir| is_program(&dir.join(program)));
    CLIENT_PROGRAMS.iter().find(nowhere).copied().unwrap_or("pg_dump")
}

fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
