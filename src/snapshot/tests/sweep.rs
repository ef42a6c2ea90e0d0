//! What a sweep takes, and what it leaves.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use time::{Duration, OffsetDateTime};
use tokio::sync::Semaphore;

use crate::fault;
use crate::store::{ObjectInfo, ObjectStore, StoreError};

use super::*;

const LATER: Duration = Duration::days(8);

async fn publish(test: &TestStore, number: u32, blobs: &[&[u8]]) -> SnapshotId {
    publish_blobs(writer(&test.store, snapshot_id(number)).await, blobs).await.unwrap().id().clone()
}

async fn swept(test: &TestStore, now: OffsetDateTime) -> (u64, u64) {
    let found = look(&test.store, now).await.unwrap();
    let swept = sweep(&test.store, found, |_, _| ()).await.unwrap();
    (swept.removed, test.store.list("chunks").await.unwrap().len() as u64)
}

async fn is_whole(test: &TestStore, id: &SnapshotId) -> bool {
    verify(&test.store, id, Level::Hash, |_, _| ()).await.unwrap().damages.is_empty()
}

#[tokio::test]
async fn what_a_snapshot_names_stays_and_the_rest_goes() {
    let test = TestStore::new().await;
    let now = OffsetDateTime::now_utc();
    let first = publish(&test, 1, &[b"soup", b"fish"]).await;
    let second = publish(&test, 2, &[b"soup", b"cake"]).await;
    assert_eq!(swept(&test, now).await, (0, 3));

    delete(&test.store, &first).await.unwrap();
    let found = look(&test.store, now).await.unwrap();
    assert_eq!((found.chunks, found.unused(), found.unused_keys().len()), (3, 1, 1));
    assert!(found.unused_bytes() > 0 && found.unused_bytes() < found.stored_bytes);
    assert_eq!(swept(&test, now).await, (1, 2), "fish");
    assert_eq!(swept(&test, now).await, (0, 2));
    assert!(is_whole(&test, &second).await);
    assert_eq!(test.store.list("snapshots").await.unwrap().len(), 3, "one of each: manifest, keys, pending");

    let third = publish(&test, 3, &[b"fish"]).await;
    assert!(is_whole(&test, &third).await);
    delete(&test.store, &second).await.unwrap();
    delete(&test.store, &third).await.unwrap();
    assert_eq!(swept(&test, now).await, (3, 0));
}

#[tokio::test]
async fn a_snapshot_that_is_being_taken_is_left_alone_until_it_is_given_up() {
    let test = TestStore::new().await;
    let now = OffsetDateTime::now_utc();
    let slow = writer(&test.store, snapshot_id(1)).await;
    slow.put_blob(b"soup".to_vec()).await.unwrap();
    let found = look(&test.store, now).await.unwrap();
    assert_eq!((found.unused(), found.pending, found.given_up), (0, vec![snapshot_id(1)], vec![]));
    assert_eq!(swept(&test, now).await, (0, 1));

    // The sweep that gives it up removes nothing of it yet; the next one does.
    assert_eq!(swept(&test, now + LATER).await, (0, 1));
    assert_eq!(swept(&test, now + LATER).await, (1, 0));
    let error = publish_blobs(slow, &[b"soup"]).await.unwrap_err().to_string();
    assert!(error.contains("is not in the store"), "{error}");
}

#[tokio::test]
async fn a_writer_that_was_given_up_finds_out_at_its_end() {
    let test = TestStore::new().await;
    let slow = writer(&test.store, snapshot_id(1)).await;
    slow.put_blob(b"soup".to_vec()).await.unwrap();
    swept(&test, OffsetDateTime::now_utc() + LATER).await;
    let error = publish_blobs(slow, &[b"soup"]).await.unwrap_err().to_string();
    assert!(error.contains("gave it up"), "{error}");
    assert_eq!(list(&test.store).await.unwrap(), [], "its manifest is gone again");
}

