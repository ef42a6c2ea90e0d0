//! What is signed of an object: what it is, where it lies, and its bytes; as text that can be read.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::{PublicKey, SigningKey};

const FIRST_LINE: &str = "safe-migrate signature 1";

/// What a signed object is. One kind never counts as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `snapshots/<id>/manifest.json`.
    Manifest,
    /// `rehearsals/<id>/receipt.json`, which names the hash of the report.
    Receipt,
    /// `proofs/<id>.json`.
    Proof,
    /// `runs/<id>.json`.
    Run,
    /// `tombstones/<id>.json`: a snapshot was forgotten.
    Tombstone,
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::Manifest, Kind::Receipt, Kind::Proof, Kind::Run, Kind::Tombstone];

    /// Its word in the statement.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Manifest => "manifest",
            Kind::Receipt => "receipt",
            Kind::Proof => "proof",
            Kind::Run => "run",
            Kind::Tombstone => "tombstone",
        }
    }
}

/// What a signature says. Its text is the whole of what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What the object is.
    pub kind: Kind,
    /// Id of the store that it lies in.
    pub store: String,
    /// The configured name of the database that it is about.
    pub source: String,
    /// The key of the object in the store.
    pub object: String,
    /// Of the manifests of a source that this key signed, from 1; 0: not counted.
    pub sequence: u64,
    /// SHA-256 of the text of the signature before it, 64 hexadecimal digits; none before the first one.
    pub previous: Option<String>,
    /// SHA-256 of the object's bytes, 64 hexadecimal digits.
    pub sha256: String,
    /// The key that signs.
    pub key: PublicKey,
}

impl Statement {
    /// The lines that are signed.
    fn text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\n");
        // As JSON, a name is one line whatever is in it.
        let source = serde_json::Value::from(self.source.as_str());
        let _infallible = write!(
            text,
            "kind: {}\nstore: {}\nsource: {source}\nobject: {}\nsequence: {}\nprevious: {}\nsha256: {}\nkey: {}\n",
            self.kind.word(),
            self.store,
            self.object,
            self.sequence,
            self.previous.as_deref().unwrap_or("none"),
            self.sha256,
            self.key,
        );
        text
    }

    /// The text of the signature: the lines that are signed, and the signature as the last one.
    pub fn sign(&self, key: &SigningKey) -> String {
        let text = self.text();
        let signature = STANDARD.encode(key.sign(text.as_bytes()));
        format!("{text}signature: {signature}\n")
    }

    /// Reads the text of a signature, when its own key made it. Whether that key counts is another question.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (signed, signature) = text.strip_suffix('\n')?.rsplit_once('\n')?;
        let signed = format!("{signed}\n");
        let signature = STANDARD.decode(signature.strip_prefix("signature: ")?).ok()?;
        let statement = Self::parse(&signed)?;
        statement.key.verifies(signed.as_bytes(), &signature).then_some(statement)
    }

    /// Only what [`Statement::text`] writes: a second way to write the same would be a second meaning.
    fn parse(signed: &str) -> Option<Self> {
        let mut lines = signed.strip_prefix(FIRST_LINE)?.strip_prefix('\n')?.lines();
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(": ");
        let kind = field("kind")?;
        let statement = Self {
            kind: Kind::ALL.into_iter().find(|known| known.word() == kind)?,
            store: field("store")?.to_owned(),
            source: serde_json::from_str(field("source")?).ok()?,
            object: field("object")?.to_owned(),
            sequence: field("sequence")?.parse().ok()?,
            previous: Some(field("previous")?).filter(|word| *word != "none").map(str::to_owned),
            sha256: field("sha256")?.to_owned(),
            key: field("key")?.parse().ok()?,
        };
        (statement.text() == signed).then_some(statement)
    }
}

/// SHA-256 of bytes, as statements have it.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(key: &SigningKey) -> Statement {
        Statement {
            kind: Kind::Manifest,
            store: "0f".repeat(16),
            source: "shop\nkind: receipt \"é".to_owned(),
            object: "snapshots/20261122T135823Z-7f3a9c/manifest.json".to_owned(),
            sequence: 12,
            previous: None,
            sha256: sha256(b"bytes"),
            key: key.public(),
        }
    }

    #[test]
    fn a_statement_is_read_as_it_was_signed() {
        let (key, _) = SigningKey::generate().unwrap();
        for previous in [None, Some(sha256(b"before"))] {
            let statement = Statement { previous, ..statement(&key) };
            let text = statement.sign(&key);
            assert_eq!(text.lines().count(), 10, "{text}");
            assert_eq!(Statement::read(text.as_bytes()), Some(statement));
        }
    }

    #[test]
    fn a_changed_text_is_no_signature() {
        let (key, _) = SigningKey::generate().unwrap();
        let text = statement(&key).sign(&key);
        for position in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[position] ^= 1;
            assert_eq!(Statement::read(&bytes), None, "{}", String::from_utf8_lossy(&bytes));
            assert_eq!(Statement::read(&text.as_bytes()[..position]), None);
        }
        let (other, _) = SigningKey::generate().unwrap();
        assert_eq!(Statement::read(statement(&key).sign(&other).as_bytes()), None, "signed by another than it names");
    }

    #[test]
    fn a_text_that_means_the_same_is_refused() {
        let (key, _) = SigningKey::generate().unwrap();
        let signed = statement(&key).text();
        for (from, to) in
            [("sequence: 12", "sequence: 012"), ("previous: none\n", "previous: none\n\n"), ("é", "\\u00e9")]
        {
            let text = signed.replace(from, to);
            assert_ne!(text, signed);
            let signature = STANDARD.encode(key.sign(text.as_bytes()));
            assert_eq!(Statement::read(format!("{text}signature: {signature}\n").as_bytes()), None, "{text}");
        }
    }
}
