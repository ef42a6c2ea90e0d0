//! Certificates and keys from PEM files.

use super::super::ConnectionError;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};

/// Where distributions keep the authorities that the system trusts, in one file.
const SYSTEM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/opt/homebrew/etc/ca-certificates/cert.pem",
];

/// Every certificate of a file; at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectionError> {
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| explain(path, error, "it holds no certificate in PEM form"))?;
    if found.is_empty() {
        return Err(explain(path, PemError::NoItemsFound, "it holds no certificate in PEM form"));
    }
    Ok(found)
}

/// The first private key of a file.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, ConnectionError> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| explain(path, error, "it holds no private key in PEM form without a password"))
}

/// What the operating system trusts.
pub(super) fn system_certificates() -> Result<Vec<CertificateDer<'static>>, ConnectionError> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        return super::invalid("sslrootcert", "the system has no trusted certificates (install ca-certificates)");
    }
    Ok(found.certs)
}

/// The file with what the operating system trusts.
pub(super) fn system_bundle() -> Option<PathBuf> {
    SYSTEM_BUNDLES.iter().map(PathBuf::from).find(|path| path.exists())
}

fn explain(path: &Path, error: PemError, nothing_found: &str) -> ConnectionError {
    let path = path.to_owned();
    match error {
        PemError::Io(source) => ConnectionError::File { path, source },
        PemError::NoItemsFound => ConnectionError::CertificateFile { path, reason: nothing_found.to_owned() },
        // Only the kind of damage: the file may hold a key.
        _ => ConnectionError::CertificateFile { path, reason: "its PEM form is damaged".to_owned() },
    }
}
