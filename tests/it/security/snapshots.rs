//! Names and settings of a snapshot: they are data, neither connection strings nor the configuration of a server.

use std::sync::Arc;

use super::{Trap, forged};
use crate::support::{Project, Scene, TestCluster, TestStore, Version, output_of};

fn scene(version: Version) -> Scene {
    let scene = Scene::on(&Arc::new(TestCluster::start(version, &[])));
    scene.database.sql("CREATE TABLE dish (id int PRIMARY KEY); INSERT INTO dish VALUES (1)");
    scene.project.write_migration("kitchen", "0001_size", "-- migrate:up\nALTER TABLE dish ADD COLUMN size int;\n");
    scene
}

fn name_leads_nowhere(version: Version) {
    let scene = scene(version);
    let cluster = scene.cluster();
    cluster.sql("postgres", "CREATE DATABASE victim");
    // A name has 63 bytes.
    let short = tempfile::Builder::new().prefix("s").tempdir_in("/tmp").unwrap();
    let socket = short.path().join("p");
    std::os::unix::fs::symlink(cluster.directory(), &socket).unwrap();
    std::fs::set_permissions(short.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let name = format!("host={} port={} user=admin dbname=victim", socket.display(), cluster.port());
    assert!(name.len() < 64, "{name}");
    let id = scene.take_snapshot();
    forged::manifest(&scene, &id, |value| value["database"]["name"] = name.as_str().into());
    let tables = "SELECT count(*) FROM pg_class WHERE relname = 'dish'";
    for arguments in [&["rehearse", "--snapshot", &id][..], &["snapshot", "verify", &id, "--level", "restore"]] {
        scene.run(0, arguments);
        assert_eq!(cluster.query("victim", tables), "0", "it was restored into {name}");
    }
    // An operator may name a database so, too.
    scene.run(0, &["restore", &id, "--to", "dbname=victim", "--yes"]);
    assert_eq!(cluster.query("victim", tables), "0");
    assert_eq!(cluster.query("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'dbname=victim'"), "1");
    cluster.sql("postgres", "DROP DATABASE \"dbname=victim\"");

    // The control: pg_restore itself goes there.
    let archive = scene.project.directory().join("archive");
    let url = cluster.socket_url(scene.database.name());
    output_of(cluster.program("pg_dump").args(["-Fc", "-d", &url, "-f"]).arg(&archive));
    output_of(cluster.program("pg_restore").arg(format!("--dbname={name}")).arg(&archive));
    assert_eq!(cluster.query("victim", tables), "1", "the control does not work");
}

#[test]
fn security_name_of_a_database_is_no_connection_string() {
    name_leads_nowhere(Version::V15);
}

#[test]
fn security_name_of_a_database_is_no_connection_string_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    name_leads_nowhere(Version::V18);
}

fn settings_write_no_file(version: Version) {
    let trap = Trap::new();
    let scene = scene(version);
    let id = scene.take_snapshot();
    let place = trap.path().display().to_string();
    let hostile = [
        ("logging_collector", "on"),
        ("log_destination", "stderr"),
        ("log_directory", &place),
        ("log_filename", "owned"),
        ("log_min_messages", "debug1"),
        ("hba_file", "/dev/null"),
        ("listen_addresses", "127.0.0.1"),
        ("port", "6543"),
        ("max_locks_per_transaction", "100000000"),
        ("shared_preload_libraries", "/tmp/x.so"),
        ("unix_socket_directories", &place),
        ("external_pid_file", &format!("{place}/owned.pid")),
        ("archive_command", &format!("touch {place}/owned")),
    ];
    forged::manifest(&scene, &id, |manifest| {
        for (name, value) in hostile {
            manifest["server"]["settings"][name] = value.into();
        }
    });
    scene.run(0, &["rehearse", "--snapshot", &id]);
    scene.run(0, &["snapshot", "verify", &id, "--level", "restore"]);
    trap.is_empty();

    let settings =
        [format!("log_directory={place}"), "log_filename=owned".to_owned(), "logging_collector=on".to_owned()];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let control = TestCluster::start(version, &settings);
    drop(control);
    trap.was_sprung();
}

#[test]
fn security_settings_of_a_snapshot_configure_no_server() {
    settings_write_no_file(Version::V15);
}

#[test]
fn security_settings_of_a_snapshot_configure_no_server_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    settings_write_no_file(Version::V18);
}

/// A chunk whose bytes rotted, or were changed, and whose size did not: the next snapshot does not rest on it.
fn rotten_chunk_is_written_anew(store: TestStore, flip: impl Fn(&TestStore, &str)) {
    let database = TestCluster::shared(Version::V15).database();
    let project = Project::new(&database, &store);
    let scene = Scene::with(database, store, project);
    scene.database.sql("CREATE TABLE dish AS SELECT i AS id, md5(i::text) AS name FROM generate_series(1, 5000) i");
    scene.take_snapshot();
    let chunks = scene.store.objects().into_iter().filter(|(key, _)| key.starts_with("chunks/"));
    let largest = chunks.max_by_key(|(_, bytes)| bytes.len()).unwrap().0;
    flip(&scene.store, &largest);
    let id = scene.take_snapshot();
    scene.run(0, &["snapshot", "verify", &id, "--level", "hash"]);
    let copy = format!("{}_copy", scene.database.name());
    scene.run(0, &["restore", &id, "--to", &copy, "--yes"]);
    let sum = "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM dish t";
    assert_eq!(scene.cluster().query(&copy, sum), scene.database.query(sum));
}

