//! Which snapshot a run goes by: a new one, or one that is there and was taken of this database.

use std::time::Duration;

use crate::report::format_duration;
use crate::snapshot::{self, Level, SnapshotId, SnapshotReader, VerifiedSnapshot};
use crate::store::Store;

use super::project::Server;
use super::{Error, Gate, Operator, Project};

/// Which snapshot a run trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotChoice {
    /// Take one now.
    New,
    /// The newest one of this source, when it is not older.
    MaxAge(Duration),
    /// That one.
    Id(SnapshotId),
    /// None, for this reason.
    Skip(String),
}

impl SnapshotChoice {
    /// The snapshot that is chosen and is there, looked at once more; none where one is to be taken, or to be done without.
    pub(super) async fn there(
        &self,
        (project, server, store): (&Project, &Server, &Store),
        operator: &dyn Operator,
    ) -> Result<Option<VerifiedSnapshot>, Error> {
        let id = match self {
            Self::New | Self::Skip(_) => return Ok(None),
            Self::Id(id) => Some(id.clone()),
            Self::MaxAge(age) => recent(project, server, store, *age, operator).await?,
        };
        let Some(id) = id else { return Ok(None) };
        refuse_of_others(project, server, &SnapshotReader::open(store, &id).await?)?;
        Ok(Some(snapshot::verify(store, &id, Level::Exists, |_, _| {}).await?.into_verified()?))
    }
}

/// A snapshot must be of this source and of this server's database.
fn refuse_of_others(project: &Project, server: &Server, reader: &SnapshotReader) -> Result<(), Error> {
    let (manifest, source) = (reader.manifest(), &project.source);
    let id = &manifest.id;
    if manifest.source != *source {
        let message = format!("snapshot {id} is of source \"{}\", not of \"{source}\"", manifest.source);
        return Err(Gate::SnapshotChoice(message).into());
    }
    if manifest.server.system_identifier != server.identity.system_identifier {
        let message = format!("snapshot {id} was taken from another server than the one that would be migrated");
        return Err(Gate::SnapshotChoice(message).into());
    }
    Ok(())
}

/// The newest snapshot of this source when it is young enough.
async fn recent(
    project: &Project,
    server: &Server,
    store: &Store,
    age: Duration,
    operator: &dyn Operator,
) -> Result<Option<SnapshotId>, Error> {
    let newest = snapshot::list(store).await?.into_iter().find_map(|summary| {
        let details = summary.details()?;
        (details.source == project.source).then(|| (summary.id.clone(), details.started_at))
    });
    let Some((id, taken)) = newest else { return Ok(None) };
    let old = server.clock.now() - taken;
    // One that seems to be of the future was dated by another clock: how old it is cannot be known.
    if old > age || old.is_negative() {
        let is = if old.is_negative() { "dated in the future by" } else { "old:" };
        let by = format_duration(old.unsigned_abs());
        operator.step(&format!("the newest snapshot is {is} {by}; taking a new one"));
        return Ok(None);
    }
    Ok(Some(id))
}
