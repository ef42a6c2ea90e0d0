//! The tests' own ground: servers start and stop, databases and stores are what they say, and nothing is left.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::primitives::ByteStream;

use crate::support::{Project, TestCluster, TestStore, Version};

fn process_is_there(id: u32) -> bool {
    Command::new("kill").args(["-0", &id.to_string()]).stderr(Stdio::null()).status().unwrap().success()
}

fn databases_are_made_and_dropped(version: Version, majors: std::ops::RangeFrom<u32>) {
    let cluster = TestCluster::shared(version);
    let major: u32 =
        cluster.query("postgres", "SELECT current_setting('server_version_num')::int / 10000").parse().unwrap();
    assert!(majors.contains(&major), "{version:?} is a PostgreSQL {major}");

    let database = cluster.database();
    let other = cluster.database();
    assert_ne!(database.name(), other.name());
    database.sql(
        "CREATE TABLE dish (id int PRIMARY KEY, name text);\nINSERT INTO dish VALUES (1, 'isombe'), (2, 'ubugari')",
    );
    assert_eq!(database.query("SELECT id, name FROM dish ORDER BY id"), "1|isombe\n2|ubugari");
    assert!(database.dump().contains("CREATE TABLE public.dish"));
    assert_eq!(database.dump(), database.dump(), "two dumps of the same are the same");
    assert!(!other.dump().contains("dish"));

    // What a restore would make of it goes with it, also when nobody may connect.
    let name = database.name().to_owned();
    cluster.sql("postgres", &format!("CREATE DATABASE {name}_restored IS_TEMPLATE true ALLOW_CONNECTIONS false"));
    drop(database);
    let left = cluster.query("postgres", &format!("SELECT count(*) FROM pg_database WHERE datname ~ '^{name}'"));
    assert_eq!(left, "0");
}

#[test]
fn a_server_of_the_system_makes_and_drops_databases() {
    databases_are_made_and_dropped(Version::V15, 15..);
}

#[test]
fn a_server_18_makes_and_drops_databases() {
    databases_are_made_and_dropped(Version::V18, 18..);
}

#[test]
fn the_server_asks_for_passwords_over_tcp() {
    let cluster = TestCluster::shared(Version::V15);
    let database = cluster.database();
    let role = cluster.role("reader", "s3cret", "NOSUPERUSER");
    let login = |url: &str| {
        let query = ["-X", "-w", "-At", "-c", "SELECT current_user", "-d", url];
        let output = cluster.program("psql").args(query).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap().trim().to_owned())
    };
    assert_eq!(login(&role.url(&database)), (true, role.name().to_owned()));
    assert_eq!(login(&database.url()), (true, "admin".to_owned()));
    assert_eq!(login(&database.socket_url()), (true, "admin".to_owned()));
    assert_eq!(login(&database.url().replace(cluster.password(), "wrong")), (false, String::new()));
}

#[test]
fn a_stopped_server_leaves_nothing() {
    let cluster = TestCluster::start(Version::V15, &["work_mem=1234kB"]);
    assert_eq!(cluster.query("postgres", "SHOW work_mem"), "1234kB");
    assert!(cluster.log().contains("ready to accept connections"), "{}", cluster.log());
    let (directory, id) = (cluster.directory().to_owned(), cluster.process_id());
    assert!(directory.is_dir() && process_is_there(id));
    drop(cluster);
    assert!(!directory.exists() && !process_is_there(id));
}

/// A parent that ignores SIGINT (a shell's background job, some CI) hands that down, and the tool obeys it.
#[test]
fn signals_reach_what_the_tests_start() {
    for signal in ["INT", "HUP", "TERM"] {
        let status = Command::new("sh").args(["-c", &format!("kill -{signal} $$")]).status().unwrap();
        assert!(status.code().is_none(), "SIG{signal} is ignored here; run the tests by scripts/test");
    }
}

