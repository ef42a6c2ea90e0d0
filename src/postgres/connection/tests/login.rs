//! Why a real server refuses, by meaning; and what a session can do.

use super::*;
use crate::postgres::private_cluster::tests::start_cluster;
use crate::postgres::{PrivateCluster, quote_identifier, quote_literal};

const SECRET: &str = "hunter2";

/// A server without TLS that asks for passwords over TCP, and the connection string of its user.
async fn start_password_server() -> (PrivateCluster, String) {
    let address = loopback_address();
    let mut cluster = start_cluster().await;
    replace_hba(&cluster, "host all ann 127.0.0.0/8 scram-sha-256\nhost all nobody 127.0.0.0/8 trust");
    cluster.restart_with(&[setting("listen_addresses", &address)]).await.unwrap();
    let session = cluster.spec("postgres").connect("test").await.unwrap();
    for statement in [
        "CREATE ROLE ann LOGIN PASSWORD 'hunter2'",
        "CREATE DATABASE shut ALLOW_CONNECTIONS false",
        "CREATE DATABASE full_up CONNECTION LIMIT 0",
        "CREATE DATABASE private",
        "REVOKE CONNECT ON DATABASE private FROM PUBLIC",
    ] {
        session.batch_execute(statement).await.unwrap();
    }
    session.close().await;
    (cluster, format!("host={address} user=ann dbname=postgres"))
}

async fn refusal(text: &str) -> ConnectionError {
    let error = parse(text).unwrap().connect("test").await.expect_err(text);
    let shown = format!("{error} {error:?} {:?}", error.hint());
    assert!(!shown.contains(SECRET), "{shown}");
    error
}

