//! The shadow reaches nothing outside itself, and nothing of it is left, whatever happens.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::{Project, Scene, ShadowDirectory, TestCluster, Version, rounds};

/// Whether this machine lets a private server be cut off from the network (DESIGN section 10).
fn can_be_confined() -> bool {
    let mut command = std::process::Command::new("unshare");
    command.args(["--net", "--mount", "true"]).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A subscription, a foreign table with its user mapping and a `dblink` call in production's schema lead to a real
/// server, over TCP and over its socket; the migration uses all of them, hidden in functions.
fn what_leads_outside_is_not_reached(version: Version) {
    let away = Arc::new(TestCluster::start_apart(version, &[]));
    let there = away.database();
    let cluster = Arc::new(TestCluster::start(version, &[]));
    let scene = Scene::on(&cluster);
    let shadow = ShadowDirectory::of(&scene.project);
    there.sql("CREATE TABLE dish (id int PRIMARY KEY, name text); CREATE TABLE log (t text); INSERT INTO dish VALUES (1, 'real')");
    there.sql("CREATE PUBLICATION p FOR TABLE dish; SELECT pg_create_logical_replication_slot('feed', 'pgoutput')");
    let (port, name, socket) = (away.port(), there.name(), away.directory().display());
    let password = away.password();
    let tcp = format!("host=127.0.0.1 port={port} dbname={name} user=admin password={password}");
    let local = format!("host={socket} port={port} dbname={name} user=admin");
    scene.database.sql(&format!(
        "CREATE EXTENSION dblink; CREATE EXTENSION postgres_fdw; CREATE TABLE dish (id int PRIMARY KEY, name text);
         CREATE SUBSCRIPTION feed CONNECTION '{tcp}' PUBLICATION p WITH (connect = false, slot_name = 'feed');
         CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '{port}', dbname '{name}');
         CREATE SERVER near FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{socket}', port '{port}', dbname '{name}');
         CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (user 'admin', password '{password}');
         CREATE FOREIGN TABLE far_dish (id int, name text) SERVER far OPTIONS (table_name 'dish');
         CREATE TABLE tried (how text, words text);
         CREATE FUNCTION try(how text, what text) RETURNS void LANGUAGE plpgsql AS $f$
         BEGIN EXECUTE what; INSERT INTO tried VALUES (how, 'REACHED');
         EXCEPTION WHEN OTHERS THEN INSERT INTO tried VALUES (how, SQLERRM); END $f$;
         CREATE FUNCTION call(how text, words text) RETURNS void LANGUAGE sql AS $f$
           SELECT try(how, format('SELECT db' || 'link_exec(%L, %L)', words, 'INSERT INTO log VALUES (' || quote_literal(how) || ')')) $f$;
         CREATE FUNCTION report() RETURNS void LANGUAGE plpgsql AS $f$
         DECLARE reached text; BEGIN
           SELECT string_agg(how || ': ' || words, E'\\n') INTO reached FROM tried WHERE words = 'REACHED';
           IF reached IS NOT NULL THEN RAISE EXCEPTION 'reached: %', reached; END IF;
         END $f$"
    ));
    let text = format!(
        "-- migrate:up
SELECT call('dblink over TCP', '{tcp}');
SELECT call('dblink over a socket', '{local}');
SELECT call('dblink without a host', 'dbname={name} port={port} user=admin');
SELECT try('foreign table', 'UPDATE far_dish SET name = ''rehearsed''');
SELECT try('foreign table with a new mapping', 'CREATE USER MA' || 'PPING FOR CURRENT_USER SERVER near OPTIONS (user ''admin'', password_required ''false'');
  CREATE FOREIGN TABLE near_log (t text) SERVER near OPTIONS (table_name ''log''); INSERT INTO near_log VALUES (''near'')');
SELECT try('program', 'CO' || 'PY tried TO PRO' || 'GRAM ''cat > {shadow}/leak''');
SELECT report();
-- migrate:down
TRUNCATE tried;
",
        shadow = shadow.path().display()
    );
    scene.project.write_migration("kitchen", "0001_outside", &text);
    // It does reach them where it is not held back: the control.
    let slots = "SELECT slot_name, confirmed_flush_lsn, active FROM pg_replication_slots";
    let state = || format!("{}\n{}\n{}", there.dump(), away.query("postgres", slots), away.query(name, "TABLE log"));
    let before = state();
    let id = scene.take_snapshot();
    if !can_be_confined() {
        let output = scene.run(3, &["rehearse", "--snapshot", &id]);
        assert!(output.stderr.contains("allow_network"), "{}", output.stderr);
        return;
    }
    let output = scene.run(0, &["rehearse", "--snapshot", &id]);
    assert_eq!(state(), before, "{}", output.stdout);
    assert!(
        output.stdout.contains("the shadow had no network; what goes through dblink, postgres_fdw fails there"),
        "{}",
        output.stdout
    );
    shadow.must_become_empty();

    let control =
        text.lines().filter(|line| line.starts_with("SELECT call('dblink over")).collect::<Vec<_>>().join("\n");
    scene.database.sql(&control);
    assert_eq!(away.query(name, "SELECT count(*) FROM log"), "2", "{}", scene.database.query("TABLE tried"));
    scene
        .database
        .sql("ALTER SUBSCRIPTION feed DISABLE; ALTER SUBSCRIPTION feed SET (slot_name = NONE); DROP SUBSCRIPTION feed");
    away.sql("postgres", &format!("\\c {name}\nSELECT pg_drop_replication_slot('feed')"));
}

#[test]
fn rehearse_reaches_nothing_outside() {
    what_leads_outside_is_not_reached(Version::V15);
}

#[test]
fn rehearse_reaches_nothing_outside_18() {
    what_leads_outside_is_not_reached(Version::V18);
}

#[test]
fn rehearse_refuses_files_and_programs_and_says_what_changed_only_the_shadow() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE dish (id int)");
    let id = scene.take_snapshot();
    for (statement, words) in [
        ("COPY dish TO PROGRAM 'cat > /tmp/x'", "COPY with PROGRAM"),
        ("COPY dish TO '/tmp/safe-migrate-leak'", "COPY to a file of the server"),
        ("DO $$BEGIN EXECUTE 'COPY dish FROM PROGRAM ''date'''; END$$", "COPY with PROGRAM"),
        ("SELECT lo_export(1, '/tmp/x')", "LO_EXPORT"),
    ] {
        scene.project.write_migration("kitchen", "0001_x", &format!("-- migrate:up\nSELECT 1;\n{statement};\n"));
        let output = scene.run(3, &["rehearse", "--snapshot", &id]);
        assert!(output.stderr.contains("0001_x.sql:3: ") && output.stderr.contains(words), "{}", output.stderr);
    }
    scene.project.write_migration(
        "kitchen",
        "0001_x",
        "-- migrate:up transaction:false\nALTER SYSTEM SET work_mem = '5MB';\n",
    );
    // It goes through, and ends as apply would: no snapshot holds a setting of the server.
    let output = scene.run(3, &["rehearse", "--snapshot", &id]);
    assert!(output.stderr.contains("apply would refuse: the policy denies"), "{}", output.stderr);
    assert!(output.stdout.contains("ALTER SYSTEM changed the shadow's own server"), "{}", output.stdout);
}

