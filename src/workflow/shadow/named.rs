//! A shadow on a server named by the operator (`[shadow] url`): databases of our own there, never production's server.
//!
//! Three things keep it off production. The server behind the connection says which cluster it is, and that must not be
//! the one of the snapshot. The databases are made by us under a random name and carry our mark. Both are asked for
//! again, on the very connection that is about to change something.

use std::sync::{Mutex, PoisonError};

use crate::postgres::database::{self, DatabaseProperties, HostedOn, MarkedDatabase};
use crate::postgres::shared_shadow::{self, ShadowName};
use crate::postgres::{ClusterIdentity, ConnectionSpec, MarkKind, ServerIdentity, Session, is_behind_pooler, roles};
use crate::snapshot::SnapshotReader;

use super::super::{Error, Project, manifest_parts};

/// The server, and what we made there. What is left when it is dropped is removed.
#[derive(Debug)]
pub struct NamedServer {
    spec: ConnectionSpec,
    identity: ClusterIdentity,
    production: String,
    name: ShadowName,
    made: Mutex<Vec<MarkedDatabase>>,
    /// What the server lacks of production's.
    pub differences: Vec<String>,
}

impl NamedServer {
    /// Connects, refuses production in every disguise before anything is written, and removes what dead runs left.
    pub async fn open(
        project: &Project,
        spec: &ConnectionSpec,
        reader: &SnapshotReader,
        role: Option<&str>,
    ) -> Result<(Self, Session), Error> {
        let manifest = reader.manifest();
        if spec.same_place(&project.target).await {
            return Err(refused(format!("{} is the address of the database that is to be migrated", spec.display())));
        }
        if is_behind_pooler(spec).await? {
            return Err(refused(format!(
                "{} is a connection pooler, which may lead elsewhere at any time",
                spec.display()
            )));
        }
        let (spec, session) = spec.connect_pinned("safe-migrate shadow").await?;
        let identity = ClusterIdentity::read(&session).await?;
        let production = manifest.server.system_identifier.clone();
        refuse_cluster(&spec, &identity, &production)?;
        let server = ServerIdentity::read(&session).await?;
        if server.major() != manifest.server.version_num / 10_000 {
            let (here, there) = (server.major(), manifest.server.version_num / 10_000);
            return Err(refused(format!("{} is PostgreSQL {here}, and production is {there}", spec.display())));
        }
        refuse_roles(&spec, &session, reader, role).await?;
        let dropped = shared_shadow::sweep(&session, &spec).await?;
        tracing::debug!(?dropped, "removed what dead rehearsals left");
        let name = ShadowName::claim(&session).await?;
        let differences = differences(&spec, &server, reader);
        Ok((Self { spec, identity, production, name, made: Mutex::default(), differences }, session))
    }

    /// Connection to one of its databases, as the role of the URL.
    pub fn spec(&self, database: &str) -> ConnectionSpec {
        self.spec.with_database(database)
    }

    /// The same with the rights of another role. A migration that resets its role comes back to this one.
    pub fn spec_as(&self, database: &str, role: &str) -> ConnectionSpec {
        let spec = self.spec(database);
        if spec.user() == role { spec } else { spec.with_setting("role", role) }
    }

    /// Fails unless the server behind this very connection is the one that was looked at.
    pub async fn check(&self, session: &Session) -> Result<(), Error> {
        let now = ClusterIdentity::read(session).await?;
        refuse_cluster(&self.spec, &now, &self.production)?;
        if now != self.identity {
            return Err(refused(format!("{} leads to another server than a moment ago", self.spec.display())));
        }
        Ok(())
    }

    /// Makes the shadow database.
    pub async fn create(&self, session: &Session, like: &DatabaseProperties) -> Result<MarkedDatabase, Error> {
        self.create_named(session, &self.name.database(), like).await
    }

    /// Makes an empty database beside it.
    pub async fn scratch(
        &self,
        session: &Session,
        number: u32,
        like: &DatabaseProperties,
    ) -> Result<MarkedDatabase, Error> {
        self.create_named(session, &self.name.scratch(number), like).await
    }

    async fn create_named(
        &self,
        session: &Session,
        name: &str,
        like: &DatabaseProperties,
    ) -> Result<MarkedDatabase, Error> {
        self.check(session).await?;
        let made = database::create(session, name, like, MarkKind::Shadow, HostedOn::Shared).await?;
        self.made().push(made.clone());
        Ok(made)
    }

    /// Copies the shadow database as it is now.
    pub async fn copy(&self, session: &Session, shadow: &MarkedDatabase) -> Result<MarkedDatabase, Error> {
        self.check(session).await?;
        let made = database::create_copy(session, &self.name.copy(), shadow, HostedOn::Shared).await?;
        self.made().push(made.clone());
        Ok(made)
    }

