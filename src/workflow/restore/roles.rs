//! Roles that a snapshot knows and the server lacks: made on demand, without passwords.

use crate::postgres::{archive, roles};
use crate::snapshot::SnapshotReader;

use super::super::project::Server;
use super::super::{Error, Project};

/// The script that made the roles of the snapshot's server.
pub(super) async fn script(reader: &SnapshotReader) -> Result<String, Error> {
    Ok(String::from_utf8_lossy(&reader.get_blob(&reader.manifest().roles).await?).into_owned())
}

/// Makes the missing roles; those of them that can log in have no password now, and are returned.
pub(super) async fn make_missing(
    project: &Project,
    server: &Server,
    reader: &SnapshotReader,
) -> Result<Vec<String>, Error> {
    let script = script(reader).await?;
    let existing = roles::names(&server.maintenance).await?;
    let mut missing = roles::script_for_missing(&script, &existing);
    if server.identity.major() >= 16 && reader.manifest().server.version_num < 160_000 {
        missing = roles::without_grantors(&missing);
    }
    let maintenance = project.database(&project.maintenance_database);
    archive::run_script(&server.programs, &maintenance, missing.as_bytes(), false).await?;
    let made = roles::created_by(&script).into_iter().filter(|name| !existing.contains(name)).collect::<Vec<_>>();
    Ok(roles::that_log_in(&server.maintenance, &made).await?)
}
