//! A role with only CREATEROLE can give a role any name, with lines that psql would run as commands.

use std::sync::Arc;

use super::{Trap, forged};
use crate::support::{Scene, TestCluster, Version, clean_command, output_of, run_with_input};

/// `pg_dumpall` writes this safely; who edits its script line by line does not. A name has 63 bytes, so the file is made
/// where psql runs.
const HOSTILE: &str = "x\n \\! >owned\nALTER ROLE admin y";

fn scene_with(name: &str, version: Version) -> Scene {
    let cluster = Arc::new(TestCluster::start(version, &[]));
    let role = cluster.role("clerk", "of-the-clerk", "CREATEROLE");
    let scene = Scene::on(&cluster);
    let quoted = format!("\"{}\"", name.replace('"', "\"\""));
    scene.database.sql(&format!(
        "CREATE TABLE dish (id int PRIMARY KEY); INSERT INTO dish VALUES (1);
         SET ROLE {0}; CREATE ROLE {quoted} CONNECTION LIMIT 3; COMMENT ON ROLE {quoted} IS 'it''s \\! one';
         ALTER ROLE {quoted} SET search_path TO 'a b', c; ALTER ROLE {quoted} SET work_mem TO '5MB'",
        role.name()
    ));
    scene.database.sql(&format!("GRANT pg_monitor TO {quoted} WITH ADMIN OPTION"));
    let up =
        "-- migrate:up\nALTER TABLE dish ADD COLUMN size int;\n-- migrate:down\nALTER TABLE dish DROP COLUMN size;\n";
    scene.project.write_migration("kitchen", "0001_size", up);
    scene
}

fn runs_no_command(version: Version) {
    let scene = scene_with(HOSTILE, version);
    let owned = scene.project.directory().join("owned");
    let runs_nothing = || assert!(!owned.exists(), "the attack succeeded");

    let rehearsed = scene.project.run(&["rehearse", "--snapshot", "new"]);
    runs_nothing();
    assert_eq!(rehearsed.status, 0, "{}", rehearsed.stderr);
    let id = scene.take_snapshot();
    scene.run(0, &["snapshot", "verify", &id, "--level", "restore"]);
    let out = scene.project.directory().join("export.sql");
    scene.run(0, &["snapshot", "export", &id, "--format", "plain", "--output", out.to_str().unwrap()]);
    scene.run(0, &["apply", "--yes"]);
    runs_nothing();

    // On a server that has none of the roles they are made, as they were.
    let other = Arc::new(TestCluster::start(version, &[]));
    let elsewhere = other.socket_url("postgres");
    scene.run(0, &["restore", &id, "--to", "copy", "--yes", "--roles", "--database", &elsewhere]);
    runs_nothing();
    let facts = "SELECT rolname, rolconnlimit, rolconfig, shobj_description(oid, 'pg_authid'),
                        (SELECT string_agg(roleid::regrole || ' ' || admin_option, ',') FROM pg_auth_members m WHERE m.member = r.oid)
                   FROM pg_roles r WHERE rolname !~ '^pg_' ORDER BY 1";
    assert_eq!(other.query("postgres", facts), scene.cluster().query("postgres", facts));
    assert!(other.query("postgres", facts).contains("\\! >owned"));
}

#[test]
fn security_role_name_runs_no_command() {
    runs_no_command(Version::V15);
}

#[test]
fn security_role_name_runs_no_command_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    runs_no_command(Version::V18);
}

/// What was done before: the script of pg_dumpall, less the lines that begin like a statement about a role that is there.
#[test]
fn security_role_name_control_a_script_edited_by_lines_runs_it() {
    let trap = Trap::new();
    let scene = scene_with(HOSTILE, Version::V15);
    let cluster = scene.cluster();
    let script = output_of(cluster.program("pg_dumpall").args(["--roles-only", "-d", &cluster.socket_url("postgres")]));
    let kept = |line: &&str| !line.starts_with('\\') && !line.starts_with("ALTER ROLE admin ");
    let edited: String = script.lines().filter(kept).map(|line| format!("{line}\n")).collect();
    let psql = cluster.bin_dir().join("psql");
    let mut psql = clean_command(psql);
    run_with_input(psql.args(["-X", "-q", "-d", &cluster.socket_url("postgres")]).current_dir(trap.path()), edited);
    trap.was_sprung();
}

fn store_runs_no_command(version: Version) {
    let trap = Trap::new();
    let scene = Scene::on(&Arc::new(TestCluster::start(version, &[])));
    scene.database.sql("CREATE TABLE dish (id int PRIMARY KEY)");
    scene.project.write_migration("kitchen", "0001_size", "-- migrate:up\nALTER TABLE dish ADD COLUMN size int;\n");
    let attack = trap.file();
    let attack = attack.display();
    let scripts = [
        format!("SELECT 1 \\! touch {attack}\n;\n"),
        format!("CREATE ROLE app;\n\\! touch {attack}\n"),
        format!("CREATE ROLE app;\nCOPY (SELECT 1) TO PROGRAM 'touch {attack}';\n"),
        format!("ALTER ROLE admin SET work_mem TO '1MB';\nCOPY (SELECT 1) TO '{attack}';\n"),
    ];
    for script in &scripts {
        let id = scene.take_snapshot();
        forged::roles(&scene, &id, script);
        for arguments in [
            &["snapshot", "verify", &id, "--level", "restore"][..],
            &["rehearse", "--snapshot", &id],
            &["restore", &id, "--to", "copy", "--yes", "--roles"],
        ] {
            let output = scene.project.run(arguments);
            assert!(output.status == 0 || output.stderr.contains("role"), "{script}: {}", output.stderr);
            trap.is_empty();
        }
        scene.cluster().sql("postgres", "DROP DATABASE IF EXISTS copy");
        assert_eq!(scene.cluster().query("postgres", "SELECT rolconfig FROM pg_roles WHERE rolname = 'admin'"), "");
    }
    // Each of them is run by plain psql.
    for script in &scripts {
        let psql = scene.cluster().bin_dir().join("psql");
        let url = scene.cluster().socket_url("postgres");
        run_with_input(clean_command(psql).args(["-X", "-q", "-d", &url]), script);
        trap.was_sprung();
        scene.cluster().sql("postgres", "DROP ROLE IF EXISTS app; ALTER ROLE admin RESET ALL");
    }
}

#[test]
fn security_roles_of_the_store_run_no_command() {
    store_runs_no_command(Version::V15);
}

#[test]
fn security_roles_of_the_store_run_no_command_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    store_runs_no_command(Version::V18);
}
