//! Stores of three kinds: a local directory, an in-process S3 server, and an S3 server that nobody here wrote.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::cluster::free_port;
use super::programs::{clean_command, tool};
use super::store_faults::{StoreFault, StoreFaults};
use super::watchdog::Watchdog;

/// The access key of the S3 servers.
pub const ACCESS_KEY: &str = "test-access-key";

const BUCKET: &str = "backups";
const PREFIX: &str = "production";

/// A store for one test, empty at first. The server behind it ends with the handle.
#[derive(Debug)]
pub struct TestStore {
    /// Where the objects lie as plain files, whatever serves them.
    directory: PathBuf,
    server: Server,
}

#[derive(Debug)]
enum Server {
    Local,
    InProcess {
        endpoint: String,
        secret_key: String,
        stop: Option<oneshot::Sender<()>>,
        thread: Option<JoinHandle<()>>,
        _root: TempDir,
    },
    Rclone {
        endpoint: String,
        secret_key: String,
        child: Vec<Child>,
        watchdog: Watchdog,
    },
}

impl TestStore {
    /// A local directory, which need not exist yet and is the caller's to remove.
    pub fn local(directory: &Path) -> TestStore {
        TestStore { directory: directory.to_owned(), server: Server::Local }
    }

    /// The `s3s-fs` server, in a thread of the test process.
    pub fn s3s() -> TestStore {
        TestStore::s3s_with(&Arc::default())
    }

    /// The same, with faults that the test injects between the server and its clients.
    pub fn s3s_with(faults: &Arc<StoreFaults>) -> TestStore {
        let faults = Arc::clone(faults);
        let root = tempfile::Builder::new().prefix("test-s3s-").tempdir().expect("cannot make a directory for a store");
        let directory = make_bucket(root.path());
        let secret_key = new_secret_key();
        let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root.path()).expect("a directory just made"));
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, secret_key.as_str()));
        let service = service.build();

        let (stop, stopped) = oneshot::channel();
        let (tell_port, port) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a tokio runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = serve(service, faults, tell_port) => {}
                    _ = stopped => {}
                }
            });
        });
        let endpoint = format!("http://127.0.0.1:{}", port.recv().expect("the in-process S3 server did not start"));
        let server = Server::InProcess { endpoint, secret_key, stop: Some(stop), thread: Some(thread), _root: root };
        TestStore { directory, server }
    }

    /// `rclone serve s3` over a local directory.
    pub fn rclone() -> TestStore {
        TestStore::rclone_with(&[])
    }

    /// The same, refusing every write.
    pub fn rclone_read_only() -> TestStore {
        TestStore::rclone_with(&["--read-only"])
    }

    fn rclone_with(options: &[&str]) -> TestStore {
        let root = tempfile::Builder::new()
            .prefix("test-rclone-")
            .tempdir()
            .expect("cannot make a directory for a store")
            .keep();
        let mut watchdog = Watchdog::new(&root, "TERM");
        let directory = make_bucket(&root);
        let secret_key = new_secret_key();
        for _ in 0..5 {
            let port = free_port();
            let mut child = clean_command(tool("SAFE_MIGRATE_TEST_RCLONE", "bin/rclone"))
                .env("RCLONE_CONFIG", "") // no configuration file, not even the developer's
                .env("RCLONE_AUTH_KEY", format!("\"{ACCESS_KEY},{secret_key}\"")) // CSV: one field
                .args(["serve", "s3", "--addr", &format!("127.0.0.1:{port}")])
                // Tests change files behind its back. 0s would make its cleaner of directories spin.
                .args(["--dir-cache-time", "5ms", "--log-level", "ERROR"])
                .args(options)
                .arg(&root)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .expect("cannot start rclone");
            watchdog.watch(&child);
            if answers(&mut child, port) {
                let endpoint = format!("http://127.0.0.1:{port}");
                return TestStore {
                    directory,
                    server: Server::Rclone { endpoint, secret_key, child: vec![child], watchdog },
                };
            }
        }
        panic!("rclone found no free port in five tries");
    }

    /// The store's address, for `--store` and `[store] url`.
    pub fn url(&self) -> String {
        match self.server {
            Server::Local => format!("file://{}", self.directory.display()),
            Server::InProcess { .. } | Server::Rclone { .. } => format!("s3://{BUCKET}/{PREFIX}"),
        }
    }

    /// The address of the S3 server, if this is one.
    pub fn endpoint(&self) -> Option<&str> {
        match &self.server {
            Server::Local => None,
            Server::InProcess { endpoint, .. } | Server::Rclone { endpoint, .. } => Some(endpoint),
        }
    }

    /// The secret key of the S3 server, if this is one; it may appear in no output.
    pub fn secret_key(&self) -> Option<&str> {
        match &self.server {
            Server::Local => None,
            Server::InProcess { secret_key, .. } | Server::Rclone { secret_key, .. } => Some(secret_key),
        }
    }

    /// The environment variables that a client needs.
    pub fn env(&self) -> Vec<(String, String)> {
        let Some(secret_key) = self.secret_key() else { return Vec::new() };
        [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", secret_key), ("AWS_REGION", "us-east-1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    }

    /// The `[store]` section of `safe-migrate.toml`.
    pub fn toml(&self) -> String {
        let mut text = format!("[store]\nurl = \"{}\"\n", self.url());
        if let Some(endpoint) = self.endpoint() {
            text.push_str(&format!("endpoint = \"{endpoint}\"\nregion = \"us-east-1\"\npath_style = true\n"));
        }
        text
    }

    /// The process of the server, if it has one of its own.
    pub fn process_id(&self) -> Option<u32> {
        match &self.server {
            Server::Rclone { child, .. } => child.first().map(Child::id),
            Server::Local | Server::InProcess { .. } => None,
        }
    }

    /// The directory in which the objects lie as files, to damage or remove one behind the server's back.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Every object with its bytes, in the order of the keys, read past the server.
    pub fn objects(&self) -> Vec<(String, Vec<u8>)> {
        let mut objects = Vec::new();
        if self.directory.is_dir() {
            collect(&self.directory, &self.directory, &mut objects);
        }
        objects.sort();
        objects
    }
}

