//! The rules of libpq's manual, section "Database Connection Control Functions".

use super::super::{ChannelBinding, Host};
use super::*;
use proptest::prelude::*;
use secrecy::ExposeSecret;
use std::time::Duration;

const SECRET: &str = "hunter2";

fn password(spec: &ConnectionSpec) -> Option<&str> {
    spec.password.as_ref().map(ExposeSecret::expose_secret)
}

fn tcp(host: &str) -> Host {
    Host::Tcp(host.to_owned())
}

#[test]
fn urls() {
    let spec =
        parse("postgresql://ann:p%40ss%2Fw%3ard@db.example:6000/my%20shop?sslmode=require&connect_timeout=3").unwrap();
    assert_eq!((spec.host(), spec.port(), spec.user(), spec.database()), (&tcp("db.example"), 6000, "ann", "my shop"));
    assert_eq!(password(&spec), Some("p@ss/w:rd"));
    assert_eq!(spec.connect_timeout, Some(Duration::from_secs(3)));
    assert_eq!(spec.display(), "postgres://ann@db.example:6000/my shop");

    let spec = parse("postgres://[2001:db8::1]:6000/shop").unwrap();
    assert_eq!((spec.host(), spec.port()), (&tcp("2001:db8::1"), 6000));
    assert_eq!(spec.display(), "postgres://os_user@[2001:db8::1]:6000/shop");

    for socket in ["postgres://%2Fvar%2Flib%2Fpg/shop", "postgres:///shop?host=/var/lib/pg"] {
        let spec = parse(socket).unwrap();
        assert_eq!((spec.host(), spec.database()), (&Host::Unix("/var/lib/pg".into()), "shop"), "{socket}");
        assert!(spec.is_local());
    }

    // A '?' or '#' before the '@' belongs to the password, as in libpq.
    assert_eq!(password(&parse("postgres://u:a?b#c@h/d").unwrap()), Some("a?b#c"));
    // An '@' after the path is no end of credentials.
    let spec = parse("postgres://h/d?application_name=a@b").unwrap();
    assert_eq!((spec.host(), spec.database(), password(&spec)), (&tcp("h"), "d", None));
    // JDBC's spelling.
    assert_eq!(parse("postgres://h/d?ssl=true").unwrap().tls.mode, super::super::tls::SslMode::Require);
}

#[test]
fn keyword_strings() {
    let spec = parse(r"host = db.example port=6000 user=ann password='it\'s \\ here' dbname='a b'").unwrap();
    assert_eq!((spec.host(), spec.port(), spec.user(), spec.database()), (&tcp("db.example"), 6000, "ann", "a b"));
    assert_eq!(password(&spec), Some(r"it's \ here"));
    // Outside quotes a backslash escapes too, and the last mention wins.
    assert_eq!(parse(r"host=h dbname=a\ b dbname=c\ d").unwrap().database(), "c d");
    // A value may look like a URL.
    assert_eq!(password(&parse("host=h password=a://b").unwrap()), Some("a://b"));
}

#[test]
fn defaults() {
    let spec = parse("host=h").unwrap();
    assert_eq!((spec.port(), spec.user(), spec.database()), (5432, "os_user", "os_user"));
    assert_eq!(spec.connect_timeout, Some(Duration::from_secs(10)));
    assert_eq!(spec.channel_binding, ChannelBinding::Prefer);
    assert_eq!(parse("host=h connect_timeout=0").unwrap().connect_timeout, None);
    assert_eq!(parse("hostaddr=10.0.0.1").unwrap().host(), &tcp("10.0.0.1"));

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    assert_eq!(super::super::resolve::default_host(&[path], 5433), tcp("localhost"));
    std::fs::write(directory.path().join(".s.PGSQL.5433"), "").unwrap();
    assert_eq!(super::super::resolve::default_host(&[path], 5433), Host::Unix(path.into()));
}

