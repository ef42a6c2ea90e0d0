//! Runs migrations from nothing, in databases of a private server that is like production: what `apply --fake`, `repair`,
//! `squash`, `baseline`, `import` and `make --merge` prove things by. Production is only read for it.

use std::collections::{BTreeMap, BTreeSet};

use crate::migration::{Direction, Migration, PlanStep};
use crate::postgres::row_sets::{self, RowSet};
use crate::postgres::{
    ArchiveEntry, ConnectionSpec, DatabaseError, MigratingSession, RunContext, Session, Tablespaces, archive,
    archive_entries, catalog, ledger, roles, run_step,
};
use crate::schema::Schema;

use super::programs::{MigrationPrograms, Silent};
use super::project::Server;
use super::schema_reading::{SchemaReading, make_normal, read_normal, read_raw};
use super::shadow::{KeptBuild, OUTSIDE_LINKS, Scratch, Shadow};
use super::{Error, Interrupt, Operator, Project};

/// The run that ledgers in private databases name.
const RUN: &str = "replay";

/// A private server like production.
#[derive(Debug)]
pub struct Replay<'a> {
    project: &'a Project,
    server: &'a Server,
    shadow: Shadow,
    role: String,
    /// What production's `public` is like, when its role may make objects there: that may have been granted by hand.
    public_schema: Vec<String>,
}

/// A database in which migrations are run.
#[derive(Debug)]
pub struct Built {
    scratch: Scratch,
}

/// What a database holds: its schema in normal form and its rows.
#[derive(Clone, Debug)]
pub struct Reached {
    /// The schema, the order of columns aside, without subscriptions and user mappings.
    pub schema: Schema,
    /// The rows.
    pub rows: BTreeMap<String, RowSet>,
}

impl<'a> Replay<'a> {
    /// Starts the server: about two seconds.
    pub async fn start(project: &'a Project, server: &'a Server) -> Result<Self, Error> {
        let public_schema = Self::public_schema(project).await?;
        let shadow = Shadow::like_production(project, server).await?;
        Ok(Self { project, server, shadow, role: project.target.user().to_owned(), public_schema })
    }

    /// The same with what a history built, when an earlier run kept that: `history` is its hash.
    pub async fn start_with(
        project: &'a Project,
        server: &'a Server,
        kept: Option<&KeptBuild>,
    ) -> Result<(Self, Option<Built>), Error> {
        let found = match kept {
            Some(kept) => kept.start(project, server).await?,
            None => None,
        };
        let Some((shadow, scratch)) = found else { return Ok((Self::start(project, server).await?, None)) };
        let public_schema = Self::public_schema(project).await?;
        let role = project.target.user().to_owned();
        Ok((Self { project, server, shadow, role, public_schema }, Some(Built { scratch })))
    }

    /// What the schema `public` is like there, when production's role may make objects in it.
    pub async fn public_schema(project: &Project) -> Result<Vec<String>, Error> {
        let session = project.target.connect("safe-migrate").await?;
        Ok(match roles::may_create_in_public(&session, project.target.user()).await? {
            true => roles::public_schema(&session).await?,
            false => Vec::new(),
        })
    }

    /// Keeps the server with this database for the next time, and ends it.
    pub async fn keep(self, kept: &KeptBuild, built: Built) -> Result<(), Error> {
        kept.keep(self.shadow, &built.scratch).await
    }

    /// An empty database.
    pub async fn empty(&self) -> Result<Built, Error> {
        let scratch = self.shadow.scratch_like_production().await?;
        let session = scratch.spec.connect("safe-migrate replay").await?;
        if !self.public_schema.is_empty() && !roles::may_create_in_public(&session, &self.role).await? {
            for statement in &self.public_schema {
                session.batch_execute(statement).await.map_err(DatabaseError::from)?;
            }
        }
        let own = scratch.connect_as(&self.role).await?;
        ledger::ensure(&own, &[]).await?;
        Ok(Built { scratch })
    }

