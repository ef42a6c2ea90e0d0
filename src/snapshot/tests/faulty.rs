//! Stores and ways to them that misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use crate::store::{ObjectInfo, ObjectKey, ObjectStore, StoreError};

use super::*;

/// A store that damages the first answers to a get of a chunk, or lets nobody ask what is there.
#[derive(Debug)]
struct Faulty {
    inner: Store,
    damaged_answers: AtomicUsize,
    hides_missing: bool,
}

impl Faulty {
    fn allowed(&self, action: &'static str) -> Result<(), StoreError> {
        let (target, detail) = ("this store".to_owned(), "HTTP 403".to_owned());
        if self.hides_missing {
            return Err(StoreError::PermissionDenied { target, action, detail, advice: "" });
        }
        Ok(())
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put(&self, key: &ObjectKey, body: Bytes) -> Result<(), StoreError> {
        self.inner.put(key, body).await
    }

    async fn get_at_most(&self, key: &ObjectKey, largest: u64) -> Result<Bytes, StoreError> {
        let body = match self.inner.get_at_most(key, largest).await {
            Err(error) if error.is_not_found() => return self.allowed("read").and(Err(error)),
            result => result?,
        };
        let left = self.damaged_answers.load(Ordering::SeqCst);
        if left == 0 || !key.as_str().starts_with("chunks/") {
            return Ok(body);
        }
        self.damaged_answers.store(left - 1, Ordering::SeqCst);
        Ok(body.slice(..body.len() - 1))
    }

    async fn size(&self, key: &ObjectKey) -> Result<Option<u64>, StoreError> {
        match self.inner.size(key).await? {
            None => self.allowed("read").map(|()| None),
            size => Ok(size),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        self.allowed("list")?;
        self.inner.list(prefix).await
    }

    async fn list_directories(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.allowed("list")?;
        self.inner.list_directories(prefix).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.allowed("delete")?;
        self.inner.delete(key).await
    }

    async fn any_entry(&self) -> Result<Option<String>, StoreError> {
        self.inner.any_entry().await
    }

    fn location(&self) -> String {
        self.inner.location()
    }
}

async fn faulty(test: &TestStore, damaged_answers: usize, hides_missing: bool) -> Store {
    let damaged_answers = AtomicUsize::new(damaged_answers);
    let faulty = Faulty { inner: test.store.clone(), damaged_answers, hides_missing };
    Store::open_on(Arc::new(faulty)).await.unwrap()
}

#[tokio::test]
async fn a_chunk_damaged_on_the_way_is_read_again_once() {
    let test = TestStore::new().await;
    let snapshot = test.publish_sample().await;
    let chunk = snapshot.manifest().schema.chunks[0];
    for (damaged_answers, readable) in [(1, true), (2, false)] {
        let store = faulty(&test, damaged_answers, false).await;
        let reader = SnapshotReader::open(&store, snapshot.id()).await.unwrap();
        assert_eq!(reader.get_chunk(&chunk).await.is_ok(), readable, "{damaged_answers} damaged answers");
    }
}

#[tokio::test]
async fn writing_needs_put_and_get_only() {
    let test = TestStore::new().await;
    let store = faulty(&test, 0, true).await;
    let first = writer(&store, snapshot_id(1)).await;
    let snapshot = publish_blobs(first, &[b"PGDMP"]).await.unwrap();

    let options = WriterOptions {
        id: snapshot_id(2),
        source: "production".to_owned(),
        known: vec![snapshot_id(1), snapshot_id(7)],
        level: 1,
    };
    let again = SnapshotWriter::begin(store, options).await.unwrap();
    let second = publish_blobs(again.clone(), &[b"PGDMP"]).await.unwrap();
    assert_eq!((snapshot.manifest().totals.chunks, again.counters().reused), (1, 1));
    assert_eq!(snapshot.manifest().stored, second.manifest().stored);
}
