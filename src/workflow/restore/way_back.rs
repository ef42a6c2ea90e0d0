//! The way back that a run promises: how far the run's own role could restore its snapshot.

use std::collections::BTreeSet;

use crate::postgres::{Capabilities, Session};
use crate::snapshot::{SnapshotId, SnapshotReader};
use crate::store::Store;

use super::super::project::Server;
use super::super::{Error, Gate, Project};
use super::{rights, without};

/// How far a role could restore a snapshot on the server of its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WayBack {
    /// In the place of the live database.
    InPlace,
    /// Beside it: the role does not own the live one, and only an owner may rename a database.
    Beside,
    /// Not at all, for this reason.
    None(String),
}

impl WayBack {
    /// What the role may do, whatever the snapshot holds.
    pub(in super::super) async fn of_role(project: &Project, session: &Session) -> Result<Self, Error> {
        let role = Capabilities::read(session, project.target.database()).await?;
        Ok(match role.owns_target {
            _ if !role.create_databases => Self::None(format!("role \"{}\" may not create databases", role.role)),
            Some(false) => Self::Beside,
            _ => Self::InPlace,
        })
    }

    /// The same for a snapshot that may hold what only a superuser can make.
    pub(in super::super) async fn of_snapshot(
        self,
        project: &Project,
        server: &Server,
        store: &Store,
        snapshot: &SnapshotId,
    ) -> Result<Self, Error> {
        let role = Capabilities::read(&server.maintenance, project.target.database()).await?;
        if role.superuser || matches!(self, Self::None(_)) {
            return Ok(self);
        }
        let reader = SnapshotReader::open(store, snapshot).await?;
        let entries = without::SchemaFile::read(project, &reader).await?.entries(server).await?;
        let refusals = rights::refusals(server, reader.manifest(), &entries, &BTreeSet::new(), false).await?;
        if refusals.lines.is_empty() || !refusals.certain {
            return Ok(self);
        }
        Ok(Self::None(format!("role \"{}\" may not {}", role.role, refusals.lines.join("; nor "))))
    }

    /// Stops a run whose role could not take the way back, unless the operator accepts that.
    pub(in super::super) fn refuse_none(&self, accepted: Option<&str>) -> Result<(), Error> {
        match self {
            Self::None(why) if accepted.is_none() => Err(Gate::NoRestore(why.clone()).into()),
            _ => Ok(()),
        }
    }

    /// The command, or what to do in its place.
    pub fn command(&self, snapshot: &str) -> String {
        match self {
            Self::InPlace => format!("safe-migrate restore {snapshot} --in-place"),
            Self::Beside => format!("safe-migrate restore {snapshot} (beside; the owner of the database swaps it in)"),
            Self::None(why) => format!("none for this role ({why}); as another one: safe-migrate restore {snapshot}"),
        }
    }

    /// The hint of a run that stopped after it changed something.
    pub(in super::super) fn hint(&self, snapshot: Option<&str>) -> String {
        match snapshot {
            Some(id) => format!("look at the differences; the way back is: {}", self.command(id)),
            None => "look at the differences; no snapshot was taken".to_owned(),
        }
    }
}
