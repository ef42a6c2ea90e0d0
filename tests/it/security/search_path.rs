//! Operators and functions in `public` that fit our statements better than those of `pg_catalog` do (CVE-2018-1058): made by
//! a role with CREATE there, run by whoever runs safe-migrate.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::support::{Scene, TestCluster, Version};

const UP: &str = "-- migrate:up\nALTER TABLE dish ADD COLUMN size int;\nCREATE INDEX ON dish (size);\n-- migrate:down\nALTER TABLE dish DROP COLUMN size;\n";
const OUTSIDE: &str = "-- migrate:up transaction:false\nCREATE INDEX CONCURRENTLY dish_name ON dish (name);\nREINDEX INDEX CONCURRENTLY dish_name;\n-- migrate:down\nDROP INDEX dish_name;\n";

/// The words before a parenthesis in our source: every function that our statements call is among them.
fn words_of_our_source() -> BTreeSet<String> {
    fn read(directory: &Path, words: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, words);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for (at, _) in text.match_indices('(') {
                    let name: String = text[..at]
                        .chars()
                        .rev()
                        .take_while(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || *one == '_')
                        .collect();
                    words.insert(name.chars().rev().collect());
                }
            }
        }
    }
    let mut words = BTreeSet::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut words);
    words.retain(|word| word.len() > 2);
    words
}

/// Plants, as mallory, each operator of each two types that `pg_catalog` does not have, and each function that we name
/// with one or two arguments.
fn plant(scene: &Scene) {
    let words: Vec<String> = words_of_our_source().into_iter().map(|word| format!("'{word}'")).collect();
    let name = scene.database.name();
    scene.database.sql(&format!(
        "GRANT CREATE ON SCHEMA public TO mallory_00001; GRANT CREATE ON DATABASE {name} TO mallory_00001;
         SET ROLE mallory_00001; SET search_path = pg_catalog;
         DO $do$ DECLARE
           types text[] := '{{name,text,oid,\"char\",int2,int4,int8,bool}}';
           body text := $b$ BEGIN RAISE LOG 'TRAP % by %', '%s', current_user; RETURN NULL; END $b$;
           l text; r text; o record; n text;
         BEGIN
           FOREACH l IN ARRAY types LOOP FOREACH r IN ARRAY types LOOP
             CONTINUE WHEN l <> r AND 'text' NOT IN (l, r);
             FOR o IN SELECT DISTINCT oprname, (oprresult = 'bool'::regtype) AS is_bool FROM pg_operator
                       WHERE oprkind = 'b' AND oprname IN ('=', '<>', '<', '<=', '>', '>=', '~', '!~', '~~', '!~~', '||', '+', '-', '*') LOOP
               CONTINUE WHEN EXISTS (SELECT FROM pg_operator x WHERE x.oprname = o.oprname
                                        AND x.oprleft = l::regtype AND x.oprright = r::regtype);
               n := format('trap_%s', md5(o.oprname || l || r));
               CONTINUE WHEN to_regproc('public.' || n) IS NOT NULL;
               EXECUTE format('CREATE FUNCTION public.%I(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L', n, l, r,
                              CASE WHEN o.is_bool THEN 'bool' ELSE 'text' END, replace(body, '%s', o.oprname));
               EXECUTE format('CREATE OPERATOR public.%s (FUNCTION = public.%I, LEFTARG = %s, RIGHTARG = %s)', o.oprname, n, l, r);
             END LOOP; END LOOP; END LOOP;
           FOR n IN SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
                       AND proname::text IN ({words}) LOOP
             FOREACH l IN ARRAY '{{name,int2}}'::text[] LOOP
               CONTINUE WHEN EXISTS (SELECT FROM pg_proc x WHERE x.proname = n AND x.pronargs = 1 AND x.proargtypes[0] = l::regtype);
               EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS text LANGUAGE plpgsql AS %L', n, l, replace(body, '%s', n));
             END LOOP;
             FOREACH l IN ARRAY '{{name}}'::text[] LOOP FOREACH r IN ARRAY '{{name,text}}'::text[] LOOP
               CONTINUE WHEN EXISTS (SELECT FROM pg_proc x WHERE x.proname = n AND x.pronargs = 2
                                        AND x.proargtypes[0] = l::regtype AND x.proargtypes[1] = r::regtype);
               EXECUTE format('CREATE FUNCTION public.%I(%s, %s) RETURNS text LANGUAGE plpgsql AS %L', n, l, r, replace(body, '%s', n));
             END LOOP; END LOOP;
           END LOOP;
         END $do$;",
        words = words.join(", ")
    ));
}

/// What the traps caught since the last time.
fn caught(scene: &Scene, seen: &mut usize) -> Vec<String> {
    let log = scene.cluster().log();
    let new = log.get(*seen..).unwrap_or_default().to_owned();
    *seen = log.len();
    new.lines().filter(|line| line.contains("TRAP") && line.contains("LOG:")).map(str::to_owned).collect()
}

fn nothing_of_public_is_used(version: Version) {
    let cluster =
        Arc::new(TestCluster::start(version, &["log_min_error_statement=panic", "log_error_verbosity=terse"]));
    let mallory = cluster.role("mallory", "of-mallory", "");
    assert_eq!(mallory.name(), "mallory_00001");
    let scene = Scene::on(&cluster);
    scene.database.sql("CREATE TABLE dish (id int PRIMARY KEY, name text); INSERT INTO dish VALUES (1, 'soup')");
    plant(&scene);
    let mut seen = 0;
    caught(&scene, &mut seen);
    scene.database.sql("SELECT relname FROM pg_class WHERE relname !~ '^pg_' LIMIT 1");
    assert!(!caught(&scene, &mut seen).is_empty(), "the control does not work: plain SQL does not fall into the traps");

    scene.project.write_migration("kitchen", "0001_size", UP);
    scene.project.write_migration("kitchen", "0002_outside", OUTSIDE);
    let copy = format!("{}_copy", scene.database.name());
    let mut run = |status: i32, arguments: &[&str]| {
        scene.run(status, arguments);
        let found = caught(&scene, &mut seen);
        assert!(
            found.is_empty(),
            "safe-migrate {} ran {} of mallory's: {}",
            arguments.join(" "),
            found.len(),
            found[0]
        );
    };
    run(0, &["status"]);
    run(0, &["plan", "--sql"]);
    scene.project.run(&["doctor"]);
    run(0, &["snapshot", "create"]);
    run(0, &["rehearse"]);
    run(0, &["apply", "kitchen", "0001", "--yes", "--fence"]);
    run(0, &["apply", "--yes"]);
    run(0, &["history"]);
    run(0, &["status", "--check"]);
    run(0, &["rollback", "kitchen", "0001", "--yes"]);
    run(0, &["apply", "--yes", "--skip-rehearsal", "a test"]);
    scene.database.sql("INSERT INTO dish VALUES (2, 'stew')");
    run(0, &["restore", "latest", "--to", &copy, "--yes"]);
    run(0, &["restore", "latest", "--table", "dish", "--yes"]);
    run(0, &["rollback", "--last", "--yes", "--dry-run"]);
    run(0, &["restore", "latest", "--in-place", "--yes"]);
    scene.cluster().sql("postgres", &format!("DROP DATABASE \"{copy}\""));
}

#[test]
fn security_search_path_of_others_is_not_ours() {
    // 18 has all that 15 has, and more.
    if crate::support::only_in_the_long_form() {
        return;
    }
    nothing_of_public_is_used(Version::V15);
}

#[test]
fn security_search_path_of_others_is_not_ours_18() {
    nothing_of_public_is_used(Version::V18);
}