/// Production's address is a closed port: nothing even tries it.
fn never_connects_with_a_snapshot(version: Version) {
    let cluster = Arc::new(TestCluster::start(version, &["log_connections=on"]));
    let scene = Scene::on(&cluster);
    scene.database.sql("CREATE TABLE dish (id int); INSERT INTO dish VALUES (1)");
    scene.project.write_migration(
        "kitchen",
        "0001_x",
        "-- migrate:up\nALTER TABLE dish ADD a int;\n-- migrate:down\nALTER TABLE dish DROP a;\n",
    );
    let id = scene.take_snapshot();
    let file = scene.project.directory().join("safe-migrate.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    scene.project.configure(&text.replace(&format!(":{}/", cluster.port()), &format!(":{port}/")));
    listener.set_nonblocking(true).unwrap();
    let log = cluster.log();
    let output = scene.run(0, &["rehearse", "--snapshot", &id]);
    assert!(output.stdout.contains("reversible"), "{}", output.stdout);
    assert_eq!(cluster.log(), log, "the real server was not connected to");
    let error = listener.accept().expect_err("nobody tried the address");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    drop(listener);
    // And with nobody listening at all.
    scene.run(0, &["rehearse", "--snapshot", &id]);
}

#[test]
fn rehearse_with_a_snapshot_never_connects_to_production() {
    never_connects_with_a_snapshot(Version::V15);
}

#[test]
fn rehearse_writes_nothing_to_production() {
    let cluster = Arc::new(TestCluster::start(Version::V15, &["autovacuum=off"]));
    let scene = Scene::on(&cluster);
    scene.database.sql("CREATE TABLE dish (id int PRIMARY KEY); INSERT INTO dish VALUES (1)");
    scene.project.write_migration("kitchen", "0001_x", "-- migrate:up\nUPDATE dish SET id = 2;\n");
    let counters = || {
        std::thread::sleep(Duration::from_millis(500));
        let sql = "SELECT datname, tup_inserted, tup_updated, tup_deleted, temp_files FROM pg_stat_database ORDER BY 1";
        cluster.query("postgres", sql)
    };
    let before = counters();
    let output = scene.rehearse(&["rehearse", "--snapshot", "new"]);
    assert!(output.stdout.contains("rehearsal"), "{}", output.stdout);
    assert_eq!(counters(), before);
}

/// Kills at even distances over the whole of a rehearsal, so that each phase is met: start, fill, proof, plan, way
/// back, clean-up.
fn a_killed_rehearsal_leaves_nothing(version: Version, kills: u32) {
    let scene = Scene::empty(version);
    let shadow = ShadowDirectory::of(&scene.project);
    scene.database.sql("CREATE TABLE big AS SELECT i AS id, md5(i::text) AS b FROM generate_series(1, 30000) i");
    scene.database.sql("ALTER TABLE big ADD PRIMARY KEY (id); CREATE INDEX ON big (b)");
    let text = "-- migrate:up\nALTER TABLE big ALTER id TYPE bigint;\nSELECT pg_sleep(0.2);\n-- migrate:down\nALTER TABLE big ALTER id TYPE int;\n";
    scene.project.write_migration("kitchen", "0001_x", text);
    let id = scene.take_snapshot();
    let arguments = ["rehearse", "--snapshot", &id];
    let begun = Instant::now();
    scene.run(0, &arguments);
    let whole = begun.elapsed();
    shadow.must_become_empty();
    let before = scene.database.dump();
    let signals = [rustix::process::Signal::KILL, rustix::process::Signal::TERM, rustix::process::Signal::INT];
    let mut ended_first = 0;
    for round in 0..kills {
        let signal = if round % 4 == 3 { signals[1 + (round as usize / 4) % 2] } else { signals[0] };
        let mut command = scene.project.command(&arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole.mul_f64((f64::from(round) + 0.5) / f64::from(kills)));
        let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
        if child.try_wait().unwrap().is_none() {
            rustix::process::kill_process(pid, signal).unwrap();
        }
        let status = child.wait().unwrap();
        ended_first += u32::from(status.code() == Some(0));
        if signal != signals[0] {
            assert!(matches!(status.code(), Some(0 | 130)), "{status}");
            // Asked to, it cleans up itself.
            assert_eq!(shadow.files(), Vec::<PathBuf>::new(), "round {round}, {signal:?}");
        }
        // The next command, whichever, finds nothing in its way and leaves nothing.
        if round % 3 == 0 {
            scene.run(0, &arguments);
            assert!(shadow.files().is_empty(), "round {round}: {:?}, {:?}", shadow.files(), shadow.processes());
        }
        shadow.must_become_empty();
    }
    assert!(ended_first < kills / 2, "{ended_first} of {kills} ended before they were killed");
    assert_eq!(scene.database.dump(), before);
}

#[test]
fn rehearse_killed_in_each_phase_leaves_nothing() {
    a_killed_rehearsal_leaves_nothing(Version::V15, rounds(5, 80));
}

#[test]
fn rehearse_killed_in_each_phase_leaves_nothing_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    a_killed_rehearsal_leaves_nothing(Version::V18, rounds(4, 40));
}

