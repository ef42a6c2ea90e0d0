//! A store whose `safe-migrate.json` was read: it is one of ours, in a format that this version knows.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::known_stores;
use super::local::LocalStore;
use super::retry::{RetryPolicy, Retrying};
use super::s3::S3Store;
use super::settings::Place;
use super::{ObjectKey, ObjectStore, StoreError, StoreSettings};
use crate::signing::Trust;

const ROOT_KEY: &str = "safe-migrate.json";
/// What this version writes, and the newest that it reads.
const FORMAT: u32 = 2;
const CHUNK_ID: &str = "sha256";
const END_OF_TIME: OffsetDateTime = time::macros::datetime!(9999-12-31 23:59:59 UTC);
const NOT_MADE_YET: &str = "check the address; the first `safe-migrate snapshot create` makes the store";

/// An opened store. Cheap to clone; the operations of [`ObjectStore`] are called on it, with retries.
#[derive(Clone, Debug)]
pub struct Store {
    backend: Arc<dyn ObjectStore>,
    id: Arc<str>,
    trust: Arc<Trust>,
    /// Where what is known of the store outside of it lies.
    state_dir: Option<Arc<Path>>,
}

impl Deref for Store {
    type Target = dyn ObjectStore;

    fn deref(&self) -> &Self::Target {
        self.backend.as_ref()
    }
}

/// The text of `safe-migrate.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Root {
    format: u32,
    features: Vec<String>,
    store_id: String,
    chunk_id: String,
    /// When the first snapshot of the present format was begun, in a store that began with an older one.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    raised_at: Option<OffsetDateTime>,
}

impl Store {
    /// Opens the store at the configured place. A place without a store is [`StoreError::NotAStore`].
    pub async fn open(settings: &StoreSettings) -> Result<Self, StoreError> {
        let backend = match settings.place()? {
            Place::Directory(path) => {
                let local = LocalStore::new(path);
                if !local.root_exists().await? {
                    return Err(not_a_store(&local, "there is no such directory", NOT_MADE_YET));
                }
                retrying(local)
            }
            Place::Bucket { bucket, prefix } => retrying(S3Store::connect(settings, &bucket, &prefix).await?),
        };
        Self::open_on(backend).await?.of(settings)
    }

    /// Opens the store, or makes one where there is nothing at all.
    ///
    /// A place that holds anything else is left alone ([`StoreError::NotAStore`]). A bucket is never created.
    pub async fn open_or_create(settings: &StoreSettings) -> Result<Self, StoreError> {
        let backend = match settings.place()? {
            Place::Directory(path) => {
                let local = LocalStore::new(path);
                if !local.root_exists().await? || local.any_entry().await?.is_none() {
                    local.create_root().await?;
                }
                retrying(local)
            }
            Place::Bucket { bucket, prefix } => retrying(S3Store::connect(settings, &bucket, &prefix).await?),
        };
        Self::open_or_create_on(backend).await?.of(settings)
    }

    /// Opens the store that is there, and makes none: `None` where [`Store::open_or_create`] would make one.
    pub async fn open_if_there(settings: &StoreSettings) -> Result<Option<Self>, StoreError> {
        let backend = match settings.place()? {
            Place::Directory(path) => {
                let local = LocalStore::new(path);
                if !local.root_exists().await? {
                    return Ok(None);
                }
                retrying(local)
            }
            Place::Bucket { bucket, prefix } => retrying(S3Store::connect(settings, &bucket, &prefix).await?),
        };
        if read_root(backend.as_ref()).await?.is_none() && backend.any_entry().await?.is_none() {
            return Ok(None);
        }
        Ok(Some(Self::open_on(backend).await?.of(settings)?))
    }

    fn of(mut self, settings: &StoreSettings) -> Result<Self, StoreError> {
        self.trust = Arc::new(settings.trust.clone());
        self.state_dir = settings.state_dir.as_deref().map(Arc::from);
        let (trust, location) = (&self.trust, self.location());
        if let Some(directory) = self.state_dir.as_deref().filter(|_| trust.is_set()) {
            let accepted = trust.accept_unsigned.is_some();
            if let Some(known) = known_stores::other_before(directory, &location, &self.id, accepted) {
                return Err(StoreError::OtherStore { location, known, found: self.id.to_string() });
            }
        }
        Ok(self)
    }