#[tokio::test]
async fn what_a_snapshot_wrote_that_failed_is_swept_at_once() {
    let test = TestStore::new().await;
    let failing = writer(&test.store, snapshot_id(1)).await;
    failing.put_blob(b"soup".to_vec()).await.unwrap();
    failing.give_up().await;
    assert_eq!(swept(&test, OffsetDateTime::now_utc()).await, (1, 0));
}

#[tokio::test]
async fn a_base_that_was_forgotten_meanwhile_is_copied_while_it_is_there() {
    for swept_too in [false, true] {
        let test = TestStore::new().await;
        let base = publish(&test, 1, &[b"soup"]).await;
        let next = writer(&test.store, snapshot_id(2)).await;
        next.put_blob(b"soup".to_vec()).await.unwrap();
        assert_eq!(next.counters().reused, 1);
        delete(&test.store, &base).await.unwrap();
        if swept_too {
            swept(&test, OffsetDateTime::now_utc()).await;
            let error = publish_blobs(next, &[b"soup"]).await.unwrap_err().to_string();
            assert!(error.contains("forgotten and swept meanwhile"), "{error}");
            continue;
        }
        let published = publish_blobs(next, &[b"soup"]).await.unwrap();
        assert_eq!(swept(&test, OffsetDateTime::now_utc()).await, (1, 1));
        assert!(is_whole(&test, published.id()).await);
    }
}

#[tokio::test]
async fn a_manifest_that_cannot_be_read_keeps_its_chunks_or_stops_the_sweep() {
    let test = TestStore::new().await;
    let now = OffsetDateTime::now_utc();
    let id = publish(&test, 1, &[b"soup"]).await;
    std::fs::write(test.root().join(id.manifest_key().as_str()), "{").unwrap();
    assert_eq!(swept(&test, now).await, (0, 1));

    std::fs::remove_file(test.root().join(id.keys_key().as_str())).unwrap();
    let error = look(&test.store, now).await.unwrap_err();
    assert!(matches!(&error, SnapshotError::DamagedManifest { id: named, .. } if *named == id), "{error:?}");
}

#[tokio::test]
async fn chunks_of_format_1_stay_until_no_older_program_can_be_at_work() {
    let test = TestStore::new().await;
    let now = OffsetDateTime::now_utc();
    let chunk = ChunkKey { chunk: ChunkId::of(b"soup"), tag: None };
    test.store.put(&chunk.object(), bytes::Bytes::from_static(b"soup")).await.unwrap();
    let root = test.root().join("safe-migrate.json");
    let text = std::fs::read_to_string(&root).unwrap();
    std::fs::write(&root, text.replace("\"format\": 2", "\"format\": 1")).unwrap();
    let found = look(&test.store, now + LATER).await.unwrap();
    assert_eq!((found.unused(), found.waiting), (0, 1), "they can still write");

    let kept = publish(&test, 1, &[b"fish"]).await;
    assert!(std::fs::read_to_string(&root).unwrap().contains("\"raised_at\""));
    assert_eq!(swept(&test, now).await, (0, 2));
    assert_eq!(swept(&test, now + LATER).await, (1, 1));
    assert!(is_whole(&test, &kept).await);
}

