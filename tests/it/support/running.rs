//! A run of the binary that is watched while it goes on.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::project::{Output, Project};

/// The binary, running; what it says on stderr is read as it comes.
#[derive(Debug)]
pub struct Running {
    child: Option<Child>,
    said: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts it.
    pub fn start(project: &Project, arguments: &[&str]) -> Running {
        let mut child = project.command(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let words = Arc::clone(&said);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut words = words.lock().unwrap();
                words.push_str(&line);
                words.push('\n');
            }
        });
        Running { child: Some(child), said, reader: Some(reader) }
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it has said this, or until `come` is true.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, mut come: impl FnMut(&str) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(90);
        while !come(&self.said()) {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "it ended before {what}:\n{}", self.said());
            assert!(Instant::now() < deadline, "{what} never came:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until it has said these words.
    #[track_caller]
    pub fn wait_for(&mut self, words: &str) {
        self.wait_until(words, |said| said.contains(words));
    }

    /// Sends SIGINT.
    pub fn interrupt(&self) {
        let pid = rustix::process::Pid::from_child(self.child.as_ref().unwrap());
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) {
        let child = self.child.as_mut().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits for its end.
    pub fn end(mut self) -> Output {
        let status = self.child.take().unwrap().wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        Output { status: status.code().unwrap_or(-1), stdout: String::new(), stderr: self.said() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}
