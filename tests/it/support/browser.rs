//! Headless Chromium, driven over its DevTools protocol: what a page shows, what it asks the network for, pictures of it.

use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use super::programs::{clean_command, tool};

/// How long Chromium may take to start, and to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// One browser with one page.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    socket: WebSocket<TcpStream>,
    session: Option<String>,
    next: u64,
    events: Vec<Value>,
    // Last: the directory is removed when Chromium has ended.
    directory: tempfile::TempDir,
}

impl Browser {
    /// Starts Chromium with an empty profile and nothing that speaks to the network by itself.
    pub fn start() -> Browser {
        let program = chromium();
        let directory = tempfile::Builder::new().prefix("test-browser-").tempdir().expect("cannot make a profile");
        let child = clean_command(&program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"])
            .args(["--disable-breakpad", "--disable-extensions", "--hide-scrollbars", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", directory.path().display()))
            .arg("about:blank")
            .env("HOME", directory.path())
            .env("TMPDIR", directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", program.display()));
        let address = debugging_address(directory.path());
        let stream = TcpStream::connect(("127.0.0.1", address.0)).expect("Chromium listens there");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        let url = format!("ws://127.0.0.1:{}{}", address.0, address.1);
        let (socket, _) = tungstenite::client(url, stream).expect("Chromium speaks the protocol");
        let mut browser = Browser { child, socket, session: None, next: 0, events: Vec::new(), directory };
        browser.attach();
        browser
    }

    fn attach(&mut self) {
        let target = self.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attached = json!({ "targetId": target["targetId"], "flatten": true });
        let session = self.call("Target.attachToTarget", attached)["sessionId"].as_str().expect("an id").to_owned();
        self.session = Some(session);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
    }

    /// Sends a command and waits for its answer; events on the way are kept.
    #[track_caller]
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.next += 1;
        let id = self.next;
        let mut command = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        self.socket.send(Message::text(command.to_string())).expect("Chromium is there");
        loop {
            let message = self.receive();
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
        }
    }

    fn receive(&mut self) -> Value {
        let message = self.socket.read().expect("Chromium answers in time");
        let message: Value = serde_json::from_str(message.to_text().unwrap_or("null")).expect("it sends JSON");
        if message["method"].is_string() {
            self.events.push(message.clone());
        }
        message
    }

    /// Shows a file in a window of that width, light or dark, and waits until it is loaded.
    pub fn open(&mut self, file: &Path, width: u32, dark: bool) {
        let metrics = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
        self.events.clear();
        self.call("Page.navigate", json!({ "url": format!("file://{}", file.display()) }));
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            self.receive();
        }
    }

    /// The value of an expression in the page.
    #[track_caller]
    pub fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", asked);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// The text that a reader sees, without what is folded away.
    pub fn text(&mut self) -> String {
        self.value("document.body.innerText").as_str().expect("a text").to_owned()
    }

    /// What went over the network since the page was opened; its own file is the one to be expected.
    pub fn requests(&self) -> Vec<String> {
        let sent = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.map(|event| event["params"]["request"]["url"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// What the console said since the page was opened: messages, exceptions, violations of the policy.
    pub fn complaints(&self) -> Vec<String> {
        let kinds = ["Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"];
        let said = self.events.iter().filter(|event| kinds.iter().any(|kind| event["method"] == *kind));
        said.map(|event| event["params"].to_string()).collect()
    }

    /// Saves a picture of the whole page.
    pub fn picture(&mut self, file: &Path) {
        let asked = json!({ "format": "png", "captureBeyondViewport": true });
        let answer = self.call("Page.captureScreenshot", asked);
        save(file, &answer);
    }

    /// Saves the page as it prints.
    pub fn print(&mut self, file: &Path) {
        let answer = self.call("Page.printToPDF", json!({ "preferCSSPageSize": true }));
        save(file, &answer);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.session = None;
        let close = json!({ "id": 0, "method": "Browser.close" }).to_string();
        // It may be gone already; the signal below ends what is left.
        let _ = self.socket.send(Message::text(close));
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// What `scripts/setup` linked.
fn chromium() -> PathBuf {
    tool("SAFE_MIGRATE_TEST_CHROMIUM", "bin/chromium")
}

/// Port and path, which Chromium writes into its profile when it listens.
fn debugging_address(profile: &Path) -> (u16, String) {
    let file = profile.join("DevToolsActivePort");
    let end = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if let Some((port, path)) = text.split_once('\n')
            && let Ok(port) = port.parse()
            && !path.is_empty()
        {
            return (port, path.trim().to_owned());
        }
        assert!(Instant::now() < end, "Chromium does not start; does {} run by hand?", chromium().display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn save(file: &Path, answer: &Value) {
    let data = answer["data"].as_str().expect("Chromium sends what was asked for");
    std::fs::write(file, decoded(data)).unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()));
}

/// Base64 (RFC 4648), as the protocol carries bytes.
fn decoded(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for part in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = part.iter().fold(0u32, |bits, byte| bits << 6 | u32::from(value(*byte))) << (6 * (4 - part.len()));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..part.len()]);
    }
    bytes
}
