//! What the role may not do, listed before a restore starts: without superuser rights a late step would fail.

use std::collections::BTreeSet;

use crate::postgres::restorable::{self, Refusals};
use crate::postgres::{ArchiveEntry, Capabilities};
use crate::snapshot::Manifest;

use super::super::Error;
use super::super::project::Server;

/// Compares what the snapshot needs with what the role may do; what is left out is needed no more.
pub(super) async fn refusals(
    server: &Server,
    manifest: &Manifest,
    entries: &[ArchiveEntry],
    left_out: &BTreeSet<u32>,
    creates_roles: bool,
) -> Result<Refusals, Error> {
    let session = &server.maintenance;
    let capabilities = Capabilities::read(session, &manifest.database.name).await?;
    let entries: Vec<&ArchiveEntry> = entries.iter().filter(|entry| !left_out.contains(&entry.id)).collect();
    Ok(restorable::refusals(session, &capabilities, &entries, creates_roles).await?)
}
