//! Bad input: migrations that fail or lose data, and a run that is not alone.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::cli_bad_input::Production;

const BROKEN: &str = "-- A price for each dish.\n-- migrate:up\nALTER TABLE dish ADD COLUMN price int;\n\n\
                      ALTER TABLE dish\n    ADD COLUM tax int;\n-- migrate:down\nALTER TABLE dish DROP COLUMN price;\n";

#[test]
fn a_syntax_error_is_found_by_the_rehearsal() {
    let production = Production::new();
    production.project.write_migration("menu", "0003_price", BROKEN);
    insta::assert_snapshot!(production.refuses(&["apply", "--yes"]), @r#"
    $ safe-migrate apply --yes
    exit 3
    --- stderr
    plan [HASH]: apply 3 migrations
      menu/0001_initial
      menu/0002_name
      menu/0003_price
    taking a snapshot of "test_[N]"
    copying rows ([SIZE])
    3 rows in 1 table
    snapshot [ID]: 3 rows, [SIZE] copied, [SIZE] stored, [SIZE] of it new; vacuum was held back for [DURATION]
    restoring the snapshot into a shadow
    loading rows ([SIZE])
    3 rows in 1 table
    adding the remaining indexes, constraints and triggers
    proving rows (3)
    3 rows in 1 table read back
    rehearsing (3)
    stopped
    rehearsal [ID]: FAIL
      on snapshot [ID] of test
      menu/0001_initial  [DURATION]
      menu/0002_name  [DURATION]
        ACCESS EXCLUSIVE on public.dish for [DURATION]: blocks reads and writes
      failed: migrations/menu/0003_price.sql:6: ERROR: syntax error at or near "int" (SQLSTATE 42601)
    error: the rehearsal failed: migrations/menu/0003_price.sql:6: ERROR: syntax error at or near "int" (SQLSTATE 42601)
    production: unchanged
    hint: correct the migration and run the command again
    "#);
}

#[test]
fn a_syntax_error_without_a_rehearsal_is_found_in_production_and_leaves_nothing() {
    let production = Production::new();
    production.apply("0002");
    production.project.write_migration("menu", "0003_price", BROKEN);
    let arguments = ["apply", "--yes", "--skip-rehearsal", "test"];
    // The run is recorded in the ledger; all else is as before.
    let before = dump_without_ledger(&production);
    let output = production.project.run(&arguments);
    assert_eq!(dump_without_ledger(&production), before);
    insta::assert_snapshot!(production.check_and_render(&arguments, &output), @r#"
    $ safe-migrate apply --yes --skip-rehearsal test
    exit 1
    --- stderr
    plan [HASH]: apply 1 migration
      menu/0003_price
    taking a snapshot of "test_[N]"
    copying rows ([SIZE])
    3 rows in 2 tables and the ledger
    snapshot [ID]: 3 rows, [SIZE] copied, [SIZE] stored, [SIZE] of it new; vacuum was held back for [DURATION]
    warning: nothing was rehearsed (test)
    no row was written since the snapshot; the server's log (WAL of all its databases) grew by [SIZE]
    apply 1 migration on postgres://admin@127.0.0.1:[PORT]/test_[N] (way back: snapshot [ID])? yes (--yes)
    error: migrations/menu/0003_price.sql:6: ERROR: syntax error at or near "int" (SQLSTATE 42601)
    production: unchanged; schema, rows and applied migrations are as before
    hint: correct the migration and run the command again
    "#);
    let applied = production.database.query("SELECT string_agg(name, ' ' ORDER BY name) FROM safe_migrate.migration");
    assert_eq!(applied, "0001_initial 0002_name");
}

fn dump_without_ledger(production: &Production) -> String {
    let mut dump = production.database.cluster().program("pg_dump");
    let output = dump.args(["-N", "safe_migrate", "-d", &production.database.socket_url()]).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| !line.contains("restrict")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_script_must_confirm() {
    let production = Production::new();
    insta::assert_snapshot!(production.refuses(&["apply"]), @r#"
    $ safe-migrate apply
    exit 3
    --- stderr
    plan [HASH]: apply 2 migrations
      menu/0001_initial
      menu/0002_name
    error: this needs a confirmation, and there is no terminal to ask on
    production: unchanged
    hint: give --yes to confirm in a script
    "#);
}

#[test]
fn a_rehearsal_needs_a_snapshot() {
    let production = Production::new();
    insta::assert_snapshot!(production.refuses(&["apply", "--yes", "--skip-snapshot", "test"]), @"
    $ safe-migrate apply --yes --skip-snapshot test
    exit 2
    --- stderr
    error: a rehearsal needs a snapshot, and --skip-snapshot leaves none
    production: unchanged
    hint: leave --skip-snapshot out, or give --skip-rehearsal REASON as well
    ");
}

#[test]
fn data_loss_needs_the_hash_of_the_plan() {
    let production = Production::new();
    production.apply("0002");
    production.database.sql("INSERT INTO dish VALUES (1, 'isombe'), (2, 'ubugari')");
    let rollback = ["rollback", "menu", "zero", "--yes"];
    let said = production.refuses(&rollback);
    insta::assert_snapshot!(said, @r#"
    $ safe-migrate rollback menu zero --yes
    exit 3
    --- stderr
    plan [HASH]: roll back 2 migrations
      menu/0002_name
      menu/0001_initial
    taking a snapshot of "test_[N]"
    copying rows ([SIZE])
    5 rows in 2 tables and the ledger
    snapshot [ID]: 5 rows, [SIZE] copied, [SIZE] stored, [SIZE] of it new; vacuum was held back for [DURATION]
    restoring the snapshot into a shadow
    loading rows ([SIZE])
    5 rows in 2 tables and the ledger
    adding the remaining indexes, constraints and triggers
    proving rows (13)
    5 rows in 2 tables and the ledger read back
    rehearsing (2)
    done
    trying the way back
    rehearsal [ID]: rollback would refuse: 1 loss of data is accepted nowhere
      on snapshot [ID] of test
      menu/0002_name  [DURATION]
        ACCESS EXCLUSIVE on public.dish for [DURATION]: blocks reads and writes
      menu/0001_initial  [DURATION]
        ACCESS EXCLUSIVE on public.dish for [DURATION]: blocks reads and writes
      rows of public.dish: 2 before, 0 after
      DATA LOSS: table public.dish is gone with 2 rows
      way back of menu/0002_name: reversible
      way back of menu/0001_initial: reversible with loss: 2 rows of public.dish are not back
      deny: migrations/menu/0001_initial.sql:4: drops the table dish with all its rows: table public.dish is gone with 2 rows [drop-table, measured]
    error: the plan loses data:
      table public.dish is gone with 2 rows
    production: unchanged
    hint: if that is meant, say so: --accept-data-loss [HASH]
    "#);

    // The hash that it names, and no other, is the way on.
    let mut wrong = rollback.to_vec();
    wrong.extend(["--accept-data-loss", "0123456789ab"]);
    let refused = production.refuses_unrendered(&wrong);
    assert_eq!(refused.status, 3, "{refused:?}");
    let hash = refused.stderr.split("--accept-data-loss ").nth(1).unwrap().trim();
    let mut right = rollback.to_vec();
    right.extend(["--accept-data-loss", hash]);
    let output = production.project.run(&right);
    assert_eq!(output.status, 0, "{output:?}");
    assert_eq!(production.database.query("SELECT to_regclass('dish') IS NULL"), "t");
}

#[test]
fn another_run_holds_the_lock() {
    let production = Production::new();
    let (mut holder, held) = hold_lock(&production);
    let said = production.refuses(&["apply", "--yes"]);
    let cluster = production.database.cluster();
    cluster.query("postgres", &format!("SELECT pg_terminate_backend(pid) FROM {held}"));
    holder.wait().unwrap();
    let backend = regex::Regex::new(r"backend \d+").unwrap();
    insta::assert_snapshot!(backend.replace_all(&said, "backend [PID]"), @r#"
    $ safe-migrate apply --yes
    exit 5
    --- stderr
    error: another run holds the lock of database "test_[N]": backend [PID] (safe-migrate, from local, since [TIME])
    production: unchanged
    hint: wait for it with --wait [DURATION], or look at it with `safe-migrate history`
    "#);
}

/// A session with the lock of a run: the same key as the binary's, derived here a second time. And where to find it.
fn hold_lock(production: &Production) -> (Child, String) {
    let digest = Sha256::digest(format!("safe-migrate run {}", production.database.name()));
    let key = i64::from_be_bytes(digest[..8].try_into().unwrap());
    let cluster = production.database.cluster();
    let mut psql: Command = cluster.program("psql");
    let sql = format!("SET application_name = 'safe-migrate'; SELECT pg_advisory_lock({key}); SELECT pg_sleep(600)");
    let holder = psql
        .args(["-X", "-q", "-d", &cluster.socket_url("postgres"), "-c", &sql])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let (high, low) = (key as u64 >> 32, key as u64 & 0xffff_ffff);
    let held = format!("pg_locks WHERE locktype = 'advisory' AND classid = {high} AND objid = {low}");
    while cluster.query("postgres", &format!("SELECT count(*) FROM {held}")) != "1" {
        assert!(Instant::now() < deadline, "the lock was not taken");
        std::thread::sleep(Duration::from_millis(20));
    }
    (holder, held)
}
