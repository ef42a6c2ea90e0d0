//! Bad input: connections that cannot be made.

use crate::cli_bad_input::Production;
use crate::support::TestStore;

const APPLY: [&str; 2] = ["apply", "--yes"];

/// The connection string of the production database with something replaced.
fn url_with(production: &Production, from: &str, to: &str) -> String {
    let url = production.database.url();
    assert!(url.contains(from));
    url.replace(from, to)
}

#[test]
fn no_database_is_named() {
    let production = Production::new();
    insta::assert_snapshot!(production.refuses_with(&APPLY, &[("DATABASE_URL", "")]), @"
    $ safe-migrate apply --yes
    exit 2
    --- stderr
    error: no database is named
    production: unchanged
    hint: name it with --database URL, DATABASE_URL, or `url` in [database] of safe-migrate.toml
    ");
}

#[test]
fn the_database_does_not_exist() {
    let production = Production::new();
    let url = url_with(&production, &format!("/{}", production.database.name()), "/nowhere");
    insta::assert_snapshot!(production.refuses_with(&APPLY, &[("DATABASE_URL", &url)]), @r#"
    $ safe-migrate apply --yes
    exit 1
    --- stderr
    error: postgres://admin@127.0.0.1:[PORT]/nowhere: database "nowhere" does not exist
    production: unchanged
    hint: check the name; `psql -l` lists the databases of the server
    "#);
}

#[test]
fn the_server_does_not_run() {
    let production = Production::new();
    // Port 1 is nobody's.
    let url = url_with(&production, &format!(":{}/", production.database.cluster().port()), ":1/");
    insta::assert_snapshot!(production.refuses_with(&APPLY, &[("DATABASE_URL", &url)]), @"
    $ safe-migrate apply --yes
    exit 1
    --- stderr
    error: cannot reach postgres://admin@127.0.0.1:[PORT]/test_[N]
    caused by: Connection refused (os error 111)
    production: unchanged
    hint: check host and port, that the server runs and that it listens on this address (listen_addresses, firewall)
    ");
}

#[test]
fn the_password_is_wrong() {
    let production = Production::new();
    let url = url_with(&production, production.database.cluster().password(), "wr0ng-passw0rd");
    let said = production.refuses_with(&APPLY, &[("DATABASE_URL", &url)]);
    assert!(!said.contains("wr0ng-passw0rd"), "{said}");
    insta::assert_snapshot!(said, @r#"
    $ safe-migrate apply --yes
    exit 1
    --- stderr
    error: postgres://admin@127.0.0.1:[PORT]/test_[N] refused the login: password authentication failed for user "admin"
    production: unchanged
    hint: check the user and the password (PGPASSWORD, ~/.pgpass or password_command)
    "#);
}

#[test]
fn the_password_is_missing() {
    let production = Production::new();
    let url = url_with(&production, &format!(":{}@", production.database.cluster().password()), "@");
    insta::assert_snapshot!(production.refuses_with(&APPLY, &[("DATABASE_URL", &url)]), @"
    $ safe-migrate apply --yes
    exit 1
    --- stderr
    error: postgres://admin@127.0.0.1:[PORT]/test_[N] asks for a password, and none is given
    production: unchanged
    hint: give it in PGPASSWORD, ~/.pgpass (mode 0600) or password_command
    ");
}

#[test]
fn the_role_may_not_connect() {
    let production = Production::new();
    let role = production.database.cluster().role("deploy", "s3cret-of-deploy", "");
    production.database.sql(&format!("REVOKE CONNECT ON DATABASE {} FROM PUBLIC", production.database.name()));
    let url = role.url(&production.database);
    let said = production.refuses_with(&APPLY, &[("DATABASE_URL", &url)]);
    assert!(!said.contains("s3cret-of-deploy"), "{said}");
    insta::assert_snapshot!(said, @r#"
    $ safe-migrate apply --yes
    exit 1
    --- stderr
    error: postgres://deploy_[N]@127.0.0.1:[PORT]/test_[N] does not take this connection: permission denied for database "test_[N]"
    production: unchanged
    hint: check ALLOW_CONNECTIONS of the database and the role's CONNECT privilege
    "#);
}

#[test]
fn tls_is_required_and_the_server_has_none() {
    let production = Production::new();
    let url = format!("{}?sslmode=require", production.database.url());
    insta::assert_snapshot!(production.refuses_with(&APPLY, &[("DATABASE_URL", &url)]), @"
    $ safe-migrate apply --yes
    exit 1
    --- stderr
    error: postgres://admin@127.0.0.1:[PORT]/test_[N] offers no TLS, and sslmode demands it
    production: unchanged
    hint: turn on ssl on the server, or use sslmode=prefer where the network is trusted
    ");
}

#[test]
fn the_connection_string_cannot_be_read() {
    let production = Production::new();
    let url = production.database.url().replace("postgresql://", "postgresql//");
    insta::assert_snapshot!(production.refuses_with(&APPLY, &[("DATABASE_URL", &url)]), @"
    $ safe-migrate apply --yes
    exit 2
    --- stderr
    error: the connection string cannot be read: expected keyword=value; a value with spaces needs single quotes, and a database name alone is written dbname=NAME
    production: unchanged
    hint: write postgres://user@host:port/database, with special characters as %XX, or keyword=value pairs
    ");
}

#[test]
fn a_keyword_of_the_connection_string_is_unknown() {
    let production = Production::new();
    let url = format!("{}?ssl_mode=require", production.database.url());
    insta::assert_snapshot!(production.refuses_with(&APPLY, &[("DATABASE_URL", &url)]), @"
    $ safe-migrate apply --yes
    exit 2
    --- stderr
    error: unknown connection keyword `ssl_mode`
    production: unchanged
    hint: connections take the keywords of libpq; a parameter of another library must be left out
    ");
}

#[test]
fn a_remote_database_has_no_store() {
    let production = Production::new();
    production.project.configure("");
    let url = url_with(&production, "@127.0.0.1:", "@db.example:");
    insta::assert_snapshot!(production.refuses_with(&APPLY, &[("DATABASE_URL", &url)]), @"
    $ safe-migrate apply --yes
    exit 2
    --- stderr
    error: a remote database needs a store, and none is named
    production: unchanged
    hint: name one with --store s3://BUCKET/PREFIX, or as `url` in [store] of safe-migrate.toml
    hint: --store file:///DIR keeps snapshots on this machine, if that is what you want
    ");
    assert_eq!(TestStore::local(&production.project.directory().join(".safe-migrate")).objects(), []);
}

#[test]
fn a_key_of_the_configuration_is_unknown() {
    let production = Production::new();
    production.configure("[apply]\nlock_timout = \"2s\"\n");
    insta::assert_snapshot!(production.refuses(&APPLY), @"
    $ safe-migrate apply --yes
    exit 2
    --- stderr
    error: [PROJECT]/safe-migrate.toml:8: unknown key `lock_timout`
    production: unchanged
    hint: did you mean `lock_timeout`?
    ");
}

#[test]
fn the_configuration_is_not_toml() {
    let production = Production::new();
    let password = production.database.cluster().password();
    production.project.configure(&format!("[database]\nurl = \"postgres://admin:{password}@h/d\n"));
    insta::assert_snapshot!(production.refuses(&APPLY), @r#"
    $ safe-migrate apply --yes
    exit 2
    --- stderr
    error: [PROJECT]/safe-migrate.toml:2: invalid basic string, expected `"`
    production: unchanged
    hint: the file is TOML: `key = value`, text in "double quotes", sections in [brackets]
    "#);
}

#[test]
fn the_configuration_file_is_not_there() {
    let production = Production::new();
    insta::assert_snapshot!(production.refuses(&["apply", "--yes", "--config", "elsewhere.toml"]), @"
    $ safe-migrate apply --yes --config elsewhere.toml
    exit 2
    --- stderr
    error: cannot read the configuration file [PROJECT]/elsewhere.toml
    caused by: No such file or directory (os error 2)
    production: unchanged
    hint: name another file with --config, or write one with `safe-migrate init`
    ");
}

#[test]
fn a_failure_is_one_json_document() {
    let production = Production::new();
    let url = url_with(&production, production.database.cluster().password(), "wr0ng-passw0rd");
    let said = production.refuses_with(&["apply", "--yes", "--json"], &[("DATABASE_URL", &url)]);
    assert!(!said.contains("wr0ng-passw0rd"), "{said}");
    insta::assert_snapshot!(said, @r#"
    $ safe-migrate apply --yes --json
    exit 1
    --- stdout
    {
      "command": "apply",
      "error": {
        "causes": [],
        "code": "connection",
        "hint": "check the user and the password (PGPASSWORD, ~/.pgpass or password_command)",
        "message": "postgres://admin@127.0.0.1:[PORT]/test_[N] refused the login: password authentication failed for user \"admin\"",
        "production": "unchanged"
      },
      "outcome": "failed",
      "schema": 1
    }
    --- stderr
    error: postgres://admin@127.0.0.1:[PORT]/test_[N] refused the login: password authentication failed for user "admin"
    production: unchanged
    hint: check the user and the password (PGPASSWORD, ~/.pgpass or password_command)
    "#);
}
