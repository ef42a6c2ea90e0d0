//! Proves that a filled database is the snapshot: rows and their hashes read back, sequences, indexes, schema.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::TryStreamExt;
use serde::Serialize;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::postgres::catalog::Table;
use crate::postgres::{ConnectionSpec, Programs, Session, catalog, copy, prepare_copy_session};
use crate::report::format_things;
use crate::snapshot::{Manifest, RowSetHash};

use super::streaming_threads::StreamingThreads;
use super::{Error, Operator, Unit, manifest_parts};

/// What was compared, and what was not equal.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Proof {
    /// Tables whose rows were read back and hashed.
    pub tables: usize,
    /// Rows in them.
    pub rows: u64,
    /// Sequences compared.
    pub sequences: usize,
    /// Whether the schema was compared with a plain `pg_restore` of the same archive.
    pub schema: bool,
    /// One line per difference; empty when the database is the snapshot.
    pub differences: Vec<String>,
}

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
    lc_monetary: String,
    encoding: String,
    groups: Vec<ReadBack>,
    parts: Mutex<VecDeque<Part>>,
    rows: UnboundedSender<u64>,
}

/// Reads every table of the database back and compares rows and sequences with the manifest.
pub async fn prove(
    spec: &ConnectionSpec,
    manifest: &Manifest,
    jobs: usize,
    operator: &dyn Operator,
) -> Result<Proof, Error> {
    let session = spec.connect("safe-migrate proof").await?;
    prepare_copy_session(&session, None).await?;
    let (differences, tables) = prove_rows(spec, manifest, &session, jobs, operator).await?;
    let mut proof = Proof { tables, rows: manifest.totals.rows, differences, ..Proof::default() };
    let expected = manifest_parts::sequences(manifest);
    let found = catalog::sequences(&session).await?;
    proof.sequences = expected.len();
    for sequence in &expected {
        let name = format!("{}.{}", sequence.schema, sequence.name);
        match found.iter().find(|one| one.schema == sequence.schema && one.name == sequence.name) {
            None => proof.differences.push(format!("sequence {name}: missing")),
            Some(one) if one != sequence => proof.differences.push(format!(
                "sequence {name}: at {} (called: {}) in the snapshot, at {} (called: {}) here",
                sequence.last_value, sequence.is_called, one.last_value, one.is_called
            )),
            Some(_) => {}
        }
    }
    for index in catalog::invalid_indexes(&session).await? {
        if !manifest.invalid_indexes.contains(&index) {
            proof.differences.push(format!("index {index}: invalid here, valid in the snapshot"));
        }
    }
    proof.differences.sort();
    Ok(proof)
}

/// The differences of rows, and how many tables were read.
async fn prove_rows(
    spec: &ConnectionSpec,
    manifest: &Manifest,
    session: &Session,
    jobs: usize,
    operator: &dyn Operator,
) -> Result<(Vec<String>, usize), Error> {
    let groups = read_backs(manifest);
    let parts = parts(&groups, &catalog::tables(session).await?);
    operator.begin("proving rows", Some(manifest.totals.rows), Unit::Items);
    let (rows, mut progress) = unbounded_channel();
    let work = Arc::new(Work {
        spec: spec.clone(),
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
    operator.finish(&format!(
        "{} in {} read back",
        format_things(manifest.totals.rows, "row"),
        format_things(tables as u64, "table")
    ));
    Ok((work.groups.iter().zip(&found).filter_map(|(group, found)| difference(group, found)).collect(), tables))
}

fn difference(group: &ReadBack, found: &RowSetHash) -> Option<String> {
    let name = format!("{}.{}", group.schema, group.name);
    if found.rows != group.expected.rows {
        Some(format!("table {name}: {} rows in the snapshot, {} here", group.expected.rows, found.rows))
    } else if *found != group.expected {
        Some(format!("table {name}: {} rows, but not the same ones", found.rows))
    } else {
        None
    }
}

async fn worker(work: Arc<Work>) -> Result<Vec<(usize, RowSetHash)>, Error> {
    let session = work.spec.connect("safe-migrate proof worker").await?;
    prepare_copy_session(&session, Some(&work.lc_monetary)).await?;
    let mut hashes = Vec::new();
    loop {
        let next = work.parts.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some((group, range)) = next else { break };
        hashes.push((group, read_one(&session, &work, &work.groups[group], range).await?));
    }
    session.close().await;
    Ok(hashes)
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
            // Nobody listens any more only when the proof was given up.
            let _ = work.rows.send(4096);
        }
    }
    let _ = work.rows.send(hash.rows % 4096);
    Ok(hash)
}

/// Compares the schema of the restored database with the same archive restored, without rows, by plain `pg_restore`.
pub async fn prove_schema(
    programs: &Programs,
    restored: &ConnectionSpec,
    plain: &ConnectionSpec,
    proof: &mut Proof,
) -> Result<(), Error> {
    let here = super::schema_reading::read_raw(programs, restored, &[]).await?;
    let there = super::schema_reading::read_raw(programs, plain, &[]).await?;
    proof.schema = true;
    let difference = there.schema.difference(&here.schema);
    if !difference.is_empty() {
        proof.differences.push(format!("schema (- plain pg_restore, + here):\n{difference}"));
    }
    Ok(())
}
