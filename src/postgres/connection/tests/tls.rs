//! Every `sslmode` against a real server with certificates made by `openssl`.

use super::*;
use crate::postgres::PrivateCluster;
use crate::postgres::private_cluster::tests::{programs, start_cluster};
use std::path::PathBuf;
use std::process::Command;

/// A directory of certificates: an authority, another one, the server's, a client's, and one that signed itself.
struct Certificates(tempfile::TempDir);

impl Certificates {
    fn make(address: &str) -> Self {
        let made = Self(tempfile::tempdir().unwrap());
        for authority in ["ca", "other"] {
            made.self_sign(authority, "/CN=authority", "subjectAltName=DNS:authority");
        }
        let names = format!("subjectAltName=DNS:db.test,IP:{address}");
        made.self_sign("alone", "/CN=db.test", &names);
        made.sign("server", "/CN=whatever", &names);
        made.sign("client", "/CN=ann", "extendedKeyUsage=clientAuth");
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn self_sign(&self, name: &str, subject: &str, extension: &str) {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
        self.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            subject,
            "-addext",
            extension,
            "-keyout",
            &key,
            "-out",
            &certificate,
        ]);
    }

    fn sign(&self, name: &str, subject: &str, extension: &str) {
        let (key, request, certificate) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.crt"));
        self.openssl(&["req", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout", &key, "-out", &request]);
        std::fs::write(self.path("extensions"), extension).unwrap();
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            "extensions",
            "-out",
            &certificate,
        ]);
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl").args(arguments).current_dir(self.0.path()).output().expect("openssl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Makes the server use this certificate.
    async fn install(&self, cluster: &mut PrivateCluster, name: &str, address: &str) {
        let data = cluster.dir().join("data");
        for (from, to) in
            [(format!("{name}.crt"), "s.crt"), (format!("{name}.key"), "s.key"), ("ca.crt".to_owned(), "ca.crt")]
        {
            let target = data.join(to);
            std::fs::copy(self.path(&from), &target).unwrap();
            hand_over(&target, &data);
        }
        let settings = [
            ("ssl", "on"),
            ("ssl_cert_file", "s.crt"),
            ("ssl_key_file", "s.key"),
            ("ssl_ca_file", "ca.crt"),
            ("listen_addresses", address),
        ];
        cluster.restart_with(&settings.map(|(name, value)| setting(name, value))).await.unwrap();
    }
}

async fn start_tls_server(address: &str) -> (PrivateCluster, Certificates) {
    let certificates = Certificates::make(address);
    let mut cluster = start_cluster().await;
    replace_hba(&cluster, "hostssl all ann 127.0.0.0/8 cert\nhost all all 127.0.0.0/8 scram-sha-256");
    certificates.install(&mut cluster, "server", address).await;
    let session = cluster.spec("postgres").connect("test").await.unwrap();
    session.batch_execute("CREATE ROLE ann LOGIN; CREATE ROLE pw LOGIN PASSWORD 'x'").await.unwrap();
    session.close().await;
    (cluster, certificates)
}

