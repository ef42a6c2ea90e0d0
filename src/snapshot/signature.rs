//! How a manifest is signed: counted, so that who takes a snapshot away leaves a gap.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::fault;
use crate::signing::{Kind, Statement};
use crate::store::{Numbered, Numbers, Signable, Store, StoreError};

use super::bases::Bases;
use super::{Manifest, SnapshotError, SnapshotId};

/// A signature that is in the store, and what remembers its number once its manifest is there too.
#[derive(Debug)]
pub(super) struct Signature {
    text: Bytes,
    numbers: Option<Numbers>,
    source: String,
    key: String,
    one: Numbered,
}

impl Signature {
    /// Signs a manifest that is about to be written; `None` where this machine has no key.
    pub(super) async fn put(
        store: &Store,
        bases: &Bases,
        manifest: &Manifest,
        bytes: &[u8],
    ) -> Result<Option<Self>, SnapshotError> {
        let Some(signer) = &store.trust().signer else { return Ok(None) };
        let (source, key) = (manifest.source.clone(), signer.public().to_string());
        let mut numbers = numbers(store).await;
        if let Some(numbers) = &mut numbers {
            settle(store, numbers, (&source, &key)).await?;
        }
        // Where nothing is remembered here, as in a container that was made anew, the store says where to go on.
        let known =
            numbers.as_ref().and_then(|numbers| numbers.last(&source, &key)).into_iter().chain(bases.signed_here());
        let last = known.max_by_key(|one| one.sequence);
        let number = (last.map_or(0, |last| last.sequence) + 1, last.map(|last| last.hash.clone()));
        let sequence = number.0;
        let object_key = manifest.id.manifest_key();
        let object = Signable { kind: Kind::Manifest, source: &source, key: &object_key, bytes };
        let text = store.signature(object, number).unwrap_or_default();
        let hash = hex::encode(Sha256::digest(&text));
        let one = Numbered { sequence, hash, snapshot: manifest.id.to_string() };
        if let Some(numbers) = &mut numbers {
            numbers.begin((&source, &key), one.clone()).map_err(|source| unwritable(store, source))?;
        }
        store.put(&object_key.signature(), text.clone()).await?;
        fault::point("snapshot.signed");
        Ok(Some(Self { text, numbers, source, key, one }))
    }

    /// The manifest is there: the signature must be too, and its number is remembered.
    pub(super) async fn remember(mut self, store: &Store, id: &SnapshotId) -> Result<(), SnapshotError> {
        if store.get(&id.manifest_key().signature()).await? != self.text {
            let reason = "its signature reads back otherwise than it was written".to_owned();
            return Err(SnapshotError::DamagedManifest { id: id.clone(), key: id.manifest_key().signature(), reason });
        }
        if let Some(numbers) = &mut self.numbers {
            numbers.is_there((&self.source, &self.key), self.one).map_err(|source| unwritable(store, source))?;
        }
        Ok(())
    }
}

/// The numbers of this machine; `None` where it cannot keep any.
async fn numbers(store: &Store) -> Option<Numbers> {
    match Numbers::lock(store.state_dir()?, store.id()).await {
        Ok(numbers) => Some(numbers),
        Err(error) => {
            tracing::warn!(%error, "the number of this snapshot's signature is not remembered on this machine");
            None
        }
    }
}

/// A program died between the signature and what it remembered: whether the snapshot came to be there says the store.
async fn settle(store: &Store, numbers: &mut Numbers, (source, key): (&str, &str)) -> Result<(), SnapshotError> {
    let Some(begun) = numbers.begun(source, key).cloned() else { return Ok(()) };
    let Ok(id) = SnapshotId::parse(&begun.snapshot) else { return Ok(()) };
    if store.size(&id.manifest_key()).await?.is_none() {
        return Ok(());
    }
    let text = match store.get(&id.manifest_key().signature()).await {
        Ok(text) => text,
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if hex::encode(Sha256::digest(&text)) == begun.hash {
        numbers.is_there((source, key), begun).map_err(|source| unwritable(store, source))?;
    }
    Ok(())
}

fn unwritable(store: &Store, source: std::io::Error) -> SnapshotError {
    let path = store.state_dir().map(|path| path.display().to_string()).unwrap_or_default();
    SnapshotError::Numbers { path, source }
}

/// Bytes of a signature at most.
const LARGEST: u64 = 16 << 10;

/// What the signature of a snapshot says, whoever made it; `None` where there is none that can be read.
pub async fn statement(store: &Store, id: &SnapshotId) -> Result<Option<Statement>, SnapshotError> {
    match store.get_at_most(&id.manifest_key().signature(), LARGEST).await {
        Ok(text) => Ok(Statement::read(&text)),
        Err(error) if error.is_not_found() || matches!(error, StoreError::Damaged { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Signs a snapshot that is there and that its owner answers for, uncounted. A signature that is there already is replaced.
pub async fn adopt(store: &Store, id: &SnapshotId) -> Result<(), SnapshotError> {
    let bytes = super::reader::manifest_bytes(store, id).await?;
    let manifest = super::sealed::unseal(id, &bytes)?;
    let key = id.manifest_key();
    let object = Signable { kind: Kind::Manifest, source: &manifest.source, key: &key, bytes: &bytes };
    Ok(store.sign(object).await?)
}
