//! Signatures beside objects: `manifest.sig` is that of `manifest.json`.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::fault;
use crate::signing::{Doubt, Kind, Object, SignedBy};

use super::{ObjectKey, Store, StoreError};

/// Bytes of a signature at most.
const LARGEST: u64 = 16 << 10;

/// An object whose signature is made or looked at.
#[derive(Clone, Copy, Debug)]
pub struct Signable<'a> {
    /// What it is.
    pub kind: Kind,
    /// The configured name of the database that it is about.
    pub source: &'a str,
    /// Its key.
    pub key: &'a ObjectKey,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// The number of a signature among those of its key and source, and the SHA-256 of the one before.
pub type Number = (u64, Option<String>);

impl Store {
    /// Signs an object that is written over the one of before: a kill between the two leaves the old one signed.
    pub async fn sign_again(&self, object: Signable<'_>) -> Result<(), StoreError> {
        match self.signature(object, (0, None)) {
            Some(text) => self.put(&signature_of_these_bytes(&object), text).await,
            None => Ok(()),
        }
    }

    /// Who signed an object that may have been written over: as [`Store::signed_by`].
    pub async fn signed_again_by(&self, object: Signable<'_>) -> Result<Result<Option<SignedBy>, Doubt>, StoreError> {
        self.judged(object, signature_of_these_bytes(&object)).await
    }

    /// Signs an object that is about to be written, where this machine has a key.
    pub async fn sign(&self, object: Signable<'_>) -> Result<(), StoreError> {
        match self.signature(object, (0, None)) {
            Some(text) => self.put(&object.key.signature(), text).await,
            None => Ok(()),
        }
    }

    /// The text of the signature of an object; `None` where this machine has no key.
    pub fn signature(&self, object: Signable<'_>, number: Number) -> Option<Bytes> {
        self.trust().sign(&self.object(object), number).map(Bytes::from)
    }

    /// Who signed an object that was read: `None` where nothing says whom to believe, or what is not signed is accepted.
    pub async fn signed_by(&self, object: Signable<'_>) -> Result<Result<Option<SignedBy>, Doubt>, StoreError> {
        self.judged(object, object.key.signature()).await
    }

    async fn judged(
        &self,
        object: Signable<'_>,
        signature: ObjectKey,
    ) -> Result<Result<Option<SignedBy>, Doubt>, StoreError> {
        let trust = self.trust();
        if !trust.is_set() || fault::is_off("off.signatures") {
            return Ok(Ok(None));
        }
        let signature = match self.get_at_most(&signature, LARGEST).await {
            Ok(bytes) => Some(bytes),
            // S3 answers 403 for what is not there to those who may not list.
            Err(error) if error.is_not_found() || matches!(error, StoreError::PermissionDenied { .. }) => None,
            Err(StoreError::Damaged { .. } | StoreError::Io { .. }) => return Ok(Err(Doubt::Damaged)),
            Err(error) => return Err(error),
        };
        Ok(match trust.judge(&self.object(object), signature.as_deref()) {
            Ok(by) => Ok(Some(by)),
            // Of snapshots only: what stands for a rehearsal, or excuses a gap, is not what the operator was asked about.
            Err(Doubt::Unsigned | Doubt::UnknownKey(_))
                if trust.accept_unsigned.is_some() && object.kind == Kind::Manifest =>
            {
                Ok(None)
            }
            Err(doubt) => Err(doubt),
        })
    }

    fn object<'a>(&'a self, object: Signable<'a>) -> Object<'a> {
        let Signable { kind, source, key, bytes } = object;
        Object { kind, store: self.id(), source, key: key.as_str(), bytes }
    }
}

/// Each text of an object has a signature of its own: `runs/<id>-<16 digits>.sig`.
fn signature_of_these_bytes(object: &Signable<'_>) -> ObjectKey {
    let name = object.key.as_str();
    let hash = hex::encode(&Sha256::digest(object.bytes)[..8]);
    ObjectKey::trusted(format!("{}-{hash}.sig", name.strip_suffix(".json").unwrap_or(name)))
}

impl ObjectKey {
    /// Where the signature of the object lies.
    pub(crate) fn signature(&self) -> ObjectKey {
        let name = self.as_str();
        ObjectKey::trusted(format!("{}.sig", name.strip_suffix(".json").unwrap_or(name)))
    }
}
