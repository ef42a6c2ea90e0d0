//! Bad input: stores that cannot be used.

use crate::cli_bad_input::Production;
use crate::support::{Project, TestCluster, TestStore, Version};

const CREATE: [&str; 2] = ["snapshot", "create"];
const APPLY: [&str; 2] = ["apply", "--yes"];

fn with_store(store: TestStore) -> Production {
    Production::on(&TestCluster::shared(Version::V15), Project::empty(), store)
}

#[test]
fn the_store_is_unreachable() {
    let store = TestStore::s3s();
    let toml = store.toml().replace(store.endpoint().unwrap(), "http://127.0.0.1:1");
    let production = with_store(store);
    production.project.configure(&toml);
    insta::assert_snapshot!(production.refuses(&APPLY), @"
    $ safe-migrate apply --yes
    exit 6
    --- stderr
    plan [HASH]: apply 2 migrations
      menu/0001_initial
      menu/0002_name
    error: s3://backups/production at http://127.0.0.1:[PORT] cannot be reached
    caused by: Connection refused (os error 111)
    production: unchanged
    hint: check the address and the endpoint of the store, the network, and that the service runs
    ");
}

#[test]
fn the_key_of_the_store_is_wrong() {
    let production = with_store(TestStore::s3s());
    let said = production.refuses_with(&APPLY, &[("AWS_SECRET_ACCESS_KEY", "wr0ng-key")]);
    assert!(!said.contains("wr0ng-key"), "{said}");
    insta::assert_snapshot!(said, @"
    $ safe-migrate apply --yes
    exit 6
    --- stderr
    plan [HASH]: apply 2 migrations
      menu/0001_initial
      menu/0002_name
    error: s3://backups/production/safe-migrate.json: not allowed to read (SignatureDoesNotMatch)
    production: unchanged
    hint: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or AWS_PROFILE
    ");
}

#[test]
fn the_bucket_is_not_there() {
    let store = TestStore::s3s();
    let toml = store.toml().replace(&store.url(), "s3://no-such-bucket/production");
    let production = with_store(store);
    production.project.configure(&toml);
    insta::assert_snapshot!(production.refuses(&APPLY), @"
    $ safe-migrate apply --yes
    exit 6
    --- stderr
    plan [HASH]: apply 2 migrations
      menu/0001_initial
      menu/0002_name
    error: s3://no-such-bucket/production at http://127.0.0.1:[PORT]: there is no bucket `no-such-bucket`
    production: unchanged
    hint: create the bucket, or correct the address of the store
    ");
}

#[test]
fn the_store_is_read_only() {
    let production = with_store(TestStore::rclone_read_only());
    // Made past the server, and with rows that it does not hold yet.
    let behind = format!("file://{}", production.store.directory().display());
    assert_eq!(production.project.run(&["snapshot", "create", "--store", &behind]).status, 0);
    production.database.sql("INSERT INTO guest VALUES (4, 'Gatete')");
    let before = production.store.objects();
    insta::assert_snapshot!(production.refuses(&APPLY), @r#"
    $ safe-migrate apply --yes
    exit 6
    --- stderr
    plan [HASH]: apply 2 migrations
      menu/0001_initial
      menu/0002_name
    taking a snapshot of "test_[N]"
    error: s3://backups/production/snapshots/[ID]/pending.json: cannot write: the service answered InternalError (HTTP 500): Internal Error
    production: unchanged
    hint: look at the log of the service, and whether it takes writes; then run the command again
    "#);
    assert_eq!(production.store.objects(), before);
}

#[test]
fn the_store_holds_something_else() {
    let production = Production::new();
    production.project.write("store/holiday.jpg", "not a snapshot");
    insta::assert_snapshot!(production.refuses(&CREATE), @"
    $ safe-migrate snapshot create
    exit 6
    --- stderr
    error: file://[PROJECT]/store is not a safe-migrate store: it holds `holiday.jpg` and no safe-migrate.json
    production: unchanged
    hint: name an empty or a new place
    ");
    assert_eq!(production.store.objects(), [("holiday.jpg".to_owned(), b"not a snapshot".to_vec())]);
}

#[test]
fn a_restore_finds_no_store() {
    let production = Production::new();
    insta::assert_snapshot!(production.refuses(&["restore", "latest", "--yes"]), @"
    $ safe-migrate restore latest --yes
    exit 6
    --- stderr
    error: file://[PROJECT]/store is not a safe-migrate store: there is no such directory
    production: unchanged
    hint: check the address; the first `safe-migrate snapshot create` makes the store
    ");
    assert_eq!(production.store.objects(), []);
}

#[test]
fn the_store_is_of_a_newer_format() {
    let production = Production::new();
    production.project.write(
        "store/safe-migrate.json",
        r#"{ "format": 9, "features": [], "store_id": "00000000000000000000000000000001", "chunk_id": "sha256" }"#,
    );
    insta::assert_snapshot!(production.refuses(&CREATE), @"
    $ safe-migrate snapshot create
    exit 6
    --- stderr
    error: file://[PROJECT]/store/safe-migrate.json needs a newer safe-migrate: it has format 9, this version (safe-migrate 0.1.0) reads format 2
    production: unchanged
    hint: upgrade safe-migrate
    ");
}

#[test]
fn the_store_has_a_damaged_description() {
    let production = Production::new();
    production.project.write("store/safe-migrate.json", "{\"format\": 1,");
    insta::assert_snapshot!(production.refuses(&CREATE), @"
    $ safe-migrate snapshot create
    exit 6
    --- stderr
    error: file://[PROJECT]/store/safe-migrate.json is damaged: EOF while parsing a value at line 1 column 13
    production: unchanged
    hint: put the object back from a copy of the store
    ");
}

#[test]
fn the_address_of_the_store_is_none() {
    let production = Production::new();
    insta::assert_snapshot!(production.refuses(&["snapshot", "create", "--store", "ftp://backup.example/shop"]), @"
    $ safe-migrate snapshot create --store ftp://backup.example/shop
    exit 2
    --- stderr
    error: `ftp://backup.example/shop` is not the address of a store: it begins with neither `file://` nor `s3://`
    production: unchanged
    hint: write s3://BUCKET/PREFIX, or file:// and an absolute path
    ");
}

#[test]
fn there_is_no_snapshot_of_that_id() {
    let production = Production::new();
    assert_eq!(production.project.run(&CREATE).status, 0);
    insta::assert_snapshot!(production.refuses(&["restore", "20200101T000000Z-000000", "--yes"]), @"
    $ safe-migrate restore [ID] --yes
    exit 6
    --- stderr
    error: file://[PROJECT]/store has no snapshot [ID]
    production: unchanged
    hint: `safe-migrate snapshot list` shows what there is
    ");
    insta::assert_snapshot!(production.refuses(&["restore", "yesterday", "--yes"]), @"
    $ safe-migrate restore yesterday --yes
    exit 2
    --- stderr
    error: `yesterday` is not a snapshot id; one looks like [ID]
    production: unchanged
    hint: `safe-migrate snapshot list` shows what there is
    ");
}

#[test]
fn a_restore_in_a_script_must_name_its_snapshot() {
    let production = Production::new();
    assert_eq!(production.project.run(&CREATE).status, 0);
    insta::assert_snapshot!(production.refuses(&["restore", "--yes"]), @"
    $ safe-migrate restore --yes
    exit 2
    --- stderr
      1  [ID]  by snapshot create, just now, [SIZE]
    error: a snapshot must be named: an ID, `latest`, or --before last-apply
    production: unchanged
    hint: `safe-migrate snapshot list` shows them
    ");
}

#[test]
fn a_role_without_createdb_cannot_restore() {
    let production = Production::new();
    assert_eq!(production.project.run(&CREATE).status, 0);
    let role = production.database.cluster().role("deploy", "s3cret-of-deploy", "");
    let url = role.url(&production.database);
    let said = production.refuses_with(&["restore", "latest", "--yes"], &[("DATABASE_URL", &url)]);
    assert!(!said.contains("s3cret-of-deploy"), "{said}");
    insta::assert_snapshot!(said, @r#"
    $ safe-migrate restore latest --yes
    exit 1
    --- stderr
    error: role "deploy_[N]" may not create a database, and a restore fills a new one
    production: unchanged
    hint: ALTER ROLE deploy_[N] CREATEDB, or connect as a role that may
    "#);
}
