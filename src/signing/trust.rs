//! Which keys count, what each may sign, and whether a signature of an object counts.

use std::collections::BTreeSet;

use super::statement::sha256;
use super::{Kind, PublicKey, SigningKey, Statement};

/// What a key may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum May {
    /// Snapshots, and the records of runs.
    Snapshot,
    /// Receipts of rehearsals. Alone: of plans that lose nothing.
    Receipt,
    /// That a snapshot was restored.
    Proof,
    /// That a snapshot was forgotten.
    Forget,
}

impl May {
    /// All of them: what a key may that no `may` limits.
    pub const ALL: [May; 4] = [May::Snapshot, May::Receipt, May::Proof, May::Forget];

    /// Its word in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            May::Snapshot => "snapshot",
            May::Receipt => "receipt",
            May::Proof => "proof",
            May::Forget => "forget",
        }
    }

    fn sign(kind: Kind) -> Self {
        match kind {
            Kind::Manifest | Kind::Run => May::Snapshot,
            Kind::Receipt => May::Receipt,
            Kind::Proof => May::Proof,
            Kind::Tombstone => May::Forget,
        }
    }
}

/// A key that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    /// Whose it is, for people.
    pub name: String,
    /// The key.
    pub key: PublicKey,
    /// What it may sign.
    pub may: BTreeSet<May>,
    /// The sources that it may sign for; none: all.
    pub sources: BTreeSet<String>,
    /// Of a key that was destroyed: its last sequence. What is not counted is taken back.
    pub last: Option<u64>,
    /// Of a key that was stolen: SHA-256 of the objects that count all the same.
    pub only: Option<BTreeSet<String>>,
}

impl TrustedKey {
    /// A key that may everything, for every source.
    pub fn new(name: impl Into<String>, key: PublicKey) -> Self {
        let may = May::ALL.into();
        Self { name: name.into(), key, may, sources: BTreeSet::new(), last: None, only: None }
    }
}

/// The keys that count, and the one that signs here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// The keys; none: every object is believed, as nothing says whom to believe.
    pub keys: Vec<TrustedKey>,
    /// The key of this machine.
    pub signer: Option<SigningKey>,
    /// Why what has no signature is believed all the same, in this run.
    pub accept_unsigned: Option<String>,
}

/// Who signed an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBy {
    /// The name of the key in the configuration.
    pub name: String,
    /// Whether it may sign receipts alone, as that of a CI.
    pub only_receipts: bool,
    /// What it says.
    pub statement: Statement,
    /// SHA-256 of the text of the signature.
    pub hash: String,
}

/// Why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// There is none.
    #[error("it is not signed")]
    Unsigned,
    /// The text is not what a key signed.
    #[error("its signature is damaged or was changed")]
    Damaged,
    /// It belongs to another object.
    #[error("its signature is of {0}")]
    OfAnother(&'static str),
    /// A key that counts signed this very object, and it had other bytes.
    #[error("its signature is of other bytes: it was exchanged")]
    Exchanged,
    /// A key that the configuration does not name.
    #[error("it is signed by {0}, which [trust] does not name")]
    UnknownKey(PublicKey),
    /// The key may not.
    #[error("it is signed by \"{name}\", whose key may not sign {what}")]
    MayNot {
        /// The name of the key.
        name: String,
        /// What it may not sign.
        what: String,
    },
    /// After the end of the key.
    #[error("it is signed by \"{name}\", whose key ended {what}")]
    Ended {
        /// The name of the key.
        name: String,
        /// When, in words.
        what: String,
    },
}

