//! `exec`: the migration commands of others, wrapped.

mod django;
mod django_guide;
pub mod django_project;
mod django_squashed;
mod django_stopped;
mod gates;
mod other_tools;
mod receipts;

use std::path::{Path, PathBuf};

use crate::support::{Scene, TestCluster, tool};

/// The Python that has Django and Alembic.
pub fn python() -> PathBuf {
    // Not resolved: the environment is found by the path through which Python is called.
    match std::env::var_os("SAFE_MIGRATE_TEST_PYTHON") {
        Some(path) => path.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/python/bin/python"),
    }
}

/// Where the npm packages are.
pub fn node_tools() -> PathBuf {
    tool("SAFE_MIGRATE_TEST_NODE_TOOLS", "node")
}

/// Makes `python` and the npm packages' programs those of the tests.
pub fn put_on_path(scene: &mut Scene) {
    let python = python();
    let (python, node) = (python.parent().unwrap(), node_tools().join("node_modules/.bin"));
    let path = std::env::var("PATH").unwrap();
    scene.project.set("PATH", &format!("{}:{}:{path}", python.display(), node.display()));
}

/// Sessions in the server's log that are neither ours nor PostgreSQL's programs; the server logs its connections.
pub fn strangers(cluster: &TestCluster) -> Vec<String> {
    let ours = ["application_name=safe-migrate", "application_name=pg_", "application_name=psql"];
    let log = cluster.log();
    let authorized = log.lines().filter(|line| line.contains("connection authorized:"));
    authorized.filter(|line| !ours.iter().any(|name| line.contains(name))).map(str::to_owned).collect()
}