#[test]
fn the_string_goes_before_the_service_before_the_variables() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[shop]\nhost=from_service\nport=6001\nuser=from_service\n").unwrap();
    let environment = environment(&[
        ("PGSERVICEFILE", file.path().to_str().unwrap()),
        ("PGHOST", "from_env"),
        ("PGPORT", "6002"),
        ("PGUSER", "from_env"),
        ("PGDATABASE", "from_env"),
        ("PGPASSWORD", SECRET),
        ("PGSSLMODE", "require"),
        ("PGOPTIONS", "-c a=b"),
    ]);
    let spec = ConnectionSpec::parse(Some("service=shop host=from_string"), &environment).unwrap();
    assert_eq!((spec.host(), spec.port(), spec.user()), (&tcp("from_string"), 6001, "from_service"));
    assert_eq!((spec.database(), password(&spec)), ("from_env", Some(SECRET)));
    assert_eq!(spec.options.as_deref(), Some("-c a=b"));

    let spec = ConnectionSpec::parse(None, &environment).unwrap();
    assert_eq!((spec.host(), spec.port(), spec.user()), (&tcp("from_env"), 6002, "from_env"));
}

#[tokio::test]
async fn the_password_file_is_asked_for_the_present_database() {
    use std::os::unix::fs::PermissionsExt;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "h:5432:one:u:first\nh:5432:two:u:second\nlocalhost:*:*:u:socket\n").unwrap();
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
    let environment = environment(&[("PGPASSFILE", file.path().to_str().unwrap())]);
    let shown = |found: Option<secrecy::SecretString>| found.map(|found| found.expose_secret().to_owned());

    let spec = ConnectionSpec::parse(Some("host=h user=u dbname=one"), &environment).unwrap();
    assert_eq!(shown(spec.password().await.unwrap()).as_deref(), Some("first"));
    assert_eq!(shown(spec.with_database("two").password().await.unwrap()).as_deref(), Some("second"));
    assert_eq!(shown(spec.with_user("v").password().await.unwrap()), None);
    let spec = ConnectionSpec::parse(Some("host=/var/run/postgresql user=u"), &environment).unwrap();
    assert_eq!(shown(spec.password().await.unwrap()).as_deref(), Some("socket"));
}

#[test]
fn another_role_does_not_get_this_ones_password() {
    let spec = parse("host=h user=ann password=hunter2").unwrap();
    assert_eq!(password(&spec.with_database("other")), Some(SECRET));
    assert_eq!(password(&spec.with_user("ann")), Some(SECRET));
    assert_eq!(password(&spec.with_user("bob")), None);
}

#[test]
fn settings_for_a_session_are_escaped() {
    let spec = parse("host=h options='-c a=b'").unwrap().with_setting("safe_migrate.probe", r"x \ y");
    assert_eq!(spec.options.as_deref(), Some(r"-c a=b -c safe_migrate.probe=x\ \\\ y"));
}

/// What was given, and what the message must name.
const REFUSED: &[(&str, &str)] = &[
    ("postgres://u:hunter2@a,b/d", "several hosts"),
    ("host=a,b password=hunter2", "several hosts"),
    ("postgres://u:hunter2@h:port/d", "`port`"),
    ("postgres://u:hunter2/x@h/d", "%2F"),
    ("postgres://u:hunter2/x", "`port`"),
    ("postgres://u:hunter2@x@h/d", "%40"),
    ("postgres://u:6000/hunter2@h/d", "%2F"),
    ("postgres://u:hunter2%zz@h/d", "hexadecimal"),
    ("postgres://u:hunter2%00@h/d", "%00"),
    ("postgres://u:hunter2@h/d?nonsense=1", "`nonsense`"),
    ("postgres://u:hunter2@h/d?sslmode", "'='"),
    ("postgres://u:hunter2@[::1/d", "']'"),
    ("postgresql+driver://u:hunter2@h/d", "postgres://"),
    ("mysql://u:hunter2@h/d", "postgres://"),
    ("hunter2", "dbname="),
    ("password=my hunter2 host=h", "quotes"),
    ("password='hunter2", "closing quote"),
    ("host=h password=hunter2 nonsense=1", "`nonsense`"),
    ("host=h password=hunter2 port=0", "`port`"),
    ("host=h password=hunter2 hostaddr=h", "`hostaddr`"),
    ("host=h password=hunter2 sslmode=yes", "`sslmode`"),
    ("host=h password=hunter2 sslpassword=hunter2", "`sslpassword`"),
    ("host=h password=hunter2 sslrootcert=system sslmode=require", "verify-full"),
    ("host=h password=hunter2 sslnegotiation=direct", "`sslnegotiation`"),
    ("host=h password=hunter2 require_auth=scram-sha-256", "`require_auth`"),
    ("host=h password=hunter2 gssencmode=require", "`gssencmode`"),
    ("host=h password=hunter2 channel_binding=on", "`channel_binding`"),
    ("host=h password=hunter2 connect_timeout=soon", "`connect_timeout`"),
    ("host=h password=hunter2 target_session_attrs=best", "`target_session_attrs`"),
    ("host=h password=hunter2 HUNTER2=1", "not shown"),
];

