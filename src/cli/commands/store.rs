//! `store`: what is done to the store as a whole.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::store_keys;
use crate::cli::context::Context;
use crate::cli::error::{CliError, ErrorKind};
use crate::cli::output::Outcome;
use crate::report::{first_five, format_bytes, format_list, format_things};
use crate::snapshot::{self, Look, Sample, SnapshotState, SnapshotSummary};
use crate::store::Store;
use crate::workflow::retention::withheld;
use crate::workflow::{Confirmation, Error, Gate, Operator, Unit};

/// Look after the store
///
/// Needs no database, so it can run where only the store can be reached.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate store check --read 1/7     today, 2/7 tomorrow
  safe-migrate store prune --dry-run")]
pub(crate) enum Command {
    Check(CheckArgs),
    Keys(store_keys::Args),
    Prune(PruneArgs),
}

/// Check that everything that the snapshots need is there
///
/// Of every source: all manifests, and every chunk by its size; with --read the content
/// of a part of them. Names what is damaged and which snapshots need it, and exits with 6.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate store check
  safe-migrate store check --read 1/7     today, 2/7 tomorrow: a week reads all")]
pub(crate) struct CheckArgs {
    /// Also read the Nth of T equal parts of the chunks; `1/1` reads all
    #[arg(long, value_name = "N/T")]
    read: Option<Sample>,
}

/// Remove the chunks that no snapshot needs
///
/// What `snapshot forget` and `snapshot delete` leave, and what snapshots left that were
/// never finished. Snapshots may be taken meanwhile, and it may be killed and begun
/// again: nothing that a snapshot needs is removed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate store prune --dry-run
  safe-migrate store prune --yes")]
pub(crate) struct PruneArgs {
    /// Show what would go, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

impl Command {
    /// The name as typed, for the JSON document.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Command::Check(_) => "store check",
            Command::Keys(_) => "store keys",
            Command::Prune(_) => "store prune",
        }
    }

    pub(crate) async fn run(&self, context: &Context) -> Result<Outcome, CliError> {
        match self {
            Command::Check(args) => check(context, args).await,
            Command::Keys(args) => store_keys::run(context, args).await,
            Command::Prune(args) => prune(context, args).await,
        }
    }
}

async fn check(context: &Context, args: &CheckArgs) -> Result<Outcome, CliError> {
    let settings = context.store_alone()?;
    let operator = &context.operator;
    operator.step("looking at all manifests and chunks");
    let progress = |done: u64, total: u64| {
        if done == 1 {
            operator.begin("reading chunks", Some(total), Unit::Items);
        }
        operator.advance(1);
        if done == total {
            operator.finish(&format!("{} read", format_things(total, "chunk")));
        }
    };
    let checking = async {
        let store = Store::open(&settings).await.map_err(Error::from)?;
        let found = snapshot::check(&store, args.read, progress).await.map_err(Error::from)?;
        let snapshots = snapshot::list(&store).await.map_err(Error::from)?;
        Ok((found, unbelieved(&snapshots), withheld(&store, &snapshots).await?))
    };
    let (found, unbelieved, withheld) = context.unless_interrupted(checking).await?;
    let read = match args.read {
        Some(_) => format!(", {} of them read", format_things(found.read, "chunk")),
        None => String::new(),
    };
    let of = format!("{}, {}{read}", format_things(found.snapshots, "snapshot"), format_things(found.chunks, "chunk"));
    let unused = match found.unused {
        (0, _) => String::new(),
        (number, bytes) => {
            format!("{} needed by none of them, {}\n", format_things(number, "chunk"), format_bytes(bytes))
        }
    };
    let value = json!({
        "snapshots": found.snapshots,
        "chunks": found.chunks,
        "read": found.read,
        "unbelieved": unbelieved,
        "withheld": withheld.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "unused": found.unused.0,
        "unused_bytes": found.unused.1,
        "unreadable": found.unreadable.iter().map(|(id, reason)| json!({ "id": id, "reason": reason })).collect::<Vec<_>>(),
        "damages": found.damages.iter().map(|one| json!({
            "object": one.key.to_string(), "reason": one.reason, "snapshots": one.snapshots
        })).collect::<Vec<_>>(),
    });
    let wrong = found.unreadable.len() + found.damages.len() + unbelieved.len() + withheld.len();
    if wrong == 0 {
        return Ok(Outcome::new(format!("{of}: all is there\n{unused}"), value));
    }
    let mut lines: Vec<String> = found.unreadable.into_iter().map(|(_, reason)| reason).collect();
    lines.extend(found.damages.iter().map(|one| {
        let ids: Vec<String> = one.snapshots.iter().map(ToString::to_string).collect();
        format!("{}: {} (needed by {})", one.key, one.reason, format_list(&ids))
    }));
    let unbelieved_number = unbelieved.len();
    lines.extend(unbelieved);
    lines.extend(withheld.iter().map(ToString::to_string));
    let message = format!("the store is damaged ({wrong} found in {of})");
    let error = CliError::new(ErrorKind::Snapshot, "damaged", message).production("unchanged");
    let error = match unbelieved_number {
        0 => error,
        _ => error.hint("sign what you know to be yours: `safe-migrate store keys adopt ID`"),
    };
    Err(error
        .hint("take a new snapshot now; `safe-migrate snapshot verify ID` names the tables of one that is named here")
        .with_findings(Outcome::new(first_five(&lines).join("\n"), value)))
}

