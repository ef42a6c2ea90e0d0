//! A snapshot is restored without safe-migrate: the steps of FORMAT.md, run as they are written (P10).

use std::path::Path;
use std::process::{Output, Stdio};

use crate::support::{Contents, Scene, TestCluster, Version, clean_command, dump_and_restore};

const FORMAT: &str = include_str!("../../src/snapshot/FORMAT.md");

/// What the steps may use besides PostgreSQL's programs. Nothing of ours is among them.
const PROGRAMS: &[&str] = &["base64", "cat", "grep", "head", "jq", "mktemp", "rm", "sed", "sha256sum", "tail", "zstd"];

const PEOPLE: &str = "
    CREATE TABLE \"the 'people'\" (id int PRIMARY KEY, \"full name\" text, initial text GENERATED ALWAYS AS (left(\"full name\", 1)) STORED);
    INSERT INTO \"the 'people'\" SELECT i, repeat(chr(65 + i % 26), 1 + i % 9) || E'\\t\\\\' FROM generate_series(1, 5000) i;
    CREATE SEQUENCE \"odd 'sequence'\"; SELECT setval('\"odd ''sequence''\"', 41);
    GRANT SELECT ON types TO PUBLIC;
    ALTER TABLE dropped OWNER TO ";

/// The ```sh blocks of the last section, joined as somebody would paste them into one shell.
fn steps(id: &str, database: &str) -> String {
    let (_, section) = FORMAT.split_once("\n## Restoring by hand\n").expect("FORMAT.md has the section");
    let blocks = section.split("```sh\n").skip(1).map(|rest| rest.split_once("```").expect("a block ends").0);
    let script: String = blocks.collect();
    for placeholder in ["20261122T135823Z-7f3a9c", "database=restored "] {
        assert_eq!(script.matches(placeholder).count(), 1, "{placeholder}");
    }
    script.replace("20261122T135823Z-7f3a9c", id).replace("database=restored ", &format!("database={database} "))
}

/// Where each of the programs is, in a directory that holds no other.
fn only_programs(directory: &Path) {
    let path = std::env::var_os("PATH").expect("there is a PATH");
    for program in PROGRAMS {
        let found = std::env::split_paths(&path).map(|below| below.join(program)).find(|file| file.is_file());
        let found = found.unwrap_or_else(|| panic!("`{program}` is not installed; run scripts/setup"));
        std::os::unix::fs::symlink(found, directory.join(program)).unwrap();
    }
}

/// Runs the steps in the root of the store, against this server.
fn follow(scene: &Scene, id: &str, target: &TestCluster, database: &str) -> Output {
    let directory = tempfile::tempdir().unwrap();
    only_programs(directory.path());
    let url = target.socket_url("postgres");
    let user = url.strip_prefix("postgresql://").and_then(|rest| rest.split_once('@')).expect("the address names it").0;
    assert!(!target.bin_dir().join("safe-migrate").exists());
    let mut bash = clean_command("/bin/bash");
    bash.args(["--norc", "-c", &steps(id, database)])
        .current_dir(scene.store.directory())
        .env("PATH", format!("{}:{}", directory.path().display(), target.bin_dir().display()))
        .env("LC_ALL", "C.UTF-8")
        .env("TMPDIR", directory.path())
        .env("PGHOST", target.directory())
        .env("PGPORT", target.port().to_string())
        .env("PGUSER", user)
        .stdin(Stdio::null());
    let output = bash.output().unwrap();
    let left = std::fs::read_dir(directory.path()).unwrap().count() - PROGRAMS.len();
    assert_eq!(left, usize::from(!output.status.success()), "at their end the steps have removed their files");
    output
}

/// What the steps print when they succeed, as they must.
fn followed(scene: &Scene, id: &str, target: &TestCluster, database: &str) -> String {
    let output = follow(scene, id, target, database);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn rich(scene: &Scene, owner: &str) {
    scene.database.sql(include_str!("support/rich.sql"));
    scene.database.sql(&format!("{PEOPLE}{owner}; TRUNCATE fleeting"));
}

#[test]
fn by_hand_the_snapshot_comes_back() {
    let scene = Scene::empty(Version::V15);
    let role = scene.cluster().role("cook", "unused", "");
    rich(&scene, role.name());
    let id = scene.take_snapshot();
    let name = scene.database.name();
    let (by_hand, plain) = (format!("{name}_by_hand"), format!("{name}_plain"));

    let printed = followed(&scene, &id, scene.cluster(), &by_hand);
    assert_eq!(Contents::of(scene.cluster(), &by_hand), Contents::of(scene.cluster(), name));
    let large = "SELECT obj_description(424242, 'pg_largeobject')";
    assert_eq!(scene.cluster().query(&by_hand, large), "a picture");
    dump_and_restore(scene.cluster(), name, &plain);
    assert_eq!(scene.schema_of(&by_hand), scene.schema_of(&plain));
    // The two sums of step 1, which a reader compares by eye.
    let sums = printed.lines().find_map(|line| line.strip_suffix("  -")).expect("sha256sum prints one");
    assert!(printed.contains(&format!("\"checksum\": \"{sums}\"")), "{printed}");
    scene.cluster().sql("postgres", &format!("DROP DATABASE {by_hand}; DROP DATABASE {plain}"));
    scene.database.sql("DROP TABLE dropped");
}

#[test]
fn by_hand_on_a_new_server_of_a_newer_version() {
    let scene = Scene::empty(Version::V15);
    let role = scene.cluster().role("cook", "unused", "");
    rich(&scene, role.name());
    // The newer server may be built without libxml.
    scene.database.sql("DELETE FROM types WHERE x IS NOT NULL");
    let id = scene.take_snapshot();
    let newer = TestCluster::start(Version::V18, &[]);

    followed(&scene, &id, &newer, "restored");
    assert_eq!(Contents::of(&newer, "restored"), Contents::of(scene.cluster(), scene.database.name()));
    let owner = newer.query("restored", "SELECT tableowner FROM pg_tables WHERE tablename = 'dropped'");
    assert_eq!(owner, role.name(), "the role was made from the snapshot");
    scene.database.sql("DROP TABLE dropped");
}

#[test]
fn by_hand_a_damaged_chunk_stops_the_steps() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 1000) i");
    let id = scene.take_snapshot();
    let by_hand = format!("{}_by_hand", scene.database.name());
    let objects = scene.store.objects();
    let chunks: Vec<_> = objects.iter().filter(|(key, _)| key.starts_with("chunks/")).collect();
    assert_eq!(chunks.len(), 3, "schema, roles and rows");
    for (key, bytes) in chunks {
        let path = scene.store.directory().join(key);
        let mut damaged = bytes.clone();
        damaged[bytes.len() / 2] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        let output = follow(&scene, &id, scene.cluster(), &by_hand);
        assert!(!output.status.success(), "zstd or sha256sum refuses {key}");
        std::fs::write(&path, bytes).unwrap();
        scene.cluster().sql("postgres", &format!("DROP DATABASE IF EXISTS {by_hand}"));
    }
    followed(&scene, &id, scene.cluster(), &by_hand);
}
