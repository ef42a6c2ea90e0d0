//! `snapshot`: take, list, show, verify, export, pin, forget and delete snapshots.

mod create;
mod delete;
mod export;
mod forget;
mod list;
mod pin;
mod show;
mod verify;

use super::snapshot_options::SnapshotOptions;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::Outcome;
use crate::snapshot::SnapshotId;
use crate::store::{Store, StoreError};
use crate::workflow::restore::{Choice, TAKE_ONE, choose};
use crate::workflow::{Error, Project};

/// Behind the command of a run whose snapshot came to nothing.
pub(super) const REFUSED: &str = " (refused, nothing changed)";

/// Take, list, show, verify, export, pin, forget and delete snapshots
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate snapshot create
  safe-migrate snapshot list
  safe-migrate snapshot verify latest --level restore")]
pub(crate) enum Command {
    Create(create::Args),
    List(list::Args),
    Show(show::Args),
    Verify(verify::Args),
    Export(export::Args),
    Pin(pin::PinArgs),
    Unpin(pin::UnpinArgs),
    Forget(forget::Args),
    Delete(delete::Args),
}

impl Command {
    /// The name as typed, for the JSON document.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Command::Create(_) => "snapshot create",
            Command::List(_) => "snapshot list",
            Command::Show(_) => "snapshot show",
            Command::Verify(_) => "snapshot verify",
            Command::Export(_) => "snapshot export",
            Command::Pin(_) => "snapshot pin",
            Command::Unpin(_) => "snapshot unpin",
            Command::Forget(_) => "snapshot forget",
            Command::Delete(_) => "snapshot delete",
        }
    }

    /// How a snapshot is taken, for the command that takes one.
    pub(crate) fn snapshot_options(&self) -> Option<&SnapshotOptions> {
        match self {
            Command::Create(args) => Some(&args.taking),
            _ => None,
        }
    }

    pub(crate) async fn run(&self, context: &Context) -> Result<Outcome, CliError> {
        match self {
            Command::Create(args) => create::run(context, args).await,
            Command::List(args) => list::run(context, args).await,
            Command::Show(args) => show::run(context, args).await,
            Command::Verify(args) => verify::run(context, args).await,
            Command::Export(args) => export::run(context, args).await,
            Command::Pin(args) => pin::pin_it(context, args).await,
            Command::Unpin(args) => pin::unpin_it(context, args).await,
            Command::Forget(args) => forget::run(context, args).await,
            Command::Delete(args) => delete::run(context, args).await,
        }
    }
}

/// The store and the snapshot that the operator named: an ID, or `latest` of this source.
pub(super) async fn named(context: &Context, project: &Project, text: &str) -> Result<(Store, SnapshotId), CliError> {
    let choice = Choice::snapshot(text)?;
    let store = match Store::open(&project.store).await {
        // The first snapshot makes the default place: what is missing is the snapshot, not the store.
        Err(StoreError::NotAStore { location, .. }) if context.config.store.url.is_none() => {
            let message = format!("there is no store at {location} yet, and so no snapshot");
            return Err(Error::NoSnapshot { message, hint: TAKE_ONE }.into());
        }
        result => result.map_err(Error::from)?,
    };
    let id = choose(project, &store, &choice, &context.operator).await?;
    Ok((store, id))
}
