//! Every kind of damage is found, named by table and object, and hides nothing else.

use super::*;

async fn damages(test: &TestStore, id: &SnapshotId, level: Level) -> Vec<String> {
    let report = verify(&test.store, id, level, |_, _| ()).await.unwrap();
    let found: Vec<String> = report.damages.iter().map(ToString::to_string).collect();
    assert_eq!(report.into_verified().is_ok(), found.is_empty());
    found
}

/// A chunk that only the long table has.
fn chunk_of_item(snapshot: &VerifiedSnapshot, index: usize) -> ChunkId {
    snapshot.manifest().tables[2].segments[index].chunk
}

#[tokio::test]
async fn a_whole_snapshot_has_none() {
    let test = TestStore::new().await;
    let snapshot = test.publish_sample().await;
    let told = std::sync::Mutex::new(Vec::new());
    let report =
        verify(&test.store, snapshot.id(), Level::Hash, |done, total| told.lock().unwrap().push((done, total)));
    let report = report.await.unwrap();

    assert_eq!(report.damages, []);
    let total = snapshot.manifest().totals.chunks;
    assert_eq!(told.into_inner().unwrap(), (1..=total).map(|done| (done, total)).collect::<Vec<_>>());
    let verified = report.into_verified().unwrap();
    assert_eq!((verified.manifest(), verified.level()), (snapshot.manifest(), Level::Hash));
    assert_eq!(damages(&test, snapshot.id(), Level::Exists).await, [] as [&str; 0]);
}

#[tokio::test]
async fn flipped_and_truncated_chunks_are_found_by_hash() {
    let test = TestStore::new().await;
    let snapshot = test.publish_sample().await;
    let (flipped, cut) = (chunk_of_item(&snapshot, 1), chunk_of_item(&snapshot, 2));
    let mut bytes = std::fs::read(test.file(&flipped)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(test.file(&flipped), bytes).unwrap();
    let bytes = std::fs::read(test.file(&cut)).unwrap();
    std::fs::write(test.file(&cut), &bytes[..bytes.len() - 5]).unwrap();

    let found = damages(&test, snapshot.id(), Level::Hash).await;
    assert_eq!(found.len(), 2, "{found:?}");
    for chunk in [flipped, cut] {
        assert!(found.iter().any(|text| text.contains(test.key(&chunk).as_str()) && text.contains("table menu.item")));
        let reader = SnapshotReader::open(&test.store, snapshot.id()).await.unwrap();
        assert!(matches!(reader.get_chunk(&chunk).await, Err(SnapshotError::DamagedChunk { .. })));
    }
}

#[tokio::test]
async fn a_missing_chunk_is_found_and_names_all_that_need_it() {
    let test = TestStore::new().await;
    let snapshot = test.publish_sample().await;
    let shared = snapshot.manifest().tables[0].segments[0].chunk;
    let shared_key = test.key(&shared);
    std::fs::remove_file(test.file(&shared)).unwrap();
    let schema = snapshot.manifest().schema.chunks[0];
    std::fs::write(test.file(&schema), "").unwrap();

    for level in [Level::Exists, Level::Hash] {
        let found = damages(&test, snapshot.id(), level).await.join("\n");
        let expected =
            format!("{}: it is missing (needed by table menu.drink, table menu.side, table menu.item)", shared_key);
        assert!(found.contains(&expected), "{found}");
        assert!(found.contains(test.key(&schema).as_str()) && found.contains("the schema archive"), "{found}");
    }
}

#[tokio::test]
async fn the_parts_together_find_each_damaged_chunk_once_and_prove_nothing_of_the_whole() {
    let test = TestStore::new().await;
    let snapshot = test.publish_sample().await;
    let all = snapshot.manifest().chunks();
    let (cut, missing) = (chunk_of_item(&snapshot, 1), snapshot.manifest().schema.chunks[0]);
    let part = |text: String| {
        let (store, id) = (&test.store, snapshot.id());
        async move { verify_sample(store, id, Level::Hash, text.parse().unwrap(), |_, _| ()).await.unwrap() }
    };
    let partly = part("1/2".to_owned()).await;
    assert_eq!(partly.damages, []);
    assert!(matches!(partly.into_verified(), Err(SnapshotError::PartlyVerified { .. })));
    assert!(part("1/1".to_owned()).await.into_verified().is_ok());

    let (cut_key, missing_key) = (test.key(&cut), test.key(&missing));
    std::fs::write(test.file(&cut), "").unwrap();
    std::fs::remove_file(test.file(&missing)).unwrap();
    for of in [1, 2, 3, 5, 40] {
        let (mut chunks, mut found) = (0, Vec::new());
        for number in 1..=of {
            let report = part(format!("{number}/{of}")).await;
            assert_eq!(report.all_chunks, all.len() as u64);
            chunks += report.chunks;
            found.extend(report.damages.into_iter().map(|damage| damage.key));
        }
        found.sort();
        let mut expected = vec![cut_key.clone(), missing_key.clone()];
        expected.sort();
        assert_eq!((chunks, found), (all.len() as u64, expected), "{of} parts");
    }
}

#[tokio::test]
async fn swapped_chunks_are_found() {
    let test = TestStore::new().await;
    let snapshot = test.publish_sample().await;
    let (left, right) = (test.file(&chunk_of_item(&snapshot, 1)), test.file(&chunk_of_item(&snapshot, 2)));
    let aside = test.root().join("aside");
    std::fs::rename(&left, &aside).unwrap();
    std::fs::rename(&right, &left).unwrap();
    std::fs::rename(&aside, &right).unwrap();

    assert_eq!(damages(&test, snapshot.id(), Level::Exists).await.len(), 0);
    assert_eq!(damages(&test, snapshot.id(), Level::Hash).await.len(), 2);
}

#[tokio::test]
async fn a_changed_id_of_the_store_is_found() {
    let test = TestStore::new().await;
    let snapshot = test.publish_sample().await;
    let path = test.root().join("safe-migrate.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(test.store.id(), &"0".repeat(32))).unwrap();

    let settings = StoreSettings::from_url(format!("file://{}", test.root().display()));
    let changed = Store::open(&settings).await.unwrap();
    let report = verify(&changed, snapshot.id(), Level::Exists, |_, _| ()).await.unwrap();
    let found: Vec<String> = report.damages.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("safe-migrate.json: the store's id is 0000"), "{found:?}");
}

#[tokio::test]
async fn a_half_written_manifest_is_listed_as_damaged_beside_the_others() {
    let test = TestStore::new().await;
    let damaged = test.publish_sample().await.id().clone();
    let bytes = std::fs::read(test.root().join(damaged.manifest_key().as_str())).unwrap();
    let newer = SnapshotId::parse("20261123T000000Z-000001").unwrap();
    for (id, bytes) in [(&damaged, &bytes[..bytes.len() / 2]), (&newer, &bytes[..])] {
        let text = String::from_utf8_lossy(bytes).replace("\"features\": []", "\"features\": [\"encrypted\"]");
        let path = test.root().join(id.manifest_key().as_str());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, if *id == newer { text.as_bytes() } else { bytes }).unwrap();
    }
    std::fs::create_dir(test.root().join("snapshots/20261124T000000Z-000002")).unwrap();

    let listed = list(&test.store).await.unwrap();
    assert_eq!(listed.iter().map(|summary| &summary.id).collect::<Vec<_>>(), [&newer, &damaged]);
    let reason = |index: usize| match &listed[index].state {
        SnapshotState::Damaged { reason } => reason.clone(),
        SnapshotState::Complete(details) | SnapshotState::Untrusted { details, .. } => panic!("{details:?}"),
    };
    assert!(reason(0).contains("`encrypted`"), "{}", reason(0));
    assert!(reason(1).contains("cannot be read"), "{}", reason(1));
    assert_eq!(damages(&test, &damaged, Level::Exists).await.len(), 1);
    let opened = SnapshotReader::open(&test.store, &newer).await;
    assert!(matches!(opened, Err(SnapshotError::NewerFormat { .. })), "{opened:?}");
}