    /// The keys that count here, and the one that signs.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Where what this user knows of the store outside of it lies.
    pub fn state_dir(&self) -> Option<&Path> {
        self.state_dir.as_deref()
    }

    /// The id that the store was given when it was made: 32 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key of `safe-migrate.json`, which holds that id.
    pub fn root_key() -> ObjectKey {
        root_key()
    }

    /// Makes older programs refuse the store from now on: what is written next, they would misunderstand. The rest stays as it
    /// is, and is read as before.
    pub(crate) async fn raise_format(&self, now: OffsetDateTime) -> Result<(), StoreError> {
        match self.root().await? {
            root if root.format == FORMAT => Ok(()),
            root => {
                let raised = Root { format: FORMAT, raised_at: Some(now), ..root };
                self.backend.put(&root_key(), raised.to_bytes()).await
            }
        }
    }

    /// Since when programs of older formats refuse the store, where there may have been some: they are at work a while yet.
    /// Answers `None` for a store that they could never write to, and the end of time for one that they still can.
    pub(crate) async fn closed_to_older_since(&self) -> Result<Option<OffsetDateTime>, StoreError> {
        let root = self.root().await?;
        Ok(if root.format < FORMAT { Some(END_OF_TIME) } else { root.raised_at })
    }

    async fn root(&self) -> Result<Root, StoreError> {
        let missing = || not_a_store(self.backend.as_ref(), &format!("it has no {ROOT_KEY}"), NOT_MADE_YET);
        read_root(self.backend.as_ref()).await?.ok_or_else(missing)
    }

    pub(crate) async fn open_on(backend: Arc<dyn ObjectStore>) -> Result<Self, StoreError> {
        match read_root(backend.as_ref()).await? {
            Some(root) => {
                let (id, trust) = (root.store_id.into(), Arc::default());
                Ok(Self { backend, id, trust, state_dir: None })
            }
            None => Err(not_a_store(backend.as_ref(), &format!("it has no {ROOT_KEY}"), NOT_MADE_YET)),
        }
    }

    pub(crate) async fn open_or_create_on(backend: Arc<dyn ObjectStore>) -> Result<Self, StoreError> {
        if read_root(backend.as_ref()).await?.is_none() {
            if let Some(entry) = backend.any_entry().await? {
                let reason = format!("it holds `{entry}` and no {ROOT_KEY}");
                return Err(not_a_store(backend.as_ref(), &reason, "name an empty or a new place"));
            }
            backend.put(&root_key(), Root::new().to_bytes()).await?;
        }
        // Read back: of two that create at once, the last one's id is everybody's.
        Self::open_on(backend).await
    }
}

impl Root {
    fn new() -> Self {
        let store_id = format!("{:032x}", rand::random::<u128>());
        Self { format: FORMAT, features: Vec::new(), store_id, chunk_id: CHUNK_ID.to_owned(), raised_at: None }
    }

    fn to_bytes(&self) -> Bytes {
        // These fields are text, numbers and a time: they are always written.
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        Bytes::from(format!("{text}\n"))
    }

    /// What no version ever wrote, if anything.
    fn nonsense(&self) -> Option<String> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if self.format == 0 {
            Some("there is no format 0".to_owned())
        } else if self.format <= FORMAT && !(self.store_id.len() == 32 && self.store_id.bytes().all(is_digit)) {
            Some(format!("`{}` is no id of a store (32 hexadecimal digits)", self.store_id))
        } else {
            None
        }
    }

    /// What this version cannot do with the store, if anything.
    fn needs_newer(&self) -> Option<String> {
        if self.format > FORMAT {
            Some(format!("has format {}", self.format))
        } else if let Some(feature) = self.features.first() {
            Some(format!("uses the feature `{feature}`"))
        } else if self.chunk_id != CHUNK_ID {
            Some(format!("names chunks by `{}`", self.chunk_id))
        } else {
            None
        }
    }
}

fn root_key() -> ObjectKey {
    ObjectKey::trusted(ROOT_KEY.to_owned())
}

fn retrying(backend: impl ObjectStore + 'static) -> Arc<dyn ObjectStore> {
    Arc::new(Retrying::new(Arc::new(backend), RetryPolicy::default()))
}

