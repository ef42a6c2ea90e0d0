//! The strongest verification of a snapshot: it is restored into a private server and read back.

use crate::postgres::{Programs, Section, Tablespaces, archive};
use crate::snapshot::{SnapshotId, SnapshotReader};
use crate::store::Store;

use super::proof::{self, Proof};
use super::retention::{disprove, disprove_by};
use super::schema_reading::read_raw;
use super::shadow::{self, Shadow};
use super::{Error, Interrupt, Operator, Project, fill};

/// Restores a snapshot into a shadow and compares rows, sequences, indexes and schema. Never connects to production.
pub async fn verify_by_restore(
    project: &Project,
    store: &Store,
    id: &SnapshotId,
    operator: &dyn Operator,
    interrupt: &Interrupt,
) -> Result<Proof, Error> {
    let reader = project.open_snapshot(store, id, operator).await?;
    let programs = project.programs(reader.manifest().server.version_num / 10_000)?;
    operator.step(&format!("restoring snapshot {id} into a shadow"));
    let restored = Shadow::restore(project, &programs, &reader, None, operator, interrupt).await;
    if let Err(error) = &restored {
        disprove_by(store, id, error).await;
    }
    let (shadow, mut proof) = restored?;
    let proving = interrupt.or(prove_schema(&programs, &reader, &shadow, &mut proof, operator)).await;
    shadow.stop().await?;
    proving?;
    if !proof.differences.is_empty() {
        disprove(store, id).await;
    }
    Ok(proof)
}

/// Compares the schema of a restored shadow with a plain `pg_restore` of the same archive.
pub(super) async fn prove_schema(
    programs: &Programs,
    reader: &SnapshotReader,
    shadow: &Shadow,
    proof: &mut Proof,
    operator: &dyn Operator,
) -> Result<(), Error> {
    operator.step("comparing the schema with a plain pg_restore");
    let archive_file = shadow.write_file("plain.dump", &reader.get_blob(&reader.manifest().schema).await?)?;
    let contents = archive::list(programs, &archive_file).await?;
    let list = shadow.write_file(
        "plain.list",
        fill::without_view_data(shadow::without_outside_links(&contents)).join("\n").as_bytes(),
    )?;
    let plain = shadow.scratch_database().await?;
    for section in [Section::PreData, Section::PostData] {
        archive::restore(programs, &plain.spec, &archive_file, Some(section), Some(&list), Tablespaces::Default, 1)
            .await?;
    }
    let restored = read_raw(programs, &shadow.spec(), &[]).await?;
    proof::prove_schema(&restored, &read_raw(programs, &plain.spec, &[]).await?, proof);
    Ok(())
}
