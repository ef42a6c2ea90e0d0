//! The wrapped command: what it sees of the environment, and how it is run and ended.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::ExposeSecret;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use crate::postgres::{Endpoint, PLACEHOLDERS};
use crate::report::redact;

use super::super::{Error, Gate, Interrupt};

/// How long a command has to end after SIGINT, and again after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(10);
/// The last lines of its output that an error shows.
const SHOWN: usize = 12;

/// A command of the operator's, with the environment that it gets. Everything else of ours is kept from it.
#[derive(Clone, Debug)]
pub struct WrappedCommand {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// Where it runs.
    pub dir: PathBuf,
    /// `[exec] env`: variables and templates of the database's address.
    pub templates: Vec<(String, String)>,
    /// `[exec] pass`: the caller's variables that it gets, and PATH.
    pub passed: Vec<(String, String)>,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it wrote to stdout, as far as it was kept.
    pub output: String,
    /// The last lines of both streams.
    pub last_lines: Vec<String>,
}

impl Ended {
    /// How it ended, with the line in which it says why: the last one that is no part of a trace, no detail and no hint. A
    /// detail quotes values of rows.
    pub fn why(&self) -> String {
        let aside = ["DETAIL:", "HINT:", "CONTEXT:", "LINE ", "[", "^"];
        let said = |line: &&String| {
            !line.trim().is_empty()
                && !line.starts_with(char::is_whitespace)
                && !aside.iter().any(|start| line.starts_with(start))
        };
        let line = self.last_lines.iter().rev().find(|line| line.contains("rror") && said(line));
        match line.or_else(|| self.last_lines.iter().rev().find(said)) {
            Some(line) => format!("{}: {}", self.status, redact(line)),
            None => self.status.to_string(),
        }
    }
}

/// How a program is run.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The database.
    pub endpoint: &'a Endpoint,
    /// What confines it; empty: nothing.
    pub confined_by: &'a [OsString],
    /// Told each line of its output.
    pub tell: Option<&'a (dyn Fn(&str) + Send + Sync)>,
}

impl WrappedCommand {
    /// The command as typed, without the passwords in it.
    pub fn display(&self) -> String {
        redact(&self.words.join(" "))
    }

    /// The same environment with other words.
    pub fn with_words(&self, words: Vec<String>) -> Self {
        Self { words, ..self.clone() }
    }

    /// The server shall notice within two seconds that the command died, also in the middle of a statement: it dies with
    /// us, and the next run must not meet it. Heeded by what is built on libpq, and by what reads PGOPTIONS as that does.
    pub fn noticed_when_dead(&self, major: u32) -> Self {
        let mut command = self.clone();
        let mut named = command.templates.iter().chain(&command.passed).map(|(name, _)| name.as_str());
        // The first version that has the setting; an older one would refuse the connection.
        if major >= 14 && !named.any(|name| name == "PGOPTIONS") {
            let options = "-c client_connection_check_interval=2s".to_owned();
            command.passed.push(("PGOPTIONS".to_owned(), options));
        }
        command
    }

    /// Refuses a program that is not there, before anything is done for it.
    pub fn refuse_missing(&self) -> Result<(), Error> {
        let Some(program) = self.words.first() else { return Ok(()) };
        let path = self.passed.iter().find(|(name, _)| name == "PATH").map_or("", |(_, path)| path);
        let found = match program.contains('/') {
            true => self.dir.join(program).is_file(),
            false => std::env::split_paths(path).any(|one| self.dir.join(one).join(program).is_file()),
        };
        if found {
            return Ok(());
        }
        Err(Gate::Exec {
            message: format!("there is no program {program}"),
            hint: "write the command as you would type it in the directory that --dir names".to_owned(),
        }
        .into())
    }

