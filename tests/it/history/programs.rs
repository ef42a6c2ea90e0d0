//! Data migrations by a program: `-- migrate:up exec: scripts/fill.py`.

use std::os::unix::fs::PermissionsExt;

use crate::support::{Running, Scene, Version};

/// Fills by psql, with the database that the environment names.
const FILL: &str = "#!/bin/sh\nset -eu\n. ./scripts/common.sh\nfill \"UPDATE dish SET slug = lower(name)\"\n";

fn script(scene: &Scene, name: &str, text: &str) {
    let path = scene.project.write(&format!("scripts/{name}"), text);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn scene(version: Version) -> Scene {
    let scene = Scene::empty(version);
    scene.project.write_migration("menu", "0001_initial", "-- migrate:up\nCREATE TABLE dish (id bigint PRIMARY KEY, name text, slug text);\nINSERT INTO dish VALUES (1, 'Ubugari'), (2, 'Isombe');\n-- migrate:down\nDROP TABLE dish;\n");
    scene.begin_applied();
    let psql = scene.cluster().bin_dir().join("psql");
    // What it does not know is not there: no variable of the caller's but PATH.
    let common = format!(
        "fill() {{ test -z \"${{HOME:-}}\"; {} -X -q -v ON_ERROR_STOP=1 -c \"$1\" \"$DATABASE_URL\"; echo \"filled by $0\"; }}\n",
        psql.display()
    );
    script(&scene, "common.sh", &common);
    script(&scene, "fill.sh", FILL);
    script(&scene, "empty.sh", &FILL.replace("lower(name)", "NULL"));
    scene.project.write_migration(
        "menu",
        "0002_slugs",
        "-- migrate:up exec: scripts/fill.sh --all 'x y'\n-- migrate:down exec: scripts/empty.sh\n",
    );
    scene
}

fn slugs(scene: &Scene) -> String {
    scene.database.query("SELECT string_agg(coalesce(slug, '-'), ' ' ORDER BY id) FROM dish")
}

#[test]
fn a_program_fills_the_shadow_first_and_then_production() {
    let scene = scene(Version::V18);
    let plan = scene.run(0, &["plan"]);
    assert!(plan.stdout.contains("menu/0002_slugs  runs scripts/fill.sh --all x y"), "{}", plan.stdout);
    assert!(!scene.run(0, &["plan", "--sql"]).stdout.contains("exec:"));
    let rehearsed = scene.run(0, &["rehearse", "--snapshot", "new"]);
    assert!(rehearsed.stderr.contains("shadow | filled by"), "{}", rehearsed.stderr);
    assert_eq!(slugs(&scene), "- -");
    let output = scene.run(0, &["apply", "--yes", "--rehearsal", "new"]);
    assert!(output.stderr.contains("values of public.dish.slug: 2 filled"), "{}", output.stderr);
    assert_eq!(slugs(&scene), "ubugari isombe");
    let state = scene.database.query("SELECT DISTINCT state FROM safe_migrate.step WHERE name = '0002_slugs'");
    assert_eq!(state, "recorded");
    let back = scene.run(3, &["rollback", "menu", "0001", "--yes"]);
    assert!(back.stderr.contains("loses data"), "{}", back.stderr);
    let (_, hash) = back.stderr.trim_end().rsplit_once(' ').unwrap();
    scene.run(0, &["rollback", "menu", "0001", "--yes", "--accept-data-loss", hash]);
    assert_eq!(slugs(&scene), "- -");
}

#[test]
fn a_program_that_fails_on_the_copy_never_meets_production() {
    let scene = scene(Version::V15);
    script(&scene, "fill.sh", &FILL.replace("lower(name)", "lower(title)"));
    let output = scene.run(3, &["apply", "--yes"]);
    assert!(
        output.stderr.contains(
            "the program `scripts/fill.sh --all x y` ended with exit status: 1: ERROR:  column \"title\" does not exist"
        ),
        "{}",
        output.stderr
    );
    assert!(output.stderr.contains("production: unchanged"), "{}", output.stderr);
    assert_eq!(slugs(&scene), "- -");
    // It cannot reach production from there, whatever it says.
    let psql = scene.cluster().bin_dir().join("psql");
    let direct = format!("#!/bin/sh\n{} -X -c 'DROP TABLE dish' '{}'\n", psql.display(), scene.database.url());
    script(&scene, "fill.sh", &direct);
    let output = scene.run(3, &["apply", "--yes"]);
    assert!(output.stderr.contains("the rehearsal failed"), "{}", output.stderr);
    assert!(output.stderr.contains("connection to server"), "{}", output.stderr);
    assert_eq!(slugs(&scene), "- -");
}

#[test]
fn a_script_that_changed_after_it_was_applied_stops_every_run() {
    let scene = scene(Version::V15);
    scene.begin_applied();
    scene.project.write_migration("menu", "0003_x", "-- migrate:up\nSELECT 1;\n");
    script(&scene, "fill.sh", &format!("{FILL}# changed\n"));
    let output = scene.run(3, &["apply", "--yes"]);
    assert!(output.stderr.contains("applied migrations changed on disk"), "{}", output.stderr);
    let repair = scene.run(2, &["repair", "menu", "2"]);
    assert!(repair.stderr.contains("the program that menu/0002_slugs runs was changed"), "{}", repair.stderr);
    // Gone is changed too, and `status` still says so.
    std::fs::remove_file(scene.project.directory().join("scripts/fill.sh")).unwrap();
    let status = scene.run(0, &["status"]);
    assert!(status.stdout.contains("[!] 0002_slugs"), "{}", status.stdout);
    script(&scene, "fill.sh", FILL);
    scene.run(0, &["apply", "--yes"]);
}

#[test]
fn a_program_that_was_killed_with_us_is_asked_about() {
    let scene = scene(Version::V15);
    // On the copy at once, in production it takes its time.
    let slow =
        format!("case \"$DATABASE_URL\" in *{}*) : > scripts/running; sleep 60 ;; esac\n", scene.cluster().port());
    script(&scene, "fill.sh", &FILL.replace(". ./scripts", &format!("{slow}. ./scripts")));
    let mut run = Running::start(&scene.project, &["apply", "--yes"]);
    let started = scene.project.directory().join("scripts/running");
    run.wait_until("the program", |_| started.exists());
    run.kill();
    script(&scene, "fill.sh", FILL);
    let output = scene.run(3, &["apply", "--yes"]);
    assert!(output.stderr.contains("nothing tells whether it took effect"), "{}", output.stderr);
    scene.run(0, &["apply", "--yes", "--step", "again"]);
    assert_eq!(slugs(&scene), "ubugari isombe");
}

/// The journal's row could not be written after the program, which is no reason to call production unchanged.
#[test]
fn a_program_whose_end_could_not_be_noted_changed_production() {
    let scene = scene(Version::V15);
    scene.project.configure_more("[apply]\nlock_timeout = \"200ms\"\nretries = 0\n");
    let psql = scene.cluster().bin_dir().join("psql");
    let hold = "BEGIN; LOCK TABLE safe_migrate.step; SELECT pg_sleep(60)";
    let held = "SELECT 1 FROM pg_locks WHERE relation = 'safe_migrate.step'::regclass AND mode = 'AccessExclusiveLock' AND granted";
    let holding = format!(
        "case \"$DATABASE_URL\" in *{port}*)\n{psql} -X -q -c \"{hold}\" \"$DATABASE_URL\" >/dev/null 2>&1 &\nuntil {psql} -X -At -c \"{held}\" \"$DATABASE_URL\" | grep -q 1; do sleep 0.1; done ;;\nesac\n",
        port = scene.cluster().port(),
        psql = psql.display(),
    );
    script(&scene, "fill.sh", &format!("{FILL}{holding}"));
    let output = scene.run(4, &["apply", "--yes"]);
    assert!(output.stderr.contains("its program ended, and that could not be noted"), "{}", output.stderr);
    assert!(!output.stderr.contains("unchanged"), "{}", output.stderr);
    assert_eq!(slugs(&scene), "ubugari isombe");
    scene.database.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'BEGIN; LOCK%'");
    scene.run(4, &["apply", "--yes"]);
    scene.run(0, &["apply", "--yes", "--step", "done"]);
}

#[test]
fn ctrl_c_ends_the_program_in_production() {
    let scene = scene(Version::V15);
    let slow =
        format!("case \"$DATABASE_URL\" in *{}*) : > scripts/running; exec sleep 60 ;; esac\n", scene.cluster().port());
    script(&scene, "fill.sh", &FILL.replace(". ./scripts", &format!("{slow}. ./scripts")));
    let mut run = Running::start(&scene.project, &["apply", "--yes"]);
    let started = scene.project.directory().join("scripts/running");
    run.wait_until("the program", |_| started.exists());
    run.interrupt();
    let output = run.end();
    assert_eq!(output.status, 4, "{}", output.stderr);
    script(&scene, "fill.sh", FILL);
    scene.begin_applied();
    assert_eq!(slugs(&scene), "ubugari isombe");
}

#[test]
fn what_is_wrong_with_a_program_is_said_by_line() {
    let scene = scene(Version::V15);
    for (text, part) in [
        ("-- migrate:up exec: scripts/gone.sh\n", "0003_x.sql:1: there is no program scripts/gone.sh"),
        ("-- migrate:up exec:\n", "`exec:` names no program"),
        (
            "-- A remark.\n-- migrate:up exec: scripts/fill.sh\nSELECT 1;\n",
            "0003_x.sql:3: SQL in a section that is a program",
        ),
        (
            "-- migrate:up transaction:false batch:10 key:dish.id exec: scripts/fill.sh\n",
            "a program makes its own batches",
        ),
    ] {
        scene.project.write_migration("menu", "0003_x", text);
        let output = scene.run(2, &["plan"]);
        assert!(output.stderr.contains(part), "{text}: {}", output.stderr);
    }
    std::fs::remove_file(scene.project.migrations().join("menu/0003_x.sql")).unwrap();
    let fenced = scene.run(3, &["apply", "--yes", "--fence=closed"]);
    assert!(
        fenced.stderr.contains("menu/0002_slugs is a program, which a fence would keep out too"),
        "{}",
        fenced.stderr
    );
    let squash = scene.run(2, &["squash", "menu", "0001", "0002"]);
    assert!(squash.stderr.contains("menu/0002_slugs runs a program"), "{}", squash.stderr);
}

/// What runs in production is what was rehearsed, also when somebody saves the script in between.
#[test]
fn a_script_that_changes_after_the_rehearsal_is_not_run() {
    let scene = scene(Version::V15);
    // On the copy, the script changes itself.
    script(&scene, "fill.sh", &format!("{FILL}cat scripts/other.sh > scripts/fill.sh\n"));
    script(&scene, "other.sh", &FILL.replace("lower(name)", "'oops'"));
    let output = scene.run(1, &["apply", "--yes"]);
    assert!(
        output.stderr.contains("was not run: scripts/fill.sh changed since the plan was made"),
        "{}",
        output.stderr
    );
    assert!(output.stderr.contains("\nproduction: unchanged"), "{}", output.stderr);
    assert_eq!(slugs(&scene), "- -");
}

#[test]
fn ctrl_c_in_the_rehearsal_ends_the_program() {
    let scene = scene(Version::V15);
    script(&scene, "fill.sh", "#!/bin/sh\n: > scripts/running\nsleep 61.37\nsleep 61.37\n");
    let mut run = Running::start(&scene.project, &["apply", "--yes"]);
    let started = scene.project.directory().join("scripts/running");
    run.wait_until("the program", |_| started.exists());
    run.interrupt();
    let output = run.end();
    assert_eq!(output.status, 130, "{}", output.stderr);
    assert!(output.stderr.contains("production: unchanged"), "{}", output.stderr);
    assert_eq!(slugs(&scene), "- -");
    let is_ours =
        |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("61.37"));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let left: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(|pid| is_ours(pid)).collect();
        if left.is_empty() {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{left:?} are left");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}
