//! A receipt as the store keeps it: `rehearsals/<id>/receipt.json`.
//!
//! Its SHA-256 over itself finds damage and edits by hand. It is no signature: who can write to the store can compute it
//! anew. The signature lies beside it, as `receipt.sig`; the report is bound by its hash.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::report::rehearsal::RehearsalReport;
use crate::schema::{FingerprintRecord, Schema, SchemaChanges};
use crate::signing::{Kind, SignedBy};
use crate::snapshot::SnapshotId;
use crate::store::{ObjectKey, Signable, Store, StoreError};

use super::super::Error;
use super::super::schema_reading::RawRecord;
use super::bound::Bound;
use super::why_not::WhyNot;

/// Version of the document.
pub(super) const SCHEMA: u32 = 1;
const OWN_HASH: &str = "sha256";

/// What `apply` needs of a rehearsal whose shadow is gone.
///
/// Without subscriptions and user mappings: a shadow has none, and their texts hold passwords.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Content {
    pub schema: u32,
    pub rehearsal: String,
    pub source: String,
    pub database: String,
    pub server_major: u32,
    pub role: String,
    pub tool_version: String,
    pub direction: String,
    pub plan_hash: String,
    /// Name and checksum of each migration, in the order of the plan.
    pub migrations: Vec<(String, String)>,
    /// Fingerprint of the starting schema, with what it was read by.
    pub starting_fingerprint: FingerprintRecord,
    /// Raw fingerprint of production when the snapshot was taken; none in receipts and of snapshots of versions that did
    /// not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starting_raw: Option<RawRecord>,
    /// Normal form before the plan.
    pub starting_schema: Schema,
    /// What the plan did to the schema.
    pub changes: SchemaChanges,
    /// Normal form after the plan.
    pub schema_after: Schema,
    /// Invalid indexes after the plan; the normal form has none.
    pub invalid_indexes: Vec<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// SHA-256 of the bytes of `report.json`.
    pub report_sha256: String,
    /// Whether the plan was also tried in one transaction; absent: in a transaction for each migration only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_transaction: bool,
    /// What else a rehearsal of a wrapped command is bound to; none of one of migrations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Bound>,
}

fn key(id: &str, name: &str) -> Result<ObjectKey, StoreError> {
    ObjectKey::new(format!("rehearsals/{id}/{name}"))
}

pub(super) fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Writes the receipt; `report.json` comes after it.
pub(super) async fn write(store: &Store, content: &Content) -> Result<(), Error> {
    let mut document = super::super::json("the receipt", content)?;
    let own = hash(document.to_string().as_bytes());
    if let Value::Object(fields) = &mut document {
        fields.insert(OWN_HASH.to_owned(), Value::String(own));
    }
    let (key, body) = (key(&content.rehearsal, "receipt.json")?, document.to_string().into_bytes());
    store.sign(Signable { kind: Kind::Receipt, source: &content.source, key: &key, bytes: &body }).await?;
    Ok(store.put(&key, body.into()).await?)
}

/// Reads a receipt whose own hash holds, and who signed it; none where nothing says whom to believe.
pub(super) async fn read(store: &Store, id: &str) -> Result<Result<(Content, Option<SignedBy>), WhyNot>, Error> {
    let Some(bytes) = get(store, id, "receipt.json").await? else {
        return Ok(Err(why_none(store, id).await?));
    };
    let content = match parse(&bytes) {
        Ok(content) => content,
        Err(why) => return Ok(Err(why)),
    };
    let key = key(id, "receipt.json")?;
    let object = Signable { kind: Kind::Receipt, source: &content.source, key: &key, bytes: &bytes };
    Ok(store.signed_by(object).await?.map(|by| (content, by)).map_err(WhyNot::Untrusted))
}

/// Reads the report that the receipt was made of.
pub(super) async fn report(store: &Store, content: &Content) -> Result<Result<RehearsalReport, WhyNot>, Error> {
    let Some(bytes) = get(store, &content.rehearsal, "report.json").await? else {
        return Ok(Err(WhyNot::Damaged("its report.json is missing".to_owned())));
    };
    if hash(&bytes) != content.report_sha256 {
        return Ok(Err(WhyNot::ReportChanged));
    }
    Ok(serde_json::from_slice(&bytes).map_err(|error| WhyNot::Damaged(format!("report.json: {error}"))))
}

/// The ids of the rehearsals in the store, newest first.
pub(super) async fn ids(store: &Store) -> Result<Vec<String>, Error> {
    let mut ids = store.list_directories("rehearsals").await?;
    ids.retain(|id| SnapshotId::parse(id).is_ok());
    ids.sort_unstable_by(|one, other| other.cmp(one));
    Ok(ids)
}

/// The snapshots on which rehearsals were made since then that left a receipt: rehearsal and snapshot.
pub async fn bases(store: &Store, since: OffsetDateTime) -> Result<Vec<(String, String)>, Error> {
    let mut found = Vec::new();
    for id in ids(store).await? {
        if SnapshotId::parse(&id).is_ok_and(|id| id.begun_at() < since) {
            break;
        }
        if store.size(&key(&id, "receipt.json")?).await?.is_none() {
            continue;
        }
        let report = get(store, &id, "report.json").await?;
        let report: Option<serde_json::Value> = report.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let snapshot = report.as_ref().and_then(|report| report["snapshot"].as_str()).map(str::to_owned);
        found.extend(snapshot.map(|snapshot| (id, snapshot)));
    }
    Ok(found)
}

async fn get(store: &Store, id: &str, name: &str) -> Result<Option<Vec<u8>>, Error> {
    match store.get(&key(id, name)?).await {
        Ok(bytes) => Ok(Some(bytes.to_vec())),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Of a failed rehearsal only the report is stored.
async fn why_none(store: &Store, id: &str) -> Result<WhyNot, Error> {
    let report = get(store, id, "report.json").await?;
    let report = report.and_then(|bytes| serde_json::from_slice::<RehearsalReport>(&bytes).ok());
    Ok(report.and_then(|report| report.failure).map_or(WhyNot::NoReceipt, WhyNot::Failed))
}

fn parse(bytes: &[u8]) -> Result<Content, WhyNot> {
    let damaged = |error: serde_json::Error| WhyNot::Damaged(error.to_string());
    let mut document: Value = serde_json::from_slice(bytes).map_err(damaged)?;
    let own = document.as_object_mut().and_then(|fields| fields.remove(OWN_HASH));
    if own.as_ref().and_then(Value::as_str) != Some(&hash(document.to_string().as_bytes())) {
        return Err(WhyNot::Damaged("its SHA-256 is another one".to_owned()));
    }
    let version = document.get("schema").and_then(Value::as_u64);
    if version != Some(u64::from(SCHEMA)) {
        let version = version.unwrap_or_default();
        return Err(WhyNot::Damaged(format!("it has version {version}, and this safe-migrate reads {SCHEMA}")));
    }
    serde_json::from_value(document).map_err(damaged)
}