impl Drop for TestStore {
    fn drop(&mut self) {
        match &mut self.server {
            Server::Local => {}
            Server::InProcess { stop, thread, .. } => {
                drop(stop.take());
                if let Some(thread) = thread.take() {
                    let _ = thread.join();
                }
            }
            Server::Rclone { child, watchdog, .. } => watchdog.clean_up(child),
        }
    }
}

/// Where a chunk of a snapshot lies, by its manifest.
pub fn chunk_key(manifest: &serde_json::Value, chunk: &str) -> String {
    let stored = manifest["stored"].as_array().expect("the manifest says where chunks lie");
    let found = stored.iter().find(|one| one["chunk"] == chunk).expect("it has this chunk");
    found["key"].as_str().expect("a key is text").to_owned()
}

/// The directory of the prefix, below the bucket's.
fn make_bucket(root: &Path) -> PathBuf {
    std::fs::create_dir(root.join(BUCKET)).expect("cannot make the bucket's directory");
    root.join(BUCKET).join(PREFIX)
}

fn new_secret_key() -> String {
    format!("{:032x}", rand::random::<u128>())
}

async fn serve(service: S3Service, faults: Arc<StoreFaults>, tell_port: mpsc::Sender<u16>) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("no free port on 127.0.0.1");
    tell_port
        .send(listener.local_addr().expect("a bound socket has an address").port())
        .expect("the test waits for it");
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let io = hyper_util::rt::TokioIo::new(socket);
        let (service, faults) = (service.clone(), Arc::clone(&faults));
        let faulty = hyper::service::service_fn(move |request| answer(service.clone(), Arc::clone(&faults), request));
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(io, faulty);
        // A client that goes away in the middle is its own test's matter.
        tokio::spawn(async move { drop(connection.await) });
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

async fn answer(
    service: S3Service,
    faults: Arc<StoreFaults>,
    request: hyper::Request<hyper::body::Incoming>,
) -> Result<hyper::Response<s3s::Body>, AnyError> {
    match faults.next() {
        None => {}
        Some(StoreFault::Away) => return Err("the store is away".into()),
        Some(StoreFault::Slow(time)) => tokio::time::sleep(time).await,
        Some(StoreFault::Status(status, code)) => {
            let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>injected</Message></Error>");
            return Ok(hyper::Response::builder().status(status).body(s3s::Body::from(body))?);
        }
        Some(StoreFault::LoseAnswer) => {
            drop(hyper::service::Service::call(&service, request).await);
            return Err("the answer is lost".into());
        }
    }
    hyper::service::Service::call(&service, request).await.map_err(|error| format!("{error:?}").into())
}

/// True when something listens, false when rclone has ended, as it does when the port was taken in the meantime.
fn answers(rclone: &mut Child, port: u16) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        if rclone.try_wait().expect("our own child").is_some() {
            return false;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("rclone does not listen on port {port} after 60 s");
}

fn collect(root: &Path, directory: &Path, objects: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(directory).expect("a directory of the store") {
        let path = entry.expect("an entry of the store").path();
        if path.is_dir() {
            collect(root, &path, objects);
        } else {
            let key = path.strip_prefix(root).expect("it lies below").to_str().expect("keys are UTF-8").to_owned();
            let bytes = std::fs::read(&path).expect("an object of the store");
            objects.push((key, bytes));
        }
    }
}