fn flip_file(path: &std::path::Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xFF;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn security_rotten_chunk_is_not_reused() {
    let directory = tempfile::tempdir().unwrap();
    let store = TestStore::local(&directory.path().join("store"));
    rotten_chunk_is_written_anew(store, |store, key| flip_file(&store.directory().join(key)));
}

/// A service that computes no sums at a PUT: the chunk itself is read.
#[test]
fn security_rotten_chunk_in_a_bucket_is_not_reused() {
    rotten_chunk_is_written_anew(TestStore::s3s(), |store, key| flip_file(&store.directory().join(key)));
}

/// A FIFO in the place of an object holds nobody up, and an object larger than the snapshot says fills no memory.
#[test]
fn security_objects_that_never_end_are_damage() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE dish AS SELECT i AS id FROM generate_series(1, 1000) i");
    let id = scene.take_snapshot();
    let chunks = scene.store.objects().into_iter().filter(|(key, _)| key.starts_with("chunks/"));
    let chunk = scene.store.directory().join(chunks.max_by_key(|(_, bytes)| bytes.len()).unwrap().0);
    let bomb = zstd::encode_all(&vec![0; 256 << 20][..], 19).unwrap();
    std::fs::write(&chunk, bomb).unwrap();
    let output = scene.run(6, &["snapshot", "verify", &id, "--level", "hash"]);
    assert!(output.stdout.contains("larger than the snapshot says"), "{}{}", output.stdout, output.stderr);
    std::fs::remove_file(&chunk).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &chunk, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .unwrap();
    let output = scene.run(6, &["snapshot", "verify", &id, "--level", "hash"]);
    assert!(!output.stdout.is_empty() || !output.stderr.is_empty());
}

/// The condition of an extension's table is SQL that would run as whoever restores.
#[test]
fn security_condition_of_a_snapshot_is_not_run() {
    let (trap, scene) = (Trap::new(), scene(Version::V15));
    scene.database.sql("SELECT lo_from_bytea(424242, 'x')");
    let condition = format!("lo_export(424242, '{}') = 1", trap.file().display());
    let id = scene.take_snapshot();
    forged::manifest(&scene, &id, |value| value["tables"][0]["filter"] = condition.as_str().into());
    let copy = format!("{}_copy", scene.database.name());
    let output = scene.project.run(&["restore", &id, "--to", &copy, "--yes"]);
    trap.is_empty();
    assert_ne!(output.status, 0, "{}", output.stdout);
    assert!(output.stderr.contains("by another condition here"), "{}", output.stderr);
    assert!(!scene.databases().contains(&copy));
    scene.database.sql(&format!("SELECT {condition}"));
    trap.was_sprung();
}

/// A library that every session would load, or that locks everybody out because there is none.
#[test]
fn security_settings_of_a_database_load_no_code() {
    let scene = scene(Version::V15);
    let id = scene.take_snapshot();
    let settings = ["session_preload_libraries=\"/tmp/planted\"", "session_replication_role=replica", "work_mem=8MB"];
    let forge = |value: &mut serde_json::Value| {
        value["database"]["settings"] =
            settings.iter().map(|setting| serde_json::json!({ "role": null, "setting": setting })).collect();
    };
    forged::manifest(&scene, &id, forge);
    let copy = format!("{}_copy", scene.database.name());
    let output = scene.run(0, &["restore", &id, "--to", &copy, "--yes"]);
    let set = scene.cluster().query("postgres", &format!("SELECT setconfig::text FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE datname = '{copy}'"));
    assert_eq!(set, "{work_mem=8MB}");
    assert_eq!(scene.cluster().query(&copy, "SELECT count(*) FROM dish"), "1");
    assert!(output.stderr.contains("SET \"session_preload_libraries\" TO '/tmp/planted'"), "{}", output.stderr);

    // What the live database has itself is the operator's own.
    let name = scene.database.name().to_owned();
    scene.cluster().sql("postgres", &format!("ALTER DATABASE {name} SET session_replication_role = replica"));
    let output = scene.run(0, &["restore", &id, "--in-place", "--yes"]);
    assert!(!output.stderr.contains("SET \"session_replication_role"), "{}", output.stderr);
    assert!(output.stderr.contains("SET \"session_preload_libraries\""), "{}", output.stderr);
    assert_eq!(scene.database.query("SHOW session_replication_role"), "replica");
    // The control: with it, nobody gets in.
    scene.cluster().sql("postgres", &format!("ALTER DATABASE {copy} SET session_preload_libraries = '/tmp/planted'"));
    assert!(scene.cluster().try_sql(&copy, "SELECT 1").is_err());
}