    /// Runs migrations one by one, as production's role. Returns those that touched rows.
    pub async fn run<'m>(
        &self,
        built: &Built,
        migrations: impl IntoIterator<Item = &'m std::sync::Arc<Migration>>,
        direction: Direction,
    ) -> Result<Vec<String>, Error> {
        let session = built.scratch.connect_as(&self.role).await?;
        let spec = built.scratch.spec.clone().with_user(&self.role);
        let never = Interrupt::default();
        let around = (self.shadow.dir(), &Silent as &dyn Operator, &never);
        let programs = MigrationPrograms::in_shadow(self.project, &spec, around).await?;
        let mut wrote = Vec::new();
        for migration in migrations {
            let step = PlanStep { migration: migration.clone(), direction };
            let context = RunContext {
                programs: Some(&programs),
                spec: &spec,
                run_id: RUN,
                journal: &[],
                options: &self.project.execute,
                tracer: None,
                locks: None,
                maintenance: "postgres",
                watcher: None,
            };
            let trace = run_step(&session, &step, context, &|_, _| {}).await?;
            if trace.iter().any(|one| one.rows > 0) {
                wrote.push(migration.id.to_string());
            }
        }
        Ok(wrote)
    }

    /// What a private database holds now.
    pub async fn reached(&self, built: &Built) -> Result<Reached, Error> {
        let schema = self.normal(&built.scratch.spec).await?;
        let session = built.scratch.spec.connect("safe-migrate replay").await?;
        Ok(Reached { schema, rows: row_sets::read(&session).await? })
    }

    /// The schema of production.
    pub async fn production(&self) -> Result<Schema, Error> {
        self.normal(&self.project.target).await
    }

    async fn normal(&self, spec: &ConnectionSpec) -> Result<Schema, Error> {
        let (programs, ignore) = (&self.server.programs, &self.project.fingerprint_ignore);
        let SchemaReading { schema, .. } = read_normal(&self.shadow, programs, spec, ignore).await?;
        Ok(schema.without_kinds(OUTSIDE_LINKS).with_columns_sorted())
    }

    /// The schema of a private database as it is, the order of columns aside.
    pub async fn raw(&self, built: &Built) -> Result<Schema, Error> {
        let (programs, ignore) = (&self.server.programs, &self.project.fingerprint_ignore);
        let SchemaReading { schema, .. } = read_raw(programs, &built.scratch.spec, ignore).await?;
        Ok(schema.without_kinds(OUTSIDE_LINKS).with_columns_sorted())
    }

    /// A database with the schema of another one in normal form, and no rows.
    pub async fn normalized(&self, built: &Built) -> Result<Built, Error> {
        let scratch = self.shadow.scratch_like_production().await?;
        make_normal(&self.shadow, &self.server.programs, &built.scratch.spec, &scratch).await?;
        let own = scratch.connect_as(&self.role).await?;
        ledger::ensure(&own, &[]).await?;
        Ok(Built { scratch })
    }

    /// A copy with the rows; nobody may be connected to the original.
    pub async fn copy(&self, built: &Built) -> Result<Built, Error> {
        Ok(Built { scratch: self.shadow.copy_scratch(&built.scratch).await? })
    }

    /// The objects of a private database, with what they depend on.
    pub async fn objects(&self, built: &Built) -> Result<Vec<ArchiveEntry>, Error> {
        let dump = archive::dump_schema_archive(&self.server.programs, &built.scratch.spec).await?;
        let mut entries = self.entries(&dump).await?;
        entries.retain(|entry| !OUTSIDE_LINKS.contains(&entry.kind.as_str()));
        Ok(entries)
    }

    /// A session on a private database as its superuser.
    pub async fn session(&self, built: &Built) -> Result<Session, Error> {
        Ok(built.scratch.spec.connect("safe-migrate replay").await?)
    }

    /// A session on a private database as production's role.
    pub async fn own_session(&self, built: &Built) -> Result<MigratingSession, Error> {
        built.scratch.connect_as(&self.role).await
    }

    /// Major version of production's server.
    pub fn major(&self) -> u32 {
        self.server.identity.major()
    }

    /// Runs migrations in an empty database; what it then holds.
    pub async fn build<'m>(
        &self,
        migrations: impl IntoIterator<Item = &'m std::sync::Arc<Migration>>,
    ) -> Result<Reached, Error> {
        let built = self.empty().await?;
        self.run(&built, migrations, Direction::Apply).await?;
        let reached = self.reached(&built).await?;
        self.drop(built).await?;
        Ok(reached)
    }

    /// Where its server's socket is.
    pub fn dir(&self) -> &std::path::Path {
        self.shadow.dir()
    }

    /// Connection to a private database as production's role.
    pub fn spec(&self, built: &Built) -> ConnectionSpec {
        built.scratch.spec.clone().with_user(&self.role)
    }

    /// The entries of an archive of production's schema.
    pub async fn entries(&self, dump: &[u8]) -> Result<Vec<ArchiveEntry>, Error> {
        let path = self.shadow.write_file("baseline.dump", dump)?;
        Ok(archive_entries::entries(&self.server.programs, &path, None, Tablespaces::Default).await?)
    }

    /// The materialized views of production that hold rows, as schema and name.
    pub async fn populated_views(&self) -> Result<BTreeSet<(String, String)>, Error> {
        let session = self.project.target.connect("safe-migrate").await?;
        Ok(catalog::populated_views(&session).await?)
    }

    /// Where another history leads somewhere else than this one, which led to `reached`. Values that this one makes anew at
    /// each run (of `now()`, of `random()`) do not count: it is run once more to know them.
    pub async fn differences(
        &self,
        (history, reached): (&[std::sync::Arc<Migration>], &Reached),
        other: &Reached,
    ) -> Result<Vec<String>, Error> {
        let found = reached.differences(other, &[]);
        if found.is_empty() || !reached.schema.difference(&other.schema).is_empty() {
            return Ok(found);
        }
        let again = self.build(history).await?;
        Ok(reached.differences(other, &reached.differences(&again, &[])))
    }

    /// Drops a private database.
    pub async fn drop(&self, built: Built) -> Result<(), Error> {
        self.shadow.drop_scratch(built.scratch).await
    }

    /// Stops the server and removes it.
    pub async fn stop(self) -> Result<(), Error> {
        self.shadow.stop().await
    }
}

impl Reached {
    /// Where two databases differ, in words; empty: nowhere. Of other schemas the rows are not compared, and what is in
    /// `volatile` does not count.
    fn differences(&self, other: &Reached, volatile: &[String]) -> Vec<String> {
        let schema = self.schema.difference(&other.schema);
        if !schema.is_empty() {
            return vec![schema.to_string()];
        }
        let rows = row_sets::differences(&self.rows, &other.rows);
        rows.into_iter().filter(|line| !volatile.contains(line)).collect()
    }
}
