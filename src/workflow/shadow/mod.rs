//! The shadow: a database restored from a snapshot, on a private server or on one that was named, thrown away
//! afterwards.

mod cache;
mod copy;
mod kept_build;
mod links;
mod named;
mod reuse;
mod template;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use crate::migration::Plan;
use crate::postgres::database::{self, DatabaseProperties, HostedOn, MarkedDatabase};
use crate::postgres::foreign_code::TrustedOwners;
use crate::postgres::roles::RoleFacts;
use crate::postgres::{
    ClusterOptions, Confinement, ConnectionSpec, Mark, MarkKind, MigratingSession, PrivateCluster, Programs,
    ServerIdentity, Session, WorkDirectory, keep_session, quote_identifier, roles, shareable_settings,
};
use crate::report::format_bytes;
use crate::snapshot::{Manifest, SnapshotReader};

use super::code_of_others::{self, CodeOfOthers};
use super::doctor::space::free_bytes;
use super::fill::{self, FillTarget};
use super::project::Server;
use super::proof::{Proof, ProofLevel};
use super::retention::record_proof;
use super::{Error, Interrupt, Operator, Project, manifest_parts};

pub use cache::ShadowCache;
pub use kept_build::KeptBuild;
use links::{Allowed, Right};
pub use links::{Bounds, OUTSIDE_LINKS, outside_links, without_outside_links};
pub use reuse::Kept;
pub use template::start_empty;

use named::NamedServer;

/// A running shadow.
#[derive(Debug)]
pub struct Shadow {
    maintenance: Session,
    home: Home,
    database: MarkedDatabase,
    properties: DatabaseProperties,
    scratch_count: AtomicU32,
    /// Roles whose functions may run on it where no walls stand.
    trusted: Vec<String>,
}

/// Where it runs.
#[derive(Debug)]
enum Home {
    /// A server of our own; its files lie in the server's directory.
    Private(Box<PrivateCluster>, tempfile::TempDir),
    /// Databases on a server that the operator named.
    Named(Box<NamedServer>, WorkDirectory),
}

impl Scratch {
    /// Connects to it as this role, after checking its mark: statements are run that must never reach production.
    pub async fn connect_as(&self, role: &str) -> Result<MigratingSession, Error> {
        let session = self.spec.clone().with_user(role).connect_to_migrate("safe-migrate replay").await?;
        self.database.check(&session).await?;
        Ok(session)
    }
}

/// An empty database of the shadow, dropped by [`Shadow::drop_scratch`].
#[derive(Debug)]
pub struct Scratch {
    /// Connection to it.
    pub spec: ConnectionSpec,
    database: MarkedDatabase,
}

/// Production's settings that change results, brought to what a private server can start with.
fn settings(of_production: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let mut settings = shareable_settings(of_production);
    if of_production.get("wal_level").is_some_and(|level| level == "minimal") {
        settings.push(("max_wal_senders".to_owned(), "0".to_owned()));
    }
    settings
}

/// What a private server takes over of production: its superuser, its settings, its roles, its database's properties.
#[derive(Clone, Debug)]
struct Likeness {
    superuser: String,
    settings: Vec<(String, String)>,
    roles: RoleFacts,
    properties: DatabaseProperties,
}

impl Likeness {
    async fn of_snapshot(reader: &SnapshotReader) -> Result<Self, Error> {
        let manifest = reader.manifest();
        Ok(Self {
            superuser: manifest.bootstrap_role.clone(),
            settings: settings(&manifest.server.settings),
            roles: manifest_parts::roles(reader).await?.facts,
            properties: manifest_parts::properties(manifest),
        })
    }

    async fn of_production(project: &Project, server: &Server) -> Result<Self, Error> {
        let session = project.target.connect("safe-migrate").await?;
        Ok(Self {
            superuser: server.identity.bootstrap_role.clone(),
            settings: settings(&server.identity.settings),
            roles: RoleFacts::read(&session).await?,
            properties: DatabaseProperties::read(&session).await?,
        })
    }
}

fn cluster_options(
    project: &Project,
    programs: &Programs,
    (superuser, settings): (&str, Vec<(String, String)>),
) -> ClusterOptions {
    ClusterOptions {
        programs: programs.clone(),
        superuser: superuser.to_owned(),
        parent_dir: project.shadow_dir.clone(),
        run_as: None,
        confine: true,
        settings,
    }
}