    /// Copies it once more.
    pub async fn second_copy(
        &self,
        session: &Session,
        number: u32,
        shadow: &MarkedDatabase,
    ) -> Result<MarkedDatabase, Error> {
        self.check(session).await?;
        let made = database::create_copy(session, &self.name.scratch(number), shadow, HostedOn::Shared).await?;
        self.made().push(made.clone());
        Ok(made)
    }

    /// Drops one of them.
    pub async fn drop_database(&self, session: &Session, database: &MarkedDatabase) -> Result<(), Error> {
        self.check(session).await?;
        database::drop_marked(session, &self.spec, database).await?;
        self.made().retain(|made| made != database);
        Ok(())
    }

    /// Drops all that was made.
    pub async fn remove(&self, session: &Session) -> Result<(), Error> {
        let made = self.made().clone();
        for database in made.iter().rev() {
            self.drop_database(session, database).await?;
        }
        Ok(())
    }

    fn made(&self) -> std::sync::MutexGuard<'_, Vec<MarkedDatabase>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// [`NamedServer::remove`] over a new connection, for when nobody can wait for it.
    async fn remove_late(&self) -> Result<(), Error> {
        let session = self.spec.connect("safe-migrate shadow").await?;
        self.remove(&session).await
    }
}

impl Drop for NamedServer {
    fn drop(&mut self) {
        if self.made().is_empty() {
            return;
        }
        // A thread of its own: this one may be in the middle of the runtime that would have to do the work.
        let removed = std::thread::scope(|scope| {
            let worker = scope.spawn(|| -> Result<(), Error> {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime =
                    runtime.map_err(|source| Error::File { what: "cannot clean up the shadow".to_owned(), source })?;
                runtime.block_on(self.remove_late())
            });
            worker.join()
        });
        match removed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a shadow was not removed; the next rehearsal does it"),
            Err(_) => tracing::warn!("a shadow was not removed; the next rehearsal does it"),
        }
    }
}

fn refused(message: String) -> Error {
    Error::ShadowRefused {
        message: format!("the shadow is refused: {message}"),
        hint: "name another server in [shadow] url, or none: then a private one is started for each rehearsal"
            .to_owned(),
    }
}

/// Production's own server is refused whatever database, name, socket or mark leads there: roles and settings are the
/// server's, and `ALTER ROLE … CONNECTION LIMIT 0` in a shadow there locks production out.
fn refuse_cluster(spec: &ConnectionSpec, found: &ClusterIdentity, production: &str) -> Result<(), Error> {
    let place = spec.display();
    if found.system_identifier == production {
        let what = if found.in_recovery { "is a standby of production" } else { "is production's own server" };
        return Err(refused(format!(
            "{place} {what} (system identifier {production}); a physical copy of production counts as production"
        )));
    }
    if found.in_recovery {
        return Err(refused(format!("{place} is a standby, and nothing can be written there")));
    }
    Ok(())
}

/// Roles are shared by all databases of a server, so none is made or altered: those of the snapshot must be there.
async fn refuse_roles(
    spec: &ConnectionSpec,
    session: &Session,
    reader: &SnapshotReader,
    role: Option<&str>,
) -> Result<(), Error> {
    let missing = manifest_parts::roles(reader).await?.facts.missing(&roles::names(session).await?);
    if !missing.is_empty() {
        return Err(Error::ShadowRefused {
            message: format!(
                "the shadow is refused: {} lacks roles of production, and roles are never made on a shared server: {}",
                spec.display(),
                missing.join(", ")
            ),
            hint: "make them there without rights and passwords, or name no [shadow] url".to_owned(),
        });
    }
    let Some(role) = role else { return Ok(()) };
    match shared_shadow::refusal_of_role(session, role).await? {
        Some(why) => Err(refused(format!("{} {why}", spec.display()))),
        None => Ok(()),
    }
}

/// What is not as in production, in words.
fn differences(spec: &ConnectionSpec, server: &ServerIdentity, reader: &SnapshotReader) -> Vec<String> {
    let recorded = &reader.manifest().server.settings;
    let names: std::collections::BTreeSet<&String> = recorded.keys().chain(server.settings.keys()).collect();
    let shown = |value: Option<&String>| value.map_or("the default".to_owned(), |value| format!("'{value}'"));
    let differs = names.into_iter().filter(|name| recorded.get(*name) != server.settings.get(*name)).map(|name| {
        let (here, there) = (shown(server.settings.get(name)), shown(recorded.get(name)));
        format!("{name} is {here} in the shadow and {there} in production")
    });
    let place = format!("the shadow was a database on {}; times depend on what else runs there", spec.display());
    std::iter::once(place).chain(differs).collect()
}
