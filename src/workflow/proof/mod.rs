//! Proves that a filled database is the snapshot: rows and their hashes read back, sequences, indexes, schema.

mod rows;

use serde::Serialize;

use crate::postgres::deferred_checks::NotValid;
use crate::postgres::{ConnectionSpec, Session, catalog, sequence_check};
use crate::snapshot::Manifest;

use super::fill::NotMade;
use super::schema_reading::SchemaReading;
use super::{Error, Operator, manifest_parts};

pub use rows::{ProvenRows, prove_rows};

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
    /// Tables and rows in words, the operator's apart from ours.
    #[serde(skip)]
    pub counted: String,
    /// Sequences compared.
    pub sequences: usize,
    /// Whether the schema was compared with a plain `pg_restore` of the same archive.
    pub schema: bool,
    /// One line per difference; empty when the database is the snapshot.
    pub differences: Vec<String>,
    /// What the operator should know of the snapshot's own data: it came back as it was.
    pub warnings: Vec<String>,
    /// Constraints that were valid and that its rows do not pass.
    pub not_valid: Vec<NotValid>,
    /// What did not come back, and was left out for that.
    pub not_made: Vec<NotMade>,
}

/// Reads every table of the database back and compares rows, sequences and indexes with the manifest.
pub async fn prove(
    spec: &ConnectionSpec,
    manifest: &Manifest,
    level: ProofLevel,
    jobs: usize,
    operator: &dyn Operator,
) -> Result<Proof, Error> {
    let rows = prove_rows(spec, manifest, (level, None), jobs, operator).await?;
    conclude(spec, manifest, rows).await
}

/// Adds what only a finished database can show: sequences, and indexes as valid as they were.
pub async fn conclude(spec: &ConnectionSpec, manifest: &Manifest, rows: ProvenRows) -> Result<Proof, Error> {
    let ProvenRows { level, tables, counted, differences } = rows;
    let mut proof = Proof { level, tables, rows: manifest.totals.rows, counted, differences, ..Proof::default() };
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
    Ok(proof)
}

/// What is as it was in the snapshot, and not as it should be.
async fn warnings(session: &Session, manifest: &Manifest) -> Result<Vec<String>, Error> {
    let mut warnings = sequence_check::behind(session).await?;
    warnings.extend(manifest.invalid_indexes.iter().map(|index| {
        format!("index {index} was invalid when the snapshot was taken, so it was not dumped and is not here")
    }));
    Ok(warnings)
}

/// Compares the schema of the restored database with the same archive restored, without rows, by plain `pg_restore`.
pub fn prove_schema(restored: &SchemaReading, plain: &SchemaReading, proof: &mut Proof) {
    proof.schema = true;
    let difference = plain.schema.difference(&restored.schema);
    if !difference.is_empty() {
        proof.differences.push(format!("schema (- plain pg_restore, + here):\n{difference}"));
    }
}
