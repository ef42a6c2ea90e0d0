//! Ends processes and removes a directory, also when the test process itself is killed.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Reads one process id a line. At the end of its input it sends those processes the signal `$1`, after five seconds
/// SIGKILL, and removes the directory `$2`.
const SCRIPT: &str = r#"
pids=
while read -r pid; do pids="$pids $pid"; done
for pid in $pids; do kill -s "$1" "$pid" 2>/dev/null; done
tries=0
for pid in $pids; do
    while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
    kill -s KILL "$pid" 2>/dev/null
done
rm -rf -- "$2"
"#;

/// A shell that outlives the test process: when its input ends, for whatever reason, it cleans up.
#[derive(Debug)]
pub struct Watchdog {
    shell: Child,
    input: Option<ChildStdin>,
}

impl Watchdog {
    /// Watches over `directory`, which is removed in the end, and over processes that end by `signal` (`"TERM"`).
    pub fn new(directory: &Path, signal: &str) -> Watchdog {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "safe-migrate-test-watchdog", signal])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0) // Ctrl-C ends the tests, not their cleanup
            .spawn()
            .expect("cannot start /bin/sh");
        let input = shell.stdin.take();
        Watchdog { shell, input }
    }

    /// Watches over a process too.
    pub fn watch(&mut self, child: &Child) {
        let input = self.input.as_mut().expect("the watchdog reads until it is dropped");
        writeln!(input, "{}", child.id()).expect("the watchdog has ended");
    }

    /// Cleans up now. `children` are reaped as they end: an unreaped one would look alive to the shell.
    pub fn clean_up(&mut self, children: &mut [Child]) {
        drop(self.input.take());
        for child in children {
            let _ = child.wait();
        }
        let _ = self.shell.wait();
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.clean_up(&mut []);
    }
}