/// The owner of a database drops it, and may set what each session gets.
#[test]
fn security_owner_and_privileges_of_a_database_are_the_operators() {
    let scene = scene(Version::V15);
    let (name, copy) = (scene.database.name().to_owned(), format!("{}_copy", scene.database.name()));
    let mallory = format!("mallory_{name}");
    let sql = |text: &str| scene.cluster().sql("postgres", text);
    let of = |database: &str| {
        let facts = "SELECT pg_get_userbyid(datdba), datacl FROM pg_database WHERE datname";
        scene.cluster().query("postgres", &format!("{facts} = '{database}'"))
    };
    sql(&format!("CREATE ROLE {mallory}; REVOKE TEMP ON DATABASE {name} FROM PUBLIC"));
    let id = scene.take_snapshot();
    let (before, recorded) = (of(&name), id.clone());

    // As it was recorded, because this machine wrote it: the control.
    sql(&format!("GRANT TEMP ON DATABASE {name} TO PUBLIC; ALTER DATABASE {name} OWNER TO {mallory}"));
    let quiet = scene.run(0, &["restore", &id, "--in-place", "--yes"]);
    assert!(!quiet.stderr.contains("only the snapshot says so"), "{}", quiet.stderr);
    assert_eq!(of(&name), before);

    forged::manifest(&scene, &recorded, |value| {
        value["database"]["owner"] = mallory.as_str().into();
        value["database"]["acl"] = format!("{{=c/admin,admin=CTc/admin,{mallory}=CTc/admin}}").into();
    });
    let owner = format!("ALTER DATABASE \"{name}\" OWNER TO \"{mallory}\"");
    let right = format!("GRANT CREATE ON DATABASE \"{name}\" TO \"{mallory}\"");
    let planned = scene.run(0, &["restore", &id, "--in-place", "--dry-run"]).stdout;
    assert!(planned.contains("not set, because only the snapshot says so") && planned.contains(&owner), "{planned}");
    let output = scene.run(0, &["restore", &id, "--in-place", "--yes"]);
    assert!(output.stderr.contains(&owner) && output.stderr.contains(&right), "{}", output.stderr);
    assert_eq!(of(&name), before);

    // With no database to compare with, it is all that there is, and is said before.
    sql(&format!("ALTER DATABASE {name} RENAME TO {name}_away"));
    let to = ["restore", &id, "--to", &copy, "--yes"];
    let project = scene.project.run_with(&to, &[("DATABASE_URL", &scene.cluster().url("postgres"))]);
    let owner = owner.replace(&name, &copy).replace(&format!("mallory_{copy}"), &mallory);
    assert_eq!(project.status, 0, "{}", project.stderr);
    assert!(project.stderr.contains("set on the word of the snapshot alone"), "{}", project.stderr);
    assert!(project.stderr.contains(&owner), "{}", project.stderr);
    assert!(of(&copy).starts_with(&mallory), "{}", of(&copy));
}

/// Whoever can write to the store is not the newest for ever by a date.
#[test]
fn security_snapshot_from_the_future_is_not_the_latest() {
    let scene = scene(Version::V15);
    let id = scene.take_snapshot();
    let future = "20990101T000000Z-abcdef";
    let snapshots = scene.store.directory().join("snapshots");
    std::fs::create_dir(snapshots.join(future)).unwrap();
    std::fs::copy(snapshots.join(&id).join("manifest.json"), snapshots.join(future).join("manifest.json")).unwrap();
    forged::manifest(&scene, future, |value| value["id"] = future.into());
    let listed = scene.run(0, &["snapshot", "list"]).stdout;
    assert!(listed.lines().nth(1).unwrap().starts_with(future), "the control: it is a whole snapshot: {listed}");
    let copy = format!("{}_copy", scene.database.name());
    let output = scene.run(0, &["restore", "latest", "--to", &copy, "--yes"]);
    assert!(output.stderr.contains(&format!("{future} is dated in the future")), "{}", output.stderr);
    assert!(output.stderr.contains(&format!("from snapshot {id}")), "{}", output.stderr);
}

/// A manifest of ours that somebody changed in the store, consistent in itself: this machine knows what it wrote.
#[test]
fn security_manifest_that_was_written_here_and_changed_there_raises_an_alarm() {
    let scene = scene(Version::V15);
    let id = scene.take_snapshot();
    let copy = format!("{}_copy", scene.database.name());
    let quiet = scene.run(0, &["rehearse"]);
    assert!(!quiet.stderr.contains("ALARM"), "{}", quiet.stderr);
    forged::manifest(&scene, &id, |value| value["database"]["comment"] = "it is mine now".into());
    for arguments in [&["rehearse"][..], &["restore", &id, "--to", &copy, "--yes"]] {
        let output = scene.run(0, arguments);
        assert!(output.stderr.contains("is not the one that this machine wrote"), "{}", output.stderr);
    }
    // The control: the manifest is whole.
    scene.run(0, &["snapshot", "verify", &id, "--level", "hash"]);
}
