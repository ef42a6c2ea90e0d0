//! `snapshot show`: one snapshot in full.

use std::fmt::Write as _;

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::named;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::{Outcome, table};
use crate::report::{format_ago, format_bytes, format_count, format_duration, format_time};
use crate::snapshot::{Manifest, SnapshotReader, TableData};
use crate::workflow::{Error, counted};

/// Show what one snapshot holds
///
/// Server, database, tables with rows and bytes, and the warnings of its making.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate snapshot show latest
  safe-migrate snapshot show 20261122T135823Z-7f3a9c")]
pub(crate) struct Args {
    /// The snapshot: an ID, or `latest` of this source
    #[arg(value_name = "ID|latest")]
    pub(crate) snapshot: String,
}

/// How many tables are shown.
const SHOWN: usize = 20;

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    let project = context.project()?;
    let reader = context.unless_interrupted(async {
        let (store, id) = named(context, &project, &args.snapshot).await?;
        Ok(SnapshotReader::open(&store, &id).await.map_err(Error::from)?)
    });
    let reader = reader.await?;
    let manifest = reader.manifest();
    Ok(Outcome::new(text(manifest), json!({ "snapshot": value(manifest) })))
}

fn bytes(table: &TableData) -> u64 {
    table.segments.iter().map(|segment| segment.length).sum()
}

/// Largest first.
fn by_size(manifest: &Manifest) -> Vec<&TableData> {
    let mut tables: Vec<&TableData> = manifest.tables.iter().collect();
    tables.sort_by_key(|table| (std::cmp::Reverse(bytes(table)), table.qualified_name()));
    tables
}

fn text(manifest: &Manifest) -> String {
    let (server, totals) = (&manifest.server, &manifest.totals);
    let taken = (manifest.finished_at - manifest.started_at).unsigned_abs();
    let ago = format_ago(manifest.started_at, OffsetDateTime::now_utc());
    let why = match &manifest.reason.run {
        Some(run) => format!("before run {run} ({})", manifest.reason.command),
        None => manifest.reason.command.clone(),
    };
    let extensions: Vec<String> =
        manifest.extensions.iter().map(|one| format!("{} {}", one.name, one.version)).collect();
    let lines = [
        ("snapshot", manifest.id.to_string()),
        ("source", manifest.source.clone()),
        ("taken", format!("{} ({ago}, in {})", format_time(manifest.started_at), format_duration(taken))),
        ("why", why),
        ("server", format!("PostgreSQL {}, system {}", server.version, server.system_identifier)),
        (
            "database",
            format!("{} ({}, owner {})", manifest.database.name, manifest.database.encoding, manifest.database.owner),
        ),
        ("LSN", server.lsn.clone()),
        ("written by", format!("safe-migrate {}, pg_dump {}", manifest.tool_version, server.pg_dump_version)),
        ("rows", counted(manifest)),
        (
            "size",
            format!(
                "{} copied, {} stored in {} chunks",
                format_bytes(totals.raw_bytes),
                format_bytes(totals.stored_bytes),
                format_count(totals.chunks)
            ),
        ),
        ("sequences", manifest.sequences.len().to_string()),
        (
            "large objects",
            manifest.large_objects.as_ref().map_or_else(|| "none".to_owned(), |blob| format_bytes(blob.length)),
        ),
        ("extensions", if extensions.is_empty() { "none".to_owned() } else { extensions.join(", ") }),
    ];
    let mut text: String = lines.iter().map(|(label, line)| format!("{label:<14} {line}\n")).collect();
    if let Some(time) = manifest.vacuum_held_back() {
        let _ = writeln!(text, "{:<14} held back for {}", "vacuum", format_duration(time));
    }
    for index in &manifest.invalid_indexes {
        let _ = writeln!(text, "{:<14} {index}", "invalid index");
    }
    for warning in &manifest.warnings {
        let _ = writeln!(text, "{:<14} {warning}", "warning");
    }
    if manifest.tables.is_empty() {
        return text;
    }
    let rows = by_size(manifest)
        .into_iter()
        .take(SHOWN)
        .map(|one| [one.qualified_name(), format_count(one.rows.rows), format_bytes(bytes(one))]);
    let _ = write!(text, "\n{}", table(["TABLE", "ROWS", "SIZE"], rows));
    if let Some(more) = manifest.tables.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(text, "and {more} smaller ones (--json has all)");
    }
    text
}

fn value(manifest: &Manifest) -> Value {
    let tables: Vec<Value> = by_size(manifest)
        .into_iter()
        .map(|one| json!({ "schema": one.schema, "name": one.name, "rows": one.rows.rows, "bytes": bytes(one) }))
        .collect();
    json!({
        "id": manifest.id,
        "source": manifest.source,
        "store_id": manifest.store_id,
        "started_at": format_time(manifest.started_at),
        "finished_at": format_time(manifest.finished_at),
        "reason": manifest.reason,
        "tool_version": manifest.tool_version,
        "server": manifest.server,
        "database": manifest.database,
        "sequences": manifest.sequences.len(),
        "large_object_bytes": manifest.large_objects.as_ref().map(|blob| blob.length),
        "extensions": manifest.extensions,
        "invalid_indexes": manifest.invalid_indexes,
        "vacuum_held_back_ms": manifest.vacuum_held_back_ms,
        "others_waited_ms": manifest.others_waited_ms,
        "warnings": manifest.warnings,
        "totals": manifest.totals,
        "tables": tables,
    })
}
