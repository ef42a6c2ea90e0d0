//! A rehearsal of a wrapped command stands for a new one as long as all that its receipt binds is the same.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{Output, Scene, TestCluster, Version};

const CONFIGURATION: &str = "[exec]\npass = [\"PASSED\"]\nprobe = [\"psql\", \"-XAtc\", \"SELECT 1\"]\n";
const RUN: [&str; 3] = ["--", "sh", "step.sh"];
const NOTHING_RESTORED: &str = "still matches; nothing is restored";
const SECRET: &str = "s3cret-that-is-passed";

fn step(sql: &str) -> String {
    format!("psql -X -v ON_ERROR_STOP=1 -c \"{sql}\"\n")
}

fn git(scene: &Scene, words: &[&str]) {
    let mut command = std::process::Command::new("git");
    command.args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(words);
    let output = command.current_dir(scene.project.directory()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn commit(scene: &Scene) {
    git(scene, &["add", "-A"]);
    git(scene, &["commit", "-qm", "a commit"]);
}

/// A git that changes an ignored file when it is asked for the second time, where it is told to.
const TREACHEROUS: &str = "#!/bin/sh
count=$(dirname \"$0\")/count
case \"$*\" in *--show-toplevel*) test -e $count && { echo >> $count; test $(wc -l < $count) = 2 && echo KIND=b > .env; } ;; esac
PATH=${PATH#*:} exec git \"$@\"
";

/// A project in git whose command runs this SQL.
fn scene(sql: &str) -> Scene {
    let mut scene = Scene::on(&TestCluster::shared(Version::V15));
    let treacherous = scene.project.write("home/bin/git", TREACHEROUS);
    std::fs::set_permissions(&treacherous, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    scene.project.set("PATH", &format!("{}:{path}", treacherous.parent().unwrap().display()));
    scene.project.set("PASSED", SECRET);
    scene.project.configure_more(CONFIGURATION);
    scene.database.sql(
        "CREATE TABLE dish (id int PRIMARY KEY, name text); INSERT INTO dish SELECT n, 'dish ' || n FROM generate_series(1, 9) n;
         CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('one');
         CREATE TABLE draft (id int); ALTER TABLE dish ADD old_name text",
    );
    scene.project.write("step.sh", &step(sql));
    scene.project.write(".gitignore", "/home/\n.env\n");
    scene.project.write(".env", "KIND=a\n");
    git(&scene, &["init", "-q", "."]);
    commit(&scene);
    scene
}

fn rehearse(scene: &Scene, status: i32) -> String {
    let output = scene.run(status, &[&["exec", "--rehearse", "--json"], &RUN[..]].concat());
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    document["rehearsal"]["id"].as_str().unwrap_or_else(|| panic!("{document}")).to_owned()
}

fn rehearsed(sql: &str) -> (Scene, String) {
    let scene = scene(sql);
    let id = rehearse(&scene, 0);
    assert!(file(&scene, &id, "receipt.json").exists());
    (scene, id)
}

fn file(scene: &Scene, id: &str, name: &str) -> std::path::PathBuf {
    scene.store.directory().join("rehearsals").join(id).join(name)
}

/// `exec` with these options; never confirmed, so that it can be asked again.
fn asked(scene: &Scene, options: &[&str]) -> Output {
    scene.project.run(&[&["exec", "--yes"], options, &RUN].concat())
}

/// `--rehearsal ID` is refused for this reason, in one line, and nothing is changed.
#[track_caller]
fn is_refused(scene: &Scene, id: &str, why: &str) {
    let refused = asked(scene, &["--rehearsal", id]);
    let line = format!("error: rehearsal {id} is not accepted: {why}");
    assert!(refused.status == 3 && refused.stderr.contains("production: unchanged"), "{}", refused.stderr);
    assert!(refused.stderr.lines().any(|said| said.starts_with(&line)), "{line}\n{}", refused.stderr);
}

const ADD: &str = "ALTER TABLE dish ADD a int";

#[test]
fn exec_goes_by_a_rehearsal_that_still_matches_once() {
    let (scene, id) = rehearsed(ADD);
    let receipt = std::fs::read_to_string(file(&scene, &id, "receipt.json")).unwrap();
    assert!(receipt.contains("\"PASSED\":") && !receipt.contains(SECRET), "{receipt}");
    let guess = hex::encode(Sha256::digest(SECRET));
    assert!(!receipt.contains(&guess), "{receipt}");
    // Changed behind the back of a run that has compared it already.
    scene.project.write("home/bin/count", "");
    is_refused(&scene, &id, ".env, which git ignores, changed since");
    assert_eq!(scene.database.query("SELECT to_regclass('safe_migrate.run')"), "");
    std::fs::remove_file(scene.project.directory().join("home/bin/count")).unwrap();
    scene.project.write(".env", "KIND=a\n");
    let before = scene.snapshots();
    let output = asked(&scene, &[]);
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert!(output.stderr.contains(&format!("rehearsal {id} (")) && output.stderr.contains(NOTHING_RESTORED));
    assert!(!output.stderr.contains("rehearsing on the shadow"), "{}", output.stderr);
    assert!(output.stdout.contains("schema equal to the rehearsed one"), "{}", output.stdout);
    let taken: Vec<String> = scene.snapshots().into_iter().filter(|id| !before.contains(id)).collect();
    assert_eq!(taken.len(), 1);
    assert!(output.stdout.contains(&format!("restore {} --in-place", taken[0])), "{}", output.stdout);
    assert_eq!(scene.database.query("SELECT rehearsal_id FROM safe_migrate.run"), id);
    assert_eq!(
        scene.database.query("SELECT count(*) FROM pg_attribute WHERE attname = 'a' AND attrelid = 'dish'::regclass"),
        "1"
    );
    // The schema of before is there again, the rows of before need not be.
    scene.database.sql("ALTER TABLE dish DROP a");
    let spent = asked(&scene, &["--rehearsal", &id, "--accept-drift", "a test"]);
    assert!(spent.status == 3 && spent.stderr.contains("is not accepted: run "), "{}", spent.stderr);
    assert!(spent.stderr.contains(" came after it"), "{}", spent.stderr);
}

#[test]
fn exec_does_not_go_by_a_rehearsal_of_anything_else() {
    let (mut scene, id) = rehearsed("ALTER TABLE dish ADD a int, DROP old_name; DROP TABLE draft");
    let project = |scene: &Scene, path: &str, text: &str| drop(scene.project.write(path, text));
    // The command.
    let refused = scene.project.run(&["exec", "--yes", "--rehearsal", &id, "--", "sh", "-e", "step.sh"]);
    assert!(refused.stderr.contains("it is of another command: sh step.sh"), "{}", refused.stderr);
    // Its files.
    project(&scene, "new.py", "1");
    is_refused(&scene, &id, "new.py is not committed");
    std::fs::remove_file(scene.project.directory().join("new.py")).unwrap();
    project(&scene, ".env", "KIND=b\n");
    is_refused(&scene, &id, ".env, which git ignores, changed since");
    project(&scene, ".env", "KIND=a\n");
    project(&scene, "step.sh", &step("ALTER TABLE dish ADD b int"));
    is_refused(&scene, &id, "step.sh is not committed");
    git(&scene, &["update-index", "--assume-unchanged", "step.sh"]);
    is_refused(&scene, &id, "git is told to pass over step.sh");
    git(&scene, &["update-index", "--no-assume-unchanged", "step.sh"]);
    commit(&scene);
    is_refused(&scene, &id, "it is of commit ");
    git(&scene, &["reset", "-q", "--hard", "HEAD^"]);
    // What it sees.
    scene.project.set("PASSED", "other");
    is_refused(&scene, &id, "variable PASSED has another value");
    scene.project.set("PASSED", SECRET);
    // What it drops, which was empty.
    scene.database.sql("INSERT INTO draft VALUES (1)");
    is_refused(&scene, &id, "it says nothing of public.draft, which is dropped and holds 1 now");
    scene.database.sql("DELETE FROM draft; UPDATE dish SET old_name = 'a' WHERE id < 3");
    is_refused(&scene, &id, "it says nothing of public.dish.old_name, which is dropped and holds 2 now");
    scene.database.sql("UPDATE dish SET old_name = NULL");
    // What it starts from.
    scene.database.sql("UPDATE alembic_version SET version_num = 'two'");
    is_refused(&scene, &id, "the rows of public.alembic_version, in which a tool keeps what is applied, are others");
    scene.database.sql("UPDATE alembic_version SET version_num = 'one'; ALTER TABLE dish ADD stray int");
    is_refused(&scene, &id, "production's schema is not the one it started from");
    // By itself it says so too, and rehearses.
    let anew = asked(&scene, &[]);
    assert_eq!(anew.status, 0, "{}", anew.stderr);
    assert!(anew.stderr.contains(&format!("rehearsal {id} does not count: production's schema")), "{}", anew.stderr);
    assert!(anew.stderr.contains("rehearsing on the shadow"), "{}", anew.stderr);
}

#[test]
fn exec_outside_of_git_leaves_no_receipt_and_says_why() {
    let scene = scene(ADD);
    scene.project.write("step.sh", &step("ALTER TABLE dish ADD b int"));
    let output = scene.run(0, &[&["exec", "--rehearse"], &RUN[..]].concat());
    assert!(output.stderr.contains("no receipt is left: step.sh is not committed"), "{}", output.stderr);
    std::fs::remove_dir_all(scene.project.directory().join(".git")).unwrap();
    let output = asked(&scene, &[]);
    assert!(output.status == 0 && output.stderr.contains("lies in no git repository"), "{}", output.stderr);
    assert!(scene.store.objects().iter().all(|(key, _)| !key.ends_with("receipt.json")));
}

/// What the rehearsal saw lost is asked for as if it had been rehearsed now, and is not hidden by who can write to the store.
#[test]
fn exec_hides_no_loss_behind_a_receipt() {
    let scene = scene("DELETE FROM dish WHERE id > 3");
    let id = rehearse(&scene, 3);
    let refused = asked(&scene, &[]);
    assert!(refused.status == 3 && refused.stderr.contains(NOTHING_RESTORED), "{}", refused.stderr);
    assert!(refused.stderr.contains("loses data") && refused.stderr.contains("--accept-data-loss "));
    forge(&scene, &id, &id);
    is_refused(&scene, &id, "its receipt is not the one that this machine wrote");
    let anew = asked(&scene, &[]);
    assert!(anew.stderr.contains("ALARM") && anew.stderr.contains("rehearsing on the shadow"), "{}", anew.stderr);
    assert!(anew.status == 3 && anew.stderr.contains("loses data"), "{}", anew.stderr);
    // Under an id that this machine never wrote, and on a machine that has written nothing.
    let copy = "20991231T000000Z-aaaaaa";
    forge(&scene, &id, copy);
    is_refused(&scene, copy, "this user of this machine did not write it");
    scene.project.forget_state();
    is_refused(&scene, &id, "this user of this machine did not write it");
    assert_eq!(scene.database.query("SELECT count(*) FROM dish"), "9");
}

/// Takes the losses out of a stored rehearsal, as anybody can who may write to the store.
fn forge(scene: &Scene, from: &str, to: &str) {
    let read = |name: &str| serde_json::from_slice::<Value>(&std::fs::read(file(scene, from, name)).unwrap()).unwrap();
    let (mut report, mut receipt) = (read("report.json"), read("receipt.json"));
    (report["losses"], report["findings"]) = (Value::Array(Vec::new()), Value::Array(Vec::new()));
    (report["verdict"], report["id"], receipt["rehearsal"]) = ("pass".into(), to.into(), to.into());
    let text = serde_json::to_vec_pretty(&report).unwrap();
    receipt.as_object_mut().unwrap().remove("sha256").unwrap();
    receipt["report_sha256"] = hex::encode(Sha256::digest(&text)).into();
    receipt["sha256"] = hex::encode(Sha256::digest(receipt.to_string())).into();
    std::fs::create_dir_all(file(scene, to, "")).unwrap();
    std::fs::write(file(scene, to, "report.json"), text).unwrap();
    std::fs::write(file(scene, to, "receipt.json"), receipt.to_string()).unwrap();
}
