//! Roles that a snapshot knows and the server lacks: made on demand, without passwords.

use crate::postgres::roles;
use crate::snapshot::SnapshotReader;

use super::super::project::Server;
use super::super::{Error, manifest_parts};

/// Makes the missing roles; those of them that can log in have no password now, and are returned.
///
/// Roles that are there are never altered: who writes to the store must not give one of them another's rights.
pub(super) async fn make_missing(server: &Server, reader: &SnapshotReader) -> Result<Vec<String>, Error> {
    let existing = roles::names(&server.maintenance).await?;
    let mut missing = manifest_parts::roles(reader).await?.facts.without(&existing).of_new_members();
    if server.identity.major() >= 16 && reader.manifest().server.version_num < 160_000 {
        missing = missing.without_grantors();
    }
    roles::make(&server.maintenance, &missing).await?;
    let made: Vec<String> = missing.names().map(str::to_owned).collect();
    Ok(roles::that_log_in(&server.maintenance, &made).await?)
}
