//! The swap of a restore, its undoing, and the end of the old database (DESIGN section 9).

use std::process::{Child, Stdio};
use std::time::Duration;

use crate::support::{Contents, Scene, TestCluster, Version};

/// A run as `runs/<id>.json` keeps it: the newest whose command begins like this.
pub fn recorded_run(scene: &Scene, command: &str) -> serde_json::Value {
    let objects = scene.store.objects();
    let runs = objects.iter().filter(|(key, _)| key.starts_with("runs/"));
    let mut runs: Vec<serde_json::Value> = runs.map(|(_, bytes)| serde_json::from_slice(bytes).unwrap()).collect();
    runs.retain(|run| run["command"].as_str().unwrap().starts_with(command));
    runs.sort_by_key(|run| run["started_at"].as_str().unwrap().to_owned());
    runs.pop().unwrap_or_else(|| panic!("no run of `{command}` is recorded"))
}

fn id_of(run: &serde_json::Value) -> String {
    run["id"].as_str().unwrap().to_owned()
}

/// A session that waits in a database, as the superuser.
fn sleeping_session(cluster: &TestCluster, database: &str) -> Child {
    let mut psql = cluster.program("psql");
    psql.args(["-X", "-d", &cluster.socket_url(database), "-c", "SELECT pg_sleep(120)"]);
    let child = psql.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let there =
        format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND query ~ '^SELECT pg_sleep'");
    while cluster.query("postgres", &there) == "0" {
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

fn oid_of(scene: &Scene, name: &str) -> String {
    scene.cluster().query("postgres", &format!("SELECT oid FROM pg_database WHERE datname = '{name}'"))
}

fn a_swap_is_undone_and_that_again(version: Version) {
    let scene = Scene::empty(version);
    let name = scene.database.name();
    scene.database.sql("CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
    scene.cluster().sql(
        "postgres",
        &format!(
            "ALTER DATABASE {name} SET work_mem = '7MB'; ALTER DATABASE {name} WITH CONNECTION LIMIT 17;
             COMMENT ON DATABASE {name} IS 'the shop''s'; REVOKE CONNECT ON DATABASE {name} FROM PUBLIC"
        ),
    );
    let id = scene.take_snapshot();
    scene.database.sql("INSERT INTO t VALUES (2)");
    scene.cluster().sql("postgres", &format!("ALTER DATABASE {name} SET work_mem = '9MB'"));
    let old = oid_of(&scene, name);

    let mut client = sleeping_session(scene.cluster(), name);
    let output = scene.run(0, &["restore", &id, "--in-place", "--yes"]);
    assert!(!client.wait().unwrap().success(), "its session was ended");
    let run = recorded_run(&scene, &format!("restore {id}"));
    let kept = run["swap"]["kept"].as_str().unwrap().to_owned();
    assert_eq!(run["swap"]["live"], name);
    assert_eq!(run["swap"]["kept_oid"].to_string(), old);
    assert_eq!(run["swap"]["live_oid"].to_string(), oid_of(&scene, name));
    assert_eq!(run["outcome"], "done");
    let undo = format!("safe-migrate restore --undo {}", id_of(&run));
    assert!(output.stdout.contains(&undo) && output.stdout.contains(&kept), "{}", output.stdout);
    assert_eq!(scene.database.query("SELECT a FROM t"), "1");
    let properties = "SELECT datconnlimit, shobj_description(oid, 'pg_database'), datacl::text !~ '[{,]=[^,]*c', current_setting('work_mem') FROM pg_database WHERE datname = current_database()";
    assert_eq!(scene.database.query(properties), "17|the shop's|t|7MB");

    // Undone: the very database, with its own settings; the restored one is kept.
    scene.run(0, &["restore", "--undo", &id_of(&run), "--yes"]);
    assert_eq!(oid_of(&scene, name), old);
    assert_eq!(scene.database.query("SELECT a FROM t ORDER BY 1"), "1\n2");
    assert_eq!(scene.database.query(properties), "17|the shop's|t|9MB");
    let undone = recorded_run(&scene, "restore --undo");
    assert_eq!((&undone["outcome"], &undone["swap"]["kept_oid"]), (&"done".into(), &run["swap"]["live_oid"]));
    let again = scene.run(1, &["restore", "--undo", &id_of(&run), "--yes"]);
    assert!(again.stderr.contains("was undone"), "{}", again.stderr);

    // And that undone in turn.
    scene.run(0, &["restore", "--undo", &id_of(&undone), "--yes"]);
    assert_eq!(scene.database.query("SELECT a FROM t"), "1");
    assert_eq!(scene.databases().len(), 2, "{:?}", scene.databases());
    let history = scene.run(0, &["history"]).stdout;
    assert_eq!(history.matches("restore --undo").count(), 2, "{history}");
}

#[test]
fn restore_undo_swaps_back_and_undo_of_undo_swaps_again() {
    a_swap_is_undone_and_that_again(Version::V15);
}

#[test]
fn restore_undo_swaps_back_and_undo_of_undo_swaps_again_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    a_swap_is_undone_and_that_again(Version::V18);
}

#[test]
fn restore_undo_and_drop_old_want_evidence_and_not_a_name() {
    let scene = Scene::empty(Version::V15);
    let (cluster, name) = (scene.cluster(), scene.database.name());
    scene.database.sql("CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
    let id = scene.take_snapshot();
    scene.run(0, &["restore", &id, "--in-place", "--yes"]);
    let run = recorded_run(&scene, &format!("restore {id}"));
    let (run, kept) = (id_of(&run), run["swap"]["kept"].as_str().unwrap().to_owned());

    // The old one makes room for another database of exactly its name: nothing of ours.
    cluster.sql("postgres", &format!("ALTER DATABASE {kept} RENAME TO {name}_elsewhere; CREATE DATABASE {kept}"));
    cluster.sql(&kept, "CREATE TABLE precious (a int)");
    let mark = cluster.query(
        "postgres",
        &format!(
            "SELECT split_part(x, '=', 2) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) x
              WHERE d.datname = '{name}_elsewhere'"
        ),
    );
    assert!(mark.starts_with("kept:"), "{mark}");
    cluster.sql("postgres", &format!("ALTER DATABASE {name}_elsewhere RESET safe_migrate.mark"));
    for arguments in [vec!["--undo", &run, "--yes"], vec!["--drop-old", &run, "--yes", "--confirm-name", &kept]] {
        scene.run(1, &[vec!["restore"], arguments].concat());
    }
    // Not even with the evidence copied over: it names another OID.
    cluster.sql("postgres", &format!("ALTER DATABASE {kept} SET safe_migrate.mark = '{mark}'"));
    for arguments in [vec!["--undo", &run, "--yes"], vec!["--drop-old", &run, "--yes", "--confirm-name", &kept]] {
        scene.run(1, &[vec!["restore"], arguments].concat());
    }
    scene.run(1, &["restore", "--swap", &kept, "--yes"]);
    assert_eq!(cluster.query(&kept, "SELECT count(*) FROM precious"), "0");
    // The right one is found under whatever name it has now.
    cluster.sql("postgres", &format!("ALTER DATABASE {name}_elsewhere SET safe_migrate.mark = '{mark}'"));
    let live = oid_of(&scene, name);
    scene.run(0, &["restore", "--undo", &run, "--yes"]);
    assert_ne!(oid_of(&scene, name), live);
}

#[test]
fn restore_undo_of_an_older_swap_names_the_newer_one() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE t (a int)");
    let id = scene.take_snapshot();
    scene.run(0, &["restore", &id, "--in-place", "--yes"]);
    let first = id_of(&recorded_run(&scene, &format!("restore {id}")));
    std::thread::sleep(Duration::from_millis(1100)); // ids count whole seconds
    scene.run(0, &["restore", &id, "--in-place", "--yes"]);
    let second = id_of(&recorded_run(&scene, &format!("restore {id}")));
    let refused = scene.run(1, &["restore", "--undo", &first, "--yes"]);
    assert!(refused.stderr.contains(&format!("restore --undo {second}")), "{}", refused.stderr);
    scene.run(0, &["restore", "--undo", &second, "--yes"]);
    scene.run(0, &["restore", "--undo", &first, "--yes"]);
}

#[test]
fn restore_drop_old_wants_the_name_and_drops_nothing_else() {
    let scene = Scene::empty(Version::V18);
    let name = scene.database.name();
    scene.database.sql("CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
    let id = scene.take_snapshot();
    scene.run(0, &["restore", &id, "--in-place", "--yes"]);
    let run = recorded_run(&scene, &format!("restore {id}"));
    let (run, kept) = (id_of(&run), run["swap"]["kept"].as_str().unwrap().to_owned());

    let refused = scene.run(3, &["restore", "--drop-old", &run, "--yes"]);
    assert!(refused.stderr.contains(&format!("--confirm-name {kept}")), "{}", refused.stderr);
    scene.run(3, &["restore", "--drop-old", &run, "--yes", "--confirm-name", name]);
    // What would go silently with it is named: an inactive slot.
    scene.cluster().sql(&kept, &format!("SELECT pg_create_logical_replication_slot('slot_{name}', 'pgoutput')"));
    let refused = scene.run(3, &["restore", "--drop-old", &run, "--confirm-name", &kept]);
    assert!(refused.stderr.contains(&format!("replication slot slot_{name}")), "{}", refused.stderr);
    scene.cluster().sql("postgres", &format!("SELECT pg_drop_replication_slot('slot_{name}')"));
    assert_eq!(scene.databases().len(), 2);

    // The last database with these rows is not dropped.
    scene.cluster().sql("postgres", &format!("ALTER DATABASE {name} RENAME TO {name}_away"));
    let refused = scene.run(1, &["restore", "--drop-old", &run, "--confirm-name", &kept]);
    assert!(refused.stderr.contains("the last one"), "{}", refused.stderr);
    scene.cluster().sql("postgres", &format!("ALTER DATABASE {name}_away RENAME TO {name}"));

    let output = scene.run(0, &["restore", "--drop-old", &run, "--confirm-name", &kept]);
    assert!(output.stdout.contains(&format!("dropped \"{kept}\"")), "{}", output.stdout);
    assert_eq!(scene.databases(), [name]);
    assert_eq!(scene.database.query("SELECT a FROM t"), "1");
    scene.run(1, &["restore", "--undo", &run, "--yes"]);
}

/// A name has 63 bytes, and ours stand behind it; to libpq one with '=' may look like a whole connection string.
#[test]
fn restore_of_a_database_with_a_long_name() {
    for long in ["n".repeat(63), "é".repeat(31), "a".repeat(30), "a".repeat(31), "host=".repeat(5)] {
        let scene = Scene::empty(Version::V15);
        let (cluster, name) = (scene.cluster(), scene.database.name());
        // Of its own for each test on this server.
        let long = format!("{}{name}", long.strip_suffix(&long[long.len() - name.len()..]).unwrap_or_default());
        scene.database.sql("CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
        cluster.sql("postgres", &format!("ALTER DATABASE {name} RENAME TO \"{long}\""));
        let file = scene.project.directory().join("safe-migrate.toml");
        let text = std::fs::read_to_string(file).unwrap();
        scene.project.configure(&text.replace(&scene.database.url(), &cluster.url(&long)));
        scene.project.write_migration("kitchen", "0001_b", "-- migrate:up\nALTER TABLE t ADD b int;\n");
        scene.run(0, &["apply", "--yes"]);
        let columns = || {
            cluster.query(
                &long,
                "SELECT string_agg(attname, ',') FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0",
            )
        };
        assert_eq!(columns(), "a,b", "{long}");
        // The way back that `apply` promised.
        scene.run(0, &["restore", "--before", "last-apply", "--in-place", "--yes"]);
        assert_eq!(columns(), "a", "{long}");
        // Beside it, and then in its place.
        let id = scene.take_snapshot();
        scene.run(0, &["restore", &id, "--yes"]);
        let all = format!(
            "SELECT string_agg(datname, ' ') FROM pg_database WHERE datname ~ '_restored_' AND datname ~ '^{}'",
            &long[..long.floor_char_boundary(16)]
        );
        let beside = cluster.query("postgres", &all);
        cluster.sql(&long, "DROP TABLE t");
        scene.run(0, &["restore", "--swap", &beside, "--yes"]);
        assert_eq!(columns(), "a", "{long}");
        scene.run(0, &["restore", &id, "--table", "t", "--mode", "beside", "--yes"]);
        let ours = format!(
            "SELECT string_agg(format('DROP DATABASE %I', datname), ';') FROM pg_database WHERE datname ~ '^{}'",
            &long[..long.floor_char_boundary(16)]
        );
        cluster.query("postgres", &ours).split(';').for_each(|sql| cluster.sql("postgres", sql));
        cluster.sql("postgres", &format!("CREATE DATABASE {name}"));
    }
}

fn obstacles_are_named(version: Version) {
    let scene = Scene::empty(version);
    let (cluster, name) = (scene.cluster(), scene.database.name());
    scene.database.sql("CREATE TABLE t (a int)");
    let id = scene.take_snapshot();
    scene.run(0, &["restore", &id, "--yes"]);
    let beside = scene.databases().pop().unwrap();
    let refused = |what: &str| {
        let output = scene.run(3, &["restore", "--swap", &beside, "--yes"]);
        assert!(output.stderr.contains(what), "{what}: {}", output.stderr);
        // The name to fill is taken, which the plan says below what is in the way.
        let planned = scene.run(1, &["restore", &id, "--in-place", "--dry-run"]);
        assert!(planned.stderr.contains(what), "{what}: {}", planned.stderr);
    };
    scene.database.sql(&format!("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION '{name}'"));
    refused(&format!("prepared transaction '{name}'"));
    scene.database.sql(&format!("ROLLBACK PREPARED '{name}'"));
    scene.database.sql(&format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')"));
    refused(&format!("replication slot {name}"));
    scene.database.sql(&format!("SELECT pg_drop_replication_slot('{name}')"));
    let subscription =
        "CREATE SUBSCRIPTION s CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE)";
    scene.database.sql(subscription);
    refused("subscription s");
    scene.database.sql("DROP SUBSCRIPTION s");

    // A standby: its sessions cannot be seen from here. It is named, and does not stop the swap. Its slot keeps the log
    // that it reads, which a checkpoint of a neighbour on this server would take away.
    let slot = format!("second_site_{name}");
    cluster.query("postgres", &format!("SELECT pg_create_physical_replication_slot('{slot}', true)"));
    let standby = tempfile::tempdir().unwrap();
    let words = standby.path().join("words");
    let mut receiver = cluster.program("pg_receivewal");
    receiver.arg("-D").arg(standby.path()).args(["-h", cluster.directory().to_str().unwrap()]);
    receiver.args(["-p", &cluster.port().to_string(), "-U", "admin", "--no-loop", "--slot", &slot]);
    receiver.env("PGAPPNAME", "second_site").stdout(Stdio::null()).stderr(std::fs::File::create(&words).unwrap());
    let mut receiver = receiver.spawn().unwrap();
    let streams = "SELECT count(*) FROM pg_stat_replication
                    WHERE application_name = 'second_site' AND state IN ('catchup', 'streaming')";
    while cluster.query("postgres", streams) == "0" {
        let ended = receiver.try_wait().unwrap();
        assert!(ended.is_none(), "pg_receivewal ended: {}", std::fs::read_to_string(&words).unwrap());
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = scene.run(0, &["restore", "--swap", &beside, "--yes"]);
    receiver.kill().unwrap();
    receiver.wait().unwrap();
    let drop = format!("SELECT pg_drop_replication_slot('{slot}')");
    while cluster.try_sql("postgres", &drop).is_err_and(|words| words.contains("is active")) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(output.stderr.contains("standby second_site"), "{}", output.stderr);
    assert_eq!(scene.databases().len(), 2);
}

#[test]
fn restore_names_what_stands_in_the_way_of_a_swap() {
    obstacles_are_named(Version::V15);
}

#[test]
fn restore_names_what_stands_in_the_way_of_a_swap_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    obstacles_are_named(Version::V18);
}

#[test]
fn restore_swaps_under_clients_that_come_back_all_the_time() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
    let id = scene.take_snapshot();
    scene.database.sql("INSERT INTO t VALUES (2)");
    scene.run(0, &["restore", &id, "--yes"]);
    let beside = scene.databases().pop().unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let odd: Vec<String> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut odd = Vec::new();
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        let mut psql = scene.cluster().program("psql");
                        psql.args(["-XAtq", "-d", &scene.database.socket_url(), "-c", "SELECT count(*) FROM t"]);
                        let output = psql.output().unwrap();
                        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                        if output.status.success() && !["1", "2"].contains(&text.as_str()) {
                            odd.push(text);
                        }
                    }
                    odd
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300));
        scene.run(0, &["restore", "--swap", &beside, "--yes"]);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(odd, Vec::<String>::new(), "a client saw the one or the other");
    assert_eq!(scene.database.query("SELECT count(*) FROM t"), "1");
}

#[test]
fn restore_refuses_to_swap_the_database_that_it_is_connected_to() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE t (a int)");
    let id = scene.take_snapshot();
    let text = std::fs::read_to_string(scene.project.directory().join("safe-migrate.toml")).unwrap();
    let maintenance = format!("[database]\nmaintenance = \"{}\"\n", scene.database.name());
    scene.project.configure(&text.replace("[database]\n", &maintenance));
    let refused = scene.run(1, &["restore", &id, "--in-place", "--yes"]);
    assert!(refused.stderr.contains("maintenance"), "{}", refused.stderr);
    assert_eq!(scene.databases(), [scene.database.name()]);
    let contents = Contents::of(scene.cluster(), scene.database.name());
    assert_eq!(contents.relations.len(), 2);
}
