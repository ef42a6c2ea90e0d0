//! Restores and swaps killed with SIGKILL at random moments (P6, P8). `SAFE_MIGRATE_LONG=1` for the long form.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::{Scene, ShadowDirectory, Version, rounds};

/// Rows and a sum over all of them, of each table; psql alone.
fn state(scene: &Scene) -> String {
    scene.database.query(
        "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM big t
         UNION ALL SELECT count(*), sum(hashtextextended(t::text, 0)) FROM child t",
    )
}

/// Runs until it ends or for so long, then kills it. Whether it had ended by itself.
fn run_for(scene: &Scene, arguments: &[&str], time: Duration) -> bool {
    let mut command = scene.project.command(arguments);
    let mut child = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + time;
    while Instant::now() < deadline {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had sent is still done: it may have been ending sessions.
    std::thread::sleep(Duration::from_millis(100));
    let (cluster, name) = (scene.cluster(), scene.database.name());
    while cluster.try_sql(name, "SELECT 1").is_err_and(|words| words.contains("terminating connection")) {
        std::thread::sleep(Duration::from_millis(100));
    }
    false
}

fn kept(scene: &Scene) -> Vec<String> {
    scene.databases().into_iter().filter(|name| name.contains("_before_")).collect()
}

fn a_killed_restore_harms_nothing(version: Version, kills: u32) {
    let scene = Scene::empty(version);
    let shadow = ShadowDirectory::of(&scene.project);
    scene.database.sql(
        "CREATE TABLE big (id serial PRIMARY KEY, b text, c numeric);
         INSERT INTO big (b, c) SELECT md5(i::text), i / 7.0 FROM generate_series(1, 60000) i;
         CREATE INDEX ON big (b); CREATE TABLE child (id int REFERENCES big, d date);
         INSERT INTO child SELECT i, '2026-01-01'::date + i % 365 FROM generate_series(1, 20000) i",
    );
    let id = scene.take_snapshot();
    let restored = state(&scene);
    let arguments = ["restore", &id, "--in-place", "--yes"];
    let begun = Instant::now();
    scene.run(0, &arguments);
    let mut whole = begun.elapsed();
    let (mut killed, mut finished, mut swapped) = (0, 0, 0);
    while killed < kills {
        let round = killed + finished;
        assert!(finished <= 5 * kills, "it cannot be killed in time");
        scene.database.sql("DELETE FROM child WHERE id % 3 = 0; UPDATE big SET c = c + 1 WHERE id % 100 = 0");
        let before = state(&scene);
        let kept_before = kept(&scene).len();
        // Half of them anywhere, half near the end, where the swap is.
        let share = if round % 2 == 0 { rand::random::<f64>() } else { 0.8 + 0.25 * rand::random::<f64>() };
        let begun = Instant::now();
        let was_killed = !run_for(&scene, &arguments, whole.mul_f64(share));
        if was_killed {
            killed += 1;
        } else {
            // How long one takes changes with what else the machine does.
            (finished, whole) = (finished + 1, begun.elapsed());
        }
        let after = state(&scene);
        let is_swapped = kept(&scene).len() > kept_before;
        swapped += u32::from(is_swapped && was_killed);
        assert_eq!(after, if is_swapped { restored.clone() } else { before }, "the live database is whole");

        // What was left proven and waiting is swapped in; all else is dropped by the next restore.
        let beside = scene.databases().into_iter().find(|name| name.contains("_restored_"));
        let waits = beside.as_ref().filter(|name| {
            let mark = format!(
                "SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
                  WHERE d.datname = '{name}' AND s.setconfig::text ~ 'mark=proven'"
            );
            scene.cluster().query("postgres", &mark) == "1"
        });
        match waits {
            Some(name) => drop(scene.run(0, &["restore", "--swap", name, "--yes"])),
            None => drop(scene.run(0, &arguments)),
        }
        assert_eq!(state(&scene), restored);
        let strays: Vec<String> = scene.databases().into_iter().filter(|name| name.contains("_restored_")).collect();
        assert_eq!(strays, Vec::<String>::new(), "round {round}");
        if waits.is_some() {
            scene.run(0, &arguments); // sweeps, as the next restore does
        }
        assert_eq!(shadow.files(), Vec::<PathBuf>::new(), "round {round}");
        for old in kept(&scene) {
            scene.cluster().sql("postgres", &format!("DROP DATABASE {old}"));
        }
    }
    shadow.must_become_empty();
    eprintln!(
        "{version:?}: {killed} killed, {swapped} of them after the swap; {finished} ended first; one takes {whole:?}"
    );
}

#[test]
fn restore_killed_at_random_moments() {
    a_killed_restore_harms_nothing(Version::V15, rounds(3, 50));
}

#[test]
fn restore_killed_at_random_moments_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    a_killed_restore_harms_nothing(Version::V18, rounds(2, 20));
}

