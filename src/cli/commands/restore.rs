//! `restore`: the database as it was.

use serde_json::json;
use time::OffsetDateTime;

use super::restore_part;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::Outcome;
use crate::report::{format_ago, format_bytes, format_count, format_things};
use crate::snapshot::{SnapshotId, SnapshotReader, SnapshotSummary};
use crate::store::Store;
use crate::workflow::restore::{
    Choice, Destination, RestoreReport, RestoreRequest, SwapReport, candidates, choose, plan_restore, restore, swap,
};
use crate::workflow::{Error, Operator, Project};

/// Put a snapshot back, beside the database or in its place
///
/// Nothing is destroyed. The snapshot is restored into a new database and compared
/// with the manifest; the last line says how to swap it in. The database that it
/// replaces is kept under another name. Without an ID the candidates are listed
/// and one is asked for.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate restore
  safe-migrate restore --before last-apply --in-place
  safe-migrate restore 20261122T135823Z-7f3a9c --to shop_copy
  safe-migrate restore latest --dry-run
  safe-migrate restore --swap shop_restored_7f3a9c
  safe-migrate restore latest --table menu_item --column price --dry-run
  safe-migrate restore --before last-apply --table orders --mode missing
  safe-migrate restore --undo 20261122T140211Z-0c41de")]
pub(crate) struct Args {
    /// Which snapshot: an ID, or `latest` of this source
    #[arg(value_name = "ID|latest")]
    pub(crate) snapshot: Option<String>,
    /// The snapshot that this run took before it changed anything
    #[arg(long, value_name = "RUN|last-apply", conflicts_with = "snapshot")]
    pub(crate) before: Option<String>,
    /// Fill this new database, and leave it there
    #[arg(long, value_name = "NAME|URL", conflicts_with = "in_place")]
    pub(crate) to: Option<String>,
    /// Put the restored database in the place of the present one
    #[arg(long)]
    pub(crate) in_place: bool,
    /// Also create the roles that are missing on the server
    #[arg(long)]
    pub(crate) roles: bool,
    /// Show what would be done; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Put a database that `restore` filled earlier in the place of the present one
    #[arg(long, value_name = "NAME", conflicts_with_all = ["snapshot", "before", "to", "in_place", "roles"])]
    pub(crate) swap: Option<String>,
    #[command(flatten)]
    pub(crate) part: restore_part::PartArgs,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    if let Some(name) = &args.swap {
        let project = context.project_without_store()?;
        return Ok(swapped(&swap(&project, name, &context.operator).await?));
    }
    if let Some(run) = &args.part.undo {
        return restore_part::undo(context, run).await;
    }
    let mut project = context.project()?;
    let destination = destination(context, args, &mut project)?;
    let store = project.open_store().await?;
    let choice = choice(context, args, &project, &store).await?;
    let snapshot = choose(&project, &store, &choice).await?;
    if let Some(request) = args.part.request(&snapshot, args.dry_run)? {
        return restore_part::run(context, &project, &request).await;
    }
    if args.dry_run {
        return context.unless_interrupted(dry_run(&project, &store, &snapshot, &destination)).await;
    }
    let request =
        RestoreRequest { command: command(&snapshot, &destination), snapshot, destination, roles: args.roles };
    let report = restore(&project, &request, &context.operator, context.interrupt.wish()).await?;
    Ok(rendered(&report))
}

/// Where to; a URL in `--to` moves the whole project to that server.
fn destination(context: &Context, args: &Args, project: &mut Project) -> Result<Destination, CliError> {
    Ok(match &args.to {
        Some(url) if url.contains("://") => {
            project.target = context.connection(Some(url))?;
            Destination::Named(project.target.database().to_owned())
        }
        Some(name) => Destination::Named(name.clone()),
        None if args.in_place => Destination::InPlace,
        None => Destination::Beside,
    })
}

fn command(snapshot: &SnapshotId, destination: &Destination) -> String {
    match destination {
        Destination::Named(name) => format!("restore {snapshot} --to {name}"),
        Destination::InPlace => format!("restore {snapshot} --in-place"),
        Destination::Beside => format!("restore {snapshot}"),
    }
}

