//! Batched data migrations: each row is visited once, whatever stops the run, and what cannot be a key is refused.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::{Cut, CutAt, CuttingProxy, Scene, Standby, TestCluster, Version};

const SKIP: [&str; 6] = ["apply", "--yes", "--skip-rehearsal", "test", "--skip-snapshot", "test"];

const RAISE: &str = "UPDATE dish SET price = price * 1.1 WHERE id > :from AND id <= :to;";

fn scene(version: Version, rows: u32, options: &str, statement: &str) -> Scene {
    let scene = Scene::empty(version);
    fill(&scene, rows);
    write(&scene, options, statement);
    scene
}

fn fill(scene: &Scene, rows: u32) {
    scene.database.sql(&format!(
        "CREATE TABLE dish (id bigint PRIMARY KEY, price numeric NOT NULL, other bigint);
         INSERT INTO dish SELECT i * 3, 100, i FROM generate_series(1, {rows}) i; ANALYZE dish"
    ));
}

fn write(scene: &Scene, options: &str, statement: &str) {
    let down = "UPDATE dish SET price = price / 1.1 WHERE id > :from AND id <= :to;";
    let text = format!(
        "-- migrate:up transaction:false {options}\n{statement}\n-- migrate:down transaction:false batch:100 key:dish.id\n{down}\n"
    );
    scene.project.write_migration("menu", "0001_prices", &text);
}

#[track_caller]
fn each_raised_once(scene: &Scene) {
    assert_eq!(scene.database.query("SELECT price, count(*) FROM dish GROUP BY 1").split('|').next(), Some("110.0"));
    assert_eq!(scene.database.query("SELECT count(DISTINCT price) FROM dish"), "1");
}

#[test]
fn batches_cover_each_row_once_up_and_down() {
    for version in [Version::V15, Version::V18] {
        let scene = scene(version, 1005, "batch:100 key:public.dish.id", RAISE);
        let output = scene.run(0, &["apply", "--yes"]);
        assert!(output.stderr.contains("line 2: 1,005 rows in 11 batches"), "in the rehearsal: {}", output.stderr);
        assert!(output.stderr.contains("menu/0001_prices:2: 1005 rows in 11 batches"), "{}", output.stderr);
        each_raised_once(&scene);
        assert_eq!(scene.database.query("SELECT rows_done FROM safe_migrate.step"), "1005");
        scene.run(0, &["rollback", "--last", "--yes"]);
        assert_eq!(scene.database.query("SELECT DISTINCT round(price, 5) FROM dish"), "100.00000");
    }
}

#[test]
fn batches_of_every_kind_of_key() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql(
        "CREATE TABLE dish (id int, small smallint NOT NULL, same int NOT NULL, name varchar(20) NOT NULL, word text NOT NULL,
                            u uuid NOT NULL, day date NOT NULL, at timestamptz NOT NULL, \"of_It's\" timestamp NOT NULL, seen int DEFAULT 0);
         INSERT INTO dish SELECT i, i - 30, i / 7, 'it''s \\ ' || i, repeat('é', i), md5(i::text)::uuid, '2026-01-01'::date + i,
                '2026-01-01 12:00:00.000001+02'::timestamptz + i * '1 microsecond'::interval, '2026-01-01'::timestamp - i * '1 s'::interval
           FROM generate_series(1, 60) i;
         CREATE INDEX ON dish (small); CREATE INDEX ON dish (same, id); CREATE INDEX ON dish (name); CREATE INDEX ON dish (word);
         CREATE INDEX ON dish (u); CREATE INDEX ON dish (day DESC); CREATE INDEX ON dish (at); CREATE INDEX ON dish (\"of_It's\")",
    );
    let mut number = 0;
    for key in ["small", "same", "name", "word", "u", "day", "at", "\"of_It's\""] {
        number += 1;
        scene.project.write_migration(
            "menu",
            &format!("000{number}_key"),
            &format!("-- migrate:up transaction:false batch:10 key:dish.{key}\nUPDATE dish SET seen = seen + 1 WHERE {key} > :from AND {key} <= :to;\n"),
        );
        scene.run(0, &SKIP);
        assert_eq!(scene.database.query("SELECT DISTINCT seen FROM dish"), number.to_string(), "{key}");
    }
}

#[test]
fn batches_of_nothing_are_done() {
    let scene = scene(Version::V15, 0, "batch:10 key:dish.id", RAISE);
    scene.begin_applied();
    assert_eq!(scene.applied(), ["menu/0001_prices"]);
}

