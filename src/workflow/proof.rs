//! Proves that a filled database is the snapshot: rows and their hashes read back, sequences, indexes, schema.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::TryStreamExt;
use serde::Serialize;

use crate::postgres::{Programs, catalog, copy, prepare_copy_session, row_counts, sequence_check};
use crate::report::format_things;
use crate::snapshot::{Manifest, RowSetHash};

use super::{Error, Operator, Unit, manifest_parts};

/// How rows are compared with the snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProofLevel {
    /// Every row is read back and hashed.
    #[default]
    Rows,
    /// Rows are counted; what is in them is not looked at.
    Counts,
}

/// What was compared, and what was not equal.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Proof {
    /// How the rows were compared.
    pub level: ProofLevel,
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
    /// What the operator should know of the snapshot's own data: it came back as it was.
    pub warnings: Vec<String>,
}

/// Rows that are read back together: a table, or all leaves of a hash-partitioned root.
#[derive(Clone, Debug)]
struct ReadBack {
    schema: String,
    name: String,
    columns: Vec<String>,
    filter: Option<String>,
    whole_tree: bool,
    expected: RowSetHash,
}

fn read_backs(manifest: &Manifest) -> VecDeque<ReadBack> {
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
    let mut all: Vec<ReadBack> = groups.into_values().collect();
    all.sort_by_key(|group| std::cmp::Reverse(group.expected.rows));
    all.into()
}

/// Reads every table of the database back and compares rows and sequences with the manifest.
pub async fn prove(
    spec: &crate::postgres::ConnectionSpec,
    manifest: &Manifest,
    level: ProofLevel,
    jobs: usize,
    operator: &dyn Operator,
) -> Result<Proof, Error> {
    let queue = Arc::new(Mutex::new(read_backs(manifest)));
    let tables = queue.lock().unwrap_or_else(PoisonError::into_inner).len();
    operator.begin("proving rows", Some(manifest.totals.rows), Unit::Items);
    let workers = (0..jobs.max(1)).map(|_| worker(spec, manifest, level, Arc::clone(&queue), operator));
    let differences = futures_util::future::try_join_all(workers).await?.concat();
    let mut proof = Proof { level, tables, rows: manifest.totals.rows, differences, ..Proof::default() };
    let session = spec.connect("safe-migrate proof").await?;
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
    proof.warnings = warnings(&session, manifest).await?;
    operator.finish(&format!(
        "{} in {} {}",
        format_things(manifest.totals.rows, "row"),
        format_things(tables as u64, "table"),
        if level == ProofLevel::Rows { "read back" } else { "counted" }
    ));
    Ok(proof)
}

/// What is as it was in the snapshot, and not as it should be.
async fn warnings(session: &crate::postgres::Session, manifest: &Manifest) -> Result<Vec<String>, Error> {
    let mut warnings = sequence_check::behind(session).await?;
    warnings.extend(manifest.invalid_indexes.iter().map(|index| {
        format!("index {index} was invalid when the snapshot was taken, so it was not dumped and is not here")
    }));
    Ok(warnings)
}

async fn worker(
    spec: &crate::postgres::ConnectionSpec,
    manifest: &Manifest,
    level: ProofLevel,
    queue: Arc<Mutex<VecDeque<ReadBack>>>,
    operator: &dyn Operator,
) -> Result<Vec<String>, Error> {
    let session = spec.connect("safe-migrate proof worker").await?;
    prepare_copy_session(&session, Some(&manifest_parts::lc_monetary(manifest))).await?;
    let mut differences = Vec::new();
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(table) = next else { return Ok(differences) };
        let found = match level {
            ProofLevel::Rows => read_one(&session, &table, &manifest.database.encoding, operator).await?,
            ProofLevel::Counts => count_one(&session, &table, operator).await?,
        };
        let name = format!("{}.{}", table.schema, table.name);
        if found.rows != table.expected.rows {
            differences
                .push(format!("table {name}: {} rows in the snapshot, {} here", table.expected.rows, found.rows));
        } else if found != table.expected {
            differences.push(format!("table {name}: {} rows, but not the same ones", found.rows));
        }
    }
}

/// The rows as they are, with the hash that they should have.
async fn count_one(
    session: &crate::postgres::Session,
    table: &ReadBack,
    operator: &dyn Operator,
) -> Result<RowSetHash, Error> {
    let (name, filter) = ((table.schema.as_str(), table.name.as_str()), table.filter.as_deref());
    let rows = row_counts::count(session, name, filter, table.whole_tree).await?;
    operator.advance(rows);
    let mut counted = table.expected;
    counted.rows = rows;
    Ok(counted)
}

async fn read_one(
    session: &crate::postgres::Session,
    table: &ReadBack,
    encoding: &str,
    operator: &dyn Operator,
) -> Result<RowSetHash, Error> {
    let rows = copy::read_back(
        session,
        (&table.schema, &table.name),
        &table.columns,
        table.filter.as_deref(),
        table.whole_tree,
        encoding,
    )
    .await?;
    let mut rows = pin!(rows);
    let mut hash = RowSetHash::default();
    while let Some(row) = rows.try_next().await? {
        hash.add_row(&row);
        if hash.rows.is_multiple_of(4096) {
            operator.advance(4096);
        }
    }
    operator.advance(hash.rows % 4096);
    Ok(hash)
}

/// Compares the schema of the restored database with the same archive restored, without rows, by plain `pg_restore`.
pub async fn prove_schema(
    programs: &Programs,
    restored: &crate::postgres::ConnectionSpec,
    plain: &crate::postgres::ConnectionSpec,
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
