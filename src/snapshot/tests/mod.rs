//! Snapshots on a local store: round trips, what is sent, and every kind of damage.

mod damage;
mod faulty;
mod packing;
mod race;
mod round_trip;
mod sweep;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use time::macros::datetime;

use crate::store::{ObjectKey, Store, StoreSettings};

use super::*;

/// A store in a directory that lives as long as it.
pub(super) struct TestStore {
    pub(super) store: Store,
    directory: tempfile::TempDir,
}

impl TestStore {
    pub(super) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let settings = StoreSettings::from_url(format!("file://{}", directory.path().display()));
        Self { store: Store::open_or_create(&settings).await.unwrap(), directory }
    }

    pub(super) fn root(&self) -> &Path {
        self.directory.path()
    }

    /// The file of a chunk that one snapshot wrote.
    pub(super) fn file(&self, chunk: &ChunkId) -> PathBuf {
        self.root().join(self.key(chunk).as_str())
    }

    /// The key of a chunk that one snapshot wrote.
    pub(super) fn key(&self, chunk: &ChunkId) -> ObjectKey {
        let name = chunk.to_string();
        let directory = format!("chunks/{}", &name[..2]);
        let mut files =
            std::fs::read_dir(self.root().join(&directory)).unwrap().map(|entry| entry.unwrap().file_name());
        let found = files.find_map(|file| file.into_string().ok().filter(|file| file.starts_with(&name)));
        ObjectKey::new(format!("{directory}/{}", found.unwrap())).unwrap()
    }

    /// The raw bytes of a chunk that one snapshot wrote.
    pub(super) async fn raw(&self, chunk: &ChunkId) -> Result<bytes::Bytes, SnapshotError> {
        let key = ChunkKey::try_from(self.key(chunk).to_string()).unwrap();
        super::reader::read_chunk(&self.store, &key, super::chunk::LARGEST_RAW).await
    }

    pub(super) async fn writer(&self) -> SnapshotWriter {
        writer(&self.store, sample_manifest().id).await
    }

    /// Publishes a snapshot of two small tables, a long one and two blobs, as `SAMPLE_ROWS` makes them.
    pub(super) async fn publish_sample(&self) -> VerifiedSnapshot {
        let writer = self.writer().await;
        let mut manifest = sample_manifest();
        self.store.id().clone_into(&mut manifest.store_id);
        manifest.schema = writer.put_blob(b"PGDMP the schema".to_vec()).await.unwrap();
        manifest.roles = writer.put_blob(b"CREATE ROLE cook;\n".to_vec()).await.unwrap();
        let mut packer = TablePacker::with_chunk_size(writer.clone(), 1000);
        for (table, count) in SAMPLE_ROWS.iter().enumerate() {
            packer.begin_range(RangeKey { table, range: 0 });
            for number in 0..*count {
                packer.push_row(&sample_row(table, number)).await.unwrap();
            }
            packer.end_range();
        }
        for (table, segments) in segments_by_table(packer.finish().await.unwrap()) {
            manifest.tables[table].rows = segments.iter().map(|segment| &segment.rows).collect();
            manifest.tables[table].segments = segments;
        }
        writer.publish(manifest).await.unwrap()
    }
}

pub(super) async fn writer(store: &Store, id: SnapshotId) -> SnapshotWriter {
    let options = WriterOptions { id, source: "production".to_owned(), known: Vec::new(), level: 1 };
    SnapshotWriter::begin(store.clone(), options).await.unwrap()
}

/// Publishes a snapshot with nothing but these blobs, as its schema, its roles and its large objects.
pub(super) async fn publish_blobs(writer: SnapshotWriter, blobs: &[&[u8]]) -> Result<VerifiedSnapshot, SnapshotError> {
    let mut manifest = sample_manifest();
    manifest.id = writer.shared.id.clone();
    writer.shared.store.id().clone_into(&mut manifest.store_id);
    let mut put = Vec::new();
    for raw in blobs {
        put.push(writer.put_blob(raw.to_vec()).await?);
    }
    let mut put = put.into_iter();
    manifest.schema = put.next().unwrap_or_default();
    manifest.roles = put.next().unwrap_or_default();
    manifest.large_objects = put.next();
    writer.publish(manifest).await
}

pub(super) fn snapshot_id(number: u32) -> SnapshotId {
    SnapshotId::parse(&format!("20261122T140000Z-{number:06x}")).unwrap()
}

/// Rows of the sample's tables; one is empty.
pub(super) const SAMPLE_ROWS: [usize; 4] = [3, 2, 200, 0];

pub(super) fn sample_row(table: usize, number: usize) -> Vec<u8> {
    format!("{number}\trow {number} of table {table}\t\\N\n").into_bytes()
}

pub(crate) fn sample_manifest() -> Manifest {
    let table = |name: &str| TableData {
        schema: "menu".to_owned(),
        name: name.to_owned(),
        columns: vec!["id".to_owned(), "title".to_owned(), "note".to_owned()],
        ..TableData::default()
    };
    Manifest {
        format_version: FORMAT_VERSION,
        features: Vec::new(),
        id: SnapshotId::new(datetime!(2026-11-22 13:58:23 UTC), [0x7f, 0x3a, 0x9c]),
        source: "production".to_owned(),
        store_id: "0".repeat(32),
        started_at: datetime!(2026-11-22 13:58:23 UTC),
        finished_at: datetime!(2026-11-22 13:59:00 UTC),
        reason: Reason { run: None, command: "snapshot create".to_owned() },
        tool_version: "0.1.0".to_owned(),
        scope: "all".to_owned(),
        server: ServerRecord {
            version: "15.20".to_owned(),
            version_num: 150_020,
            system_identifier: "7300000000000000000".to_owned(),
            pg_dump_version: "15.20".to_owned(),
            lsn: "0/16B3748".to_owned(),
            settings: BTreeMap::from([("lc_monetary".to_owned(), "C".to_owned())]),
        },
        database: sample_database(),
        schema: Blob::default(),
        roles: Blob::default(),
        bootstrap_role: "postgres".to_owned(),
        large_objects: None,
        sequences: vec![SequenceRecord {
            schema: "menu".to_owned(),
            name: "item_id_seq".to_owned(),
            last_value: 200,
            is_called: true,
        }],
        extensions: Vec::new(),
        invalid_indexes: Vec::new(),
        fingerprint: Some(serde_json::json!({"raw": "ab", "algorithm": 1})),
        warnings: Vec::new(),
        vacuum_held_back_ms: Some(36_500),
        others_waited_ms: Some(120),
        tables: ["drink", "side", "item", "empty"].map(table).to_vec(),
        stored: Vec::new(),
        totals: Totals::default(),
    }
}

fn sample_database() -> DatabaseRecord {
    DatabaseRecord {
        name: "dusangire".to_owned(),
        oid: 16_384,
        owner: "cook".to_owned(),
        encoding: "UTF8".to_owned(),
        collate: "C".to_owned(),
        ctype: "C".to_owned(),
        locale_provider: "c".to_owned(),
        icu_locale: None,
        collation_version: None,
        acl: None,
        connection_limit: -1,
        comment: Some("the \"restaurant\" – Dusangire".to_owned()),
        settings: vec![DatabaseSetting { role: None, setting: "work_mem=8MB".to_owned() }],
    }
}