fn the_only_run(scene: &Scene) -> String {
    let names = kept(scene);
    assert_eq!(names.len(), 1, "{names:?}");
    let mark = format!(
        "SELECT split_part(x, ':', 2) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) x
          WHERE d.datname = '{}' AND x ~ '^safe_migrate.mark=kept:'", names[0]
    );
    scene.cluster().query("postgres", &mark)
}

/// An undo is the swap of a whole restore, and can be repeated for ever.
#[test]
fn restore_swap_killed_at_random_moments_is_done_or_not_done() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE t (which text); INSERT INTO t VALUES ('snapshot')");
    let id = scene.take_snapshot();
    scene.database.sql("UPDATE t SET which = 'newer'");
    scene.run(0, &["restore", &id, "--in-place", "--yes"]);
    let begun = Instant::now();
    let run = the_only_run(&scene);
    scene.run(0, &["restore", "--undo", &run, "--yes"]);
    let whole = begun.elapsed();
    let mut live = "newer";
    let (mut done, mut not_done) = (0, 0);
    for _ in 0..rounds(15, 150) {
        let run = the_only_run(&scene);
        run_for(&scene, &["restore", "--undo", &run, "--yes"], whole.mul_f64(rand::random::<f64>()));
        let other = if live == "newer" { "snapshot" } else { "newer" };
        // A client may ask at once: nothing is closed, and the name points at one of the two.
        let found = scene.database.query("SELECT which FROM t");
        if found == live {
            not_done += 1;
            scene.run(0, &["restore", "--undo", &run, "--yes"]);
        } else {
            done += 1;
        }
        assert_eq!(scene.database.query("SELECT which FROM t"), other);
        live = other;
    }
    eprintln!("{done} swaps were done when killed, {not_done} were not; one takes {whole:?}");
    assert!(not_done > 0, "none was killed in time");
}

#[test]
fn restore_recognises_a_database_that_was_killed_before_it_was_marked() {
    let scene = Scene::empty(Version::V15);
    let (cluster, name) = (scene.cluster(), scene.database.name());
    scene.database.sql("CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
    let id = scene.take_snapshot();
    let beside = format!("{name}_restored_{}", id.to_lowercase().replace('-', "_"));
    let closed = "TEMPLATE template0 ALLOW_CONNECTIONS false CONNECTION LIMIT 0";
    cluster.sql(
        "postgres",
        &format!("CREATE DATABASE {beside} {closed}; CREATE DATABASE {name}_restored_0a1b2c3d {closed}"),
    );
    scene.run(0, &["restore", &id, "--in-place", "--yes"]);
    assert!(scene.databases().iter().all(|name| !name.contains("_restored_")), "{:?}", scene.databases());

    // Somebody's own database of that name, closed, with a row in it, stays.
    cluster.sql("postgres", &format!("CREATE DATABASE {beside} TEMPLATE template0"));
    cluster.sql(&beside, "CREATE TABLE precious AS SELECT 1 AS a");
    cluster.sql("postgres", &format!("ALTER DATABASE {beside} ALLOW_CONNECTIONS false CONNECTION LIMIT 0"));
    scene.run(1, &["restore", &id, "--in-place", "--yes"]);
    cluster.sql("postgres", &format!("ALTER DATABASE {beside} ALLOW_CONNECTIONS true"));
    assert_eq!(cluster.query(&beside, "SELECT a FROM precious"), "1");
}
