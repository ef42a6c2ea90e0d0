//! What stops a wrapped command before it is started.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::sync::Arc;

use super::{put_on_path, strangers};
use crate::support::{Scene, ShadowDirectory, TestCluster, Version};

const PROBE: &str = "[exec]\nprobe = [\"psql\", \"-XAtc\", \"SELECT current_setting('safe_migrate.mark', true)\"]\n";

fn scene(cluster: &Arc<TestCluster>, exec: &str) -> Scene {
    let mut scene = Scene::on(cluster);
    put_on_path(&mut scene);
    scene.project.configure_more(exec);
    scene.database.sql("CREATE TABLE dish (id int PRIMARY KEY, name text); INSERT INTO dish VALUES (1, 'ugali')");
    scene
}

fn shared(exec: &str) -> Scene {
    scene(&TestCluster::shared(Version::V15), exec)
}

#[test]
fn exec_without_a_probe_is_refused() {
    let output = shared("").run(2, &["exec", "--", "make", "migrate"]);
    assert!(output.stderr.contains("name in [exec] probe a program that connects"), "{}", output.stderr);
}

#[test]
fn exec_of_a_program_whose_probe_goes_elsewhere_is_refused() {
    let cluster = Arc::new(TestCluster::start(Version::V15, &["log_connections=on"]));
    let scene = scene(&cluster, "");
    let url = scene.database.url();
    let psql = |sql: &str| format!("[\"psql\", \"-X\", \"{url}\", \"-Atc\", \"{sql}\"]");
    scene.project.configure_more(&format!("[exec]\nprobe = {}\n", psql("SELECT 1")));
    let tables = strangers(&cluster).len();
    let output = scene.run(3, &["exec", "--yes", "--", "psql", &url, "-c", "DROP TABLE dish"]);
    assert!(output.stderr.contains("did not reach the shadow"), "{}", output.stderr);
    assert_eq!(scene.database.query("SELECT count(*) FROM dish"), "1");
    assert_eq!(strangers(&cluster).len(), tables);
}

#[test]
fn exec_of_a_program_that_heeds_the_probe_only_cannot_reach_production() {
    // The probe is honest, the command is not: the rehearsal has no network.
    let scene = shared(PROBE);
    let url = scene.database.url();
    let output = scene.run(3, &["exec", "--yes", "--", "psql", "-X", &url, "-c", "DROP TABLE dish"]);
    assert!(output.stderr.contains("the rehearsal failed"), "{}", output.stderr);
    assert_eq!(scene.database.query("SELECT count(*) FROM dish"), "1");
    let socket = scene.database.socket_url();
    scene.run(3, &["exec", "--yes", "--", "psql", "-X", &socket, "-c", "DROP TABLE dish"]);
    assert_eq!(scene.database.query("SELECT count(*) FROM dish"), "1");
}

#[test]
fn exec_asks_whether_anything_is_pending() {
    let pending = "pending = [\"sh\", \"-c\", \"test $(psql -XAtc 'SELECT count(*) FROM dish') = 2\"]\n";
    let scene = shared(&format!("{PROBE}{pending}"));
    let run = ["exec", "--yes", "--", "psql", "-Xc", "INSERT INTO dish VALUES (2, 'isombe')"];
    scene.run(0, &run);
    assert_eq!(scene.database.query("SELECT count(*) FROM dish"), "2");
    let again = scene.run(0, &run);
    assert!(again.stdout.starts_with("nothing to do: by `sh -c test "), "{}", again.stdout);
    assert_eq!(scene.run(0, &["snapshot", "list"]).stdout.matches("exec psql").count(), 1);
}

#[test]
fn exec_goes_through_and_keeps_no_value() {
    let scene = shared(PROBE);
    let sql = "BEGIN; ALTER TABLE dish ADD price int DEFAULT 7; INSERT INTO dish VALUES (2, 'hush-hush', 9); COMMIT";
    let output = scene.run(0, &["exec", "--yes", "--json", "--", "psql", "-X", "-c", sql]);
    let document: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(document["outcome"], "ok");
    let report = document["rehearsal"].to_string();
    assert!(report.contains("ALTER TABLE dish ADD price int DEFAULT 7"), "{report}");
    assert!(!report.contains("hush-hush\\u") && document["rehearsal"]["row_changes"][0]["after"] == 2, "{report}");
    assert_eq!(scene.database.query("SELECT count(*) FROM dish WHERE price = 7 OR price = 9"), "2");
    let history = scene.run(0, &["history"]).stdout;
    assert!(history.contains("exec psql") && history.contains("done"), "{history}");
    // What it left is what the next run expects.
    scene.database.sql("ALTER TABLE dish ADD stray int");
    let drift = scene.run(3, &["exec", "--yes", "--", "psql", "-X", "-c", "SELECT 1"]);
    assert!(drift.stderr.contains("(drift)") && drift.stderr.contains("stray"), "{}", drift.stderr);
    scene.run(0, &["exec", "--yes", "--accept-drift", "test", "--", "psql", "-X", "-c", "CREATE TABLE more (id int)"]);
}

