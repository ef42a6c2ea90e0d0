//! `restore --in-place --proof later`: in service before all rows are read back.

use std::process::Stdio;

use serde_json::Value;

use crate::support::{Scene, Version};

const LATER: [&str; 5] = ["restore", "latest", "--in-place", "--proof", "later"];

fn scene(version: Version) -> Scene {
    let scene = Scene::empty(version);
    scene.database.sql(
        "CREATE TABLE dish (id int PRIMARY KEY, price int NOT NULL); CREATE TABLE seen (at timestamptz DEFAULT now());
         INSERT INTO dish SELECT n, n FROM generate_series(1, 5000) n;",
    );
    let name = scene.database.name();
    scene.database.sql(&format!("ALTER DATABASE {name} CONNECTION LIMIT 33"));
    scene.take_snapshot();
    scene.database.sql("UPDATE dish SET price = 0");
    scene
}

fn limit(scene: &Scene) -> String {
    let name = scene.database.name();
    scene.cluster().query(
        "postgres",
        &format!(
            "SELECT datconnlimit, (SELECT count(*) FROM pg_db_role_setting s WHERE s.setdatabase = d.oid)
               FROM pg_database d WHERE datname = '{name}'"
        ),
    )
}

fn it_is_in_service_before_it_is_proven(version: Version) {
    let scene = scene(version);
    let app = scene.cluster().role("app", "word-of-app", "");
    scene.database.sql(&format!("GRANT ALL ON dish, seen TO {}", app.name()));
    scene.take_snapshot();
    scene.database.sql("UPDATE dish SET price = -1");
    // It comes back as soon as it is let in, and writes.
    let url = app.url(&scene.database);
    let client = format!(
        "while true; do '{}' -X -d '{url}' -c 'INSERT INTO seen DEFAULT VALUES; UPDATE dish SET price = 7 WHERE id = 1'; sleep 0.02; done",
        scene.cluster().bin_dir().join("psql").display()
    );
    let mut client = std::process::Command::new("sh")
        .args(["-c", &client])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let restored = scene.run(0, &[&LATER[..], &["--yes", "--json"]].concat());
    // On a machine that is busy it may be let in late.
    while scene.database.query("SELECT count(*) FROM dish WHERE id = 1 AND price = 7") == "0" {
        assert!(client.try_wait().unwrap().is_none(), "the client ended");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    client.kill().unwrap();
    client.wait().unwrap();
    let document: Value = serde_json::from_str(&restored.stdout).unwrap();
    let moment = |name: &str| document["moments"][name].as_f64().unwrap_or_else(|| panic!("{document}"));
    assert!(moment("in_service_seconds") < moment("proven_seconds"), "{document}");
    assert!(moment("vacuum_held_back_seconds") > 0.0);
    assert_eq!(document["proof"]["differences"], serde_json::json!([]), "the writes came after the snapshot");
    assert!(restored.stderr.contains("is in service after "), "{}", restored.stderr);
    assert_eq!(limit(&scene), "33|0", "open as it was, and nothing of ours is left");
    assert_ne!(scene.database.query("SELECT count(*) FROM seen"), "0", "it was in use");

    let proven = scene.run(0, &["restore", "--prove", "last"]).stdout;
    assert!(proven.contains("not proven: the rows of the live database"), "{proven}");
}

#[test]
fn later_is_in_service_before_it_is_proven() {
    it_is_in_service_before_it_is_proven(Version::V15);
}

#[test]
fn later_is_in_service_before_it_is_proven_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    it_is_in_service_before_it_is_proven(Version::V18);
}

/// Only a superuser gets in before the snapshot is exported. What it changes is found, table by table.
#[test]
fn later_finds_a_row_that_is_not_the_snapshots() {
    let scene = scene(Version::V15);
    let points = "restore.in-place-closed=sleep(3000)";
    let child = scene.project.command_with_faults(points, &[&LATER[..], &["--yes"]].concat());
    let mut child = { child }.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let name = scene.database.name();
    let closed = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}' AND datconnlimit = 0");
    while scene.cluster().query("postgres", &closed) != "1" {
        assert!(child.try_wait().unwrap().is_none(), "it ended");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    scene.database.sql("UPDATE dish SET price = price + 1 WHERE id = 17");
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("table public.dish: 5,000 rows, but not the same ones"), "{said}");
    assert!(!said.contains("table public.seen"), "{said}");
    assert!(said.contains("restore --undo "), "{said}");
    assert_eq!(limit(&scene), "33|0");
}

#[test]
fn later_is_opened_by_the_next_command_when_it_dies_closed() {
    let scene = scene(Version::V15);
    let app = scene.cluster().role("app", "word-of-app", "");
    let psql = || {
        let mut psql = scene.cluster().program("psql");
        psql.args(["-X", "-d", &app.url(&scene.database), "-c", "SELECT 1"]).output().unwrap().status.success()
    };
    assert!(psql());
    let points = "restore.in-place-closed=return";
    let output = scene.project.command_with_faults(points, &[&LATER[..], &["--yes"]].concat()).output().unwrap();
    assert!(!output.status.success());
    assert!(!psql(), "closed to all but superusers");
    assert_eq!(scene.database.query("SELECT price FROM dish WHERE id = 5"), "5", "and in place");
    let opened = scene.project.run(&["doctor"]);
    assert!(opened.stderr.contains("it is open again"), "{}", opened.stderr);
    assert!(psql());
    assert_eq!(limit(&scene), "33|0");
}

#[test]
fn later_is_refused_where_it_cannot_be_done() {
    let scene = scene(Version::V15);
    let refused = scene.run(1, &["restore", "latest", "--proof", "later", "--yes"]);
    assert!(refused.stderr.contains("with --in-place"), "{}", refused.stderr);
    let owner = scene.cluster().role("owner", "word-of-owner", "CREATEDB");
    let name = scene.database.name();
    scene.cluster().sql("postgres", &format!("ALTER DATABASE {name} OWNER TO {}", owner.name()));
    let url = owner.url(&scene.database);
    for more in ["--yes", "--dry-run"] {
        let refused = scene.run(1, &[&LATER[..], &[more, "--database", &url]].concat());
        assert!(refused.stderr.contains("needs a superuser"), "{more}: {}", refused.stderr);
    }
}