/// Snapshots that nobody signed who counts.
fn unbelieved(found: &[SnapshotSummary]) -> Vec<String> {
    let doubt = |one: &SnapshotSummary| match &one.state {
        SnapshotState::Untrusted { doubt, .. } => Some(format!("snapshot {} is not believed: {doubt}", one.id)),
        SnapshotState::Complete(_) | SnapshotState::Damaged { .. } => None,
    };
    found.iter().filter_map(doubt).collect()
}

async fn prune(context: &Context, args: &PruneArgs) -> Result<Outcome, CliError> {
    let (store, found) = looked(context).await?;
    if args.dry_run || is_clean(&found) {
        let text = match is_clean(&found) {
            true => format!("nothing to remove; {}\n", of_all(&found)),
            false => format!("would remove {}; nothing was removed (--dry-run)\n", described(&found)),
        };
        return Ok(Outcome::new(format!("{text}{}", left(&found)), json!({ "prune": facts(&found) })));
    }
    match context.operator.confirm(&format!("remove {} from {}?", described(&found), store.location())) {
        Confirmation::Yes => {}
        Confirmation::No => return Err(Error::from(Gate::NotConfirmed).into()),
        Confirmation::CannotAsk => return Err(Error::from(Gate::CannotAsk).into()),
    }
    let (text, value) = swept(context, &store, found).await?;
    Ok(Outcome::new(text, json!({ "prune": value })))
}

/// Removes what no snapshot needs, without a question: what it did, in words and as facts.
pub(super) async fn pruned(context: &Context) -> Result<(String, Value), CliError> {
    let (store, found) = looked(context).await?;
    swept(context, &store, found).await
}

async fn looked(context: &Context) -> Result<(Store, Look), CliError> {
    let settings = context.store_alone()?;
    context.operator.step("looking for chunks that no snapshot needs");
    context
        .unless_interrupted(async {
            let store = Store::open(&settings).await.map_err(Error::from)?;
            let found = snapshot::look(&store, OffsetDateTime::now_utc()).await.map_err(Error::from)?;
            Ok((store, found))
        })
        .await
}

async fn swept(context: &Context, store: &Store, found: Look) -> Result<(String, Value), CliError> {
    let (operator, left, mut value) = (&context.operator, left(&found), facts(&found));
    let total = found.unused();
    if total > 0 {
        operator.begin("removing chunks", Some(total), Unit::Items);
    }
    let progress = |_, _| operator.advance(1);
    let sweeping = async { Ok(snapshot::sweep(store, found, progress).await.map_err(Error::from)?) };
    let swept = context.unless_interrupted(sweeping).await?;
    if total > 0 {
        operator.finish(&format!("{} looked at", format_things(total, "chunk")));
    }
    let mut text = format!("removed {}, {}\n", format_things(swept.removed, "chunk"), format_bytes(swept.bytes));
    if swept.needed_again > 0 {
        text.push_str(&format!("{} needed again meanwhile\n", format_things(swept.needed_again, "chunk")));
    }
    if swept.refused > 0 {
        text.push_str(&format!("{} not let go by the store yet\n", format_things(swept.refused, "chunk")));
    }
    value["removed"] = json!(swept.removed);
    value["removed_bytes"] = json!(swept.bytes);
    value["needed_again"] = json!(swept.needed_again);
    value["refused"] = json!(swept.refused);
    Ok((format!("{text}{left}"), value))
}

fn is_clean(found: &Look) -> bool {
    found.unused() == 0 && found.given_up.is_empty()
}

fn of_all(found: &Look) -> String {
    format!("{} in the store, {}", format_things(found.chunks, "chunk"), format_bytes(found.stored_bytes))
}

fn described(found: &Look) -> String {
    let unused = format_things(found.unused(), "chunk");
    let given_up = match found.given_up.len() {
        0 => String::new(),
        number => format!(" and what {} left that was never finished", format_things(number as u64, "snapshot")),
    };
    format!("{unused}, {} of {}{given_up}", format_bytes(found.unused_bytes()), format_bytes(found.stored_bytes))
}

/// What is no use yet and stays.
fn left(found: &Look) -> String {
    let mut text = String::new();
    if !found.pending.is_empty() {
        let number = format_things(found.pending.len() as u64, "snapshot");
        text.push_str(&format!("{number} not finished, begun less than a week ago: what they wrote stays\n"));
    }
    if found.waiting > 0 {
        let number = format_things(found.waiting, "chunk");
        text.push_str(&format!(
            "{number} of format 1 unused: they stay until a week after the store's first snapshot of format 2, as an older \
             safe-migrate may be at work\n"
        ));
    }
    text
}

fn facts(found: &Look) -> Value {
    json!({
        "chunks": found.chunks,
        "stored_bytes": found.stored_bytes,
        "unused": found.unused(),
        "unused_bytes": found.unused_bytes(),
        "given_up": found.given_up,
        "pending": found.pending,
        "waiting": found.waiting,
    })
}
