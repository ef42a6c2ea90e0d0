//! The drill: a snapshot is restored in a private server, compared, and asked the project's own questions.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::migration::load_checks;
use crate::snapshot::SnapshotId;
use crate::store::Store;

use super::retention::{disprove, disprove_by};
use super::shadow::Shadow;
use super::verify_restore::prove_schema;
use super::{Error, Interrupt, Operator, Project, Proof, rehearse};

/// What a drill showed.
#[derive(Clone, Debug, Serialize)]
pub struct DrillReport {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// What was compared.
    pub proof: Proof,
    /// How long it took until every row was there and read back.
    #[serde(skip)]
    pub restored_in: Duration,
    /// Files of `checks/` whose queries returned no row.
    pub passed: Vec<String>,
    /// Those that returned rows or could not be run, with what was wrong.
    pub failed: Vec<String>,
}

/// Restores a snapshot into a shadow, compares it, and runs `checks/*.sql` there. Never connects to production.
pub async fn drill(
    project: &Project,
    store: &Store,
    id: &SnapshotId,
    operator: &dyn Operator,
    interrupt: &Interrupt,
) -> Result<DrillReport, Error> {
    let checks = load_checks(&project.migrations_dir)?;
    let reader = project.open_snapshot(store, id, operator).await?;
    let programs = project.programs(reader.manifest().server.version_num / 10_000)?;
    operator.step(&format!("restoring snapshot {id} into a shadow"));
    let begun = Instant::now();
    let role = (!checks.is_empty()).then(|| project.target.user());
    let restored = Shadow::restore(project, &programs, &reader, role, operator, interrupt).await;
    if let Err(error) = &restored {
        disprove_by(store, id, error).await;
    }
    let (shadow, proof) = restored?;
    let restored_in = begun.elapsed();
    let mut report = DrillReport { snapshot: id.clone(), proof, restored_in, passed: Vec::new(), failed: Vec::new() };
    let asking = async {
        prove_schema(&programs, &reader, &shadow, &mut report.proof, operator).await?;
        let Some(role) = role else { return Ok(()) };
        let session = shadow.connect_as(role).await?;
        let results = rehearse::checks::run(&session, &checks, &project.execute, false).await;
        for (check, result) in checks.iter().zip(results) {
            match (result.rows, result.error) {
                (Some(0), _) => report.passed.push(check.name.clone()),
                (Some(rows), _) => report.failed.push(format!("{}: it returns {rows} rows", check.name)),
                (None, error) => report.failed.push(format!("{}: {}", check.name, error.unwrap_or_default())),
            }
        }
        Ok(())
    };
    let asked = interrupt.or(asking).await;
    shadow.stop().await?;
    asked?;
    if !report.proof.differences.is_empty() {
        disprove(store, id).await;
    }
    Ok(report)
}
