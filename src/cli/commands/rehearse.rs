//! `rehearse`: run the plan on a copy of production.

use std::collections::BTreeSet;

use serde_json::json;

use super::django;
use super::plan::selection;
use super::rehearse_formats::Formats;
use super::run_options::RehearsalSnapshot;
use super::snapshot::named;
use super::snapshot_options::SnapshotOptions;
use crate::cli::context::Context;
use crate::cli::error::{CliError, ErrorKind};
use crate::cli::failure::policy_hints;
use crate::cli::output::{Outcome, write_data, write_note};
use crate::lint::Level;
use crate::postgres::{ConnectionSpec, Host};
use crate::report::rehearsal::{RehearsalReport, Verdict};
use crate::snapshot::{Reason, SnapshotId};
use crate::store::Store;
use crate::workflow::{Operator, Project, denied, rehearse_alone, take_snapshot, with_accepted};

/// Run the pending migrations on a copy of production
///
/// The copy is restored from a snapshot, which proves the snapshot. Locks,
/// rewritten tables, rows, bytes and lost data are reported per statement. With an
/// existing snapshot production is not even connected to.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate rehearse
  safe-migrate rehearse menu 0007 --snapshot new
  safe-migrate rehearse menu 0005 --rollback
  safe-migrate rehearse --markdown - --html report.html --sarif report.sarif")]
pub(crate) struct Args {
    /// Only this app and what it depends on
    #[arg(value_name = "APP")]
    pub(crate) app: Option<String>,
    /// Up to this migration: its number, its name, or a unique prefix of it
    #[arg(value_name = "TARGET", requires = "app")]
    pub(crate) target: Option<String>,
    /// Which snapshot to restore: an ID, `latest`, or `new` to take one first
    #[arg(long, value_name = "ID|latest|new", default_value = "latest")]
    pub(crate) snapshot: RehearsalSnapshot,
    /// Rehearse the way back down to TARGET (a migration, or `zero`)
    #[arg(long, requires = "target")]
    pub(crate) rollback: bool,
    /// Accept that the plan with this hash loses data, as `apply` is told
    #[arg(long, value_name = "HASH")]
    pub(crate) accept_data_loss: Option<String>,
    /// Show examples of rows and values that are lost or changed; they are printed and never stored
    #[arg(long)]
    pub(crate) samples: bool,
    /// Leave the copy running and say how to connect to it
    #[arg(long)]
    pub(crate) keep_shadow: bool,
    /// Restore the snapshot although a restored copy of it is kept, and keep none
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// The migrations of a Django project, by its own manage.py ([exec] django), on a new snapshot
    #[arg(long, conflicts_with_all = ["rollback", "samples", "keep_shadow", "no_cache"])]
    pub(crate) django: bool,
    #[command(flatten)]
    pub(crate) formats: Formats,
    #[command(flatten)]
    pub(crate) taking: SnapshotOptions,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    if args.django {
        let accepted = args.accept_data_loss.as_deref();
        return django::rehearse(context, (args.app.as_deref(), args.target.as_deref()), accepted).await;
    }
    args.formats.check(context.flags.json)?;
    let mut project = context.project()?;
    if args.no_cache {
        project.shadow_max_cache = 0;
    }
    let selection = selection(args.app.as_deref(), args.target.as_deref(), args.rollback);
    let (store, id) = match &args.snapshot {
        RehearsalSnapshot::New => taken(context, &project).await?,
        RehearsalSnapshot::Latest => context.unless_interrupted(named(context, &project, "latest")).await?,
        RehearsalSnapshot::Id(id) => context.unless_interrupted(named(context, &project, id)).await?,
    };
    let wish = context.interrupt.wish();
    let Some(rehearsal) =
        rehearse_alone(&project, &store, &id, (&selection, args.samples), &context.operator, wish).await?
    else {
        let state = if args.rollback { "nothing of that is applied" } else { "nothing is pending" };
        let text = format!("nothing to do: in snapshot {id} {state}\n");
        context.operator.step("the ledger in the snapshot counts; `--snapshot new` rehearses on the present state");
        return Ok(Outcome::new(text, json!({ "snapshot": id, "rehearsal": null })));
    };
    let report = with_accepted(rehearsal.report.clone(), args.accept_data_loss.as_deref(), &project);
    let mut text = args.formats.text(&report);
    // Also, and above all, when the rehearsal failed; the shadow is to be stopped whatever comes of it.
    let written = args.formats.write(&report, args.samples, &context.operator);
    text.push_str(written.as_deref().unwrap_or_default());
    if args.keep_shadow {
        if !context.flags.json {
            // Said before the wait, not after it. When stdout is gone the copy is still of use.
            let _unreachable_reader = write_data(text.as_bytes());
            text.clear();
        }
        let command = psql_command(&rehearsal.shadow.spec());
        write_note(&format!("the copy runs until Ctrl-C, which removes it; to look at it:\n  {command}\n"));
        context.interrupt.wait().await;
    }
    rehearsal.shadow.stop().await?;
    written?;
    concluded(context, &report, text)
}

