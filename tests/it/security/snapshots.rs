//! Names and settings of a snapshot: they are data, neither connection strings nor the configuration of a server.

use std::sync::Arc;

use super::{Trap, forged};
use crate::support::{Scene, TestCluster, Version, output_of};

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
    settings_write_no_file(Version::V18);
}
