//! Processes of this machine: which one a number means, and how to end it.

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::path::Path;
use std::time::{Duration, Instant};

/// When the process was started, as the system says it; with the number this tells it from a later one. `None` when
/// there is no such process.
pub(super) fn start_time(pid: u32) -> Option<String> {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        // Field 22; the second field, a name in parentheses, may itself hold spaces and parentheses.
        Ok(stat) => stat.rsplit_once(')')?.1.split_whitespace().nth(19).map(str::to_owned),
        Err(_) if Path::new("/proc/self/stat").exists() => None,
        Err(_) => ps(pid, "lstart="),
    }
}

/// The machine and the process namespace in which process numbers mean something.
pub(super) fn place() -> String {
    let host = rustix::system::uname();
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{} {}", host.nodename().to_string_lossy(), namespace.display())
}

/// Whether the process is the server of that data directory.
pub(super) fn is_server_of(pid: u32, data: &Path) -> bool {
    let data = data.to_string_lossy();
    match std::fs::read(format!("/proc/{pid}/cmdline")) {
        Ok(line) => line.split(|byte| *byte == 0).any(|argument| argument == data.as_bytes()),
        Err(_) => ps(pid, "command=").is_some_and(|command| command.contains(&*data)),
    }
}

fn ps(pid: u32, column: &str) -> Option<String> {
    let output = std::process::Command::new("ps").args(["-o", column, "-p", &pid.to_string()]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// Sends a signal; a process that is gone already is no error.
pub(super) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = as_pid(pid) {
        kill_process(pid, signal).ok();
    }
}

/// Ends a server that is not our child: at once, its processes with it.
pub(super) fn end_server(pid: u32, data: &Path, patience: Duration) {
    let begun = Instant::now();
    for (order, limit) in [(Signal::QUIT, patience), (Signal::KILL, patience * 2)] {
        if !is_server_of(pid, data) {
            return;
        }
        signal(pid, order);
        while begun.elapsed() < limit && exists(pid) && is_server_of(pid, data) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn exists(pid: u32) -> bool {
    as_pid(pid).is_some_and(|pid| test_kill_process(pid).is_ok())
}

fn as_pid(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}
