//! What the tests of bad input share: a production database, and the claim that a refused command left it alone.

use std::path::PathBuf;
use std::sync::Arc;

use crate::support::{Output, Project, TestCluster, TestDatabase, TestStore, Version};

/// Goes straight to production, for tests that need a migration applied and care for nothing else.
const BYPASSES: [&str; 5] = ["--yes", "--skip-snapshot", "a test", "--skip-rehearsal", "a test"];

/// A production database with rows, two migrations that are not applied, and a local store.
///
/// The connection string is in the environment, password included, as on most machines that deploy.
#[derive(Debug)]
pub struct Production {
    pub database: TestDatabase,
    pub project: Project,
    pub store: TestStore,
}

impl Production {
    pub fn new() -> Production {
        let cluster = TestCluster::shared(Version::V15);
        let directory = Project::empty();
        let store = TestStore::local(&directory.directory().join("store"));
        Production::on(&cluster, directory, store)
    }

    /// The same on another server or with another store.
    pub fn on(cluster: &Arc<TestCluster>, mut project: Project, store: TestStore) -> Production {
        let database = cluster.database();
        database.sql(
            "CREATE TABLE guest (id int PRIMARY KEY, name text NOT NULL);
             INSERT INTO guest VALUES (1, 'Keza'), (2, 'Mugisha'), (3, 'Uwase');",
        );
        project.set("DATABASE_URL", &database.url());
        for (name, value) in store.env() {
            project.set(&name, &value);
        }
        project.write_migration(
            "menu",
            "0001_initial",
            "-- migrate:up\nCREATE TABLE dish (id int PRIMARY KEY);\n-- migrate:down\nDROP TABLE dish;\n",
        );
        project.write_migration(
            "menu",
            "0002_name",
            "-- migrate:up\nALTER TABLE dish ADD COLUMN name text;\n\
             -- migrate:down\nALTER TABLE dish DROP COLUMN name;\n",
        );
        let production = Production { database, project, store };
        production.configure("");
        production
    }

    /// Writes the configuration: the source, the store, and more sections.
    pub fn configure(&self, more: &str) {
        self.project.configure(&format!("[database]\nsource = \"test\"\n\n{}\n{more}", self.store.toml()));
    }

    /// Applies migrations up to this one of the app `menu`, past every safeguard.
    pub fn apply(&self, target: &str) {
        let arguments = [&["apply", "menu", target], BYPASSES.as_slice()].concat();
        let output = self.project.run(&arguments);
        assert_eq!(output.status, 0, "{output:?}");
    }

    /// A file of the app `menu`.
    pub fn migration(&self, name: &str) -> PathBuf {
        self.project.migrations().join(format!("menu/{name}.sql"))
    }

    /// Runs a command that must not change anything; what it said, for a snapshot.
    pub fn refuses(&self, arguments: &[&str]) -> String {
        self.refuses_with(arguments, &[])
    }

    /// The same with more environment variables.
    pub fn refuses_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> String {
        self.check_and_render(arguments, &self.run_unchanged(arguments, variables))
    }

    /// The same, as it was said.
    pub fn refuses_unrendered(&self, arguments: &[&str]) -> Output {
        let output = self.run_unchanged(arguments, &[]);
        self.check_and_render(arguments, &output);
        output
    }

    fn run_unchanged(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let before = self.everything();
        let output = self.project.run_with(arguments, variables);
        assert_eq!(self.everything(), before, "production changed:\n{output:?}");
        output
    }

    /// Fails when the output holds a secret or a panic.
    pub fn check_and_render(&self, arguments: &[&str], output: &Output) -> String {
        let said = format!("{}{}", output.stdout, output.stderr);
        let secrets = [Some(self.database.cluster().password()), self.store.secret_key()];
        for secret in secrets.into_iter().flatten() {
            assert!(!said.contains(secret), "a secret in the output:\n{said}");
        }
        assert!(!said.contains("panicked") && output.status >= 0, "it panicked or was killed:\n{said}");
        self.project.render(arguments, output)
    }

    /// Schema and rows, ledger included, and the databases that a restore or a shadow could have left.
    fn everything(&self) -> String {
        format!("{}\n{}", self.database.dump(), self.databases())
    }

    /// The databases whose name begins with this one's, and scratch databases.
    pub fn databases(&self) -> String {
        self.database.query(&format!(
            "SELECT datname FROM pg_database WHERE starts_with(datname, '{}') ORDER BY 1",
            self.database.name()
        ))
    }
}

#[test]
fn the_claim_can_fail() {
    let production = Production::new();
    let before = production.everything();
    assert_eq!(before, production.everything());
    production.database.sql("UPDATE guest SET name = 'Kalisa' WHERE id = 1");
    assert_ne!(before, production.everything());
    let before = production.everything();
    production.apply("0001");
    assert_ne!(before, production.everything());
}
