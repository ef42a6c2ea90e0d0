//! Checking the server's certificate as each `sslmode` asks.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// Checks the chain, the chain and the name, or neither; always that the server holds the certificate's key.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    trusted: Vec<CertificateDer<'static>>,
    check_name: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerVerifier {
    /// Encrypts without knowing to whom.
    pub(super) fn trusting_any(provider: Arc<CryptoProvider>) -> Self {
        Self { chain: None, trusted: Vec::new(), check_name: false, provider }
    }

    /// Trusts what these certificates signed.
    pub(super) fn trusting(
        trusted: Vec<CertificateDer<'static>>,
        check_name: bool,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let (usable, _) = roots.add_parsable_certificates(trusted.iter().cloned());
        if usable == 0 {
            return Err("none of its certificates can be used".to_owned());
        }
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { chain: Some(chain), trusted, check_name, provider })
    }

    /// Judges what the check of chain and name found.
    fn judge(&self, error: Error, certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), Error> {
        match &error {
            // The name is checked last: the chain is good.
            Error::InvalidCertificate(problem) if is_about_name(problem) && !self.check_name => Ok(()),
            // A self-signed server certificate made by `openssl req -x509` is an authority too, which the library
            // refuses as a server's. Named itself in sslrootcert it is trusted, as by libpq; its dates are checked
            // before its role.
            Error::InvalidCertificate(CertificateError::Other(other))
                if is_authority_as_server(other) && self.trusted.iter().any(|trusted| trusted == certificate) =>
            {
                if self.check_name {
                    verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                }
                Ok(())
            }
            _ => Err(error),
        }
    }
}

/// Whether only the name in the certificate is another than the host's.
pub(super) fn is_about_name(problem: &CertificateError) -> bool {
    matches!(problem, CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. })
}

/// The library passes this problem on without a variant of its own.
pub(super) fn is_authority_as_server(other: &OtherError) -> bool {
    format!("{other:?}").contains("CaUsedAsEndEntity")
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(chain) = &self.chain
            && let Err(error) = chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        {
            self.judge(error, end_entity, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