#[test]
fn batches_that_make_no_sense_are_refused_by_line() {
    let scene = scene(Version::V15, 5, "", "SELECT 1;");
    for (options, statement, place, words) in [
        ("batch:10", RAISE, ":1:", "needs the key"),
        ("key:dish.id", RAISE, ":1:", "go with `batch:`"),
        ("batch:0 key:dish.id", RAISE, ":1:", "from 1 to"),
        ("batch:10 key:id", RAISE, ":1:", "[schema.]table.column"),
        ("batch:10 key:dish.id pause:1h", RAISE, ":1:", "100ms"),
        ("batch:10 key:dish.id speed:1", RAISE, ":1:", "unknown option"),
        ("batch:10 key:dish.id", "UPDATE dish SET price = 1;", ":1:", "no statement"),
        ("batch:10 key:dish.id", "SELECT ':from', $$:to$$; -- :from :to", ":1:", "no statement"),
        ("batch:10 key:dish.id", "SELECT 1;\nUPDATE dish SET price = 1 WHERE id > :from;", ":3:", "needs both"),
        ("", RAISE, ":2:", "belong to a section"),
        ("transaction:true batch:10 key:dish.id", RAISE, ":1:", "transaction:false"),
    ] {
        write(&scene, options, statement);
        let output = scene.run(2, &["apply", "--yes"]);
        let place = format!("0001_prices.sql{place}");
        assert!(output.stderr.contains(&place) && output.stderr.contains(words), "{options}: {}", output.stderr);
    }
}

#[test]
fn batches_along_what_is_no_key_are_refused_before_anything_is_changed() {
    let scene = scene(Version::V15, 5, "", "SELECT 1;");
    scene.database.sql(
        "ALTER TABLE dish ADD part bigint NOT NULL DEFAULT 1, ADD f float8 NOT NULL DEFAULT 1;
         CREATE INDEX ON dish (other); CREATE INDEX ON dish (part) WHERE part > 1; CREATE INDEX ON dish (price, part);
         CREATE VIEW seen AS SELECT * FROM dish; CREATE TABLE low (id smallint PRIMARY KEY); INSERT INTO low VALUES (-32768)",
    );
    for (key, words) in [
        ("dish.other", "may be null"),
        ("dish.part", "no valid btree index"),
        ("dish.price", "its type is numeric"),
        ("dish.f", "its type is float8"),
        ("dish.nothing", "has no column"),
        ("nowhere.id", "there is no table"),
        ("seen.id", "is no table"),
        ("low.id", "no batch can begin below"),
    ] {
        write(&scene, &format!("batch:10 key:{key}"), RAISE);
        let output = scene.run(1, &SKIP);
        assert!(
            output.stderr.contains("0001_prices.sql:2") && output.stderr.contains(words),
            "{key}: {}",
            output.stderr
        );
        assert!(output.stderr.contains("production: unchanged"), "{}", output.stderr);
    }
    let output = scene.run(3, &["apply", "--yes"]);
    assert!(output.stderr.contains("no batch can begin below"), "in the rehearsal: {}", output.stderr);
    assert_eq!(scene.database.query("SELECT DISTINCT price FROM dish"), "100");
}

#[test]
fn batches_stop_when_asked_and_go_on_without_the_rows_that_came_since() {
    let scene = scene(Version::V18, 900, "batch:10 key:dish.id pause:50ms", RAISE);
    let run = scene.project.command(&SKIP).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while scene.rows_done() < 50 {
        assert!(Instant::now() < deadline, "no batch");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(std::process::Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap().success());
    let output = run.wait_with_output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{words}");
    assert!(words.contains("run the command again") && words.contains("0001_prices.sql:2"), "{words}");
    let done = scene.rows_done();
    let raised = "SELECT count(*) FROM dish WHERE price > 100";
    assert_eq!(scene.database.query(raised), done.to_string());
    assert!((50..900).contains(&done));
    assert_eq!(scene.database.query("SELECT outcome FROM safe_migrate.run"), "interrupted");

    scene.database.sql("INSERT INTO dish SELECT i, 55 FROM generate_series(10000, 10100) i");
    write(&scene, "batch:100 key:dish.id", RAISE);
    let output = scene.run(0, &["apply", "--yes"]);
    assert!(output.stderr.contains(&format!("{done} rows in {} batches; going on", done / 10)), "{}", output.stderr);
    assert_eq!(scene.database.query("SELECT price, count(*) FROM dish GROUP BY 1 ORDER BY 1"), "55|101\n110.0|900");
    assert_eq!(scene.applied(), ["menu/0001_prices"]);
}

#[test]
fn batches_that_met_a_lock_are_tried_again() {
    let scene = scene(Version::V15, 300, "batch:100 key:dish.id", RAISE);
    let mut psql = scene.cluster().program("psql");
    psql.args(["-X", "-q", "-d", &scene.database.socket_url(), "-c"]);
    psql.arg("BEGIN; SELECT FROM dish WHERE id = 450 FOR UPDATE; SELECT pg_sleep(2); COMMIT");
    let mut holder = psql.stdout(Stdio::null()).spawn().unwrap();
    let sleeping = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event = 'PgSleep'",
        scene.database.name()
    );
    let deadline = Instant::now() + Duration::from_secs(60);
    while scene.cluster().query("postgres", &sleeping) == "0" {
        assert!(Instant::now() < deadline, "no lock");
    }
    let output = scene.run(0, &SKIP);
    holder.wait().unwrap();
    assert!(output.stderr.contains("trying again (1 of 10)"), "{}", output.stderr);
    each_raised_once(&scene);
}