fn not_a_store(backend: &dyn ObjectStore, reason: &str, advice: &'static str) -> StoreError {
    StoreError::NotAStore { location: backend.location(), reason: reason.to_owned(), advice }
}

async fn read_root(backend: &dyn ObjectStore) -> Result<Option<Root>, StoreError> {
    let body = match backend.get(&root_key()).await {
        Ok(body) => body,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let (location, key) = (backend.location(), ROOT_KEY.to_owned());
    let root: Root = match serde_json::from_slice(&body) {
        Ok(root) => root,
        Err(error) => return Err(StoreError::Damaged { location, key, reason: error.to_string() }),
    };
    if let Some(reason) = root.nonsense() {
        return Err(StoreError::Damaged { location, key, reason });
    }
    match root.needs_newer() {
        Some(needs) => {
            let supports = format!("(safe-migrate {}) reads format {FORMAT}", env!("CARGO_PKG_VERSION"));
            Err(StoreError::NewerFormat { location, key, needs, supports })
        }
        None => Ok(Some(root)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn settings(path: &Path) -> StoreSettings {
        StoreSettings::from_url(format!("file://{}", path.display()))
    }

    async fn with_root(text: &str) -> Result<Store, StoreError> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(ROOT_KEY), text).unwrap();
        Store::open_or_create(&settings(directory.path())).await
    }

    #[tokio::test]
    async fn a_new_store_is_found_again_by_its_id() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(&directory.path().join("new/store"));
        assert!(matches!(Store::open(&settings).await, Err(StoreError::NotAStore { .. })));
        assert!(Store::open_if_there(&settings).await.unwrap().is_none());
        assert!(!directory.path().join("new").exists());

        let created = Store::open_or_create(&settings).await.unwrap();
        assert_eq!(created.id().len(), 32);
        assert_eq!(Store::open(&settings).await.unwrap().id(), created.id());
        assert_eq!(Store::open_if_there(&settings).await.unwrap().unwrap().id(), created.id());
        assert_eq!(Store::open_or_create(&settings).await.unwrap().id(), created.id());
    }

    #[tokio::test]
    async fn a_directory_with_other_things_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("notes of mine.txt"), "").unwrap();
        let error = Store::open_or_create(&settings(directory.path())).await.unwrap_err().to_string();

        assert!(error.contains("notes of mine.txt"), "{error}");
        let error = Store::open_if_there(&settings(directory.path())).await.unwrap_err();
        assert!(matches!(error, StoreError::NotAStore { .. }), "{error}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_file_is_no_store() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Store::open_or_create(&settings(file.path())).await.unwrap_err();
        assert!(matches!(&error, StoreError::NotAStore { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn what_a_newer_version_wrote_is_refused_by_name() {
        for (text, needs) in [
            (r#"{"format":3,"features":[],"store_id":"ID","chunk_id":"sha256"}"#, "format 3"),
            (r#"{"format":1,"features":["encrypted"],"store_id":"ID","chunk_id":"sha256"}"#, "`encrypted`"),
            (r#"{"format":1,"features":[],"store_id":"ID","chunk_id":"keyed"}"#, "`keyed`"),
        ] {
            let error = with_root(&text.replace("ID", &"0".repeat(32))).await.unwrap_err();
            assert!(matches!(error, StoreError::NewerFormat { .. }), "{error:?}");
            let message = error.to_string();
            assert!(message.contains(needs) && message.contains("reads format 2"), "{message}");
        }
    }

    #[tokio::test]
    async fn a_broken_root_is_damage_and_never_overwritten() {
        assert!(matches!(with_root(r#"{"format":1,"#).await, Err(StoreError::Damaged { .. })));
        assert!(matches!(with_root("").await, Err(StoreError::Damaged { .. })));
        for (format, id) in [(0, "0".repeat(32)), (1, "0".repeat(31)), (1, "G".repeat(32))] {
            let text = format!(r#"{{"format":{format},"features":[],"store_id":"{id}","chunk_id":"sha256"}}"#);
            let error = with_root(&text).await.unwrap_err();
            assert!(matches!(error, StoreError::Damaged { .. }), "{text}: {error:?}");
        }
    }
}