#[tokio::test]
async fn each_refusal_has_its_meaning() {
    let (cluster, base) = start_password_server().await;
    let good = format!("{base} password={SECRET}");
    use ConnectionError::*;
    assert!(
        matches!(refusal(&format!("{base} password=hunter2x")).await, LoginRefused { sqlstate, .. } if sqlstate == "28P01")
    );
    assert!(matches!(refusal(&base).await, PasswordMissing { .. }));
    assert!(matches!(refusal(&format!("{good} user=nobody")).await, LoginRefused { sqlstate, message, .. }
        if sqlstate == "28000" && message.contains("does not exist")));
    assert!(
        matches!(refusal(&format!("{good} user=bob")).await, LoginRefused { message, .. } if message.contains("pg_hba"))
    );
    assert!(
        matches!(refusal(&format!("{good} dbname=gone")).await, DatabaseMissing { database, .. } if database == "gone")
    );
    assert!(matches!(refusal(&format!("{good} dbname=shut")).await, NotAllowed { .. }));
    assert!(matches!(refusal(&format!("{good} dbname=private")).await, NotAllowed { .. }));
    assert!(matches!(refusal(&format!("{good} dbname=full_up")).await, TooManyConnections { .. }));
    assert!(matches!(refusal(&format!("{good} sslmode=require")).await, TlsUnavailable { .. }));
    assert!(matches!(refusal(&format!("{good} port=1")).await, Unreachable { .. }));
    assert!(matches!(refusal(&format!("{good} target_session_attrs=standby")).await, WrongKindOfServer { .. }));
    assert!(matches!(refusal(&format!("{good} channel_binding=require")).await, Authentication { .. }));
    for mode in ["disable", "allow", "prefer"] {
        let spec = parse(&format!("{good} sslmode={mode} target_session_attrs=primary")).unwrap();
        spec.connect("test").await.expect(mode).close().await;
    }
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_named() {
    let error = refusal("host=/no/such/directory port=7000 user=ann dbname=postgres").await;
    let ConnectionError::Unreachable { source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.to_string(), "/no/such/directory/.s.PGSQL.7000: No such file or directory (os error 2)");
}

#[tokio::test]
async fn a_password_command_runs_for_each_connection_and_stays_silent() {
    let (cluster, base) = start_password_server().await;
    let count = tempfile::NamedTempFile::new().unwrap();
    let command = format!("echo x >> {}; echo hunter2; echo more", count.path().display());
    let spec = parse(&base).unwrap().with_password_command(&command);
    for _ in 0..2 {
        spec.connect("test").await.unwrap().close().await;
    }
    assert_eq!(std::fs::read_to_string(count.path()).unwrap(), "x\nx\n");

    for bad in ["echo hunter2; exit 3", "echo hunter2 >&2; false", "echo; echo hunter2"] {
        let error = parse(&base).unwrap().with_password_command(bad).connect("test").await.expect_err(bad);
        assert!(matches!(error, ConnectionError::PasswordCommand { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains(SECRET), "{error}");
    }
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_says_nothing_times_out() {
    let listener = tokio::net::TcpListener::bind((loopback_address(), 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let text = format!("host={} port={} connect_timeout=1 dbname=d", address.ip(), address.port());
    assert!(matches!(refusal(&text).await, ConnectionError::Timeout { .. }));
}

#[tokio::test]
async fn a_session_tells_cancels_and_ends() {
    let cluster = start_cluster().await;
    let spec = cluster.spec("postgres").with_setting("safe_migrate.probe", r"a \ 'b'");
    let session = spec.connect("safe-migrate test").await.unwrap();
    assert_eq!(session.parameter("server_encoding"), Some("UTF8"));
    let row = session
        .query_one("SELECT current_setting('safe_migrate.probe'), current_setting('application_name')", &[])
        .await
        .unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), (r"a \ 'b'", "safe-migrate test"));

    session.batch_execute("DO $$ BEGIN RAISE WARNING 'look'; END $$").await.unwrap();
    let notices = session.take_notices();
    assert_eq!((notices[0].severity.as_str(), notices[0].message.as_str()), ("WARNING", "look"));

    let (slept, cancelled) = tokio::join!(session.batch_execute("SELECT pg_sleep(60)"), async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        session.canceller().cancel().await
    });
    cancelled.unwrap();
    let error = crate::postgres::describe(&slept.unwrap_err());
    assert!(error.is_cancelled() && !error.is_connection_lost(), "{error}");

    let error = crate::postgres::describe(&session.batch_execute("SELECT nothing_here").await.unwrap_err());
    assert_eq!((error.sqlstate.as_deref(), error.position), (Some("42703"), Some(8)));
    assert_eq!(error.to_string(), "ERROR: column \"nothing_here\" does not exist (SQLSTATE 42703)");

    let other = cluster.spec("postgres").connect("other").await.unwrap();
    let pid = session.backend_pid();
    other.execute("SELECT pg_terminate_backend($1)", &[&pid]).await.unwrap();
    let error = loop {
        if let Err(error) = session.batch_execute("SELECT 1").await {
            break crate::postgres::describe(&error);
        }
    };
    assert!(error.is_connection_lost(), "{error}");

    // A closed session is gone for the server: its database can be dropped at once.
    other.batch_execute("CREATE DATABASE fleeting").await.unwrap();
    cluster.spec("fleeting").connect("test").await.unwrap().close().await;
    other.batch_execute("DROP DATABASE fleeting").await.unwrap();
    other.close().await;
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn the_server_reads_quoted_text_as_it_was() {
    let cluster = start_cluster().await;
    let session = cluster.spec("postgres").connect("test").await.unwrap();
    for conforming in ["on", "off"] {
        session.batch_execute(&format!("SET standard_conforming_strings = {conforming}")).await.unwrap();
        for text in ["plain", "it's", r"a\b", r"\'", "\"", "ü\n\t'\"\\", "'; DROP TABLE x; --"] {
            let sql = format!("SELECT {} AS {}", quote_literal(text), quote_identifier(text));
            let row = &session.query(&sql, &[]).await.unwrap()[0];
            assert_eq!((row.get::<_, &str>(0), row.columns()[0].name()), (text, text));
        }
    }
    session.close().await;
    cluster.stop().await.unwrap();
}
