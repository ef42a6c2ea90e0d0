//! Restores that are stopped in the middle: by a signal, a server that crashes, a store that is away or damaged.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Output, Project, Scene, TestCluster, TestStore, Version};

const ROWS: &str = "CREATE TABLE big (id serial PRIMARY KEY, b text);
    INSERT INTO big (b) SELECT md5(i::text) || md5((i * 7)::text) || md5((i * 11)::text) FROM generate_series(1, 400000) i";

fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap().success());
}

/// A restore that has begun to fill its database.
fn filling(scene: &Scene, id: &str) -> Child {
    let mut command = scene.project.command(&["restore", id, "--in-place", "--yes", "--jobs", "1"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let loading = format!(
        "SELECT count(*) FROM pg_stat_progress_copy WHERE datname LIKE '{}_restored_%' AND tuples_processed > 0",
        scene.database.name()
    );
    while scene.cluster().query("postgres", &loading) == "0" {
        assert!(child.try_wait().unwrap().is_none() && Instant::now() < deadline, "no restore was seen");
    }
    child
}

fn ended(scene: &Scene, child: Child, status: i32) -> Output {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let output =
        Output { status: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) };
    scene.check(status, &["restore"], &output);
    output
}

fn live(scene: &Scene) -> String {
    scene.database.query("SELECT count(*), sum(hashtextextended(t::text, 0)) FROM big t")
}

/// The live database is as it was, and the next restore succeeds and leaves no stray database.
fn the_next_one_succeeds(scene: &Scene, id: &str, restored: &str, before: &str) {
    assert_eq!(live(scene), before);
    scene.run(0, &["restore", id, "--in-place", "--yes"]);
    assert_eq!(live(scene), restored);
    let databases = scene.databases();
    assert!(databases.len() == 2 && databases[1].contains("_before_"), "{databases:?}");
}

fn damaged_since(scene: &Scene) -> (String, String, String) {
    scene.database.sql(ROWS);
    let id = scene.take_snapshot();
    let restored = live(scene);
    scene.database.sql("DELETE FROM big WHERE id % 2 = 0");
    (id, restored, live(scene))
}

fn a_signal_stops_it(version: Version, name: &str) {
    let scene = Scene::empty(version);
    let (id, restored, before) = damaged_since(&scene);
    let child = filling(&scene, &id);
    signal(name, child.id());
    let output = ended(&scene, child, 130);
    assert!(output.stderr.contains("production: unchanged"), "{}", output.stderr);
    assert_eq!(scene.databases(), [scene.database.name()], "{}", output.stderr);
    assert_eq!(crate::restore_swap::recorded_run(&scene, "restore ")["outcome"], "interrupted");
    the_next_one_succeeds(&scene, &id, &restored, &before);
}

#[test]
fn restore_stopped_by_ctrl_c_leaves_nothing() {
    a_signal_stops_it(Version::V15, "INT");
}

#[test]
fn restore_stopped_by_sigterm_leaves_nothing_18() {
    a_signal_stops_it(Version::V18, "TERM");
}

#[test]
fn restore_goes_on_after_the_server_crashed() {
    let cluster = Arc::new(TestCluster::start(Version::V15, &[]));
    let scene = Scene::on(&cluster);
    let (id, restored, before) = damaged_since(&scene);
    let child = filling(&scene, &id);
    let worker = format!(
        "SELECT pid FROM pg_stat_activity WHERE datname LIKE '{}_restored_%' AND state = 'active' LIMIT 1",
        scene.database.name()
    );
    let mut active = cluster.query("postgres", &worker);
    while active.is_empty() {
        active = cluster.query("postgres", &worker);
    }
    signal("KILL", active.parse().unwrap());
    let output = ended(&scene, child, 1);
    assert!(output.stderr.contains("the next restore drops it"), "{}", output.stderr);
    let deadline = Instant::now() + Duration::from_secs(30);
    while cluster.try_sql("postgres", "SELECT 1").is_err() {
        assert!(Instant::now() < deadline, "the server did not come back");
        std::thread::sleep(Duration::from_millis(50));
    }
    // What takes the disk is told, and what becomes of it.
    let doctor = scene.project.run(&["doctor"]).stdout;
    let left = format!("\"{}_restored_", scene.database.name());
    assert!(doctor.contains(&left) && doctor.contains(" is half filled"), "{doctor}");
    assert!(doctor.contains("the next restore drops what is half filled"), "{doctor}");
    the_next_one_succeeds(&scene, &id, &restored, &before);
    let doctor = scene.project.run(&["doctor"]).stdout;
    assert!(!doctor.contains("half filled"), "{doctor}");
}

#[test]
fn restore_without_its_store_changes_nothing() {
    let store = TestStore::rclone();
    let cluster = TestCluster::shared(Version::V15);
    let database = cluster.database();
    let project = Project::new(&database, &store);
    database.sql(ROWS);
    let output = project.run(&["snapshot", "create"]);
    let id = output.stdout.trim().to_owned();
    database.sql("DELETE FROM big WHERE id % 2 = 0");
    let before = database.dump();

    let mut command = project.command(&["restore", &id, "--in-place", "--yes", "--jobs", "1"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let family = format!("SELECT count(*) FROM pg_database WHERE starts_with(datname, '{}_')", database.name());
    while cluster.query("postgres", &family) == "0" {}
    signal("KILL", store.process_id().unwrap());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert_eq!(cluster.query("postgres", &family), "0", "{said}");
    assert_eq!(database.dump(), before);

    // The same objects, served in another way.
    let url = format!("file://{}", store.directory().display());
    let toml = std::fs::read_to_string(project.directory().join("safe-migrate.toml")).unwrap();
    let (head, _) = toml.split_once("[store]").unwrap();
    project.configure(&format!("{head}[store]\nurl = \"{url}\"\n"));
    let output = project.run(&["restore", &id, "--in-place", "--yes"]);
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert_eq!(database.query("SELECT count(*) FROM big"), "400000");
    assert_eq!(cluster.query("postgres", &family), "1");
}

/// Passes everything on, and flips a byte in the answers to the first `damages` requests for a chunk.
fn proxy(target: &str, damages: u32) -> (u16, Arc<AtomicU32>) {
    let target = target.to_owned();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let damaged = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&damaged);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (Ok(server), count) = (TcpStream::connect(&target), Arc::clone(&count)) else { return };
            let asked = Arc::new(AtomicBool::new(false));
            let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let sees = Arc::clone(&asked);
            std::thread::spawn(move || {
                let mut buffer = [0; 65536];
                while let Ok(length @ 1..) = from_client.read(&mut buffer) {
                    let text = String::from_utf8_lossy(&buffer[..length]);
                    if text.starts_with("GET ") && text.lines().next().is_some_and(|line| line.contains("/chunks/")) {
                        sees.store(true, Ordering::SeqCst);
                    }
                    if to_server.write_all(&buffer[..length]).is_err() {
                        break;
                    }
                }
                let _ = to_server.shutdown(std::net::Shutdown::Both);
            });
            let (mut from_server, mut to_client) = (server, client);
            std::thread::spawn(move || {
                let mut buffer = [0; 65536];
                let mut in_body = false;
                while let Ok(length @ 1..) = from_server.read(&mut buffer) {
                    let body = match in_body {
                        true => Some(0),
                        false => buffer[..length].windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4),
                    };
                    if asked.load(Ordering::SeqCst) && count.load(Ordering::SeqCst) < damages {
                        match body {
                            Some(at) if at < length => {
                                buffer[length - 1] ^= 1;
                                count.fetch_add(1, Ordering::SeqCst);
                                asked.store(false, Ordering::SeqCst);
                                in_body = false;
                            }
                            found => in_body = found.is_some(),
                        }
                    }
                    if to_client.write_all(&buffer[..length]).is_err() {
                        break;
                    }
                }
                let _ = to_client.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    (port, damaged)
}

#[test]
fn restore_reads_a_chunk_again_that_arrived_damaged_and_names_one_that_stays_so() {
    let store = TestStore::rclone();
    let cluster = TestCluster::shared(Version::V15);
    let database = cluster.database();
    let project = Project::new(&database, &store);
    database.sql(ROWS);
    let id = project.run(&["snapshot", "create"]).stdout.trim().to_owned();
    let toml = std::fs::read_to_string(project.directory().join("safe-migrate.toml")).unwrap();
    let endpoint = store.endpoint().unwrap();
    let through = |damages: u32| {
        let (port, damaged) = proxy(endpoint.trim_start_matches("http://"), damages);
        project.configure(&toml.replace(endpoint, &format!("http://127.0.0.1:{port}")));
        damaged
    };
    let family = format!("SELECT count(*) FROM pg_database WHERE starts_with(datname, '{}_')", database.name());

    let damaged = through(1);
    let copy = format!("{}_copy", database.name());
    let output = project.run(&["restore", &id, "--to", &copy, "--yes"]);
    assert_eq!((output.status, damaged.load(Ordering::SeqCst)), (0, 1), "{}", output.stderr);
    assert_eq!(cluster.query(&copy, "SELECT count(*) FROM big"), "400000");
    assert_eq!(cluster.query("postgres", &family), "1");

    let damaged = through(u32::MAX);
    let before = database.dump();
    let output = project.run(&["restore", &id, "--in-place", "--yes"]);
    assert_eq!(output.status, 6, "{}", output.stderr);
    assert!(damaged.load(Ordering::SeqCst) >= 2, "it was read again");
    assert!(output.stderr.contains("damaged") && output.stderr.contains("chunks/"), "{}", output.stderr);
    assert_eq!(cluster.query("postgres", &family), "1", "nothing but the copy");
    assert_eq!(database.dump(), before);
}