/// Refuses where the rows alone would fill the disk. What indexes take is not known before.
fn refuse_small_disk(project: &Project, reader: &SnapshotReader) -> Result<(), Error> {
    let (needed, dir) = (reader.manifest().totals.raw_bytes, &project.shadow_dir);
    // Where it cannot be asked, the server will say.
    let free = free_bytes(dir).unwrap_or(u64::MAX);
    if free >= needed {
        return Ok(());
    }
    Err(Error::ShadowRefused {
        message: format!(
            "the snapshot has {} of rows, and {} are free in {}, where it would be restored",
            format_bytes(needed),
            format_bytes(free),
            dir.display()
        ),
        hint: "make room there, or name another place in [shadow] dir".to_owned(),
    })
}

/// In the server's directory: whatever becomes of us, its watchdog removes them too.
fn files_in(cluster: &PrivateCluster) -> Result<tempfile::TempDir, Error> {
    let made = tempfile::Builder::new().prefix("files-").tempdir_in(cluster.dir());
    made.map_err(|source| Error::File {
        what: format!("cannot make a directory in {}", cluster.dir().display()),
        source,
    })
}

impl Shadow {
    /// Starts a private server, or makes a database on the named one, fills it from the snapshot, and proves it.
    ///
    /// `role` is the one that will run migrations; none when nothing but the snapshot is looked at.
    pub async fn restore(
        project: &Project,
        programs: &Programs,
        reader: &SnapshotReader,
        role: Option<&str>,
        operator: &dyn Operator,
        interrupt: &Interrupt,
    ) -> Result<(Self, Proof), Error> {
        let begun = Instant::now();
        let shadow = match &project.shadow_server {
            None => {
                refuse_small_disk(project, reader)?;
                Self::start(project, programs, Likeness::of_snapshot(reader).await?).await?
            }
            Some(spec) => Self::start_named(project, spec, reader, role).await?,
        };
        let target = FillTarget {
            spec: shadow.spec(),
            programs,
            files: shadow.files(),
            jobs: project.jobs,
            outside_links: false,
            left_out: &std::collections::BTreeSet::new(),
            private: matches!(shadow.home, Home::Private(..)),
            code: &shadow.code_of_others().await?,
            failing: fill::Failing::default(),
        };
        shadow.check(&shadow.maintenance).await?;
        let proof = interrupt.or(fill::fill_and_prove(&target, reader, ProofLevel::Rows, operator)).await?;
        record_proof(reader, &proof, begun.elapsed()).await;
        // Only now: a database that is read-only by its settings could not be filled.
        let session = shadow.spec().connect("safe-migrate shadow").await?;
        database::copy_properties(&session, &shadow.database.name, &shadow.properties).await?;
        Ok((shadow, proof))
    }

    /// The same without rows and without a schema: with production's roles and settings, for `read_normal`.
    pub async fn empty(project: &Project, programs: &Programs, reader: &SnapshotReader) -> Result<Self, Error> {
        match &project.shadow_server {
            None => Self::start(project, programs, Likeness::of_snapshot(reader).await?).await,
            Some(spec) => Self::start_named(project, spec, reader, None).await,
        }
    }

    /// A private server with production's roles and settings and an empty database, for migrations that are run from
    /// nothing. Of production only that is read.
    pub async fn like_production(project: &Project, server: &Server) -> Result<Self, Error> {
        Self::start(project, &server.programs, Likeness::of_production(project, server).await?).await
    }

    async fn start_named(
        project: &Project,
        spec: &ConnectionSpec,
        reader: &SnapshotReader,
        role: Option<&str>,
    ) -> Result<Self, Error> {
        PrivateCluster::sweep_orphans(&project.shadow_dir, None).await?;
        let (server, maintenance) = NamedServer::open(project, spec, reader, role).await?;
        let files = WorkDirectory::create(&project.shadow_dir).map_err(|source| Error::File {
            what: format!("cannot make a directory in {}", project.shadow_dir.display()),
            source,
        })?;
        let properties = manifest_parts::properties(reader.manifest());
        let database = server.create(&maintenance, &properties).await?;
        let home = Home::Named(Box::new(server), files);
        let trusted = code_of_others::named(project);
        Ok(Self { maintenance, home, database, properties, scratch_count: AtomicU32::new(0), trusted })
    }

