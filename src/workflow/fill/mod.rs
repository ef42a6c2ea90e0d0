//! Fills an empty database from a snapshot: schema, rows, sequences, large objects, then indexes and constraints.

mod rows;
mod schedule;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::postgres::not_carried::missing_tablespaces;
use crate::postgres::{
    ArchiveEntry, ConnectionSpec, Programs, Section, Tablespaces, archive, archive_entries, catalog, maintenance,
    prepare_copy_session, statistics, subscription,
};
use crate::snapshot::{Manifest, SnapshotReader, TableData};

use rows::WhenFull;

use super::proof::{self, Proof, ProofLevel};
use super::{Error, Operator, manifest_parts, shadow};

/// The empty database that is filled.
#[derive(Debug)]
pub struct FillTarget<'a> {
    /// Connection to it.
    pub spec: ConnectionSpec,
    /// Programs of its server's major version.
    pub programs: &'a Programs,
    /// Directory for the archives.
    pub files: &'a Path,
    /// Parallel workers.
    pub jobs: usize,
    /// Whether subscriptions and user mappings are made too: never in a shadow.
    pub outside_links: bool,
}

/// Restores everything that the snapshot holds, and proves it.
///
/// Rows are read back while constraints are checked and triggers, rules and policies are made: none of these changes a row
/// that is there, and only one of them uses more than one core.
pub async fn fill_and_prove(
    target: &FillTarget<'_>,
    reader: &SnapshotReader,
    level: ProofLevel,
    operator: &dyn Operator,
) -> Result<Proof, Error> {
    let (spec, manifest) = (&target.spec, reader.manifest());
    let filled = load(target, reader, operator).await?;
    let proving = proof::prove_rows(spec, manifest, level, target.jobs, operator);
    let (rows, ()) = tokio::try_join!(proving, finish(target, manifest, filled, operator))?;
    proof::conclude(spec, manifest, rows).await
}

/// What is left to be done when all rows are there.
struct Filled {
    schema: PathBuf,
    /// The entries of post-data that are not made yet.
    rest: PathBuf,
    tablespaces: Tablespaces,
    busy: ConnectionSpec,
    vacuumed: Vec<usize>,
    analyzed: Vec<statistics::Name>,
}

async fn load(target: &FillTarget<'_>, reader: &SnapshotReader, operator: &dyn Operator) -> Result<Filled, Error> {
    let manifest = reader.manifest();
    let schema = write_file(target.files, "schema.dump", &reader.get_blob(&manifest.schema).await?)?;
    let contents = archive::list(target.programs, &schema).await?;
    let contents = if target.outside_links { contents } else { shadow::without_outside_links(&contents) };
    let list = write_list(target.files, "schema.list", &contents)?;
    let (programs, spec) = (target.programs, &target.spec);
    let session = spec.connect("safe-migrate restore").await?;
    prepare_copy_session(&session, None).await?;
    let missing = missing_tablespaces(&session, &archive::tablespaces(programs, &schema).await?).await?;
    if target.outside_links && !missing.is_empty() {
        operator.warn(&format!("the server lacks tablespace {}; all tables go to its default", missing.join(", ")));
    }
    let tablespaces = if missing.is_empty() { Tablespaces::AsRecorded } else { Tablespaces::Default };
    archive::restore(programs, spec, &schema, Some(Section::PreData), Some(&list), tablespaces, 1).await?;

    let busy = maintenance::connection(spec, &session, target.jobs + 1).await?;
    let builds = builds(manifest, archive_entries::entries(programs, &schema, Some(&list), tablespaces).await?);
    let independent = statistics::independent(&session).await?;
    let analyze = manifest.tables.iter().map(|table| independent.contains(&name(table))).collect();
    let partitioned = partitioned(manifest, statistics::partitioned(&session).await?);
    let when_full = WhenFull { builds, analyze, partitioned };
    let done = rows::load(&busy, target.jobs, reader, when_full, operator).await?;
    catalog::set_sequences(&session, &manifest_parts::sequences(manifest)).await?;
    restore_large_objects(target, reader).await?;
    let rest = write_list(target.files, "rest.list", &without_entries(contents, &done.entries))?;
    Ok(Filled { schema, rest, tablespaces, busy, vacuumed: done.vacuumed, analyzed: done.analyzed })
}

async fn finish(
    target: &FillTarget<'_>,
    manifest: &Manifest,
    filled: Filled,
    operator: &dyn Operator,
) -> Result<(), Error> {
    let Filled { schema, rest, tablespaces, busy, vacuumed, analyzed } = filled;
    operator.step("adding the remaining indexes, constraints and triggers");
    let (section, jobs) = (Some(Section::PostData), target.jobs + 1);
    archive::restore(target.programs, &busy, &schema, section, Some(&rest), tablespaces, jobs).await?;
    let session = target.spec.connect("safe-migrate restore").await?;
    prepare_copy_session(&session, None).await?;
    if target.outside_links {
        subscription::detach(&session, target.spec.database()).await?;
    }
    // A function of the user's in an index can fail here; the rows are there all the same.
    let vacuumed = vacuumed.iter().map(|table| name(&manifest.tables[*table]));
    if let Err(error) = statistics::gather(&session, &vacuumed.chain(analyzed).collect()).await {
        operator.warn(&format!("the planner has no statistics of every table, run VACUUM ANALYZE: {error}"));
    }
    Ok(())
}

