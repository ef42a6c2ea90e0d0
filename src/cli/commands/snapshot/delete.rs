//! `snapshot delete`: one snapshot less.

use serde_json::json;
use time::OffsetDateTime;

use super::named;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::Outcome;
use crate::report::format_ago;
use crate::snapshot::{self, Manifest, SnapshotError, SnapshotId, SnapshotReader};
use crate::store::Store;
use crate::workflow::retention::{forget_beside, pins, put_tombstone};
use crate::workflow::{Confirmation, Error, Gate, Operator};

/// Delete one snapshot
///
/// Also a pinned one. Data that other snapshots share stays, and the rest until
/// `store prune`. Asks first; in scripts it wants --yes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate snapshot delete 20261122T135823Z-7f3a9c")]
pub(crate) struct Args {
    /// The ID of the snapshot
    #[arg(value_name = "ID")]
    pub(crate) snapshot: String,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    if ["latest", "last"].contains(&args.snapshot.as_str()) {
        return Err(CliError::usage("latest-refused", "`latest` is not accepted here: it changes with every snapshot")
            .hint("give the ID; `safe-migrate snapshot list` shows it"));
    }
    let project = context.project()?;
    let (store, id) = context.unless_interrupted(named(context, &project, &args.snapshot)).await?;
    let mut description = context.unless_interrupted(described(&store, &id)).await?;
    if let Some(pin) = pins(&store).await?.get(&id) {
        description.push_str(&format!(", pinned: {}", pin.why));
    }
    match context.operator.confirm(&format!("delete snapshot {id} ({description}) from {}?", store.location())) {
        Confirmation::Yes => {}
        Confirmation::No => return Err(Error::from(Gate::NotConfirmed).into()),
        Confirmation::CannotAsk => return Err(Error::from(Gate::CannotAsk).into()),
    }
    put_tombstone(&project, &store, &id).await?;
    snapshot::delete(&store, &id).await.map_err(Error::from)?;
    forget_beside(&store, &id).await;
    // Its rows are not kept on this machine either.
    project.shadow_cache_forget(&id.to_string());
    let text = format!("deleted snapshot {id}; its chunks stay in the store until `safe-migrate store prune`\n");
    Ok(Outcome::new(text, json!({ "snapshot": id, "store": store.location() })))
}

/// What would be lost. A damaged snapshot can be deleted too.
async fn described(store: &Store, id: &SnapshotId) -> Result<String, CliError> {
    match SnapshotReader::open(store, id).await {
        Ok(reader) => Ok(description(reader.manifest(), OffsetDateTime::now_utc())),
        Err(SnapshotError::DamagedManifest { .. } | SnapshotError::Mismatch { .. }) => Ok("damaged".to_owned()),
        Err(SnapshotError::Untrusted { .. }) => Ok("not believed".to_owned()),
        Err(SnapshotError::NewerFormat { .. }) => Ok("of a newer safe-migrate".to_owned()),
        Err(SnapshotError::NoSuchSnapshot { .. })
            if snapshot::is_unfinished(store, id).await.map_err(Error::from)? =>
        {
            Ok("never finished; if it is being taken now, that fails at its end".to_owned())
        }
        Err(error) => Err(Error::from(error).into()),
    }
}

fn description(manifest: &Manifest, now: OffsetDateTime) -> String {
    let ago = format_ago(manifest.started_at, now);
    match &manifest.reason.run {
        Some(run) => format!("of \"{}\", {ago}, the way back from run {run}", manifest.source),
        None => format!("of \"{}\", {ago}", manifest.source),
    }
}