    async fn start(project: &Project, programs: &Programs, like: Likeness) -> Result<Self, Error> {
        PrivateCluster::sweep_orphans(&project.shadow_dir, None).await?;
        let Likeness { superuser, settings, roles: facts, properties } = like;
        let cluster = start_empty(project, cluster_options(project, programs, (&superuser, settings))).await?;
        let files = files_in(&cluster)?;
        let maintenance = cluster.spec("postgres").connect("safe-migrate shadow").await?;
        let missing = facts.without(&roles::names(&maintenance).await?);
        roles::make(&maintenance, &missing).await?;
        if properties.name == "postgres" {
            // initdb made one of that name; the shadow's own takes its place.
            let template = cluster.spec("template1").connect("safe-migrate shadow").await?;
            template
                .batch_execute("DROP DATABASE postgres WITH (FORCE)")
                .await
                .map_err(crate::postgres::DatabaseError::from)?;
            return Self::with_database(cluster, template, files, (properties, code_of_others::named(project))).await;
        }
        Self::with_database(cluster, maintenance, files, (properties, code_of_others::named(project))).await
    }

    async fn with_database(
        cluster: PrivateCluster,
        maintenance: Session,
        files: tempfile::TempDir,
        (properties, trusted): (DatabaseProperties, Vec<String>),
    ) -> Result<Self, Error> {
        let name = properties.name.clone();
        let database = database::create(&maintenance, &name, &properties, MarkKind::Shadow, HostedOn::Private).await?;
        let home = Home::Private(Box::new(cluster), files);
        Ok(Self { maintenance, home, database, properties, scratch_count: AtomicU32::new(0), trusted })
    }

    /// Whose functions may run on it: everybody's behind walls.
    pub async fn code_of_others(&self) -> Result<CodeOfOthers, Error> {
        match &self.home {
            Home::Private(cluster, _) if matches!(cluster.confinement(), Confinement::Confined(_)) => {
                Ok(CodeOfOthers::BehindWalls)
            }
            _ => Ok(CodeOfOthers::OnlyOf(TrustedOwners::read(&self.maintenance, &self.trusted).await?)),
        }
    }

    /// Connection to the shadow database, as a role that may do there what a restore needs.
    pub fn spec(&self) -> ConnectionSpec {
        self.spec_of(&self.database.name)
    }

    fn spec_of(&self, database: &str) -> ConnectionSpec {
        match &self.home {
            Home::Private(cluster, _) => cluster.spec(database),
            Home::Named(server, _) => server.spec(database),
        }
    }

    /// Connection to the shadow database as production's role.
    pub fn spec_as(&self, role: &str) -> ConnectionSpec {
        match &self.home {
            Home::Private(cluster, _) => cluster.spec(&self.database.name).with_user(role),
            Home::Named(server, _) => server.spec_as(&self.database.name, role),
        }
    }

    /// Connects as production's role to the shadow, after checking its mark: from here on statements are run that
    /// must never reach production.
    pub async fn connect_as(&self, role: &str) -> Result<MigratingSession, Error> {
        let session = self.spec_as(role).connect_to_migrate("safe-migrate rehearsal").await?;
        self.check(&session).await?;
        if matches!(self.home, Home::Named(..)) {
            // On a server of others a statement of ours ends when we die.
            keep_session(&session).await?;
        }
        Ok(session)
    }

    /// Fails unless `session` talks to the server on which the database with our mark is, and that is not production's.
    pub async fn check(&self, session: &Session) -> Result<(), Error> {
        if let Home::Named(server, _) = &self.home {
            server.check(session).await?;
        }
        Ok(self.database.check(session).await?)
    }

    /// Refuses a plan that would reach out of the shadow. Otherwise what the report has to say of the shadow.
    pub async fn judge(&self, project: &Project, plan: &Plan, manifest: &Manifest) -> Result<Vec<String>, Error> {
        let (bounds, mut said) = match &self.home {
            Home::Private(cluster, _) => (Bounds::Private(cluster.confinement().clone()), Vec::new()),
            Home::Named(server, _) => (Bounds::Shared, server.differences.clone()),
        };
        let rights = Right::of(&self.maintenance, project.target.user()).await?;
        let allowed = Allowed { network: project.shadow_network, unconfined: &project.shadow_unconfined };
        said.extend(bounds.judge(plan, manifest, &rights, &allowed)?);
        Ok(said)
    }