#[test]
fn exec_of_what_a_shadow_does_not_go_through_is_stopped() {
    let scene = shared(PROBE);
    let failing = scene
        .run(3, &["exec", "--yes", "--", "psql", "-X", "-v", "ON_ERROR_STOP=1", "-c", "ALTER TABLE no_such ADD b int"]);
    assert!(failing.stderr.contains("relation \"no_such\" does not exist"), "{}", failing.stderr);
    let missing = scene.run(3, &["exec", "--yes", "--", "no-such-program"]);
    assert!(missing.stderr.contains("there is no program no-such-program"), "{}", missing.stderr);
    let asked = scene.run(3, &["exec", "--", "psql", "-X", "-c", "CREATE TABLE new (id int)"]);
    assert!(asked.stderr.contains("there is no terminal to ask on"), "{}", asked.stderr);
    let rehearsed = scene.run(0, &["exec", "--rehearse", "--", "psql", "-X", "-c", "CREATE TABLE new (id int)"]);
    assert!(rehearsed.stdout.contains("production is unchanged"), "{}", rehearsed.stdout);
    assert_eq!(scene.database.query("SELECT to_regclass('new')"), "");
    let django = scene.run(2, &["exec", "--django", "--", "make", "migrate"]);
    assert!(django.stderr.contains("runs no manage.py"), "{}", django.stderr);
}

/// A pull request is red where the deployment would be.
#[test]
fn exec_that_loses_rows_is_refused_when_it_is_rehearsed_too() {
    let scene = shared(PROBE);
    let command = ["--", "psql", "-X", "-c", "DELETE FROM dish"];
    let refused = scene.run(3, &[&["exec", "--rehearse", "--json"], &command[..]].concat());
    let document: serde_json::Value = serde_json::from_str(&refused.stdout).unwrap();
    assert_eq!((&document["error"]["code"], &document["apply_would"]["do"]), (&"data-loss".into(), &"refuse".into()));
    assert_eq!(document["rehearsal"]["refusals"][0], "1 loss of data is accepted nowhere", "{document}");
    let text = scene.run(3, &[&["exec", "--rehearse"], &command[..]].concat()).stderr;
    assert!(text.contains("exec would refuse: ") && text.contains("here and to exec: --accept-data-loss "), "{text}");
    let hash = text.split("--accept-data-loss ").nth(1).unwrap().split_whitespace().next().unwrap();
    scene.run(0, &[&["exec", "--rehearse", "--accept-data-loss", hash], &command[..]].concat());
    scene.run(0, &[&["exec", "--yes", "--accept-data-loss", hash], &command[..]].concat());
    assert_eq!(scene.database.query("SELECT count(*) FROM dish"), "0");
}

