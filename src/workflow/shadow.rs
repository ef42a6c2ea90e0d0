//! The shadow: a private server with a database restored from a snapshot, thrown away afterwards.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::postgres::database::{self, DatabaseProperties, MarkedDatabase};
use crate::postgres::{
    ClusterOptions, ConnectionSpec, Mark, MarkKind, PrivateCluster, Programs, ServerIdentity, Session, archive,
    quote_identifier, roles,
};
use crate::snapshot::{Manifest, SnapshotReader};

use super::fill::{self, FillTarget};
use super::proof::{Proof, ProofLevel};
use super::{Error, Interrupt, Operator, Project, manifest_parts};

/// A running shadow.
#[derive(Debug)]
pub struct Shadow {
    cluster: PrivateCluster,
    maintenance: Session,
    files: tempfile::TempDir,
    database: MarkedDatabase,
    properties: DatabaseProperties,
    scratch_count: AtomicU32,
}

/// An empty database of the shadow, dropped by [`Shadow::drop_scratch`].
#[derive(Debug)]
pub struct Scratch {
    /// Connection to it.
    pub spec: ConnectionSpec,
    database: MarkedDatabase,
}

/// Kinds of archive entries that reach out of the database: never restored into a shadow. Dropping a subscription in a
/// copy drops the real slot, and a foreign table with its user mapping wrote into the real remote (both tried).
pub const OUTSIDE_LINKS: &[&str] = &["SUBSCRIPTION", "USER MAPPING"];

/// Production's settings that change results, brought to what a private server can start with.
fn settings(manifest: &Manifest) -> Vec<(String, String)> {
    let mut settings: Vec<(String, String)> = manifest.server.settings.clone().into_iter().collect();
    if manifest.server.settings.get("wal_level").is_some_and(|level| level == "minimal") {
        settings.push(("max_wal_senders".to_owned(), "0".to_owned()));
    }
    settings
}

/// The list of an archive's entries without [`OUTSIDE_LINKS`], for `pg_restore --use-list`.
pub fn without_outside_links(list: &[String]) -> Vec<String> {
    list.iter().filter(|line| outside_link(line).is_none()).cloned().collect()
}

/// What [`without_outside_links`] leaves out: `SUBSCRIPTION - name owner`.
pub fn outside_links(list: &[String]) -> Vec<String> {
    list.iter().filter_map(|line| outside_link(line)).map(str::to_owned).collect()
}

fn outside_link(line: &str) -> Option<&str> {
    // "123; 6100 16490 SUBSCRIPTION - name owner"
    let entry = line.splitn(4, ' ').nth(3).unwrap_or_default();
    (!line.starts_with(';') && OUTSIDE_LINKS.iter().any(|outside| entry.starts_with(outside))).then_some(entry)
}

impl Shadow {
    /// Starts a private server, fills its database from the snapshot, and proves it.
    pub async fn restore(
        project: &Project,
        programs: &Programs,
        reader: &SnapshotReader,
        operator: &dyn Operator,
        interrupt: &Interrupt,
    ) -> Result<(Self, Proof), Error> {
        let shadow = Self::start(project, programs, reader).await?;
        let target = FillTarget {
            spec: shadow.spec(),
            programs,
            files: shadow.files.path(),
            jobs: project.jobs,
            outside_links: false,
        };
        let proof = interrupt.or(fill::fill_and_prove(&target, reader, ProofLevel::Rows, operator)).await?;
        // Only now: a database that is read-only by its settings could not be filled.
        let session = shadow.spec().connect("safe-migrate shadow").await?;
        database::copy_properties(&session, &shadow.database.name, &shadow.properties).await?;
        Ok((shadow, proof))
    }

    async fn start(project: &Project, programs: &Programs, reader: &SnapshotReader) -> Result<Self, Error> {
        PrivateCluster::sweep_orphans(&project.shadow_dir, None).await?;
        let manifest = reader.manifest();
        let options = ClusterOptions {
            programs: programs.clone(),
            superuser: manifest.bootstrap_role.clone(),
            parent_dir: project.shadow_dir.clone(),
            run_as: None,
            settings: settings(manifest),
        };
        let cluster = PrivateCluster::start(options).await?;
        // In the server's directory: whatever becomes of us, its watchdog removes them too.
        let files = tempfile::Builder::new().prefix("files-").tempdir_in(cluster.dir()).map_err(|source| {
            Error::File { what: format!("cannot make a directory in {}", cluster.dir().display()), source }
        })?;
        let maintenance = cluster.spec("postgres").connect("safe-migrate shadow").await?;
        let script = String::from_utf8_lossy(&reader.get_blob(&manifest.roles).await?).into_owned();
        let script = roles::script_for_missing(&script, &roles::names(&maintenance).await?);
        archive::run_script(programs, &cluster.spec("postgres"), script.as_bytes(), false).await?;
        let properties = manifest_parts::properties(manifest);
        let name = manifest.database.name.clone();
        if name == "postgres" {
            // initdb made one of that name; the shadow's own takes its place.
            let template = cluster.spec("template1").connect("safe-migrate shadow").await?;
            template
                .batch_execute("DROP DATABASE postgres WITH (FORCE)")
                .await
                .map_err(crate::postgres::DatabaseError::from)?;
            return Self::with_database(cluster, template, files, properties).await;
        }
        Self::with_database(cluster, maintenance, files, properties).await
    }

