//! Fills an empty database from a snapshot: schema, rows, sequences, large objects, then indexes and constraints.

mod builds;
mod own_path;
mod rows;
mod schedule;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::postgres::deferred_checks::{self, DeferredCheck, NotValid};
use crate::postgres::not_carried::missing_tablespaces;
use crate::postgres::{
    ArchiveEntry, ConnectionSpec, DatabaseError, Programs, Section, Session, Tablespaces, archive, archive_entries,
    catalog, maintenance, prepare_copy_session, statistics, subscription,
};
use crate::report::format_list;
use crate::snapshot::{Manifest, SnapshotReader, TableData};

use builds::name;
pub use own_path::{finds_nothing, there_if_need_be};
use rows::{Ways, WhenFull};

use super::code_of_others::CodeOfOthers;
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
    /// Entries of the schema's archive that are not made.
    pub left_out: &'a BTreeSet<u32>,
    /// Whether the server is one of ours, which is thrown away: its catalogs may be written.
    pub private: bool,
    /// Whether functions of others may run there.
    pub code: &'a CodeOfOthers,
    /// What is done with what does not come back.
    pub failing: Failing,
}

/// What is done with a table, an index or a constraint that cannot be restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failing {
    /// Foreign keys that rows do not pass are made `NOT VALID`; always so in a private server.
    pub not_valid: bool,
    /// The rest is restored without it.
    pub keep_going: bool,
    /// All rows are there since an earlier restore.
    pub resume: bool,
}

/// An entry of the archive that could not be made, or a table whose rows could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct NotMade {
    /// What it is, as `--without` names it.
    pub entry: String,
    /// What the server said.
    pub why: String,
    #[serde(skip)]
    id: Option<u32>,
}

impl NotMade {
    fn of(entry: &ArchiveEntry, error: &DatabaseError) -> Self {
        Self { entry: entry.label(), why: error.to_string(), id: Some(entry.id) }
    }

    fn table(schema: &str, name: &str, why: String) -> Self {
        Self { entry: format!("TABLE {schema}.{name}"), why, id: None }
    }

    /// Its number in the archive; none: its rows could not be loaded.
    pub fn id(&self) -> Option<u32> {
        self.id
    }
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
    let filled = match target.failing.resume {
        true => take_up(target, reader).await?,
        false => load(target, reader, operator).await?,
    };
    let proving = proof::prove_rows(spec, manifest, (level, None), target.jobs, operator);
    let (rows, (left, not_made)) = tokio::try_join!(proving, finish(target, manifest, filled, operator))?;
    let mut proof = proof::conclude(spec, manifest, rows).await?;
    proof.warnings.extend(left.iter().map(|one| {
        let state = if target.private { "does not hold for the rows" } else { "is left NOT VALID" };
        format!("{} {state}: {}", one.constraint, one.why)
    }));
    proof.not_valid = if target.private { Vec::new() } else { left };
    proof.not_made = not_made;
    Ok(proof)
}

/// Where an earlier restore stopped: all rows are there, and what comes behind them may be.
async fn take_up(target: &FillTarget<'_>, reader: &SnapshotReader) -> Result<Filled, Error> {
    let manifest = reader.manifest();
    let schema = write_file(target.files, "schema.dump", &reader.get_blob(&manifest.schema).await?)?;
    let contents = without_entries(archive::list(target.programs, &schema).await?, target.left_out);
    let rest = write_list(target.files, "rest.list", &contents)?;
    target.code.refuse(target.programs, &schema, Some(&rest)).await?;
    let session = target.spec.connect("safe-migrate restore").await?;
    prepare_copy_session(&session, None).await?;
    let missing = missing_tablespaces(&session, &archive::tablespaces(target.programs, &schema).await?).await?;
    let tablespaces = if missing.is_empty() { Tablespaces::AsRecorded } else { Tablespaces::Default };
    Ok(Filled {
        schema,
        rest,
        tablespaces,
        busy: target.spec.clone(),
        vacuumed: Vec::new(),
        analyzed: Vec::new(),
        checks: deferred_checks::not_valid(&session).await?,
        by_us: Vec::new(),
        own_path: own_path(target, manifest, &session).await?,
    })
}

/// Fewer bytes of rows than this have their last indexes and constraints made by one session.
const FEW_BYTES: u64 = 8 << 20;

