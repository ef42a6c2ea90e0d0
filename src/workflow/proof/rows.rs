//! Reads the rows of a filled database back, several workers at a time, and compares their hashes.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::TryStreamExt;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::postgres::catalog::Table;
use crate::postgres::{ConnectionSpec, Session, catalog, copy, prepare_copy_session, row_counts};
use crate::report::{format_count, format_things};
use crate::snapshot::{Manifest, RowSetHash};

use super::super::streaming_threads::{StreamingThreads, streaming};
use super::super::{Error, Operator, Unit, manifest_parts};
use super::ProofLevel;

/// Rows that are counted and hashed together: a table, or all leaves of a hash-partitioned root.
#[derive(Clone, Debug)]
struct ReadBack {
    schema: String,
    name: String,
    columns: Vec<String>,
    filter: Option<String>,
    whole_tree: bool,
    expected: RowSetHash,
}

fn read_backs(manifest: &Manifest) -> Vec<ReadBack> {
    let mut groups: BTreeMap<(String, String, bool), ReadBack> = BTreeMap::new();
    for table in &manifest.tables {
        let (schema, name, whole_tree) = match &table.hash_partition_root {
            Some((schema, name)) => (schema.clone(), name.clone(), true),
            None => (table.schema.clone(), table.name.clone(), false),
        };
        let group = groups.entry((schema.clone(), name.clone(), whole_tree)).or_insert_with(|| ReadBack {
            schema,
            name,
            columns: table.columns.clone(),
            filter: table.filter.clone(),
            whole_tree,
            expected: RowSetHash::default(),
        });
        group.expected.merge(&table.rows);
    }
    groups.into_values().collect()
}

/// A part of a group for one worker.
type Part = (usize, copy::Range);

/// All parts, those of the largest tables first. The hash is a sum, so it does not matter how a table is cut.
fn parts(groups: &[ReadBack], tables: &[Table]) -> VecDeque<Part> {
    let sizes: BTreeMap<(&str, &str), &Table> =
        tables.iter().map(|table| ((table.schema.as_str(), table.name.as_str()), table)).collect();
    let mut parts: Vec<(i64, Part)> = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        match sizes.get(&(group.schema.as_str(), group.name.as_str())) {
            Some(table) if !group.whole_tree => {
                parts.extend(copy::ranges(table).into_iter().map(|range| (table.total_bytes, (index, range))));
            }
            _ => parts.push((i64::MAX, (index, copy::Range::Whole))),
        }
    }
    parts.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    parts.into_iter().map(|(_, part)| part).collect()
}

/// What the workers share.
struct Work {
    spec: ConnectionSpec,
    level: ProofLevel,
    /// An exported snapshot under which the rows are read; none: they do not change.
    under: Option<String>,
    lc_monetary: String,
    encoding: String,
    groups: Vec<ReadBack>,
    parts: Mutex<VecDeque<Part>>,
    rows: UnboundedSender<u64>,
}

/// What reading the rows back showed.
#[derive(Debug)]
pub struct ProvenRows {
    /// How they were compared.
    pub(super) level: ProofLevel,
    /// Tables.
    pub(super) tables: usize,
    /// The same in words, the operator's apart from ours.
    pub(super) counted: String,
    /// One line per difference.
    pub differences: Vec<String>,
}

