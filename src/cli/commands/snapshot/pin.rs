//! `snapshot pin` and `snapshot unpin`: what no rule may remove.

use serde_json::json;

use super::named;
use crate::cli::commands::run_options::parse_reason;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::Outcome;
use crate::workflow::retention::{pin, unpin};

/// Keep a snapshot, whatever the rules say
///
/// `snapshot forget` never removes a pinned one; `snapshot delete` still does.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate snapshot pin latest \"before the move to the new billing\"")]
pub(crate) struct PinArgs {
    /// The ID of the snapshot, or `latest`
    #[arg(value_name = "ID")]
    snapshot: String,
    /// Why it is kept
    #[arg(value_name = "WHY", value_parser = parse_reason)]
    why: String,
}

/// Leave a snapshot to the rules again
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate snapshot unpin 20261122T135823Z-7f3a9c")]
pub(crate) struct UnpinArgs {
    /// The ID of the snapshot
    #[arg(value_name = "ID")]
    snapshot: String,
}

pub(crate) async fn pin_it(context: &Context, args: &PinArgs) -> Result<Outcome, CliError> {
    if args.why.trim().is_empty() || args.why.contains(char::is_control) {
        return Err(CliError::usage("why-invalid", "the reason is one line of text"));
    }
    let project = context.project()?;
    context
        .unless_interrupted(async {
            let (store, id) = named(context, &project, &args.snapshot).await?;
            let pin = pin(&project, &store, &id, &args.why).await?;
            let text = format!("snapshot {id} is kept: {}\n", pin.why);
            Ok(Outcome::new(text, json!({ "snapshot": id, "pin": pin })))
        })
        .await
}

pub(crate) async fn unpin_it(context: &Context, args: &UnpinArgs) -> Result<Outcome, CliError> {
    let project = context.project()?;
    context
        .unless_interrupted(async {
            let (store, id) = named(context, &project, &args.snapshot).await?;
            let was_pinned = unpin(&store, &id).await?;
            let text = match was_pinned {
                true => format!("snapshot {id} is left to the rules\n"),
                false => format!("snapshot {id} was not pinned\n"),
            };
            Ok(Outcome::new(text, json!({ "snapshot": id, "was_pinned": was_pinned })))
        })
        .await
}
