//! Keys: 32 bytes that everybody may know, and their secret half.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

const LENGTH: usize = 32;
const PREFIX: &str = "ed25519:";

/// A text or a file that holds no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// A public key is written otherwise.
    #[error(
        "`{0}` is no public key; one is `ed25519:` and 64 hexadecimal digits, as `safe-migrate store keys` prints it"
    )]
    Public(String),
    /// A file that holds no private key.
    #[error("it is no private key of Ed25519 in PEM (PKCS#8), as `openssl genpkey -algorithm ed25519` writes it")]
    Private,
}

/// The public half of a key: `ed25519:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; LENGTH]);

impl PublicKey {
    /// Whether this key made this signature (64 bytes) of these bytes.
    pub fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        let key = ParsedPublicKey::new(&ED25519, self.0);
        key.is_ok_and(|key| key.verify_sig(signed, signature).is_ok())
    }

    /// The key as `openssl pkeyutl -verify -pubin -inkey` reads it.
    pub fn to_pem(&self) -> String {
        let key = ParsedPublicKey::new(&ED25519, self.0);
        let der = key.ok().and_then(|key| AsDer::<PublicKeyX509Der<'_>>::as_der(&key).ok());
        pem("PUBLIC KEY", der.as_ref().map_or(&[], |der| der.as_ref()))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PREFIX}{}", hex::encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for PublicKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let digits = text.strip_prefix(PREFIX).ok_or_else(|| InvalidKey::Public(text.to_owned()))?;
        let mut key = [0; LENGTH];
        hex::decode_to_slice(digits, &mut key).map_err(|_| InvalidKey::Public(text.to_owned()))?;
        Ok(Self(key))
    }
}

impl TryFrom<String> for PublicKey {
    type Error = InvalidKey;

    fn try_from(text: String) -> Result<Self, InvalidKey> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> String {
        key.to_string()
    }
}

/// A key that signs. Cheap to clone; `Debug` shows its public half only.
#[derive(Clone)]
pub struct SigningKey {
    pair: Arc<Ed25519KeyPair>,
    public: PublicKey,
}

impl SigningKey {
    /// Draws a new key, with its PEM text.
    pub fn generate() -> Result<(Self, String), InvalidKey> {
        let pair = Ed25519KeyPair::generate().map_err(|_| InvalidKey::Private)?;
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(|_| InvalidKey::Private)?;
        let text = pem("PRIVATE KEY", der.as_ref());
        Ok((Self::of(pair)?, text))
    }

    /// Reads a key from its PEM text.
    pub fn from_pem(text: &str) -> Result<Self, InvalidKey> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).map_err(|_| InvalidKey::Private)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
        Self::of(pair.map_err(|_| InvalidKey::Private)?)
    }

    fn of(pair: Ed25519KeyPair) -> Result<Self, InvalidKey> {
        let public = pair.public_key().as_ref().try_into().map_err(|_| InvalidKey::Private)?;
        Ok(Self { pair: Arc::new(pair), public: PublicKey(public) })
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The signature of these bytes, 64 bytes.
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.pair.sign(bytes).as_ref().to_vec()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({})", self.public)
    }
}

impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        self.public == other.public
    }
}

impl Eq for SigningKey {}

fn pem(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    // 44 or 48 bytes: one or two lines of 64 characters.
    let lines: Vec<String> = encoded.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8410, section 10.3, and the public key of its section 10.1.
    const OF_THE_RFC: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
    const PUBLIC_OF_THE_RFC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

    #[test]
    fn the_key_of_rfc_8410_is_read_and_written() {
        let key = SigningKey::from_pem(OF_THE_RFC).unwrap();
        assert_eq!(key.public().to_pem(), PUBLIC_OF_THE_RFC);
        let text = "ed25519:19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
        assert_eq!(key.public().to_string(), text);
        assert_eq!(text.parse::<PublicKey>().unwrap(), key.public());
        assert_eq!(format!("{key:?}"), format!("SigningKey({text})"));
    }

    #[test]
    fn a_signature_counts_for_its_key_and_its_bytes_only() {
        let (key, pem) = SigningKey::generate().unwrap();
        let again = SigningKey::from_pem(&pem).unwrap();
        assert_eq!(key, again);
        let (other, _) = SigningKey::generate().unwrap();
        let signature = again.sign(b"text");
        assert!(key.public().verifies(b"text", &signature));
        assert!(!key.public().verifies(b"texT", &signature));
        assert!(!other.public().verifies(b"text", &signature));
        assert!(!key.public().verifies(b"text", &signature[..63]));
        assert!(!key.public().verifies(b"text", &[0; 64]));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let digits = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
        for text in [digits, "ed25519:", &format!("ed25519:{}", &digits[..62]), &format!("ed25519:{digits}00")] {
            assert!(text.parse::<PublicKey>().is_err(), "{text}");
        }
        assert_eq!(SigningKey::from_pem(PUBLIC_OF_THE_RFC).unwrap_err(), InvalidKey::Private);
        assert_eq!(SigningKey::from_pem("").unwrap_err(), InvalidKey::Private);
    }
}
