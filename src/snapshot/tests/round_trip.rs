//! What is written is read back; what the store has is not sent again.

use super::*;

#[tokio::test]
async fn a_published_snapshot_reads_back() {
    let test = TestStore::new().await;
    let published = test.publish_sample().await;
    let reader = SnapshotReader::open(&test.store, published.id()).await.unwrap();
    let manifest = reader.manifest();

    assert_eq!(manifest, published.manifest());
    for (index, table) in manifest.tables.iter().enumerate() {
        let mut rows = Vec::new();
        for segment in &table.segments {
            rows.extend_from_slice(&reader.get_checked_segment(segment).await.unwrap());
        }
        let expected: Vec<Vec<u8>> = (0..SAMPLE_ROWS[index]).map(|number| sample_row(index, number)).collect();
        assert_eq!(rows, expected.concat());
    }
    assert_eq!(reader.get_blob(&manifest.schema).await.unwrap(), b"PGDMP the schema");
    assert_eq!(manifest.totals.rows, 205);
    assert_eq!(manifest.totals.chunks, manifest.chunks().len() as u64);
    assert!(manifest.tables[2].segments.len() > 1, "the sample has a table in several chunks");
    assert!(manifest.tables[3].segments.is_empty());
}

#[tokio::test]
async fn totals_are_the_sizes_in_the_store() {
    let test = TestStore::new().await;
    let totals = test.publish_sample().await.manifest().totals;
    let objects = test.store.list("chunks").await.unwrap();
    assert_eq!(totals.chunks, objects.len() as u64);
    assert_eq!(totals.stored_bytes, objects.iter().map(|object| object.size).sum::<u64>());
}

#[tokio::test]
async fn a_long_blob_is_cut() {
    let test = TestStore::new().await;
    let long: Vec<u8> = (0..CHUNK_SIZE + 5).map(|number| (number / 7) as u8).collect();
    let published = {
        let writer = test.writer().await;
        let mut manifest = sample_manifest();
        test.store.id().clone_into(&mut manifest.store_id);
        manifest.large_objects = Some(writer.put_blob(long.clone()).await.unwrap());
        writer.publish(manifest).await.unwrap()
    };
    let blob = published.manifest().large_objects.clone().unwrap();
    assert_eq!((blob.chunks.len(), blob.length), (2, long.len() as u64));
    let reader = SnapshotReader::open(&test.store, published.id()).await.unwrap();
    assert!(reader.get_blob(&blob).await.unwrap() == long);
}