/// What is left to be done when all rows are there.
struct Filled {
    schema: PathBuf,
    /// The entries of post-data that are not made yet.
    rest: PathBuf,
    tablespaces: Tablespaces,
    busy: ConnectionSpec,
    vacuumed: Vec<usize>,
    analyzed: Vec<statistics::Name>,
    checks: Vec<DeferredCheck>,
    /// What we make ourselves behind the rest.
    by_us: Vec<ArchiveEntry>,
    own_path: Option<String>,
}

async fn load(target: &FillTarget<'_>, reader: &SnapshotReader, operator: &dyn Operator) -> Result<Filled, Error> {
    let manifest = reader.manifest();
    let schema = write_file(target.files, "schema.dump", &reader.get_blob(&manifest.schema).await?)?;
    let contents = archive::list(target.programs, &schema).await?;
    let contents = if target.outside_links { contents } else { shadow::without_outside_links(&contents) };
    let contents = without_entries(contents, target.left_out);
    let list = write_list(target.files, "schema.list", &contents)?;
    let (programs, spec) = (target.programs, &target.spec);
    target.code.refuse(programs, &schema, Some(&list)).await?;
    let session = spec.connect("safe-migrate restore").await?;
    prepare_copy_session(&session, None).await?;
    let missing = missing_tablespaces(&session, &archive::tablespaces(programs, &schema).await?).await?;
    if target.outside_links && !missing.is_empty() {
        operator.warn(&format!("the server lacks tablespace {}; all tables go to its default", format_list(&missing)));
    }
    let tablespaces = if missing.is_empty() { Tablespaces::AsRecorded } else { Tablespaces::Default };
    archive::restore(programs, spec, &schema, Some(Section::PreData), Some(&list), tablespaces, 1).await?;

    let busy = maintenance::connection(spec, &session, target.jobs + 1).await?;
    let independent = statistics::independent(&session).await?;
    let analyze = manifest.tables.iter().map(|table| independent.contains(&name(table))).collect();
    let trees = builds::trees(manifest, statistics::partitioned(&session).await?);
    let entries = archive_entries::entries(programs, &schema, Some(&list), tablespaces).await?;
    let own_path = own_path(target, manifest, &session).await?;
    let has_functions = deferred_checks::has_functions_of_others(&session, |_| false).await?;
    let behind = behind_rows(&entries);
    let when_full = WhenFull { builds: builds::builds(manifest, &trees, entries), analyze, trees };
    // What others own is loaded by logins, which check as they load.
    let apart = |owner: &str| matches!(target.code, CodeOfOthers::ByLogins(trusted, _) if !trusted.has(owner));
    let checks = deferred_checks::take_off(&session, apart).await?;
    let ways = Ways {
        own_path: own_path.clone(),
        keep_going: target.failing.keep_going,
        logins: logins(&session, manifest, (target.code, &busy)).await?,
        spec: busy.clone(),
    };
    let done = rows::load(ways, target.jobs, reader, when_full, operator).await?;
    catalog::set_sequences(&session, &manifest_parts::sequences(manifest)).await?;
    restore_large_objects(target, reader).await?;
    deferred_checks::put_back(&session, &checks).await?;
    let mut by_us = own_path::may_need(&behind, &done.left, has_functions);
    by_us.retain(|entry| !done.entries.contains(&entry.id));
    let done_or_ours = done.entries.iter().copied().chain(by_us.iter().map(|entry| entry.id)).collect();
    let rest = write_list(target.files, "rest.list", &without_entries(contents, &done_or_ours))?;
    Ok(Filled {
        schema,
        rest,
        tablespaces,
        busy,
        vacuumed: done.vacuumed,
        analyzed: done.analyzed,
        checks,
        by_us,
        own_path,
    })
}

/// The connections by which the tables of the manifest are loaded; none: by our own.
async fn logins(
    session: &Session,
    manifest: &Manifest,
    (code, spec): (&CodeOfOthers, &ConnectionSpec),
) -> Result<Vec<Option<ConnectionSpec>>, Error> {
    let CodeOfOthers::ByLogins(_, loaders) = code else { return Ok(vec![None; manifest.tables.len()]) };
    let owners = catalog::table_owners(session).await?;
    let of = |table: &TableData| {
        let place = table.hash_partition_root.clone().unwrap_or_else(|| (table.schema.clone(), table.name.clone()));
        owners.get(&place).and_then(|owner| loaders.connection(spec, owner))
    };
    Ok(manifest.tables.iter().map(of).collect())
}