#[test]
fn batches_whose_commit_was_lost_are_neither_repeated_nor_left_out() {
    for cut in [Cut::Before, Cut::After] {
        let scene = scene(Version::V15, 300, "batch:100 key:dish.id", RAISE);
        let port = scene.cluster().port();
        let proxy = CuttingProxy::start(port, CutAt { once_sent: "UPDATE dish SET price", at: "COMMIT", cut });
        let direct = std::fs::read_to_string(scene.project.directory().join("safe-migrate.toml")).unwrap();
        scene.project.configure(&direct.replace(&format!(":{port}/"), &format!(":{}/", proxy.port())));
        scene.run(if cut == Cut::After { 4 } else { 1 }, &SKIP);
        assert!(proxy.has_cut());
        scene.run(0, &SKIP);
        each_raised_once(&scene);
    }
}

#[test]
fn batches_may_not_change_in_the_middle() {
    let guarded = "UPDATE dish SET price = price * 1.1 / (id - 600) * (id - 600) WHERE id > :from AND id <= :to;";
    let scene = scene(Version::V15, 300, "batch:100 key:dish.id", guarded);
    let output = scene.run(4, &SKIP);
    assert!(
        output.stderr.contains("division by zero") && output.stderr.contains("so are batches"),
        "{}",
        output.stderr
    );
    write(&scene, "batch:100 key:dish.id", RAISE);
    let output = scene.run(4, &SKIP);
    assert!(output.stderr.contains("the file changed there since"), "{}", output.stderr);
}

#[test]
fn batches_wait_for_a_standby_that_is_behind() {
    let cluster = Arc::new(TestCluster::start(Version::V15, &[]));
    let scene = Scene::on(&cluster);
    fill(&scene, 400);
    write(&scene, "batch:10 key:dish.id pause:100ms max-lag:1s", RAISE);
    let standby = Standby::of(&cluster);
    let pause = |function: &str| {
        let mut psql = cluster.program("psql");
        psql.args(["-X", "-q", "-d", &standby.url(&cluster, "postgres"), "-c", &format!("SELECT {function}()")]);
        assert!(psql.stdout(Stdio::null()).status().unwrap().success());
    };
    pause("pg_wal_replay_pause");
    let output = std::thread::scope(|scope| {
        let run = scope.spawn(|| scene.run(0, &SKIP));
        // It does not get to the end while the standby stands still.
        let (mut last, mut since) = (0, Instant::now());
        while last == 0 || since.elapsed() < Duration::from_secs(4) {
            let now = scene.rows_done();
            if now != last {
                (last, since) = (now, Instant::now());
            }
            std::thread::sleep(Duration::from_millis(50));
            assert!(!run.is_finished(), "it did not wait");
        }
        assert!((1..400).contains(&last), "{last}");
        pause("pg_wal_replay_resume");
        run.join().unwrap()
    });
    assert!(output.stderr.contains("is behind by more than max-lag"), "{}", output.stderr);
    assert!(output.stderr.contains("caught up"), "{}", output.stderr);
    each_raised_once(&scene);
}

#[test]
fn batches_say_when_rights_hide_the_standbys() {
    let cluster = Arc::new(TestCluster::start(Version::V15, &[]));
    let scene = Scene::on(&cluster);
    let _standby = Standby::of(&cluster);
    let role = cluster.role("deploy", "pw", "CREATEDB");
    scene.database.sql(&format!(
        "ALTER DATABASE {} OWNER TO {}; GRANT ALL ON SCHEMA public TO {1}",
        scene.database.name(),
        role.name()
    ));
    fill(&scene, 30);
    scene.database.sql(&format!("ALTER TABLE dish OWNER TO {}", role.name()));
    write(&scene, "batch:10 key:dish.id max-lag:1s", RAISE);
    let mut arguments = SKIP.to_vec();
    let url = role.url(&scene.database);
    arguments.extend(["--database", &url]);
    let output = scene.run(0, &arguments);
    assert!(output.stderr.contains("GRANT pg_monitor"), "{}", output.stderr);
    each_raised_once(&scene);
    cluster.sql(scene.database.name(), &format!("REASSIGN OWNED BY {0} TO admin; DROP OWNED BY {0}", role.name()));
    cluster.sql("postgres", &format!("ALTER DATABASE {} OWNER TO admin", scene.database.name()));
}

#[test]
fn batches_are_linted_and_planned() {
    let scene = scene(Version::V15, 5, "batch:10 key:dish.id", RAISE);
    let output = scene.run(0, &["lint"]);
    assert!(!output.stdout.contains("syntax"), "{}", output.stdout);
    assert!(scene.run(0, &["plan", "--sql"]).stdout.contains(":from AND id <= :to"));
}
