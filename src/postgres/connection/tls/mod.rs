//! TLS: from `sslmode` and its files to a connector, and what went wrong in a handshake.

mod files;
mod verifier;

use super::keyword::Parameters;
use super::resolve::invalid;
use super::{ConnectionError, Environment};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ClientConfig, SupportedProtocolVersion};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::process::Command;
use tokio_postgres::config::{SslMode as ClientMode, SslNegotiation};
use tokio_postgres_rustls::MakeRustlsConnect;
use verifier::ServerVerifier;

/// `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SslMode {
    Disable,
    /// Treated as `prefer`: TLS where the server has it.
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// Which authorities are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Roots {
    /// None are known.
    None,
    /// Those in a file.
    File(PathBuf),
    /// Those that the operating system trusts.
    System,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TlsSettings {
    pub(super) mode: SslMode,
    pub(super) roots: Roots,
    /// The client's certificate chain and its key.
    client: Option<(PathBuf, PathBuf)>,
    only_tls13: bool,
    direct: bool,
}

/// What makes the encrypted stream.
#[derive(Clone)]
pub(super) enum TlsConnector {
    Plain,
    Rustls { connector: MakeRustlsConnect, required: bool },
}

impl TlsConnector {
    pub(super) fn client_mode(&self) -> ClientMode {
        match self {
            Self::Plain => ClientMode::Disable,
            Self::Rustls { required: true, .. } => ClientMode::Require,
            Self::Rustls { required: false, .. } => ClientMode::Prefer,
        }
    }
}

impl SslMode {
    const NAMES: [(&'static str, Self); 6] = [
        ("disable", Self::Disable),
        ("allow", Self::Allow),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
        ("verify-ca", Self::VerifyCa),
        ("verify-full", Self::VerifyFull),
    ];

    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, mode)| *mode == self).map_or("prefer", |(name, _)| name)
    }
}

impl TlsSettings {
    pub(super) fn disabled() -> Self {
        Self { mode: SslMode::Disable, roots: Roots::None, client: None, only_tls13: false, direct: false }
    }

    pub(super) fn resolve(parameters: &Parameters, environment: &Environment) -> Result<Self, ConnectionError> {
        let roots = roots(parameters, environment);
        let settings = Self {
            mode: mode(parameters, &roots)?,
            roots,
            client: client_files(parameters, environment)?,
            only_tls13: match parameters.get("ssl_min_protocol_version") {
                // Older versions than 1.2 are never spoken.
                None | Some("TLSv1" | "TLSv1.1" | "TLSv1.2") => false,
                Some("TLSv1.3") => true,
                Some(_) => return invalid("ssl_min_protocol_version", "expected TLSv1.2 or TLSv1.3"),
            },
            direct: match parameters.get("sslnegotiation") {
                None | Some("postgres") => false,
                Some("direct") => true,
                Some(_) => return invalid("sslnegotiation", "expected postgres or direct"),
            },
        };
        if settings.direct && settings.mode < SslMode::Require {
            return invalid("sslnegotiation", "direct needs sslmode=require, verify-ca or verify-full");
        }
        Ok(settings)
    }

    pub(super) fn negotiation(&self) -> SslNegotiation {
        if self.direct { SslNegotiation::Direct } else { SslNegotiation::Postgres }
    }

    /// Reads the certificates and makes the connector; a Unix socket is never encrypted.
    pub(super) fn connector(&self, unix_socket: bool) -> Result<TlsConnector, ConnectionError> {
        if unix_socket || self.mode == SslMode::Disable {
            return Ok(TlsConnector::Plain);
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions: &[&SupportedProtocolVersion] = if self.only_tls13 { &[&TLS13] } else { &[&TLS13, &TLS12] };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .or_else(|error| invalid("ssl_min_protocol_version", error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self.verifier(provider)?));
        let mut config = match &self.client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                builder.with_client_auth_cert(files::certificates(certificate)?, files::private_key(key)?).map_err(
                    |error| ConnectionError::CertificateFile { path: certificate.clone(), reason: error.to_string() },
                )?
            }
        };
        if self.direct {
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        Ok(TlsConnector::Rustls { connector: MakeRustlsConnect::new(config), required: self.mode >= SslMode::Require })
    }

    /// `require` with known authorities checks the chain, as libpq does; `allow` and `prefer` check nothing.
    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<ServerVerifier, ConnectionError> {
        let certificates = match &self.roots {
            _ if self.mode < SslMode::Require => return Ok(ServerVerifier::trusting_any(provider)),
            Roots::None if self.mode == SslMode::Require => return Ok(ServerVerifier::trusting_any(provider)),
            Roots::None => {
                return invalid(
                    "sslrootcert",
                    "verifying the server needs the authority's certificate: a file, or `system`",
                );
            }
            Roots::System => files::system_certificates()?,
            Roots::File(path) => files::certificates(path)?,
        };
        let check_name = self.mode == SslMode::VerifyFull;
        ServerVerifier::trusting(certificates, check_name, provider).map_err(|reason| match &self.roots {
            Roots::File(path) => ConnectionError::CertificateFile { path: path.clone(), reason },
            _ => ConnectionError::InvalidParameter { keyword: "sslrootcert", reason },
        })
    }

