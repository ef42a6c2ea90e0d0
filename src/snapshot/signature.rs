//! How a manifest is signed: counted, so that who takes a snapshot away leaves a gap.

use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::fault;
use crate::signing::{Kind, Statement};
use crate::store::{Numbered, Numbers, ObjectKey, Signable, Store, StoreError};

use super::bases::Bases;
use super::pending::is_gone;
use super::{Manifest, SnapshotError, SnapshotId};

/// The signature is put, and the manifest after it: so long another program of this user waits at most.
const PATIENCE: Duration = Duration::from_secs(60);

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
        let remembered = numbers.as_ref().and_then(|numbers| numbers.last(&source, &key)).cloned();
        let in_store = match remembered {
            Some(_) => None,
            None => newest_in_store(store, &source, &key).await?,
        };
        let known = remembered.iter().chain(&in_store).chain(bases.signed_here());
        let last = known.max_by_key(|one| one.sequence);
        let number = (
            last.map_or(0, |last| last.sequence) + 1,
            last.map(|last| last.hash.clone()).filter(|hash| !hash.is_empty()),
        );
        let sequence = number.0;
        let object_key = manifest.id.manifest_key();
        let object = Signable { kind: Kind::Manifest, source: &source, key: &object_key, bytes };
        let text = store.signature(object, number).unwrap_or_default();
        let hash = hex::encode(Sha256::digest(&text));
        let one = Numbered { sequence, hash, snapshot: manifest.id.to_string() };
        if let Some(numbers) = &mut numbers {
            warn_of(numbers.begin((&source, &key), one.clone()));
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
            warn_of(numbers.is_there((&self.source, &self.key), self.one));
        }
        Ok(())
    }
}

/// The numbers of this machine; `None` where it cannot keep any.
async fn numbers(store: &Store) -> Option<Numbers> {
    match Numbers::lock(store.state_dir()?, store.id(), PATIENCE).await {
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
    // One that was forgotten since was there too.
    let tombstone = ObjectKey::trusted(format!("tombstones/{id}.json"));
    if store.size(&tombstone).await?.is_some() {
        warn_of(numbers.is_there((source, key), begun));
        return Ok(());
    }
    if store.size(&id.manifest_key()).await?.is_none() {
        return Ok(());
    }
    let text = match store.get(&id.manifest_key().signature()).await {
        Ok(text) => text,
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if hex::encode(Sha256::digest(&text)) == begun.hash {
        warn_of(numbers.is_there((source, key), begun));
    }
    Ok(())
}

/// A full disk here stops no snapshot.
fn warn_of(written: std::io::Result<()>) {
    if let Err(error) = written {
        tracing::warn!(%error, "the number of this snapshot's signature is not remembered on this machine");
    }
}

/// The newest number that this key gave for a source, by all that the store has: manifests and tombstones.
async fn newest_in_store(store: &Store, source: &str, key: &str) -> Result<Option<Numbered>, SnapshotError> {
    let mut newest: Option<Numbered> = None;
    let mut consider = |one: Numbered| {
        if newest.as_ref().is_none_or(|newest| newest.sequence < one.sequence) {
            newest = Some(one);
        }
    };
    let names = match store.list_directories("snapshots").await {
        Err(StoreError::PermissionDenied { .. }) => Vec::new(),
        result => result?,
    };
    for id in names.into_iter().filter_map(|name| SnapshotId::parse(&name).ok()) {
        let of_it = |one: &Statement| one.key.to_string() == key && one.source == source && is_of(store, &id, one);
        if let Some((one, hash)) = read_statement(store, &id).await?.filter(|(one, _)| of_it(one)) {
            consider(Numbered { sequence: one.sequence, hash, snapshot: id.to_string() });
        }
    }
    let tombstones = match store.list("tombstones").await {
        Err(StoreError::PermissionDenied { .. }) => Vec::new(),
        result => result?,
    };
    for object in tombstones.into_iter().filter(|object| object.key.as_str().ends_with(".json")) {
        let Ok(body) = store.get(&object.key).await else { continue };
        let Ok(said) = serde_json::from_slice::<serde_json::Value>(&body) else { continue };
        if said["key"] == key && said["source"] == source {
            // Whoever wrote it: a number that is too high leaves a gap that is asked about.
            let sequence = said["sequence"].as_u64().filter(|number| *number < FAR).unwrap_or_default();
            consider(Numbered { sequence, hash: String::new(), snapshot: String::new() });
        }
    }
    Ok(newest)
}

/// No key signs so many manifests: whoever writes a number into the store cannot make the next one overflow.
const FAR: u64 = 1 << 48;

/// Whether a signature is of this snapshot in this store: one that was copied from another says nothing of it.
fn is_of(store: &Store, id: &SnapshotId, statement: &Statement) -> bool {
    statement.store == store.id() && statement.object == id.manifest_key().as_str() && statement.sequence < FAR
}

/// Bytes of a signature at most.
const LARGEST: u64 = 16 << 10;

/// What the signature of a snapshot says, whoever made it; `None` where there is none that can be read and is of it.
pub async fn statement(store: &Store, id: &SnapshotId) -> Result<Option<Statement>, SnapshotError> {
    let read = read_statement(store, id).await?;
    Ok(read.map(|(statement, _)| statement).filter(|statement| is_of(store, id, statement)))
}

/// The same, whatever it is of, with the hash of its text.
async fn read_statement(store: &Store, id: &SnapshotId) -> Result<Option<(Statement, String)>, SnapshotError> {
    match store.get_at_most(&id.manifest_key().signature(), LARGEST).await {
        Ok(text) => Ok(Statement::read(&text).map(|statement| (statement, hex::encode(Sha256::digest(&text))))),
        Err(error) if is_gone(&error) || matches!(error, StoreError::Damaged { .. } | StoreError::Io { .. }) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Signs a snapshot that its owner answers for, uncounted, as it was when they looked at it. A signature that is there
/// already is replaced.
pub async fn adopt(store: &Store, id: &SnapshotId, manifest_sha256: &str) -> Result<(), SnapshotError> {
    let bytes = super::reader::manifest_bytes(store, id).await?;
    if hex::encode(Sha256::digest(&bytes)) != manifest_sha256 {
        let reason = "it was exchanged while it was being signed".to_owned();
        return Err(SnapshotError::DamagedManifest { id: id.clone(), key: id.manifest_key(), reason });
    }
    let manifest = super::sealed::unseal(id, &bytes)?;
    let key = id.manifest_key();
    let object = Signable { kind: Kind::Manifest, source: &manifest.source, key: &key, bytes: &bytes };
    Ok(store.sign(object).await?)
}
