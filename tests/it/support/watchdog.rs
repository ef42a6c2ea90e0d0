//! Ends processes and removes a directory, also when the test process itself is killed.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Reads a process id and the time of its start a line. At the end of its input it sends those processes the signal `$1`,
/// after five seconds SIGKILL, and removes the directory `$2`. A test that ends a server itself frees its number, which
/// another test's process may have by then: the start tells them apart where there is /proc.
const SCRIPT: &str = r#"
is_it() {
    [ -n "$2" ] || { kill -0 "$1" 2>/dev/null; return; }
    [ "$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20)" = "$2" ]
}
processes=
while read -r pid start; do processes="$processes $pid:$start"; done
for one in $processes; do is_it "${one%:*}" "${one#*:}" && kill -s "$1" "${one%:*}" 2>/dev/null; done
tries=0
for one in $processes; do
    while is_it "${one%:*}" "${one#*:}" && [ "$tries" -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
    is_it "${one%:*}" "${one#*:}" && kill -s KILL "${one%:*}" 2>/dev/null
done
rm -rf -- "$2"
"#;

/// When the kernel started a process, in its own units (proc(5), field 22); empty where there is no /proc.
fn start_of(pid: u32) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let (_, fields) = stat.rsplit_once(") ").unwrap_or_default();
    fields.split(' ').nth(19).unwrap_or_default().to_owned()
}

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
        writeln!(input, "{} {}", child.id(), start_of(child.id())).expect("the watchdog has ended");
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
