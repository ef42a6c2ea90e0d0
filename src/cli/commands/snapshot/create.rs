//! `snapshot create`: one consistent copy of the database.

use serde_json::json;

use crate::cli::commands::snapshot_options::SnapshotOptions;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::Outcome;
use crate::snapshot::Reason;
use crate::workflow::take_snapshot;

/// Take a snapshot of the database, publish it and read it back
///
/// Readers and writers go on meanwhile; DDL waits. Data that the store already has
/// is not sent again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate snapshot create
  safe-migrate snapshot create --jobs 8 --compression 9
  safe-migrate snapshot create --max-rate 50MB/s")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) taking: SnapshotOptions,
}

pub(crate) async fn run(context: &Context, _args: &Args) -> Result<Outcome, CliError> {
    let project = context.project()?;
    let server = project.connect_directly().await?;
    let store = project.open_or_create_store().await?;
    let reason = Reason { run: None, command: "snapshot create".to_owned() };
    let interrupt = context.interrupt.wish();
    let snapshot = take_snapshot(&project, &server, &store, reason, &context.operator, interrupt).await?;
    let manifest = snapshot.manifest();
    let totals = manifest.totals;
    let text = format!("{}\n", snapshot.id());
    let value = json!({
        "snapshot": snapshot.id(),
        "source": manifest.source,
        "store": store.location(),
        "tables": manifest.tables.len(),
        "rows": manifest.users_rows(),
        "raw_bytes": totals.raw_bytes,
        "stored_bytes": totals.stored_bytes,
        "vacuum_held_back_ms": manifest.vacuum_held_back_ms,
        "others_waited_ms": manifest.others_waited_ms,
        "warnings": manifest.warnings,
    });
    Ok(Outcome::new(text, value))
}
