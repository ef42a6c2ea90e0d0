//! One database, one store and one project on them: what most tests of the whole path begin with.

use std::sync::Arc;

use super::cluster::{TestCluster, Version};
use super::database::TestDatabase;
use super::programs::{output_of, run_with_input};
use super::project::{Output, Project};
use super::store::TestStore;

/// Ledger and project of one test. The store lies in a directory of its own, as `store` beside the project's files.
#[derive(Debug)]
pub struct Scene {
    /// The project; its configuration names the database and the store.
    pub project: Project,
    /// The production database.
    pub database: TestDatabase,
    /// The store.
    pub store: TestStore,
    _directory: Option<tempfile::TempDir>,
}

/// A policy under which a plan that loses data goes through with a warning.
pub const DATA_MAY_GO: &str = "[policy]\ndata_loss = \"warn\"\n";

impl Scene {
    /// The repository's migrations, nothing applied, a local store.
    pub fn dusangire(version: Version) -> Scene {
        let (database, store, directory) = ground(version);
        let project = Project::dusangire(&database, &store);
        Scene { project, database, store, _directory: Some(directory) }
    }

    /// No migrations, a local store.
    pub fn empty(version: Version) -> Scene {
        let (database, store, directory) = ground(version);
        let project = Project::new(&database, &store);
        Scene { project, database, store, _directory: Some(directory) }
    }

    /// No migrations, a local store, and a server of the caller's choice.
    pub fn on(cluster: &Arc<TestCluster>) -> Scene {
        let (store, directory) = local_store();
        let database = cluster.database();
        let project = Project::new(&database, &store);
        Scene { project, database, store, _directory: Some(directory) }
    }

    /// The repository's migrations and `rclone serve s3` as the store.
    pub fn dusangire_on_rclone(version: Version) -> Scene {
        let database = TestCluster::shared(version).database();
        let store = TestStore::rclone();
        let project = Project::dusangire(&database, &store);
        Scene { project, database, store, _directory: None }
    }

    /// All of the caller's choice.
    pub fn with(database: TestDatabase, store: TestStore, project: Project) -> Scene {
        Scene { project, database, store, _directory: None }
    }

    /// The server.
    pub fn cluster(&self) -> &Arc<TestCluster> {
        self.database.cluster()
    }

    /// Runs the binary, which must end with this status and may never print the superuser's password.
    #[track_caller]
    pub fn run(&self, status: i32, arguments: &[&str]) -> Output {
        let output = self.project.run(arguments);
        self.check(status, arguments, &output);
        output
    }

    /// Lets plans lose data without their hash, which is the matter of other tests.
    pub fn let_data_go(self) -> Scene {
        self.project.configure_more(DATA_MAY_GO);
        self
    }

    /// Runs a rehearsal that goes through; it ends with 3 where `apply` would refuse what it loses.
    pub fn rehearse(&self, arguments: &[&str]) -> Output {
        let output = self.project.run(arguments);
        let said = format!("{}{}", output.stdout, output.stderr);
        let loses = output.status == 3 && said.contains("apply would refuse: the plan loses data");
        self.check(if loses { 3 } else { 0 }, arguments, &output);
        output
    }

    /// Applies what there is, without a snapshot and without a rehearsal: what a test begins with.
    #[track_caller]
    pub fn begin_applied(&self) -> Output {
        self.run(0, &["apply", "--yes", "--skip-snapshot", "a test", "--skip-rehearsal", "a test"])
    }

    /// What [`run`](Scene::run) asks of a run that is over.
    #[track_caller]
    pub fn check(&self, status: i32, arguments: &[&str], output: &Output) {
        let text = format!("{}{}", output.stdout, output.stderr);
        assert_eq!(output.status, status, "safe-migrate {}:\n{text}", arguments.join(" "));
        let secrets = [Some(self.cluster().password()), self.store.secret_key()];
        for secret in secrets.into_iter().flatten() {
            assert!(!text.contains(secret), "safe-migrate {} prints a secret", arguments.join(" "));
        }
    }

    /// `app/name` of each applied migration, in the order of the ledger.
    pub fn applied(&self) -> Vec<String> {
        if self.database.query("SELECT to_regclass('safe_migrate.migration')").is_empty() {
            return Vec::new();
        }
        let order = "SELECT app || '/' || name FROM safe_migrate.migration ORDER BY applied_at, app, name";
        self.database.query(order).lines().map(str::to_owned).collect()
    }

    /// Rows that a migration in batches is recorded to have done. The ledger is made version by version, and this comes
    /// with the third: 0 before that.
    pub fn rows_done(&self) -> u64 {
        let script = "SELECT count(*) = 1 AS there FROM pg_attribute
                       WHERE attrelid = to_regclass('safe_migrate.step') AND attname = 'rows_done' \\gset
                      \\if :there
                      SELECT coalesce(max(rows_done), 0) FROM safe_migrate.step;
                      \\else
                      SELECT 0;
                      \\endif\n";
        let output = run_with_input(self.cluster().psql(self.database.name()).args(["-q", "-At"]), script);
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number of rows")
    }

    /// The ids of the snapshots that the store holds, oldest first, by their manifests.
    pub fn snapshots(&self) -> Vec<String> {
        let objects = self.store.objects();
        let ids = objects.iter().filter_map(|(key, _)| key.strip_prefix("snapshots/")?.strip_suffix("/manifest.json"));
        ids.map(str::to_owned).collect()
    }

    /// Takes a snapshot; its id.
    #[track_caller]
    pub fn take_snapshot(&self) -> String {
        self.run(0, &["snapshot", "create"]).stdout.trim().to_owned()
    }

    /// `pg_dump -s` of the production database without the ledger.
    pub fn schema(&self) -> String {
        self.schema_of(self.database.name())
    }

    /// `pg_dump -s` of a database without the ledger.
    pub fn schema_of(&self, database: &str) -> String {
        let url = self.cluster().socket_url(database);
        let text = output_of(self.cluster().program("pg_dump").args(["-s", "-N", "safe_migrate", "-d", &url]));
        let lines = text.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
        lines.map(|line| format!("{line}\n")).collect()
    }

    /// The names of the databases that a restore made beside this test's.
    pub fn databases(&self) -> Vec<String> {
        let family = format!(
            "SELECT datname FROM pg_database WHERE starts_with(datname, '{}') OR starts_with(datname, 'safe_migrate_') ORDER BY 1",
            self.database.name()
        );
        self.cluster().query("postgres", &family).lines().map(str::to_owned).collect()
    }
}

fn ground(version: Version) -> (TestDatabase, TestStore, tempfile::TempDir) {
    let (store, directory) = local_store();
    (TestCluster::shared(version).database(), store, directory)
}

fn local_store() -> (TestStore, tempfile::TempDir) {
    let directory = tempfile::Builder::new().prefix("test-store-").tempdir().expect("cannot make a directory");
    (TestStore::local(&directory.path().join("store")), directory)
}