async fn taken(context: &Context, project: &Project) -> Result<(Store, SnapshotId), CliError> {
    let server = context.unless_interrupted(async { Ok(project.connect_directly().await?) }).await?;
    let store = project.open_or_create_store().await?;
    let reason = Reason { run: None, command: "rehearse --snapshot new".to_owned() };
    let wish = context.interrupt.wish();
    let snapshot = take_snapshot(project, &server, &store, reason, &context.operator, wish).await?;
    Ok((store, snapshot.id().clone()))
}

/// Ends as `apply` (or `exec`) would: what it would refuse is said here, where a pull request still sees it.
pub(super) fn concluded(context: &Context, report: &RehearsalReport, text: String) -> Result<Outcome, CliError> {
    let denied = denied(&report.findings);
    let losses = report.open_losses();
    let loses = !losses.is_empty() && context.config.policy.level("data-loss") >= Level::Deny;
    let run = if report.direction == "exec" { "exec" } else { "apply" };
    let mut refusals = Vec::new();
    let mut hints = Vec::new();
    if report.verdict == Verdict::Fail {
        let why = report.failure.as_deref().unwrap_or("it did not go through");
        refusals.push(format!("the rehearsal failed: {why}"));
        hints.push(report.advice.clone().unwrap_or_else(|| "correct the migration and rehearse again".to_owned()));
    } else {
        if !denied.is_empty() {
            let lines: String = denied.iter().map(|finding| format!("\n  {}", finding.to_line())).collect();
            refusals.push(format!("the policy denies:{lines}"));
            hints.extend(policy_hints());
        }
        if loses {
            let lines: String = losses.iter().map(|line| format!("\n{line}")).collect();
            refusals.push(format!("the plan loses data:{lines}"));
            let hash: String = report.plan_hash.chars().take(12).collect();
            hints.push(format!("if that is meant, say so here and to {run}: --accept-data-loss {hash}"));
            let objects: BTreeSet<&str> =
                report.losses.iter().filter(|one| one.accepted.is_none()).map(|one| one.object.as_str()).collect();
            let lines: String =
                objects.iter().take(5).map(|object| format!("\n  -- accept-loss: {object} WHY")).collect();
            if report.direction == "apply" {
                hints.push(format!("or in the header of the migration, where a review sees it:{lines}"));
            }
        }
    }
    let would = if refusals.is_empty() { "apply" } else { "refuse" };
    let value = json!({
        "snapshot": report.snapshot,
        "rehearsal": report,
        "apply_would": { "do": would, "refuses": refusals },
    });
    let outcome = Outcome::new(text, value);
    if refusals.is_empty() {
        return Ok(outcome);
    }
    let (code, message) = match report.verdict {
        Verdict::Fail => ("rehearsal-failed", refusals.join("\n")),
        _ if !denied.is_empty() => ("policy", format!("{run} would refuse: {}", refusals.join("\n"))),
        _ => ("data-loss", format!("{run} would refuse: {}", refusals.join("\n"))),
    };
    let error = CliError::new(ErrorKind::Gate, code, message).production("unchanged");
    Err(hints.into_iter().fold(error, CliError::hint).with_findings(outcome))
}

fn psql_command(spec: &ConnectionSpec) -> String {
    let host = match spec.host() {
        Host::Tcp(name) => name.clone(),
        Host::Unix(directory) => directory.display().to_string(),
    };
    let quoted = |word: &str| format!("'{}'", word.replace('\'', "'\\''"));
    // A plain name is easier to read; another one would be taken for a connection string.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let is_plain = spec.database().bytes().all(plain);
    let database = if is_plain { spec.database().to_owned() } else { spec.database_as_conninfo() };
    format!("psql -h {} -p {} -U {} -d {}", quoted(&host), spec.port(), quoted(spec.user()), quoted(&database))
}
