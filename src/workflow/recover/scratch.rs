//! The private place: a marked database on the same server with the schema of the snapshot and the rows of one table.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::postgres::ArchiveEntry;
use crate::postgres::database::{self, HostedOn, MarkedDatabase};
use crate::postgres::deferred_checks;
use crate::postgres::not_carried::missing_tablespaces;
use crate::postgres::recovery::{self, Relation};
use crate::postgres::{
    ConnectionSpec, MarkKind, Section, Session, Tablespaces, archive, archive_entries, copy, prepare_copy_session,
};
use crate::report::format_things;
use crate::snapshot::{Manifest, Segment, SnapshotReader, TableData, Totals};

use super::super::fill::{there_if_need_be, write_file, write_list};
use super::super::project::Server;
use super::super::proof::ProofLevel;
use super::super::{Error, Gate, Operator, Project, Unit, manifest_parts, proof, shadow};

/// The archive of the schema as a file, with its entries.
pub(super) struct Archive {
    /// The file.
    pub(super) path: PathBuf,
    /// Its entries.
    pub(super) entries: Vec<ArchiveEntry>,
}

impl Archive {
    /// Reads it from the snapshot.
    pub(super) async fn read(server: &Server, reader: &SnapshotReader, files: &Path) -> Result<Self, Error> {
        let path = write_file(files, "schema.dump", &reader.get_blob(&reader.manifest().schema).await?)?;
        let entries = archive_entries::entries(&server.programs, &path, None, Tablespaces::AsRecorded).await?;
        Ok(Self { path, entries })
    }
}

/// The scratch database.
pub(super) struct Scratch {
    /// It, with its mark.
    pub(super) database: MarkedDatabase,
    /// The way to it.
    pub(super) spec: ConnectionSpec,
}

/// What has no place in a database that nobody but us will ever see: it would act, or cost time.
const LEFT_OUT: &[&str] = &["EVENT TRIGGER ", "PUBLICATION", "MATERIALIZED VIEW DATA "];

impl Scratch {
    /// Creates it, empty. Its name begins like that of a restored database, so that the next restore drops it if we
    /// die.
    pub(super) async fn create(project: &Project, server: &Server, manifest: &Manifest) -> Result<Self, Error> {
        let tail = hex::encode(rand::random::<[u8; 4]>());
        let prefix = database::restored_prefix(project.target.database());
        let name = format!("{prefix}{tail}");
        let properties = manifest_parts::properties(manifest);
        let database =
            database::create(&server.maintenance, &name, &properties, MarkKind::Unfinished, HostedOn::Shared).await?;
        Ok(Self { spec: project.database(&name), database })
    }

    /// Makes the whole schema, without rows: the part may need any type or function, and a definition is whole only
    /// with its indexes and constraints.
    pub(super) async fn make_schema(&self, server: &Server, schema: &Archive, files: &Path) -> Result<Session, Error> {
        let programs = &server.programs;
        let contents = archive::list(programs, &schema.path).await?;
        let mut list = shadow::without_outside_links(&contents);
        list.retain(|line| {
            let entry = line.splitn(4, ' ').nth(3).unwrap_or_default();
            line.starts_with(';') || !LEFT_OUT.iter().any(|kind| entry.starts_with(kind))
        });
        let list_file = write_list(files, "schema.list", &list)?;
        let session = self.spec.connect("safe-migrate restore").await?;
        let missing = missing_tablespaces(&session, &archive::tablespaces(programs, &schema.path).await?).await?;
        let tablespaces = if missing.is_empty() { Tablespaces::AsRecorded } else { Tablespaces::Default };
        for section in [Section::PreData, Section::PostData] {
            let (path, list) = (&schema.path, Some(list_file.as_path()));
            archive::restore(programs, &self.spec, path, Some(section), list, tablespaces, 1).await?;
        }
        Ok(session)
    }

