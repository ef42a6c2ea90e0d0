//! What a restore says before it asks, and what it proves (DESIGN section 9).

use crate::support::{Scene, Version};

fn the_plan_says_what_changed_since(version: Version) {
    let scene = Scene::dusangire(version);
    scene.run(0, &["apply", "menu", "--yes", "--skip-rehearsal", "test"]);
    scene.database.sql(
        "CREATE TABLE large AS SELECT i, md5(i::text) || md5((i + 1)::text) || md5((i + 2)::text) AS b FROM generate_series(1, 150000) i;
         CREATE TABLE gone AS SELECT 1 AS a; CREATE TABLE same AS SELECT 1 AS a; CREATE TABLE locked AS SELECT 1 AS a",
    );
    let id = scene.take_snapshot();
    scene.run(0, &["apply", "--yes", "--skip-rehearsal", "test", "--accept-drift", "tables of the test"]);
    // The rows at the end stay: with them the file stays large, whenever autovacuum comes by, and large ones are estimated.
    scene.database.sql(
        "DELETE FROM large WHERE i <= 75000; DROP TABLE gone; CREATE TABLE fresh AS SELECT generate_series(1, 12) AS a;
         INSERT INTO menu_category (name, slug) VALUES ('a', 'a'), ('b', 'b'); UPDATE same SET a = 2",
    );
    // In a session of its own: what a session has not reported yet would be counted twice.
    scene.database.sql("ANALYZE large");
    let planned = scene.run(0, &["restore", &id, "--in-place", "--dry-run"]);
    let text = &planned.stdout;
    for line in [
        "public.large: about 75,000 rows, then 150,000",
        "public.fresh: new, 12 rows",
        "public.gone: gone, then 1 row",
        "public.menu_category: 2 rows, then 0",
        "values changed in place are not seen here",
        "applied since, and taken back: ",
        "nothing was changed (--dry-run)",
        " of disk, ",
        "at an assumed rate",
    ] {
        assert!(text.contains(line), "{line}:\n{text}");
    }
    assert!(text.contains("and ") && text.contains(" more"), "more tables are new than are listed:\n{text}");
    assert!(!text.contains("public.same"), "{text}");
    let order: Vec<_> = ["public.large", "public.fresh"].iter().map(|name| text.find(name).unwrap()).collect();
    assert!(order.is_sorted(), "the most different first:\n{text}");

    let json: serde_json::Value =
        serde_json::from_str(&scene.run(0, &["restore", &id, "--in-place", "--dry-run", "--json"]).stdout).unwrap();
    let since = &json["restore"]["since"];
    assert_eq!(since["live"]["state"], "read");
    assert_eq!(since["tables"][0]["table"], "public.large");
    assert_eq!(since["tables"][0]["exact"], false);
    let applied = since["applied"].as_array().unwrap();
    assert!(
        applied.iter().all(|one| !one.as_str().unwrap().starts_with("menu/")) && !applied.is_empty(),
        "{applied:?}"
    );
    assert!(json["restore"]["space"]["needed"].as_u64().unwrap() > 1_000_000);
    assert_eq!(scene.databases(), [scene.database.name()]);

    // The same is said before a restore asks.
    let asked = scene.run(3, &["restore", &id, "--in-place"]);
    assert!(asked.stderr.contains("public.large: about 75,000 rows, then 150,000"), "{}", asked.stderr);
}

#[test]
fn restore_plans_with_what_changed_since() {
    the_plan_says_what_changed_since(Version::V15);
}

#[test]
fn restore_plans_with_what_changed_since_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    the_plan_says_what_changed_since(Version::V18);
}