#[test]
fn exec_goes_by_a_snapshot_that_is_there_and_records_what_it_was_made_from() {
    let scene = shared(PROBE);
    let git = |words: &[&str]| {
        let output = std::process::Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@b"])
            .args(words)
            .current_dir(scene.project.directory())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let origin = || {
        let shown: serde_json::Value =
            serde_json::from_str(&scene.run(0, &["history", "last", "--json"]).stdout).unwrap();
        shown["run"]["origin"].clone()
    };
    let id = scene.take_snapshot();
    let run = |more: &[&str], sql: &str| {
        let words = [&["exec", "--yes"], more, &["--", "psql", "-X", "-c", sql]].concat();
        let output = scene.project.run(&words);
        (output.status, output.stderr)
    };
    let (status, said) = run(&["--snapshot", "max-age=1h"], "ALTER TABLE dish ADD a int");
    assert_eq!(status, 0, "{said}");
    assert_eq!(scene.snapshots(), std::slice::from_ref(&id), "{said}");
    assert_eq!((origin()["commit"].is_null(), origin()["directory"].is_string()), (true, true), "{}", origin());

    // The snapshot is of before that change, and says nothing of a command that starts from after it.
    let (status, said) = run(&["--snapshot", &id], "ALTER TABLE dish ADD b int");
    assert!(status == 3 && said.contains("is not known to be the one of snapshot"), "{said}");
    for option in ["--skip-snapshot=x", "--skip-rehearsal=x", "--fence", "--fence=closed", "--step=done"] {
        let (status, said) = run(&[option], "ALTER TABLE dish ADD b int");
        let name = option.split('=').next().unwrap();
        assert!(status == 2 && said.contains(&format!("exec has no {name}")), "{option}: {said}");
    }
    assert_eq!(
        scene.database.query("SELECT count(*) FROM pg_attribute WHERE attrelid = 'dish'::regclass AND attnum > 0"),
        "3"
    );

    scene.project.write("readme", "one");
    git(&["init", "-q", "."]);
    git(&["add", "readme"]);
    git(&["commit", "-qm", "one"]);
    let (status, said) = run(&[], "ALTER TABLE dish ADD b int");
    assert_eq!(status, 0, "{said}");
    let recorded = origin();
    assert_eq!(recorded["commit"], git(&["rev-parse", "HEAD"]), "{recorded}");
    assert_eq!((&recorded["tree"], &recorded["modified"]), (&git(&["rev-parse", "HEAD^{tree}"]).into(), &true.into()));
    let shown = scene.run(0, &["history", "last"]).stdout;
    assert!(shown.contains(", with changes that are not committed"), "{shown}");
}

#[test]
fn exec_gets_only_what_is_passed() {
    let mut scene = shared(&format!(
        "{PROBE}pass = [\"PASSED\"]\nenv = {{ PGHOST = \"{{host}}\", PGPORT = \"{{port}}\", PGDATABASE = \"{{dbname}}\", PGUSER = \"{{user}}\", PGPASSWORD = \"{{password}}\" }}\n"
    ));
    scene.project.set("PASSED", "this");
    scene.project.set("KEPT_BACK", "that");
    let script = "env | grep -v PASSWORD | cut -d= -f1 | sort | tr '\\n' ' ' >&2; psql -Xc 'CREATE TABLE new (id int)'";
    let output = scene.run(0, &["exec", "--yes", "--", "sh", "-c", script]);
    assert!(output.stderr.contains("PASSED PATH PGDATABASE PGHOST PGOPTIONS PGPORT PGUSER"), "{}", output.stderr);
    assert!(!output.stderr.contains("KEPT_BACK"), "{}", output.stderr);
}

#[test]
fn exec_interrupted_in_the_rehearsal_leaves_nothing() {
    let scene = shared(PROBE);
    let shadow = ShadowDirectory::of(&scene.project);
    let sleep = ["exec", "--yes", "--", "sh", "-c", "psql -X -c 'SELECT pg_sleep(600)'"];
    let mut run = scene.project.command(&sleep).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut words = String::new();
    let mut reader = BufReader::new(run.stderr.take().unwrap());
    while !words.contains("rehearsing on the shadow") {
        assert!(reader.read_line(&mut words).unwrap() > 0, "{words}");
    }
    assert!(std::process::Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap().success());
    reader.read_to_string(&mut words).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(130), "{words}");
    assert!(words.contains("production: unchanged"), "{words}");
    shadow.must_become_empty();
}

/// P9, for what the operator typed and what the command did.
#[test]
fn exec_keeps_no_password() {
    let scene = shared(PROBE);
    let role = scene.cluster().role("teller", "old", "");
    let sql = format!("ALTER ROLE {} PASSWORD 's3cr3t-new'", role.name());
    let make = "CREATE TABLE new (id int)";
    let words = ["exec", "--yes", "--json", "--", "psql", "-X", "-v", "password=s3cr3t-typed", "-c", &sql, "-c", make];
    let output = scene.run(0, &words);
    let history = scene.run(0, &["history", "--json"]).stdout;
    let ledger = scene.database.query("SELECT command, coalesce(error, '') FROM safe_migrate.run");
    let stored: Vec<String> = scene
        .store
        .objects()
        .iter()
        .filter(|(key, _)| !key.starts_with("chunks/"))
        .map(|(key, _)| {
            String::from_utf8_lossy(&std::fs::read(scene.store.directory().join(key)).unwrap()).into_owned()
        })
        .collect();
    assert!(stored.len() > 4);
    for text in [&history, &ledger, &output.stdout, &output.stderr].into_iter().chain(&stored) {
        assert!(!text.contains("s3cr3t"), "{text}");
    }
    let document: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    let statements = document["rehearsal"]["steps"][0]["statements"].to_string();
    assert!(statements.contains(" PASSWORD …") && !statements.contains("s3cr3t"), "{statements}");
}
