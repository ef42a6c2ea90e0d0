//! Where each imported migration goes, and how those of other apps are called then.

use std::path::{Path, PathBuf};

use crate::migration::{ForeignMigration, MigrationError, MigrationId};

use super::super::super::{Error, Project};
use super::named;

/// The names and files of imported migrations, in their order.
pub(super) struct Places {
    ids: Vec<MigrationId>,
    paths: Vec<PathBuf>,
    /// App and key of each, as the tool calls them.
    keys: Vec<(Option<String>, String)>,
}

impl Places {
    pub(super) fn of(project: &Project, foreign: &[ForeignMigration], app: &str) -> Result<Self, Error> {
        let names = named(foreign, |one| one.app.clone().unwrap_or_else(|| app.to_owned()));
        let ids = names.iter().map(|(app, name)| MigrationId::new(app, name)).collect::<Result<Vec<_>, _>>();
        let ids = ids.map_err(MigrationError::from)?;
        let path = |id: &MigrationId| project.migrations_dir.join(&id.app).join(format!("{}.sql", id.name));
        let paths = ids.iter().map(path).collect();
        let keys = foreign.iter().map(|one| (one.app.clone(), one.key.clone())).collect();
        Ok(Self { ids, paths, keys })
    }

    pub(super) fn id(&self, at: usize) -> &MigrationId {
        &self.ids[at]
    }

    pub(super) fn path(&self, at: usize) -> &Path {
        &self.paths[at]
    }

    /// What a migration stands on, by our names; of a tool without dependencies that is its number.
    pub(super) fn depends(&self, one: &ForeignMigration) -> Vec<String> {
        let known = |(app, key): &(String, String)| {
            let app = (!app.is_empty()).then(|| app.clone());
            self.keys.iter().position(|(other, name)| *other == app && name == key)
        };
        one.depends.iter().filter_map(known).map(|at| self.ids[at].to_string()).collect()
    }
}
