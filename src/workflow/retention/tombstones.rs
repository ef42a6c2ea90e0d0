//! Snapshots that were forgotten on purpose: `tombstones/<id>.json`, signed. Without one, a missing number is a question.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::signing::{Kind, May, PublicKey};
use crate::snapshot::{self, SnapshotId};
use crate::store::{ObjectKey, Signable, Store};

use super::super::{Error, Gate, Project};

/// That a snapshot was forgotten, and the number that its signature had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tombstone {
    pub(super) snapshot: String,
    pub(super) source: String,
    pub(super) key: PublicKey,
    pub(super) sequence: u64,
    pub(super) by: String,
    /// Why, where it was lost and not forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub(super) at: OffsetDateTime,
}

fn key(id: &SnapshotId) -> Result<ObjectKey, Error> {
    Ok(ObjectKey::new(format!("tombstones/{id}.json"))?)
}

/// Refuses to forget where the result could not be told from a theft.
fn refuse_unsigned(store: &Store, source: &str) -> Result<(), Error> {
    let trust = store.trust();
    let may_forget = trust.own().is_some_and(|own| {
        let for_source = own.sources.is_empty() || own.sources.contains(source);
        own.may.contains(&May::Forget) && for_source && own.only.is_none()
    });
    if !trust.is_set() || trust.accept_unsigned.is_some() || may_forget {
        return Ok(());
    }
    Err(Gate::CannotSign {
        message: format!(
            "[trust] is set, and this machine has no key that may forget for source \"{source}\": nobody could tell what is \
             removed here from what somebody takes away"
        ),
        hint: "forget on a machine that has one (`safe-migrate store keys`), or give --accept-unsigned WHY".to_owned(),
    }
    .into())
}

/// Says that a snapshot is about to be forgotten, when its signature has a number.
pub async fn put(project: &Project, store: &Store, id: &SnapshotId) -> Result<(), Error> {
    let Some(signed) = snapshot::statement(store, id).await? else { return Ok(()) };
    if signed.sequence == 0 {
        return Ok(());
    }
    let by = format!("{}@{}", project.actor.user, project.actor.host);
    let (source, key, sequence) = (signed.source, signed.key, signed.sequence);
    let tombstone =
        Tombstone { snapshot: id.to_string(), source, key, sequence, by, why: None, at: OffsetDateTime::now_utc() };
    write(store, id, &tombstone).await
}

/// Says that what a key signed under this number is lost, and why: nobody asks after it any more.
pub async fn lost(
    store: &Store,
    (source, key, sequence): (&str, PublicKey, u64),
    (by, why): (String, String),
) -> Result<(), Error> {
    let at = OffsetDateTime::now_utc();
    // Of which snapshot it was is not known.
    let id = SnapshotId::generate(at);
    let (snapshot, source) = (id.to_string(), source.to_owned());
    write(store, &id, &Tombstone { snapshot, source, key, sequence, by, why: Some(why), at }).await
}

async fn write(store: &Store, id: &SnapshotId, tombstone: &Tombstone) -> Result<(), Error> {
    refuse_unsigned(store, &tombstone.source)?;
    let body = serde_json::to_vec_pretty(tombstone)
        .map_err(|source| Error::Json { what: "cannot write that a snapshot is forgotten".to_owned(), source })?;
    let key = key(id)?;
    store.sign(Signable { kind: Kind::Tombstone, source: &tombstone.source, key: &key, bytes: &body }).await?;
    Ok(store.put(&key, body.into()).await?)
}

/// Every tombstone of the store that is believed.
pub(super) async fn all(store: &Store) -> Result<Vec<Tombstone>, Error> {
    let mut found = Vec::new();
    for object in store.list("tombstones").await? {
        if !object.key.as_str().ends_with(".json") {
            continue;
        }
        // One that cannot be read excuses nothing, and stops nothing.
        let Ok(body) = store.get(&object.key).await else { continue };
        let Ok(tombstone) = serde_json::from_slice::<Tombstone>(&body) else { continue };
        if object.key.as_str() != format!("tombstones/{}.json", tombstone.snapshot) {
            continue;
        }
        let object = Signable { kind: Kind::Tombstone, source: &tombstone.source, key: &object.key, bytes: &body };
        if store.signed_by(object).await?.is_ok() {
            found.push(tombstone);
        }
    }
    Ok(found)
}

/// The snapshots that were forgotten, as far as that is believed: one that is there again was put back by somebody.
pub async fn forgotten(store: &Store) -> Result<BTreeSet<String>, Error> {
    if !store.trust().is_set() {
        return Ok(BTreeSet::new());
    }
    Ok(all(store).await?.into_iter().map(|tombstone| tombstone.snapshot).collect())
}