async fn finish(
    target: &FillTarget<'_>,
    manifest: &Manifest,
    filled: Filled,
    operator: &dyn Operator,
) -> Result<(Vec<NotValid>, Vec<NotMade>), Error> {
    let Filled { schema, rest, tablespaces, busy, vacuumed, analyzed, checks, mut by_us, own_path } = filled;
    operator.step("adding the remaining indexes, constraints and triggers");
    // Each of its workers connects twice, which takes longer than the indexes of a few rows.
    let jobs = if manifest.totals.raw_bytes < FEW_BYTES { 1 } else { target.jobs + 1 };
    let section = Some(Section::PostData);
    let restored = match target.failing.resume {
        true => Ok(()),
        false => archive::restore(target.programs, &busy, &schema, section, Some(&rest), tablespaces, jobs).await,
    };
    // pg_restore stops at the first that fails, and some of the others are there: each is tried by itself.
    let again = target.failing.resume || restored.is_err();
    if again {
        let list = Some(rest.as_path());
        let entries = archive_entries::entries_of_section(target.programs, &schema, section, list, tablespaces).await?;
        match restored {
            // In a database without an encoding their texts are not known.
            Err(error) if entries.iter().any(|entry| entry.sql.is_empty()) => return Err(error.into()),
            _ => by_us.splice(..0, entries).for_each(drop),
        }
    }
    let session = target.spec.connect("safe-migrate restore").await?;
    prepare_copy_session(&session, None).await?;
    if target.outside_links {
        subscription::detach(&session, target.spec.database()).await?;
    }
    let how = (again, target.private || target.failing.not_valid);
    let made = own_path::make(&session, &by_us, own_path.as_deref(), how).await?;
    if !made.not_made.is_empty() && !target.failing.keep_going {
        return Err(Error::NotMade { not_made: made.not_made, kept: None });
    }
    let mut left = deferred_checks::validate(&session, checks, own_path.as_deref()).await?;
    left.extend(made.not_valid);
    if target.private {
        deferred_checks::call_valid(&session, &left).await?;
    }
    // A function of the user's in an index can fail here; the rows are there all the same.
    let vacuumed = vacuumed.iter().map(|table| name(&manifest.tables[*table]));
    let done = vacuumed.chain(analyzed).collect();
    let gather = async || statistics::gather(&session, &done).await;
    let gathered = own_path::there_if_need_be(&session, own_path.as_deref(), gather).await;
    if let Err(error) = gathered {
        operator.warn(&format!("the planner has no statistics of every table, run VACUUM ANALYZE: {error}"));
    }
    Ok((left, made.not_made))
}

/// The entries that come behind the rows.
fn behind_rows(entries: &[ArchiveEntry]) -> Vec<ArchiveEntry> {
    const BEFORE: &[&str] = &["FUNCTION", "PROCEDURE", "SCHEMA", "SEQUENCE", "TABLE", "TYPE", "DOMAIN", "EXTENSION"];
    entries.iter().filter(|entry| !BEFORE.contains(&entry.kind.as_str())).cloned().collect()
}

/// The path of the database's own sessions, where everything that it could lead to is trusted.
async fn own_path(target: &FillTarget<'_>, manifest: &Manifest, session: &Session) -> Result<Option<String>, Error> {
    let others = match target.code {
        CodeOfOthers::BehindWalls | CodeOfOthers::Accepted => false,
        CodeOfOthers::OnlyOf(trusted) | CodeOfOthers::ByLogins(trusted, _) => {
            deferred_checks::has_functions_of_others(session, |owner| trusted.has(owner)).await?
        }
    };
    Ok((!others).then(|| deferred_checks::own_path(&manifest_parts::properties(manifest))))
}

/// A list of contents without these entries: `3564; 2606 16440 CONSTRAINT public …`.
pub fn without_entries(contents: Vec<String>, left_out: &BTreeSet<u32>) -> Vec<String> {
    let id = |line: &str| line.split_once(';').and_then(|(id, _)| id.parse().ok());
    contents.into_iter().filter(|line| id(line).is_none_or(|id: u32| !left_out.contains(&id))).collect()
}

/// A list of contents for a schema without rows: there is nothing to be seen by a materialized view, and one of them may want
/// another one first.
pub fn without_view_data(mut contents: Vec<String>) -> Vec<String> {
    contents.retain(|line| !line.contains(" MATERIALIZED VIEW DATA "));
    contents
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
