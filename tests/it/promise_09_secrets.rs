//! P9: a password is in no output, no object of the store, no row of the ledger and no argument of a process.

use std::collections::BTreeSet;
use std::process::Stdio;

use crate::support::{Scene, Version};

/// The arguments of every process.
fn arguments() -> BTreeSet<String> {
    let processes = std::fs::read_dir("/proc").unwrap();
    processes
        .filter_map(|entry| std::fs::read(entry.unwrap().path().join("cmdline")).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "))
        .collect()
}

#[test]
fn promise_09_the_password_is_nowhere() {
    let scene = Scene::dusangire_on_rclone(Version::V15);
    let password = scene.cluster().password().to_owned();
    let secret_key = scene.store.secret_key().unwrap().to_owned();
    scene.database.sql("CREATE TABLE big AS SELECT i, md5(i::text) FROM generate_series(1, 50000) i");
    let mut seen = BTreeSet::new();
    for command in [vec!["-v", "apply", "--yes"], vec!["-v", "restore", "latest", "--in-place", "--yes", "--json"]] {
        let mut run = scene.project.command(&command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while run.try_wait().unwrap().is_none() {
            seen.extend(arguments());
        }
        let output = run.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        assert!(!text.contains(&password) && !text.contains(&secret_key), "{text}");
    }
    assert!(seen.iter().any(|one| one.contains("pg_dump")), "the programs were seen at work");
    for one in &seen {
        assert!(!one.contains(&password) && !one.contains(&secret_key), "{one}");
    }
    for (key, bytes) in scene.store.objects() {
        let bytes = if key.starts_with("chunks/") { zstd::decode_all(&bytes[..]).unwrap() } else { bytes };
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(&password) && !text.contains(&secret_key), "{key}");
    }
    assert!(!scene.database.dump().contains(&password), "the ledger and all else");
}

#[test]
fn promise_09_a_failed_login_does_not_repeat_the_password() {
    let scene = Scene::dusangire(Version::V15);
    let wrong = "wr0ng-pa55word";
    let url = scene.database.url().replace(scene.cluster().password(), wrong);
    for arguments in
        [vec!["apply", "--yes", "--database", &url], vec!["-v", "--json", "apply", "--yes", "--database", &url]]
    {
        let output = scene.run(1, &arguments);
        assert!(!format!("{}{}", output.stdout, output.stderr).contains(wrong), "{}{}", output.stdout, output.stderr);
    }
}

/// A migration's own words may hold what nobody should keep: the terminal, the ledger, the run's record and the report
/// of the rehearsal have it masked.
#[test]
fn promise_09_a_password_in_the_servers_message_is_masked() {
    let scene = Scene::empty(Version::V15);
    let text = "-- migrate:up\nDO $$ BEGIN
        RAISE EXCEPTION 'cannot reach %', 'postgres://app:' || 'hunter2' || '@db/menu'; END $$;\n";
    scene.project.write_migration("app", "0001_far", text);
    for arguments in [vec!["apply", "--yes"], vec!["apply", "--yes", "--skip-rehearsal", "test", "--json"]] {
        let output = scene.project.run(&arguments);
        let words = format!("{}{}", output.stdout, output.stderr);
        assert!(words.contains("cannot reach postgres://app:") && !words.contains("hunter2@"), "{words}");
    }
    assert_eq!(scene.database.query("SELECT count(*) FROM safe_migrate.run WHERE error ~ 'cannot reach'"), "1");
    assert_eq!(scene.database.query("SELECT count(*) FROM safe_migrate.run WHERE error ~ 'hunter2'"), "0");
    for (key, bytes) in scene.store.objects() {
        let bytes = if key.starts_with("chunks/") { zstd::decode_all(&bytes[..]).unwrap() } else { bytes };
        assert!(!String::from_utf8_lossy(&bytes).contains("hunter2@"), "{key}");
    }
}