#[test]
fn a_killed_test_process_leaves_nothing() {
    // This very test binary, running the test below, is killed in the middle of it.
    let scratch = tempfile::tempdir().unwrap();
    let note = scratch.path().join("note");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "support_selftest::hold_servers_until_killed", "--ignored", "--quiet"])
        .env("SAFE_MIGRATE_TEST_NOTE", &note)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !note.exists() {
        assert!(child.try_wait().unwrap().is_none() && Instant::now() < deadline, "the servers did not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    let text = std::fs::read_to_string(&note).unwrap();
    let [server, server_directory, store_directory] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
    let there = || [server_directory, store_directory].iter().any(|directory| Path::new(directory).exists());
    let server: u32 = server.parse().unwrap();
    assert!(process_is_there(server) && there());
    child.kill().unwrap();
    child.wait().unwrap();
    while process_is_there(server) || there() {
        assert!(Instant::now() < deadline, "the watchdog did not clean up: {text}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "a part of a_killed_test_process_leaves_nothing, which runs it"]
fn hold_servers_until_killed() {
    let Some(note) = std::env::var_os("SAFE_MIGRATE_TEST_NOTE") else { return };
    let cluster = TestCluster::start(Version::V15, &[]);
    let store = TestStore::rclone();
    let bucket = store.directory().parent().unwrap();
    let text = format!("{}\n{}\n{}\n", cluster.process_id(), cluster.directory().display(), bucket.display());
    let unfinished = Path::new(&note).with_extension("unfinished");
    std::fs::write(&unfinished, text).unwrap();
    std::fs::rename(&unfinished, &note).unwrap();
    std::thread::sleep(Duration::from_secs(120));
}

/// Puts and lists through the S3 protocol with a client of the test's own; the keys that the server lists.
fn put_and_list(
    store: &TestStore,
    objects: &[(&str, &str)],
    secret_key: &str,
) -> Result<Vec<String>, aws_sdk_s3::Error> {
    let variables = store.env();
    let access_key = &variables.iter().find(|(name, _)| name == "AWS_ACCESS_KEY_ID").unwrap().1;
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(store.endpoint().unwrap())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(access_key, secret_key, None, None, "test"))
        .force_path_style(true)
        .build();
    let client = aws_sdk_s3::Client::from_conf(config);
    let (bucket, prefix) = store.url().strip_prefix("s3://").unwrap().split_once('/').map(own).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        for (key, text) in objects {
            let body = ByteStream::from(text.as_bytes().to_vec());
            client.put_object().bucket(&bucket).key(format!("{prefix}/{key}")).body(body).send().await?;
        }
        let listed = client.list_objects_v2().bucket(&bucket).prefix(format!("{prefix}/")).send().await?;
        let keys = listed.contents().iter().filter_map(|object| object.key());
        Ok(keys.map(|key| key.strip_prefix(&format!("{prefix}/")).unwrap().to_owned()).collect())
    })
}

fn own((left, right): (&str, &str)) -> (String, String) {
    (left.to_owned(), right.to_owned())
}

fn an_s3_store_keeps_objects(store: &TestStore) {
    assert_eq!(store.objects(), []);
    let objects = [("chunks/ab/ab12", "one"), ("snapshots/x/manifest.json", "{}")];
    let keys = put_and_list(store, &objects, store.secret_key().unwrap()).unwrap();
    assert_eq!(keys, objects.map(|(key, _)| key));
    let expected = objects.map(|(key, text)| (key.to_owned(), text.as_bytes().to_vec()));
    assert_eq!(store.objects(), expected, "the files are the objects");

    // Behind the server's back: what a test of damage does.
    std::fs::remove_file(store.directory().join("chunks/ab/ab12")).unwrap();
    std::thread::sleep(Duration::from_millis(50)); // rclone remembers a directory for 5 ms
    let keys = put_and_list(store, &[], store.secret_key().unwrap()).unwrap();
    assert_eq!(keys, ["snapshots/x/manifest.json"]);

    assert!(put_and_list(store, &[], "wrong").is_err(), "a wrong key is refused");
    assert!(store.toml().contains("endpoint = ") && !store.toml().contains(store.secret_key().unwrap()));
}

#[test]
fn the_in_process_s3_server_keeps_objects() {
    let store = TestStore::s3s();
    an_s3_store_keeps_objects(&store);
    let directory = store.directory().to_owned();
    drop(store);
    assert!(!directory.exists());
}

#[test]
fn rclone_keeps_objects() {
    let store = TestStore::rclone();
    an_s3_store_keeps_objects(&store);
    let directory = store.directory().to_owned();
    drop(store);
    assert!(!directory.exists());
}

#[test]
fn a_local_store_lists_the_files_below_it() {
    let project = Project::empty();
    let store = TestStore::local(&project.directory().join("store"));
    assert_eq!(store.objects(), []);
    project.write("store/chunks/ab/ab12", "one");
    project.write("store/safe-migrate.json", "{}");
    let expected = [("chunks/ab/ab12", "one"), ("safe-migrate.json", "{}")];
    assert_eq!(store.objects(), expected.map(|(key, text)| (key.to_owned(), text.as_bytes().to_vec())));
    assert_eq!(store.url(), format!("file://{}", store.directory().display()));
    assert_eq!(store.env(), []);
}

#[test]
fn a_project_runs_the_binary_and_renders_what_it_said() {
    let project = Project::empty();
    let migration = project.write_migration("menu", "0001_initial", "-- migrate:up\nSELECT 1;\n");
    assert_eq!(migration, project.migrations().join("menu/0001_initial.sql"));

    let output = project.run(&["--version"]);
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));

    let output = crate::support::Output {
        status: 4,
        stdout: format!("kept {}/x in test_00012, 1.5 GB in 3.2 s", project.directory().display()),
        stderr: "20261122T135823Z-7f3a9c at 2026-11-22T13:58:23Z on 127.0.0.1:54321: 3 tables, 12 rows\n".to_owned(),
    };
    insta::assert_snapshot!(project.render(&["apply", "--yes"], &output), @"
    $ safe-migrate apply --yes
    exit 4
    --- stdout
    kept [PROJECT]/x in test_[N], [SIZE] in [DURATION][no newline at the end]
    --- stderr
    [ID] at [TIME] on 127.0.0.1:[PORT]: 3 tables, 12 rows
    ");
}