    /// Takes the mark off, before the database is dumped with its settings. The server ends with us all the same.
    pub async fn release_mark(&self) -> Result<(), Error> {
        self.database.check(&self.maintenance).await?;
        let sql =
            Mark::reset_sql(&self.maintenance, &self.database.name).await.map_err(database::ReplaceError::from)?;
        Ok(self.maintenance.batch_execute(&sql).await.map_err(crate::postgres::DatabaseError::from)?)
    }

    /// Server identity of the shadow.
    pub async fn identity(&self) -> Result<ServerIdentity, Error> {
        Ok(ServerIdentity::read(&self.maintenance).await?)
    }

    /// Copies the shadow database as it is now; the copy is compared with it later. OIDs are kept by the copy.
    pub async fn keep_template(&self) -> Result<ConnectionSpec, Error> {
        self.database.check(&self.maintenance).await?;
        if let Home::Named(server, _) = &self.home {
            let copy = server.copy(&self.maintenance, &self.database).await?;
            return Ok(server.spec(&copy.name));
        }
        let name = "safe_migrate_before";
        let strategy = HostedOn::Private.strategy(self.maintenance.server_version_num() / 10_000);
        let sql = format!("CREATE DATABASE {name} TEMPLATE {}{strategy}", quote_identifier(&self.database.name));
        self.maintenance.batch_execute(&sql).await.map_err(crate::postgres::DatabaseError::from)?;
        Ok(self.spec_of(name))
    }

    /// Makes an empty database with the locale of the snapshot's.
    pub async fn scratch_database(&self) -> Result<Scratch, Error> {
        let number = self.scratch_count.fetch_add(1, Ordering::Relaxed);
        let database = match &self.home {
            Home::Private(..) => {
                let name = format!("safe_migrate_scratch_{number}");
                database::create(&self.maintenance, &name, &self.properties, MarkKind::Shadow, HostedOn::Private)
                    .await?
            }
            Home::Named(server, _) => server.scratch(&self.maintenance, number, &self.properties).await?,
        };
        Ok(Scratch { spec: self.spec_of(&database.name), database })
    }

    /// The same with the owner, the settings and the privileges of production's.
    pub async fn scratch_like_production(&self) -> Result<Scratch, Error> {
        let scratch = self.scratch_database().await?;
        let session = scratch.spec.connect("safe-migrate shadow").await?;
        database::copy_properties(&session, &scratch.database.name, &self.properties).await?;
        Ok(scratch)
    }

    /// Copies a scratch database of a private server; OIDs are kept by the copy.
    pub async fn copy_scratch(&self, of: &Scratch) -> Result<Scratch, Error> {
        let number = self.scratch_count.fetch_add(1, Ordering::Relaxed);
        let name = format!("safe_migrate_scratch_{number}");
        let database = database::create_copy(&self.maintenance, &name, &of.database, HostedOn::Private).await?;
        let scratch = Scratch { spec: self.spec_of(&database.name), database };
        let session = scratch.spec.connect("safe-migrate shadow").await?;
        database::copy_properties(&session, &scratch.database.name, &self.properties).await?;
        Ok(scratch)
    }

    /// Drops a scratch database.
    pub async fn drop_scratch(&self, scratch: Scratch) -> Result<(), Error> {
        match &self.home {
            Home::Private(..) => Ok(database::drop_marked(&self.maintenance, &scratch.spec, &scratch.database).await?),
            Home::Named(server, _) => server.drop_database(&self.maintenance, &scratch.database).await,
        }
    }

    /// Writes a file that lives as long as the shadow.
    pub fn write_file(&self, name: &str, content: &[u8]) -> Result<PathBuf, Error> {
        fill::write_file(self.files(), name, content)
    }

    fn files(&self) -> &Path {
        match &self.home {
            Home::Private(_, files) => files.path(),
            Home::Named(_, files) => files.path(),
        }
    }

    /// A directory of its own, gone with it.
    pub fn dir(&self) -> &Path {
        match &self.home {
            Home::Private(cluster, _) => cluster.dir(),
            Home::Named(_, files) => files.path(),
        }
    }

    /// Removes it: the private server with its files, or the databases on the named one.
    pub async fn stop(self) -> Result<(), Error> {
        let Self { maintenance, home, .. } = self;
        match home {
            Home::Private(cluster, files) => {
                drop((maintenance, files));
                Ok(cluster.stop().await?)
            }
            Home::Named(server, _files) => server.remove(&maintenance).await,
        }
    }
}
