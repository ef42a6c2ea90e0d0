//! An empty private server: a copy of what `initdb` made once, which takes a fifth of a second in place of two.
//!
//! A template depends on the programs and on the name of the superuser alone and holds nothing of anybody's database, so
//! `[shadow] max_cache` does not speak of it. It lies beside the cache and is trusted as little: only this user may enter,
//! and its files are hashed again each time they are copied.

use std::os::unix::fs::MetadataExt;

use sha2::{Digest, Sha256};

use crate::postgres::{ClusterError, ClusterOptions, PrivateCluster, Programs};

use super::super::Project;
use super::cache::{CacheError, Entry, Origin, ShadowCache};

/// Why a copy does not run: the files, or the server on them.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Starts a private server with nothing in it.
pub async fn start_empty(project: &Project, options: ClusterOptions) -> Result<PrivateCluster, ClusterError> {
    let (cache, origin) = (project.shadow_templates(), origin(&options));
    match cache.find(&origin) {
        Ok(Some(entry)) => {
            let path = entry.path.clone();
            match copy(&cache, entry, options.clone()).await {
                Ok(cluster) => return Ok(cluster),
                Err(error) => {
                    tracing::warn!(%error, "the template of a private server cannot be used");
                    let _left: Result<(), CacheError> = cache.discard(&path);
                }
            }
        }
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "templates of private servers are not used"),
    }
    let mut cluster = PrivateCluster::init(options).await?;
    // That it cannot be kept stops nothing.
    if let Err(error) = cache.keep(origin, cluster.stopped().await?).await {
        tracing::debug!(%error, "the template of a private server is not kept");
    }
    cluster.start_first().await?;
    Ok(cluster)
}

async fn copy(cache: &ShadowCache, entry: Entry, options: ClusterOptions) -> Result<PrivateCluster, Cause> {
    let mut cluster = PrivateCluster::for_copy(options)?;
    drop(cache.copy_out(entry, cluster.data_directory(), cluster.owner()).await?);
    cluster.start_first().await?;
    Ok(cluster)
}

fn origin(options: &ClusterOptions) -> Origin {
    // The settings are written when a copy starts.
    Origin::new(
        "template",
        &programs_as_installed(&options.programs),
        &options.programs,
        &options.superuser,
        Vec::new(),
    )
}

/// A hash of when the server's programs were installed, and of how large they are: a package of the same version may
/// come with other files.
fn programs_as_installed(programs: &Programs) -> String {
    let facts = ["initdb", "postgres"].map(|program| {
        let metadata = std::fs::metadata(programs.dir().join(program));
        metadata.map(|one| (one.len(), one.ino(), one.mtime(), one.mtime_nsec())).ok()
    });
    hex::encode(Sha256::digest(format!("{facts:?}")))
}
