//! `history`: the runs so far.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::{Outcome, table};
use crate::postgres::Origin;
use crate::report::{format_duration, format_time};
use crate::workflow::{HistoryEntry, Operator, Project, history};

/// List the runs against this database, or show one of them
///
/// Read from the ledger and from the store, so that runs before a restore are
/// there too. Changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate history
  safe-migrate history 20261122T140210Z-19be04")]
pub(crate) struct Args {
    /// Show this run in full
    #[arg(value_name = "RUN|last")]
    pub(crate) run: Option<String>,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    let project = project(context)?;
    let entries = context.unless_interrupted(async { Ok(history(&project, &context.operator).await?) }).await?;
    match &args.run {
        Some(run) => Ok(in_full(find(&entries, run)?)),
        None => Ok(listed(&entries)),
    }
}

/// A run by its word: an id (or how it begins), or `last`, the newest that a restore could take back.
pub(super) async fn restore_by_word(context: &Context, project: &Project, word: &str) -> Result<String, CliError> {
    if word != "last" {
        return Ok(word.to_owned());
    }
    let entries = history(project, &context.operator).await?;
    let undone = |entry: &&HistoryEntry| {
        let run = &entry.run;
        run.command.starts_with("restore ")
            && !run.command.contains("--drop-old")
            && run.outcome.as_deref() == Some("done")
    };
    let last = entries.iter().filter(undone).max_by_key(|entry| (entry.run.started_at, &entry.run.id));
    let last = last.ok_or_else(|| {
        CliError::usage("unknown-run", "there is no restore yet").hint("`safe-migrate history` lists the runs")
    })?;
    Ok(last.run.id.clone())
}

/// The ledger is worth reading also where no store is configured.
fn project(context: &Context) -> Result<Project, CliError> {
    match context.project() {
        Err(error) if error.code == "store-missing" => {
            context.operator.warn(&format!("runs of the ledger only: {error}"));
            context.project_without_store()
        }
        result => result,
    }
}

/// The run of this id, or of an id that begins so.
fn find<'a>(entries: &'a [HistoryEntry], text: &str) -> Result<&'a HistoryEntry, CliError> {
    if let ("last", Some(newest)) = (text, entries.iter().max_by_key(|entry| (entry.run.started_at, &entry.run.id))) {
        return Ok(newest);
    }
    let found: Vec<&HistoryEntry> = entries.iter().filter(|entry| entry.run.id.starts_with(text)).collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(CliError::usage("unknown-run", format!("there is no run {text}"))
            .hint("`safe-migrate history` lists the runs")),
        several => {
            let ids: Vec<&str> = several.iter().map(|entry| entry.run.id.as_str()).collect();
            let error = CliError::usage("ambiguous-run", format!("{} runs begin with {text}", ids.len()));
            Err(error.hint(format!("write more of one of {}", ids.join(", "))))
        }
    }
}

fn outcome_of(entry: &HistoryEntry) -> &str {
    entry.run.outcome.as_deref().unwrap_or("not ended")
}

fn duration(entry: &HistoryEntry) -> Option<Duration> {
    entry.run.finished_at.map(|end| (end - entry.run.started_at).unsigned_abs())
}

fn who(entry: &HistoryEntry) -> String {
    format!("{}@{}", entry.run.actor, entry.run.host)
}

fn listed(entries: &[HistoryEntry]) -> Outcome {
    let value = json!({ "runs": entries.iter().map(value).collect::<Vec<_>>() });
    if entries.is_empty() {
        return Outcome::new("no runs yet\n", value);
    }
    let rows = entries.iter().map(|entry| {
        let run = &entry.run;
        [
            run.id.clone(),
            format_time(run.started_at),
            run.command.clone(),
            who(entry),
            outcome_of(entry).to_owned(),
            duration(entry).map(format_duration).unwrap_or_default(),
            run.snapshot_id.clone().unwrap_or_default(),
            run.bypass.clone().unwrap_or_default(),
        ]
    });
    Outcome::new(table(["RUN", "STARTED", "COMMAND", "BY", "OUTCOME", "TOOK", "SNAPSHOT", "BYPASS"], rows), value)
}