impl Trust {
    /// Whether signatures are asked for.
    pub fn is_set(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The key of this machine as the configuration names it.
    pub fn own(&self) -> Option<&TrustedKey> {
        let public = self.signer.as_ref()?.public();
        self.keys.iter().find(|trusted| trusted.key == public)
    }

    /// The text of the signature of an object; none where this machine has no key.
    pub fn sign(&self, object: &Object<'_>, (sequence, previous): (u64, Option<String>)) -> Option<String> {
        let signer = self.signer.as_ref()?;
        let statement = Statement {
            kind: object.kind,
            store: object.store.to_owned(),
            source: object.source.to_owned(),
            object: object.key.to_owned(),
            sequence,
            previous,
            sha256: sha256(object.bytes),
            key: signer.public(),
        };
        Some(statement.sign(signer))
    }

    /// Whether the signature of an object counts, and whose it is.
    pub fn judge(&self, object: &Object<'_>, signature: Option<&[u8]>) -> Result<SignedBy, Doubt> {
        let signature = signature.ok_or(Doubt::Unsigned)?;
        let statement = Statement::read(signature).ok_or(Doubt::Damaged)?;
        let known = self.keys.iter().find(|trusted| trusted.key == statement.key);
        let Some(trusted) = known else { return Err(Doubt::UnknownKey(statement.key)) };
        if let Some(other) = object.not_of(&statement) {
            return Err(Doubt::OfAnother(other));
        }
        if statement.sha256 != sha256(object.bytes) {
            return Err(Doubt::Exchanged);
        }
        let name = trusted.name.clone();
        if !trusted.may.contains(&May::sign(object.kind)) {
            return Err(Doubt::MayNot { name, what: format!("{}s", May::sign(object.kind).word()) });
        }
        if !trusted.sources.is_empty() && !trusted.sources.contains(object.source) {
            return Err(Doubt::MayNot { name, what: format!("for source \"{}\"", object.source) });
        }
        if let Some(only) = &trusted.only {
            if !only.contains(&statement.sha256) {
                return Err(Doubt::Ended { name, what: "(it was stolen) and does not list this one".to_owned() });
            }
        } else if let Some(last) = trusted.last.filter(|last| !object.is_until(*last, statement.sequence)) {
            return Err(Doubt::Ended { name, what: format!("with its number {last}") });
        }
        let only_receipts = !trusted.may.contains(&May::Snapshot);
        Ok(SignedBy { name, only_receipts, statement, hash: sha256(signature) })
    }
}

/// An object as a signature sees it.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    /// What it is.
    pub kind: Kind,
    /// Id of the store.
    pub store: &'a str,
    /// The configured name of the database.
    pub source: &'a str,
    /// Its key in the store.
    pub key: &'a str,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl Object<'_> {
    /// Whether it counts although its key ended with this number. What has none could be later; of that, what makes nothing
    /// believed that was not counts on: that a snapshot was forgotten, proven, or that a run was.
    fn is_until(&self, last: u64, sequence: u64) -> bool {
        match self.kind {
            Kind::Manifest | Kind::Receipt => (1..=last).contains(&sequence),
            Kind::Proof | Kind::Run | Kind::Tombstone => true,
        }
    }

    /// What else the statement is about, if it is not about this object.
    fn not_of(&self, statement: &Statement) -> Option<&'static str> {
        if statement.kind != self.kind {
            Some("another kind of object")
        } else if statement.store != self.store {
            Some("an object of another store")
        } else if statement.source != self.source {
            Some("an object of another source")
        } else if statement.object != self.key {
            Some("another object")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: &[u8] = b"the manifest";

    fn object() -> Object<'static> {
        let key = "snapshots/20261122T135823Z-7f3a9c/manifest.json";
        Object { kind: Kind::Manifest, store: "0f", source: "shop", key, bytes: BYTES }
    }

    fn signed(edit: impl FnOnce(&mut TrustedKey)) -> (Trust, String) {
        let (signer, _) = SigningKey::generate().unwrap();
        let mut key = TrustedKey::new("prod", signer.public());
        edit(&mut key);
        let trust = Trust { keys: vec![key], signer: Some(signer), accept_unsigned: None };
        let text = trust.sign(&object(), (7, None)).unwrap();
        (trust, text)
    }

    #[test]
    fn a_signature_counts_for_its_object_alone() {
        let (trust, text) = signed(|_| {});
        let by = trust.judge(&object(), Some(text.as_bytes())).unwrap();
        assert_eq!((by.name.as_str(), by.only_receipts, by.statement.sequence), ("prod", false, 7));

        let others = [
            (Object { kind: Kind::Receipt, ..object() }, "another kind of object"),
            (Object { store: "0e", ..object() }, "an object of another store"),
            (Object { source: "test", ..object() }, "an object of another source"),
            (Object { key: "snapshots/20261122T135823Z-000000/manifest.json", ..object() }, "another object"),
        ];
        for (other, of) in others {
            assert_eq!(trust.judge(&other, Some(text.as_bytes())), Err(Doubt::OfAnother(of)));
        }
        let exchanged = Object { bytes: b"the manifesT", ..object() };
        assert_eq!(trust.judge(&exchanged, Some(text.as_bytes())), Err(Doubt::Exchanged));
        assert_eq!(trust.judge(&object(), None), Err(Doubt::Unsigned));
        assert_eq!(trust.judge(&object(), Some(b"")), Err(Doubt::Damaged));
        let (stranger, of_stranger) = signed(|_| {});
        let public = stranger.signer.unwrap().public();
        assert_eq!(trust.judge(&object(), Some(of_stranger.as_bytes())), Err(Doubt::UnknownKey(public)));
    }

    #[test]
    fn a_key_signs_what_it_may_and_while_it_counts() {
        let judged = |edit: fn(&mut TrustedKey)| {
            let (trust, text) = signed(edit);
            trust.judge(&object(), Some(text.as_bytes())).map(|by| by.name).map_err(|doubt| doubt.to_string())
        };
        let doubt = |edit| judged(edit).unwrap_err();
        assert!(doubt(|key| key.may = [May::Receipt].into()).contains("may not sign snapshots"));
        assert!(doubt(|key| key.sources = ["test".to_owned()].into()).contains("may not sign for source \"shop\""));
        assert!(judged(|key| key.sources = ["shop".to_owned()].into()).is_ok());
        assert!(doubt(|key| key.last = Some(6)).contains("ended with its number 6"));
        assert!(judged(|key| key.last = Some(7)).is_ok());
        assert!(doubt(|key| key.only = Some(BTreeSet::new())).contains("stolen"));
        assert!(judged(|key| key.only = Some([sha256(BYTES)].into())).is_ok());
        // What is not counted, as an adopted snapshot, could be signed after the end of the key.
        let (trust, _) = signed(|key| key.last = Some(7));
        let text = trust.sign(&object(), (0, None)).unwrap();
        assert!(trust.judge(&object(), Some(text.as_bytes())).is_err());
        let tombstone = Object { kind: Kind::Tombstone, ..object() };
        let text = trust.sign(&tombstone, (0, None)).unwrap();
        assert!(trust.judge(&tombstone, Some(text.as_bytes())).is_ok());
    }
}
