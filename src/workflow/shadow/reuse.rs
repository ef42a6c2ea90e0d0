//! A shadow that starts from the cache, and one that is kept there.
//!
//! Copies of one cluster have the same system identifier. What tells a shadow is its mark, which has a new nonce for
//! each use, and its socket in a directory of its own; production's server is asked for its identifier only where a shadow
//! is made on a server that somebody named, and those are never kept.

use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::postgres::database::{self, MarkedDatabase};
use crate::postgres::{MarkError, MarkKind, PrivateCluster, Programs, Session};
use crate::report::{format_bytes, format_time};
use crate::snapshot::{Manifest, SnapshotReader};

use super::super::code_of_others;
use super::super::{Error, Interrupt, Operator, Project, manifest_parts};
use super::cache::{CacheError, Entry, Origin, ShadowCache};
use super::{Home, Shadow};

/// The cache, and what is looked for in it.
#[derive(Clone, Debug)]
pub struct Kept {
    cache: ShadowCache,
    origin: Origin,
}

impl Kept {
    /// None: the project has no cache, or its shadows are on a named server.
    pub fn of(project: &Project, programs: &Programs, manifest: &Manifest) -> Result<Option<Self>, Error> {
        let Some(cache) = project.shadow_cache() else { return Ok(None) };
        let manifest_json = serde_json::to_vec(manifest)
            .map_err(|source| Error::Json { what: "cannot write the manifest".to_owned(), source })?;
        let (superuser, settings) = (&manifest.bootstrap_role, super::settings(&manifest.server.settings));
        let content = hex::encode(Sha256::digest(manifest_json));
        let origin = Origin::new(&manifest.id.to_string(), &content, programs, superuser, settings);
        Ok(Some(Self { cache, origin }))
    }

    /// A shadow from the cache, and when it was proven. None: there is none, or it cannot be used, which is said.
    pub async fn start(
        &self,
        project: &Project,
        programs: &Programs,
        reader: &SnapshotReader,
        operator: &dyn Operator,
        interrupt: &Interrupt,
    ) -> Result<Option<(Shadow, OffsetDateTime)>, Error> {
        let entry = match self.cache.find(&self.origin) {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(None),
            Err(error) => {
                operator.warn(&format!("the cache of restored shadows is not used: {error}"));
                return Ok(None);
            }
        };
        let (proven_at, bytes) = (entry.description.proven_at, entry.description.data.bytes);
        let what = format!("restored and proven {}, {}", format_time(proven_at), format_bytes(bytes));
        operator.step(&format!("copying the shadow from the cache ({what})"));
        PrivateCluster::sweep_orphans(&project.shadow_dir, None).await?;
        let path = entry.path.clone();
        match interrupt.or(self.start_copy(entry, project, programs, reader)).await {
            Ok(shadow) => Ok(Some((shadow, proven_at))),
            Err(Error::Interrupted) => Err(Error::Interrupted),
            Err(error) => {
                operator
                    .warn(&format!("the cached shadow cannot be used ({error}), so the snapshot is restored again"));
                self.cache.discard(&path).map_err(cannot_remove)?;
                Ok(None)
            }
        }
    }

    async fn start_copy(
        &self,
        entry: Entry,
        project: &Project,
        programs: &Programs,
        reader: &SnapshotReader,
    ) -> Result<Shadow, Error> {
        let manifest = reader.manifest();
        let mut cluster = PrivateCluster::for_copy(super::cluster_options(
            project,
            programs,
            (&manifest.bootstrap_role, super::settings(&manifest.server.settings)),
        ))?;
        let copied = self.cache.copy_out(entry, cluster.data_directory(), cluster.owner()).await;
        drop(copied.map_err(unusable)?);
        cluster.resume(maintenance_database(manifest)).await?;
        let files = super::files_in(&cluster)?;
        Shadow::running(cluster, files, manifest, code_of_others::named(project)).await
    }

    /// Keeps a shadow that was restored and proven a moment ago: its server is stopped, copied and started again. That
    /// it cannot be kept is said and stops nothing.
    pub async fn keep(
        &self,
        shadow: Shadow,
        reader: &SnapshotReader,
        operator: &dyn Operator,
        interrupt: &Interrupt,
    ) -> Result<Shadow, Error> {
        // Asked first: stopping a server for nothing takes a second.
        let bytes = database::size(&shadow.maintenance, &shadow.database.name).await?.unwrap_or_default();
        if let Err(error) = self.cache.check_room(bytes) {
            operator.step(&format!("the restored shadow is not kept for the next rehearsal: {error}"));
            return Ok(shadow);
        }
        let Shadow { maintenance, home, trusted, .. } = shadow;
        let Home::Private(mut cluster, files) = home else {
            return Err(Error::ShadowRefused {
                message: "a shadow on a named server cannot be kept".to_owned(),
                hint: "leave [shadow] url out, or go with --no-cache".to_owned(),
            });
        };
        operator.step("keeping the restored shadow for the next rehearsal");
        let manifest = reader.manifest();
        maintenance.close().await;
        interrupt
            .or(async {
                let stopped = cluster.pause().await?;
                if let Err(error) = self.cache.keep(self.origin.clone(), stopped).await {
                    operator.warn(&format!("the restored shadow is not kept for the next rehearsal: {error}"));
                }
                cluster.resume(maintenance_database(manifest)).await?;
                Shadow::running(*cluster, files, manifest, trusted).await
            })
            .await
    }
}

impl Shadow {
    /// The shadow on a server that was started on its files. Its mark must be there, and gets a new nonce.
    async fn running(
        cluster: PrivateCluster,
        files: tempfile::TempDir,
        manifest: &Manifest,
        trusted: Vec<String>,
    ) -> Result<Self, Error> {
        let maintenance = cluster.spec(maintenance_database(manifest)).connect("safe-migrate shadow").await?;
        let properties = manifest_parts::properties(manifest);
        let database = marked(&maintenance, &properties.name).await?;
        let home = Home::Private(Box::new(cluster), files);
        let shadow = Self { maintenance, home, database, properties, scratch_count: 0.into(), trusted };
        shadow.check(&shadow.maintenance).await?;
        Ok(shadow)
    }
}

pub(super) async fn marked(session: &Session, name: &str) -> Result<MarkedDatabase, Error> {
    match MarkedDatabase::find(session, name, MarkKind::Shadow).await? {
        Some(database) => Ok(database.change_kind(session, MarkKind::Shadow).await?),
        None => Err(database::ReplaceError::from(MarkError::NotMarked { database: name.to_owned() }).into()),
    }
}

/// Where nobody's database is in the way: production's may be called `postgres`.
fn maintenance_database(manifest: &Manifest) -> &'static str {
    if manifest.database.name == "postgres" { "template1" } else { "postgres" }
}

pub(super) fn unusable(error: CacheError) -> Error {
    Error::File { what: "the entry cannot be copied".to_owned(), source: std::io::Error::other(error) }
}

fn cannot_remove(error: CacheError) -> Error {
    Error::File { what: "cannot remove a cached shadow".to_owned(), source: std::io::Error::other(error) }
}
