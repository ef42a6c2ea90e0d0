//! Real servers: each test starts its own.

use super::*;
use crate::postgres::Environment;
use std::time::{Duration, Instant};

pub(crate) fn environment() -> Environment {
    std::env::vars().filter(|(name, _)| !name.starts_with("PG")).collect()
}

pub(crate) fn programs() -> Programs {
    Programs::find(15, None, &environment()).expect("these tests need PostgreSQL 15's programs")
}

pub(crate) fn options(parent_dir: &Path) -> ClusterOptions {
    ClusterOptions {
        programs: programs(),
        superuser: "boss".to_owned(),
        parent_dir: parent_dir.to_owned(),
        settings: Vec::new(),
        run_as: None,
        // The tests of connections reach it over TCP.
        confine: false,
    }
}

pub(crate) async fn start_cluster() -> PrivateCluster {
    PrivateCluster::start(options(&std::env::temp_dir())).await.expect("a private cluster starts")
}

/// A directory that the server's user may pass through.
fn open_directory() -> tempfile::TempDir {
    let permissions = std::fs::Permissions::from_mode(0o755);
    tempfile::Builder::new().prefix("pc").permissions(permissions).tempdir().unwrap()
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().next().is_none()
}

fn server_pid(dir: &Path) -> u32 {
    let text = std::fs::read_to_string(data_directory(dir).join("postmaster.pid")).unwrap();
    text.lines().next().unwrap().parse().unwrap()
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(30), "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn starts_restarts_with_settings_and_leaves_nothing() {
    let parent = open_directory();
    let mut cluster = PrivateCluster::start(options(parent.path())).await.unwrap();
    assert_eq!(std::fs::metadata(cluster.dir()).unwrap().permissions().mode() & 0o777, 0o700);
    let session = cluster.spec("postgres").connect("test").await.unwrap();
    assert_eq!(session.server_version_num() / 10_000, 15);
    session.batch_execute("CREATE TABLE public.kept (id int)").await.unwrap();
    let own: i32 = session.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    assert_eq!(session.backend_pid(), own);
    session.close().await;

    cluster.restart_with(&[("wal_level".to_owned(), "logical".to_owned())]).await.unwrap();
    let session = cluster.spec("postgres").connect("test").await.unwrap();
    let row = session.query_one("SELECT current_setting('wal_level'), count(*) FROM public.kept", &[]).await.unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, i64>(1)), ("logical", 0));
    session.close().await;

    let (pid, data) = (server_pid(cluster.dir()), data_directory(cluster.dir()));
    assert!(process::is_server_of(pid, &data));
    cluster.stop().await.unwrap();
    assert!(!process::is_server_of(pid, &data));
    assert!(is_empty(parent.path()));
}

#[tokio::test]
async fn dropping_it_leaves_nothing() {
    let parent = open_directory();
    let cluster = PrivateCluster::start(options(parent.path())).await.unwrap();
    let (pid, data) = (server_pid(cluster.dir()), data_directory(cluster.dir()));
    drop(cluster);
    assert!(!process::is_server_of(pid, &data));
    assert!(is_empty(parent.path()));
}

#[tokio::test]
async fn a_bad_setting_shows_the_log_and_leaves_nothing() {
    let parent = open_directory();
    let mut options = options(parent.path());
    options.settings = vec![("shared_buffers".to_owned(), "much".to_owned())];
    let error = PrivateCluster::start(options).await.unwrap_err();
    assert!(matches!(&error, ClusterError::Exited { log, .. } if log.contains("shared_buffers")), "{error}");
    assert!(is_empty(parent.path()));
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_is_refused_before_anything_is_made() {
    let parent = open_directory();
    let deep = parent.path().join("d".repeat(100));
    std::fs::create_dir(&deep).unwrap();
    let error = PrivateCluster::start(options(&deep)).await.unwrap_err();
    assert!(matches!(error, ClusterError::SocketPathTooLong { .. }), "{error}");
    assert!(is_empty(&deep));
}

#[tokio::test]
async fn sweeping_removes_orphans_only() {
    let parent = open_directory();
    let alive = PrivateCluster::start(options(parent.path())).await.unwrap();
    let mut orphan = PrivateCluster::start(options(parent.path())).await.unwrap();
    let strange = parent.path().join(format!("{PREFIX}strange"));
    std::fs::create_dir(&strange).unwrap();

    // The owner's number is in use, by a process that started at another time; nobody watches any more.
    let owner = orphan.dir().join("owner.json");
    let text = std::fs::read_to_string(&owner).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value["started"] = "1".into();
    std::fs::write(&owner, value.to_string()).unwrap();
    orphan.watchdog.take().unwrap().dismiss();
    orphan.removed = true;
    let (pid, data) = (server_pid(orphan.dir()), data_directory(orphan.dir()));
    let dir = orphan.dir().to_owned();

    let removed = PrivateCluster::sweep_orphans(parent.path(), None).await.unwrap();
    assert_eq!(removed, vec![dir]);
    orphan.server.stop_now();
    assert!(!process::is_server_of(pid, &data));
    assert!(strange.exists());
    alive.spec("postgres").connect("test").await.unwrap().close().await;
    alive.stop().await.unwrap();
}

/// Not a test of its own: the process that the next test kills.
#[tokio::test]
#[ignore = "run as a child of the test below"]
async fn owner_to_be_killed() {
    let Ok(parent) = std::env::var("SAFE_MIGRATE_TEST_PARENT") else { return };
    let _cluster = PrivateCluster::start(options(Path::new(&parent))).await.unwrap();
    std::fs::write(Path::new(&parent).join("ready"), "").unwrap();
    tokio::time::sleep(Duration::from_secs(120)).await;
}

#[tokio::test]
async fn a_killed_owner_leaves_nothing() {
    let parent = open_directory();
    let mut owner = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "postgres::private_cluster::tests::owner_to_be_killed"])
        .env("SAFE_MIGRATE_TEST_PARENT", parent.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let ready = parent.path().join("ready");
    eventually("the owner is ready", || ready.exists()).await;
    std::fs::remove_file(&ready).unwrap();
    let dir = std::fs::read_dir(parent.path()).unwrap().next().unwrap().unwrap().path();
    let (pid, data) = (server_pid(&dir), data_directory(&dir));
    assert!(process::is_server_of(pid, &data));

    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("the directory is gone", || is_empty(parent.path())).await;
    eventually("the server is gone", || !process::is_server_of(pid, &data)).await;
}