    /// Loads the rows of the table and proves them by their hashes.
    pub(super) async fn load(
        &self,
        project: &Project,
        session: &Session,
        table: &Relation,
        reader: &SnapshotReader,
        operator: &dyn Operator,
    ) -> Result<(), Error> {
        let wanted = of_table(session, table, reader.manifest()).await?;
        let mut ready: BTreeSet<(String, String)> =
            wanted.tables.iter().map(|data| (data.schema.clone(), data.name.clone())).collect();
        ready.extend(wanted.tables.iter().filter_map(|data| data.hash_partition_root.clone()));
        ready.extend(recovery::tree(session, table.oid).await?);
        // The table has its definition by now; rows that are there need not pass what was made stricter since.
        deferred_checks::take_off(session, |_| false).await?;
        let own_path = deferred_checks::own_path(&manifest_parts::properties(reader.manifest()));
        recovery::ready_for_rows(session, &ready.into_iter().collect::<Vec<_>>()).await?;
        operator.begin("loading rows", Some(wanted.totals.raw_bytes), Unit::Bytes);
        let parts = wanted.tables.iter().flat_map(|data| data.segments.iter().map(move |part| (data, part)));
        let queue = Arc::new(Mutex::new(parts.collect::<VecDeque<_>>()));
        let workers = (0..project.jobs.max(1))
            .map(|_| load_worker((&self.spec, &own_path), reader, Arc::clone(&queue), operator));
        futures_util::future::try_join_all(workers).await?;
        operator.finish(&format!("{} of {}", format_things(wanted.totals.rows, "row"), table.display()));
        let proof = proof::prove(&self.spec, &wanted, ProofLevel::Rows, project.jobs, operator).await?;
        if proof.differences.is_empty() { Ok(()) } else { Err(Gate::ProofFailed(proof.differences).into()) }
    }
}

async fn load_worker(
    (spec, own_path): (&ConnectionSpec, &str),
    reader: &SnapshotReader,
    queue: Arc<Mutex<VecDeque<(&TableData, &Segment)>>>,
    operator: &dyn Operator,
) -> Result<(), Error> {
    let session = spec.connect("safe-migrate restore worker").await?;
    prepare_copy_session(&session, Some(&manifest_parts::lc_monetary(reader.manifest()))).await?;
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some((table, segment)) = next else { return Ok(()) };
        let rows = reader.get_segment(segment).await?;
        let (schema, name) = match &table.hash_partition_root {
            Some((schema, name)) => (schema.as_str(), name.as_str()),
            None => (table.schema.as_str(), table.name.as_str()),
        };
        let (into, encoding) = ((schema, name), &reader.manifest().database.encoding);
        // The functions of the archive were looked at before it was made here.
        let load = async || copy::load(&session, into, &table.columns, encoding, rows.clone()).await;
        there_if_need_be(&session, Some(own_path), load).await?;
        operator.advance(segment.length);
    }
}

/// The manifest with nothing but the rows of the table and its partitions. Rows of a hash partition are found through
/// the root only, so all of that root come along.
async fn of_table(session: &Session, table: &Relation, manifest: &Manifest) -> Result<Manifest, Error> {
    let tree = recovery::tree(session, table.oid).await?;
    let is_part = |data: &&TableData| tree.iter().any(|(schema, name)| *schema == data.schema && *name == data.name);
    let roots: Vec<_> =
        manifest.tables.iter().filter(is_part).filter_map(|data| data.hash_partition_root.clone()).collect();
    let tables: Vec<TableData> = manifest
        .tables
        .iter()
        .filter(|data| is_part(data) || data.hash_partition_root.as_ref().is_some_and(|root| roots.contains(root)))
        .cloned()
        .collect();
    let totals = Totals {
        rows: tables.iter().map(|data| data.rows.rows).sum(),
        raw_bytes: tables.iter().flat_map(|data| &data.segments).map(|segment| segment.length).sum(),
        ..Totals::default()
    };
    Ok(Manifest { tables, totals, sequences: Vec::new(), ..manifest.clone() })
}
