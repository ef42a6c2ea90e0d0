//! `restore`: the database as it was.

use std::collections::BTreeSet;

use clap::ValueEnum;
use serde_json::json;
use time::OffsetDateTime;

use super::restore_part;
use super::snapshot::REFUSED;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::Outcome;
use crate::report::{format_ago, format_bytes};
use crate::snapshot::{SnapshotId, SnapshotReader, SnapshotSummary};
use crate::store::Store;
use crate::workflow::restore::{
    Choice, Destination, RestoreRequest, TAKE_ONE, candidates, choose, describe, plan_restore, refuse, refused, restore,
};
use crate::workflow::{Error, Failing, Operator, Project, ProofLevel};

use super::restore_report::rendered;
use super::restore_swap;

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
  safe-migrate restore --before last-apply --table orders --mode missing
  safe-migrate restore latest --table menu_item --column price --dry-run
  safe-migrate restore --undo 20261122T140210Z-19be04
  safe-migrate restore --drop-old 20261122T140210Z-19be04")]
pub(crate) struct Args {
    /// Which snapshot: an ID, or `latest` of this source
    #[arg(value_name = "ID|latest")]
    pub(crate) snapshot: Option<String>,
    /// The snapshot that this run took before it changed anything
    #[arg(long, value_name = "RUN|last-apply|last", conflicts_with = "snapshot")]
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
    /// Leave this entry of the snapshot out, by kind and name: 'EVENT TRIGGER watch', 'TABLE public.visit'
    #[arg(long, value_name = "ENTRY", conflicts_with_all = ["swap", "undo", "drop_old", "table"])]
    pub(crate) without: Vec<String>,
    /// Make foreign keys that rows do not pass as NOT VALID
    #[arg(long, conflicts_with_all = ["swap", "undo", "drop_old", "table"])]
    pub(crate) not_valid: bool,
    /// Restore the rest without what cannot be restored, and list that (exit 4)
    #[arg(long, conflicts_with_all = ["swap", "undo", "drop_old", "table"])]
    pub(crate) keep_going: bool,
    /// Go on with the database that an earlier restore filled, where something behind the rows could not be made
    #[arg(long, conflicts_with_all = ["swap", "undo", "drop_old", "table"])]
    pub(crate) resume: bool,
    /// Go on although the disk seems too small
    #[arg(long)]
    pub(crate) ignore_space: bool,
    /// Let functions of roles that are not trusted run with your rights, for this reason
    #[arg(long, value_name = "WHY", conflicts_with_all = ["swap", "undo", "drop_old"])]
    pub(crate) run_foreign_code: Option<String>,
    /// Show what would be done; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How the restored rows are proven: read back and hashed, only counted, or read back when it is in service
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub(crate) proof: ProofArgument,
    /// Put a database that `restore` filled earlier in the place of the present one
    #[arg(long, value_name = "NAME", conflicts_with_all = ["snapshot", "before", "to", "in_place", "roles"])]
    pub(crate) swap: Option<String>,
    /// Put back what this run replaced; what replaced it is kept in turn
    #[arg(long, value_name = "RUN|last", conflicts_with_all = ["snapshot", "before", "to", "in_place", "roles", "swap", "table"])]
    pub(crate) undo: Option<String>,
    /// Drop the old database that this run put aside; asks for its name
    #[arg(
        long,
        value_name = "RUN|last",
        conflicts_with_all = ["snapshot", "before", "to", "in_place", "roles", "swap", "undo", "table"]
    )]
    pub(crate) drop_old: Option<String>,
    /// Prove the snapshot that this run restored, in a private server; live rows are not looked at
    #[arg(
        long,
        value_name = "RUN|last",
        conflicts_with_all = ["snapshot", "before", "to", "in_place", "roles", "swap", "undo", "drop_old", "table"]
    )]
    pub(crate) prove: Option<String>,
    /// The name of the database to drop, where nobody can type it
    #[arg(long, value_name = "NAME", requires = "drop_old")]
    pub(crate) confirm_name: Option<String>,
    #[command(flatten)]
    pub(crate) part: restore_part::PartArgs,
}