#[tokio::test]
async fn a_check_names_what_is_wrong_and_who_needs_it() {
    let test = TestStore::new().await;
    let first = publish(&test, 1, &[b"soup", b"fish"]).await;
    let second = publish(&test, 2, &[b"soup", b"cake"]).await;
    let third = publish(&test, 3, &[b"bread"]).await;
    writer(&test.store, snapshot_id(4)).await.put_blob(b"being taken".to_vec()).await.unwrap();
    let file = |raw: &[u8]| test.file(&ChunkId::of(raw));
    let asked = |read: Option<&str>| {
        let (store, read) = (test.store.clone(), read.map(|read| read.parse().unwrap()));
        async move { check(&store, read, |_, _| ()).await.unwrap() }
    };
    let whole = asked(Some("1/1")).await;
    assert_eq!((whole.snapshots, whole.chunks, whole.read, whole.unused.0), (3, 4, 4, 1));
    assert!(whole.damages.is_empty() && whole.unreadable.is_empty(), "{whole:?}");

    let (soup, fish, cake) = (file(b"soup"), file(b"fish"), file(b"cake"));
    std::fs::remove_file(soup).unwrap();
    std::fs::write(fish, "").unwrap();
    let mut bytes = std::fs::read(&cake).unwrap();
    let last = bytes.len() - 6;
    bytes[last] ^= 1;
    std::fs::write(cake, bytes).unwrap();
    std::fs::write(test.root().join(third.manifest_key().as_str()), "{").unwrap();
    let said = |found: StoreCheck| {
        let one = |damage: StoreDamage| (damage.key.chunk, damage.reason, damage.snapshots);
        found.damages.into_iter().map(one).collect::<Vec<_>>()
    };
    let sorted = |mut expected: Vec<(ChunkId, String, Vec<SnapshotId>)>| {
        expected.sort_by_key(|one| one.0);
        expected
    };
    let missing = (ChunkId::of(b"soup"), "it is missing".to_owned(), vec![first.clone(), second.clone()]);
    let cut = |found: &[(ChunkId, String, Vec<SnapshotId>)]| {
        let found = found.iter().find(|one| one.0 == ChunkId::of(b"fish")).unwrap();
        assert!(found.1.starts_with("it has 0 bytes and should have "), "{}", found.1);
        found.clone()
    };
    let sizes = said(asked(None).await);
    assert_eq!(sizes, sorted(vec![missing.clone(), cut(&sizes)]));
    let found = asked(Some("1/1")).await;
    assert_eq!(found.unreadable.iter().map(|(id, _)| id).collect::<Vec<_>>(), [&third]);
    let read: Vec<ChunkId> = said(found).into_iter().map(|one| one.0).collect();
    assert!(read.contains(&ChunkId::of(b"cake")), "a flipped bit is seen by reading");

    // Forgotten, it is no damage any more.
    delete(&test.store, &first).await.unwrap();
    assert!(said(asked(None).await).iter().all(|one| one.2 == [second.clone()]));
}

/// One call waits at a gate: the first deletion of a chunk, or the first look at this manifest.
#[derive(Debug)]
struct Gated {
    inner: Store,
    at: &'static str,
    manifest: Option<ObjectKey>,
    reached: Semaphore,
    open: Semaphore,
}

impl Gated {
    async fn new(test: &TestStore, at: &'static str, manifest: Option<ObjectKey>) -> (Store, Arc<Self>) {
        let (inner, reached, open) = (test.store.clone(), Semaphore::new(0), Semaphore::new(0));
        let gated = Arc::new(Self { inner, at, manifest, reached, open });
        (Store::open_on(gated.clone()).await.unwrap(), gated)
    }

    async fn pass(&self, call: &str, key: &ObjectKey) {
        if call == self.at && self.manifest.as_ref().is_none_or(|manifest| manifest == key) {
            self.reached.add_permits(1);
            // Once open, for all.
            drop(self.open.acquire().await.unwrap());
        }
    }
}

#[async_trait]
impl ObjectStore for Gated {
    async fn put(&self, key: &ObjectKey, body: Bytes) -> Result<(), StoreError> {
        self.inner.put(key, body).await
    }

    async fn get_at_most(&self, key: &ObjectKey, largest: u64) -> Result<Bytes, StoreError> {
        self.pass("get", key).await;
        self.inner.get_at_most(key, largest).await
    }