async fn choice(context: &Context, args: &Args, project: &Project, store: &Store) -> Result<Choice, CliError> {
    Ok(match (args.snapshot.as_deref(), args.before.as_deref()) {
        (Some("latest"), _) => Choice::Latest,
        (Some(id), _) => Choice::Id(SnapshotId::parse(id).map_err(Error::from)?),
        (None, Some("last-apply")) => Choice::BeforeLastApply,
        (None, Some(run)) => Choice::Before(run.to_owned()),
        (None, None) => Choice::Id(asked(context, candidates(project, store).await?)?),
    })
}

/// Lists the candidates and asks for one: the newest snapshot is often the one taken after the damage.
fn asked(context: &Context, candidates: Vec<SnapshotSummary>) -> Result<SnapshotId, CliError> {
    if candidates.is_empty() {
        return Err(Error::NoSnapshot("the store holds no snapshot of this source".to_owned()).into());
    }
    let now = OffsetDateTime::now_utc();
    let lines: Vec<String> = candidates
        .iter()
        .enumerate()
        .filter_map(|(number, summary)| {
            let details = summary.details()?;
            let (ago, size) = (format_ago(details.started_at, now), format_bytes(details.raw_bytes));
            let reason = &details.reason;
            let why = if reason.run.is_some() { "before" } else { "by" };
            Some(format!("{:>3}  {}  {why} {}, {ago}, {size}", number + 1, summary.id, reason.command))
        })
        .collect();
    context.operator.step(&lines.join("\n"));
    let unnamed = || {
        CliError::usage("no-snapshot-named", "a snapshot must be named: an ID, `latest`, or --before last-apply")
            .hint("`safe-migrate snapshot list` shows them")
    };
    if !context.operator.can_ask() {
        return Err(unnamed());
    }
    let answer = context.operator.ask("which one (number)? ").ok_or_else(unnamed)?;
    let chosen = answer.trim().parse::<usize>().ok().and_then(|number| candidates.get(number.checked_sub(1)?));
    chosen.map(|summary| summary.id.clone()).ok_or_else(unnamed)
}

async fn dry_run(
    project: &Project,
    store: &Store,
    snapshot: &SnapshotId,
    destination: &Destination,
) -> Result<Outcome, CliError> {
    let server = project.connect().await?;
    let reader = SnapshotReader::open(store, snapshot).await.map_err(Error::from)?;
    let plan = plan_restore(project, &server, &reader, destination).await?;
    let mut text = format!(
        "would fill \"{}\" from snapshot {} of \"{}\": {} rows, {}\n",
        plan.fills,
        plan.snapshot,
        plan.of,
        format_count(plan.rows),
        format_bytes(plan.bytes)
    );
    if let Some(live) = &plan.replaces {
        text.push_str(&format!("and put it in the place of \"{live}\", which is kept\n"));
    }
    for (what, names) in [("roles", &plan.missing_roles), ("extensions", &plan.missing_extensions)] {
        if !names.is_empty() {
            text.push_str(&format!("the server lacks {what}: {}\n", names.join(", ")));
        }
    }
    Ok(Outcome::new(text, json!({ "restore": plan })))
}

fn rendered(report: &RestoreReport) -> Outcome {
    let (plan, proof) = (&report.plan, &report.proof);
    let mut text = format!(
        "proven: {} in {} and {} equal the snapshot; schema equal to plain pg_restore\n",
        format_things(proof.rows, "row"),
        format_things(proof.tables as u64, "table"),
        format_things(proof.sequences as u64, "sequence")
    );
    text.push_str(&match &report.swap {
        Some(swap) => swap_text(swap),
        None if plan.fills.contains("_restored_") => {
            format!("\"{}\" is ready; to put it in place: safe-migrate restore --swap {0}\n", plan.fills)
        }
        None => format!("\"{}\" is ready\n", plan.fills),
    });
    Outcome::new(text, json!({ "restore": plan, "proof": proof, "swap": report.swap, "run": report.run }))
}

fn swap_text(swap: &SwapReport) -> String {
    match &swap.kept {
        Some(kept) => format!("\"{}\" is the restored database; the old one is kept as \"{kept}\"\n", swap.live),
        None => format!("\"{}\" is the restored database; there was no old one\n", swap.live),
    }
}

fn swapped(swap: &SwapReport) -> Outcome {
    Outcome::new(swap_text(swap), json!({ "swap": swap }))
}