fn in_full(entry: &HistoryEntry) -> Outcome {
    let run = &entry.run;
    let recorded = match (entry.in_ledger, entry.in_store) {
        (true, true) => "in the ledger and in the store",
        (true, false) => "in the ledger",
        _ => "in the store",
    };
    let lines = [
        ("run", Some(run.id.clone())),
        ("command", Some(run.command.clone())),
        ("by", Some(who(entry))),
        ("from", run.origin.as_ref().map(origin)),
        ("version", Some(run.version.clone())),
        ("started", Some(format_time(run.started_at))),
        ("finished", run.finished_at.map(format_time)),
        ("took", duration(entry).map(format_duration)),
        ("outcome", Some(outcome_of(entry).to_owned())),
        ("error", run.error.as_ref().map(|error| error.replace('\n', "\n             "))),
        ("bypass", run.bypass.clone()),
        ("plan", run.plan_hash.clone()),
        ("rehearsal", run.rehearsal_id.clone()),
        ("snapshot", run.snapshot_id.clone()),
        ("before", run.fingerprint_before.as_ref().map(fingerprint)),
        ("after", run.fingerprint_after.as_ref().map(fingerprint)),
        ("recorded", Some(recorded.to_owned())),
        ("way back", way_back(entry)),
    ];
    let lines = lines.into_iter().filter_map(|(label, text)| Some(format!("{label:<12} {}\n", text?)));
    Outcome::new(lines.collect::<String>(), json!({ "run": value(entry) }))
}

/// The directory, and the commit in it.
fn origin(origin: &Origin) -> String {
    let mut text = origin.directory.clone();
    if let Some(commit) = &origin.commit {
        text.push_str(&format!(", commit {commit}"));
    }
    if origin.modified == Some(true) {
        text.push_str(", with changes that are not committed");
    }
    text
}

/// The hash of a recorded fingerprint, or all of it when it is not shaped as this version writes it.
fn fingerprint(record: &Value) -> String {
    match record.get("hash").and_then(Value::as_str) {
        Some(hash) => format!("schema {hash}"),
        None => record.to_string(),
    }
}

/// The command that puts back what was there before the run. A restore's snapshot is the one that it put in place.
fn way_back(entry: &HistoryEntry) -> Option<String> {
    let run = &entry.run;
    let changed = !run.command.starts_with("restore");
    (changed && run.snapshot_id.is_some()).then(|| format!("safe-migrate restore --before {} --in-place", run.id))
}

fn value(entry: &HistoryEntry) -> Value {
    let mut value = json!(entry);
    value["duration_seconds"] = json!(duration(entry).map(|duration| duration.as_secs_f64()));
    value["restore_command"] = json!(way_back(entry));
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::RunRecord;

    fn entry(id: &str, command: &str) -> HistoryEntry {
        let run = json!({
            "id": id, "command": command, "actor": "ada", "host": "one", "version": "1",
            "started_at": "2026-11-22T14:00:00Z", "finished_at": "2026-11-22T14:00:05Z", "outcome": "done",
            "snapshot_id": "20261122T135823Z-7f3a9c",
        });
        let run: RunRecord = serde_json::from_value(run).unwrap();
        HistoryEntry { run, in_ledger: true, in_store: false }
    }

    #[test]
    fn a_run_is_found_by_what_only_its_id_begins_with() {
        let entries = [entry("20261122T140000Z-aaaaaa", "apply"), entry("20261122T150000Z-bbbbbb", "apply")];
        assert_eq!(find(&entries, "20261122T15").unwrap().run.id, "20261122T150000Z-bbbbbb");
        assert_eq!(find(&entries, "20261122T").unwrap_err().code, "ambiguous-run");
        assert_eq!(find(&entries, "2025").unwrap_err().code, "unknown-run");
    }

    #[test]
    fn only_a_run_with_a_snapshot_of_before_has_a_way_back() {
        let id = "20261122T140000Z-aaaaaa";
        let command = format!("safe-migrate restore --before {id} --in-place");
        assert_eq!(way_back(&entry(id, "apply")), Some(command));
        assert_eq!(way_back(&entry(id, "restore 20261122T135823Z-7f3a9c --in-place")), None);
    }
}