#[tokio::test]
async fn a_damaged_manifest_stands_before_the_whole_ones_of_its_second() {
    let test = TestStore::new().await;
    let whole = test.publish_sample().await.id().clone();
    let damaged = ["000000", "ffffff"].map(|tail| {
        let id = SnapshotId::parse(&format!("{}-{tail}", whole.as_str().split('-').next().unwrap())).unwrap();
        let path = test.root().join(id.manifest_key().as_str());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "{}").unwrap();
        id
    });
    let listed: Vec<SnapshotId> = list(&test.store).await.unwrap().into_iter().map(|summary| summary.id).collect();
    assert_eq!(listed, [damaged[1].clone(), damaged[0].clone(), whole]);
}

#[tokio::test]
async fn a_deleted_snapshot_is_gone_and_its_chunks_stay() {
    let test = TestStore::new().await;
    let snapshot = test.publish_sample().await;
    let listed = list(&test.store).await.unwrap();
    let details = listed[0].details().unwrap();
    assert_eq!((details.source.as_str(), details.database.as_str(), details.rows), ("production", "dusangire", 205));

    delete(&test.store, snapshot.id()).await.unwrap();
    assert_eq!(list(&test.store).await.unwrap(), []);
    assert_eq!(test.store.list("chunks").await.unwrap().len() as u64, snapshot.manifest().totals.chunks);
    for result in [
        delete(&test.store, snapshot.id()).await,
        SnapshotReader::open(&test.store, snapshot.id()).await.map(|_| ()),
        verify(&test.store, snapshot.id(), Level::Hash, |_, _| ()).await.map(|_| ()),
    ] {
        assert!(matches!(result, Err(SnapshotError::NoSuchSnapshot { .. })), "{result:?}");
    }
}

#[tokio::test]
async fn segments_that_do_not_fit_their_rows_are_refused() {
    let test = TestStore::new().await;
    let snapshot = test.publish_sample().await;
    let reader = SnapshotReader::open(&test.store, snapshot.id()).await.unwrap();
    let good = snapshot.manifest().tables[2].segments[1].clone();

    let mut other_rows = good.clone();
    other_rows.rows = snapshot.manifest().tables[2].segments[2].rows;
    let mut beyond = good.clone();
    beyond.length += 1;
    for segment in [other_rows, beyond] {
        let result = reader.get_checked_segment(&segment).await;
        assert!(matches!(result, Err(SnapshotError::Mismatch { .. })), "{result:?}");
    }
    reader.get_checked_segment(&good).await.unwrap();
}
