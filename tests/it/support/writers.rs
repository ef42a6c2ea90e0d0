//! Clients that write as fast as they can, each in its own way, until they are stopped.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::cluster::TestCluster;

/// One client; it stops with the handle. Whoever is ended or turned away comes back.
#[derive(Debug)]
pub struct Writer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Sends `first` once per connection and then `again` and again.
    pub fn start(cluster: &Arc<TestCluster>, url: &str, first: &str, again: &str) -> Writer {
        let stop = Arc::new(AtomicBool::new(false));
        let (cluster, url, first, again) = (Arc::clone(cluster), url.to_owned(), first.to_owned(), again.to_owned());
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                let mut psql = Client::connect(&cluster, &url);
                if psql.send(&first) {
                    while !stopped.load(Ordering::SeqCst) && psql.send(&again) {}
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Writer { stop, thread: Some(thread) }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_none_or(|thread| thread.is_ok()), "a writer panicked");
    }
}

/// A psql that is told what to run; killed with the handle, and its session with it.
#[derive(Debug)]
pub struct Client {
    child: Child,
    pid: std::sync::mpsc::Receiver<String>,
}

impl Client {
    /// Connects, in the background.
    pub fn connect(cluster: &Arc<TestCluster>, url: &str) -> Client {
        let mut psql: Command = cluster.program("psql");
        psql.args(["-X", "-q", "-At", "-d", url]);
        let mut child = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let output = child.stdout.take().unwrap();
        let (sender, pid) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in std::io::BufRead::lines(std::io::BufReader::new(output)).map_while(Result::ok) {
                // Nobody may be listening.
                let _ = sender.send(line);
            }
        });
        Client { child, pid }
    }

    /// Sends statements and waits until they are done; false when the connection is gone.
    pub fn send(&mut self, sql: &str) -> bool {
        self.begin(sql);
        self.begin("\\echo done");
        while let Ok(line) = self.pid.recv() {
            if line == "done" {
                return true;
            }
        }
        false
    }

    /// Sends statements and waits for nothing.
    pub fn begin(&mut self, sql: &str) {
        if let Some(stdin) = self.child.stdin.as_mut() {
            // Gone: the next wait says so.
            let _ = writeln!(stdin, "{sql}");
        }
    }

    /// Sends a query and waits for the first line of its answer.
    pub fn ask(&mut self, sql: &str) -> Option<String> {
        self.begin(sql);
        self.pid.recv().ok()
    }

    /// Whether psql still runs, after a moment.
    pub fn is_connected(&mut self) -> bool {
        self.ask("SELECT 'here';").as_deref() == Some("here")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
