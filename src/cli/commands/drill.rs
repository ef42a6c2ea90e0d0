//! `drill`: would a restore work, how long would it take, and how old would the data be?

use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::snapshot::named;
use crate::cli::config::parse_duration;
use crate::cli::context::Context;
use crate::cli::error::{CliError, ErrorKind};
use crate::cli::output::Outcome;
use crate::report::{format_ago, format_duration, format_things, format_time};
use crate::snapshot::SnapshotReader;
use crate::workflow::Error;
use crate::workflow::drill::{DrillReport, drill};

/// Restore the newest snapshot in a private server, and say how that went
///
/// Every row is compared with the snapshot, the schema with a plain pg_restore, and the
/// queries of checks/ are run. Production is not connected to. Exits with 6 when the
/// snapshot is not what it should be, and with 3 when it is older than --max-age.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate drill
  safe-migrate drill --max-age 26h --json     each night, by cron or a timer")]
pub(crate) struct Args {
    /// The snapshot: an ID, or `latest` of this source
    #[arg(value_name = "ID|latest", default_value = "latest")]
    snapshot: String,
    /// How old the newest snapshot may be; [drill] max_age
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    max_age: Option<Duration>,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    let project = context.project()?;
    let (store, id) = context.unless_interrupted(named(context, &project, &args.snapshot)).await?;
    let reader = SnapshotReader::open(&store, &id).await.map_err(Error::from)?;
    let taken_at = reader.manifest().started_at;
    let report = drill(&project, &store, &id, &context.operator, context.interrupt.wish()).await?;
    let now = OffsetDateTime::now_utc();
    let age = (now - taken_at).max(time::Duration::ZERO).unsigned_abs();
    let outcome = Outcome::new(text(&report, taken_at, &format_ago(taken_at, now)), value(&report, age));
    if !report.proof.differences.is_empty() || !report.failed.is_empty() {
        let message = format!("snapshot {id} does not come back as it should");
        return Err(CliError::new(ErrorKind::Snapshot, "drill-failed", message)
            .production("unchanged")
            .hint("take a new one now: `safe-migrate snapshot create`; then look into what the lines above name")
            .with_findings(outcome));
    }
    match args.max_age.or(context.config.drill_max_age).filter(|most| age > *most) {
        None => Ok(outcome),
        Some(most) => {
            let message =
                format!("the newest snapshot is {} old, more than {}", format_duration(age), format_duration(most));
            Err(CliError::new(ErrorKind::Gate, "snapshot-too-old", message)
                .production("unchanged")
                .hint("look why none was taken since; take one with `safe-migrate snapshot create`")
                .with_findings(outcome))
        }
    }
}

fn text(report: &DrillReport, taken_at: OffsetDateTime, ago: &str) -> String {
    let proof = &report.proof;
    let mut text =
        format!("snapshot {}, taken {ago}: restored in {}\n", report.snapshot, format_duration(report.restored_in));
    for difference in &proof.differences {
        text.push_str(&format!("differs: {difference}\n"));
    }
    if proof.differences.is_empty() {
        let sequences = format_things(proof.sequences as u64, "sequence");
        text.push_str(&format!("{} and {sequences} equal it; the schema equals a plain pg_restore\n", proof.counted));
    }
    if !report.passed.is_empty() {
        text.push_str(&format!("{} of checks/ found nothing\n", format_things(report.passed.len() as u64, "file")));
    }
    for failed in &report.failed {
        text.push_str(&format!("check {failed}\n"));
    }
    text.push_str(&format!("a loss now would cost what was written after {}\n", format_time(taken_at)));
    text
}

fn value(report: &DrillReport, age: Duration) -> Value {
    json!({
        "drill": report,
        "restored_seconds": report.restored_in.as_secs_f64(),
        "age_seconds": age.as_secs(),
    })
}