fn name(table: &TableData) -> (String, String) {
    (table.schema.clone(), table.name.clone())
}

/// What an index or a constraint must not wait for: all that post-data makes comes in the archive's own order.
const POST_DATA: &[&str] = &["INDEX", "CONSTRAINT", "INDEX ATTACH", "STATISTICS", "RULE", "MATERIALIZED VIEW DATA"];

/// The indexes and the constraints over indexes of each table that is loaded on its own, as the manifest counts them.
///
/// Only what depends on that table and on what pre-data made is taken; the rest comes when all rows are there.
fn builds(manifest: &Manifest, entries: Vec<ArchiveEntry>) -> BTreeMap<usize, Vec<ArchiveEntry>> {
    let own = |table: &TableData| table.hash_partition_root.is_none() && !table.segments.is_empty();
    let numbers: BTreeMap<(&str, &str), usize> = (manifest.tables.iter().enumerate())
        .filter(|(_, table)| own(table))
        .map(|(number, table)| ((table.schema.as_str(), table.name.as_str()), number))
        .collect();
    let number = |entry: &ArchiveEntry| {
        let name = (entry.schema.as_deref().unwrap_or_default(), entry.name.as_str());
        (entry.kind == "TABLE").then(|| Some((entry.id, *numbers.get(&name)?)))?
    };
    let tables: BTreeMap<u32, usize> = entries.iter().filter_map(number).collect();
    let later: BTreeSet<u32> =
        entries.iter().filter(|entry| POST_DATA.contains(&entry.kind.as_str())).map(|entry| entry.id).collect();
    let mut builds: BTreeMap<usize, Vec<ArchiveEntry>> = BTreeMap::new();
    for entry in entries {
        let early = ["INDEX", "CONSTRAINT"].contains(&entry.kind.as_str())
            && !entry.sql.is_empty()
            && !entry.needs.iter().any(|id| later.contains(id));
        let table = entry.needs.iter().find_map(|id| tables.get(id));
        if let Some(table) = table.filter(|_| early) {
            builds.entry(*table).or_default().push(entry);
        }
    }
    builds
}

/// The partitioned tables whose rows are all in tables that are loaded on their own.
fn partitioned(
    manifest: &Manifest,
    trees: Vec<(statistics::Name, Vec<statistics::Name>)>,
) -> Vec<(statistics::Name, BTreeSet<usize>)> {
    let numbers: BTreeMap<statistics::Name, usize> = (manifest.tables.iter().enumerate())
        .filter(|(_, table)| !table.segments.is_empty())
        .map(|(number, table)| (name(table), number))
        .collect();
    let alone = |number: &usize| manifest.tables[*number].hash_partition_root.is_none();
    let with_rows =
        |leaves: Vec<statistics::Name>| leaves.iter().filter_map(|leaf| numbers.get(leaf).copied()).collect();
    trees
        .into_iter()
        .map(|(root, leaves)| (root, with_rows(leaves)))
        .filter(|(_, leaves): &(_, BTreeSet<usize>)| !leaves.is_empty() && leaves.iter().all(alone))
        .collect()
}

/// A list of contents without these entries: `3564; 2606 16440 CONSTRAINT public …`.
fn without_entries(contents: Vec<String>, made: &[u32]) -> Vec<String> {
    let made: BTreeSet<u32> = made.iter().copied().collect();
    let id = |line: &str| line.split_once(';').and_then(|(id, _)| id.parse().ok());
    contents.into_iter().filter(|line| id(line).is_none_or(|id: u32| !made.contains(&id))).collect()
}

pub fn write_list(dir: &Path, name: &str, lines: &[String]) -> Result<PathBuf, Error> {
    write_file(dir, name, (lines.join("\n") + "\n").as_bytes())
}

/// Writes a file for one of the programs.
pub fn write_file(dir: &Path, name: &str, content: &[u8]) -> Result<PathBuf, Error> {
    let path = dir.join(name);
    std::fs::write(&path, content)
        .map_err(|source| Error::File { what: format!("cannot write {}", path.display()), source })?;
    Ok(path)
}

async fn restore_large_objects(target: &FillTarget<'_>, reader: &SnapshotReader) -> Result<(), Error> {
    let Some(blob) = &reader.manifest().large_objects else { return Ok(()) };
    let path = write_file(target.files, "large_objects.dump", &reader.get_blob(blob).await?)?;
    let contents = archive::list(target.programs, &path).await?;
    let list = write_file(target.files, "large_objects.list", archive::large_object_entries(&contents).as_bytes())?;
    Ok(archive::restore(target.programs, &target.spec, &path, None, Some(&list), Tablespaces::AsRecorded, 1).await?)
}