#[test]
fn restore_plans_when_the_ledger_or_the_database_is_gone_or_a_table_is_locked() {
    let scene = Scene::empty(Version::V15);
    scene.project.write_migration(
        "app",
        "0001_a",
        "-- migrate:up\nCREATE TABLE a (i int);\n-- migrate:down\nDROP TABLE a;\n",
    );
    scene.run(0, &["apply", "--yes", "--skip-rehearsal", "test"]);
    let id = scene.take_snapshot();
    scene.database.sql("DROP SCHEMA safe_migrate CASCADE; INSERT INTO a VALUES (1)");
    let planned = scene.run(0, &["restore", &id, "--in-place", "--dry-run"]).stdout;
    assert!(
        planned.contains("migrations since are not known") && planned.contains("public.a: 1 row, then 0"),
        "{planned}"
    );

    // A migration that hangs with its lock must not hang the plan.
    let mut psql = scene.cluster().program("psql");
    psql.args([
        "-X",
        "-d",
        &scene.database.socket_url(),
        "-c",
        "BEGIN",
        "-c",
        "LOCK TABLE a",
        "-c",
        "SELECT pg_sleep(60)",
    ]);
    let mut locker = psql.stdout(std::process::Stdio::null()).spawn().unwrap();
    let held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'a'::regclass";
    while scene.database.query(held) == "0" {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    scene.run(0, &["restore", &id, "--in-place", "--dry-run"]);
    locker.kill().unwrap();
    locker.wait().unwrap();

    scene.cluster().sql("postgres", &format!("DROP DATABASE {} WITH (FORCE)", scene.database.name()));
    let planned = scene.run(0, &["restore", &id, "--in-place", "--dry-run"]).stdout;
    assert!(planned.contains("does not exist"), "{planned}");
    scene.run(0, &["restore", &id, "--in-place", "--yes"]);
    assert_eq!(scene.applied(), ["app/0001_a"]);
    let planned = scene.run(0, &["restore", &id, "--in-place", "--dry-run", "--json"]).stdout;
    let json: serde_json::Value = serde_json::from_str(&planned).unwrap();
    assert_eq!(json["restore"]["since"]["tables"], serde_json::json!([]));
}

fn the_proof_says_what_it_proves(version: Version) {
    let scene = Scene::empty(version);
    scene.database.sql(
        "CREATE TABLE s (id serial PRIMARY KEY, a int); INSERT INTO s VALUES (41, 1), (42, 1);
         CREATE TABLE i (id int GENERATED ALWAYS AS IDENTITY, a int); INSERT INTO i (a) SELECT 1 FROM generate_series(1, 5);
         CREATE SEQUENCE down INCREMENT -1; CREATE TABLE d (id bigint DEFAULT nextval('down')); INSERT INTO d VALUES (-7);
         CREATE SEQUENCE fine; CREATE TABLE f (id int DEFAULT nextval('fine')); INSERT INTO f DEFAULT VALUES;
         CREATE TABLE p (id serial, k int) PARTITION BY LIST (k); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
         INSERT INTO p VALUES (9, 1)",
    );
    let broken = scene.cluster().try_sql(scene.database.name(), "CREATE UNIQUE INDEX CONCURRENTLY broken ON s (a)");
    assert!(broken.is_err());
    let id = scene.take_snapshot();
    let copy = format!("{}_copy", scene.database.name());
    for (proof, proven) in [("rows", "7 rows"), ("counts", "not proven: what is in the rows")] {
        let output = scene.run(0, &["restore", &id, "--to", &copy, "--yes", "--proof", proof]);
        for text in [
            "as in the snapshot: sequence public.s_id_seq is behind: its next value is 1, and public.s.id has reached 42",
            "as in the snapshot: sequence public.down is behind: its next value is -1, and public.d.id has reached -7",
            "as in the snapshot: sequence public.p_id_seq is behind: its next value is 1, and public.p.id has reached 9",
            "as in the snapshot: index \"public\".\"broken\" was invalid",
        ] {
            let plain = text.replace('"', "");
            assert!(output.stdout.replace('"', "").contains(&plain), "{text}:\n{}", output.stdout);
        }
        assert!(!output.stdout.contains("fine") && !output.stdout.contains("i_id_seq is"), "{}", output.stdout);
        assert!(output.stdout.contains("equal the snapshot"), "{proven}: {}", output.stdout);
        assert_eq!(output.stdout.contains("not proven"), proof == "counts", "{}", output.stdout);
        scene.cluster().sql("postgres", &format!("DROP DATABASE {copy}"));
    }
    let json = scene.run(0, &["restore", &id, "--to", &copy, "--yes", "--proof", "counts", "--json"]).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["proof"]["level"], json["proof"]["warnings"].as_array().unwrap().len()), (&"counts".into(), 4));
}

#[test]
fn restore_says_what_it_proved_and_what_was_wrong_before() {
    the_proof_says_what_it_proves(Version::V15);
}

#[test]
fn restore_says_what_it_proved_and_what_was_wrong_before_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    the_proof_says_what_it_proves(Version::V18);
}