    async fn with_database(
        cluster: PrivateCluster,
        maintenance: Session,
        files: tempfile::TempDir,
        properties: DatabaseProperties,
    ) -> Result<Self, Error> {
        let name = properties.name.clone();
        let database = database::create(&maintenance, &name, &properties, MarkKind::Shadow).await?;
        Ok(Self { cluster, maintenance, files, database, properties, scratch_count: AtomicU32::new(0) })
    }

    /// Connection to the shadow database as the bootstrap superuser.
    pub fn spec(&self) -> ConnectionSpec {
        self.cluster.spec(&self.database.name)
    }

    /// Connects as production's role to the shadow, after checking its mark: from here on statements are run that
    /// must never reach production.
    pub async fn connect_as(&self, role: &str) -> Result<Session, Error> {
        let session = self.spec().with_user(role).connect("safe-migrate rehearsal").await?;
        self.database.check(&session).await?;
        Ok(session)
    }

    /// Fails unless `session` talks to the server on which the database with our mark is.
    pub async fn check(&self, session: &Session) -> Result<(), Error> {
        Ok(self.database.check(session).await?)
    }

    /// Takes the mark off, before the database is dumped with its settings. The server ends with us all the same.
    pub async fn release_mark(&self) -> Result<(), Error> {
        self.database.check(&self.maintenance).await?;
        let sql = Mark::reset_sql(&self.database.name);
        Ok(self.maintenance.batch_execute(&sql).await.map_err(crate::postgres::DatabaseError::from)?)
    }

    /// Server identity of the shadow.
    pub async fn identity(&self) -> Result<ServerIdentity, Error> {
        Ok(ServerIdentity::read(&self.maintenance).await?)
    }

    /// Copies the shadow database as it is now; the copy is compared with it later. OIDs are kept by the copy.
    pub async fn keep_template(&self) -> Result<ConnectionSpec, Error> {
        self.database.check(&self.maintenance).await?;
        let name = "safe_migrate_before";
        // FILE_COPY: as fast as the disk; the server is private, so nobody else is kept waiting by its checkpoints.
        let strategy = if self.maintenance.server_version_num() >= 150_000 { " STRATEGY file_copy" } else { "" };
        let sql = format!("CREATE DATABASE {name} TEMPLATE {}{strategy}", quote_identifier(&self.database.name));
        self.maintenance.batch_execute(&sql).await.map_err(crate::postgres::DatabaseError::from)?;
        Ok(self.cluster.spec(name))
    }

    /// Makes an empty database with the locale of the snapshot's.
    pub async fn scratch_database(&self) -> Result<Scratch, Error> {
        let number = self.scratch_count.fetch_add(1, Ordering::Relaxed);
        let name = format!("safe_migrate_scratch_{number}");
        let database = database::create(&self.maintenance, &name, &self.properties, MarkKind::Shadow).await?;
        Ok(Scratch { spec: self.cluster.spec(&name), database })
    }

    /// Drops a scratch database.
    pub async fn drop_scratch(&self, scratch: Scratch) -> Result<(), Error> {
        Ok(database::drop_marked(&self.maintenance, &scratch.spec, &scratch.database).await?)
    }

    /// Writes a file that lives as long as the shadow.
    pub fn write_file(&self, name: &str, content: &[u8]) -> Result<PathBuf, Error> {
        fill::write_file(self.files.path(), name, content)
    }

    /// Directory of the private server.
    pub fn dir(&self) -> &std::path::Path {
        self.cluster.dir()
    }

    /// Stops the server and removes its files.
    pub async fn stop(self) -> Result<(), Error> {
        drop(self.maintenance);
        Ok(self.cluster.stop().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_links_are_left_out() {
        let list: Vec<String> = [
            "; Archive created at …",
            "221; 1259 16493 TABLE public t postgres",
            "3435; 6100 16500 SUBSCRIPTION - sub postgres",
            "3436; 1418 16501 USER MAPPING - USER MAPPING a SERVER b postgres",
        ]
        .map(str::to_owned)
        .to_vec();
        let left_out = ["SUBSCRIPTION - sub postgres", "USER MAPPING - USER MAPPING a SERVER b postgres"];
        assert_eq!(outside_links(&list), left_out);
        assert_eq!(without_outside_links(&list), ["; Archive created at …", "221; 1259 16493 TABLE public t postgres"]);
    }
}