    pub(super) fn for_program(&self, command: &mut Command) {
        command.env("PGSSLMODE", self.mode.name());
        match &self.roots {
            Roots::None => {}
            Roots::File(path) => {
                command.env("PGSSLROOTCERT", path);
            }
            // libpq knows `system` from version 16 on; a file with the same authorities serves all versions.
            Roots::System => {
                command.env("PGSSLROOTCERT", files::system_bundle().unwrap_or_else(|| PathBuf::from("system")));
            }
        }
        if let Some((certificate, key)) = &self.client {
            command.env("PGSSLCERT", certificate).env("PGSSLKEY", key);
        }
        if self.only_tls13 {
            command.env("PGSSLMINPROTOCOLVERSION", "TLSv1.3");
        }
        if self.direct {
            command.env("PGSSLNEGOTIATION", "direct");
        }
    }
}

fn mode(parameters: &Parameters, roots: &Roots) -> Result<SslMode, ConnectionError> {
    let Some(text) = parameters.get("sslmode") else {
        return Ok(if *roots == Roots::System { SslMode::VerifyFull } else { SslMode::Prefer });
    };
    let Some((_, mode)) = SslMode::NAMES.iter().find(|(name, _)| *name == text) else {
        return invalid("sslmode", "expected disable, allow, prefer, require, verify-ca or verify-full");
    };
    // Any site has a certificate of a public authority: without the name such a check proves nothing (libpq's rule).
    if *roots == Roots::System && *mode != SslMode::VerifyFull {
        return invalid("sslmode", "sslrootcert=system needs sslmode=verify-full");
    }
    Ok(*mode)
}

fn roots(parameters: &Parameters, environment: &Environment) -> Roots {
    match parameters.get("sslrootcert") {
        Some("system") => Roots::System,
        Some(path) => Roots::File(PathBuf::from(path)),
        None => existing_default(environment, "root.crt").map_or(Roots::None, Roots::File),
    }
}

fn client_files(
    parameters: &Parameters,
    environment: &Environment,
) -> Result<Option<(PathBuf, PathBuf)>, ConnectionError> {
    // An empty sslcert asks for none.
    let certificate = match parameters.get("sslcert") {
        Some(path) => Some(PathBuf::from(path)),
        None if parameters.contains("sslcert") => None,
        None => existing_default(environment, "postgresql.crt"),
    };
    let Some(certificate) = certificate else { return Ok(None) };
    let key = parameters.get("sslkey").map(PathBuf::from).or_else(|| existing_default(environment, "postgresql.key"));
    match key {
        Some(key) => Ok(Some((certificate, key))),
        None => invalid("sslkey", "a client certificate needs its private key"),
    }
}

/// A file in libpq's own directory in the home of the user, if it is there.
fn existing_default(environment: &Environment, name: &str) -> Option<PathBuf> {
    environment.home().map(|home| home.join(".postgresql").join(name)).filter(|path| path.exists())
}

/// What is wrong with a certificate. The library's own words are names of its types where they are no sentence.
fn in_words(problem: &CertificateError) -> String {
    let words = match problem {
        CertificateError::UnknownIssuer => "no authority that is trusted signed it",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet",
        CertificateError::Revoked => "it was revoked",
        CertificateError::BadSignature => "its signature is wrong",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not one for servers"
        }
        CertificateError::Other(other) if verifier::is_authority_as_server(other) => {
            "it is an authority's own, and no server's"
        }
        other => return other.to_string(),
    };
    words.to_owned()
}

/// Says by meaning why a handshake failed.
pub(super) fn explain(target: String, io: Option<&io::Error>, reason: String) -> ConnectionError {
    if reason.contains("server does not support TLS") {
        return ConnectionError::TlsUnavailable { target };
    }
    let cause = io.and_then(io::Error::get_ref).and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        // What no authority can mend: the file is of a form that is not supported.
        Some(rustls::Error::InvalidCertificate(CertificateError::BadEncoding)) => {
            ConnectionError::Tls { target, reason }
        }
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(other)))
            if !verifier::is_authority_as_server(other) =>
        {
            ConnectionError::Tls { target, reason }
        }
        Some(rustls::Error::InvalidCertificate(problem)) => ConnectionError::CertificateNotTrusted {
            target,
            only_name: verifier::is_about_name(problem),
            reason: in_words(problem),
        },
        _ => ConnectionError::Tls { target, reason },
    }
}
