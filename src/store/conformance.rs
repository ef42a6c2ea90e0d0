//! One suite for every backend and decorator, and an S3 service in this process to run it on.

use std::path::Path;
use std::sync::Arc;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::config::{Credentials, Region, SharedCredentialsProvider};
use bytes::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;

use super::local::LocalStore;
use super::retry::{RetryPolicy, Retrying};
use super::s3::S3Store;
use super::{ObjectKey, ObjectStore, Store, StoreError, StoreSettings};

/// What every store must do. It begins empty.
async fn conforms(store: &dyn ObjectStore) {
    missing_objects(store).await;
    round_trips(store).await;
    listings(store).await;
    deletes(store).await;
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name).unwrap()
}

async fn put(store: &dyn ObjectStore, name: &str, body: &'static [u8]) {
    store.put(&key(name), Bytes::from_static(body)).await.unwrap();
}

async fn missing_objects(store: &dyn ObjectStore) {
    let error = store.get(&key("chunks/00/00")).await.unwrap_err();
    assert!(error.is_not_found() && error.to_string().contains("chunks/00/00"), "{error:?}");
    assert!(error.to_string().contains(&store.location()), "{error}");
    assert_eq!(store.size(&key("chunks/00/00")).await.unwrap(), None);
    assert_eq!(store.list("").await.unwrap(), []);
    assert_eq!(store.list("chunks").await.unwrap(), []);
    assert!(store.list_directories("snapshots").await.unwrap().is_empty());
    assert_eq!(store.any_entry().await.unwrap(), None);
    store.delete(&key("chunks/00/00")).await.unwrap();
}

async fn round_trips(store: &dyn ObjectStore) {
    let big: Bytes = (0..5_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    store.put(&key("chunks/ab/ab12"), big.clone()).await.unwrap();
    assert_eq!(store.size(&key("chunks/ab/ab12")).await.unwrap(), Some(5_000_000));
    assert!(store.get(&key("chunks/ab/ab12")).await.unwrap() == big);

    put(store, "chunks/ab/ab12", b"replaced").await;
    assert_eq!(store.get(&key("chunks/ab/ab12")).await.unwrap(), "replaced");
    put(store, "runs/empty.json", b"").await;
    assert_eq!(store.size(&key("runs/empty.json")).await.unwrap(), Some(0));
    assert_eq!(store.get(&key("runs/empty.json")).await.unwrap(), "");
    assert!(store.any_entry().await.unwrap().is_some());
}

async fn listings(store: &dyn ObjectStore) {
    put(store, "snapshots/b/manifest.json", b"{}").await;
    put(store, "snapshots/a/manifest.json", b"{ }").await;
    put(store, "snapshots-old/c", b"").await;
    let keys = |found: Vec<super::ObjectInfo>| {
        found.into_iter().map(|object| format!("{} {}", object.key, object.size)).collect::<Vec<_>>()
    };
    let snapshots = ["snapshots/a/manifest.json 3", "snapshots/b/manifest.json 2"];
    assert_eq!(keys(store.list("snapshots").await.unwrap()), snapshots);
    assert_eq!(keys(store.list("snapshots/").await.unwrap()), snapshots);
    assert_eq!(store.list("").await.unwrap().len(), 5);
    assert_eq!(store.list_directories("snapshots").await.unwrap(), ["a", "b"]);
    assert_eq!(store.list_directories("").await.unwrap(), ["chunks", "runs", "snapshots", "snapshots-old"]);
}

async fn deletes(store: &dyn ObjectStore) {
    store.delete(&key("snapshots/a/manifest.json")).await.unwrap();
    store.delete(&key("snapshots/a/manifest.json")).await.unwrap();
    assert!(store.get(&key("snapshots/a/manifest.json")).await.unwrap_err().is_not_found());
    assert_eq!(store.list("snapshots").await.unwrap().len(), 1);
}

/// Serves the directories of `root` as buckets, and answers its address.
async fn serve_s3(root: &Path) -> String {
    let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).unwrap());
    service.set_auth(SimpleAuth::from_single("AKIATEST", "the-secret-key"));
    let service = service.build();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    format!("http://{address}")
}

fn s3(endpoint: &str, bucket: &str, secret: &str) -> S3Store {
    let credentials = Credentials::new("AKIATEST", secret, None, None, "test");
    let sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build();
    let settings =
        StoreSettings { endpoint: Some(endpoint.to_owned()), path_style: true, ..StoreSettings::from_url("s3://x") };
    S3Store::with_sdk_config(&sdk, &settings, bucket, "shop/prod")
}

#[tokio::test]
async fn local_conforms() {
    let root = tempfile::tempdir().unwrap();
    conforms(&LocalStore::new(root.path().join("store"))).await;
}

#[tokio::test]
async fn retrying_conforms() {
    let root = tempfile::tempdir().unwrap();
    let local = Arc::new(LocalStore::new(root.path().join("store")));
    conforms(&Retrying::new(local, RetryPolicy::without_waiting())).await;
}

#[tokio::test]
async fn s3_conforms() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("backups")).unwrap();
    let endpoint = serve_s3(root.path()).await;
    conforms(&s3(&endpoint, "backups", "the-secret-key")).await;
}

#[tokio::test]
async fn a_store_is_created_and_found_on_s3() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("backups")).unwrap();
    let store = s3(&serve_s3(root.path()).await, "backups", "the-secret-key");
    assert!(matches!(Store::open_on(Arc::new(store.clone())).await, Err(StoreError::NotAStore { .. })));
    let created = Store::open_or_create_on(Arc::new(store.clone())).await.unwrap();
    assert_eq!(Store::open_on(Arc::new(store)).await.unwrap().id(), created.id());
    assert_eq!(created.location(), "s3://backups/shop/prod");
}

#[tokio::test]
async fn s3_errors_say_what_is_wrong_and_no_secret() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("backups")).unwrap();
    let endpoint = serve_s3(root.path()).await;
    let root_key = key("safe-migrate.json");

    let wrong_key = s3(&endpoint, "backups", "another-secret").put(&root_key, Bytes::new()).await.unwrap_err();
    assert!(matches!(&wrong_key, StoreError::PermissionDenied { .. }), "{wrong_key:?}");
    assert!(!format!("{wrong_key} {wrong_key:?}").contains("another-secret"));

    // s3s-fs makes a missing bucket on put, so the question is a listing.
    let no_bucket = s3(&endpoint, "nowhere", "the-secret-key").any_entry().await.unwrap_err();
    assert!(matches!(&no_bucket, StoreError::NoSuchBucket { bucket, .. } if bucket == "nowhere"), "{no_bucket:?}");
}

#[tokio::test]
async fn a_refused_connection_is_told_in_seconds() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let store = Retrying::new(Arc::new(s3(&endpoint, "backups", "k")), RetryPolicy::default());
    let started = std::time::Instant::now();
    let error = store.get(&key("safe-migrate.json")).await.unwrap_err();

    assert!(matches!(&error, StoreError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&endpoint), "{error}");
    assert!(started.elapsed() < std::time::Duration::from_secs(8), "{:?}", started.elapsed());
}
