//! What the role may not do, listed before a restore starts: without superuser rights a late step would fail.

use crate::postgres::restorable::{self, Refusals};
use crate::postgres::{Capabilities, WorkDirectory, archive};
use crate::snapshot::SnapshotReader;

use super::super::project::Server;
use super::super::{Error, Project, fill};

/// Compares what the snapshot needs with what the role may do.
pub(super) async fn refusals(
    project: &Project,
    server: &Server,
    reader: &SnapshotReader,
    creates_roles: bool,
) -> Result<Refusals, Error> {
    let manifest = reader.manifest();
    let session = &server.maintenance;
    let capabilities = Capabilities::read(session, &manifest.database.name).await?;
    if capabilities.superuser {
        return Ok(Refusals { lines: Vec::new(), certain: true });
    }
    let files = WorkDirectory::create(&project.shadow_dir)
        .map_err(|source| Error::File { what: "cannot make a temporary directory".to_owned(), source })?;
    let schema = fill::write_file(files.path(), "schema.dump", &reader.get_blob(&manifest.schema).await?)?;
    let script = archive::script(&server.programs, &schema).await?;
    let extensions: Vec<String> = manifest.extensions.iter().map(|one| one.name.clone()).collect();
    Ok(restorable::refusals(session, &capabilities, &script, &extensions, creates_roles).await?)
}