/// Compares the rows of every table with the manifest. All must be there; nothing else needs to be.
pub async fn prove_rows(
    spec: &ConnectionSpec,
    manifest: &Manifest,
    (level, under): (ProofLevel, Option<&str>),
    jobs: usize,
    operator: &dyn Operator,
) -> Result<ProvenRows, Error> {
    let session = spec.connect("safe-migrate proof").await?;
    prepare_copy_session(&session, None).await?;
    let mut groups = read_backs(manifest);
    let tables = catalog::tables(&session).await?;
    let mut differences = conditions_of_here(&mut groups, &tables);
    let parts = match level {
        ProofLevel::Rows => parts(&groups, &tables),
        ProofLevel::Counts => (0..groups.len()).map(|group| (group, copy::Range::Whole)).collect(),
    };
    session.close().await;
    operator.begin("proving rows", Some(manifest.totals.rows), Unit::Items);
    let (rows, mut progress) = unbounded_channel();
    let work = Arc::new(Work {
        spec: spec.clone(),
        level,
        under: under.map(str::to_owned),
        lc_monetary: manifest_parts::lc_monetary(manifest),
        encoding: manifest.database.encoding.clone(),
        groups,
        parts: Mutex::new(parts),
        rows,
    });
    let shared = Arc::clone(&work);
    let mut workers = StreamingThreads::start(jobs, move |_| worker(Arc::clone(&shared)));
    let mut found = vec![RowSetHash::default(); work.groups.len()];
    loop {
        tokio::select! {
            Some(rows) = progress.recv() => operator.advance(rows),
            ended = workers.next() => match ended {
                Some(hashes) => hashes??.into_iter().for_each(|(group, hash)| found[group].merge(&hash)),
                None => break,
            },
        }
    }
    let tables = work.groups.len();
    let counted = manifest_parts::counted_of(work.groups.iter().map(|one| (one.schema.as_str(), one.expected.rows)));
    operator.finish(&format!("{counted} {}", if level == ProofLevel::Rows { "read back" } else { "counted" }));
    differences.extend(work.groups.iter().zip(&found).filter_map(|(group, found)| difference(group, found)));
    Ok(ProvenRows { level, tables, counted, differences })
}

/// The condition of an extension's configuration table is what the extension says here, never the text of the manifest:
/// that is SQL, and who can write to the store is not the operator. One line for each that differs.
fn conditions_of_here(groups: &mut [ReadBack], tables: &[Table]) -> Vec<String> {
    let mut differences = Vec::new();
    for group in groups {
        let table = tables.iter().find(|table| (&table.schema, &table.name) == (&group.schema, &group.name));
        let here = table.and_then(|table| table.filter.clone());
        if group.filter.is_some() && group.filter != here {
            differences.push(format!(
                "table {}.{}: the extension chooses its rows by another condition here than in the snapshot",
                group.schema, group.name
            ));
        }
        group.filter = group.filter.take().and(here);
    }
    differences
}

fn difference(group: &ReadBack, found: &RowSetHash) -> Option<String> {
    let name = format!("{}.{}", group.schema, group.name);
    if found.rows != group.expected.rows {
        Some(format!(
            "table {name}: {} in the snapshot, {} here",
            format_things(group.expected.rows, "row"),
            format_count(found.rows)
        ))
    } else if *found != group.expected {
        Some(format!("table {name}: {}, but not the same ones", format_things(found.rows, "row")))
    } else {
        None
    }
}

async fn worker(work: Arc<Work>) -> Result<Vec<(usize, RowSetHash)>, Error> {
    let session = work.spec.connect("safe-migrate proof worker").await?;
    prepare_copy_session(&session, Some(&work.lc_monetary)).await?;
    if let Some(snapshot) = &work.under {
        copy::begin_under(&session, snapshot).await?;
    }
    let mut hashes = Vec::new();
    loop {
        let next = work.parts.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some((group, range)) = next else { break };
        let table = &work.groups[group];
        let hash = match work.level {
            ProofLevel::Rows => read_one(&session, &work, table, range).await?,
            ProofLevel::Counts => count_one(&session, &work, table).await?,
        };
        hashes.push((group, hash));
    }
    session.close().await;
    Ok(hashes)
}

/// The rows as they are, with the hash that they should have.
async fn count_one(session: &Session, work: &Work, table: &ReadBack) -> Result<RowSetHash, Error> {
    let name = (table.schema.as_str(), table.name.as_str());
    let rows = row_counts::count(session, name, table.filter.as_deref(), table.whole_tree).await?;
    let _ = work.rows.send(rows);
    let mut counted = table.expected;
    counted.rows = rows;
    Ok(counted)
}

async fn read_one(session: &Session, work: &Work, table: &ReadBack, range: copy::Range) -> Result<RowSetHash, Error> {
    let name = (table.schema.as_str(), table.name.as_str());
    let filter = table.filter.as_deref();
    let rows = copy::read_back(session, name, &table.columns, filter, table.whole_tree, range, &work.encoding).await?;
    let mut rows = pin!(rows);
    let mut hash = RowSetHash::default();
    while let Some(row) = rows.try_next().await? {
        hash.add_row(&row);
        if hash.rows.is_multiple_of(4096) {
            streaming(true);
            // Nobody listens any more only when the proof was given up.
            let _ = work.rows.send(4096);
        }
    }
    streaming(false);
    let _ = work.rows.send(hash.rows % 4096);
    Ok(hash)
}
