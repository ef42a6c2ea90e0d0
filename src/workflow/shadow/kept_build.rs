//! A private server that is kept with what a history of migrations builds, so that the next `make` does not run it again.

use sha2::{Digest, Sha256};

use crate::postgres::database::{self, MarkedDatabase};
use crate::postgres::{MarkKind, PrivateCluster};

use super::super::code_of_others;
use super::super::project::Server;
use super::super::{Error, Project};
use super::cache::{CacheError, Origin, ShadowCache};
use super::reuse::{marked, unusable};
use super::{Home, Likeness, Scratch, Shadow, cluster_options};

/// How the names of its entries begin.
const PREFIX: &str = "make";
/// Behind the numbers of the databases that were kept.
const FIRST_NUMBER: u32 = 1000;

/// The cache, and what is looked for in it.
#[derive(Debug)]
pub struct KeptBuild {
    cache: ShadowCache,
    origin: Origin,
    like: Likeness,
}

impl KeptBuild {
    /// The server like production on which the history of this hash was run. None: the project has no cache.
    pub async fn of(project: &Project, server: &Server, history: &str) -> Result<Option<Self>, Error> {
        let Some(cache) = project.shadow_cache() else { return Ok(None) };
        let like = Likeness::of_production(project, server).await?;
        let place = std::path::absolute(&project.migrations_dir).unwrap_or_else(|_| project.migrations_dir.clone());
        let of = Sha256::digest(format!("{}\0{}", place.display(), project.source));
        let made_of = format!("{history}\0{:?}\0{:?}\0{}", like.roles, like.properties, project.target.user());
        let name = format!("{PREFIX}-{}", hex::encode(&of[..8]));
        let content = hex::encode(Sha256::digest(made_of));
        let origin = Origin::new(&name, &content, &server.programs, &like.superuser, like.settings.clone());
        Ok(Some(Self { cache, origin, like }))
    }

    /// A copy of the server that was kept, with its one scratch database. None: there is none, or it cannot be used.
    pub async fn start(&self, project: &Project, server: &Server) -> Result<Option<(Shadow, Scratch)>, Error> {
        let entry = match self.cache.find(&self.origin) {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(None),
            Err(error) => {
                tracing::warn!(%error, "the cache of private servers is not used");
                return Ok(None);
            }
        };
        PrivateCluster::sweep_orphans(&project.shadow_dir, None).await?;
        let path = entry.path.clone();
        let options = cluster_options(project, &server.programs, (&self.like.superuser, self.like.settings.clone()));
        let started = async {
            let mut cluster = PrivateCluster::for_copy(options)?;
            let copied = self.cache.copy_out(entry, cluster.data_directory(), cluster.owner()).await;
            drop(copied.map_err(unusable)?);
            cluster.resume(self.maintenance()).await?;
            self.running(cluster, code_of_others::named(project)).await
        };
        match started.await {
            Ok(found) => Ok(Some(found)),
            Err(error) => {
                tracing::warn!(%error, "a kept private server cannot be used");
                let _left: Result<(), CacheError> = self.cache.discard(&path);
                Ok(None)
            }
        }
    }

    /// Where nobody's database is in the way: production's may be called `postgres`.
    fn maintenance(&self) -> &'static str {
        if self.like.properties.name == "postgres" { "template1" } else { "postgres" }
    }

    async fn running(&self, cluster: PrivateCluster, trusted: Vec<String>) -> Result<(Shadow, Scratch), Error> {
        let files = super::files_in(&cluster)?;
        let maintenance = cluster.spec(self.maintenance()).connect("safe-migrate shadow").await?;
        let database = marked(&maintenance, &self.like.properties.name).await?;
        let name = scratch_databases(&maintenance).await?.pop().unwrap_or_default();
        let scratch = marked(&maintenance, &name).await?;
        let home = Home::Private(Box::new(cluster), files);
        let properties = self.like.properties.clone();
        let shadow = Shadow { maintenance, home, database, properties, scratch_count: FIRST_NUMBER.into(), trusted };
        let scratch = Scratch { spec: shadow.spec_of(&name), database: scratch };
        Ok((shadow, scratch))
    }

    /// Keeps a server with this one scratch database; the server ends. That it cannot be kept stops nothing.
    pub async fn keep(&self, shadow: Shadow, scratch: &Scratch) -> Result<(), Error> {
        for name in scratch_databases(&shadow.maintenance).await? {
            let other = MarkedDatabase::find(&shadow.maintenance, &name, MarkKind::Shadow).await?;
            if let Some(other) = other.filter(|one| one.name != scratch.database.name) {
                database::drop_marked(&shadow.maintenance, &shadow.spec_of(&name), &other).await?;
            }
        }
        let Shadow { maintenance, home, .. } = shadow;
        let Home::Private(mut cluster, files) = home else { return Ok(()) };
        maintenance.close().await;
        let stopped = cluster.pause().await?;
        // An older history is not looked for again.
        let forgotten = self.cache.forget(&self.origin.snapshot).map(|_| ());
        if let Err(error) = match forgotten {
            Ok(()) => self.cache.keep(self.origin.clone(), stopped).await,
            Err(error) => Err(error),
        } {
            tracing::warn!(%error, "the private server is not kept for the next make");
        }
        drop(files);
        Ok(cluster.stop().await?)
    }
}

async fn scratch_databases(session: &crate::postgres::Session) -> Result<Vec<String>, Error> {
    let sql = "SELECT datname::text FROM pg_catalog.pg_database WHERE starts_with(datname, 'safe_migrate_scratch_') ORDER BY 1";
    let rows = session.query(sql, &[]).await.map_err(crate::postgres::DatabaseError::from)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