/// Connects, and says whether the connection is encrypted.
async fn encrypted(text: &str) -> Result<bool, ConnectionError> {
    let session = parse(text)?.connect("test").await?;
    let row = session.query_one("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]).await.unwrap();
    session.close().await;
    Ok(row.get(0))
}

#[tokio::test]
async fn each_sslmode_checks_what_it_says() {
    let address = loopback_address();
    let (mut cluster, certificates) = start_tls_server(&address).await;
    let base = format!("host={address} user=pw password=x dbname=postgres");
    let file = |name: &str| certificates.path(name).display().to_string();
    let (ca, other) = (format!("sslrootcert={}", file("ca.crt")), format!("sslrootcert={}", file("other.crt")));

    for (mode, expected) in [("disable", false), ("allow", true), ("prefer", true), ("require", true)] {
        assert_eq!(encrypted(&format!("{base} sslmode={mode}")).await.unwrap(), expected, "{mode}");
    }
    // Channel binding needs the certificate, so TLS.
    assert!(encrypted(&format!("{base} sslmode=require channel_binding=require")).await.unwrap());
    // Verified: by address, by name, and only the chain under another name.
    let named = format!("{base} hostaddr={address} {ca}");
    for good in [
        format!("{base} sslmode=verify-full {ca}"),
        format!("{named} host=db.test sslmode=verify-full"),
        format!("{named} host=elsewhere.test sslmode=verify-ca"),
        format!("{named} host=elsewhere.test sslmode=require"),
        format!("{named} host=db.test sslmode=verify-full ssl_min_protocol_version=TLSv1.3"),
    ] {
        assert!(encrypted(&good).await.expect(&good));
    }
    for (bad, wrong_name) in [
        (format!("{named} host=elsewhere.test sslmode=verify-full"), true),
        (format!("{base} sslmode=verify-full {other}"), false),
        (format!("{base} sslmode=verify-ca {other}"), false),
        (format!("{base} sslmode=require {other}"), false),
    ] {
        let error = encrypted(&bad).await.expect_err(&bad);
        let is_meant =
            matches!(error, ConnectionError::CertificateNotTrusted { only_name, .. } if only_name == wrong_name);
        assert!(is_meant, "{bad}: {error:?}");
        // In words, not in the names of a library's types.
        let words = error.to_string();
        assert!(!words.contains("Issuer") && !words.contains("Error"), "{words}");
    }
    let missing = encrypted(&format!("{base} sslmode=verify-full")).await.unwrap_err();
    assert!(matches!(missing, ConnectionError::InvalidParameter { keyword: "sslrootcert", .. }), "{missing}");
    let absent = encrypted(&format!("{base} sslmode=verify-full sslrootcert=/nowhere.crt")).await.unwrap_err();
    assert!(matches!(absent, ConnectionError::File { .. }), "{absent}");
    let key = encrypted(&format!("{base} sslmode=verify-full sslrootcert={}", file("ca.key"))).await.unwrap_err();
    assert!(matches!(key, ConnectionError::CertificateFile { .. }), "{key}");

    // A certificate that signed itself is trusted when it is named itself, as by libpq; its name counts all the same.
    certificates.install(&mut cluster, "alone", &address).await;
    let alone = format!("{base} hostaddr={address} sslrootcert={}", file("alone.crt"));
    assert!(encrypted(&format!("{alone} sslmode=verify-full")).await.unwrap());
    let error = encrypted(&format!("{alone} host=elsewhere.test sslmode=verify-full")).await.unwrap_err();
    assert!(matches!(error, ConnectionError::CertificateNotTrusted { only_name: true, .. }), "{error:?}");
    let error = encrypted(&format!("{base} sslmode=verify-ca {ca}")).await.unwrap_err();
    assert!(matches!(error, ConnectionError::CertificateNotTrusted { only_name: false, .. }), "{error:?}");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_client_certificate_a_cancel_and_a_program_use_the_same_settings() {
    let address = loopback_address();
    let (cluster, certificates) = start_tls_server(&address).await;
    let file = |name: &str| certificates.path(name).display().to_string();
    let text = format!(
        "host={address} user=ann dbname=postgres sslmode=verify-full sslrootcert={} sslcert={} sslkey={}",
        file("ca.crt"),
        file("client.crt"),
        file("client.key"),
    );
    let spec = parse(&text).unwrap();
    let session = spec.connect("test").await.unwrap();
    assert!(session.is_tls_enforced());
    let (slept, cancelled) = tokio::join!(session.batch_execute("SELECT pg_sleep(60)"), async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        session.cancel().await
    });
    cancelled.unwrap();
    assert!(crate::postgres::describe(&slept.unwrap_err()).is_cancelled());
    session.close().await;

    let without = parse(&text.replace("sslcert=", "sslcert='' dbname=postgres application_name=")).unwrap();
    assert!(matches!(without.connect("test").await, Err(ConnectionError::LoginRefused { .. })));

    let mut psql = programs().command("psql");
    psql.args(["-X", "-A", "-t", "-c", "SELECT current_user, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"]);
    spec.for_program(&mut psql).await.unwrap();
    let output = psql.output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ann|t\n", "{}", String::from_utf8_lossy(&output.stderr));
    cluster.stop().await.unwrap();
}
