//! One test's database, and one test's role, on a test server.

use std::sync::Arc;

use super::cluster::{TestCluster, scram_verifier};
use super::programs::output_of;

/// The database that is always there, for the statements that need another one to be run from.
const MAINTENANCE: &str = "postgres";

/// A database of one test.
///
/// With the handle go the database and every other one whose name begins with its name: those that a restore made of it.
#[derive(Debug)]
pub struct TestDatabase {
    cluster: Arc<TestCluster>,
    name: String,
}

impl TestDatabase {
    pub(super) fn create(cluster: &Arc<TestCluster>, name: String) -> TestDatabase {
        cluster.sql(MAINTENANCE, &format!("CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy"));
        TestDatabase { cluster: Arc::clone(cluster), name }
    }

    /// The server it lies on.
    pub fn cluster(&self) -> &Arc<TestCluster> {
        &self.cluster
    }

    /// Its name, such as `test_00001`; needs no quotes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address over TCP, as the superuser, with the password in it.
    pub fn url(&self) -> String {
        self.cluster.url(&self.name)
    }

    /// Its address over the Unix socket, as the superuser; no password is asked for there.
    pub fn socket_url(&self) -> String {
        self.cluster.socket_url(&self.name)
    }

    /// Runs SQL in it with psql; stops at the first error and panics with psql's words.
    pub fn sql(&self, text: &str) {
        self.cluster.sql(&self.name, text);
    }

    /// What psql prints for a query, unaligned and without headings: `1|two` and a line for each row.
    pub fn query(&self, text: &str) -> String {
        self.cluster.query(&self.name, text)
    }

    /// All of it as plain SQL by pg_dump, without the lines that differ from dump to dump.
    pub fn dump(&self) -> String {
        let text = output_of(self.cluster.program("pg_dump").args(["-d", &self.socket_url()]));
        // \restrict and \unrestrict carry a random token.
        text.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict")).fold(
            String::with_capacity(text.len()),
            |mut kept, line| {
                kept.push_str(line);
                kept.push('\n');
                kept
            },
        )
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let family = format!("SELECT datname FROM pg_database WHERE starts_with(datname, '{}')", self.name);
        let drop_all = format!(
            "SELECT format('ALTER DATABASE %I IS_TEMPLATE false', datname) FROM ({family}) f \\gexec\n\
             SELECT format('DROP DATABASE %I WITH (FORCE)', datname) FROM ({family}) f \\gexec\n"
        );
        if let Err(words) = self.cluster.try_sql(MAINTENANCE, &drop_all) {
            assert!(std::thread::panicking(), "cannot drop {}: {words}", self.name);
            eprintln!("cannot drop {}: {words}", self.name);
        }
    }
}

/// A role of one test. It stays until the server stops: a snapshot that another test takes meanwhile knows it, and is
/// restored where it must still be.
#[derive(Debug)]
pub struct TestRole {
    cluster: Arc<TestCluster>,
    name: String,
    password: String,
}

impl TestRole {
    pub(super) fn create(cluster: &Arc<TestCluster>, name: String, password: &str, options: &str) -> TestRole {
        cluster
            .sql(MAINTENANCE, &format!("CREATE ROLE {name} LOGIN PASSWORD '{}' {options}", scram_verifier(password)));
        TestRole { cluster: Arc::clone(cluster), name, password: password.to_owned() }
    }

    /// Its name, such as `reader_00002`; needs no quotes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address of a database over TCP as this role, with its password in it.
    pub fn url(&self, database: &TestDatabase) -> String {
        self.cluster.url_as(&self.name, &self.password, database.name())
    }
}
