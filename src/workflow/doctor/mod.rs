//! Is everything in place? Each thing that a run needs, looked at by itself, and what to do where it is amiss.
//!
//! A failed check stops only those that need what it looked for. Nothing is changed: a store that is there gets a
//! small probe object, which is removed again; a private server is started and thrown away.

mod check;
mod database;
mod rights;
mod server;
mod shadow;
pub(in crate::workflow) mod space;
mod store;

use std::path::PathBuf;

pub use check::{Check, CheckState};

use crate::migration::MigrationSet;

use super::{Operator, Project};

/// What the command line knows of the configuration and a [`Project`] does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// The file that was read, if there is one.
    pub file: Option<PathBuf>,
    /// Why no store is configured, and what to do; `None` when there is one.
    pub no_store: Option<(String, String)>,
}

/// Looks at everything that a run needs; goes on with whatever does not depend on a failed check.
pub async fn examine(project: &Project, configuration: &Configuration, operator: &dyn Operator) -> Vec<Check> {
    let mut checks = vec![configuration_file(configuration), migration_files(project)];
    operator.step(&format!("looking at {}", project.target.display()));
    let reached = server::reach(project).await;
    checks.extend(server::checks(project, &reached).await);
    checks.extend(rights::checks(project, &reached).await);
    checks.extend(database::checks(project, &reached).await);
    checks.extend(shadow::checks(project, &reached, operator).await);
    operator.step("looking at the store");
    checks.extend(store::checks(project, configuration, reached.database_bytes()).await);
    checks
}

fn configuration_file(configuration: &Configuration) -> Check {
    match &configuration.file {
        Some(file) => Check::ok("configuration", file.display().to_string()),
        None => Check::ok("configuration", "no safe-migrate.toml; options, environment and defaults are used"),
    }
}

fn migration_files(project: &Project) -> Check {
    const NAME: &str = "migration files";
    let dir = project.migrations_dir.display();
    let set = match MigrationSet::load(&project.migrations_dir, &project.default_app) {
        Ok(set) => set,
        Err(error) => return Check::failed(NAME, check::explain(&error), error.hint()),
    };
    let conflicts = set.conflicts();
    if !conflicts.is_empty() {
        let remedy = "write a migration that depends on both leaves (-- depends: A, B)";
        return Check::failed(NAME, super::Gate::Conflict(conflicts).to_string(), Some(remedy.to_owned()));
    }
    match set.len() {
        0 => Check::warn(NAME, format!("{dir} holds no migration"), "put the first one there: APP/0001_NAME.sql"),
        count => Check::ok(NAME, format!("{count} in {dir}, apps: {}", Vec::from_iter(set.apps()).join(", "))),
    }
}