#[tokio::test]
async fn what_the_store_has_is_not_sent_again() {
    let test = TestStore::new().await;
    let first = writer(&test.store, snapshot_id(1)).await;
    publish_blobs(first.clone(), &[b"soup\n"]).await.unwrap();
    let once = first.counters();
    assert_eq!((once.chunks, once.reused, once.raw_bytes), (1, 0, 5));
    assert_eq!(once.sent_bytes, once.stored_bytes);

    let second = writer(&test.store, snapshot_id(2)).await;
    second.put_chunk(b"soup\n".to_vec()).await.unwrap();
    second.put_chunk(b"soup\n".to_vec()).await.unwrap();
    assert_eq!(second.counters(), Counters { sent_bytes: 0, reused: 1, ..once });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn equal_chunks_at_once_are_sent_once() {
    let test = TestStore::new().await;
    let writer = test.writer().await;
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let writer = writer.clone();
            tokio::spawn(async move { writer.put_chunk(vec![7; 100_000]).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let counters = writer.counters();
    assert_eq!((counters.chunks, counters.reused, counters.raw_bytes), (1, 0, 100_000));
}

#[tokio::test]
async fn a_chunk_of_another_level_is_used_and_a_damaged_one_is_written_anew() {
    let test = TestStore::new().await;
    let text: Vec<u8> = (0..20_000_u32).flat_map(|number| format!("{}\n", number * 31 % 977).into_bytes()).collect();
    let options = WriterOptions { id: snapshot_id(1), source: "production".to_owned(), known: Vec::new(), level: 19 };
    let first = SnapshotWriter::begin(test.store.clone(), options).await.unwrap();
    let id = publish_blobs(first, &[&text]).await.unwrap().manifest().schema.chunks[0];
    let damaged = test.file(&id);
    let small = std::fs::metadata(&damaged).unwrap().len();

    let second = writer(&test.store, snapshot_id(2)).await;
    second.put_chunk(text.clone()).await.unwrap();
    assert_eq!((second.counters().sent_bytes, second.counters().stored_bytes), (0, small));

    let stored = std::fs::read(&damaged).unwrap();
    std::fs::write(&damaged, &stored[..stored.len() / 2]).unwrap();
    let third = writer(&test.store, snapshot_id(3)).await;
    let whole = publish_blobs(third.clone(), &[&text]).await.unwrap();
    assert_eq!(third.counters().reused, 0);
    assert!(verify(&test.store, whole.id(), Level::Hash, |_, _| ()).await.unwrap().damages.is_empty());
    assert_eq!(std::fs::metadata(&damaged).unwrap().len(), stored.len() as u64 / 2, "its key is another's");
}

#[tokio::test]
async fn what_does_not_fit_is_not_published() {
    let test = TestStore::new().await;
    let good = test.publish_sample().await.manifest().clone();
    type Change = fn(&mut Manifest);
    let changes: [(&str, Change); 7] = [
        ("was not written", |manifest| manifest.schema.chunks.push(ChunkId::of(b"elsewhere"))),
        ("it is made for the store", |manifest| manifest.store_id = "another".to_owned()),
        ("format 2", |manifest| manifest.format_version = 3),
        ("menu.item", |manifest| manifest.tables[2].rows.add_row(b"one more\n")),
        ("it was begun as", |manifest| manifest.id = snapshot_id(9)),
        ("beyond its chunk", |manifest| manifest.tables[2].segments[0].offset = u64::MAX),
        ("the schema archive", |manifest| manifest.schema.length += 1),
    ];
    for (expected, change) in changes {
        let error = republish(&test, &good, &good.id, change).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    assert!(republish(&test, &good, &good.id, |_| ()).await.unwrap_err().to_string().contains("exists"));
    republish(&test, &good, &snapshot_id(9), |manifest| manifest.id = snapshot_id(9)).await.unwrap();
}

/// Publishes a changed manifest with a writer that knows all chunks of the good one.
async fn republish(
    test: &TestStore,
    good: &Manifest,
    id: &SnapshotId,
    change: impl FnOnce(&mut Manifest),
) -> Result<VerifiedSnapshot, SnapshotError> {
    let writer = writer(&test.store, id.clone()).await;
    for id in good.chunks() {
        let raw = test.raw(&id).await?;
        writer.put_chunk(raw.to_vec()).await?;
    }
    let mut manifest = good.clone();
    change(&mut manifest);
    writer.publish(manifest).await
}

#[tokio::test]
async fn a_chunk_lost_before_the_manifest_stops_it() {
    let test = TestStore::new().await;
    let writer = test.writer().await;
    let mut manifest = sample_manifest();
    test.store.id().clone_into(&mut manifest.store_id);
    manifest.schema = writer.put_blob(b"PGDMP".to_vec()).await.unwrap();
    std::fs::remove_file(test.file(&manifest.schema.chunks[0])).unwrap();
    let error = writer.publish(manifest).await.unwrap_err().to_string();

    assert!(error.contains("not in the store"), "{error}");
    assert_eq!(list(&test.store).await.unwrap(), []);
}

/// The workflow spawns tasks that write, read, list and verify.
#[tokio::test]
async fn the_operations_can_be_spawned() {
    let test = TestStore::new().await;
    let id = test.publish_sample().await.id().clone();
    let store = test.store.clone();
    let task = tokio::spawn(async move {
        let report = verify(&store, &id, Level::Exists, |_, _| ()).await?;
        let mut packer = TablePacker::new(writer(&store, snapshot_id(1)).await);
        packer.begin_range(RangeKey { table: 0, range: 0 });
        packer.push_row(b"1\n").await?;
        packer.finish().await?;
        SnapshotReader::open(&store, &id).await?;
        list(&store).await.map(|listed| (listed.len(), report.damages.len()))
    });
    assert_eq!(task.await.unwrap().unwrap(), (1, 0));
}