/// How the restored rows are proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProofArgument {
    /// Every row is read back and hashed
    #[default]
    Rows,
    /// Rows are counted
    Counts,
    /// Rows are counted, the database is put in place, and then every row is read back as it was at that moment
    Later,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    if let Some(outcome) = restore_swap::run(context, args).await? {
        return Ok(outcome);
    }
    let mut project = project(context, args)?;
    let destination = destination(context, args, &mut project)?;
    let store = project.open_store().await?;
    let choice = choice(context, args, &project, &store).await?;
    let snapshot = choose(&project, &store, &choice, &context.operator).await?;
    if let Some(mut request) = args.part.request(&snapshot, args.dry_run)? {
        request.run_foreign_code.clone_from(&args.run_foreign_code);
        return restore_part::run(context, &project, &request).await;
    }
    let request = RestoreRequest {
        command: command(&snapshot, &destination),
        snapshot,
        destination,
        roles: args.roles,
        proof: match args.proof {
            ProofArgument::Rows => ProofLevel::Rows,
            ProofArgument::Counts | ProofArgument::Later => ProofLevel::Counts,
        },
        prove_later: args.proof == ProofArgument::Later,
        without: args.without.clone(),
        ignore_space: args.ignore_space,
        run_foreign_code: args.run_foreign_code.clone(),
        failing: Failing { not_valid: args.not_valid, keep_going: args.keep_going, resume: args.resume },
    };
    if args.dry_run {
        return context.unless_interrupted(dry_run(context, &project, &store, &request)).await;
    }
    let report = restore(&project, &request, &context.operator, context.interrupt.wish()).await?;
    rendered(&report)
}

/// With a URL in `--to` no other database needs to be named: a bare server and a store are enough.
fn project(context: &Context, args: &Args) -> Result<Project, CliError> {
    match (context.project(), &args.to) {
        (Err(error), Some(url)) if error.code == "no-database" && url.contains("://") => {
            context.project_on(context.connection(Some(url))?)
        }
        (project, _) => project,
    }
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
        (Some(word), _) => Choice::snapshot(word)?,
        (None, Some(run)) => Choice::before(run),
        (None, None) => {
            let candidates = candidates(project, store).await?;
            let refused = refused(store, &candidates).await;
            Choice::Id(asked(context, candidates, &refused)?)
        }
    })
}

/// Lists the candidates and asks for one: the newest snapshot is often the one taken after the damage.
fn asked(
    context: &Context,
    candidates: Vec<SnapshotSummary>,
    refused: &BTreeSet<SnapshotId>,
) -> Result<SnapshotId, CliError> {
    if candidates.is_empty() {
        let message = "the store holds no snapshot of this source".to_owned();
        return Err(Error::NoSnapshot { message, hint: TAKE_ONE }.into());
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
            let nothing = if refused.contains(&summary.id) { REFUSED } else { "" };
            Some(format!("{:>3}  {}  {why} {}{nothing}, {ago}, {size}", number + 1, summary.id, reason.command))
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
    context: &Context,
    project: &Project,
    store: &Store,
    request: &RestoreRequest,
) -> Result<Outcome, CliError> {
    let server = project.connect().await?;
    let reader = SnapshotReader::open(store, &request.snapshot).await.map_err(Error::from)?;
    let plan = plan_restore(project, store, &server, &reader, request).await?;
    // What would stop the restore stops its dry run, and below the plan it says more.
    if let Err(error) = refuse(&server, &plan, request).await {
        context.operator.step(describe(&plan).trim_end());
        return Err(error.into());
    }
    let text = format!("{}nothing was changed (--dry-run)\n", describe(&plan));
    Ok(Outcome::new(text, json!({ "restore": plan })))
}
