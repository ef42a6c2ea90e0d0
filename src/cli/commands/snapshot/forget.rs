//! `snapshot forget`: the snapshots that no rule keeps go.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::commands::store;
use crate::cli::config::{RetentionSection, parse_duration};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::{Outcome, table};
use crate::report::format_things;
use crate::snapshot::SnapshotId;
use crate::workflow::retention::{Decision, ForgetPlan, Rules, forget, plan};
use crate::workflow::{Confirmation, Error, Gate, Operator};

/// Proven snapshots that stay when nothing else is said.
const PROVEN: u32 = 2;

/// Remove the snapshots that no rule keeps
///
/// Each rule keeps the newest of its span; what any rule keeps stays. Shows what
/// becomes of each and why, and asks. Never removed: what is pinned, the way back of a
/// run that has not ended and of the last one, what a kept database or a stored
/// rehearsal rests on, the newest proven ones, the only one.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate snapshot forget --keep-daily 7 --keep-weekly 4 --keep-monthly 12 --dry-run
  safe-migrate snapshot forget --prune --yes          with the rules of [retention]")]
pub(crate) struct Args {
    /// The newest N
    #[arg(long, value_name = "N")]
    keep_last: Option<u32>,
    /// The newest of each of the last N hours that have one (UTC)
    #[arg(long, value_name = "N")]
    keep_hourly: Option<u32>,
    /// The newest of each of N days
    #[arg(long, value_name = "N")]
    keep_daily: Option<u32>,
    /// The newest of each of N weeks, from Monday
    #[arg(long, value_name = "N")]
    keep_weekly: Option<u32>,
    /// The newest of each of N months
    #[arg(long, value_name = "N")]
    keep_monthly: Option<u32>,
    /// The newest of each of N years
    #[arg(long, value_name = "N")]
    keep_yearly: Option<u32>,
    /// All that are no older than this, such as 30d
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    keep_within: Option<Duration>,
    /// Those before the newest N runs that changed production
    #[arg(long, value_name = "N")]
    keep_before_runs: Option<u32>,
    /// The newest N that were restored and compared, besides the others (default 2)
    #[arg(long, value_name = "N")]
    keep_proven: Option<u32>,
    /// Those of every source of the store; each by itself
    #[arg(long)]
    all_sources: bool,
    /// More than this part of them, in percent, is not removed at once (default: 25,
    /// or as many as were taken in the last two days)
    #[arg(long, value_name = "PERCENT")]
    max_remove: Option<u32>,
    /// Remove exactly what --dry-run showed under this hash, however many
    #[arg(long, value_name = "HASH", conflicts_with = "max_remove")]
    plan_hash: Option<String>,
    /// Show what would go, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Then remove the chunks that no snapshot needs any more (`store prune`)
    #[arg(long, conflicts_with = "dry_run")]
    prune: bool,
}

impl Args {
    fn rules(&self, file: &RetentionSection) -> Result<Rules, CliError> {
        let rules = Rules {
            last: self.keep_last.or(file.keep_last),
            hourly: self.keep_hourly.or(file.keep_hourly),
            daily: self.keep_daily.or(file.keep_daily),
            weekly: self.keep_weekly.or(file.keep_weekly),
            monthly: self.keep_monthly.or(file.keep_monthly),
            yearly: self.keep_yearly.or(file.keep_yearly),
            within: self.keep_within.or(file.keep_within),
            before_runs: self.keep_before_runs.or(file.keep_before_runs),
            proven: self.keep_proven.or(file.keep_proven).unwrap_or(PROVEN),
        };
        if rules.is_any_set() {
            return Ok(rules);
        }
        Err(CliError::usage("no-rule", "no rule says which snapshots stay").hint(
            "give one, such as --keep-daily 7 --keep-weekly 4 --keep-monthly 12, or set keep_daily and the others in [retention]",
        ))
    }
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    let rules = args.rules(&context.config.retention)?;
    let project = context.project()?;
    let operator = &context.operator;
    let store = project.open_store().await?;
    let source = (!args.all_sources).then_some(project.source.as_str());
    let planned = context.unless_interrupted(async { Ok(plan(&project, &store, source, &rules, operator).await?) });
    let planned = planned.await?;
    let removals: Vec<SnapshotId> = planned.removals().into_iter().cloned().collect();
    let mut value = json!({
        "plan_hash": planned.hash,
        "snapshots": values(&planned),
        "unreadable": planned.unreadable.iter().map(|(id, _)| id).collect::<Vec<_>>(),
        "removed": [],
    });
    let mut text = listed(&planned);
    if args.dry_run || removals.is_empty() {
        text.push_str(&match removals.is_empty() {
            true => "nothing to remove\n".to_owned(),
            false => format!(
                "would remove {}; nothing was removed (--dry-run)\nplan hash {}\n",
                counted(&planned),
                planned.hash
            ),
        });
        return pruned(context, args, text, value).await;
    }
    match &args.plan_hash {
        Some(hash) if *hash != planned.hash => {
            let message =
                format!("this would remove other snapshots than those of plan {hash}: its hash is {}", planned.hash);
            return Err(CliError::usage("other-plan", message).hint("look at it once more with --dry-run"));
        }
        Some(_) => {}
        None => planned.refuse_many(args.max_remove.or(context.config.retention.max_remove))?,
    }
    // Before the question, which it answers.
    operator.step(text.trim_end());
    match operator.confirm(&format!("remove {} from {}?", counted(&planned), store.location())) {
        Confirmation::Yes => {}
        Confirmation::No => return Err(Error::from(Gate::NotConfirmed).into()),
        Confirmation::CannotAsk => return Err(Error::from(Gate::CannotAsk).into()),
    }
    let removed = context.unless_interrupted(async { Ok(forget(&project, &store, &planned, operator).await?) }).await?;
    let mut text = format!("removed {}\n", format_things(removed.len() as u64, "snapshot"));
    if !args.prune {
        text.push_str("their chunks stay until `safe-migrate store prune`\n");
    }
    value["removed"] = json!(removed);
    pruned(context, args, text, value).await
}

async fn pruned(context: &Context, args: &Args, text: String, mut value: Value) -> Result<Outcome, CliError> {
    if !args.prune {
        return Ok(Outcome::new(text, value));
    }
    let (pruned, facts) = store::pruned(context).await?;
    value["prune"] = facts;
    Ok(Outcome::new(format!("{text}{pruned}"), value))
}

fn counted(planned: &ForgetPlan) -> String {
    format!("{} of {}", planned.removals().len(), format_things(planned.snapshots() as u64, "snapshot"))
}

fn listed(planned: &ForgetPlan) -> String {
    let mut text = String::new();
    for source in &planned.sources {
        let row = |one: &Decision| {
            let what = if one.keep { "keep" } else { "remove" };
            [one.id.to_string(), what.to_owned(), one.reasons.join(", ")]
        };
        if planned.sources.len() > 1 {
            let _infallible = writeln!(text, "source \"{}\"", source.source);
        }
        text.push_str(&table(["SNAPSHOT", "", "BECAUSE"], source.decisions.iter().map(row)));
    }
    for (id, why) in &planned.unreadable {
        let _infallible = writeln!(text, "{id} {why}, and stays; `safe-migrate snapshot delete {id}` removes it");
    }
    text
}

fn values(planned: &ForgetPlan) -> Vec<Value> {
    let of = |source: &str, one: &Decision| json!({ "id": one.id, "source": source, "keep": one.keep, "reasons": one.reasons });
    let sources = planned.sources.iter();
    sources.flat_map(|source| source.decisions.iter().map(move |one| of(&source.source, one))).collect()
}
