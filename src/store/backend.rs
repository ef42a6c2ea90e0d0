//! What every backend of the store can do.

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;

use super::{ObjectKey, StoreError};

/// An object that a listing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its name.
    pub key: ObjectKey,
    /// Its size in bytes.
    pub size: u64,
}

/// Whole objects under keys: put, get, list, delete.
///
/// The same conformance suite runs on every implementation and every decorator.
#[async_trait]
pub trait ObjectStore: Send + Sync + Debug {
    /// Writes the whole object, over one that is there. A reader sees the old bytes or the new, never a part.
    async fn put(&self, key: &ObjectKey, body: Bytes) -> Result<(), StoreError>;

    /// Reads the whole object, or answers [`StoreError::NotFound`]. One that is larger than any of its kind is damage.
    async fn get(&self, key: &ObjectKey) -> Result<Bytes, StoreError> {
        self.get_at_most(key, key.largest()).await
    }

    /// The same with a bound in bytes: what lies in a store may be anybody's, and an answer may have no end. Not more than
    /// the bound is held in memory.
    async fn get_at_most(&self, key: &ObjectKey, largest: u64) -> Result<Bytes, StoreError>;

    /// Whether the object is just these bytes, by the cheapest evidence that there is: its size, what the service computed of
    /// it when it was put, or a look at all of it. `None` when it is not there.
    async fn holds(&self, key: &ObjectKey, body: &Bytes) -> Result<Option<bool>, StoreError> {
        match self.size(key).await? {
            None => Ok(None),
            Some(size) if size != body.len() as u64 => Ok(Some(false)),
            Some(size) => match self.get_at_most(key, size).await {
                Ok(found) => Ok(Some(found == *body)),
                Err(error) if error.is_not_found() => Ok(None),
                Err(StoreError::Damaged { .. }) => Ok(Some(false)),
                Err(error) => Err(error),
            },
        }
    }

    /// The size in bytes, or `None` when the object is not there.
    async fn size(&self, key: &ObjectKey) -> Result<Option<u64>, StoreError>;

    /// All objects below the directory `prefix` (`""` is the root) at any depth, sorted by key.
    ///
    /// What cannot be an object of ours (temporary files, names no key may have) is left out.
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError>;

    /// The names of the directories directly below the directory `prefix`, sorted.
    async fn list_directories(&self, prefix: &str) -> Result<Vec<String>, StoreError>;

    /// Removes the object; one that is not there is no error.
    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError>;

    /// The name of anything at all below the root, be it an object of ours or not; `None` when the root is empty.
    async fn any_entry(&self) -> Result<Option<String>, StoreError>;

    /// The address, such as `s3://bucket/prefix` or `file:///abs/dir`; never a secret.
    fn location(&self) -> String;
}
