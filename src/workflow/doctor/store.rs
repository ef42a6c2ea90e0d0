//! The store: there, writable, and with a snapshot to go back to.

use std::path::Path;

use bytes::Bytes;
use time::OffsetDateTime;

use crate::report::format_ago;
use crate::store::{ObjectKey, ObjectStore, Store, StoreError};
use crate::workflow::{Project, restore};

use super::check::{Check, explain};
use super::{Configuration, space};

const STORE: &str = "store";
const ACCESS: &str = "store access";
const SNAPSHOT: &str = "snapshot";

/// The store, its rights, its newest snapshot and its space.
pub(super) async fn checks(
    project: &Project,
    configuration: &Configuration,
    database_bytes: Option<u64>,
) -> Vec<Check> {
    if let Some((finding, remedy)) = &configuration.no_store {
        let mut checks = vec![Check::failed(STORE, finding, Some(remedy.clone()))];
        checks.extend([ACCESS, SNAPSHOT].map(|name| Check::not_tried(name, "a store")));
        return checks;
    }
    let directory = project.store.directory();
    let mut checks = match Store::open_if_there(&project.store).await {
        Ok(Some(store)) => {
            vec![Check::ok(STORE, store.location()), access(&*store).await, newest_snapshot(project, &store).await]
        }
        Ok(None) => vec![
            Check::ok(STORE, format!("{} is empty: the first snapshot makes a store there", project.store.url)),
            match &directory {
                Some(directory) => may_be_made(directory),
                None => Check::not_tried(ACCESS, "a store there; nothing is written into an empty bucket"),
            },
            no_snapshot(project),
        ],
        Err(error) => {
            let mut checks = vec![Check::failed(STORE, explain(&error), None)];
            checks.extend([ACCESS, SNAPSHOT].map(|name| Check::not_tried(name, "the store")));
            checks
        }
    };
    checks.extend(directory.map(|directory| {
        let remedy = "name a larger disk or a bucket in [store] url, or delete old snapshots";
        space::check("store space", &directory, database_bytes, remedy)
    }));
    checks
}

/// Writes, reads and deletes a small object.
async fn access(store: &dyn ObjectStore) -> Check {
    let nonce = format!("{:032x}", rand::random::<u128>());
    let body = Bytes::from(nonce.clone());
    let probe = async {
        let key = ObjectKey::new(format!("doctor/{nonce}"))?;
        store.put(&key, body.clone()).await?;
        let read = store.get(&key).await;
        // Also when it could not be read: it is not wanted.
        let deleted = store.delete(&key).await;
        Ok::<_, StoreError>((key, read?, deleted))
    };
    match probe.await {
        Err(error) => Check::failed(ACCESS, explain(&error), None),
        Ok((key, read, _)) if read != body => {
            let finding = format!("{}/{key} was read back with other bytes than were written", store.location());
            let remedy = "use another store: this one does not keep what it is given";
            Check::failed(ACCESS, finding, Some(remedy.to_owned()))
        }
        Ok((key, _, Err(error))) => Check::warn(
            ACCESS,
            format!("write and read work; delete does not: {}", explain(&error)),
            format!("fine for a store that is only added to; {key} is left there, and `snapshot delete` will not work"),
        ),
        Ok((_, _, Ok(()))) => Check::ok(ACCESS, "write, read and delete work"),
    }
}

fn may_be_made(directory: &Path) -> Check {
    let there = space::nearest_existing(directory);
    match rustix::fs::access(there, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK) {
        Ok(()) => Check::ok(ACCESS, format!("{} is writable", there.display())),
        Err(error) => {
            let finding = format!("{} cannot be written: {error}", there.display());
            Check::failed(ACCESS, finding, Some("correct its permissions, or name another store".to_owned()))
        }
    }
}

async fn newest_snapshot(project: &Project, store: &Store) -> Check {
    match restore::candidates(project, store).await {
        Err(error) => Check::failed(SNAPSHOT, explain(&error), None),
        Ok(snapshots) => match snapshots.first().and_then(|newest| Some((&newest.id, newest.details()?))) {
            None => no_snapshot(project),
            Some((id, details)) => {
                let age = format_ago(details.started_at, OffsetDateTime::now_utc());
                Check::ok(
                    SNAPSHOT,
                    format!("{} of source \"{}\", the newest {id}, {age}", snapshots.len(), project.source),
                )
            }
        },
    }
}

fn no_snapshot(project: &Project) -> Check {
    let finding = format!("none of source \"{}\"", project.source);
    Check::warn(SNAPSHOT, finding, "take one with `safe-migrate snapshot create`; apply takes its own")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ObjectInfo, StoreSettings};
    use crate::workflow::doctor::CheckState;

    /// A bucket whose policy refuses deletes, or one that loses what it is given.
    #[derive(Debug)]
    struct Odd {
        inner: Store,
        refuses_delete: bool,
    }

    #[async_trait::async_trait]
    impl ObjectStore for Odd {
        async fn put(&self, key: &ObjectKey, body: Bytes) -> Result<(), StoreError> {
            self.inner.put(key, body).await
        }
        async fn get_at_most(&self, key: &ObjectKey, largest: u64) -> Result<Bytes, StoreError> {
            if self.refuses_delete {
                self.inner.get_at_most(key, largest).await
            } else {
                Ok(Bytes::from_static(b"other"))
            }
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
            if !self.refuses_delete {
                return self.inner.delete(key).await;
            }
            let detail = "policy".to_owned();
            Err(StoreError::PermissionDenied { target: key.to_string(), action: "delete", detail, advice: "" })
        }
        async fn any_entry(&self) -> Result<Option<String>, StoreError> {
            self.inner.any_entry().await
        }
        fn location(&self) -> String {
            self.inner.location()
        }
    }

    async fn store(directory: &Path) -> Store {
        let url = format!("file://{}", directory.display());
        Store::open_or_create(&StoreSettings::from_url(url)).await.unwrap()
    }

    #[tokio::test]
    async fn a_store_that_works_is_left_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path()).await;
        assert_eq!(access(&*store).await.state, CheckState::Ok);
        assert_eq!(store.list("doctor").await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_refused_delete_warns_and_wrong_bytes_fail() {
        let directory = tempfile::tempdir().unwrap();
        let inner = store(directory.path()).await;
        let append_only = access(&Odd { inner: inner.clone(), refuses_delete: true }).await;
        assert_eq!(append_only.state, CheckState::Warn);
        assert!(append_only.finding.contains("delete") && append_only.remedy.unwrap().contains("doctor/"));
        let lossy = access(&Odd { inner, refuses_delete: false }).await;
        assert_eq!(lossy.state, CheckState::Failed);
    }
}