/// Where neither namespaces nor walls of its own hold the private server, it goes by what the role may do and by what is
/// installed: no text of a migration proves anything.
#[test]
fn rehearse_without_any_wall_goes_by_rights_and_extensions() {
    let mut scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE dish (id int)");
    let plain = scene.take_snapshot();
    scene.database.sql("CREATE EXTENSION dblink");
    let with_dblink = scene.take_snapshot();
    let programs = tempfile::tempdir().unwrap();
    for program in ["sh", "head", "sleep", "rm", "tr", "ps"] {
        std::os::unix::fs::symlink(Path::new("/bin").join(program), programs.path().join(program)).unwrap();
    }
    scene.project.set("PATH", programs.path().to_str().unwrap());
    let rehearse = |scene: &Scene, id: &str| {
        Project::output_of(
            &mut scene.project.command_with_faults("off.own-walls=return", &["rehearse", "--snapshot", id]),
        )
    };
    let text = std::fs::read_to_string(scene.project.directory().join("safe-migrate.toml")).unwrap();
    let configure = |scene: &Scene, lines: &str| {
        scene.project.configure(&text.replace("[shadow]\n", &format!("[shadow]\n{lines}\n")));
    };

    scene.project.write_migration("kitchen", "0001_x", "-- migrate:up\nALTER TABLE dish ADD a int;\n");
    let output = rehearse(&scene, &plain);
    assert_eq!(output.status, 3, "{}{}", output.stdout, output.stderr);
    for words in ["role \"admin\" is a superuser", "unshare cannot be run", "unconfined = [\"superuser\"] in [shadow]"]
    {
        assert!(output.stderr.contains(words), "{words}: {}", output.stderr);
    }
    configure(&scene, "unconfined = [\"superuser\"]");
    let output = rehearse(&scene, &plain);
    assert_eq!(output.status, 0, "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("[shadow] unconfined accepts: superuser"), "{}", output.stdout);
    let output = rehearse(&scene, &with_dblink);
    assert_eq!(output.status, 3, "{}{}", output.stdout, output.stderr);
    for words in ["the database uses dblink", "allow_network = true in [shadow]"] {
        assert!(output.stderr.contains(words), "{words}: {}", output.stderr);
    }
    let hidden = "-- migrate:up\nDO $$BEGIN PERFORM dblink_connect('dbname=x'); END$$;\n";
    scene.project.write_migration("kitchen", "0001_x", hidden);
    let output = rehearse(&scene, &plain);
    assert_eq!(output.status, 3, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("0001_x.sql:2: DBLINK_CONNECT"), "{}", output.stderr);

    scene.project.write_migration("kitchen", "0001_x", "-- migrate:up\nALTER TABLE dish ADD a int;\n");
    configure(&scene, "unconfined = [\"superuser\"]\nallow_network = true");
    let output = rehearse(&scene, &with_dblink);
    assert_eq!(output.status, 0, "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("allow_network lets it reach out by: dblink"), "{}", output.stdout);
    configure(&scene, "unconfined = [\"superuser\", \"dblink\"]");
    let output = rehearse(&scene, &with_dblink);
    assert_eq!(output.status, 0, "{}{}", output.stdout, output.stderr);
}

/// An ordinary role, which owns what it migrates, needs no switch on such a machine.
#[test]
fn rehearse_without_any_wall_by_an_ordinary_role() {
    let cluster = TestCluster::shared(Version::V15);
    let role = cluster.role("cook", "of-the-cook", "");
    let mut scene = Scene::on(&cluster);
    let (name, database) = (role.name().to_owned(), scene.database.name().to_owned());
    scene.database.sql(&format!(
        "ALTER DATABASE {database} OWNER TO {name}; ALTER SCHEMA public OWNER TO {name}; SET ROLE {name}; CREATE TABLE dish (id int)"
    ));
    scene.project.write_migration("kitchen", "0001_x", "-- migrate:up\nALTER TABLE dish ADD a int;\n");
    scene.project.set("SAFE_MIGRATE_DATABASE_URL", &role.url(&scene.database));
    scene.run(0, &["snapshot", "create"]);
    let programs = tempfile::tempdir().unwrap();
    for program in ["sh", "head", "sleep", "rm", "tr", "ps"] {
        std::os::unix::fs::symlink(Path::new("/bin").join(program), programs.path().join(program)).unwrap();
    }
    scene.project.set("PATH", programs.path().to_str().unwrap());
    let output = Project::output_of(&mut scene.project.command_with_faults("off.own-walls=return", &["rehearse"]));
    assert_eq!(output.status, 0, "{}{}", output.stdout, output.stderr);
}