    async fn size(&self, key: &ObjectKey) -> Result<Option<u64>, StoreError> {
        self.inner.size(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        self.inner.list(prefix).await
    }

    async fn list_directories(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.inner.list_directories(prefix).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.pass("delete", key).await;
        self.inner.delete(key).await
    }

    async fn any_entry(&self) -> Result<Option<String>, StoreError> {
        self.inner.any_entry().await
    }

    fn location(&self) -> String {
        self.inner.location()
    }
}

/// Sweeps a store with this safeguard off, up to the gate.
async fn swept_up_to(store: Store, gate: &Gated, off: &'static str) -> tokio::task::JoinHandle<Swept> {
    let sweeping = fault::OFF.scope(off, async move {
        let found = look(&store, OffsetDateTime::now_utc()).await.unwrap();
        sweep(&store, found, |_, _| ()).await.unwrap()
    });
    let sweeping = tokio::spawn(sweeping);
    drop(gate.reached.acquire().await.unwrap());
    sweeping
}

async fn ended(gate: &Gated, sweeping: tokio::task::JoinHandle<Swept>) -> Swept {
    gate.open.add_permits(1);
    sweeping.await.unwrap()
}

/// A base is forgotten and found unused before the snapshot that rests on it says so; it is removed after it is published.
async fn a_late_deletion_of_a_base(off: &'static str) -> bool {
    let test = TestStore::new().await;
    let base = publish(&test, 1, &[b"soup"]).await;
    let next = writer(&test.store, snapshot_id(2)).await;
    next.put_blob(b"soup".to_vec()).await.unwrap();
    assert_eq!(next.counters().reused, 1);
    delete(&test.store, &base).await.unwrap();

    let (store, gate) = Gated::new(&test, "delete", None).await;
    let sweeping = swept_up_to(store, &gate, "").await;
    let published = fault::OFF.scope(off, publish_blobs(next, &[b"soup"])).await.unwrap();
    assert_eq!(ended(&gate, sweeping).await.removed, 1);
    is_whole(&test, published.id()).await
}

/// The sweep looks at a snapshot before it says what it rests on, and at its base after that was forgotten.
async fn a_look_that_saw_neither(off: &'static str) -> bool {
    let test = TestStore::new().await;
    let base = publish(&test, 1, &[b"soup"]).await;
    let next = writer(&test.store, snapshot_id(2)).await;
    next.put_blob(b"soup".to_vec()).await.unwrap();

    let (store, gate) = Gated::new(&test, "get", Some(base.manifest_key())).await;
    let sweeping = swept_up_to(store, &gate, off).await;
    // The look at the other snapshot, which is not held up.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let published = publish_blobs(next, &[b"soup"]).await.unwrap();
    delete(&test.store, &base).await.unwrap();
    let swept = ended(&gate, sweeping).await;
    assert_eq!(swept.removed + swept.needed_again, 1, "{swept:?}");
    is_whole(&test, published.id()).await
}

/// A chunk is found unused; the same bytes are written again; the deletion arrives.
async fn a_late_deletion_of_bytes_that_came_again(off: &'static str) -> bool {
    let test = TestStore::new().await;
    let scene = async {
        let first = publish(&test, 1, &[b"soup"]).await;
        delete(&test.store, &first).await.unwrap();
        let (store, gate) = Gated::new(&test, "delete", None).await;
        let sweeping = swept_up_to(store, &gate, off).await;
        let published = publish(&test, 2, &[b"soup"]).await;
        assert_eq!(ended(&gate, sweeping).await.removed, 1);
        is_whole(&test, &published).await
    };
    fault::OFF.scope(off, scene).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_safeguard_is_needed() {
    assert!(a_late_deletion_of_a_base("").await);
    assert!(!a_late_deletion_of_a_base("off.bases-asked-again").await);
    assert!(a_look_that_saw_neither("").await);
    assert!(!a_look_that_saw_neither("off.sweep-looks-again").await);
    assert!(a_late_deletion_of_bytes_that_came_again("").await);
    assert!(!a_late_deletion_of_bytes_that_came_again("off.tags").await);
}