    /// Runs it to its end. The operator's wish to stop is passed on as SIGINT, then SIGTERM, then SIGKILL to all its
    /// processes; it dies with us.
    pub async fn run(&self, around: Surroundings<'_>, interrupt: &Interrupt) -> Result<Ended, Error> {
        let mut child = self.command(around)?.spawn().map_err(|source| Error::File {
            what: format!("cannot run {} in {}", self.words.first().map_or("", String::as_str), self.dir.display()),
            source,
        })?;
        // Dropped in the middle, as by Ctrl-C in a rehearsal, it leaves none of its processes.
        let mut group = Group::of(&child);
        let lines = |stream: Option<_>, keep| copied(stream, keep, around);
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (status, out, err) = tokio::join!(
            end(&mut child, interrupt),
            lines(out.map(|one| Box::new(one) as Box<dyn AsyncRead + Unpin + Send>), true),
            lines(err.map(|one| Box::new(one) as Box<dyn AsyncRead + Unpin + Send>), false),
        );
        group.0 = None;
        let status =
            status.map_err(|source| Error::File { what: format!("cannot wait for {}", self.display()), source })?;
        let mut last_lines: Vec<String> =
            out.lines().map(str::to_owned).chain(err.lines().map(str::to_owned)).collect();
        last_lines.drain(..last_lines.len().saturating_sub(SHOWN));
        if interrupt.is_set() && !status.success() {
            return Err(Error::Interrupted);
        }
        Ok(Ended { status, output: out, last_lines })
    }

    fn command(&self, around: Surroundings<'_>) -> Result<Command, Error> {
        let mut words: Vec<OsString> = around.confined_by.to_vec();
        words.extend(words_that_tie());
        words.extend(self.words.iter().map(OsString::from));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(&self.dir).env_clear();
        command.envs(self.passed.iter().map(|(name, value)| (name, value)));
        for (name, template) in &self.templates {
            let value = around.endpoint.fill(template).map_err(|unknown| Gate::Exec {
                message: format!("[exec] env: {name} names {{{unknown}}}, which there is not"),
                hint: format!("in braces can stand: {}", PLACEHOLDERS.join(", ")),
            })?;
            command.env(name, value.expose_secret());
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C at the terminal goes to a whole process group; when to stop is decided here.
        command.process_group(0).kill_on_drop(true);
        Ok(command)
    }
}

/// The processes of a program, killed when it is dropped before their end.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            tracing::debug!(%error, "the command's processes got no signal");
        }
    }
}

/// What makes a program end when we die; nothing where the system has no such thing.
fn words_that_tie() -> Vec<OsString> {
    let words = ["setpriv", "--pdeathsig", "KILL", "--"];
    let tried = std::process::Command::new(words[0])
        .args(&words[1..])
        .arg("true")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let there = tried.is_ok_and(|status| status.success());
    if there { words.iter().map(OsString::from).collect() } else { Vec::new() }
}

/// Waits for the end, helping when the operator wants it.
async fn end(child: &mut Child, interrupt: &Interrupt) -> std::io::Result<ExitStatus> {
    tokio::select! {
        status = child.wait() => return status,
        () = interrupt.wait() => {}
    }
    for signal in [Signal::INT, Signal::TERM] {
        send(child, signal);
        if let Ok(status) = tokio::time::timeout(PATIENCE, child.wait()).await {
            return status;
        }
    }
    send(child, Signal::KILL);
    child.wait().await
}

/// To all processes of its group; one that is gone is no error.
fn send(child: &Child, signal: Signal) {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(group) = group
        && let Err(error) = kill_process_group(group, signal)
    {
        tracing::debug!(%error, "the command's processes got no signal");
    }
}

/// Reads a stream to its end, telling each line; keeps all of it, or its end.
async fn copied(stream: Option<Box<dyn AsyncRead + Unpin + Send>>, keep_all: bool, around: Surroundings<'_>) -> String {
    let Some(stream) = stream else { return String::new() };
    let mut reader = BufReader::new(stream);
    let (mut kept, mut bytes) = (Vec::new(), Vec::new());
    while reader.read_until(b'\n', &mut bytes).await.is_ok_and(|length| length > 0) {
        let line = around.endpoint.masked(String::from_utf8_lossy(&bytes).trim_end());
        bytes.clear();
        if let Some(tell) = around.tell {
            tell(&line);
        }
        kept.push(line);
        if !keep_all && kept.len() > 2 * SHOWN {
            kept.drain(..SHOWN);
        }
    }
    kept.join("\n")
}
