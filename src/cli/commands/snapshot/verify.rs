//! `snapshot verify`: would it restore?

use serde_json::{Value, json};

use super::named;
use crate::cli::context::Context;
use crate::cli::error::{CliError, ErrorKind};
use crate::cli::output::Outcome;
use crate::report::{format_count, format_things};
use crate::snapshot::{self, Sample, SnapshotId, VerifyReport};
use crate::store::Store;
use crate::workflow::retention::{disprove, is_damage};
use crate::workflow::{Error, Operator, Project, Proof, Unit, verify_by_restore};

/// Check that a snapshot would restore; every damage is named by table
///
/// Exits with 6 when something is missing or damaged.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate snapshot verify latest
  safe-migrate snapshot verify latest --level restore
  safe-migrate snapshot verify latest --sample 1/7     today, 2/7 tomorrow")]
pub(crate) struct Args {
    /// The snapshot: an ID, or `latest` of this source
    #[arg(value_name = "ID|latest")]
    pub(crate) snapshot: String,
    /// How thorough to be
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    pub(crate) level: Level,
    /// Check only the Nth of T equal parts of the objects; all T together check each once
    #[arg(long, value_name = "N/T")]
    pub(crate) sample: Option<Sample>,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    if args.sample.is_some() && args.level == Level::Restore {
        let message = "--sample goes with --level exists and hash; a restore needs every object";
        return Err(CliError::usage("sample-refused", message).hint("leave one of the two out"));
    }
    let project = context.project()?;
    let (store, id) = context.unless_interrupted(named(context, &project, &args.snapshot)).await?;
    let level = match args.level {
        Level::Exists => snapshot::Level::Exists,
        Level::Hash => snapshot::Level::Hash,
        Level::Restore => return restored(context, &project, &store, &id).await,
    };
    let sample = args.sample.unwrap_or(Sample::WHOLE);
    let report = context.unless_interrupted(verified(context, &store, &id, level, sample)).await?;
    concluded(&report, args.sample.filter(|part| !part.is_whole()))
}

fn concluded(report: &VerifyReport, sample: Option<Sample>) -> Result<Outcome, CliError> {
    let id = &report.id;
    let (name, done) = match report.level {
        snapshot::Level::Exists => ("exists", "are there"),
        snapshot::Level::Hash => ("hash", "were read, and their rows are the recorded ones"),
    };
    let damages: Vec<Value> = report
        .damages
        .iter()
        .map(|one| json!({ "object": one.key.to_string(), "parts": one.parts, "reason": one.reason }))
        .collect();
    let value = json!({
        "snapshot": id,
        "level": name,
        "sample": sample.map(|part| part.to_string()),
        "chunks": report.chunks,
        "all_chunks": report.all_chunks,
        "damages": damages,
    });
    let chunks = format_count(report.chunks);
    if report.damages.is_empty() {
        let text = match sample {
            None => format!("snapshot {id} is whole: {chunks} chunks {done}\n"),
            Some(part) => {
                let all = format_count(report.all_chunks);
                format!("part {part} of snapshot {id} is whole: {chunks} of {all} chunks {done}\n")
            }
        };
        return Ok(Outcome::new(text, value));
    }
    let lines: Vec<String> = report.damages.iter().map(ToString::to_string).collect();
    let error = damaged(id, &lines, value);
    Err(match sample {
        None => error,
        Some(part) => error.hint(format!("only part {part} was looked at; there may be more damage")),
    })
}

async fn verified(
    context: &Context,
    store: &Store,
    id: &SnapshotId,
    level: snapshot::Level,
    sample: Sample,
) -> Result<VerifyReport, CliError> {
    let operator = &context.operator;
    let progress = |done: u64, total: u64| {
        if done == 1 {
            operator.begin("verifying chunks", Some(total), Unit::Items);
        }
        operator.advance(1);
        if done == total {
            operator.finish(&format!("{} chunks looked at", format_count(total)));
        }
    };
    let report = snapshot::verify_sample(store, id, level, sample, progress).await.map_err(Error::from)?;
    if !report.damages.is_empty() {
        disprove(store, id).await;
    }
    Ok(report)
}

async fn restored(context: &Context, project: &Project, store: &Store, id: &SnapshotId) -> Result<Outcome, CliError> {
    let proof = match verify_by_restore(project, store, id, &context.operator, context.interrupt.wish()).await {
        Err(Error::Snapshot(error)) if is_damage(&error) => {
            // The restore stopped at the first one; what else is damaged is worth to know too.
            let all = verified(context, store, id, snapshot::Level::Hash, Sample::WHOLE).await?;
            let mut lines: Vec<String> = all.damages.iter().map(ToString::to_string).collect();
            if lines.is_empty() {
                lines.push(error.to_string());
            }
            let value = json!({ "snapshot": id, "level": "restore", "damages": lines });
            return Err(damaged(id, &lines, value));
        }
        result => result?,
    };
    let value = json!({ "snapshot": id, "level": "restore", "proof": proof, "damages": proof.differences });
    if proof.differences.is_empty() {
        let warnings: String =
            proof.warnings.iter().map(|warning| format!("as in the snapshot: {warning}\n")).collect();
        return Ok(Outcome::new(format!("snapshot {id} restores: {}\n{warnings}", proven(&proof)), value));
    }
    Err(damaged(id, &proof.differences, value))
}

fn proven(proof: &Proof) -> String {
    format!(
        "{} and {} equal the manifest; the schema equals a plain pg_restore",
        proof.counted,
        format_things(proof.sequences as u64, "sequence")
    )
}

fn damaged(id: &SnapshotId, lines: &[String], value: Value) -> CliError {
    let message = format!("snapshot {id} is damaged ({} found)", lines.len());
    CliError::new(ErrorKind::Snapshot, "damaged", message)
        .production("unchanged")
        .hint("take a new one now: `safe-migrate snapshot create`")
        .with_findings(Outcome::new(lines.join("\n"), value))
}

/// How thoroughly a snapshot is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Level {
    /// Every object is there
    Exists,
    /// Every object is read and its hash compared
    #[default]
    Hash,
    /// The snapshot is restored into a private server and compared
    Restore,
}