#[test]
fn refusals_name_the_problem_and_never_the_password() {
    for (text, named) in REFUSED {
        let error = parse(text).expect_err(text);
        let shown = format!("{error} {error:?} {:?}", error.hint());
        assert!(error.to_string().contains(named), "{text}: {error}");
        assert!(!shown.to_ascii_lowercase().contains(SECRET), "{text}: {shown}");
    }
}

#[test]
fn keywords_without_meaning_here_are_taken() {
    let text = "host=h application_name=x client_encoding=latin1 krbsrvname=postgres gssencmode=prefer sslsni=1 \
                load_balance_hosts=disable keepalives=0 target_session_attrs=prefer-standby sslnegotiation=postgres";
    let spec = parse(text).unwrap();
    assert!(!spec.keepalive.enabled);
}

#[test]
fn nothing_shows_the_password() {
    let spec = parse("postgres://u:hunter2@h/d").unwrap();
    assert_eq!(password(&spec), Some(SECRET));
    assert_eq!(format!("{spec:?} {spec} {}", spec.display()).matches(SECRET).count(), 0);
    let environment = environment(&[("PGPASSWORD", SECRET)]);
    assert!(!format!("{environment:?}").contains(SECRET));
}

#[test]
fn is_local_goes_by_the_address() {
    for (text, local) in [
        ("host=localhost", true),
        ("host=127.0.0.1", true),
        ("host=::1", true),
        ("host=/run/pg", true),
        ("host=db hostaddr=127.0.0.1", true),
        ("host=localhost hostaddr=10.0.0.1", false),
        ("host=db.example", false),
    ] {
        assert_eq!(parse(text).unwrap().is_local(), local, "{text}");
    }
}

#[tokio::test]
async fn a_program_gets_variables_and_no_secret_argument() {
    let mut command = tokio::process::Command::new("true");
    command.env("PGSERVICE", "left over").env("PGHOSTADDR", "10.9.9.9");
    parse("postgres://u:hunter2@h:6000/d?sslmode=verify-full&sslrootcert=/ca.pem")
        .unwrap()
        .for_program(&mut command)
        .await
        .unwrap();
    let command = command.as_std();
    let variable = |name: &str| command.get_envs().find(|(key, _)| *key == name).and_then(|(_, value)| value)?.to_str();
    for (name, value) in [
        ("PGHOST", "h"),
        ("PGPORT", "6000"),
        ("PGUSER", "u"),
        ("PGDATABASE", "d"),
        ("PGPASSWORD", SECRET),
        ("PGSSLMODE", "verify-full"),
        ("PGSSLROOTCERT", "/ca.pem"),
    ] {
        assert_eq!(variable(name), Some(value), "{name}");
    }
    assert_eq!((variable("PGSERVICE"), variable("PGHOSTADDR")), (None, None));
    assert_eq!(command.get_args().count(), 0);
}

/// Percent-encodes everything.
fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

proptest! {
    #[test]
    fn any_password_survives_both_forms(secret in "[^\\x00]{1,20}") {
        let url = format!("postgres://u:{}@h/d", encode(&secret));
        let spec = parse(&url).unwrap();
        prop_assert_eq!(password(&spec), Some(secret.as_str()));
        let quoted = secret.replace('\\', "\\\\").replace('\'', "\\'");
        let keywords = format!("host=h password='{quoted}' dbname=d");
        let spec = parse(&keywords).unwrap();
        prop_assert_eq!(password(&spec), Some(secret.as_str()));
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        parse(&text).ok();
        parse(&format!("postgres://{text}")).ok();
    }
}
